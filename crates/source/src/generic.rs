//! Finds values that are assigned to something named like a secret, in any language or configuration format.
//!
//! Written by hand rather than as a pattern because its keywords are everywhere in source code: most hits are
//! left after a few bytes. Not here: provider tokens. Start at [`assigned`].

use std::ops::Range;

use crate::checks;
use crate::matcher::machine_made;
use crate::rule::Text;

/// A name of something, and the value it is given.
struct Assignment<'a> {
    /// The whole name, in small letters: `db_password`.
    name: String,
    value: &'a [u8],
    range: Range<usize>,
    quoted: bool,
}

const NAME_BYTES_MAX: usize = 80;
const VALUE_BYTES_MAX: usize = 512;

/// The value of `password = "…"`, when it is one.
pub fn password(text: &Text<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    let found = assigned(text, keyword)?;
    (plausible(&found, text) && strong_enough(&found)).then_some(found.range)
}

/// The value of `api_key = "…"`, when it is one.
pub fn secret(text: &Text<'_>, keyword: Range<usize>) -> Option<Range<usize>> {
    let found = assigned(text, keyword)?;
    (plausible(&found, text) && random_enough(&found)).then_some(found.range)
}

fn assigned<'a>(text: &Text<'a>, keyword: Range<usize>) -> Option<Assignment<'a>> {
    let bytes = text.bytes;
    let low = keyword.start.saturating_sub(NAME_BYTES_MAX);
    let name_start = bytes[low..keyword.start]
        .iter()
        .rposition(|byte| !in_name(*byte))
        .map_or(low, |at| low + at + 1);
    let high = bytes.len().min(keyword.end + NAME_BYTES_MAX);
    let mut at = keyword.end
        + bytes[keyword.end..high]
            .iter()
            .take_while(|byte| in_name(**byte))
            .count();
    let name_end = at;
    // `"name"]`, `name)`
    let closed = bytes.get(at).copied();
    while at < name_end + 2 && matches!(bytes.get(at), Some(b'"' | b'\'' | b']' | b'`' | b')' | b'\\')) {
        at += 1;
    }
    let name_quoted = matches!(closed, Some(b'"' | b'\'' | b'`' | b'\\'));
    at = skip_blanks(bytes, at);
    let mut xml = false;
    at = match bytes.get(at..)? {
        [b'=', b'=' | b'~', ..] | [b'!', b'=', ..] | [b':', b':', ..] => return None,
        [b':' | b'+' | b'?', b'=', ..] | [b'=', b'>', ..] => at + 2,
        [b'|', b'|', b'=', ..] => at + 3,
        [b'=', ..] => at + 1,
        [b':', ..] => typed(bytes, at + 1).unwrap_or(at + 1),
        // Arguments of a call; between backticks it is the list of a text.
        [b',', ..]
            if name_quoted && closed != Some(b'`') && name_start > 0 && closed == Some(bytes[name_start - 1]) =>
        {
            at + 1
        }
        _ if name_start > 0 && bytes[name_start - 1] == b'<' && at > name_end => {
            xml = true;
            at + attributes(&bytes[at..])?
        }
        [b'>', ..] => {
            xml = true;
            at + 1
        }
        _ => return None,
    };
    at = skip_blanks(bytes, at);
    let range = match value_quote(bytes, at) {
        Some((start, quote)) => quoted_value(bytes, start, quote)?,
        None if xml || bare_values(text, name_start) => bare_value(bytes, at, xml)?,
        None => return None,
    };
    let quoted = range.start != at;
    let name = String::from_utf8_lossy(&bytes[name_start..name_end]).to_ascii_lowercase();
    Some(Assignment {
        name,
        value: &bytes[range.clone()],
        range,
        quoted,
    })
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..]
        .iter()
        .take(16)
        .take_while(|byte| matches!(byte, b' ' | b'\t'))
        .count()
}

/// How long the attributes of an XML element are, its `>` included.
fn attributes(rest: &[u8]) -> Option<usize> {
    let end = rest.iter().take(64).position(|byte| matches!(byte, b'>' | b'\n'))?;
    (rest[end] == b'>').then_some(end + 1)
}

/// After `name:`, where `name: Type = value` has its value.
fn typed(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..bytes.len().min(at + 32)];
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b" &<>':_.|?[]".contains(byte))
        .count();
    match &rest[length..] {
        [b'=', next, ..] if !matches!(next, b'=' | b'>') && !rest[..length].contains(&b'"') => Some(at + length + 1),
        _ => None,
    }
}

/// Where a quoted value begins: after a quote, which a string prefix (`b"`, `r"`, `f'`) or a backslash may precede.
fn value_quote(bytes: &[u8], at: usize) -> Option<(usize, u8)> {
    let prefix = bytes[at..]
        .iter()
        .take(2)
        .take_while(|byte| b"bruBRU@\\".contains(byte))
        .count();
    match bytes.get(at + prefix) {
        Some(quote @ (b'"' | b'\'' | b'`')) => Some((at + prefix + 1, *quote)),
        _ => None,
    }
}

fn quoted_value(bytes: &[u8], start: usize, quote: u8) -> Option<Range<usize>> {
    let rest = &bytes[start..bytes.len().min(start + VALUE_BYTES_MAX + 1)];
    let mut end = rest.iter().position(|byte| *byte == quote || *byte == b'\n')?;
    if rest[end] == b'\n' {
        return None;
    }
    if end > 0 && rest[end - 1] == b'\\' {
        end -= 1;
    }
    Some(start..start + end)
}

fn bare_value(bytes: &[u8], start: usize, xml: bool) -> Option<Range<usize>> {
    let rest = &bytes[start..bytes.len().min(start + VALUE_BYTES_MAX + 1)];
    let ends = |byte: u8| {
        byte.is_ascii_whitespace() || byte == b'<' || (!xml && matches!(byte, b';' | b',' | b'"' | b'\'' | b'`'))
    };
    let end = rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len());
    if xml && rest.get(end) != Some(&b'<') {
        return None;
    }
    (end <= VALUE_BYTES_MAX).then_some(start..start + end)
}

/// Whether values stand without quotes here: in configuration, or in a shell-like assignment at a line's start.
fn bare_values(text: &Text<'_>, name_start: usize) -> bool {
    const CONFIGURATION: &[&str] = &[
        "cfg",
        "cnf",
        "conf",
        "config",
        "credentials",
        "env",
        "ini",
        "netrc",
        "npmrc",
        "properties",
        "pypirc",
        "rc",
        "s3cfg",
        "sample",
        "tfvars",
        "txt",
        "yaml",
        "yml",
        "toml",
        "tugboat",
        "example",
        "local",
        "production",
        "development",
        "esmtprc",
        "bashrc",
        "bash_profile",
        "zshrc",
        "profile",
        "log",
    ];
    let file = text.path.rsplit('/').next().unwrap_or(text.path);
    let extension = file.rsplit_once('.').map_or("", |(_, extension)| extension);
    if CONFIGURATION.iter().any(|known| extension.eq_ignore_ascii_case(known)) || file.starts_with(".env") {
        return true;
    }
    if extension.is_empty()
        || matches!(
            extension,
            "sh" | "bash" | "zsh" | "fish" | "bat" | "ps1" | "Dockerfile" | "md" | "rst"
        )
        || file.starts_with("Dockerfile")
    {
        let line_start = text.bytes[..name_start]
            .iter()
            .rev()
            .take(40)
            .take_while(|byte| **byte != b'\n')
            .count();
        let before = &text.bytes[name_start - line_start..name_start];
        let before = before.trim_ascii();
        return before.is_empty()
            || matches!(
                before,
                b"export" | b"ENV" | b"ARG" | b"set" | b"-" | b"env" | b"$" | b"$env:" | b"- name:"
            );
    }
    false
}

/// Whether the name means the secret itself, and the value is no reference, path or text.
fn plausible(found: &Assignment<'_>, text: &Text<'_>) -> bool {
    // `password_file`, `token-type`: about a secret, not the secret.
    const ABOUT: &[&str] = &[
        "name",
        "user",
        "file",
        "filename",
        "path",
        "url",
        "uri",
        "type",
        "len",
        "length",
        "size",
        "count",
        "expiry",
        "expires",
        "expiration",
        "ttl",
        "policy",
        "field",
        "label",
        "param",
        "parameter",
        "regex",
        "regexp",
        "pattern",
        "prefix",
        "suffix",
        "header",
        "hint",
        "algorithm",
        "alg",
        "endpoint",
        "arn",
        "version",
        "format",
        "min",
        "max",
        "timeout",
        "provider",
        "strength",
        "enabled",
        "required",
        "ref",
        "class",
        "input",
        "text",
        "title",
        "message",
        "error",
        "selector",
        "help",
        "description",
        "store",
        "dir",
        "env",
        "var",
        "env_var",
        "usage",
        "index",
        "column",
        "attribute",
        "issuer",
        "audience",
        "scope",
        "scopes",
        "mode",
        "kind",
        "status",
        "state",
        "date",
        "created",
        "at",
        "lookup",
        "placeholder",
        "icon",
        "color",
        "limit",
        "sha256",
        "sha1",
        "checksum",
        "hash",
        "digest",
        "fingerprint",
        "mapping",
        "engine",
        "manager",
        "id",
        "ids",
        "keyid",
        "key_id",
        "keyname",
        "callback",
        "command",
        "cmd",
        "form",
        "reset",
        "template",
    ];
    const OTHER: &[&str] = &[
        "public_key",
        "publickey",
        "public-key",
        "pubkey",
        "primary_key",
        "primary-key",
        "foreign_key",
        "sort_key",
        "partition_key",
        "cache_key",
        "cache-key",
        "host_key",
        "hostkey",
        "hot_key",
        "group_key",
        "tokenizer",
        "tokenize",
        "secretary",
        "publishable",
        "csrf",
        "xsrf",
        "nextpagetoken",
        "next_token",
        "page_token",
        "pagetoken",
        "continuation",
        "nexttoken",
        "passwordless",
        "compass",
        "bypass",
        "passive",
        "passenger",
        "passport_",
        "keyboard",
        "websocket",
        "keystroke",
        "monkey",
        "sync_token",
        "resume_token",
        "integrity",
        "anti",
        "cancellation",
        "unique_key",
        "sort-key",
        "row_key",
        "key_type",
        "map_key",
        "lock_key",
        "object_key",
        "metric_key",
        "event_key",
        "bucket_key",
        "translation_key",
        "i18n",
        "site_key",
        "sitekey",
        "shortcut",
    ];
    let last = found.name.rsplit(['_', '-', '.']).next().unwrap_or("");
    let camel = |word: &str| found.name.len() > word.len() && found.name.ends_with(word) && word.len() > 3;
    if ABOUT.iter().any(|word| last == *word || camel(word)) || OTHER.iter().any(|word| found.name.contains(word)) {
        return false;
    }
    let value = found.value;
    let printable = value.iter().all(|byte| byte.is_ascii_graphic());
    printable
        && !machine_made(text)
        && !checks::placeholder(value)
        && !names_itself(value, &found.name)
        && !path_or_url(value)
        && !numbered(value, found.quoted)
        && !after_a_text(value)
        && (found.quoted || !code(value))
        && !minified(text, found.range.start)
}

/// `password: "password"`, `secret = "my-secret"`.
fn names_itself(value: &[u8], name: &str) -> bool {
    let lower = String::from_utf8_lossy(value).to_ascii_lowercase();
    lower == name
        // `LayerRootPassword = "RootPassword"`.
        || value.len() >= 8 && name.ends_with(&lower)
        || [
            "passw",
            "passwd",
            "secret",
            "token",
            "apikey",
            "api_key",
            "api-key",
            "credential",
        ]
        .iter()
        .any(|word| lower.contains(word) && checks::wordlike(value))
}

fn path_or_url(value: &[u8]) -> bool {
    let starts = |text: &str| value.starts_with(text.as_bytes());
    let file_ending = [
        ".pem", ".key", ".json", ".txt", ".yml", ".yaml", ".crt", ".go", ".js", ".ts", ".rs", ".py", ".java", ".html",
        ".php", ".com", ".org", ".net", ".io", ".toml", ".jwt", ".creds", ".nk",
    ]
    .iter()
    .any(|ending| value.ends_with(ending.as_bytes()));
    checks::contains(value, b"://")
        || file_ending
        || starts("./")
        || starts("../")
        || starts("~/")
        || starts("/") && value[1..].contains(&b'/') && checks::wordlike(value)
        || starts("http")
        || starts("0x") && value.len() < 12
        || starts("sha256")
        || starts("sha512-")
        || starts("sha1-")
        || starts("ssh-")
        || starts("ecdsa-")
        || starts("pkg:")
}

/// Numbers that say when, where or which: the version of a package named `…-keys`, and without quotes a place in a file
/// (`fuse_pass.py:58:28-46`), a time or a span of versions.
fn numbered(value: &[u8], quoted: bool) -> bool {
    let start = value.iter().take_while(|byte| b"^~<>=v".contains(byte)).count();
    let text = std::str::from_utf8(&value[start..]).unwrap_or("");
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let core = text.split(['-', '+']).next().unwrap_or("");
    let parts: Vec<&str> = core.split('.').collect();
    let version = text.len() <= 32 && parts.len() == 3 && parts.iter().all(|part| number(part) && part.len() <= 6);
    let place = || {
        let separated = text.bytes().any(|byte| matches!(byte, b':' | b'.' | b'-'));
        let digits = text
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b":.-TZ+".contains(&byte));
        separated && digits && text.starts_with(|first: char| first.is_ascii_digit())
    };
    version || !quoted && place()
}

/// What stands between two texts of a program, taken for a text: `prompt("Password: "), f("…")`.
fn after_a_text(value: &[u8]) -> bool {
    matches!(value, [b')', b')' | b',' | b';' | b'.', ..])
}

/// An expression rather than a value: `config.password`, `get_token()`, `self->secret`.
fn code(value: &[u8]) -> bool {
    let dotted = value.split(|byte| *byte == b'.').count() > 1
        && value
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'(' | b')' | b'[' | b']'))
        && !value.first().is_some_and(u8::is_ascii_digit)
        && checks::wordlike(value);
    dotted
        || value.ends_with(b")") && value.contains(&b'(')
        || value.ends_with(b"]") && value.contains(&b'[')
        || value.ends_with(b"{")
        || value.ends_with(b"(")
        || value.ends_with(b"[")
        || value == b"null"
        || value == b"None"
        || value == b"false"
        || value == b"true"
        || value.starts_with(b"*")
        || value.starts_with(b"|")
        || value.starts_with(b">")
}

/// A line so long that no one wrote it by hand.
fn minified(text: &Text<'_>, at: usize) -> bool {
    const LINE_BYTES_MAX: usize = 4000;
    let low = at.saturating_sub(LINE_BYTES_MAX / 2);
    let high = text.bytes.len().min(at + LINE_BYTES_MAX / 2);
    high - low >= LINE_BYTES_MAX && !text.bytes[low..high].contains(&b'\n')
}

/// A password a person chose: no mere word, and no stand-in everyone uses.
fn strong_enough(found: &Assignment<'_>) -> bool {
    const COMMON: &[&str] = &[
        "test", "admin", "root", "guest", "user", "pass", "demo", "temp", "default", "mypass", "secret", "foo", "bar",
        "baz", "hello", "abc", "qwerty", "string", "text", "value", "none", "null", "postgres", "mysql", "oracle",
        "redis", "nats", "welcome", "letmein", "1234", "pwd", "aaa",
    ];
    let value = found.value;
    if !(6..=128).contains(&value.len()) || checks::entropy(value) < 2.0 {
        return false;
    }
    let lower = value.to_ascii_lowercase();
    let letters: Vec<u8> = lower.iter().copied().filter(u8::is_ascii_alphabetic).collect();
    let common = COMMON.iter().any(|word| {
        (letters == word.as_bytes() && checks::classes(value) <= 2)
            || (lower.starts_with(word.as_bytes()) && lower.len() <= word.len() + 5 && checks::classes(value) <= 2)
    });
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let symbols = value
        .iter()
        .filter(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'-' | b'.' | b' ' | b'/' | b':'))
        .count();
    // A sentence in a quoted text has blanks and is not printable in the sense of `plausible`; a name in code has
    // neither digits nor symbols and reads like words.
    !common && (digits > 0 || symbols > 0 || !checks::wordlike(value)) && !identifier(value)
}

/// A token a machine drew.
fn random_enough(found: &Assignment<'_>) -> bool {
    let value = found.value;
    if value.len() < 10 || value.len() > VALUE_BYTES_MAX || !checks::random(value) || identifier(value) {
        return false;
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let all_digits = digits == value.len();
    let separators = value
        .iter()
        .filter(|byte| matches!(byte, b'-' | b'_' | b'.' | b'/' | b':'))
        .count();
    let words =
        checks::wordlike(value) && digits * 5 < value.len() && (separators > 0 || value.len() < 20 || digits == 0);
    // Text with marks of a sentence, a template or a shell line is no token.
    let marks = value.iter().any(|byte| b" (){}<>,;\"'`|^*?".contains(byte));
    !all_digits && !words && !marks
}

/// A name in some program: letters joined by `_`, `-` or `.`, or parts that read like words, with few digits.
fn identifier(value: &[u8]) -> bool {
    let joined = value
        .iter()
        .any(|byte| matches!(byte, b'_' | b'-' | b'.' | b'/' | b':'));
    let plain = value.iter().all(|byte| in_name(*byte) || matches!(byte, b'/' | b':'));
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    let one_case = !value.iter().any(u8::is_ascii_lowercase) || !value.iter().any(u8::is_ascii_uppercase);
    joined && plain && (digits == 0 && one_case || digits * 6 <= value.len() && checks::wordlike(value))
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, check, noise};

    #[test]
    fn numbers_and_texts_are_no_secrets() {
        let (password, secret) = ("secret/generic-password", "secret/generic-secret");
        for (rule, path, text) in [
            (
                password,
                "mypy.txt",
                "ERROR a/lift_constants_pass.py:58:28-46: No attribute",
            ),
            (password, "mypy.txt", "a/replace_view_ops_pass.py:18:24: error: Name"),
            (password, "ty.txt", "a/graph_passes.py:1089:35: warning"),
            (password, "VERSIONS", "spwd: 3.0-3.12"),
            (
                password,
                "list.xml",
                "<PasswordLastUsed>2014-10-10T14:37:51Z</PasswordLastUsed>",
            ),
            (password, "api.go", "LayerKeysMysqlRootPassword = \"MysqlRootPassword\""),
            (
                password,
                "cli.js",
                "(e=\"Input new password: \"),E=n.limit;!S;)n.limit=h,k(\"x1\")",
            ),
            (
                secret,
                "package.json",
                "\"transform-duplicate-keys\": \"7.0.0-beta.49\",",
            ),
            (
                secret,
                "package.json",
                "\"transform-duplicate-keys\": \"^7.0.0-alpha.17\",",
            ),
        ] {
            check(rule, path, text, None);
        }
        let text = "* `transform-es2015-duplicate-keys`, `preset-es2015`";
        check(secret, "CHANGELOG.md", text, None);
        let value = format!("1.2.{}", noise(ALNUM, 20));
        check(secret, "app.conf", &format!("api_key = \"{value}\""), Some(&value));
    }
}
