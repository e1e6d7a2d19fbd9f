//! # secret/airtable-token
//!
//! An Airtable token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes bases. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! pat….…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at airtable.com/create/tokens first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://airtable.com/developers/web/guides/personal-access-tokens>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/airtable-token",
    what: "Airtable token",
    severity: Severity::High,
    fix: "revoke it at airtable.com/create/tokens, then read a new one from a secret store at run time",
    keywords: &["pat"],
    find: Find::Token(r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("pa{}{}.{}", "t", noise(ALNUM, 14), noise(HEX, 64));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "patterns.deadbeef", None);
    }
}
