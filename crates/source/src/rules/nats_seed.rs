//! # secret/nats-seed
//!
//! A NATS seed stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! It signs in as, or for, an account of the messaging system. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! SU…
//! ```
//!
//! ## What to do instead
//!
//! Make a new key and remove the old one from its account first: it is known. Then keep the new one in a secret store,
//! hand it over as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/nkey_auth>

use evidence::Severity;

use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/nats-seed",
    what: "NATS seed",
    severity: Severity::Critical,
    fix: "make a new key, remove the old one from the account, and keep the seed out of the tree",
    keywords: &["SU", "SA", "SO", "SN", "SC"],
    find: Find::Token(r"S[UAONCX][A-Z2-7]{56}(?-u:\b)"),
    check,
};

/// Base 32 of two prefix bytes, 32 key bytes and their CRC-16 (XMODEM), little-endian.
fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    let mut bytes = Vec::new();
    let (mut buffer, mut bits) = (0_u32, 0);
    for letter in candidate.value() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|known| known == letter)?;
        buffer = (buffer << 5 | value as u32) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    let (body, sum) = bytes.split_last_chunk::<2>()?;
    (crc16(body) == u16::from_le_bytes(*sum)).then_some(Validation::Checksum)
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ 0x1021 & (crc >> 15).wrapping_neg()
        })
    })
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::{ALNUM, BASE32, check, noise};

    #[test]
    fn rows() {
        let value = seed();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("seed: {value}"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("SU{}", noise(BASE32, 56)),
            None,
        );
    }

    fn seed() -> String {
        // `S`, `U` and zero bytes, then the checksum; base 32 without padding.
        let mut bytes = vec![0x95, 0x00];
        bytes.extend(noise(ALNUM, 32).bytes());
        bytes.extend(super::crc16(&bytes).to_le_bytes());
        let bits: Vec<u8> = bytes
            .iter()
            .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
            .collect();
        bits.chunks(5)
            .map(|chunk| {
                chunk
                    .iter()
                    .chain([0; 4].iter())
                    .take(5)
                    .fold(0, |sum, bit| sum << 1 | usize::from(*bit))
            })
            .map(|value| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[value] as char)
            .collect()
    }
}
