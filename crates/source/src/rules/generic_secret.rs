//! # secret/generic-secret
//!
//! A secret stands in the tree or in its history.
//!
//! ## What it does
//!
//! A random-looking value given to something named like a secret, in code or configuration. References, names, paths
//! and the hashes of lock files are left alone.
//!
//! ## Why it matters
//!
//! Secrets in code are read by everyone who ever clones it. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! api_key = "…"
//! ```
//!
//! ## What to do instead
//!
//! Change it at the service it opens first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://cwe.mitre.org/data/definitions/798.html>

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/generic-secret",
    what: "secret",
    severity: Severity::High,
    fix: "change it at the service it opens, then read the new one from a secret store at run time",
    keywords: &[
        "secret",
        "token",
        "apikey",
        "apiKey",
        "ApiKey",
        "APIKey",
        "accesskey",
        "accessKey",
        "AccessKey",
        "authkey",
        "authKey",
        "AuthKey",
        "privatekey",
        "privateKey",
        "PrivateKey",
        "signingKey",
        "SigningKey",
        "encryptionKey",
        "EncryptionKey",
        "credential",
        "_key",
        "-key",
        ".key",
        "_auth",
        "_salt",
    ],
    find: Find::Code(crate::generic::secret),
    check,
};

fn check(_: &Candidate<'_>) -> Option<Validation> {
    Some(Validation::Entropy)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, HEX, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 32);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("api_key = \"{value}\""),
            Some(&value),
        );
        let value = noise(HEX, 40);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("  secretKey: \"{value}\","),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "secret = \"my-secret-name\"",
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "token := getToken(ctx)", None);
        check(super::ENTRY.id, "config/settings.conf", "api_key: \"${API_KEY}\"", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "secret_name = \"prod/db/credentials\"",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "primary_key = \"a8f3b2c1d4e5f6a7\"",
            None,
        );
    }
}
