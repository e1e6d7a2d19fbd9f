//! # secret/groq-key
//!
//! A Groq API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It spends the owner's quota. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! gsk_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.groq.com/keys first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://console.groq.com/docs/quickstart>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/groq-key",
    what: "Groq API key",
    severity: Severity::High,
    fix: "revoke it at console.groq.com/keys, then read a new one from a secret store at run time",
    keywords: &["gsk_"],
    find: Find::Token(r"gsk_[A-Za-z0-9]{52}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("gs{}{}", "k_", noise(ALNUM, 52));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "gsk_short", None);
    }
}
