//! # secret/basic-auth
//!
//! A basic authentication header stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! It is a user name and a password, in base 64. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! Authorization: Basic …
//! ```
//!
//! ## What to do instead
//!
//! Change it at the server it opens first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc7617>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/basic-auth",
    what: "basic authentication header",
    severity: Severity::High,
    fix: "change it at the server it opens, then read the new one from a secret store at run time",
    keywords: &["basic "],
    find: Find::Near {
        pattern: r"(?i:basic) (?P<value>[A-Za-z0-9+/]{8,200}={0,2})(?:[^A-Za-z0-9+/=]|$)",
        before: 0,
        after: 210,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let password = checks::basic_password(candidate.value())?;
    let lower = password.to_ascii_lowercase();
    let common = lower.contains("passw") || lower.contains("sesame") || checks::wordlike_only(password.as_bytes());
    (password.len() >= 6 && !common && !checks::placeholder(password.as_bytes())).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = base64::engine::general_purpose::STANDARD.encode(format!("svc:{}", noise(ALNUM, 12)));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("Authorization: Basic {value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "basic authentication", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "Authorization: Basic dXNlcjpwYXNzd29yZA==",
            None,
        );
    }
}
