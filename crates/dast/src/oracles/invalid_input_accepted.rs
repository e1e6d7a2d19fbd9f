//! # dast/invalid-input-accepted
//! Input that the document rules out is answered 2xx.
//!
//! ## What it does
//! Sends input that departs from its schema in one place: out of bounds, of another type, left out, cut short. Whether
//! it does depart is decided by the schema, not by the intention.
//!
//! ## Why it matters
//! Checks that are only in the document protect nobody. What gets past them meets code that relies on them.
//!
//! ## Example
//! The document says `quantity` is at least 1; `POST /orders` answers 201 to `{"quantity": -1}`.
//!
//! ## What to do instead
//! Check input against the document where it enters, or say in the document what is accepted.
//!
//! ## References
//! - CWE-20, improper input validation, <https://cwe.mitre.org/data/definitions/20.html>

use evidence::Severity;

use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/invalid-input-accepted",
    fix: "check input against the document where it enters, or document what is accepted",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let invalid = exchange.case.invalid;
    let Some(response) = exchange.success().filter(|_| invalid) else {
        return Vec::new();
    };
    let class = &exchange.case.class;
    vec![Hit::new(
        Severity::Low,
        class.clone(),
        format!("answers {} to input that its document rules out", response.status),
    )]
}
