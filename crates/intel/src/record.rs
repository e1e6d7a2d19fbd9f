//! One advisory in OSV form (<https://ossf.github.io/osv-schema/>), as far as matching asks.
//!
//! Fields we don't use may be anything; those we use must have the schema's shape, or the record is malformed.
//! Start reading at [`Record::parse`].

use std::collections::BTreeMap;

use evidence::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::RECORD_BYTES_MAX;

#[derive(Debug, Deserialize)]
pub(crate) struct Record {
    pub id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub modified: Option<Timestamp>,
    #[serde(default)]
    pub withdrawn: Option<Value>,
    #[serde(default, deserialize_with = "or_default")]
    pub aliases: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub summary: String,
    #[serde(default, deserialize_with = "or_default")]
    pub severity: Vec<Rating>,
    #[serde(default, deserialize_with = "or_default")]
    pub affected: Vec<Affected>,
    #[serde(default, deserialize_with = "or_default")]
    pub database_specific: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Rating {
    pub score: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Affected {
    /// Absent for records about commits only.
    #[serde(default)]
    pub package: Option<Package>,
    #[serde(default, deserialize_with = "or_default")]
    pub severity: Vec<Rating>,
    #[serde(default, deserialize_with = "or_default")]
    pub ranges: Vec<Range>,
    #[serde(default, deserialize_with = "or_default")]
    pub versions: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub database_specific: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    pub ecosystem: String,
    pub name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Range {
    #[serde(rename = "type")]
    pub kind: RangeKind,
    pub events: Vec<Event>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum RangeKind {
    Semver,
    Ecosystem,
    /// Commits; lock files name versions, so it decides nothing here.
    Git,
}

/// Exactly one field, says the schema; older records have several in one object, which counts as several events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Event {
    pub introduced: Option<String>,
    pub fixed: Option<String>,
    pub last_affected: Option<String>,
    pub limit: Option<String>,
}

impl Record {
    /// Reads a record, or says why it is malformed: lower case, one line.
    pub fn parse(bytes: &[u8]) -> Result<Record, String> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(format!("it has {} bytes, more than {RECORD_BYTES_MAX}", bytes.len()));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let record: Record = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        if record.id.is_empty() || record.id.len() > 100 || !record.id.chars().all(legal) {
            return Err(
                "its `id` is empty, too long, or has other characters than letters, digits and `-_.:`".to_owned(),
            );
        }
        for range in record.affected.iter().flat_map(|affected| &affected.ranges) {
            if !range.events.iter().any(|event| event.introduced.is_some()) {
                return Err("a range has no `introduced` event".to_owned());
            }
        }
        Ok(record)
    }

    /// Withdrawn records are kept by databases so that nobody wonders where they went.
    pub fn is_withdrawn(&self) -> bool {
        self.withdrawn.as_ref().is_some_and(|value| !value.is_null())
    }
}

/// `null` counts as absent.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        for (text, good) in [
            (r#"{"id":"A-1","modified":"2024-01-01T00:00:00Z"}"#, true),
            (r#"{"id":"A-1","aliases":null,"affected":null,"severity":null}"#, true),
            (
                r#"{"id":"A-1","affected":[{"package":{"ecosystem":"npm","name":"a"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}"#,
                true,
            ),
            (
                r#"{"id":"A-1","affected":[{"ranges":[{"type":"SEMVER","events":[{"fixed":"1.0.0"}]}]}]}"#,
                false,
            ),
            (
                r#"{"id":"A-1","affected":[{"ranges":[{"type":"MAGIC","events":[{"introduced":"0"}]}]}]}"#,
                false,
            ),
            (r#"{"id":"A-1","modified":"yesterday"}"#, false),
            (r#"{"id":"A 1"}"#, false),
            (r#"{"aliases":[]}"#, false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(Record::parse(text.as_bytes()).is_ok(), good, "{text}");
        }
    }
}
