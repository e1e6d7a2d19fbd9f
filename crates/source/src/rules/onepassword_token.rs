//! # secret/onepassword-token
//!
//! A 1Password service token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It opens vaults. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! ops_eyJ…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at my.1password.com first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developer.1password.com/docs/service-accounts/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/onepassword-token",
    what: "1Password service token",
    severity: Severity::Critical,
    fix: "revoke it at my.1password.com, then read a new one from a secret store at run time",
    keywords: &["ops_eyJ", "A3-"],
    find: Find::Token(
        r"(?:ops_eyJ[A-Za-z0-9+/]{250,1200}={0,3}|A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5})",
    ),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("ops{}{}", "_eyJ", noise(ALNUM, 300));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "ops_eyJshort", None);
    }
}
