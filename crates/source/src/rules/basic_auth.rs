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
//! Revoke it at the server it opens first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc7617>

use base64::Engine;

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: super::super::Entry = super::super::Entry {
    id: "secret/basic-auth",
    what: "basic authentication header",
    severity: Severity::High,
    fix: "revoke it at the server it opens, then read a new one from a secret store at run time",
    keywords: &["basic "],
    find: Find::Near { pattern: r"(?i:basic) (?P<value>[A-Za-z0-9+/]{8,200}={0,2})(?:[^A-Za-z0-9+/=]|$)", before: 0, after: 210 },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(candidate.value()).ok()?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    let printable = decoded.iter().all(u8::is_ascii_graphic);
    let lower = password.to_ascii_lowercase();
    let real = password.len() >= 6 && !lower.contains("passw") && !lower.contains("sesame") && !checks::wordlike_only(password.as_bytes());
    (printable && !user.is_empty() && real && !checks::placeholder(password.as_bytes())).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = base64::engine::general_purpose::STANDARD.encode(format!("svc:{}", noise(ALNUM, 12)));
        check(super::ENTRY.id, "config/settings.conf", &format!("Authorization: Basic {}", value), Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "basic authentication", None);
        check(super::ENTRY.id, "config/settings.conf", "Authorization: Basic dXNlcjpwYXNzd29yZA==", None);
    }
}
