//! # observer/journald
//! The systemd journal: what `journalctl -f -o export` or `-o json` prints, or a file of it.
//!
//! ## What it does
//! Reads the export format, binary fields included, and JSON objects one a line; which of both it is, is seen from the
//! bytes. Each entry is one event under the journal's own names (`MESSAGE`, `_SYSTEMD_UNIT`, `SYSLOG_IDENTIFIER`, …).
//! A name that occurs several times is a list. Bytes that are not UTF-8 are replaced by U+FFFD.
//!
//! Journal files themselves are not read: their format is journald's own business, and `journalctl --file` reads them.
//!
//! Names that begin with `_` are set by journald and can't be forged by the program that logs; all others can.
//!
//! ## Why it matters
//! The journal has what services print, what the kernel says and what auditd sees, with the unit that it is of.
//!
//! ## Example
//! ```toml
//! [chaos.observer.journal]
//! kind = "journald"
//! command = ["journalctl", "--follow", "--lines=0", "--output=export"]
//! ```
//!
//! ## What to do instead
//! Where a service logs to a file of its own, `[chaos.log.NAME]` reads that.
//!
//! ## References
//! - <https://systemd.io/JOURNAL_EXPORT_FORMATS/>
//! - <https://www.freedesktop.org/software/systemd/man/latest/systemd.journal-fields.html>

use std::time::Duration;

use serde_json::{Map, Value};

use crate::Event;
use crate::documents;
use crate::reader::{Delivery, Document, Entry, Reader, Refused, plain_answer};
use crate::reading::Reading;

/// A longer field, or JSON object, is left out.
const FIELD_BYTES_MAX: usize = 256 * 1024;
/// Bytes of one entry that are kept; further fields are left out.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;
/// Fields of one entry that are kept.
const FIELDS_MAX: usize = 1024;
/// A binary field that claims to be longer than journald allows is no field.
const CLAIMED_BYTES_MAX: u64 = 768 << 20;

pub(super) const ENTRY: Entry = Entry {
    id: "journald",
    delivery: &[Delivery::Stream],
    canary: "__REALTIME_TIMESTAMP=1795521601000000\nMESSAGE=proofmark self-test\nSYSLOG_IDENTIFIER=proofmark\n\n",
    path: None,
    answer: plain_answer,
    make: |source, _| {
        Box::new(Journald {
            source: source.to_owned(),
            ..Journald::default()
        })
    },
};

#[derive(Default)]
struct Journald {
    source: String,
    at: At,
    /// What has come of the line, the length or the data.
    partial: Vec<u8>,
    /// Of the entry.
    fields: Map<String, Value>,
    entry_bytes: usize,
    /// Why something of the entry was left out, if so.
    left_out: Option<String>,
}

/// What comes next.
#[derive(Default)]
enum At {
    #[default]
    Line,
    /// The rest of a line that is too long.
    LongLine,
    /// Eight bytes that say how long the binary field of this name is.
    Length { name: String },
    /// So many bytes more of it; nothing of a field that is too long is kept.
    Data { name: String, left: u64, keep: bool },
    /// The line feed behind a binary field.
    DataEnd,
    /// Nothing that can be read, until an empty line.
    Lost,
}

impl Journald {
    fn gap(&self, reason: String) -> Reading {
        Reading::Gap {
            source: self.source.clone(),
            reason,
        }
    }

    /// Takes a first part of `bytes`; the rest is given back.
    fn step<'b>(&mut self, bytes: &'b [u8], now: Duration, out: &mut Vec<Reading>) -> &'b [u8] {
        match &mut self.at {
            At::Line => {
                let Some(end) = memchr::memchr(b'\n', bytes) else {
                    if self.partial.len() + bytes.len() > FIELD_BYTES_MAX {
                        self.too_long();
                        self.partial = Vec::new();
                        self.at = At::LongLine;
                    } else {
                        self.partial.extend_from_slice(bytes);
                    }
                    return &[];
                };
                let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
                if self.partial.len() + line.len() > FIELD_BYTES_MAX {
                    self.too_long();
                    self.partial = Vec::new();
                } else if self.partial.is_empty() {
                    self.line(line, now, out);
                } else {
                    self.partial.extend_from_slice(line);
                    let line = std::mem::take(&mut self.partial);
                    self.line(&line, now, out);
                }
                rest
            }
            At::LongLine => match memchr::memchr(b'\n', bytes) {
                Some(end) => {
                    self.at = At::Line;
                    &bytes[end + 1..]
                }
                None => &[],
            },
            At::Length { name } => {
                let (part, rest) = bytes.split_at(bytes.len().min(8 - self.partial.len()));
                self.partial.extend_from_slice(part);
                if let Ok(length) = <[u8; 8]>::try_from(&self.partial[..]) {
                    let (name, left) = (std::mem::take(name), u64::from_le_bytes(length));
                    self.partial.clear();
                    if left > CLAIMED_BYTES_MAX {
                        out.push(self.gap("what it says is not in the journal's export format".to_owned()));
                        self.lose();
                        return rest;
                    }
                    let keep = left <= FIELD_BYTES_MAX as u64;
                    if !keep {
                        self.too_long();
                    }
                    self.at = At::Data { name, left, keep };
                }
                rest
            }
            At::Data { name, left, keep } => {
                let length = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                let (part, rest) = bytes.split_at(length);
                *left -= length as u64;
                if *keep {
                    self.partial.extend_from_slice(part);
                }
                if *left == 0 {
                    let (name, keep) = (std::mem::take(name), *keep);
                    self.at = At::DataEnd;
                    let data = std::mem::take(&mut self.partial);
                    if keep {
                        self.field(&name, &data);
                    }
                }
                rest
            }
            At::DataEnd => {
                let Some((end, rest)) = bytes.split_first() else {
                    return bytes;
                };
                if *end == b'\n' {
                    self.at = At::Line;
                } else {
                    out.push(self.gap("what it says is not in the journal's export format".to_owned()));
                    self.lose();
                }
                rest
            }
            At::Lost => {
                // An empty line: `partial` holds whether the last byte was a line feed.
                for (index, byte) in bytes.iter().enumerate() {
                    match (*byte, self.partial.is_empty()) {
                        (b'\n', false) => {
                            self.partial.clear();
                            self.at = At::Line;
                            return &bytes[index + 1..];
                        }
                        (b'\n', true) => self.partial.push(b'\n'),
                        _ => self.partial.clear(),
                    }
                }
                &[]
            }
        }
    }

    fn line(&mut self, line: &[u8], now: Duration, out: &mut Vec<Reading>) {
        if line.is_empty() {
            self.finish(now, out);
            return;
        }
        if line[0] == b'{' && self.fields.is_empty() {
            self.json(line, now, out);
            return;
        }
        let end = memchr::memchr(b'=', line).unwrap_or(line.len());
        let name = &line[..end];
        if !is_name(name) {
            out.push(self.gap("a line is neither a field of the journal's export format nor JSON".to_owned()));
            return;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        if end < line.len() {
            self.field(&name, &line[end + 1..]);
        } else {
            self.at = At::Length { name };
        }
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.entry_bytes += name.len() + value.len();
        if self.entry_bytes > ENTRY_BYTES_MAX || self.fields.len() >= FIELDS_MAX {
            self.left_out = Some(format!(
                "an entry has more than {FIELDS_MAX} fields or {ENTRY_BYTES_MAX} bytes"
            ));
            return;
        }
        let value = Value::String(String::from_utf8_lossy(value).into_owned());
        match self.fields.get_mut(name) {
            None => drop(self.fields.insert(name.to_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }

    fn json(&mut self, line: &[u8], now: Duration, out: &mut Vec<Reading>) {
        let document = Document {
            bytes: line,
            media_type: "",
        };
        match documents::object(&document) {
            Ok(object) => {
                self.fields = object
                    .into_iter()
                    .map(|(name, value)| (name, from_json(value)))
                    .collect();
                self.finish(now, out);
            }
            Err(Refused(reason)) => out.push(self.gap(format!("a line is no entry: {reason}"))),
        }
    }

    /// Hands the entry on.
    fn finish(&mut self, now: Duration, out: &mut Vec<Reading>) {
        let fields = std::mem::take(&mut self.fields);
        self.entry_bytes = 0;
        if let Some(reason) = self.left_out.take() {
            out.push(self.gap(reason));
        }
        if !fields.is_empty() {
            out.push(Reading::Event(Event {
                source: self.source.clone(),
                boottime: now,
                fields: Value::Object(fields),
            }));
        }
    }

    fn too_long(&mut self) {
        self.left_out = Some(format!("a field is longer than {FIELD_BYTES_MAX} bytes"));
    }

    fn lose(&mut self) {
        self.fields = Map::new();
        self.entry_bytes = 0;
        self.partial.clear();
        self.at = At::Lost;
    }
}

impl Reader for Journald {
    fn push(&mut self, mut bytes: &[u8], now: Duration, out: &mut Vec<Reading>) {
        loop {
            // A field of no bytes ends without one.
            let waits = !matches!(self.at, At::Data { left: 0, .. });
            if bytes.is_empty() && waits {
                return;
            }
            bytes = self.step(bytes, now, out);
        }
    }

    fn end(&mut self, now: Duration, out: &mut Vec<Reading>) {
        match std::mem::take(&mut self.at) {
            At::Line if !self.partial.is_empty() => {
                let line = std::mem::take(&mut self.partial);
                self.line(&line, now, out);
            }
            At::Length { .. } | At::Data { .. } => {
                out.push(self.gap("it ends within an entry".to_owned()));
            }
            At::Line | At::LongLine | At::DataEnd | At::Lost => {}
        }
        self.partial.clear();
        self.at = At::Line;
        self.finish(now, out);
    }

    fn cut(&mut self) {
        *self = Journald {
            source: std::mem::take(&mut self.source),
            ..Journald::default()
        };
    }
}

/// Capital letters, digits and underscores, as journald has it; at most 64.
fn is_name(name: &[u8]) -> bool {
    let is_byte = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    (1..=64).contains(&name.len()) && name.iter().all(is_byte)
}

/// Bytes that are not UTF-8 are a list of numbers in JSON, and values of one name a list of values.
fn from_json(value: Value) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_u64) => {
            let byte = |item: &Value| u8::try_from(item.as_u64()?).ok();
            match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
                Some(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
                None => Value::Array(items),
            }
        }
        Value::Array(items) => items.into_iter().map(from_json_inner).collect(),
        other => other,
    }
}

/// One value of several: no list of lists of lists.
fn from_json_inner(value: Value) -> Value {
    match value {
        Value::Array(ref items) if items.iter().all(Value::is_u64) => from_json(value),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The same comes out wherever the stream is cut.
    #[track_caller]
    fn check(bytes: &[u8], expect: &[Value], gaps: usize) {
        for size in [1, 2, 3, 7, 64, bytes.len().max(1)] {
            let mut reader = (ENTRY.make)("journal", &crate::Options::default());
            let mut out = Vec::new();
            for part in bytes.chunks(size) {
                reader.push(part, Duration::from_millis(5), &mut out);
            }
            reader.end(Duration::from_millis(5), &mut out);
            let (mut events, mut found) = (Vec::new(), 0);
            for reading in out {
                match reading {
                    Reading::Event(event) => events.push(event.fields),
                    Reading::Gap { .. } => found += 1,
                    Reading::Alert(alert) => panic!("{alert:?}"),
                }
            }
            assert_eq!((&events[..], found), (expect, gaps), "in parts of {size}");
        }
    }

    fn binary(name: &str, data: &[u8]) -> Vec<u8> {
        let length = (data.len() as u64).to_le_bytes();
        [name.as_bytes(), b"\n", &length, data, b"\n"].concat()
    }

    #[test]
    fn export_format() {
        check(b"", &[], 0);
        check(
            b"__CURSOR=s=1\nMESSAGE=a=b\n_PID=7\n\nMESSAGE=two",
            &[
                json!({"__CURSOR": "s=1", "MESSAGE": "a=b", "_PID": "7"}),
                json!({"MESSAGE": "two"}),
            ],
            0,
        );
        let text = [
            b"A=1\n",
            &binary("MESSAGE", b"x\n\ny=\n")[..],
            b"A=2\nA=3\n\n\n\nB=\n\n",
        ]
        .concat();
        check(
            &text,
            &[json!({"A": ["1", "2", "3"], "MESSAGE": "x\n\ny=\n"}), json!({"B": ""})],
            0,
        );
        check(
            &[&binary("E", b"")[..], &binary("F", b"\xff\n"), b"\n"].concat(),
            &[json!({"E": "", "F": "\u{fffd}\n"})],
            0,
        );
    }

    #[test]
    fn json_lines() {
        check(
            b"{\"MESSAGE\":[104,105,255],\"A\":[\"x\",[121]],\"B\":null}\n\n{\"MESSAGE\":\"two\"}\n",
            &[
                json!({"MESSAGE": "hi\u{fffd}", "A": ["x", "y"], "B": null}),
                json!({"MESSAGE": "two"}),
            ],
            0,
        );
        check(b"{\"A\":1\n{\"A\":\"2\"}\n", &[json!({"A": "2"})], 1);
    }

    #[test]
    fn what_can_not_be_read_is_a_gap() {
        check(b"-- Boot 1 --\nA=1\n\n", &[json!({"A": "1"})], 1);
        // A length that no field has: everything up to the next empty line is lost.
        let wild = [b"A=1\nB\n", &u64::MAX.to_le_bytes()[..], b"xx\nC=1\n\nD=1\n\n"].concat();
        check(&wild, &[json!({"D": "1"})], 1);
        let unended = [b"A\n", &1_u64.to_le_bytes()[..], b"xyz\n\nD=1\n\n"].concat();
        check(&unended, &[json!({"D": "1"})], 1);
        let short = [b"A=1\nB\n", &9_u64.to_le_bytes()[..], b"xy"].concat();
        check(&short, &[json!({"A": "1"})], 1);
        let long = [b"A=", &vec![b'x'; FIELD_BYTES_MAX + 1][..], b"\nB=1\n\n"].concat();
        check(&long, &[json!({"B": "1"})], 1);
        let long = [&binary("A", &vec![b'\n'; FIELD_BYTES_MAX + 1])[..], b"B=1\n\n"].concat();
        check(&long, &[json!({"B": "1"})], 1);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::prop_oneof![proptest::prelude::Just(b'\n'), proptest::prelude::Just(b'A'), proptest::prelude::Just(b'='), proptest::prelude::any::<u8>()], 0..200)) {
            let mut reader = (ENTRY.make)("journal", &crate::Options::default());
            let mut out = Vec::new();
            reader.push(&bytes, Duration::ZERO, &mut out);
            reader.end(Duration::ZERO, &mut out);
        }

        #[test]
        fn what_was_exported_comes_back(entries in proptest::collection::vec(proptest::collection::btree_map("[A-Z_]{1,8}", "\\PC{0,20}(\n\\PC{0,9})?", 1..6), 1..6)) {
            let mut bytes = Vec::new();
            for entry in &entries {
                for (name, value) in entry {
                    if value.contains('\n') {
                        bytes.extend(binary(name, value.as_bytes()));
                    } else {
                        bytes.extend(format!("{name}={value}\n").into_bytes());
                    }
                }
                bytes.push(b'\n');
            }
            let mut reader = (ENTRY.make)("journal", &crate::Options::default());
            let mut out = Vec::new();
            for part in bytes.chunks(5) {
                reader.push(part, Duration::ZERO, &mut out);
            }
            let got: Vec<Value> = out.into_iter().map(|reading| match reading {
                Reading::Event(event) => event.fields,
                other => panic!("{other:?}"),
            }).collect();
            let expect: Vec<Value> = entries.iter().map(|entry| json!(entry)).collect();
            proptest::prop_assert_eq!(got, expect);
        }
    }
}
