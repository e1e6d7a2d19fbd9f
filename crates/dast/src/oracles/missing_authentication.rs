//! # dast/missing-authentication
//! An operation that the document protects answers 2xx to someone without valid credentials.
//!
//! ## What it does
//! Sends valid requests without credentials, and with credentials of the right form that nobody has issued, to every
//! operation whose `security` asks for some.
//!
//! ## Why it matters
//! Everyone who reaches the service can do what only some may. The document shows that this was not meant.
//!
//! ## Example
//! `GET /orders` declares `security: [{bearer: []}]`, and answers 200 to a request without `authorization`.
//!
//! ## What to do instead
//! Check credentials in one place that every route passes through, and let routes opt out by name. If the operation is
//! meant to be open, say so in the document: `security: []`.
//!
//! ## References
//! - CWE-306, missing authentication for critical function, <https://cwe.mitre.org/data/definitions/306.html>
//! - OWASP API2:2023, broken authentication,
//!   <https://owasp.org/API-Security/editions/2023/en/0xa2-broken-authentication/>

use evidence::Severity;

use crate::cases::Kind;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit, Requester};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/missing-authentication",
    fix: "check credentials before anything else on this route, or document it as open with `security: []`",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    if !exchange.operation.is_secured() || exchange.case.kind == Kind::Method {
        return Vec::new();
    }
    let Some(response) = exchange.success() else {
        return Vec::new();
    };
    let (context, whom) = match exchange.requester {
        Requester::Named => return Vec::new(),
        Requester::Anonymous => ("anonymous", "someone without credentials"),
        Requester::Invalid => ("invalid", "credentials that nobody has issued"),
    };
    vec![Hit::new(
        Severity::Critical,
        context,
        format!("declares security and answers {} to {whom}", response.status),
    )]
}
