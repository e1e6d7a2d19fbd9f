//! # secret/dropbox-token
//!
//! A Dropbox token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes files. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! sl.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dropbox.com/developers/apps first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.dropbox.com/oauth-guide>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/dropbox-token",
    what: "Dropbox token",
    severity: Severity::High,
    fix: "revoke it at dropbox.com/developers/apps, then read a new one from a secret store at run time",
    keywords: &["sl."],
    find: Find::Token(r"sl\.[A-Za-z0-9_-]{120,1200}"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("s{}{}", "l.", noise(WORD, 136));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "sl.short", None);
    }
}
