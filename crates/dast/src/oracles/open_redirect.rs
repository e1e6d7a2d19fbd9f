//! # dast/open-redirect
//! Input decides where a redirect goes, to any host.
//!
//! ## What it does
//! Sends the address of a host that can't exist in every string, and looks for it as the target of a redirect. It
//! doesn't follow it.
//!
//! ## Why it matters
//! A link to a host that people trust takes them to one they don't, and some sign-in flows hand it their tokens.
//!
//! ## Example
//! `GET /login?next=https://proofmark.invalid/` answers 302 with `location: https://proofmark.invalid/`.
//!
//! ## What to do instead
//! Accept paths only, or look the target up in a list.
//!
//! ## References
//! - CWE-601, open redirect, <https://cwe.mitre.org/data/definitions/601.html>

use evidence::Severity;

use crate::cases::FOREIGN_HOST;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/open-redirect",
    fix: "redirect to paths only, or to hosts from a list",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let redirect = exchange.response().filter(|response| response.status / 100 == 3);
    let Some(location) = redirect.and_then(|response| response.header("location")) else {
        return Vec::new();
    };
    let target = location
        .split_once("//")
        .filter(|(scheme, _)| scheme.is_empty() || scheme.ends_with(':'));
    if target.is_some_and(|(_, rest)| rest.starts_with(FOREIGN_HOST)) {
        vec![Hit::new(
            Severity::Medium,
            "location",
            "redirects to whatever host its input names",
        )]
    } else {
        Vec::new()
    }
}
