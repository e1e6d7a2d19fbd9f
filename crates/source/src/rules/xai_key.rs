//! # secret/xai-key
//!
//! A xAI API key stands in the tree or in its history.
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
//! xai-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.x.ai first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.x.ai/docs/overview>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/xai-key",
    what: "xAI API key",
    severity: Severity::High,
    fix: "revoke it at console.x.ai, then read a new one from a secret store at run time",
    keywords: &["xai-"],
    find: Find::Token(r"xai-[A-Za-z0-9]{80}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["xa", "i-"].concat(), noise(ALNUM, 80));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["xa", "i-"].concat(), "x".repeat(80)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["xa", "i-"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
