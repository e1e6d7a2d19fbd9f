//! What is compared between the arms: a share of requests, with a margin. One file in `measures/` each.

use crate::Limits;

/// A measure: each request either counts or doesn't.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Key in the canary statement and last part of the page's id: `errors` of `canary/errors`.
    pub name: &'static str,
    /// Whether a request counts.
    pub counts: fn(&Request) -> bool,
    /// By how much the new arm's share may exceed the old one's.
    pub margin: fn(&Limits) -> f64,
}

/// What is known of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub error: bool,
    pub slow: bool,
}
