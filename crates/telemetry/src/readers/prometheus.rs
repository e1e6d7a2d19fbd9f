//! # observer/prometheus
//! Alerts of Prometheus itself: its `/api/v1/alerts`, or the `ALERTS` series of a text page.
//!
//! ## What it does
//! Is asked every `every_ms`. An alert of state `firing` that was not among the last answer's fires; one that is no
//! longer among them is over. `pending` is not firing. `alertname` is its name, the label `severity` its severity,
//! `activeAt` the time that Prometheus claims. ATT&CK ids are looked for in labels and annotations. A page in the
//! text format is read for `ALERTS{alertstate="firing"}` samples other than 0: federation pages have them.
//!
//! An alert that fires already when it is first asked is told then, like one that begins: its claimed time, and that
//! it was told before anything was injected, say that it is old.
//!
//! Who answers at this address can say and hold back whatever it likes.
//!
//! ## Why it matters
//! Prometheus evaluates rules in steps; the alert is known up to one evaluation after its cause, and not before.
//!
//! ## Example
//! ```toml
//! [chaos.observer.rules]
//! kind = "prometheus"
//! address = "127.0.0.1:9090"
//! path = "/api/v1/alerts"
//! every_ms = 50
//! ```
//!
//! ## What to do instead
//! Observe `alertmanager` where it is people who have to know.
//!
//! ## References
//! - <https://prometheus.io/docs/prometheus/latest/querying/api/#alerts>
//! - <https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/#inspecting-alerts-during-runtime>

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::documents::{self, ByLine, Documents};
use crate::metric::series;
use crate::reader::{Delivery, Document, Entry, Refused, Taken, plain_answer};
use crate::reading::{Alert, Reading};

/// Alerts that are remembered as firing; further ones are a gap.
const FIRING_MAX: usize = 10_000;

pub(super) const ENTRY: Entry = Entry {
    id: "prometheus",
    delivery: &[Delivery::Polls],
    canary: r#"{"status":"success","data":{"alerts":[]}}"#,
    path: None,
    answer: plain_answer,
    make: |source, _| {
        let prometheus = Prometheus {
            source: source.to_owned(),
            firing: BTreeMap::new(),
        };
        Box::new(ByLine::new(source, prometheus))
    },
};

struct Prometheus {
    source: String,
    /// What fired in the last answer, by its labels and when it began.
    firing: BTreeMap<String, Value>,
}

impl Documents for Prometheus {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        let alerts = if document.bytes.trim_ascii_start().starts_with(b"{") {
            from_api(document)?
        } else {
            from_page(document)?
        };
        let count = alerts.len();
        let firing: BTreeMap<String, Value> = alerts
            .into_iter()
            .take(FIRING_MAX)
            .map(|alert| (json!([alert["labels"], alert["activeAt"]]).to_string(), alert))
            .collect();
        if count > FIRING_MAX {
            out.push(Reading::Gap {
                source: self.source.clone(),
                reason: format!("more than {FIRING_MAX} alerts fire at once"),
            });
        }
        let before = std::mem::replace(&mut self.firing, firing);
        for (key, alert) in &before {
            if !self.firing.contains_key(key) {
                out.push(self.alert(alert, false, now));
            }
        }
        for (key, alert) in &self.firing {
            if !before.contains_key(key) {
                out.push(self.alert(alert, true, now));
            }
        }
        Ok(Taken::default())
    }
}

impl Prometheus {
    fn alert(&self, alert: &Value, firing: bool, now: Duration) -> Reading {
        let labels = &alert["labels"];
        Reading::Alert(Alert {
            source: self.source.clone(),
            name: documents::text(labels, "alertname").to_owned(),
            firing,
            boottime: now,
            // Nothing is said about when it ended.
            claimed: documents::time(&alert["activeAt"]).filter(|_| firing),
            severity: documents::text(labels, "severity").to_owned(),
            techniques: documents::techniques(&json!([labels, alert["annotations"]])),
            fields: alert.clone(),
        })
    }
}

/// The firing alerts of an answer of `/api/v1/alerts`.
fn from_api(document: &Document<'_>) -> Result<Vec<Value>, Refused> {
    let mut answer = Value::Object(documents::object(document)?);
    if documents::text(&answer, "status") != "success" {
        return Err(Refused("its `status` is not \"success\"".to_owned()));
    }
    match answer.pointer_mut("/data/alerts").map(Value::take) {
        Some(Value::Array(mut alerts)) => {
            alerts.retain(|alert| documents::text(alert, "state") == "firing" && alert["labels"].is_object());
            Ok(alerts)
        }
        _ => Err(Refused("it has no list `data.alerts`".to_owned())),
    }
}

/// The firing alerts of a page in the text format.
fn from_page(document: &Document<'_>) -> Result<Vec<Value>, Refused> {
    let Ok(text) = std::str::from_utf8(document.bytes) else {
        return Err(Refused("it is neither JSON nor text in UTF-8".to_owned()));
    };
    if document.media_type == "text/html" {
        return Err(Refused("it is a page for people".to_owned()));
    }
    let alert = |labels: Vec<(&str, String)>| {
        let labels: Map<String, Value> = labels
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        json!({ "labels": labels, "state": "firing" })
    };
    Ok(series(text, "ALERTS")
        .filter(|(labels, value)| {
            let firing = labels
                .iter()
                .any(|(name, value)| *name == "alertstate" && value == "firing");
            firing && *value != 0.0 && !value.is_nan()
        })
        .map(|(labels, _)| alert(labels))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Options, Reader};

    fn ask(reader: &mut dyn Reader, text: &str) -> Result<Vec<(String, bool)>, Refused> {
        let mut out = Vec::new();
        let document = Document {
            bytes: text.as_bytes(),
            media_type: "",
        };
        reader.document(&document, Duration::from_secs(1), &mut out)?;
        let told = |reading: Reading| match reading {
            Reading::Alert(alert) => (alert.name, alert.firing),
            other => panic!("{other:?}"),
        };
        Ok(out.into_iter().map(told).collect())
    }

    fn api(alerts: &[(&str, &str, &str)]) -> String {
        let alert = |(name, state, since): &(&str, &str, &str)| {
            json!({"labels": {"alertname": name, "severity": "page"}, "annotations": {}, "state": state,
                   "activeAt": format!("2026-11-24T12:00:0{since}Z"), "value": "1e+00"})
        };
        let alerts: Vec<Value> = alerts.iter().map(alert).collect();
        json!({"status": "success", "data": {"alerts": alerts}}).to_string()
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut reader = (ENTRY.make)("rules", &Options::default());
        let told = |name: &str, firing: bool| (name.to_owned(), firing);
        let mut check = |text: &str, expect: &[(String, bool)]| assert_eq!(ask(&mut *reader, text).unwrap(), expect);
        check(&api(&[("A", "pending", "1")]), &[]);
        check(&api(&[("A", "firing", "1"), ("B", "pending", "1")]), &[told("A", true)]);
        check(&api(&[("A", "firing", "1"), ("B", "firing", "1")]), &[told("B", true)]);
        // It ended and began again between two questions.
        check(
            &api(&[("A", "firing", "2"), ("B", "firing", "1")]),
            &[told("A", false), told("A", true)],
        );
        check(&api(&[("B", "pending", "3")]), &[told("A", false), told("B", false)]);
    }

    #[test]
    fn an_answer_that_is_none_changes_nothing() {
        let mut reader = (ENTRY.make)("rules", &Options::default());
        assert_eq!(ask(&mut *reader, &api(&[("A", "firing", "1")])).unwrap().len(), 1);
        for text in [r#"{"status":"error"}"#, "{", "{}", r#"{"status":"success","data":{}}"#] {
            assert!(ask(&mut *reader, text).is_err(), "{text}");
        }
        assert_eq!(ask(&mut *reader, &api(&[("A", "firing", "1")])), Ok(vec![]));
    }

    #[test]
    fn a_text_page() {
        let mut reader = (ENTRY.make)("rules", &Options::default());
        let page = "# TYPE ALERTS untyped\nALERTS{alertname=\"A\",alertstate=\"firing\",note=\"a\\\"},b\"} 1\n\
                    ALERTS{alertname=\"B\",alertstate=\"pending\"} 1\nALERTS{alertname=\"C\",alertstate=\"firing\"} 0\n";
        assert_eq!(ask(&mut *reader, page), Ok(vec![("A".to_owned(), true)]));
        assert_eq!(ask(&mut *reader, "up 1\n"), Ok(vec![("A".to_owned(), false)]));
    }
}
