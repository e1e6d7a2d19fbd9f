//! Expected differences: `conformance/SUITE.toml`, a table of case and reason. One that no longer differs is a failure.

use std::collections::BTreeMap;
use std::path::Path;

/// Case and reason.
pub struct Expected(BTreeMap<String, String>);

impl Expected {
    pub fn of(suite: &str) -> Result<Expected, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{suite}.toml"));
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(Expected(BTreeMap::new()));
        };
        let table: toml::Table = toml::from_str(&text).map_err(|error| format!("{suite}.toml: {error}"))?;
        // Tables beside the differences are the suite's own.
        let reasons = table.into_iter().filter(|(_, reason)| !reason.is_table());
        let reasons = reasons.map(|(case, reason)| match reason.as_str() {
            Some(reason) => Ok((case, reason.to_owned())),
            None => Err(format!("{suite}.toml: `{case}` has no reason")),
        });
        Ok(Expected(reasons.collect::<Result<_, _>>()?))
    }

    /// The reason why a case, or the file or folder it is in, is expected to differ.
    pub fn reason(&self, case: &str) -> Option<&str> {
        let found = self
            .0
            .iter()
            .find(|(key, _)| case == *key || (key.ends_with('/') && case.starts_with(key.as_str())));
        found.map(|(_, reason)| reason.as_str())
    }
}

/// Counts a suite's cases and prints those that differ.
pub struct Tally {
    expected: Expected,
    passed: u64,
    total: u64,
    excused: BTreeMap<String, u64>,
    failed: u64,
}

impl Tally {
    pub fn of(suite: &str) -> Result<Tally, String> {
        Ok(Tally {
            expected: Expected::of(suite)?,
            passed: 0,
            total: 0,
            excused: BTreeMap::new(),
            failed: 0,
        })
    }

    pub fn case(&mut self, case: &str, expected: &str, got: &str) {
        self.total += 1;
        if expected == got && self.expected.0.contains_key(case) {
            self.failed += 1;
            println!("{case}: no longer differs: take it out of the expected differences");
        } else if expected == got {
            self.passed += 1;
        } else if let Some(reason) = self.expected.reason(case) {
            *self.excused.entry(reason.to_owned()).or_default() += 1;
        } else {
            self.failed += 1;
            println!("{case}: expected {expected}, got {got}");
        }
    }

    /// `N of M`, and an error when a case failed or none was found.
    pub fn close(self) -> Result<(), String> {
        for (reason, count) in &self.excused {
            println!("{count} expected differences: {reason}");
        }
        println!("{} of {}", self.passed, self.total);
        match (self.total, self.failed) {
            (0, _) => Err("no case was found".to_owned()),
            (_, 0) => Ok(()),
            (_, failed) => Err(format!("{failed} cases differ")),
        }
    }
}
