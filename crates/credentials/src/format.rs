//! The lease journal, version 1: one record a line, each with its own checksum.
//!
//! ```text
//! <first 16 hexadecimal characters of SHA-256(json)> <json>\n
//! ```
//!
//! The first record is the header with the version. A record is believed when its line is complete and its checksum
//! holds; what a crash tore is what follows the last such line. It never holds a token, only its SHA-256.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::{Digest, Timestamp, lines};
use serde::{Deserialize, Serialize};

use crate::{Accessor, Lease};

pub(crate) const VERSION: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Record {
    Header { version: u32 },
    Leased { lease: LeaseRecord },
    Closed { accessor: String, at: Timestamp, why: Why },
}

/// Why a lease ended before its time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Why {
    /// Its holder gave it back.
    Returned,
    /// It was taken away.
    Revoked,
}

/// [`Lease`], as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LeaseRecord {
    accessor: String,
    role: String,
    policies: Vec<String>,
    issued: Timestamp,
    expires: Timestamp,
    /// Boot time at which it ends, in milliseconds; means nothing after the next boot.
    ends_boottime_ms: u64,
    token_sha256: Digest,
}

impl From<&Lease> for LeaseRecord {
    fn from(lease: &Lease) -> Self {
        LeaseRecord {
            accessor: lease.accessor.0.clone(),
            role: lease.role.clone(),
            policies: lease.policies.clone(),
            issued: lease.issued,
            expires: lease.expires,
            ends_boottime_ms: u64::try_from(lease.ends.as_millis()).unwrap_or(u64::MAX),
            token_sha256: lease.token,
        }
    }
}

impl From<LeaseRecord> for Lease {
    fn from(record: LeaseRecord) -> Self {
        Lease {
            accessor: Accessor(record.accessor),
            role: record.role,
            policies: record.policies,
            issued: record.issued,
            expires: record.expires,
            ends: Duration::from_millis(record.ends_boottime_ms),
            token: record.token_sha256,
        }
    }
}

/// The line of one record, its line feed included.
pub(crate) fn line(record: &Record) -> Vec<u8> {
    lines::line(&evidence::to_canonical(record))
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Leases without a record of their end, in order of accessor.
    pub(crate) open: BTreeMap<Accessor, Lease>,
    /// Bytes that are no complete record: the tail a crash tore, or damage.
    pub(crate) ignored_bytes: u64,
}

/// A journal of a version this program doesn't know.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownVersion(pub(crate) u32);

/// Reads a journal. Lines that don't hold are counted, not believed; they never hide what follows them.
pub(crate) fn replay(journal: &[u8]) -> Result<Replayed, UnknownVersion> {
    let mut replayed = Replayed::default();
    for text in journal.split_inclusive(|byte| *byte == b'\n') {
        match parse(text) {
            Some(Record::Header { version }) if version != VERSION => return Err(UnknownVersion(version)),
            Some(Record::Header { .. }) => {}
            Some(Record::Leased { lease }) => {
                let lease = Lease::from(lease);
                replayed.open.insert(lease.accessor.clone(), lease);
            }
            Some(Record::Closed { accessor, .. }) => {
                replayed.open.remove(&Accessor(accessor));
            }
            None => replayed.ignored_bytes += text.len() as u64,
        }
    }
    Ok(replayed)
}

fn parse(line: &[u8]) -> Option<Record> {
    evidence::from_canonical(lines::checked(line)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str) -> Lease {
        Lease {
            accessor: Accessor(format!("ledger/{name}")),
            role: "storefront".to_owned(),
            policies: vec!["ledger".to_owned()],
            issued: "2026-01-02T03:04:05Z".parse().unwrap(),
            expires: "2026-01-02T03:09:05Z".parse().unwrap(),
            ends: Duration::from_millis(412_000),
            token: Digest::of(b"token"),
        }
    }

    /// A format is a promise: these are version 1's bytes, and they are read for ever.
    const CORPUS_V1: &str = include_str!("../corpus/leases-v1.journal");

    #[test]
    fn version_1_is_read_and_written_as_ever() {
        let replayed = replay(CORPUS_V1.as_bytes()).unwrap();
        assert_eq!(replayed.open.into_values().collect::<Vec<_>>(), [lease("a")]);
        assert_eq!(replayed.ignored_bytes, 0);
        let written = [
            line(&Record::Header { version: VERSION }),
            line(&Record::Leased {
                lease: (&lease("a")).into(),
            }),
            line(&Record::Leased {
                lease: (&lease("b")).into(),
            }),
            line(&Record::Closed {
                accessor: "ledger/b".to_owned(),
                at: "2026-01-02T03:05:00Z".parse().unwrap(),
                why: Why::Revoked,
            }),
        ]
        .concat();
        assert_eq!(String::from_utf8(written).unwrap(), CORPUS_V1);
    }

    #[test]
    fn every_cut_is_read_as_its_complete_lines() {
        for length in 0..CORPUS_V1.len() {
            let cut = &CORPUS_V1.as_bytes()[..length];
            let replayed = replay(cut).unwrap();
            let complete = cut.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            assert_eq!(replayed.ignored_bytes, (length - complete) as u64);
            assert_eq!(replayed.open, replay(&cut[..complete]).unwrap().open);
        }
    }

    #[test]
    fn a_changed_byte_loses_its_line_only() {
        for at in 0..CORPUS_V1.len() {
            let mut journal = CORPUS_V1.as_bytes().to_vec();
            journal[at] ^= 1;
            assert!(replay(&journal).unwrap().ignored_bytes > 0, "byte {at}");
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let journal = line(&Record::Header { version: 2 });
        assert_eq!(replay(&journal), Err(UnknownVersion(2)));
    }
}
