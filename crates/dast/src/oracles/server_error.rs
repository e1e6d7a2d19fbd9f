//! # dast/server-error
//! The service fails on input: it answers 5xx, closes the connection without an answer, or doesn't answer in time.
//!
//! ## What it does
//! Holds every answer against the status classes of HTTP. A 501 to a method that nobody documented is no failure.
//!
//! ## Why it matters
//! A 5xx is the service's own admission that it met something it was not written for. Whoever can cause it at will
//! can take the service down, and often the code behind it does half of its work before it fails.
//!
//! ## Example
//! `POST /orders` with `{"quantity": 9223372036854775807}` overflows and is answered 500.
//!
//! ## What to do instead
//! Check input where it enters, and answer 400 or 422 with what is wrong. Send the same input again to reproduce it.
//!
//! ## References
//! - RFC 9110 section 15.6, <https://www.rfc-editor.org/rfc/rfc9110#section-15.6>
//! - CWE-248, uncaught exception, <https://cwe.mitre.org/data/definitions/248.html>

use evidence::Severity;
use net::http::HttpError;

use crate::cases::Kind;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/server-error",
    fix: "check that input where it enters and answer 400 or 422",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let hit = match exchange.result {
        Ok(response) if exchange.case.kind == Kind::Method && response.status == 501 => None,
        Ok(response) if response.status >= 500 => Some(Hit::new(
            Severity::High,
            format!("status {}", response.status),
            format!("answers {}", response.status),
        )),
        Ok(_) => None,
        Err(HttpError::Closed(_)) => Some(Hit::new(
            Severity::High,
            "closed",
            "closes the connection without an answer",
        )),
        Err(HttpError::Timeout { .. }) => Some(Hit::new(Severity::Medium, "timeout", "doesn't answer in time")),
        Err(HttpError::Protocol(_)) => Some(Hit::new(
            Severity::Medium,
            "protocol",
            "answers with something that is not HTTP",
        )),
        Err(HttpError::Request(_) | HttpError::Connect(_) | HttpError::BodyTooLarge { .. }) => None,
    };
    hit.into_iter().collect()
}
