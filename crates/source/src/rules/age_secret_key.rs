//! # secret/age-secret-key
//!
//! An age secret key stands in the tree or in its history.
//!
//! ## What it does
//!
//! Finds it by its prefix and length; stand-ins such as `xxxx` or `example` are left alone.
//! Its own checksum or structure decides, so that made-up ones don't count.
//!
//! ## Why it matters
//!
//! It decrypts everything that was ever encrypted to it. Removing it in a later commit leaves it in every clone.
//!
//! ## Example
//!
//! ```text
//! AGE-SECRET-KEY-1…
//! ```
//!
//! ## What to do instead
//!
//! Make a new key and encrypt again with it first: it is known. Then keep the new one in a secret store, hand it over
//! as a file at run time, and only then clean up the history.
//!
//! ## References
//!
//! - <https://github.com/FiloSottile/age>

use evidence::Severity;

use crate::checks;
use crate::rule::{Candidate, Find, Validation};

pub const ENTRY: crate::Entry = crate::Entry {
    id: "secret/age-secret-key",
    what: "age secret key",
    severity: Severity::Critical,
    fix: "make a new key, encrypt again, and keep it out of the tree",
    keywords: &["AGE-SECRET-KEY-1"],
    find: Find::Token(r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}(?-u:\b)"),
    check,
};

fn check(candidate: &Candidate<'_>) -> Option<Validation> {
    checks::bech32(candidate.value()).then_some(Validation::Checksum)
}

#[cfg(test)]
mod tests {
    use crate::matcher::testing::check;

    #[test]
    fn rows() {
        let value = age();
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("# key\n{value}\n"),
            Some(&value),
        );
        check(
            super::ENTRY.id,
            "config/settings.conf",
            &format!("AGE-SECRET-KEY-1{}", "Q".repeat(58)),
            None,
        );
    }

    /// Looks for the six characters that make the checksum right, one bit of it at a time being linear.
    fn age() -> String {
        let human = "AGE-SECRET-KEY-";
        let alphabet = b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
        let data: Vec<u8> = (0..52_u32).map(|at| (at * 7 % 32) as u8).collect();
        let step = |sum: u32, value: u32| {
            let generator = [0x3b6a_57b2_u32, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
            (0..5).fold((sum & 0x01ff_ffff) << 5 ^ value, |next, bit| {
                if sum >> 25 >> bit & 1 == 1 {
                    next ^ generator[bit]
                } else {
                    next
                }
            })
        };
        let lower = human.to_ascii_lowercase();
        let expanded = lower
            .bytes()
            .map(|b| u32::from(b >> 5))
            .chain([0])
            .chain(lower.bytes().map(|b| u32::from(b & 31)));
        let sum = expanded
            .chain(data.iter().map(|b| u32::from(*b)))
            .chain([0; 6])
            .fold(1, step)
            ^ 1;
        let checksum = (0..6).map(|at| (sum >> (5 * (5 - at)) & 31) as u8);
        let text: String = data
            .iter()
            .copied()
            .chain(checksum)
            .map(|value| alphabet[usize::from(value)] as char)
            .collect();
        format!("{human}1{text}")
    }
}
