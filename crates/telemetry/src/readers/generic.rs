//! # observer/generic
//! JSON of any other tool, with a mapping that says where its name, state, severity and technique stand.
//!
//! ## What it does
//! Reads JSON objects: one a line of a file or of what a program prints, or an object or a list of objects in a
//! request to `/generic/NAME`. `name`, `firing`, `severity`, `technique` and `began` are JSON pointers. An object with
//! a value at `name` is an alert, every other one a plain event. Without `firing` every alert fires; with it, an alert
//! fires where the value is true, a number other than 0, or one of `firing`, `active`, `open`, `alert`, `alerting`,
//! `triggered`, `critical`, `error`, `warning`, `true`, `yes`, `on`. A value that is absent there doesn't fire.
//!
//! Who can write the file or reach the port can forge alerts: set `token_file` where that matters.
//!
//! ## Why it matters
//! A detector that only its vendor knows is a detector all the same, and has to show how fast it is.
//!
//! ## Example
//! ```toml
//! [chaos.observer.waf]
//! kind = "generic"
//! file = "/var/log/waf.json"
//! name = "/rule/title"
//! severity = "/rule/level"
//! technique = "/rule/tags"
//! began = "/when"
//! ```
//!
//! ## What to do instead
//! Use a reader made for the tool where there is one: it knows what is a repetition and what is over.
//!
//! ## References
//! - <https://www.rfc-editor.org/rfc/rfc6901>

use std::time::Duration;

use serde_json::Value;

use crate::Event;
use crate::documents::{self, ByLine, Documents};
use crate::reader::{Delivery, Document, Entry, Mapping, Refused, Taken, plain_answer};
use crate::reading::{Alert, Reading};

const FIRING: [&str; 12] = [
    "firing",
    "active",
    "open",
    "alert",
    "alerting",
    "triggered",
    "critical",
    "error",
    "warning",
    "true",
    "yes",
    "on",
];

pub(super) const ENTRY: Entry = Entry {
    id: "generic",
    delivery: &[Delivery::Stream, Delivery::Requests],
    canary: r#"{"message":"proofmark self-test"}"#,
    path: Some("/generic"),
    answer: plain_answer,
    make: |source, options| {
        let generic = Generic {
            source: source.to_owned(),
            mapping: options.mapping.clone(),
        };
        Box::new(ByLine::new(source, generic))
    },
};

struct Generic {
    source: String,
    mapping: Mapping,
}

impl Documents for Generic {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        let objects = match documents::json(document.bytes) {
            Ok(Value::Array(items)) => items,
            Ok(object @ Value::Object(_)) => vec![object],
            Ok(_) => return Err(Refused("it is neither a JSON object nor a list of them".to_owned())),
            // Several objects in one request stand one a line.
            Err(refused) => lines(document.bytes).ok_or(refused)?,
        };
        let mut taken = Taken::default();
        for object in objects {
            if object.is_object() {
                out.push(self.reading(object, now));
            } else {
                taken.rejected += 1;
                taken.reason = "what is not an object is not read".to_owned();
            }
        }
        Ok(taken)
    }
}

/// Every line as JSON; `None` when there is one that isn't, or only one.
fn lines(bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if !line.trim_ascii().is_empty() {
            values.push(documents::json(line).ok()?);
        }
    }
    (values.len() > 1).then_some(values)
}

impl Generic {
    fn reading(&self, object: Value, now: Duration) -> Reading {
        let at = |pointer: &Option<String>| object.pointer(pointer.as_deref()?);
        let Some(name) = at(&self.mapping.name).and_then(plain) else {
            return Reading::Event(Event {
                source: self.source.clone(),
                boottime: now,
                fields: object,
            });
        };
        let firing = self.mapping.firing.is_none() || at(&self.mapping.firing).is_some_and(fires);
        Reading::Alert(Alert {
            source: self.source.clone(),
            name,
            firing,
            boottime: now,
            claimed: at(&self.mapping.began).and_then(documents::time),
            severity: at(&self.mapping.severity).and_then(plain).unwrap_or_default(),
            techniques: at(&self.mapping.technique)
                .map(documents::techniques)
                .unwrap_or_default(),
            fields: object,
        })
    }
}

/// A text, or what else is no container, as text; an empty text says nothing.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.is_empty()).then(|| text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn fires(value: &Value) -> bool {
    match value {
        Value::Bool(fires) => *fires,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => FIRING.iter().any(|word| word.eq_ignore_ascii_case(text)) || text == "1",
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reader::Options;

    fn read(text: &str) -> Vec<Reading> {
        let pointer = |text: &str| Some(text.to_owned());
        let options = Options {
            mapping: Mapping {
                name: pointer("/rule/title"),
                firing: pointer("/state"),
                severity: pointer("/rule/level"),
                technique: pointer("/rule/tags"),
                began: pointer("/when"),
            },
            ..Options::default()
        };
        let mut out = Vec::new();
        let mut reader = (ENTRY.make)("waf", &options);
        reader.push(text.as_bytes(), Duration::from_secs(1), &mut out);
        reader.end(Duration::from_secs(1), &mut out);
        out
    }

    #[test]
    fn a_mapping_says_where_things_stand() {
        let out = read(
            r#"{"rule":{"title":"Injection","level":7,"tags":["attack.t1190"]},"state":"OPEN","when":1795521601,"id":"r-1"}"#,
        );
        let [Reading::Alert(alert)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(
            (alert.name.as_str(), alert.severity.as_str(), alert.firing),
            ("Injection", "7", true)
        );
        assert_eq!(alert.techniques, ["T1190"]);
        assert_eq!(alert.claimed.unwrap().to_string(), "2026-11-24T12:00:01Z");
        assert_eq!(alert.fields["id"], "r-1");
    }

    #[test]
    fn what_fires() {
        let firing = |state: Value| {
            let out = read(&json!({"rule": {"title": "x"}, "state": state}).to_string());
            matches!(&out[..], [Reading::Alert(alert)] if alert.firing)
        };
        for state in [json!("firing"), json!(true), json!(1), json!("1"), json!("Alerting")] {
            assert!(firing(state.clone()), "{state}");
        }
        for state in [
            json!("resolved"),
            json!(false),
            json!(0),
            json!(null),
            json!([]),
            json!("0"),
            json!("pending"),
        ] {
            assert!(!firing(state.clone()), "{state}");
        }
    }

    #[test]
    fn objects_without_a_name_are_events() {
        assert!(matches!(&read(r#"{"rule":{"title":""}}"#)[..], [Reading::Event(_)]));
        assert!(matches!(
            &read("[{\"a\":1},{\"a\":2}]\n")[..],
            [Reading::Event(_), Reading::Event(_)]
        ));
        assert!(matches!(
            &read("[1]\n7\nx")[..],
            [Reading::Gap { .. }, Reading::Gap { .. }, Reading::Gap { .. }]
        ));
    }

    #[test]
    fn several_lines_are_one_request() {
        let mut out = Vec::new();
        let mut reader = (ENTRY.make)("waf", &Options::default());
        let mut post = |bytes: &[u8]| {
            let document = Document { bytes, media_type: "" };
            reader.document(&document, Duration::ZERO, &mut out).is_ok()
        };
        assert!(post(b"{\"a\":1}\n{\"a\":2}\n"));
        assert!(!post(b"{\"a\":1}\nx\n") && !post(b"x") && !post(b""));
        assert_eq!(out.len(), 2);
    }
}
