//! # secret/shopify-token
//!
//! A Shopify token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads customers and orders of a shop. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! shpat_…
//! ```
//!
//! ## What to do instead
//!
//! Change it at the shop's admin, Apps first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://shopify.dev/docs/apps/build/authentication-authorization>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/shopify-token",
    what: "Shopify token",
    severity: Severity::High,
    fix: "change it at the shop's admin, Apps, then read the new one from a secret store at run time",
    keywords: &["shpat_", "shpca_", "shppa_", "shpss_"],
    find: Find::Token(r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("shp{}{}", "at_", noise(HEX, 32));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "shpat_123", None);
    }
}
