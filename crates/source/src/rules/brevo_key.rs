//! # secret/brevo-key
//!
//! A Brevo API key stands in the tree or in its history.
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
//! xkeysib-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.brevo.com first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.brevo.com/docs/getting-started>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/brevo-key",
    what: "Brevo API key",
    severity: Severity::High,
    fix: "revoke it at app.brevo.com, then read a new one from a secret store at run time",
    keywords: &["xkeysib-"],
    find: Find::Token(r"xkeysib-[0-9a-f]{64}(?:-[A-Za-z0-9]{16})?"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("xkey{}{}", "sib-", noise(HEX, 64));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "xkeysib-1234", None);
    }
}
