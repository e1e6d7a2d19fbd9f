//! # secret/mailgun-key
//!
//! A Mailgun key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It sends mail as the owner and reads what came in. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! MAILGUN_API_KEY=key-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.mailgun.com/settings/api_security first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://documentation.mailgun.com/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/mailgun-key",
    what: "Mailgun key",
    severity: Severity::High,
    fix: "revoke it at app.mailgun.com/settings/api_security, then read a new one from a secret store at run time",
    keywords: &["key-", "mailgun"],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9-])(?P<value>key-[0-9a-f]{32}|[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})(?:[^A-Za-z0-9-]|$)",
        before: 2,
        after: 90,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("ke{}{}", "y-", noise(HEX, 32));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k: {value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "key-value", None);
    }
}
