//! # secret/aws-access-key
//!
//! An AWS access key id stands in the tree or in its history.
//!
//! ## What it does
//!
//! `AKIA` (long-term), `ASIA` (temporary), `ABIA` and `ACCA` and sixteen characters of base 32.
//!
//! ## Why it matters
//!
//! It names an account and a user; its secret half is rarely far away. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! aws_access_key_id = AKIA…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the AWS IAM console first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/aws-access-key",
    what: "AWS access key id",
    severity: Severity::High,
    fix: "revoke it at the AWS IAM console, then read a new one from a secret store at run time",
    keywords: &["AKIA", "ASIA", "ABIA", "ACCA"],
    find: Find::Token(r"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?-u:\b)"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE32, check, noise};

    #[test]
    fn rows() {
        let value = format!("AK{}{}", "IA", noise(BASE32, 16));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("id = {value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "AKIAIOSFODNN7EXAMPLE", None);
        check(super::ENTRY.id, "config/settings.conf", "AKIAIOSF", None);
    }
}
