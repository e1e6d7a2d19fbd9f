//! # secret/replicate-token
//!
//! A Replicate token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It spends the owner's money. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! r8_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at replicate.com/account/api-tokens first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://replicate.com/docs/reference/http>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/replicate-token",
    what: "Replicate token",
    severity: Severity::High,
    fix: "revoke it at replicate.com/account/api-tokens, then read a new one from a secret store at run time",
    keywords: &["r8_"],
    find: Find::Token(r"r8_[A-Za-z0-9]{37}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["r", "8_"].concat(), noise(ALNUM, 37));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["r", "8_"].concat(), "x".repeat(37)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["r", "8_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
