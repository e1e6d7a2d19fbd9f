//! # secret/doppler-token
//!
//! A Doppler token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads every secret of a project. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! dp.st.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dashboard.doppler.com first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.doppler.com/reference/auth-token-formats>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/doppler-token",
    what: "Doppler token",
    severity: Severity::Critical,
    fix: "revoke it at dashboard.doppler.com, then read a new one from a secret store at run time",
    keywords: &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."],
    find: Find::Token(r"dp\.(?:pt|ct|sa|scim|audit|st(?:\.[a-z0-9_-]{2,35})?)\.[A-Za-z0-9]{40,44}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("dp.{}.{}", "pt", noise(ALNUM, 43));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "dp.st.short", None);
    }
}
