//! # secret/square-token
//!
//! A Square token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It takes payments and reads customers. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! sq0atp-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at developer.squareup.com/apps first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developer.squareup.com/docs/build-basics/access-tokens>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/square-token",
    what: "Square token",
    severity: Severity::High,
    fix: "revoke it at developer.squareup.com/apps, then read a new one from a secret store at run time",
    keywords: &["sq0atp-", "sq0csp-", "EAAA"],
    find: Find::Token(r"(?:sq0(?:atp|csp)-[A-Za-z0-9_-]{22,43}|EAAA[A-Za-z0-9_+=-]{60})(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("sq0{}{}", "atp-", noise(ALNUM, 22));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "sq0atp-xx", None);
    }
}
