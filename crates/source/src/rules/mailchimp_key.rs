//! # secret/mailchimp-key
//!
//! A Mailchimp API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads the audience lists and sends campaigns. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! …-us12
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at admin.mailchimp.com/account/api first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://mailchimp.com/developer/marketing/guides/quick-start/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/mailchimp-key",
    what: "Mailchimp API key",
    severity: Severity::High,
    fix: "revoke it at admin.mailchimp.com/account/api, then read a new one from a secret store at run time",
    keywords: &["-us"],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9])(?P<value>[0-9a-f]{32}-us[0-9]{1,2})(?:[^A-Za-z0-9]|$)",
        before: 34,
        after: 6,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}-{}12", noise(HEX, 32), "us");
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "deadbeef-us1", None);
    }
}
