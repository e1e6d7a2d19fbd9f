//! # secret/notion-token
//!
//! A Notion token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads the pages an integration was given. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! ntn_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at notion.so/my-integrations first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.notion.com/reference/authentication>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/notion-token",
    what: "Notion token",
    severity: Severity::High,
    fix: "revoke it at notion.so/my-integrations, then read a new one from a secret store at run time",
    keywords: &["ntn_", "secret_"],
    find: Find::Token(r"(?:ntn_[A-Za-z0-9]{43,46}|secret_[A-Za-z0-9]{43})(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["nt", "n_"].concat(), noise(ALNUM, 46));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nt", "n_"].concat(), "x".repeat(46)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nt", "n_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
