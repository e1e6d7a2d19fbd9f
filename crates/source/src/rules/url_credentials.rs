//! # secret/url-credentials
//!
//! A password in an address stands in the tree or in its history.
//!
//! ## What it does
//!
//! `scheme://user:password@host` of any scheme: databases, brokers, git remotes, proxies.
//!
//! ## Why it matters
//!
//! Everyone who reads the address may sign in; addresses end up in logs. Removing it in a later commit leaves it in
//! every clone.
//!
//! ## Example
//!
//! ```text
//! postgres://shop:…@db.internal/shop
//! ```
//!
//! ## What to do instead
//!
//! Change it at the server it opens first: it is known. Then keep the new one in a secret store, hand it over as a
//! file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1>

use std::ops::Range;

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Text, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/url-credentials",
    what: "password in an address",
    severity: Severity::High,
    fix: "change it at the server it opens, then read the new one from a secret store at run time",
    keywords: &["://"],
    find: Find::Code(find),
    check,
};

/// The password of `scheme://user:password@host`.
fn find(text: &Text<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    if !text.bytes[..keyword.start]
        .last()
        .is_some_and(u8::is_ascii_alphanumeric)
    {
        return None;
    }
    let rest = &text.bytes[keyword.end..text.bytes.len().min(keyword.end + 320)];
    let ends = |byte: u8| byte <= b' ' || byte >= 0x7f || b"/\"'`<>?#\\|^,[](){}".contains(&byte);
    let colon = rest
        .iter()
        .position(|byte| ends(*byte) || matches!(byte, b':' | b'@'))
        .filter(|at| rest[*at] == b':')?;
    // A password may hold a slash that someone forgot to escape; an address without `@` soon ends.
    let password = &rest[colon + 1..];
    let stop = password.iter().position(|byte| ends(*byte)).unwrap_or(password.len());
    let at = password[..stop].iter().rposition(|byte| *byte == b'@')?;
    let host = password[at + 1..].first()?;
    (at > 0 && (host.is_ascii_alphanumeric() || matches!(host, b'[' | b'$' | b'{' | b'_')))
        .then(|| keyword.end + colon + 1..keyword.end + colon + 1 + at)
}

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let lower = value.to_ascii_lowercase();
    const COMMON: &[&str] = &[
        "password",
        "passwd",
        "pass",
        "pwd",
        "pw",
        "secret",
        "token",
        "postgres",
        "mysql",
        "root",
        "admin",
        "test",
        "user",
        "guest",
        "mongo",
        "redis",
        "rabbitmq",
        "minio",
        "foo",
        "bar",
        "baz",
        "p",
        "s3cr3t",
        "pa55",
        "p4ss",
        "nats",
        "hunter2",
        "mypass",
        "mypassword",
        "somepassword",
        "changeit",
        "dev",
        "demo",
    ];
    let letters: Vec<u8> = lower.iter().copied().filter(u8::is_ascii_alphabetic).collect();
    let common = COMMON
        .iter()
        .any(|word| lower == word.as_bytes() || letters == word.as_bytes())
        || checks::contains(&lower, b"passw");
    let user = candidate.text.bytes[..candidate.value.start - 1]
        .iter()
        .rev()
        .take(value.len())
        .rev()
        .copied()
        .collect::<Vec<_>>();
    let common = common || user == value;
    let variable = lower.starts_with(b"%") && lower.len() < 4
        || value.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_') && checks::wordlike(value);
    let after = &candidate.text.bytes[candidate.value.end..candidate.text.bytes.len().min(candidate.value.end + 40)];
    let documentation = [
        &b"@example."[..],
        b"@host",
        b"@localhost",
        b"@127.0.0.1",
        b"@hostname",
        b"@0.0.0.0",
    ]
    .iter()
    .any(|host| after.starts_with(host))
        && value.len() < 12;
    let short_word = value.len() < 12 && checks::wordlike_only(value);
    let stand_in = common || variable || documentation || short_word || checks::placeholder(value);
    (value.len() >= 4 && !stand_in).then_some(Validation::Format)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn rows() {
        let value = noise(ALNUM, 14);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("DATABASE_URL=postgres://app:{value}@db.internal:5432/app"),
            Some(&value),
        );
        let value = noise(ALNUM, 20);
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("https://ci:{value}@git.internal/x.git"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "https://user:password@example.com",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "postgres://${USER}:${PASSWORD}@host",
            None,
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            "http://localhost:8080/a@b",
            None,
        );
        check(super::ENTRY.id, "config/settings.conf", "redis://user:%s@host", None);
    }
}
