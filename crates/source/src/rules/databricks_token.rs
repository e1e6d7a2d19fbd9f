//! # secret/databricks-token
//!
//! A Databricks token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads the data of a workspace and runs jobs in it. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! DATABRICKS_TOKEN=dapi…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the workspace's user settings first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.databricks.com/dev-tools/auth/pat.html>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/databricks-token",
    what: "Databricks token",
    severity: Severity::High,
    fix: "revoke it at the workspace's user settings, then read a new one from a secret store at run time",
    keywords: &["dapi"],
    find: Find::Token(r"dapi[0-9a-f]{32}(?:-[0-9])?(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("da{}{}", "pi", noise(HEX, 32));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "dapi123", None);
    }
}
