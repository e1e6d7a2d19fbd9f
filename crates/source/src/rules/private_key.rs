//! # secret/private-key
//!
//! A private key stands in the tree or in its history.
//!
//! ## What it does
//!
//! PEM blocks (PKCS#1, PKCS#8, SEC 1, OpenSSH, PGP), also where they stand in one line with `\n`.
//!
//! ## Why it matters
//!
//! It proves to be its owner wherever its public half is trusted. Removing it in a later commit leaves it in every
//! clone.
//!
//! ## Example
//!
//! ```text
//! -----BEGIN … PRIVATE KEY-----
//! ```
//!
//! ## What to do instead
//!
//! Make a new key and replace the public half wherever it is trusted first: it is known. Then keep the new one in a
//! secret store, hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc7468>

use base64::Engine;
use std::ops::Range;

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Text, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/private-key",
    what: "private key",
    severity: Severity::Critical,
    fix: "make a new key, replace the public half wherever it is trusted, and keep the private half out of the tree",
    keywords: &["-----BEGIN"],
    find: Find::Code(find),
    check,
};

/// A key of 16,384 bits fits.
const BLOCK_BYTES_MAX: usize = 16 << 10;

/// From the first dash to the last, the ends included.
fn find(text: &Text<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    let block = &text.bytes[keyword.start..text.bytes.len().min(keyword.start + BLOCK_BYTES_MAX)];
    let label = block.get(b"-----BEGIN ".len()..)?;
    let label = &label[..label.iter().take(40).position(|byte| *byte == b'-')?];
    if !label.ends_with(b"PRIVATE KEY") && !label.ends_with(b"PRIVATE KEY BLOCK") {
        return None;
    }
    // No key has five dashes inside, so the next ones decide: a run of first lines costs nothing.
    let body = b"-----BEGIN -----".len() + label.len();
    let dashes = body + block.get(body..)?.windows(5).position(|window| window == b"-----")?;
    let end_line = [b"-----END ", label, b"-----"].concat();
    if !block[dashes..].starts_with(&end_line) {
        return None;
    }
    let end = dashes + end_line.len();
    Some(keyword.start..keyword.start + end)
}

/// What stands between the lines must be the beginning of a key, not dots or words.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let first = value
        .windows(6)
        .position(|window| window == b"-----\n" || window == b"-----\r" || window == b"-----\\")
        .unwrap_or(40);
    let last = value.windows(9).rposition(|window| window == b"-----END ")?;
    let body = value.get(first + 5..last)?;
    // Blanks, quotes and escaped line breaks are how source code wraps a key; headers end at a blank line.
    let plain = String::from_utf8_lossy(body)
        .replace("\\r", "")
        .replace("\\n", "\n")
        .replace("\r", "");
    let plain = plain.rsplit_once("\n\n").map_or(plain.as_str(), |(_, rest)| rest);
    let letters: Vec<u8> = plain
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        .collect();
    if letters.len() < 40 || checks::entropy(&letters) < 4.0 || checks::plain_placeholder(&letters[..40]) {
        return None;
    }
    let head = base64::engine::general_purpose::STANDARD_NO_PAD
        .decode(&letters[..40])
        .ok()?;
    // A DER sequence, or OpenSSH's magic (PROTOCOL.key).
    let known = head.first() == Some(&0x30) || head.starts_with(b"openssh-key-v1");
    Some(if known {
        Validation::Checksum
    } else {
        Validation::Format
    })
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{BASE64, check, noise};

    #[test]
    fn rows() {
        let value = pem("RSA PRIVATE KEY", 600);
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = pem("PRIVATE KEY", 200);
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = pem("OPENSSH PRIVATE KEY", 400);
        check(super::ENTRY.id, "config/settings.conf", &value, Some(&value));
        let value = pem("EC PRIVATE KEY", 160).replace('\n', "\\n");
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("k: {value}"),
            Some(&value),
        );
        check(super::ENTRY.id, "config/settings.conf", &pem("PUBLIC KEY", 200), None);
        check(super::ENTRY.id, "config/settings.conf", &pem("CERTIFICATE", 900), None);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!(
                "-----BEGIN {} KEY-----\n...\n-----END {} KEY-----",
                "PRIVATE", "PRIVATE"
            ),
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("-----BEGIN {} KEY-----", "PRIVATE"),
            None,
        );
    }

    fn pem(label: &str, length: usize) -> String {
        let mut body = String::from(if label.starts_with("OPENSSH") {
            "b3BlbnNzaC1rZXktdjEA"
        } else {
            "MIIE"
        });
        body.push_str(&noise(BASE64, length));
        let lines: Vec<&str> = body
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----{} {label}-----\n{}\n-----END {label}-----",
            "BEGIN",
            lines.join("\n")
        )
    }
}
