//! How often attackers are seen to use a technique: `prevalence.toml`, and what the owner says instead. What the
//! numbers are and where they come from stands at the top of that file.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::settings::ChoiceSettings;

/// The catalogue's text, which is its page too.
pub(super) const TEXT: &str = include_str!("prevalence.toml");
/// What a technique weighs that nothing public counts.
const WEIGHT_MIN: f64 = 0.1;

/// A technique's weight, from 0.1 to 1, and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Prevalence {
    /// ATT&CK id: `T1078`.
    pub technique: String,
    pub weight: f64,
    /// `proofmark.toml`, `catalogue`, `catalogue, of its parent` or `nothing public counts it`.
    pub source: &'static str,
}

/// The weight of a technique: the owner's, the catalogue's, or its parent's, in this order.
pub fn prevalence(technique: &str, settings: &ChoiceSettings) -> Prevalence {
    let parent = technique.split('.').next().unwrap_or(technique);
    let own = |id: &str| settings.prevalence.get(id).map(|percent| *percent as f64 / 100.0);
    let (weight, source) = if let Some(weight) = own(technique).or_else(|| own(parent)) {
        (weight, "proofmark.toml")
    } else if let Some(weight) = catalogue().get(technique) {
        (*weight, "catalogue")
    } else if let Some(weight) = catalogue().get(parent) {
        (*weight, "catalogue, of its parent")
    } else {
        (WEIGHT_MIN, "nothing public counts it")
    };
    Prevalence {
        technique: technique.to_owned(),
        weight,
        source,
    }
}

fn catalogue() -> &'static BTreeMap<String, f64> {
    static WEIGHTS: OnceLock<BTreeMap<String, f64>> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        rows()
            .filter_map(|(id, row)| Some((id, row.get("weight")?.as_float()?)))
            .collect()
    })
}

/// Technique and its row. The file is part of this program, and a test reads it.
fn rows() -> impl Iterator<Item = (String, toml::Table)> {
    let table: toml::Table = toml::from_str(TEXT).unwrap_or_default();
    let techniques = match table.get("technique") {
        Some(toml::Value::Table(rows)) => rows.clone(),
        _ => toml::Table::new(),
    };
    techniques.into_iter().filter_map(|(id, row)| match row {
        toml::Value::Table(row) => Some((id, row)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_weight_is_what_its_counts_give() {
        let table: toml::Table = toml::from_str(TEXT).unwrap();
        let most = table["most"].as_table().unwrap();
        let mut seen = 0;
        for (id, row) in rows() {
            let share = |source: &str| {
                let log = |count: i64| (1.0 + count as f64).ln();
                log(row[source].as_integer().unwrap()) / log(most[source].as_integer().unwrap())
            };
            let weight = 0.1 + 0.9 * (share("sigma") + share("atomic") + share("use")) / 3.0;
            assert!((weight - row["weight"].as_float().unwrap()).abs() < 6e-4, "{id}");
            seen += 1;
        }
        assert!(seen > 400, "{seen}");
    }

    #[test]
    fn every_technique_of_the_catalogue_of_faults_has_a_weight() {
        let settings = ChoiceSettings::default();
        for technique in crate::faults().iter().flat_map(|entry| entry.attack) {
            let found = prevalence(technique, &settings);
            assert!((WEIGHT_MIN..=1.0).contains(&found.weight), "{found:?}");
        }
    }

    #[test]
    fn the_owner_goes_before_the_catalogue_and_a_parent_stands_in() {
        let mut settings = ChoiceSettings::default();
        assert_eq!(prevalence("T1078", &settings).source, "catalogue");
        assert_eq!(prevalence("T1499.003", &settings).source, "catalogue, of its parent");
        assert_eq!(prevalence("T9999", &settings).weight, WEIGHT_MIN);
        settings.prevalence.insert("T1078".to_owned(), 90);
        assert_eq!(prevalence("T1078", &settings).weight, 0.9);
        assert_eq!(prevalence("T1078.001", &settings).source, "proofmark.toml");
    }
}
