//! # secret/slack-token
//!
//! A Slack token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and writes messages of a workspace. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! SLACK_BOT_TOKEN=xoxb-…
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
    id: "secret/slack-token",
    what: "Slack token",
    severity: Severity::High,
    fix: "revoke it at api.slack.com/apps, then read a new one from a secret store at run time",
    keywords: &["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xox"],
    find: Find::Token(
        r"xox(?:[bpse]-[0-9]{9,13}-[0-9A-Za-z-]{10,250}|[ar]-[0-9]{1,13}-[0-9A-Za-z-]{20,250}|[es]\.xox[bp]-1-[0-9A-Za-z]{100,250}|e-1-[0-9A-Za-z]{100,250})",
    ),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, DIGITS, check, noise};

    #[test]
    fn rows() {
        let value = format!(
            "xo{}-{}-{}-{}",
            "xb",
            noise(DIGITS, 12),
            noise(DIGITS, 12),
            noise(ALNUM, 24)
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("SLACK={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "xoxb-not-a-real-token", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "xoxb-1-xxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        );
    }
}
