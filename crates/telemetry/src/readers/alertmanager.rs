//! # observer/alertmanager
//! Notifications of Alertmanager: what its webhook receiver is sent, firing and resolved.
//!
//! ## What it does
//! Takes the webhook's JSON (version 4). Each alert of a group is one alert here: `alertname` is its name, `status`
//! whether it fires, the label `severity` its severity, `startsAt` the time that Alertmanager claims (`endsAt` once it
//! is over). ATT&CK ids are looked for in labels and annotations. Labels, annotations and what the group has in
//! common are kept for correlation. `truncatedAlerts` is a gap: alerts were left out.
//!
//! Alertmanager waits (`group_wait`, `group_interval`) before it notifies, and repeats. What is measured is when it
//! notified; a repetition has the same claimed time as the first.
//!
//! Who can reach the port can forge notifications: set `token_file`, and `http_config.authorization` at Alertmanager.
//!
//! ## Why it matters
//! This is what reaches people. A rule that fires and is never routed has detected nothing.
//!
//! ## Example
//! ```toml
//! [chaos.observer.pager]
//! kind = "alertmanager"
//! listen = "127.0.0.1:9099"
//! ```
//! and a receiver with `webhook_configs: [{url: "http://127.0.0.1:9099/alertmanager", send_resolved: true}]`.
//!
//! ## What to do instead
//! Where no Alertmanager runs, ask Prometheus itself: `prometheus`.
//!
//! ## References
//! - <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use std::time::Duration;

use serde_json::{Value, json};

use crate::documents::{self, ByLine, Documents};
use crate::reader::{Delivery, Document, Entry, Refused, Taken, plain_answer};
use crate::reading::{Alert, Reading};

/// Alerts of one notification; of further ones nothing is read.
const ALERTS_MAX: usize = 10_000;
/// What the group has in common stands in every alert's fields, unless that would be more in all.
const EXPANDED_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) const ENTRY: Entry = Entry {
    id: "alertmanager",
    delivery: &[Delivery::Requests, Delivery::Stream],
    canary: r#"{"version":"4","status":"firing","receiver":"proofmark","alerts":[{"status":"firing","labels":{"alertname":"ProofmarkSelfTest","severity":"none"},"annotations":{},"startsAt":"2026-11-24T12:00:00Z","endsAt":"0001-01-01T00:00:00Z"}]}"#,
    path: Some("/alertmanager"),
    answer: plain_answer,
    make: |source, _| {
        let alertmanager = Alertmanager {
            source: source.to_owned(),
        };
        Box::new(ByLine::new(source, alertmanager))
    },
};

struct Alertmanager {
    source: String,
}

impl Documents for Alertmanager {
    fn read(&mut self, document: &Document<'_>, now: Duration, out: &mut Vec<Reading>) -> Result<Taken, Refused> {
        let mut notification = documents::object(document)?;
        let Some(Value::Array(alerts)) = notification.remove("alerts") else {
            return Err(Refused("it has no list `alerts`".to_owned()));
        };
        match notification.get("version").and_then(Value::as_str) {
            Some("4") => {}
            _ => return Err(Refused("its `version` is not \"4\"".to_owned())),
        }
        let truncated = notification.get("truncatedAlerts").and_then(Value::as_u64).unwrap_or(0);
        let mut notification = Value::Object(notification);
        let count = alerts.len();
        if notification.to_string().len().saturating_mul(count) > EXPANDED_BYTES_MAX {
            notification = Value::Null;
        }
        let before = out.len();
        let read = alerts.into_iter().take(ALERTS_MAX);
        out.extend(read.filter_map(|alert| self.alert(alert, &notification, now)));
        let left_out = (count - (out.len() - before)) as u64;
        if truncated + left_out > 0 {
            out.push(Reading::Gap {
                source: self.source.clone(),
                reason: format!(
                    "{} alerts of a notification are not in it or can't be read",
                    truncated + left_out
                ),
            });
        }
        Ok(Taken {
            rejected: left_out,
            reason: if left_out > 0 {
                "alerts without `status` or `labels`"
            } else {
                ""
            }
            .to_owned(),
        })
    }
}

impl Alertmanager {
    fn alert(&self, mut alert: Value, notification: &Value, now: Duration) -> Option<Reading> {
        let firing = match documents::text(&alert, "status") {
            "firing" => true,
            "resolved" => false,
            _ => return None,
        };
        let labels = alert.get("labels").filter(|labels| labels.is_object())?;
        let name = documents::text(labels, "alertname").to_owned();
        let severity = documents::text(labels, "severity").to_owned();
        let techniques = documents::techniques(&json!([labels, alert["annotations"]]));
        let claimed = documents::time(&alert[if firing { "startsAt" } else { "endsAt" }]);
        alert["notification"] = notification.clone();
        Some(Reading::Alert(Alert {
            source: self.source.clone(),
            name,
            firing,
            boottime: now,
            claimed,
            severity,
            techniques,
            fields: alert,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::Options;

    const NOTIFICATION: &str = r#"{"receiver":"hook","status":"firing","alerts":[
        {"status":"firing","labels":{"alertname":"Denied","severity":"page","technique":"T1078.004","run":"r-7"},
         "annotations":{"summary":"many denied"},"startsAt":"2026-11-24T12:00:01.5Z","endsAt":"0001-01-01T00:00:00Z",
         "generatorURL":"http://p/graph","fingerprint":"0a1b"},
        {"status":"resolved","labels":{"alertname":"Slow"},"annotations":{},"startsAt":"2026-11-24T12:00:00Z",
         "endsAt":"2026-11-24T12:00:09Z","fingerprint":"2c"}],
        "groupLabels":{"alertname":"Denied"},"commonLabels":{},"commonAnnotations":{},"externalURL":"http://a",
        "version":"4","groupKey":"{}:{}","truncatedAlerts":0}"#;

    fn read(text: &str) -> (Result<Taken, Refused>, Vec<Reading>) {
        let mut out = Vec::new();
        let document = Document {
            bytes: text.as_bytes(),
            media_type: "application/json",
        };
        let taken = (ENTRY.make)("pager", &Options::default()).document(&document, Duration::from_secs(3), &mut out);
        (taken, out)
    }

    #[test]
    fn firing_and_resolved() {
        let (taken, out) = read(NOTIFICATION);
        assert_eq!(taken, Ok(Taken::default()));
        let [Reading::Alert(denied), Reading::Alert(slow)] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(
            (denied.name.as_str(), denied.severity.as_str(), denied.firing),
            ("Denied", "page", true)
        );
        assert_eq!(denied.techniques, ["T1078.004"]);
        assert_eq!(denied.claimed.unwrap().to_string(), "2026-11-24T12:00:01.5Z");
        assert_eq!(denied.fields["labels"]["run"], "r-7");
        assert_eq!(denied.fields["notification"]["groupLabels"]["alertname"], "Denied");
        assert!(!slow.firing);
        assert_eq!(slow.claimed.unwrap().to_string(), "2026-11-24T12:00:09Z");
        assert_eq!(slow.boottime, Duration::from_secs(3));
    }

    #[test]
    fn what_is_left_out_is_a_gap() {
        let (taken, out) = read(
            r#"{"version":"4","alerts":[{"status":"maybe","labels":{}},{"status":"firing"},7],"truncatedAlerts":4}"#,
        );
        assert_eq!(taken.unwrap().rejected, 3);
        assert!(matches!(&out[..], [Reading::Gap { reason, .. }] if reason.starts_with("7 alerts")));
    }

    #[test]
    fn other_documents_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"alerts":[]}"#,
            r#"{"version":"3","alerts":[]}"#,
            r#"{"version":"4","alerts":{}}"#,
        ] {
            let (taken, out) = read(text);
            assert!(taken.is_err() && out.is_empty(), "{text}");
        }
    }
}
