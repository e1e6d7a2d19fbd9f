//! The ledger's HTTP interface.
//!
//! ```text
//! GET  /balance   {"balance_cents":2400,"entries":2}
//! POST /entries   {"id":"…","amount_cents":1200} -> 201, or 200 when that id was booked before
//! GET  /health    no token
//! GET  /metrics   no token
//! ```

use std::sync::{Mutex, PoisonError};

use common::http::{Request, Response};
use common::log::Log;
use common::metrics::{Counter, render};
use serde_json::{Value, json};

use crate::auth::{Denied, Lookup, authorise};
use crate::book::{AMOUNT_CENTS_MAX, Book};

const ID_BYTES_MAX: usize = 64;

/// Everything the ledger is, but its socket.
pub struct Api {
    broker: Box<dyn Lookup>,
    log: Log,
    book: Mutex<Book>,
    requests: Counter,
    denied: Counter,
    entries: Counter,
}

impl Api {
    pub fn new(broker: Box<dyn Lookup>, log: Log) -> Self {
        Api {
            broker,
            log,
            book: Mutex::new(Book::default()),
            requests: Counter::new("ledger_requests_total", "Requests answered."),
            denied: Counter::new("ledger_denied_total", "Requests turned away for their credential."),
            entries: Counter::new("ledger_entries_total", "Entries booked."),
        }
    }

    pub fn handle(&self, request: &Request) -> Response {
        self.requests.increase();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/health") => {
                let version = env!("CARGO_PKG_VERSION");
                Response::json(200, &json!({ "status": "ok", "service": "ledger", "version": version }))
            }
            ("GET", "/metrics") => {
                let text = render(&[&self.requests, &self.denied, &self.entries]);
                Response::bytes(200, "text/plain; version=0.0.4", text)
            }
            ("GET", "/balance") => self.with_credential(request, |_| self.balance()),
            ("POST", "/entries") => self.with_credential(request, |api| api.add(request)),
            (_, "/health" | "/metrics" | "/balance") => not_allowed("GET"),
            (_, "/entries") => not_allowed("POST"),
            _ => Response::error(404, "there is nothing here"),
        }
    }

    fn with_credential(&self, request: &Request, answer: impl FnOnce(&Api) -> Response) -> Response {
        let denied = match authorise(request, &*self.broker) {
            Ok(_) => return answer(self),
            Err(denied) => denied,
        };
        if denied == Denied::BrokerUnavailable {
            self.log.warn("broker-unavailable", &[]);
            return Response::error(503, denied.reason());
        }
        self.denied.increase();
        self.log.warn(
            "denied",
            &[
                ("reason", denied.reason().into()),
                ("path", known_path(&request.path).into()),
            ],
        );
        match denied {
            Denied::WrongPolicy => Response::error(403, denied.reason()),
            _ => Response::unauthenticated(denied.reason()),
        }
    }

    fn balance(&self) -> Response {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        Response::json(
            200,
            &json!({ "balance_cents": book.balance_cents(), "entries": book.entries() }),
        )
    }

    fn add(&self, request: &Request) -> Response {
        if request.media_type().as_deref() != Some("application/json") {
            return Response::error(415, "the body must be application/json");
        }
        let Ok(body) = serde_json::from_slice::<Value>(&request.body) else {
            return Response::error(400, "the body is not JSON");
        };
        let id = body["id"].as_str().filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
        let amount = body["amount_cents"]
            .as_i64()
            .filter(|amount| (-AMOUNT_CENTS_MAX..=AMOUNT_CENTS_MAX).contains(amount));
        let (Some(id), Some(amount)) = (id, amount) else {
            return Response::error(422, "an entry needs `id` and `amount_cents`");
        };
        let new = self.book.lock().unwrap_or_else(PoisonError::into_inner).add(id, amount);
        if new {
            self.entries.increase();
        }
        Response::json(
            if new { 201 } else { 200 },
            &json!({ "id": id, "amount_cents": amount }),
        )
    }
}

fn not_allowed(allow: &'static str) -> Response {
    Response::error(405, "there is no such method here").with("allow", allow)
}

/// Only paths of ours are logged: what a stranger sends may be anything.
fn known_path(path: &str) -> &'static str {
    if path == "/balance" { "/balance" } else { "/entries" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::{OneToken, request};

    fn api() -> Api {
        Api::new(Box::new(OneToken::new("ledger")), Log::silent("ledger"))
    }

    fn send(api: &Api, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, Value) {
        let mut request = request(token);
        request.method = method.to_owned();
        request.path = path.to_owned();
        request
            .headers
            .push(("content-type".to_owned(), "application/json; charset=utf-8".to_owned()));
        request.body = body.as_bytes().to_vec();
        let response = api.handle(&request);
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap_or(Value::Null),
        )
    }

    #[test]
    fn books_entries_for_who_may() {
        let api = api();
        assert_eq!(
            send(
                &api,
                "POST",
                "/entries",
                Some("good"),
                r#"{"id":"a","amount_cents":1200}"#
            )
            .0,
            201
        );
        assert_eq!(
            send(
                &api,
                "POST",
                "/entries",
                Some("good"),
                r#"{"id":"a","amount_cents":1200}"#
            )
            .0,
            200
        );
        let (status, body) = send(&api, "GET", "/balance", Some("good"), "");
        assert_eq!((status, body), (200, json!({ "balance_cents": 1200, "entries": 1 })));
    }

    #[test]
    fn turns_away_and_counts_who_may_not() {
        let api = api();
        assert_eq!(send(&api, "GET", "/balance", None, "").0, 401);
        assert_eq!(send(&api, "POST", "/entries", Some("other"), "{}").0, 401);
        assert_eq!(api.denied.value(), 2);
        let stranger = Api::new(Box::new(OneToken::new("storefront")), Log::silent("ledger"));
        assert_eq!(send(&stranger, "GET", "/balance", Some("good"), "").0, 403);
    }

    #[test]
    fn health_and_metrics_need_no_token() {
        let api = api();
        assert_eq!(send(&api, "GET", "/health", None, "").0, 200);
        let mut metrics = request(None);
        metrics.method = "GET".to_owned();
        metrics.path = "/metrics".to_owned();
        let text = String::from_utf8(api.handle(&metrics).body).unwrap();
        assert!(text.contains("\nledger_denied_total 0\n"));
    }

    #[test]
    fn refuses_what_is_no_entry() {
        let api = api();
        for (body, status) in [
            ("", 400),
            ("{", 400),
            ("{}", 422),
            (r#"{"id":"","amount_cents":1}"#, 422),
            (r#"{"id":"a","amount_cents":1.5}"#, 422),
            (r#"{"id":"a","amount_cents":100000001}"#, 422),
        ] {
            assert_eq!(send(&api, "POST", "/entries", Some("good"), body).0, status, "{body}");
        }
        assert_eq!(send(&api, "DELETE", "/entries", Some("good"), "").0, 405);
        assert_eq!(send(&api, "GET", "/nothing", Some("good"), "").0, 404);
    }
}
