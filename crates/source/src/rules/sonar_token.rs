//! # secret/sonar-token
//!
//! A SonarQube token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It reads source code and its weaknesses. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! squ_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at the SonarQube account page first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.sonarsource.com/sonarqube-server/user-guide/managing-tokens/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/sonar-token",
    what: "SonarQube token",
    severity: Severity::High,
    fix: "revoke it at the SonarQube account page, then read a new one from a secret store at run time",
    keywords: &["squ_", "sqp_", "sqa_"],
    find: Find::Token(r"sq[upa]_[0-9a-f]{40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["sq", "u_"].concat(), noise(HEX, 40));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["sq", "u_"].concat(), "x".repeat(40)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["sq", "u_"].concat(), noise(HEX, 5)),
            None,
        );
    }
}
