//! # secret/pgpass
//!
//! A password in a pgpass file stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by the place where it stands; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It signs in without asking. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! db.internal:5432:shop:app:…
//! ```
//!
//! ## What to do instead
//!
//! Change it at the database first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.postgresql.org/docs/current/libpq-pgpass.html>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/pgpass",
    what: "password in a pgpass file",
    severity: Severity::High,
    fix: "change it at the database, then read the new one from a secret store at run time",
    keywords: &[],
    find: Find::File {
        names: &[".pgpass", "pgpass.conf"],
        pattern: r"(?m:^)[^#\s:]+:[0-9*]+:[^:\s]+:[^:\s]+:(?P<value>\S{4,200})",
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    (!checks::placeholder(candidate.value())).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 12);
        check(
            super::ENTRY.id,
            ".pgpass",
            &format!("db:5432:shop:app:{value}"),
            Some(&value),
        );
        check(super::ENTRY.id, ".pgpass", "# host:port:db:user:password", None);
        check(super::ENTRY.id, "other.txt", &format!("db:5432:shop:app:{value}"), None);
    }
}
