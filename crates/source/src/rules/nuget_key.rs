//! # secret/nuget-key
//!
//! A NuGet API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it publishes packages under its owner's name. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! oy2…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at nuget.org/account/apikeys first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learn.microsoft.com/nuget/nuget-org/scoped-api-keys>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/nuget-key",
    what: "NuGet API key",
    severity: Severity::Critical,
    fix: "revoke it at nuget.org/account/apikeys, then read a new one from a secret store at run time",
    keywords: &["oy2"],
    find: Find::Token(r"oy2[a-z0-9]{43}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{check, noise};

    #[test]
    fn rows() {
        let value = format!("o{}{}", "y2", noise("abcdefghijklmnopqrstuvwxyz234567", 43));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "oy2short", None);
    }
}
