//! # secret/github-token
//!
//! A GitHub token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Personal access (`ghp_`), OAuth (`gho_`), user-to-server (`ghu_`), installation (`ghs_`) and refresh (`ghr_`)
//! tokens. The last six characters are a CRC-32 of the thirty before; a token without it is made up and left alone.
//!
//! ## Why it matters
//!
//! Whoever has it acts as its owner: reads private code, pushes commits, changes workflows. Removing it in a later
//! commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! GITHUB_TOKEN=ghp_…
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
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/github-token",
    what: "GitHub token",
    severity: Severity::Critical,
    fix: "revoke it at github.com/settings/tokens, then read a new one from a secret store at run time",
    keywords: &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
    find: Find::Token(r"gh[pousr]_[A-Za-z0-9]{36}(?-u:\b)"),
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    checks::crc32_base62_suffix(candidate.value(), 4).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use crate::checks;
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = github("ghp");
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("GITHUB_TOKEN={value}"),
            Some(&value),
        );
        let value = github("gho");
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("x={value}\\n"),
            Some(&value),
        );
        let value = github("ghu");
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = github("ghs");
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = github("ghr");
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("ghp_{}", noise(ALNUM, 36)),
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "ghp_short", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("a{}", github("ghp")),
            None,
        );
    }

    fn github(kind: &str) -> String {
        let body = noise(ALNUM, 30);
        format!(
            "{kind}_{body}{}",
            String::from_utf8_lossy(&checks::base62_6(checks::crc32(body.as_bytes())))
        )
    }
}
