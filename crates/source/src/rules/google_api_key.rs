//! # secret/google-api-key
//!
//! A Google API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Unless restricted it spends the owner's quota, and opens Gemini and Maps. Removing it in a later commit leaves it
//! in every clone.
//!
//! ## Example
//!
//! ```text
//! AIza…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.cloud.google.com/apis/credentials first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://cloud.google.com/docs/authentication/api-keys>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/google-api-key",
    what: "Google API key",
    severity: Severity::Medium,
    fix: "revoke it at console.cloud.google.com/apis/credentials, then read a new one from a secret store at run time",
    keywords: &["AIza"],
    find: Find::Token(r"(?P<value>AIza[0-9A-Za-z_-]{35})(?:[^0-9A-Za-z_-]|$)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("AI{}{}", "za", noise(ALNUM, 35));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "AIzaSyExampleExampleExampleExampleExamp",
            None,
        );
    }
}
