//! # secret/npm-token
//!
//! A npm access token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! Whoever has it publishes packages under its owner's name: a supply-chain attack needs nothing more. Removing it in
//! a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! //registry.npmjs.org/:_authToken=npm_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at npmjs.com, Access Tokens first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://github.blog/2021-09-23-announcing-npms-new-access-token-format/>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/npm-token",
    what: "npm access token",
    severity: Severity::Critical,
    fix: "revoke it at npmjs.com, Access Tokens, then read a new one from a secret store at run time",
    keywords: &["npm_"],
    find: Find::Token(r"npm_[A-Za-z0-9]{36}(?-u:\b)"),
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
        let value = npm();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("NPM_TOKEN={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("npm_{}", noise(ALNUM, 36)),
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "npm_config_registry", None);
    }

    fn npm() -> String {
        let body = noise(ALNUM, 30);
        format!(
            "npm_{body}{}",
            String::from_utf8_lossy(&checks::base62_6(checks::crc32(body.as_bytes())))
        )
    }
}
