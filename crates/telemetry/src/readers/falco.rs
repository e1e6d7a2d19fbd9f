//! # observer/falco
//! Alerts of Falco: one JSON object an alert, from its file output or sent by its HTTP output.
//!
//! ## What it does
//! Reads what Falco prints with `json_output: true`: the rule's name, its priority as severity, `time` as the time that
//! Falco claims, and ATT&CK ids among its tags. `output_fields` and all the rest are kept for correlation. An object
//! without a `rule` is not an alert of Falco, and counts as a gap. An alert of Falco is never over: it says what
//! happened.
//!
//! Who can write the file or reach the port can forge alerts: keep the file's mode tight, or set `token_file` where the
//! sender can show a bearer token (falcosidekick's webhook can, by `customHeaders`).
//!
//! ## Why it matters
//! Falco sees system calls, which a service can't hold back. It is also easy to run with its outputs going nowhere.
//!
//! ## Example
//! ```toml
//! [chaos.observer.runtime]
//! kind = "falco"
//! file = "/var/log/falco.json"
//! ```
//!
//! ## What to do instead
//! Where Falco's alerts go through Alertmanager (by falcosidekick), observe `alertmanager`: that is what people see.
//!
//! ## References
//! - <https://falco.org/docs/concepts/outputs/formatting/>
//! - <https://falco.org/docs/concepts/outputs/channels/>

use std::time::Duration;

use serde_json::Value;

use crate::documents::{self, ByLine, Documents};
use crate::reader::{Delivery, Document, Entry, Refused, Taken, plain_answer};
use crate::reading::{Alert, Reading};

pub(super) const ENTRY: Entry = Entry {
    id: "falco",
    delivery: &[Delivery::Stream, Delivery::Requests],
    canary: r#"{"time":"2026-11-24T12:00:00Z","rule":"Proofmark self-test","priority":"Notice","source":"syscall","tags":["T1059"],"output":"self-test","output_fields":{"proc.name":"proofmark"}}"#,
    path: Some("/falco"),
    answer: plain_answer,
    make: |source, _| {
        let falco = Falco {
            source: source.to_owned(),
        };
        Box::new(ByLine::new(source, falco))
    },
};

struct Falco {
    source: String,
}

impl Documents for Falco {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        let fields = Value::Object(documents::object(document)?);
        let name = documents::text(&fields, "rule").to_owned();
        if name.is_empty() {
            return Err(Refused("it has no `rule`".to_owned()));
        }
        out.push(Reading::Alert(Alert {
            source: self.source.clone(),
            name,
            firing: true,
            boottime: now,
            claimed: documents::time(&fields["time"]),
            severity: documents::text(&fields, "priority").to_owned(),
            techniques: documents::techniques(&fields["tags"]),
            fields,
        }));
        Ok(Taken::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reader::Options;

    const ALERT: &str = r#"{"hostname":"h","output":"12:00:01.000000001: Warning Shell spawned","output_fields":{"container.id":"0f","evt.time":1795521601000000001,"proc.cmdline":"bash -c run-7","user.name":"root"},"priority":"Warning","rule":"Terminal shell in container","source":"syscall","tags":["T1059","container","maturity_stable","mitre_execution","shell"],"time":"2026-11-24T12:00:01.000000001Z"}"#;

    #[test]
    fn alerts_line_by_line() {
        let mut reader = (ENTRY.make)("runtime", &Options::default());
        let mut out = Vec::new();
        let now = Duration::from_millis(5);
        let text = format!("{ALERT}\nwords\n{{\"priority\":\"Error\"}}\n[]\n");
        reader.push(text.as_bytes(), now, &mut out);
        let Reading::Alert(alert) = &out[0] else {
            panic!("{:?}", out[0])
        };
        assert_eq!(
            (alert.name.as_str(), alert.severity.as_str(), alert.firing),
            ("Terminal shell in container", "Warning", true)
        );
        assert_eq!(alert.techniques, ["T1059"]);
        assert_eq!(alert.claimed.unwrap().to_string(), "2026-11-24T12:00:01.000000001Z");
        assert_eq!(alert.fields["output_fields"]["proc.cmdline"], json!("bash -c run-7"));
        assert_eq!((alert.source.as_str(), alert.boottime), ("runtime", now));
        let gap = |reason: &str| Reading::Gap {
            source: "runtime".to_owned(),
            reason: reason.to_owned(),
        };
        assert_eq!(
            out[1..],
            [
                gap("it is not JSON: line 1 column 1"),
                gap("it has no `rule`"),
                gap("it is not a JSON object")
            ]
        );
    }
}
