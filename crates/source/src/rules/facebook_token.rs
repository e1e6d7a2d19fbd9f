//! # secret/facebook-token
//!
//! A Facebook token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It acts as a page or user. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! EAA…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at developers.facebook.com/apps first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.facebook.com/docs/facebook-login/guides/access-tokens/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/facebook-token",
    what: "Facebook token",
    severity: Severity::High,
    fix: "revoke it at developers.facebook.com/apps, then read a new one from a secret store at run time",
    keywords: &["EAACEdEose0cBA", "EAAC", "EAAB", "EAAG", "EAAM"],
    find: Find::Token(r"EAA[A-Z][A-Za-z0-9]{90,400}"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("EA{}{}", "AC", noise(ALNUM, 120));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "EAACxxxx", None);
    }
}
