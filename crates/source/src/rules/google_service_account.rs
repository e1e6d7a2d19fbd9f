//! # secret/google-service-account
//!
//! A Google service account key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It is the service account, from anywhere, until it is deleted. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! {"type": "service_account", "private_key": "…"}
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the Google Cloud console, IAM, Service accounts first: it is known. Then keep the new one in a secret
//! store, hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://cloud.google.com/iam/docs/keys-create-delete>

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/google-service-account",
    what: "Google service account key",
    severity: Severity::Critical,
    fix: "revoke it at the Google Cloud console, IAM, Service accounts, then read a new one from a secret store at run time",
    keywords: &["service_account"],
    find: Find::Near {
        pattern: r#""private_key"\s*:\s*"(?P<value>-----BEGIN (?:RSA )?PRIVATE KEY-----[A-Za-z0-9+/=\\nr]{100,6000}-----END (?:RSA )?PRIVATE KEY-----)"#,
        before: 4096,
        after: 6144,
    },
    check: by_structure,
};

fn by_structure(_: &Candidate<'_>) -> Option<Validation> {
    Some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, check, noise};

    #[test]
    fn rows() {
        let value = format!(
            "-----BEGIN {} KEY-----\\n{}\\n-----END {} KEY-----",
            "PRIVATE",
            noise(BASE64, 800),
            "PRIVATE"
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{{\"type\": \"service_account\", \"private_key\": \"{value}\"}}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "{\"type\": \"service_account\", \"private_key\": \"$KEY\"}",
            None,
        );
    }
}
