//! # secret/heroku-key
//!
//! A Heroku API key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It deploys to and reads the configuration of every app of its owner. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! HEROKU_API_KEY=…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at dashboard.heroku.com/account first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://devcenter.heroku.com/articles/authentication>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/heroku-key",
    what: "Heroku API key",
    severity: Severity::High,
    fix: "revoke it at dashboard.heroku.com/account, then read a new one from a secret store at run time",
    keywords: &["HRKU-", "heroku"],
    find: Find::Near {
        pattern: r#"(?i:HRKU-[A-Za-z0-9_-]{58,70}|heroku[A-Za-z0-9_" \t:.=>-]{0,40}[="\x27: \t](?P<value>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}))"#,
        before: 0,
        after: 110,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{WORD, check, noise, uuid};

    #[test]
    fn rows() {
        let value = uuid();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("HEROKU_API_KEY={value}"),
            Some(&value),
        );
        let value = format!("HR{}{}", "KU-", noise(WORD, 62));
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        check(super::ENTRY.id, "config/settings.conf", "heroku ps:scale web=1", None);
    }
}
