//! # secret/rubygems-token
//!
//! A RubyGems API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it pushes gems under its owner's name. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! rubygems_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at rubygems.org/profile/api_keys first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://guides.rubygems.org/api-key-scopes/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/rubygems-token",
    what: "RubyGems API key",
    severity: Severity::Critical,
    fix: "revoke it at rubygems.org/profile/api_keys, then read a new one from a secret store at run time",
    keywords: &["rubygems_"],
    find: Find::Token(r"rubygems_[0-9a-f]{48}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["ruby", "gems_"].concat(), noise(HEX, 48));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["ruby", "gems_"].concat(), "x".repeat(48)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["ruby", "gems_"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
