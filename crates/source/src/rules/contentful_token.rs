//! # secret/contentful-token
//!
//! A Contentful management token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It changes what a site shows. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! CFPAT-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.contentful.com/account/profile/cma_tokens first: it is known. Then keep the new one in a secret
//! store, hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.contentful.com/developers/docs/references/authentication/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/contentful-token",
    what: "Contentful management token",
    severity: Severity::High,
    fix: "revoke it at app.contentful.com/account/profile/cma_tokens, then read a new one from a secret store at run time",
    keywords: &["CFPAT-"],
    find: Find::Token(r"CFPAT-[A-Za-z0-9_-]{43}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["CFP", "AT-"].concat(), noise(WORD, 43));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["CFP", "AT-"].concat(), "x".repeat(43)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["CFP", "AT-"].concat(), noise(WORD, 5)),
            None,
        );
    }
}
