//! # secret/github-fine-grained
//!
//! A GitHub fine-grained token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! Whoever has it acts as its owner in the repositories it was made for. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! GITHUB_TOKEN=github_pat_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at github.com/settings/tokens first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/>

use evidence::Severity;

use crate::checks;
use crate::matcher::by_format;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/github-fine-grained",
    what: "GitHub fine-grained token",
    severity: Severity::Critical,
    fix: "revoke it at github.com/settings/tokens, then read a new one from a secret store at run time",
    keywords: &["github_pat_"],
    find: Find::Token(r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}(?-u:\b)"),
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    // The checksum of this format is not published; a match of the known scheme is proof, its absence is none.
    let body = "github_pat_".len() + 23;
    if checks::crc32_base62_suffix(candidate.value(), body) {
        Some(Validation::Checksum)
    } else {
        by_format(candidate)
    }
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("github_{}{}_{}", "pat_", noise(ALNUM, 22), noise(ALNUM, 59));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t: {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("github_pat_{}_{}", noise(ALNUM, 22), noise(ALNUM, 20)),
            None,
        );
    }
}
