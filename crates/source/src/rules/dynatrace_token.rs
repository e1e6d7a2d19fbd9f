//! # secret/dynatrace-token
//!
//! A Dynatrace token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes an environment's monitoring. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! dt0c01.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the Dynatrace access token page first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.dynatrace.com/docs/dynatrace-api/basics/dynatrace-api-authentication>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/dynatrace-token",
    what: "Dynatrace token",
    severity: Severity::High,
    fix: "revoke it at the Dynatrace access token page, then read a new one from a secret store at run time",
    keywords: &["dt0c01."],
    find: Find::Token(r"dt0[a-zA-Z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{UPPER, check, noise};

    #[test]
    fn rows() {
        let value = format!("dt0{}.{}.{}", "c01", noise(UPPER, 24), noise(UPPER, 64));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["dt0", "c01."].concat(), "x".repeat(24)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["dt0", "c01."].concat(), noise(UPPER, 5)),
            None,
        );
    }
}
