//! `sigma-rules`: every rule file of a tree loads, by itself or, where it correlates rules of other files, with them.
//!
//! Start reading at [`run`].

use std::collections::{BTreeMap, BTreeSet};

use telemetry::SigmaRules;

use super::{Data, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let mut files = Vec::new();
    for path in data.files()? {
        if is_rule_file(&path) {
            let bytes = data.bytes(&path)?;
            files.push((path, bytes));
        } else if !path.to_lowercase().contains("schema") {
            unplaced(tally, &path);
        }
    }
    let refused = refused(&files);
    let good: Vec<(String, Vec<u8>)> = files
        .iter()
        .filter(|(path, _)| !refused.contains_key(path))
        .cloned()
        .collect();
    // What is good by itself has to be good together, which is how it is used.
    let loaded = SigmaRules::load(&good);
    let holding: BTreeSet<&str> = match &loaded {
        Ok(rules) => rules.all().map(|rule| rule.path.as_str()).collect(),
        Err(_) => BTreeSet::new(),
    };
    for (path, _) in &files {
        let got = match (refused.get(path), &loaded) {
            (Some(problem), _) => problem.clone(),
            (None, Ok(rules)) if rules.has(path) && holding.contains(path.as_str()) => "loads".to_owned(),
            (None, Ok(rules)) if rules.has(path) => "loads without a rule".to_owned(),
            (None, Ok(_)) => "nothing".to_owned(),
            (None, Err(found)) => format!("refused among all others: {}", found[0].message),
        };
        tally.case(path, "loads", &got);
    }
    if let Ok(rules) = &loaded {
        let natively = rules.natively();
        println!(
            "{} rules: {} evaluated natively, {} ask rsigma's matchers for a part, 0 as a whole",
            natively.whole + natively.in_part,
            natively.whole,
            natively.in_part
        );
    }
    Ok(())
}

pub fn is_rule_file(path: &str) -> bool {
    path.ends_with(".yml") || path.ends_with(".yaml")
}

/// What is wrong, by file.
fn refused(files: &[(String, Vec<u8>)]) -> BTreeMap<String, String> {
    let Err(found) = SigmaRules::load(files) else {
        return BTreeMap::new();
    };
    let problems = found.into_iter().map(|found| {
        let path = found.span.map(|span| span.path).unwrap_or_default();
        (path, format!("{}: {}", found.code, found.message))
    });
    problems.collect()
}
