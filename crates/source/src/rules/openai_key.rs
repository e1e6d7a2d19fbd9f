//! # secret/openai-key
//!
//! An OpenAI API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It spends the owner's money and reads stored conversations. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! OPENAI_API_KEY=sk-proj-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at platform.openai.com/api-keys first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://platform.openai.com/docs/api-reference/authentication>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/openai-key",
    what: "OpenAI API key",
    severity: Severity::Critical,
    fix: "revoke it at platform.openai.com/api-keys, then read a new one from a secret store at run time",
    keywords: &["sk-"],
    find: Find::Token(
        r"(?P<value>sk-(?:(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,120}T3BlbkFJ[A-Za-z0-9_-]{20,120}|[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}|[A-Za-z0-9]{48}))(?:[^A-Za-z0-9_-]|$)",
    ),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("sk-proj-{}T3Blbk{}{}", noise(WORD, 74), "FJ", noise(WORD, 74));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k={value}"),
            Some(&value),
        );
        let value = format!("sk-{}T3Blbk{}{}", noise(ALNUM, 20), "FJ", noise(ALNUM, 20));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "sk-proj-short", None);
        check(super::ENTRY.id, "config/settings.conf", "sk-learn and sk-image", None);
    }
}
