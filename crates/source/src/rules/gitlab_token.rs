//! # secret/gitlab-token
//!
//! A GitLab token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Personal (`glpat-`), deploy (`gldt-`), runner (`glrt-`), trigger (`glptt-`), job (`glcbt-`), feed, mail, agent,
//! SCIM, feature flag and OAuth tokens, classic and routable.
//!
//! ## Why it matters
//!
//! Whoever has it acts as its owner: reads private code, pushes commits, runs pipelines. Removing it in a later commit
//! leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! GITLAB_TOKEN=glpat-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at gitlab.com, Access tokens first: it is known. Then keep the new one in a secret store, hand it over as
//! a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.gitlab.com/security/tokens/>

use evidence::Severity;

use crate::checks;
use crate::matcher::by_format;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/gitlab-token",
    what: "GitLab token",
    severity: Severity::Critical,
    fix: "revoke it at gitlab.com, Access tokens, then read a new one from a secret store at run time",
    keywords: &[
        "glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glft-", "glimt-", "glagent-", "glsoat-", "glffct-", "gloas-",
        "glrtr-", "glwt-",
    ],
    find: Find::Token(
        r"gl(?:pat|dt|rtr|rt|ptt|cbt|ft|imt|agent|soat|ffct|oas|wt)-(?:[A-Za-z0-9_-]{27,300}\.[0-9a-z]{2}\.?[0-9a-z]{2}[0-9a-z]{5,7}|[A-Za-z0-9_-]{20,80}(?:\.[0-9a-z]{9})?)",
    ),
    check,
};

/// Routable tokens end in a CRC-32 of all before it, in base 36 of seven digits.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let routable = value.contains(&b'.') && value.len() > 7 && {
        let (body, sum) = value.split_at(value.len() - 7);
        std::str::from_utf8(sum)
            .ok()
            .and_then(|digits| u32::from_str_radix(digits, 36).ok())
            == Some(checks::crc32(body))
    };
    if routable {
        Some(Validation::Checksum)
    } else {
        by_format(candidate)
    }
}

#[cfg(test)]
mod tests {
    use crate::checks;
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("gl{}{}", "pat-", noise(ALNUM, 20));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t={value}"),
            Some(&value),
        );
        let value = format!("gl{}{}", "dt-", noise(ALNUM, 20));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t={value}"),
            Some(&value),
        );
        let value = routable();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("t={value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "glpat-xxxxxxxxxxxxxxxxxxxx",
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "glpat-short", None);
    }

    fn routable() -> String {
        let body = format!("gl{}{}.01.0w", "pat-", noise(ALNUM, 32));
        let mut rest = checks::crc32(body.as_bytes());
        let mut digits = Vec::new();
        for _ in 0..7 {
            digits.push(char::from_digit(rest % 36, 36).unwrap());
            rest /= 36;
        }
        format!("{body}{}", digits.into_iter().rev().collect::<String>())
    }
}
