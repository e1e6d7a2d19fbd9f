//! # secret/render-key
//!
//! A Render API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It deploys services and reads their configuration. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! rnd_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dashboard.render.com first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://api-docs.render.com/reference/authentication>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/render-key",
    what: "Render API key",
    severity: Severity::High,
    fix: "revoke it at dashboard.render.com, then read a new one from a secret store at run time",
    keywords: &["rnd_"],
    find: Find::Token(r"rnd_[A-Za-z0-9]{24,40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["rn", "d_"].concat(), noise(ALNUM, 28));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["rn", "d_"].concat(), "x".repeat(28)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["rn", "d_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
