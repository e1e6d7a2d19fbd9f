//! Readers whose streams are documents, one a line; and what such documents have in common.

use std::time::Duration;

use evidence::Timestamp;
use serde_json::{Map, Value};

use crate::lines::Lines;
use crate::reader::{DOCUMENT_BYTES_MAX, Document, Reader, Refused, Taken};
use crate::reading::Reading;

/// Deepest value that is looked through for ATT&CK ids.
const DEPTH_MAX: usize = 8;
/// ATT&CK ids of one alert; further ones are dropped.
const TECHNIQUES_MAX: usize = 64;

/// What one document says.
pub(crate) trait Documents: Send {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused>;
}

/// [`Documents`] as a stream too: each line is one.
pub(crate) struct ByLine<D> {
    source: String,
    lines: Lines,
    documents: D,
}

impl<D: Documents> ByLine<D> {
    pub(crate) fn new(source: &str, documents: D) -> Self {
        ByLine {
            source: source.to_owned(),
            lines: Lines::new(DOCUMENT_BYTES_MAX),
            documents,
        }
    }

    fn gap(&self, reason: String) -> Reading {
        Reading::Gap {
            source: self.source.clone(),
            reason,
        }
    }

    fn take(&mut self, line: Option<&[u8]>, now: Duration, out: &mut Vec<Reading>) {
        let Some(line) = line else {
            out.push(self.gap(format!("a line is longer than {DOCUMENT_BYTES_MAX} bytes")));
            return;
        };
        if line.is_empty() {
            return;
        }
        let document = Document {
            bytes: line,
            media_type: "application/json",
        };
        match self.documents.read(&document, now, out) {
            Ok(taken) if taken.rejected > 0 => out.push(self.gap(taken.reason)),
            Ok(_) => {}
            Err(Refused(reason)) => out.push(self.gap(reason)),
        }
    }
}

impl<D: Documents> Reader for ByLine<D> {
    fn push(&mut self, bytes: &[u8], now: Duration, out: &mut Vec<Reading>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.take(line, now, out));
        self.lines = lines;
    }

    fn end(&mut self, now: Duration, out: &mut Vec<Reading>) {
        let mut lines = std::mem::take(&mut self.lines);
        lines.end(|line| self.take(line, now, out));
        self.lines = lines;
    }

    fn cut(&mut self) {
        self.lines.cut();
    }

    fn document(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        if document.bytes.len() > DOCUMENT_BYTES_MAX {
            return Err(Refused(format!("it is longer than {DOCUMENT_BYTES_MAX} bytes")));
        }
        self.documents.read(document, now, out)
    }
}

/// The document as a JSON object.
pub(crate) fn object(document: &Document<'_>) -> Result<Map<String, Value>, Refused> {
    match json(document.bytes)? {
        Value::Object(object) => Ok(object),
        _ => Err(Refused("it is not a JSON object".to_owned())),
    }
}

pub(crate) fn json(bytes: &[u8]) -> Result<Value, Refused> {
    // The place says enough: what stands there is not repeated, it may be a secret.
    serde_json::from_slice(bytes).map_err(|error| {
        Refused(format!(
            "it is not JSON: line {} column {}",
            error.line(),
            error.column()
        ))
    })
}

/// The text at `key`; empty where there is none.
pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A time as its author wrote it: RFC 3339, or a number since 1970 whose size tells its unit. Zero times say nothing.
pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    let time = match value {
        Value::String(text) => text
            .parse::<Timestamp>()
            .ok()
            .or_else(|| since_1970(text.parse().ok()?)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => since_1970(whole),
            None => Timestamp::from_microsecond((number.as_f64()? * 1e6) as i64).ok(),
        },
        _ => None,
    };
    time.filter(|time| *time > Timestamp::UNIX_EPOCH)
}

fn since_1970(number: i64) -> Option<Timestamp> {
    match number.checked_abs()? {
        0..100_000_000_000 => Timestamp::from_second(number),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number),
        100_000_000_000_000..100_000_000_000_000_000 => Timestamp::from_microsecond(number),
        _ => Timestamp::from_nanosecond(i128::from(number)),
    }
    .ok()
}

/// ATT&CK ids in the texts of `value`, keys included.
pub(crate) fn techniques(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(value, DEPTH_MAX, &mut found);
    found.sort();
    found.dedup();
    found
}

fn collect(value: &Value, depth: usize, found: &mut Vec<String>) {
    if depth == 0 {
        return;
    }
    match value {
        Value::String(text) => techniques_of(text, found),
        Value::Array(items) => items.iter().for_each(|item| collect(item, depth - 1, found)),
        Value::Object(object) => {
            for (key, item) in object {
                techniques_of(key, found);
                collect(item, depth - 1, found);
            }
        }
        _ => {}
    }
}

/// `T1078`, `t1078.004`, `attack.t1078.004`, `mitre_t1078`, `…/techniques/T1078/004/`: four digits, then maybe three.
fn techniques_of(text: &str, found: &mut Vec<String>) {
    let bytes = text.as_bytes();
    let digits = |from: usize, count: usize| {
        let end = from + count;
        let all = bytes.get(from..end)?.iter().all(u8::is_ascii_digit);
        (all && !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric)).then(|| &text[from..end])
    };
    for at in 0..bytes.len() {
        let starts = matches!(bytes[at], b'T' | b't') && !(at > 0 && bytes[at - 1].is_ascii_alphanumeric());
        if !starts || found.len() >= TECHNIQUES_MAX {
            continue;
        }
        let Some(technique) = digits(at + 1, 4) else { continue };
        let divided = matches!(bytes.get(at + 5), Some(b'.' | b'/' | b'_'));
        found.push(match digits(at + 6, 3).filter(|_| divided) {
            Some(sub) => format!("T{technique}.{sub}"),
            None => format!("T{technique}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn attack_ids_in_every_spelling() {
        let check = |value: Value, expect: &[&str]| assert_eq!(techniques(&value), expect, "{value}");
        check(json!(["attack.t1078.004", "attack.persistence"]), &["T1078.004"]);
        check(json!("T1078"), &["T1078"]);
        check(json!({"mitre_t1078": "yes"}), &["T1078"]);
        check(json!("https://attack.mitre.org/techniques/T1059/004/"), &["T1059.004"]);
        check(json!(["T1059, t1059", "T1003_001"]), &["T1003.001", "T1059"]);
        check(json!(["AT1078", "T10789", "T107", "T1078a", "TT", "t", "Ť1078"]), &[]);
        check(json!("T1078.00"), &["T1078"]);
        check(json!("T1078.0045"), &["T1078"]);
    }

    #[test]
    fn times_as_they_are_written() {
        let check = |value: Value, expect: Option<&str>| {
            assert_eq!(time(&value).map(|time| time.to_string()).as_deref(), expect, "{value}");
        };
        let second = Some("2026-11-24T14:53:54Z");
        check(json!("2026-11-24T15:53:54+01:00"), second);
        check(json!(1_795_532_034), second);
        check(json!(1_795_532_034_000_u64), second);
        check(json!(1_795_532_034_000_000_u64), second);
        check(json!(1_795_532_034_000_000_000_u64), second);
        check(json!("1795532034"), second);
        check(json!(1_795_532_034.5), Some("2026-11-24T14:53:54.5Z"));
        check(json!("0001-01-01T00:00:00Z"), None);
        check(json!("yesterday"), None);
        check(json!(0), None);
        check(json!(u64::MAX), None);
        check(json!(f64::MAX), None);
        check(json!(i64::MIN), None);
    }
}
