//! # secret/docker-hub-token
//!
//! A Docker Hub token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! Whoever has it pushes images under its owner's name. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! dckr_pat_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at hub.docker.com, Account settings first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.docker.com/security/access-tokens/>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/docker-hub-token",
    what: "Docker Hub token",
    severity: Severity::Critical,
    fix: "revoke it at hub.docker.com, Account settings, then read a new one from a secret store at run time",
    keywords: &["dckr_pat_", "dckr_oat_"],
    find: Find::Token(r"dckr_[po]at_[A-Za-z0-9_-]{27,40}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("dckr_{}{}", "pat_", noise(ALNUM, 27));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "dckr_pat_xxxxxxxxxxxxxxxxxxxxxxxxxxx",
            None,
        );
    }
}
