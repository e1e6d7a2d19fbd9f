//! # secret/atlassian-token
//!
//! An Atlassian token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It acts as its owner in Jira, Confluence or Bitbucket. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! ATATT3x…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at id.atlassian.com/manage-profile/security/api-tokens first: it is known. Then keep the new one in a
//! secret store, hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/atlassian-token",
    what: "Atlassian token",
    severity: Severity::High,
    fix: "revoke it at id.atlassian.com/manage-profile/security/api-tokens, then read a new one from a secret store at run time",
    keywords: &["ATATT3", "ATCTT3", "ATBB"],
    find: Find::Token(r"(?:AT[AC]TT3[A-Za-z0-9_=-]{60,250}=[0-9A-F]{8}|ATBB[A-Za-z0-9]{24}[0-9A-F]{8})(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("ATA{}{}={}", "TT3", noise(WORD, 180), noise("0123456789ABCDEF", 8));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "ATATT3short", None);
    }
}
