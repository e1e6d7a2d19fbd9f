//! # dast/schema-violation
//! An answer isn't what the document says: its status, its content type, its body or a header it must have.
//!
//! ## What it does
//! Holds every answer to a documented method against the operation's `responses`: status (exact, `4XX` or `default`),
//! content type, required headers, and the body against its JSON schema. Undocumented statuses that layers before the
//! operation give are no violation: 401 and 403 where security is declared, 413, 414 and 431 for long input, 415 for
//! another content type, and 400 or 404 for values a router or parser may refuse on its own.
//!
//! ## Why it matters
//! Clients, gateways and tests are written from the document. Where the service departs from it, they fail on input
//! that nobody has tried, and a member that should not be there may tell more than was meant.
//!
//! ## Example
//! The document says that `GET /orders/{id}` answers `{"id": "string", ...}`; the service answers `{"id": 7}`.
//!
//! ## What to do instead
//! Generate one from the other, or test answers against the document in the service's own tests. If the answer is
//! right, mend the document.
//!
//! ## References
//! - OpenAPI 3.1.1, Responses Object, <https://spec.openapis.org/oas/v3.1.1.html#responses-object>
//! - JSON Schema 2020-12, <https://json-schema.org/draft/2020-12>

use evidence::Severity;
use net::http::Response;
use serde_json::Value;

use crate::cases::Kind;
use crate::openapi::{ResponseSpec, essence, is_json};
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};
use crate::schema::{Checker, Sender};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/schema-violation",
    fix: "answer as the document says, or document what is answered",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response() else {
        return Vec::new();
    };
    // Without any documented response there is nothing to hold against, and a 5xx has its own oracle.
    if exchange.case.kind == Kind::Method || exchange.operation.responses.is_empty() {
        return Vec::new();
    }
    let Some(spec) = exchange.operation.response(response.status) else {
        return undocumented(exchange, response.status).into_iter().collect();
    };
    let mut hits: Vec<Hit> = Vec::new();
    hits.extend(missing_header(spec, response));
    hits.extend(content(exchange, spec, response));
    hits
}

fn undocumented(exchange: &Exchange<'_>, status: u16) -> Option<Hit> {
    let extreme = exchange.case.kind == Kind::Extreme;
    let excused = match status {
        401 | 403 => exchange.operation.is_secured(),
        400 | 404 | 413 | 414 | 415 | 422 | 431 => extreme,
        500.. => true,
        _ => false,
    };
    if excused {
        return None;
    }
    let severity = if status / 100 == 2 {
        Severity::Medium
    } else {
        Severity::Low
    };
    Some(Hit::new(
        severity,
        format!("status {status}"),
        format!("answers {status}, which is not documented"),
    ))
}

fn missing_header(spec: &ResponseSpec, response: &Response) -> Option<Hit> {
    let name = spec
        .required_headers
        .iter()
        .find(|name| response.header(name).is_none())?;
    let status = response.status;
    Some(Hit::new(
        Severity::Low,
        format!("header {name} of {status}"),
        format!("answers {status} without the header `{name}`"),
    ))
}

fn content(exchange: &Exchange<'_>, spec: &ResponseSpec, response: &Response) -> Option<Hit> {
    let status = response.status;
    let bodiless = exchange.operation.method == "HEAD" || status == 204 || status == 304;
    if spec.content.is_empty() || bodiless {
        return None;
    }
    let content_type = essence(response.header("content-type").unwrap_or_default());
    let Some((_, schema)) = spec.content.iter().find(|(range, _)| is_within(&content_type, range)) else {
        let expected: Vec<&str> = spec
            .content
            .iter()
            .map(|(media_type, _)| media_type.as_str())
            .take(3)
            .collect();
        return Some(Hit::new(
            Severity::Medium,
            format!("content type of {status}"),
            format!(
                "answers {status} with another content type than `{}`",
                expected.join("`, `")
            ),
        ));
    };
    if !is_json(&content_type) {
        return None;
    }
    let Ok(body) = serde_json::from_slice::<Value>(&response.body) else {
        return Some(Hit::new(
            Severity::Medium,
            format!("body of {status}"),
            format!("answers {status} with a body that is not JSON"),
        ));
    };
    let violation = Checker::new(&exchange.api.document, Sender::Server).check(schema.as_ref()?, &body)?;
    let place = if violation.pointer.is_empty() {
        "the body".to_owned()
    } else {
        format!("`{}`", violation.pointer)
    };
    Some(Hit::new(
        Severity::Medium,
        format!("body of {status} at {} {}", violation.pointer, violation.keyword),
        format!(
            "answers {status} with a body that departs from its schema: {place} {}",
            violation.what
        ),
    ))
}

/// Whether a media type is within a range such as `application/*`.
fn is_within(media_type: &str, range: &str) -> bool {
    match range.strip_suffix('*') {
        Some("*/") => true,
        Some(prefix) => media_type.starts_with(prefix),
        None => media_type == range,
    }
}
