//! # secret/generic-password
//!
//! A password stands in the tree or in its history.
//!
//! ## What it does
//!
//! A value given to something named like a password, in code or configuration. Stand-ins (`changeme`, `test123`),
//! references (`${VAR}`, `os.environ`), names and paths are left alone.
//!
//! ## Why it matters
//!
//! Passwords in code are read by everyone who ever clones it. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! password = "…"
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
    id: "secret/generic-password",
    what: "password",
    severity: Severity::High,
    fix: "change it at the service it opens, then read the new one from a secret store at run time",
    keywords: &[
        "passw",
        "pwd",
        "passphrase",
        "_pass",
        "Pass",
        "pass=",
        "pass\"",
        "pass:",
        "pass>",
        "pass'",
    ],
    find: Find::Code(crate::generic::password),
    check,
};

fn check(_: &Candidate<'_>) -> Option<Validation> {
    Some(Validation::Entropy)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}!7x", noise(ALNUM, 9));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("password = \"{value}\""),
            Some(&value),
        );
        let value = noise(ALNUM, 12);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("<add key=\"x\" password=\"{value}\"/>"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "password = \"password\"", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "password = os.environ[\"PW\"]",
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "password: ${PW}", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "const passwordField = \"user_password_field\"",
            None,
        );
    }
}
