//! # secret/discord-webhook
//!
//! A Discord webhook address stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Anyone with the address posts into the channel. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! https://discord.com/api/webhooks/…/…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the channel's settings first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://discord.com/developers/docs/resources/webhook>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/discord-webhook",
    what: "Discord webhook address",
    severity: Severity::Medium,
    fix: "revoke it at the channel's settings, then read a new one from a secret store at run time",
    keywords: &["/api/webhooks/"],
    find: Find::Near {
        pattern: r"discord(?:app)?\.com/api/webhooks/[0-9]{16,21}/(?P<value>[A-Za-z0-9_-]{60,80})",
        before: 30,
        after: 110,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = noise(WORD, 68);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("https://discord.com/api/webhooks/123456789012345678/{value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "https://discord.com/api/webhooks/123/abc",
            None,
        );
    }
}
