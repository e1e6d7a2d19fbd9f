//! # secret/slack-webhook
//!
//! A Slack webhook address stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Anyone with the address posts messages that look like the team's own. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! https://hooks.slack.com/services/T…/B…/…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at api.slack.com/apps first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/slack-webhook",
    what: "Slack webhook address",
    severity: Severity::Medium,
    fix: "revoke it at api.slack.com/apps, then read a new one from a secret store at run time",
    keywords: &["hooks.slack.com/"],
    find: Find::Near {
        pattern: r"hooks\.slack\.com/(?:services|workflows|triggers)/(?P<value>T[A-Z0-9]{6,12}/[A-Z0-9]{6,14}/[A-Za-z0-9]{16,60})",
        before: 20,
        after: 120,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, UPPER, check, noise};

    #[test]
    fn rows() {
        let value = format!("T{}/B{}/{}", noise(UPPER, 9), noise(UPPER, 9), noise(ALNUM, 24));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("https://hooks.slack.com/services/{value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX",
            None,
        );
    }
}
