//! # secret/pulumi-token
//!
//! A Pulumi token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It changes infrastructure and reads its state. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! pul-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.pulumi.com/account/tokens first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.pulumi.com/docs/pulumi-cloud/access-management/access-tokens/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/pulumi-token",
    what: "Pulumi token",
    severity: Severity::Critical,
    fix: "revoke it at app.pulumi.com/account/tokens, then read a new one from a secret store at run time",
    keywords: &["pul-"],
    find: Find::Token(r"pul-[0-9a-f]{40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["pu", "l-"].concat(), noise(HEX, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["pu", "l-"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["pu", "l-"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
