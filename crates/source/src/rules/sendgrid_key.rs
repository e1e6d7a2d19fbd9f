//! # secret/sendgrid-key
//!
//! A SendGrid API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It sends mail as the owner. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! SG.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.sendgrid.com/settings/api_keys first: it is known. Then keep the new one in a secret store, hand
//! it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/sendgrid-key",
    what: "SendGrid API key",
    severity: Severity::High,
    fix: "revoke it at app.sendgrid.com/settings/api_keys, then read a new one from a secret store at run time",
    keywords: &["SG."],
    find: Find::Token(r"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("S{}{}.{}", "G.", noise(WORD, 22), noise(WORD, 43));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "SG.short.short", None);
    }
}
