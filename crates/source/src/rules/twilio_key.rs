//! # secret/twilio-key
//!
//! A Twilio credential stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It sends messages and calls at the owner's cost. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! TWILIO_AUTH_TOKEN=…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.twilio.com first: it is known. Then keep the new one in a secret store, hand it over as a file
//! at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.twilio.com/docs/iam/api-keys>

use evidence::Severity;

use crate::checks;
use crate::matcher::machine_made;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/twilio-key",
    what: "Twilio credential",
    severity: Severity::High,
    fix: "revoke it at console.twilio.com, then read a new one from a secret store at run time",
    keywords: &["twilio", "SK"],
    find: Find::Near {
        pattern: r"(?:^|[^A-Za-z0-9])(?P<value>SK[0-9a-f]{32}|[0-9a-f]{32})(?:[^A-Za-z0-9]|$)",
        before: 2,
        after: 90,
    },
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let before =
        candidate.text.bytes[candidate.value.start.saturating_sub(60)..candidate.value.start].to_ascii_lowercase();
    let named = checks::contains(&before, b"twilio")
        && ["token", "secret", "auth"]
            .iter()
            .any(|word| checks::contains(&before, word.as_bytes()));
    (checks::random(value)
        && !checks::plain_placeholder(value)
        && (value.starts_with(b"SK") || named)
        && !machine_made(&candidate.text))
    .then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("S{}{}", "K", noise(HEX, 32));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k = {value}"),
            Some(&value),
        );
        let value = noise(HEX, 32);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("TWILIO_AUTH_TOKEN={value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", &noise(HEX, 32), None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("twilio md5 {}", noise(HEX, 32)),
            None,
        );
    }
}
