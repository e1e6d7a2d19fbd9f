//! # secret/sentry-token
//!
//! A Sentry token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads errors, which hold users' data, and uploads releases. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! sntryu_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at sentry.io/settings/auth-tokens first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.sentry.io/account/auth-tokens/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/sentry-token",
    what: "Sentry token",
    severity: Severity::High,
    fix: "revoke it at sentry.io/settings/auth-tokens, then read a new one from a secret store at run time",
    keywords: &["sntrys_", "sntryu_"],
    find: Find::Token(r"(?:sntrys_eyJ[A-Za-z0-9+/=_-]{80,400}|sntryu_[0-9a-f]{64})"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("sntr{}{}", "yu_", noise(HEX, 64));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "sntryu_1", None);
    }
}
