//! # secret/tailscale-key
//!
//! A Tailscale key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It joins machines to a private network. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! tskey-auth-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at login.tailscale.com/admin/settings/keys first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://tailscale.com/kb/1085/auth-keys>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/tailscale-key",
    what: "Tailscale key",
    severity: Severity::Critical,
    fix: "revoke it at login.tailscale.com/admin/settings/keys, then read a new one from a secret store at run time",
    keywords: &["tskey-"],
    find: Find::Token(r"tskey-(?:api|auth|client|scim|webhook)-[A-Za-z0-9]{8,64}-[A-Za-z0-9]{20,96}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("ts{}-auth-{}-{}", "key", noise(ALNUM, 17), noise(ALNUM, 32));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "tskey-auth-x", None);
    }
}
