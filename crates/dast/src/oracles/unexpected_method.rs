//! # dast/unexpected-method
//! A method that the document doesn't have for a path is answered 2xx.
//!
//! ## What it does
//! Sends the common methods that a path doesn't document, `TRACE`, and one that doesn't exist. `HEAD` and `OPTIONS`
//! are left out, since servers give them on their own.
//!
//! ## Why it matters
//! What isn't documented isn't reviewed, and checks that are bound to a method are passed by with another one.
//!
//! ## Example
//! Only `GET /orders` is documented and protected; `DELETE /orders` answers 204 to anyone.
//!
//! ## What to do instead
//! Answer 405 with an `allow` header, or document the method.
//!
//! ## References
//! - CWE-650, trusting HTTP permission methods, <https://cwe.mitre.org/data/definitions/650.html>
//! - RFC 9110 section 15.5.6, <https://www.rfc-editor.org/rfc/rfc9110#section-15.5.6>

use evidence::Severity;

use crate::cases::Kind;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/unexpected-method",
    fix: "answer 405, or document the method",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let undocumented = exchange.case.kind == Kind::Method;
    let Some(response) = exchange.success().filter(|_| undocumented) else {
        return Vec::new();
    };
    let method = &exchange.case.method;
    let what = format!(
        "belongs to a path that answers {} to the undocumented method `{method}`",
        response.status
    );
    vec![Hit::new(Severity::Low, format!("method {method}"), what)]
}
