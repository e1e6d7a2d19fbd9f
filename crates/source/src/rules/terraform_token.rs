//! # secret/terraform-token
//!
//! A Terraform Cloud token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It changes infrastructure and reads its state. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! ….atlasv1.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.terraform.io/app/settings/tokens first: it is known. Then keep the new one in a secret store, hand
//! it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/terraform-token",
    what: "Terraform Cloud token",
    severity: Severity::Critical,
    fix: "revoke it at app.terraform.io/app/settings/tokens, then read a new one from a secret store at run time",
    keywords: &[".atlasv1."],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9])(?P<value>[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70})",
        before: 16,
        after: 72,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}.{}.{}", noise(ALNUM, 14), "atlasv1", noise(ALNUM, 67));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "a.atlasv1.b", None);
    }
}
