//! # secret/supabase-token
//!
//! A Supabase token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It manages every project of its owner. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! sbp_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at supabase.com/dashboard/account/tokens first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://supabase.com/docs/reference/api/introduction>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/supabase-token",
    what: "Supabase token",
    severity: Severity::High,
    fix: "revoke it at supabase.com/dashboard/account/tokens, then read a new one from a secret store at run time",
    keywords: &["sbp_", "sb_secret_"],
    find: Find::Token(r"(?:sbp_[0-9a-f]{40}|sb_secret_[A-Za-z0-9_-]{20,60})(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["sb", "p_"].concat(), noise(HEX, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["sb", "p_"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["sb", "p_"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
