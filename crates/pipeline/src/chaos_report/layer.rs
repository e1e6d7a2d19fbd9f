//! Techniques, their tactics, and the ATT&CK Navigator layer (format 4.5,
//! <https://github.com/mitre-attack/attack-navigator/blob/master/layers/spec/v4.5/layerformat.md>).
//!
//! Names stand in `techniques.toml`; a technique that isn't in there is shown by its id, under no tactic.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::Report;
use super::figure::{Figure, RUNS_MIN};

/// From never noticed to always noticed.
const GRADIENT: [&str; 3] = ["#ff6666", "#ffe766", "#8ec843"];
/// Attacked, and too seldom for a probability.
const FEW: &str = "#b8c4d6";

/// A technique of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Technique {
    pub name: String,
    /// Short names of its tactics.
    pub tactics: Vec<String>,
}

/// What `techniques.toml` holds.
#[derive(Debug)]
pub struct Table {
    /// ATT&CK version.
    pub version: String,
    /// Short name and name, in the order of the matrix.
    pub tactics: Vec<(String, String)>,
    pub techniques: BTreeMap<String, Technique>,
}

/// The table that is built in.
pub static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let text = include_str!("techniques.toml");
    parse(text).expect("the built-in table is complete: a test reads it")
});

fn parse(text: &str) -> Option<Table> {
    let table: toml::Table = text.parse().ok()?;
    let string = |value: &toml::Value| Some(value.as_str()?.to_owned());
    let pair = |value: &toml::Value| {
        let pair = value.as_array()?;
        Some((string(pair.first()?)?, string(pair.get(1)?)?))
    };
    let technique = |(id, value): (&String, &toml::Value)| {
        let tactics = value
            .get("tactics")?
            .as_array()?
            .iter()
            .map(string)
            .collect::<Option<_>>()?;
        let name = string(value.get("name")?)?;
        Some((id.clone(), Technique { name, tactics }))
    };
    Some(Table {
        version: string(table.get("version")?)?,
        tactics: table
            .get("tactics")?
            .as_array()?
            .iter()
            .map(pair)
            .collect::<Option<_>>()?,
        techniques: table
            .get("techniques")?
            .as_table()?
            .iter()
            .map(technique)
            .collect::<Option<_>>()?,
    })
}

/// What is known of the detection of a technique, in words.
pub fn comment(figure: &Figure) -> String {
    let (n, k) = (figure.n, figure.events);
    match (figure.value, figure.interval) {
        (Some(share), Some((Some(low), Some(high)))) => format!(
            "detected in {k} of {n} runs: {:.1} % (95 % {:.1}-{:.1})",
            share * 100.0,
            low * 100.0,
            high * 100.0
        ),
        _ if n == 0 => "n/a (n = 0): attacked, and no run could be judged".to_owned(),
        _ => format!("detected in {k} of {n} runs; under {RUNS_MIN} runs no probability is given"),
    }
}

/// The layer of a report. Scores are detection probabilities in per cent; where there is none, there is no score.
pub fn layer(report: &Report) -> Value {
    let techniques: Vec<Value> = report
        .techniques()
        .filter(|(id, _)| is_enterprise(id))
        .map(|(id, figure)| {
            let mut technique = json!({
                "techniqueID": id, "enabled": true, "showSubtechniques": true, "comment": comment(figure),
                "metadata": [
                    {"name": "n", "value": figure.n.to_string()},
                    {"name": "query", "value": report.query(&figure.id)},
                ],
            });
            match figure.value {
                Some(share) => technique["score"] = json!((share * 1000.0).round() / 10.0),
                None => technique["color"] = json!(FEW),
            }
            technique
        })
        .collect();
    json!({
        "name": "Detection under chaos",
        "versions": {"attack": TABLE.version, "navigator": "5.2.0", "layer": "4.5"},
        "domain": "enterprise-attack",
        "description": format!(
            "Share of judged chaos runs that were detected, by ATT&CK technique; {} runs of log {} up to size {}",
            report.runs.len(), report.log.origin, report.log.size
        ),
        "sorting": 3,
        "layout": {
            "layout": "side", "showID": true, "showName": true, "showAggregateScores": false, "countUnscored": false,
            "aggregateFunction": "average", "expandedSubtechniques": "annotated",
        },
        "hideDisabled": false,
        "techniques": techniques,
        "gradient": {"colors": GRADIENT, "minValue": 0, "maxValue": 100},
        "legendItems": [
            {"label": "never detected", "color": GRADIENT[0]},
            {"label": "detected in half of the runs", "color": GRADIENT[1]},
            {"label": "always detected", "color": GRADIENT[2]},
            {"label": format!("under {RUNS_MIN} runs: no probability"), "color": FEW},
        ],
        "selectTechniquesAcrossTactics": true,
        "selectSubtechniquesWithParent": false,
        "selectVisibleTechniques": false,
    })
}

/// `T1059` or `T1059.004`; those of the ICS matrix begin with `T0`.
fn is_enterprise(id: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(number) = id.strip_prefix("T1") else {
        return false;
    };
    match number.split_once('.') {
        Some((technique, sub)) => digits(technique, 3) && digits(sub, 3),
        None => digits(number, 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_of_the_catalogue_is_in_the_table() {
        let known: Vec<&str> = TABLE.tactics.iter().map(|(tactic, _)| tactic.as_str()).collect();
        assert_eq!(known.len(), 14);
        for fault in ::chaos::faults() {
            for id in fault.attack {
                let technique = TABLE
                    .techniques
                    .get(*id)
                    .unwrap_or_else(|| panic!("{id} of `{}`", fault.id));
                assert!(!technique.tactics.is_empty(), "{id}");
                assert!(
                    technique.tactics.iter().all(|tactic| known.contains(&tactic.as_str())),
                    "{id}"
                );
            }
        }
    }
}
