//! # secret/docker-auth
//!
//! A registry credential in a Docker configuration stands in the tree or in its history.
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
//! {"auths": {"registry": {"auth": "…"}}}
//! ```
//!
//! ## What to do instead
//!
//! Change it at the registry first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.docker.com/reference/cli/docker/login/>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/docker-auth",
    what: "registry credential in a Docker configuration",
    severity: Severity::High,
    fix: "change it at the registry, then read the new one from a secret store at run time",
    keywords: &["\"auth\""],
    find: Find::Near {
        pattern: r#""auth"\s*:\s*"(?P<value>[A-Za-z0-9+/]{8,}={0,2})""#,
        before: 0,
        after: 600,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let password = checks::basic_password(candidate.value())?;
    (password.len() >= 4 && !checks::placeholder(password.as_bytes())).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = base64::engine::general_purpose::STANDARD.encode(format!("robot:{}", noise(ALNUM, 16)));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{{\"auth\": \"{value}\"}}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "{\"auth\": \"bm9ib2R5\"}",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "{\"auth\": \"required\"}",
            None,
        );
    }
}
