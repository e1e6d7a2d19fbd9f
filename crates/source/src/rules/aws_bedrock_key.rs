//! # secret/aws-bedrock-key
//!
//! An AWS Bedrock API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It pays for and reads model calls of an account. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! AWS_BEARER_TOKEN_BEDROCK=ABSK…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the AWS IAM console first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/aws-bedrock-key",
    what: "AWS Bedrock API key",
    severity: Severity::High,
    fix: "revoke it at the AWS IAM console, then read a new one from a secret store at run time",
    keywords: &["ABSK"],
    find: Find::Token(r"ABSK[A-Za-z0-9+/]{109,132}={0,2}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, check, noise};

    #[test]
    fn rows() {
        let value = format!("AB{}{}", "SK", noise(BASE64, 128));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "ABSKshort", None);
    }
}
