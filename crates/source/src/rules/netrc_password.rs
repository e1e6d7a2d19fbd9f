//! # secret/netrc-password
//!
//! A password in a netrc file stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It signs in without asking. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! machine git.internal login ci password …
//! ```
//!
//! ## What to do instead
//!
//! Change it at the machine it names first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://everything.curl.dev/usingcurl/netrc.html>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/netrc-password",
    what: "password in a netrc file",
    severity: Severity::High,
    fix: "change it at the machine it names, then read the new one from a secret store at run time",
    keywords: &["machine"],
    find: Find::Near {
        pattern: r"machine\s+\S+\s+login\s+\S+\s+(?:account\s+\S+\s+)?password\s+(?P<value>\S{4,200})",
        before: 0,
        after: 400,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    (!checks::placeholder(value) && !checks::contains(&value.to_ascii_lowercase(), b"passw"))
        .then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 14);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("machine a.internal login ci password {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "machine a login b password <password>",
            None,
        );
    }
}
