//! # secret/figma-token
//!
//! A Figma token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads design files. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! figd_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at figma.com/settings first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.figma.com/developers/api#access-tokens>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/figma-token",
    what: "Figma token",
    severity: Severity::Medium,
    fix: "revoke it at figma.com/settings, then read a new one from a secret store at run time",
    keywords: &["figd_"],
    find: Find::Token(r"figd_[A-Za-z0-9_-]{20,60}"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["fi", "gd_"].concat(), noise(WORD, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["fi", "gd_"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["fi", "gd_"].concat(), noise(WORD, 5)),
            None,
        );
    }
}
