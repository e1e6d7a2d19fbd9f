//! # secret/google-oauth
//!
//! A Google OAuth secret stands in the tree or in its history.
//!
//! ## What it does
//!
//! Client secrets (`GOCSPX-`), access tokens (`ya29.`) and refresh tokens (`1//0`).
//!
//! ## Why it matters
//!
//! A client secret passes as the application; a refresh token as its user. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! GOCSPX-…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at console.cloud.google.com/apis/credentials first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://developers.google.com/identity/protocols/oauth2>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/google-oauth",
    what: "Google OAuth secret",
    severity: Severity::High,
    fix: "revoke it at console.cloud.google.com/apis/credentials, then read a new one from a secret store at run time",
    keywords: &["GOCSPX-", "ya29.", "1//0"],
    find: Find::Token(r"(?:GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{60,400}|1//0[A-Za-z0-9_-]{40,120})"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise};

    #[test]
    fn rows() {
        let value = format!("GOC{}{}", "SPX-", noise(WORD, 28));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = format!("ya{}{}", "29.", noise(WORD, 120));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "GOCSPX-xxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        );
    }
}
