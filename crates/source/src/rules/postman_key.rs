//! # secret/postman-key
//!
//! A Postman API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads saved requests, which hold other secrets. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! PMAK-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at go.postman.co/settings/me/api-keys first: it is known. Then keep the new one in a secret store, hand
//! it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learning.postman.com/docs/developer/postman-api/authentication/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/postman-key",
    what: "Postman API key",
    severity: Severity::High,
    fix: "revoke it at go.postman.co/settings/me/api-keys, then read a new one from a secret store at run time",
    keywords: &["PMAK-"],
    find: Find::Token(r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("PM{}{}-{}", "AK-", noise(HEX, 24), noise(HEX, 34));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "PMAK-1", None);
    }
}
