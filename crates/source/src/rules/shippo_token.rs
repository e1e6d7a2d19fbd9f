//! # secret/shippo-token
//!
//! A Shippo token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It buys postage at the owner's cost. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! shippo_live_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at goshippo.com first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.goshippo.com/docs/guides_general/authentication/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/shippo-token",
    what: "Shippo token",
    severity: Severity::High,
    fix: "revoke it at goshippo.com, then read a new one from a secret store at run time",
    keywords: &["shippo_live_", "shippo_test_"],
    find: Find::Token(r"shippo_(?:live|test)_[0-9a-f]{32,40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["shippo", "_live_"].concat(), noise(HEX, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["shippo", "_live_"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["shippo", "_live_"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
