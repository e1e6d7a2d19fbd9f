//! # secret/slack-app-token
//!
//! A Slack app-level token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It opens the event stream of an app. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! xapp-1-A…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at api.slack.com/apps first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.slack.dev/authentication/tokens>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/slack-app-token",
    what: "Slack app-level token",
    severity: Severity::High,
    fix: "revoke it at api.slack.com/apps, then read a new one from a secret store at run time",
    keywords: &["xapp-"],
    find: Find::Token(r"xapp-[0-9]-[A-Z0-9]{8,14}-[0-9]{10,16}-[0-9a-f]{40,80}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{DIGITS, HEX, UPPER, check, noise};

    #[test]
    fn rows() {
        let value = format!(
            "xa{}-1-A{}-{}-{}",
            "pp",
            noise(UPPER, 10),
            noise(DIGITS, 13),
            noise(HEX, 64)
        );
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "xapp-1-A", None);
    }
}
