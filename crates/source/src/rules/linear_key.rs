//! # secret/linear-key
//!
//! A Linear API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes a team's issues. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! lin_api_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at linear.app/settings/api first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.linear.app/docs/graphql/working-with-the-graphql-api>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/linear-key",
    what: "Linear API key",
    severity: Severity::High,
    fix: "revoke it at linear.app/settings/api, then read a new one from a secret store at run time",
    keywords: &["lin_api_"],
    find: Find::Token(r"lin_api_[A-Za-z0-9]{40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["lin_", "api_"].concat(), noise(ALNUM, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["lin_", "api_"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["lin_", "api_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
