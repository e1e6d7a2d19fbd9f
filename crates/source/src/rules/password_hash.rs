//! # secret/password-hash
//!
//! A password hash stands in the tree or in its history.
//!
//! ## What it does
//!
//! crypt(5) hashes (MD5, bcrypt, SHA-256, SHA-512, yescrypt), Apache's `apr1`, Argon2, phpass and LDAP's SSHA.
//!
//! ## Why it matters
//!
//! Hashes of weak passwords are guessed in hours, and the password is used elsewhere too. Removing it in a later
//! commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! root:$6$…:18000:0:99999:7:::
//! ```
//!
//! ## What to do instead
//!
//! Change the password first: it is known. Then keep the new one in a secret store, hand it over as a file at run
//! time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://man7.org/linux/man-pages/man5/crypt.5.html>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/password-hash",
    what: "password hash",
    severity: Severity::Medium,
    fix: "change the password, and keep its hash out of the tree",
    keywords: &[
        "$1$", "$2a$", "$2b$", "$2y$", "$5$", "$6$", "$apr1$", "$argon2", "$y$", "$P$", "{SSHA",
    ],
    find: Find::Token(
        r"(?:\$(?:1|apr1)\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}|\$[56]\$(?:rounds=[0-9]+\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}|\$argon2(?:id|i|d)\$v=[0-9]+\$m=[0-9]+,t=[0-9]+,p=[0-9]+\$[A-Za-z0-9+/]{11,64}\$[A-Za-z0-9+/]{16,90}|\$y\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}|\$P\$[./A-Za-z0-9]{31}|\{SSHA[0-9]{0,3}\}[A-Za-z0-9+/]{28,100}={0,2})",
    ),
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    (checks::entropy(candidate.value()) > 3.0).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = format!("$2b{}10${}", "$", noise(ALNUM, 53));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("u:{value}"),
            Some(&value),
        );
        let value = format!("$6{}abc${}", "$", noise(ALNUM, 86));
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("u:{value}:1:"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", "costs $1$ or $2a$ each", None);
    }
}
