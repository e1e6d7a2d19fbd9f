//! The undo journal's records; what their lines are like is told in [`evidence::lines`].

use std::collections::BTreeMap;

use evidence::lines::{self, Unreadable};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The first line. A reader refuses every other version.
pub(super) const HEADER: &str = "proofmark undo journal v2\n";
/// Version 1 had no `before` and two classes; its lines are read as they are.
const HEADER_V1: &str = "proofmark undo journal v1\n";
/// What the first line of every version begins with.
const ANY_HEADER: &str = "proofmark undo journal v";
/// A longer line is no record.
pub(super) const RECORD_BYTES_MAX: usize = 128 * 1024;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Record {
    /// Entries before `next` are closed: written by compaction.
    Begin {
        next: u64,
    },
    /// A fault is going to be injected, and this is how it ends.
    Plan {
        entry: u64,
        experiment: String,
        fault: String,
        undo_class: Class,
        undo: String,
        parameters: BTreeMap<String, Value>,
        /// What was there before, as the fault needs it to undo.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        before: BTreeMap<String, Value>,
    },
    /// An entry has come to this state.
    State {
        entry: u64,
        to: Step,
    },
    /// A folder that must not outlive the supervisor.
    Scratch {
        path: String,
    },
    ScratchRemoved {
        path: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Class {
    KernelBounded,
    ProcessBounded,
    SandboxDiscard,
    Journaled,
    Irreversible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Planned,
    Injecting,
    Injected,
    Undoing,
    Undone,
    WayForwardTaken,
    LeftToOwner,
}

/// The records of a file, and how many of its bytes they take with the header: what lies behind was torn.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) records: Vec<Record>,
    pub(super) good_bytes: u64,
}

/// The line of one record.
pub(super) fn line(record: &Record) -> Vec<u8> {
    lines::line(&serde_json::to_vec(record).expect("a record has a JSON form"))
}

/// Reads a whole file; see [`lines::read`].
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Unreadable> {
    let mut records = Vec::new();
    let mut take = |json: &[u8]| serde_json::from_slice(json).map(|record| records.push(record)).is_ok();
    let good_bytes = lines::read(bytes, &[HEADER, HEADER_V1], ANY_HEADER, RECORD_BYTES_MAX, &mut take)?;
    Ok(Parsed { records, good_bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of version 1 as it was written. It must be read for as long as version 1 is.
    const V1: &str = include_str!("../../tests/journal-v1.txt");

    #[test]
    fn reads_what_version_1_wrote() {
        let parsed = parse(V1.as_bytes()).unwrap();
        assert_eq!(parsed.good_bytes, V1.len() as u64);
        let mut again = HEADER_V1.as_bytes().to_vec();
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
        let second = HEADER.len() + 30;
        bytes[second] ^= 1;
        assert_eq!(parse(&bytes), Err(Unreadable::Damaged { line: 2 }));
        assert_eq!(parse(b"something else\n"), Err(Unreadable::NotAJournal));
        assert_eq!(parse(b"proofmark undo journal v3\n"), Err(Unreadable::OtherVersion));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = parse(&bytes);
            let _ = parse(&[HEADER.as_bytes(), &bytes].concat());
        }
    }
}
