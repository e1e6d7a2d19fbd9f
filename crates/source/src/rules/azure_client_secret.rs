//! # secret/azure-client-secret
//!
//! An Azure AD client secret stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it signs in as the application. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! AZURE_CLIENT_SECRET=abc8Q~…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the Azure portal, App registrations first: it is known. Then keep the new one in a secret store, hand
//! it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learn.microsoft.com/entra/identity-platform/how-to-add-credentials>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/azure-client-secret",
    what: "Azure AD client secret",
    severity: Severity::Critical,
    fix: "revoke it at the Azure portal, App registrations, then read a new one from a secret store at run time",
    keywords: &["Q~"],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9_~.-])(?P<value>[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34})(?:[^A-Za-z0-9_~.-]|$)",
        before: 5,
        after: 40,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}8Q{}{}", noise(ALNUM, 3), "~", noise(ALNUM, 34));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("s={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "abc8Q~short", None);
    }
}
