//! # secret/crates-io-token
//!
//! A crates.io token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it publishes crates under its owner's name. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! cio…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at crates.io/settings/tokens first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://crates.io/settings/tokens>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/crates-io-token",
    what: "crates.io token",
    severity: Severity::Critical,
    fix: "revoke it at crates.io/settings/tokens, then read a new one from a secret store at run time",
    keywords: &["cio"],
    find: Find::Token(r"cio[A-Za-z0-9]{32}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["c", "io"].concat(), noise(ALNUM, 32));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["c", "io"].concat(), "x".repeat(32)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["c", "io"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
