//! # secret/newrelic-key
//!
//! A New Relic key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes an account's monitoring. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! NRAK-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at one.newrelic.com, API keys first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.newrelic.com/docs/apis/intro-apis/new-relic-api-keys/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/newrelic-key",
    what: "New Relic key",
    severity: Severity::Medium,
    fix: "revoke it at one.newrelic.com, API keys, then read a new one from a secret store at run time",
    keywords: &["NRAK-"],
    find: Find::Token(r"NRAK-[A-Z0-9]{27}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{UPPER, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["NR", "AK-"].concat(), noise(UPPER, 27));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["NR", "AK-"].concat(), "x".repeat(27)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["NR", "AK-"].concat(), noise(UPPER, 5)),
            None,
        );
    }
}
