//! # secret/planetscale-token
//!
//! A PlanetScale credential stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It opens a database. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! pscale_pw_…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at app.planetscale.com first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://planetscale.com/docs/concepts/service-tokens>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/planetscale-token",
    what: "PlanetScale credential",
    severity: Severity::Critical,
    fix: "revoke it at app.planetscale.com, then read a new one from a secret store at run time",
    keywords: &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"],
    find: Find::Token(r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_=.-]{32,64}"),
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("pscale_{}_{}", "pw", noise(ALNUM, 43));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "pscale_pw_short", None);
    }
}
