//! What a [`Record`] says: its values by key, or in words that one is missing. Where a record comes back from the
//! journal, nothing in it is believed to have the right form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::Digest;
use serde_json::Value;

use crate::strike::Record;

/// A value of any form.
pub(crate) fn value<'r>(record: &'r Record, key: &str) -> Result<&'r Value, String> {
    record.get(key).ok_or_else(|| missing(key))
}

pub(crate) fn text<'r>(record: &'r Record, key: &str) -> Result<&'r str, String> {
    formed(record, key, Value::as_str)
}

pub(crate) fn number(record: &Record, key: &str) -> Result<u64, String> {
    formed(record, key, Value::as_u64)
}

pub(crate) fn list<'r>(record: &'r Record, key: &str) -> Result<&'r [Value], String> {
    formed(record, key, Value::as_array).map(Vec::as_slice)
}

/// A SHA-256 in hexadecimal.
pub(crate) fn digest(record: &Record, key: &str) -> Result<Digest, String> {
    let text = text(record, key)?;
    text.parse().map_err(|_| format!("`{key}` of the record is no digest"))
}

/// Bytes in base64: what [`of_bytes`] makes.
pub(crate) fn bytes(record: &Record, key: &str) -> Result<Vec<u8>, String> {
    let text = text(record, key)?;
    STANDARD
        .decode(text)
        .map_err(|_| format!("`{key}` of the record is not base64"))
}

/// The value of bytes that are no secret.
pub(crate) fn of_bytes(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

fn formed<'r, T>(record: &'r Record, key: &str, form: fn(&'r Value) -> Option<T>) -> Result<T, String> {
    record.get(key).and_then(form).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> String {
    format!("the record has no `{key}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_of_another_form_is_said() {
        let record = Record::from([("a".to_owned(), "?".into()), ("n".to_owned(), 7.into())]);
        assert_eq!(text(&record, "a"), Ok("?"));
        assert_eq!(number(&record, "n"), Ok(7));
        assert_eq!(number(&record, "a"), Err("the record has no `a`".to_owned()));
        assert_eq!(text(&record, "b"), Err("the record has no `b`".to_owned()));
        assert_eq!(list(&record, "n"), Err("the record has no `n`".to_owned()));
        assert_eq!(digest(&record, "a"), Err("`a` of the record is no digest".to_owned()));
        let binary = Record::from([("b".to_owned(), of_bytes(&[0, 255]))]);
        assert_eq!(bytes(&binary, "b"), Ok(vec![0, 255]));
        assert_eq!(bytes(&record, "a"), Err("`a` of the record is not base64".to_owned()));
    }
}
