//! Canonical JSON (RFC 8785, JCS): one value has one sequence of bytes, and only that one is accepted.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The bytes are not the canonical form of what they say.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    #[error("not JSON of the expected shape: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("JSON is not in canonical form (RFC 8785)")]
    NotCanonical,
}

/// The canonical bytes of `value`.
///
/// # Panics
/// When `value` has a map with keys that are not strings, or a number JSON can't hold: a programming error.
pub fn to_canonical<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("the value has a JSON form")
}

/// Reads `bytes`, refusing every form but the canonical one.
///
/// Duplicate keys, unknown fields that `T` drops, white space and other escapes all change the bytes when
/// written again, so comparing the two is the whole check.
pub fn from_canonical<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes)?;
    if to_canonical(&value) == bytes {
        Ok(value)
    } else {
        Err(CanonicalError::NotCanonical)
    }
}
