//! # secret/anthropic-key
//!
//! An Anthropic API key stands in the tree or in its history.
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
//! ANTHROPIC_API_KEY=sk-ant-api03-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.anthropic.com/settings/keys first: it is known. Then keep the new one in a secret store, hand
//! it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.anthropic.com/en/api/getting-started>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/anthropic-key",
    what: "Anthropic API key",
    severity: Severity::Critical,
    fix: "revoke it at console.anthropic.com/settings/keys, then read a new one from a secret store at run time",
    keywords: &["sk-ant-"],
    find: Find::Token(r"sk-ant-(?:api|admin|oat|ort)[0-9]{2}-[A-Za-z0-9_-]{80,120}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("sk-{}-api03-{}AA", "ant", noise(WORD, 93));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "sk-ant-api03-short", None);
    }
}
