//! # secret/aws-secret-key
//!
//! An AWS secret access key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Forty characters of base 64 near an AWS key id or a name that says what they are.
//!
//! ## Why it matters
//!
//! With its key id it signs any request its user may make. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! aws_secret_access_key = …
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the AWS IAM console first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_access-keys.html>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/aws-secret-key",
    what: "AWS secret access key",
    severity: Severity::Critical,
    fix: "revoke it at the AWS IAM console, then read a new one from a secret store at run time",
    keywords: &[
        "AKIA",
        "ASIA",
        "aws_secret",
        "aws-secret",
        "awsSecret",
        "secret_access_key",
        "secretAccessKey",
        "SecretAccessKey",
        "secret_key",
        "secretKey",
        "aws_key",
    ],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9/+])(?P<value>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
        before: 0,
        after: 160,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    // Commit ids are forty hexadecimal digits; paths read like words.
    let hex = value.iter().all(u8::is_ascii_hexdigit);
    let paths = value.iter().filter(|byte| **byte == b'/').count() > 4;
    let real = checks::classes(value) >= 3 && checks::entropy(value) > 4.2 && !checks::wordlike(value);
    (real && !hex && !paths && !checks::plain_placeholder(value)).then_some(Validation::Entropy)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, HEX, check, noise};

    #[test]
    fn rows() {
        let value = noise(BASE64, 40);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("aws_secret_access_key = {value}"),
            Some(&value),
        );
        let value = noise(BASE64, 40);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("AKIAAAAAAAAAAAAAAAAA:{value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("aws_secret_access_key = {}", noise(HEX, 40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            None,
        );
    }
}
