//! # secret/netlify-token
//!
//! A Netlify token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It deploys sites under the owner's name. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! nfp_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.netlify.com/user/applications first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.netlify.com/api/get-started/>

use evidence::Severity;

use crate::matcher::by_entropy;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/netlify-token",
    what: "Netlify token",
    severity: Severity::High,
    fix: "revoke it at app.netlify.com/user/applications, then read a new one from a secret store at run time",
    keywords: &["nfp_"],
    find: Find::Token(r"nfp_[A-Za-z0-9_-]{36,40}(?-u:\b)"),
    check: by_entropy,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}{}", ["nf", "p_"].concat(), noise(ALNUM, 36));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("key = \"{value}\""),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nf", "p_"].concat(), "x".repeat(36)),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("{}{}", ["nf", "p_"].concat(), noise(ALNUM, 5)),
            None,
        );
    }
}
