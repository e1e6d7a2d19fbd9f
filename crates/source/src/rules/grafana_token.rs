//! # secret/grafana-token
//!
//! A Grafana token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads and changes dashboards and what they may query. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! glsa_…
//! ```
//!
//! ## What to do instead
//!
//! Change it at Grafana, Service accounts first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://grafana.com/docs/grafana/latest/administration/service-accounts/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/grafana-token",
    what: "Grafana token",
    severity: Severity::High,
    fix: "change it at Grafana, Service accounts, then read the new one from a secret store at run time",
    keywords: &["glsa_", "glc_"],
    find: Find::Token(r"(?:glsa_[A-Za-z0-9]{32}_[0-9a-fA-F]{8}|glc_[A-Za-z0-9+/]{32,400}={0,2})"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("gl{}{}_{}", "sa_", noise(ALNUM, 32), noise(HEX, 8));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "glsa_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx_00000000",
            None,
        );
    }
}
