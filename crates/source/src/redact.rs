//! The log filter: takes secrets out of what a step prints, line by line.
//!
//! It knows the values that were handed out, in every usual encoding, and whatever the token rules recognise.
//! It can't know a value that is encrypted, compressed, reversed or printed one character a line. Start at
//! [`Redactor::filter`].

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::matcher::Matcher;
use crate::rule::{Text, Validation, rules};

/// Known values shorter than this are not looked for: they would stand everywhere.
pub const VALUE_BYTES_MIN: usize = 4;

const KNOWN: &str = "secret/known-value";

/// Replaces secrets by `[redacted:<rule>]`. Holds the values it looks for, so it has no `Debug`.
pub struct Redactor {
    known: Option<AhoCorasick>,
    /// For each pattern, whether the text around it is base 64 too.
    base64: Vec<bool>,
}

impl Redactor {
    /// `known_secrets` are values that were handed to what is being filtered; each line of a longer value counts as
    /// a value of its own. Values shorter than [`VALUE_BYTES_MIN`] are left out.
    pub fn new(known_secrets: Vec<Vec<u8>>) -> Redactor {
        let mut patterns: Vec<(Vec<u8>, bool)> = Vec::new();
        for secret in &known_secrets {
            let lines = secret.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            for value in std::iter::once(secret.as_slice())
                .chain(lines)
                .filter(|value| value.len() >= VALUE_BYTES_MIN)
            {
                patterns.extend(encodings(value));
            }
        }
        patterns.sort();
        patterns.dedup_by(|a, b| a.0 == b.0);
        let known = (!patterns.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(patterns.iter().map(|(pattern, _)| pattern))
                .expect("the known values make an automaton")
        });
        Redactor {
            known,
            base64: patterns.into_iter().map(|(_, base64)| base64).collect(),
        }
    }

    /// One line without its secrets, and how many were taken out.
    pub fn filter(&self, line: &[u8]) -> (Vec<u8>, usize) {
        let mut found: Vec<(Range<usize>, &str)> =
            self.known_in(line).into_iter().map(|range| (range, KNOWN)).collect();
        for one in Matcher::get().find(&Text { bytes: line, path: "" }) {
            if one.validation > Validation::Entropy {
                found.push((one.value, rules()[one.rule].id));
            }
        }
        found.sort_by_key(|(range, rule)| (range.start, std::cmp::Reverse(range.end), *rule));
        replace(line, &found)
    }

    fn known_in(&self, line: &[u8]) -> Vec<Range<usize>> {
        let Some(known) = &self.known else { return Vec::new() };
        known
            .find_iter(line)
            .map(|hit| {
                if self.base64[hit.pattern().as_usize()] {
                    widen(line, hit.range())
                } else {
                    hit.range()
                }
            })
            .collect()
    }
}

/// A value as it is printed: raw, as JSON, in hex, percent-encoded, and in base 64 at each of the three alignments
/// it can have inside something longer, less the characters that it shares with its neighbours.
fn encodings(value: &[u8]) -> Vec<(Vec<u8>, bool)> {
    let hex = |digits: &str| -> Vec<u8> { value.iter().flat_map(|byte| digit_pair(*byte, digits)).collect() };
    let percent = |digits: &str| -> Vec<u8> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        value
            .iter()
            .flat_map(|byte| {
                if plain(*byte) {
                    vec![*byte]
                } else {
                    [vec![b'%'], digit_pair(*byte, digits).to_vec()].concat()
                }
            })
            .collect()
    };
    let json = serde_json::Value::String(String::from_utf8_lossy(value).into_owned()).to_string();
    let mut out = vec![value.to_vec(), hex("0123456789abcdef"), hex("0123456789ABCDEF")];
    out.push(percent("0123456789ABCDEF"));
    out.push(percent("0123456789abcdef"));
    out.push(json.as_bytes()[1..json.len() - 1].to_vec());
    // A lone replacement character stands for any broken byte.
    out.retain(|text| text.len() >= VALUE_BYTES_MIN);
    let mut out: Vec<(Vec<u8>, bool)> = out.into_iter().map(|text| (text, false)).collect();
    for alignment in 0..3 {
        let shifted = [&[0; 2][..alignment], value].concat();
        // Each character holds six bits; those that hold bits of a neighbour differ from place to place.
        let first = (alignment * 8).div_ceil(6);
        let last = shifted.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&shifted);
            let core = &text.as_bytes()[first..last];
            if core.len() >= VALUE_BYTES_MIN {
                out.push((core.to_vec(), true));
            }
        }
    }
    out
}

fn digit_pair(byte: u8, digits: &str) -> [u8; 2] {
    [
        digits.as_bytes()[usize::from(byte >> 4)],
        digits.as_bytes()[usize::from(byte & 15)],
    ]
}

/// Takes in the characters at both ends that hold some of the value's bits.
fn widen(line: &[u8], range: Range<usize>) -> Range<usize> {
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let before = line[..range.start]
        .iter()
        .rev()
        .take(1)
        .take_while(|byte| part(byte))
        .count();
    let after = line[range.end..].iter().take(1).take_while(|byte| part(byte)).count();
    let padding = line[range.end + after..]
        .iter()
        .take(2)
        .take_while(|byte| **byte == b'=')
        .count();
    range.start - before..range.end + after + padding
}

fn replace(line: &[u8], found: &[(Range<usize>, &str)]) -> (Vec<u8>, usize) {
    let mut out = Vec::with_capacity(line.len());
    let (mut at, mut count) = (0, 0);
    for (range, rule) in found {
        if range.end <= at {
            continue;
        }
        if range.start >= at {
            out.extend_from_slice(&line[at..range.start]);
            out.extend_from_slice(format!("[redacted:{rule}]").as_bytes());
            count += 1;
        }
        at = range.end;
    }
    out.extend_from_slice(&line[at..]);
    (out, count)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::checks::contains;
    use crate::matcher::testing::{ALNUM, HEX, noise};

    fn filter(known: &[&str], line: &str) -> (String, usize) {
        let redactor = Redactor::new(known.iter().map(|value| value.as_bytes().to_vec()).collect());
        let (out, count) = redactor.filter(line.as_bytes());
        (String::from_utf8_lossy(&out).into_owned(), count)
    }

    #[test]
    fn rows() {
        let token = format!("dop_{}_{}", "v1", noise(HEX, 64));
        let known = "[redacted:secret/known-value]";
        for (line, expect, count) in [
            ("nothing here", "nothing here".to_owned(), 0),
            ("k=correct horse", format!("k={known}"), 1),
            ("correct horse, correct horse", format!("{known}, {known}"), 2),
            ("k=correct%20horse", format!("k={known}"), 1),
            (
                &format!("t={token} end"),
                "t=[redacted:secret/digitalocean-token] end".to_owned(),
                1,
            ),
            ("", String::new(), 0),
        ] {
            assert_eq!(filter(&["correct horse"], line), (expect, count), "{line}");
        }
        assert_eq!(filter(&["abc"], "abc").0, "abc", "too short to look for");
        assert_eq!(
            filter(&["first line\nsecond line"], "a second line b").0,
            format!("a {known} b")
        );
        assert_eq!(
            filter(&[r#"quote"d\x"#], r#"{"k":"quote\"d\\x"}"#).0,
            format!("{{\"k\":\"{known}\"}}")
        );
        // An entropy match is no reason to change a log.
        let line = format!("token={}", noise(ALNUM, 32));
        assert_eq!(filter(&[], &line).0, line);
    }

    proptest! {
        #[test]
        fn every_planted_value_goes(
            value in proptest::collection::vec(any::<u8>(), 8..60),
            before in proptest::collection::vec(any::<u8>(), 0..20),
            after in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let redactor = Redactor::new(vec![value.clone()]);
            let whole = [before.as_slice(), &value, &after].concat();
            let (out, _) = redactor.filter(&whole);
            prop_assert!(!contains(&out, &value));
            let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
            let value_hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            let (out, _) = redactor.filter(hex.as_bytes());
            prop_assert!(!contains(&out, value_hex.as_bytes()));
            for encode in [|bytes: &[u8]| STANDARD.encode(bytes), |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes)] {
                let (out, count) = redactor.filter(encode(&whole).as_bytes());
                prop_assert!(count >= 1);
                // No six bytes of the value can be decoded from what is left, at any alignment.
                for run in out.split(|byte| *byte == b'[' || *byte == b']') {
                    for shift in 0..4.min(run.len()) {
                        let run = &run[shift..];
                        if let Ok(decoded) = STANDARD_NO_PAD.decode(&run[..run.len() / 4 * 4]) {
                            prop_assert!(!contains(&decoded, &value[1..value.len() - 1]));
                        }
                    }
                }
            }
        }
    }
}
