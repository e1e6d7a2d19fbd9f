//! # secret/huggingface-token
//!
//! A Hugging Face token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads private models and data sets, and may replace them. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! hf_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at huggingface.co/settings/tokens first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://huggingface.co/docs/hub/security-tokens>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/huggingface-token",
    what: "Hugging Face token",
    severity: Severity::High,
    fix: "revoke it at huggingface.co/settings/tokens, then read a new one from a secret store at run time",
    keywords: &["hf_", "api_org_"],
    find: Find::Token(r"(?:hf_[A-Za-z0-9]{34,40}|api_org_[A-Za-z]{34})(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["h", "f_"].concat(), noise(ALNUM, 34));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["h", "f_"].concat(), "x".repeat(34)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["h", "f_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
