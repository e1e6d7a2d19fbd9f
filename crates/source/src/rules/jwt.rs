//! # secret/jwt
//!
//! A JSON Web Token stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! Until it expires it is its subject's login. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! Authorization: Bearer eyJ…
//! ```
//!
//! ## What to do instead
//!
//! Change it at the service that issued it first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc7519>

use base64::Engine;

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/jwt",
    what: "JSON Web Token",
    severity: Severity::Medium,
    fix: "change it at the service that issued it, then read the new one from a secret store at run time",
    keywords: &["eyJ"],
    find: Find::Token(r"(?P<value>eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{16,1000})"),
    check,
};

/// The header is a JSON object that names an algorithm, and the claims are a JSON object.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let mut parts = candidate.value().split(|byte| *byte == b'.');
    let mut object = || {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(parts.next()?)
            .ok()?;
        serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&bytes).ok()
    };
    let (header, claims) = (object()?, object()?);
    // The token of the specification's and jwt.io's own example, in every tutorial.
    let tutorial = claims.get("sub").and_then(|sub| sub.as_str()) == Some("1234567890");
    (header.contains_key("alg") && !tutorial).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use base64::Engine;

    use crate::matcher::testing::{ALNUM, HEX, WORD, check, noise};

    #[test]
    fn rows() {
        let value = jwt();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("token: {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "eyJhbGciOi.eyJub3Rqc29u.short",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("eyJ{}.eyJ{}.{}", noise(ALNUM, 30), noise(ALNUM, 30), noise(ALNUM, 43)),
            None,
        );
    }

    fn jwt() -> String {
        let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let claims = format!(r#"{{"sub":"{}","iat":1700000000}}"#, noise(HEX, 12));
        format!(
            "{}.{}.{}",
            part(r#"{"alg":"HS256","typ":"JWT"}"#),
            part(&claims),
            noise(WORD, 43)
        )
    }
}
