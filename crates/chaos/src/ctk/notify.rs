//! Notifications that the settings ask for: a call over HTTP, or of a module's function. None of them can fail a run.

use std::time::Duration;

use net::web::{self, SYSTEM_CERTIFICATES, Verify, WebRequest};

use super::bridge;
use super::engine::{Engine, Lane};
use super::value::{Dict, Value};
use super::{Level, json};

const CONNECT_TIMEOUT_S: u64 = 2;
const READ_TIMEOUT_S: u64 = 5;

impl Engine<'_> {
    /// Tells every channel that wants to hear of this event.
    pub(super) fn notify(&self, event: &str, payload: Value) {
        let Some(channels) = self.options.settings.find("notifications").cloned() else {
            return;
        };
        for channel in channels.iterate().unwrap_or_default() {
            let wanted = channel.find("events").filter(|events| events.truthy());
            let wanted = wanted.map(|events| events.iterate().unwrap_or_default());
            if wanted.is_some_and(|events| !events.iter().any(|wanted| wanted.as_str() == Some(event))) {
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "below 2^53 until the year 2255")]
            let now = self.hooks.now_us() as f64 / 1e6;
            let payload = Value::dict([
                ("name", Value::str(event)),
                ("payload", payload.clone()),
                ("phase", Value::str("run")),
                ("ts", Value::Float(now)),
            ]);
            match channel.find("type").and_then(Value::as_str) {
                Some("http") => self.notify_over_http(&channel, &payload),
                Some("plugin") => {
                    let mut question = Dict::default();
                    question.set("channel", bridge::encoded(&channel));
                    question.set("payload", bridge::encoded(&payload));
                    if let Err(raise) = self.ask("notify", question, Lane::Foreground).0 {
                        self.say(Level::Debug, &format!("a notification failed: {raise}"));
                    }
                }
                _ => {}
            }
        }
    }

    fn notify_over_http(&self, channel: &Value, payload: &Value) {
        let Some(url) = channel.find("url").and_then(Value::as_str) else {
            return;
        };
        let given = channel
            .find("headers")
            .and_then(Value::as_dict)
            .cloned()
            .unwrap_or_default();
        let mut headers: Vec<(String, String)> = given
            .0
            .iter()
            .map(|(name, value)| (name.text(), value.text()))
            .collect();
        let forwards = channel.find("forward_event_payload").is_none_or(Value::truthy);
        let body = if forwards {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
            json::line(payload).ok().map(String::into_bytes)
        } else {
            None
        };
        let verify = if channel.find("verify_tls").is_none_or(Value::truthy) {
            Verify::Against(SYSTEM_CERTIFICATES.iter().map(Into::into).collect())
        } else {
            Verify::Off
        };
        let request = WebRequest {
            method: if forwards { "POST" } else { "GET" }.to_owned(),
            url: url.to_owned(),
            headers,
            body,
            verify,
            connect_timeout: Some(Duration::from_secs(CONNECT_TIMEOUT_S)),
            read_timeout: Some(Duration::from_secs(READ_TIMEOUT_S)),
            redirects_max: 5,
        };
        if let Err(error) = web::send(&request, &|| false) {
            self.say(Level::Debug, &format!("a notification failed: {error}"));
        }
    }
}
