//! # secret/putty-key
//!
//! A PuTTY private key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its form and the words around it; stand-ins such as `xxxx` or `example` are left alone.
//!
//! ## Why it matters
//!
//! It signs in wherever its public half is trusted. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! PuTTY-User-Key-File-3: ssh-ed25519
//! ```
//!
//! ## What to do instead
//!
//! Make a new key and replace the public half wherever it is trusted first: it is known. Then keep the new one in a
//! secret store, hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://tartarus.org/~simon/putty-snapshots/htmldoc/AppendixC.html>

use evidence::Severity;

use crate::matcher::by_format;
use crate::rule::Find;

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/putty-key",
    what: "PuTTY private key",
    severity: Severity::Critical,
    fix: "make a new key, replace the public half wherever it is trusted, and keep the private half out of the tree",
    keywords: &["Private-Lines"],
    find: Find::Near {
        pattern: r"Private-Lines: [0-9]+\r?\n(?P<value>(?:[A-Za-z0-9+/=]+\r?\n)+)",
        before: 0,
        after: 8192,
    },
    check: by_format,
};

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, check, noise};

    #[test]
    fn rows() {
        let value = format!("{}\n", noise(BASE64, 64));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("Private-Lines: 1\n{value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "Private-Lines: 1", None);
    }
}
