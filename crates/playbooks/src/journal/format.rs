//! The records of a run's journal; what their lines are like is told in [`evidence::lines`].

use std::collections::BTreeMap;

use evidence::Timestamp;
use evidence::lines::{self, Unreadable};
use serde::{Deserialize, Serialize};

/// The first line. A reader refuses every other version.
pub(crate) const HEADER: &str = "proofmark playbook run v1\n";
/// What the first line of every version begins with.
const ANY_HEADER: &str = "proofmark playbook run v";
/// A longer line is no record. Outputs are cut well below this.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 20;

/// Values by name of variable; `None`: unknown.
pub(crate) type Values = BTreeMap<String, Option<String>>;

/// One line of the journal. `unit` names one command of one execution of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Record {
    Begun {
        run: String,
        /// SHA-256 of the playbook's text, in hexadecimal.
        playbook: String,
        name: String,
        at: Timestamp,
        variables: BTreeMap<String, String>,
        /// Variable and file that holds its value; never the value.
        secrets: BTreeMap<String, String>,
    },
    /// Another playbook is called at this place; its text is fixed from now on.
    Called {
        unit: String,
        playbook: String,
        at: Timestamp,
    },
    /// What follows may or may not have its effect, until `finished`.
    Started { unit: String, at: Timestamp },
    Finished {
        unit: String,
        at: Timestamp,
        ok: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: Values,
    },
    /// A person is asked.
    Asked {
        unit: String,
        at: Timestamp,
        instructions: String,
    },
    /// A person has answered.
    Answered {
        unit: String,
        at: Timestamp,
        by: String,
        done: bool,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: Values,
    },
    /// A person has found out what became of an interrupted command.
    Settled {
        unit: String,
        at: Timestamp,
        by: String,
        happened: bool,
    },
    /// Nothing more happens in this run.
    Ended {
        at: Timestamp,
        ok: bool,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
        values: Values,
    },
}

/// The records of a file, and how many of its bytes they take with the header: what lies behind was torn.
#[derive(Debug, PartialEq)]
pub(crate) struct Parsed {
    pub records: Vec<Record>,
    pub good_bytes: u64,
}

/// The line of one record.
pub(crate) fn line(record: &Record) -> Vec<u8> {
    lines::line(&serde_json::to_vec(record).expect("a record has a JSON form"))
}

/// Reads a whole file; see [`lines::read`].
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, Unreadable> {
    let mut records = Vec::new();
    let mut take = |json: &[u8]| serde_json::from_slice(json).map(|record| records.push(record)).is_ok();
    let good_bytes = lines::read(bytes, &[HEADER], ANY_HEADER, RECORD_BYTES_MAX, &mut take)?;
    Ok(Parsed { records, good_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of version 1 as it was written. It must be read for as long as version 1 is.
    const V1: &str = include_str!("../../tests/run-v1.txt");

    #[test]
    fn reads_what_version_1_wrote() {
        let parsed = parse(V1.as_bytes()).unwrap();
        assert_eq!(parsed.good_bytes, V1.len() as u64);
        let mut again = HEADER.as_bytes().to_vec();
        for record in &parsed.records {
            again.extend(line(record));
        }
        assert_eq!(String::from_utf8(again).unwrap(), V1);
    }

    #[test]
    fn a_file_cut_anywhere_keeps_what_was_whole() {
        let ends: Vec<usize> = V1
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'\n')
            .map(|(at, _)| at + 1)
            .collect();
        for length in 0..=V1.len() {
            let parsed = parse(&V1.as_bytes()[..length]).unwrap();
            let good = ends.iter().copied().filter(|end| *end <= length).max().unwrap_or(0);
            assert_eq!(parsed.good_bytes, good as u64, "cut to {length}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_told() {
        let mut bytes = V1.as_bytes().to_vec();
        bytes[HEADER.len() + 30] ^= 1;
        assert_eq!(parse(&bytes), Err(Unreadable::Damaged { line: 2 }));
        assert_eq!(parse(b"something else\n"), Err(Unreadable::NotAJournal));
        assert_eq!(parse(b"proofmark playbook run v2\n"), Err(Unreadable::OtherVersion));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[HEADER.as_bytes(), &bytes].concat());
        }
    }
}
