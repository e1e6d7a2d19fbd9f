//! # secret/posthog-key
//!
//! A PostHog personal API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads what users of a product do. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! phx_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at posthog.com, personal API keys first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://posthog.com/docs/api>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/posthog-key",
    what: "PostHog personal API key",
    severity: Severity::Medium,
    fix: "revoke it at posthog.com, personal API keys, then read a new one from a secret store at run time",
    keywords: &["phx_"],
    find: Find::Token(r"phx_[A-Za-z0-9]{43}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["ph", "x_"].concat(), noise(ALNUM, 43));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["ph", "x_"].concat(), "x".repeat(43)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["ph", "x_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
