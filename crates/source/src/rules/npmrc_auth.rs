//! # secret/npmrc-auth
//!
//! A npm registry credential stands in the tree or in its history.
//!
//! ## What it does
//!
//! In files named `.npmrc`: `_authToken`, `_auth` and `_password`.
//!
//! ## Why it matters
//!
//! It is a standing credential for a package registry. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! //registry.example.com/:_authToken=…
//! ```
//!
//! ## What to do instead
//!
//! Change it at the registry first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.npmjs.com/cli/v10/configuring-npm/npmrc>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/npmrc-auth",
    what: "npm registry credential",
    severity: Severity::High,
    fix: "change it at the registry, then read the new one from a secret store at run time",
    keywords: &["_authToken", "_auth", "_password"],
    find: Find::Near {
        pattern: r#"(?:_authToken|_auth|_password)[ \t]*=[ \t]*"?(?P<value>[A-Za-z0-9+/=_.-]{12,})"#,
        before: 0,
        after: 300,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let real = checks::random(value) || checks::basic_password(value).is_some();
    (candidate.text.path.ends_with("npmrc") && !checks::placeholder(value) && real).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = noise(HEX, 36);
        check(
            super::ENTRY.id,
            ".npmrc",
            &format!("//r.internal/:_authToken={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, ".npmrc", "_authToken=${NPM_TOKEN}", None);
        check(super::ENTRY.id, ".npmrc", "_password = undefinedvalue", None);
    }
}
