//! # secret/pypi-token
//!
//! A PyPI token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! Whoever has it uploads releases of the projects it was made for. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! password = pypi-AgEI…
//! ```
//!
//! ## What to do instead
//!
//! Revoke it at pypi.org/manage/account/token first: it is known. Then keep the new one in a secret store, hand it
//! over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://pypi.org/help/#apitoken>

use base64::Engine;

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/pypi-token",
    what: "PyPI token",
    severity: Severity::Critical,
    fix: "revoke it at pypi.org/manage/account/token, then read a new one from a secret store at run time",
    keywords: &["pypi-AgE"],
    find: Find::Token(r"pypi-AgE[A-Za-z0-9_-]{50,600}"),
    check,
};

/// A token is `pypi-` and a macaroon (version 2, binary), whose location field says which site it is for.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let body = candidate.value().strip_prefix(b"pypi-")?;
    // Whatever stands after the last full group of four can't be decoded alone.
    let macaroon = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(&body[..body.len() / 4 * 4])
        .ok()?;
    let [2, 1, length, rest @ ..] = macaroon.as_slice() else {
        return None;
    };
    let location = rest.get(..usize::from(*length))?;
    (location.ends_with(b"pypi.org")).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{HEX, check, noise};

    #[test]
    fn rows() {
        let value = pypi();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("password = {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("pypi-AgE{}", "A".repeat(80)),
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "pypi-AgEshort", None);
    }

    fn pypi() -> String {
        let mut macaroon = b"\x02\x01\x08pypi.org\x02\x24".to_vec();
        macaroon.extend(noise(HEX, 90).bytes());
        format!(
            "{}{}",
            ["py", "pi-"].concat(),
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(macaroon)
        )
    }
}
