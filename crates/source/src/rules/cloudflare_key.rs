//! # secret/cloudflare-key
//!
//! A Cloudflare credential stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It changes DNS and reads traffic of a domain. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! CLOUDFLARE_API_TOKEN=…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dash.cloudflare.com/profile/api-tokens first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.cloudflare.com/fundamentals/api/get-started/create-token/>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/cloudflare-key",
    what: "Cloudflare credential",
    severity: Severity::High,
    fix: "revoke it at dash.cloudflare.com/profile/api-tokens, then read a new one from a secret store at run time",
    keywords: &["cloudflare", "cf_", "v1.0-"],
    find: Find::Near {
        pattern: r#"(?i:(?:cloudflare|cf)[A-Za-z0-9_.-]{0,30}(?:key|token|secret|pass)[A-Za-z0-9_]{0,12})["\x27]?[ \t]*(?:=>|:=|=|:)[ \t]*["\x27]?(?P<value>[0-9a-f]{37}|[A-Za-z0-9_-]{40})(?:[^A-Za-z0-9_-]|$)|(?P<origin>v1\.0-[0-9a-f]{24}-[0-9a-f]{140,150})"#,
        before: 0,
        after: 240,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    (checks::random(value) && !checks::placeholder(value) && !checks::wordlike_only(value))
        .then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, HEX, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 40);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("CLOUDFLARE_API_TOKEN={value}"),
            Some(&value),
        );
        let value = noise(HEX, 37);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("cf_key: {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("cloudflare id {}", noise(ALNUM, 40)),
            None,
        );
    }
}
