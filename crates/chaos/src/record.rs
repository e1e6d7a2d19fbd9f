//! What a [`Record`] says: its values by key, or in words that one is missing. Where a record comes back from the
//! journal, nothing in it is believed to have the right form.

use aws_lc_rs::hmac;
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

/// Key of the record for what its digests are sealed with.
const SALT_KEY: &str = "salt";
/// Keys of digests of contents begin so.
const DIGEST_PREFIX: &str = "digest_";

/// What the digests in a record are sealed with: HMAC-SHA256 under a random key of the record's own. The journal gives
/// away neither that two files hold the same nor what a list of known digests has; whoever reads it can still try one
/// guess after the other, for the key stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seal(Option<Digest>);

impl Seal {
    /// Digests as they are.
    pub(crate) const NONE: Seal = Seal(None);

    /// The one of a record; one without a key, as older ones are, has its digests as they are.
    pub(crate) fn of(record: &Record) -> Result<Seal, String> {
        let is_sealed = record.contains_key(SALT_KEY);
        Ok(Seal(is_sealed.then(|| digest(record, SALT_KEY)).transpose()?))
    }

    /// What stands in the record for these contents.
    pub(crate) fn digest(self, contents: &[u8]) -> Digest {
        self.close(Digest::of(contents))
    }

    fn close(self, plain: Digest) -> Digest {
        let Some(key) = self.0 else { return plain };
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.0);
        let mut sealed = Digest([0; 32]);
        sealed.0.copy_from_slice(hmac::sign(&key, &plain.0).as_ref());
        sealed
    }
}

/// Seals every digest of a record, and keeps with it what that takes.
pub(crate) fn seal(record: &mut Record, key: [u8; 32]) -> Result<(), String> {
    let seal = Seal(Some(Digest(key)));
    let keys: Vec<String> = record
        .keys()
        .filter(|key| key.starts_with(DIGEST_PREFIX))
        .cloned()
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    for key in keys {
        let sealed = seal.close(digest(record, &key)?);
        record.insert(key, sealed.hex().into());
    }
    record.insert(SALT_KEY.to_owned(), Digest(key).hex().into());
    Ok(())
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

    #[test]
    fn sealed_digests_tell_contents_apart_and_nothing_else() {
        let plain = Digest::of(b"hunter2");
        let record = || {
            Record::from([
                ("digest_before".to_owned(), plain.hex().into()),
                ("mode".to_owned(), 4.into()),
            ])
        };
        let (mut one, mut other) = (record(), record());
        seal(&mut one, [1; 32]).unwrap();
        seal(&mut other, [2; 32]).unwrap();
        assert_ne!(digest(&one, "digest_before"), digest(&other, "digest_before"));
        for sealed in [one, other] {
            let stands = digest(&sealed, "digest_before").unwrap();
            assert_ne!(stands, plain);
            let seal = Seal::of(&sealed).unwrap();
            assert_eq!(
                (seal.digest(b"hunter2") == stands, seal.digest(b"hunter3") == stands),
                (true, false)
            );
            assert_eq!(sealed["mode"], 4);
        }
        assert_eq!(
            Seal::of(&record()).unwrap().digest(b"hunter2"),
            plain,
            "an older record"
        );
        let mut nothing = Record::from([("mode".to_owned(), 4.into())]);
        seal(&mut nothing, [1; 32]).unwrap();
        assert_eq!(nothing.len(), 1);
    }
}
