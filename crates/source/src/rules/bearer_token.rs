//! # secret/bearer-token
//!
//! A bearer token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Until it expires it is its owner's login. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! Authorization: Bearer …
//! ```
//!
//! ## What to do instead
//!
//! Change it at the service that issued it first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc6750>

use evidence::Severity;

use crate::checks;
use crate::matcher::by_entropy;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/bearer-token",
    what: "bearer token",
    severity: Severity::Medium,
    fix: "change it at the service that issued it, then read the new one from a secret store at run time",
    keywords: &["bearer "],
    find: Find::Near {
        pattern: r"(?i:bearer) (?P<value>[A-Za-z0-9_.~+/-]{20,400}={0,2})(?:[^A-Za-z0-9_.~+/=-]|$)",
        before: 0,
        after: 410,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    (digits >= 2 && !checks::wordlike(value))
        .then(|| by_entropy(candidate))
        .flatten()
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 40);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("Authorization: Bearer {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "Authorization: Bearer your-access-token-goes-here",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "bearer authentication_scheme_of_the_web",
            None,
        );
    }
}
