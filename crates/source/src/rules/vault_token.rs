//! # secret/vault-token
//!
//! A Vault token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads every secret its policies allow. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! VAULT_TOKEN=hvs.…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it with `vault token revoke` first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developer.hashicorp.com/vault/docs/concepts/tokens>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/vault-token",
    what: "Vault token",
    severity: Severity::Critical,
    fix: "revoke it (`vault token revoke`), then lease a new one at run time",
    keywords: &["hvs.", "hvb.", "hvr.", "vault"],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9_.-])(?P<value>hv[sbr]\.[A-Za-z0-9_-]{24,300}|s\.[A-Za-z0-9]{24})(?:[^A-Za-z0-9_.-]|$)",
        before: 4,
        after: 330,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let noise = checks::random(value) && value.iter().any(u8::is_ascii_digit) && !checks::plain_placeholder(value);
    noise.then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("hv{}{}", "s.", noise(WORD, 90));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("VAULT_TOKEN={value}"),
            Some(&value),
        );
        let value = format!("s{}{}", ".", noise(ALNUM, 24));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("vault_token = \"{value}\""),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "vault hvs.short", None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "vault s.tokenIsNotAllowedHereNow",
            None,
        );
    }
}
