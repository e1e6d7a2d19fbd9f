//! # secret/flyio-token
//!
//! A Fly.io token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It deploys to and opens a shell in an organisation's machines. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! FlyV1 fm2_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at fly.io/tokens first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://fly.io/docs/security/tokens/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/flyio-token",
    what: "Fly.io token",
    severity: Severity::Critical,
    fix: "revoke it at fly.io/tokens, then read a new one from a secret store at run time",
    keywords: &["fo1_", "fm1a_", "fm1r_", "fm2_"],
    find: Find::Token(r"(?:fo1_[A-Za-z0-9_-]{43}|fm[12][ar]?_[A-Za-z0-9+/]{36,900}={0,3})"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("fm{}{}", "2_", noise(ALNUM, 120));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "fm2_short", None);
    }
}
