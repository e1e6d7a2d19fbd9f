//! How a secret looks where it leaked: as it is, in hexadecimal, in base64.
//!
//! For log filters and for tests that look through everything a release wrote. It does no searching itself.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values would match by chance.
const BYTES_MIN: usize = 8;

/// The byte strings that betray `value`: raw, hexadecimal in both cases, and base64 in both alphabets at each of the
/// three alignments (without the characters at either end that also depend on neighbouring bytes).
/// None for a value of fewer than 8 bytes.
pub fn spellings(value: &[u8]) -> Vec<Vec<u8>> {
    if value.len() < BYTES_MIN {
        return Vec::new();
    }
    let mut spellings = vec![
        value.to_vec(),
        value
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            .into_bytes(),
        value
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
            .into_bytes(),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(value);
        // A base64 character carries six bits: the first one wholly inside `value` begins at bit 8 × before, rounded up.
        let first = (8 * before).div_ceil(6);
        let end = 8 * bytes.len() / 6;
        spellings.push(STANDARD_NO_PAD.encode(&bytes).into_bytes()[first..end].to_vec());
        spellings.push(URL_SAFE_NO_PAD.encode(&bytes).into_bytes()[first..end].to_vec());
    }
    spellings.sort();
    spellings.dedup();
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_leak_is_recognised_wherever_it_stands(
            before in proptest::collection::vec(any::<u8>(), 0..7),
            value in proptest::collection::vec(any::<u8>(), 8..40),
            after in proptest::collection::vec(any::<u8>(), 0..7),
        ) {
            let text = [before, value.clone(), after].concat();
            let spellings = spellings(&value);
            let hex: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            for leaked in [text.clone(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(),
                           STANDARD_NO_PAD.encode(&text).into_bytes(), URL_SAFE_NO_PAD.encode(&text).into_bytes()] {
                prop_assert!(spellings.iter().any(|s| leaked.windows(s.len()).any(|window| window == s.as_slice())));
            }
        }
    }
}
