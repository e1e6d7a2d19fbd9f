//! # secret/digitalocean-token
//!
//! A DigitalOcean token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It creates and destroys servers. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! dop_v1_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at cloud.digitalocean.com/account/api/tokens first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.digitalocean.com/reference/api/create-personal-access-token/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/digitalocean-token",
    what: "DigitalOcean token",
    severity: Severity::Critical,
    fix: "revoke it at cloud.digitalocean.com/account/api/tokens, then read a new one from a secret store at run time",
    keywords: &["dop_v1_", "doo_v1_", "dor_v1_"],
    find: Find::Token(r"do[opr]_v1_[0-9a-f]{64}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["dop", "_v1_"].concat(), noise(HEX, 64));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["dop", "_v1_"].concat(), "x".repeat(64)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["dop", "_v1_"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
