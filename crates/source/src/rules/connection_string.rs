//! # secret/connection-string
//!
//! A password in a connection string stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It opens the database to everyone who can reach it. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! Server=db;User Id=sa;Password=…;
//! ```
//!
//! ## What to do instead
//!
//! Change it at the database first: it is known. Then keep the new one in a secret store, hand it over as a file at
//! run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://learn.microsoft.com/dotnet/framework/data/adonet/connection-string-syntax>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/connection-string",
    what: "password in a connection string",
    severity: Severity::High,
    fix: "change it at the database, then read the new one from a secret store at run time",
    keywords: &["password=", "pwd=", "password ="],
    find: Find::Near {
        pattern: r#"(?i:(?:server|data source|host|initial catalog|database|user id|uid|endpoint)[ ]?=[^"\r\n]{1,200};[ ]?(?:password|pwd)[ ]?=[ ]?(?P<value>[^;"\x27\r\n ]{4,80}))"#,
        before: 220,
        after: 120,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let real = !checks::placeholder(value)
        && !checks::wordlike_only(value)
        && !checks::contains(&value.to_ascii_lowercase(), b"passw");
    real.then_some(Validation::Format)
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
            &format!("Server=db.internal;User Id=sa;Password={value};"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "Server=db;User Id=sa;Password=password;",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "Server=db;Password=${PW};",
            None,
        );
    }
}
