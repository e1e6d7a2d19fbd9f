//! # secret/jfrog-token
//!
//! A JFrog token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it replaces packages that builds pull in. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! AKCp…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the JFrog user profile first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://jfrog.com/help/r/jfrog-platform-administration-documentation/access-tokens>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/jfrog-token",
    what: "JFrog token",
    severity: Severity::Critical,
    fix: "revoke it at the JFrog user profile, then read a new one from a secret store at run time",
    keywords: &["AKCp", "cmVmdGtuOj"],
    find: Find::Token(r"(?:AKCp[A-Za-z0-9]{30,72}|cmVmdGtuOj[A-Za-z0-9]{50,64})(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("AK{}{}", "Cp", noise(ALNUM, 69));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "AKCpshort", None);
    }
}
