//! # secret/rails-master-key
//!
//! A Rails master key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by the place where it stands; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It decrypts every stored credential of the application. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! config/master.key
//! ```
//!
//! ## What to do instead
//!
//! Make a new key with `rails credentials:edit` first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://guides.rubyonrails.org/security.html#custom-credentials>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/rails-master-key",
    what: "Rails master key",
    severity: Severity::Critical,
    fix: "make a new key (`rails credentials:edit` without the old one), and keep it out of the tree",
    keywords: &[],
    find: Find::File {
        names: &["master.key", "credentials.yml.key"],
        pattern: r"^\s*(?P<value>[0-9a-f]{32})\s*$",
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    checks::random(candidate.value()).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = noise(HEX, 32);
        check(
            super::ENTRY.id,
            "config/master.key",
            &format!("{value}\n"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/master.key", "not a key", None);
        check(super::ENTRY.id, "other.txt", &format!("{value}\n"), None);
    }
}
