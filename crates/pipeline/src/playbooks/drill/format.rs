//! The records of a drill's journal; what their lines are like is told in [`evidence::lines`].

use evidence::lines::{self, Unreadable};
use evidence::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};

/// The first line. A reader refuses every other version.
pub(super) const HEADER: &str = "proofmark drill v1\n";
/// What the first line of every version begins with.
const ANY_HEADER: &str = "proofmark drill v";
/// A longer line is no record.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// One line of the journal. Times are those of the drill's own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Record {
    /// The clock starts.
    Announced {
        /// As it was named: a file, or one of the library.
        playbook: String,
        announcement: String,
        live: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        experiment: Option<String>,
        at: Timestamp,
        /// Boot time at that moment, microseconds, and what names this boot.
        boot_us: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        boot: Option<String>,
    },
    /// The experiment is over: its log index, or why it has none.
    Experiment {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        index: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// Somebody answered, and an approver's keys signed it.
    Answered {
        unit: String,
        by: String,
        keys: Vec<KeyId>,
        /// When it was given, which is before it was signed.
        at: Timestamp,
    },
    /// The after-action record stands in the log.
    Closed { index: u64 },
}

/// The line of one record.
pub(super) fn line(record: &Record) -> Vec<u8> {
    lines::line(&serde_json::to_vec(record).expect("a record has a JSON form"))
}

/// The records of a file, and how many of its bytes they take with the header: what lies behind was torn.
pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<Record>, u64), Unreadable> {
    let mut records = Vec::new();
    let mut take = |json: &[u8]| serde_json::from_slice(json).map(|record| records.push(record)).is_ok();
    let good_bytes = lines::read(bytes, &[HEADER], ANY_HEADER, RECORD_BYTES_MAX, &mut take)?;
    Ok((records, good_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of version 1 as it was written. It must be read for as long as version 1 is.
    const V1: &str = include_str!("drill-v1.txt");

    #[test]
    fn reads_what_version_1_wrote_wherever_it_is_cut() {
        let (records, good_bytes) = parse(V1.as_bytes()).unwrap();
        assert_eq!((records.len(), good_bytes), (4, V1.len() as u64));
        let again: Vec<u8> = records.iter().flat_map(line).collect();
        assert_eq!([HEADER.as_bytes(), &again].concat(), V1.as_bytes());
        for length in 0..=V1.len() {
            let (cut, good) = parse(&V1.as_bytes()[..length]).unwrap();
            assert_eq!(records[..cut.len()], cut);
            assert!(good <= length as u64);
        }
    }

    #[test]
    fn damage_in_the_middle_is_told() {
        let mut bytes = V1.as_bytes().to_vec();
        bytes[HEADER.len() + 30] ^= 1;
        assert_eq!(parse(&bytes), Err(Unreadable::Damaged { line: 2 }));
        assert_eq!(parse(b"proofmark drill v2\n"), Err(Unreadable::OtherVersion));
    }
}
