//! Decimal numbers as far as they are compared: exactly, whatever they were written as.
//!
//! No arithmetic. A number whose exponent is beyond a hundred thousand digits is read as an infinity or as zero.

use std::cmp::Ordering;

use super::value::{Kind, Value};

/// Digits before and behind the point are bounded by this exponent.
const EXPONENT_MAX: i64 = 100_000;

/// A number, exactly.
#[derive(Debug, Clone)]
pub enum Decimal {
    Finite {
        negative: bool,
        /// Without leading zeros.
        whole: String,
        /// Without trailing zeros.
        fraction: String,
    },
    Infinite {
        negative: bool,
    },
    NotANumber,
}

impl Decimal {
    /// The exact value of a number.
    pub fn of(value: &Value) -> Option<Decimal> {
        match value {
            Value::Bool(value) => Decimal::parse(if *value { "1" } else { "0" }),
            Value::Int(value) => Decimal::parse(&value.to_string()),
            Value::Big(digits) => Decimal::parse(digits),
            // The binary fraction, written out: at most 1074 places.
            Value::Float(value) if value.is_finite() => Decimal::parse(&format!("{value:.1074}")),
            Value::Float(value) if value.is_nan() => Some(Decimal::NotANumber),
            Value::Float(value) => Some(Decimal::Infinite { negative: *value < 0.0 }),
            Value::Foreign(foreign) if foreign.kind == Kind::Decimal => Decimal::parse(&foreign.text),
            _ => None,
        }
    }

    /// Reads what Python's `decimal.Decimal` reads from text.
    pub fn parse(text: &str) -> Option<Decimal> {
        let text: String = text.trim().chars().filter(|one| *one != '_').collect();
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text.as_str()),
        };
        let lower = rest.to_ascii_lowercase();
        if lower == "inf" || lower == "infinity" {
            return Some(Decimal::Infinite { negative });
        }
        if let Some(payload) = lower.strip_prefix('s').unwrap_or(&lower).strip_prefix("nan") {
            return payload
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then_some(Decimal::NotANumber);
        }
        let (mantissa, exponent) = match lower.split_once('e') {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
            None => (lower.as_str(), 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if digits.bytes().all(|byte| byte == b'0') {
            return Some(Decimal::finite(false, String::new(), String::new()));
        }
        let point = i64::try_from(whole.len()).ok()?.saturating_add(exponent);
        if point > EXPONENT_MAX {
            return Some(Decimal::Infinite { negative });
        }
        if point < -EXPONENT_MAX {
            return Some(Decimal::finite(false, String::new(), String::new()));
        }
        let length = i64::try_from(digits.len()).ok()?;
        let zeros = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
        let (whole, fraction) = if point <= 0 {
            (String::new(), format!("{}{digits}", zeros(-point)))
        } else if point >= length {
            (format!("{digits}{}", zeros(point - length)), String::new())
        } else {
            let (whole, fraction) = digits.split_at(usize::try_from(point).ok()?);
            (whole.to_owned(), fraction.to_owned())
        };
        Some(Decimal::finite(negative, whole, fraction))
    }

    fn finite(negative: bool, whole: String, fraction: String) -> Decimal {
        Decimal::Finite {
            negative,
            whole: whole.trim_start_matches('0').to_owned(),
            fraction: fraction.trim_end_matches('0').to_owned(),
        }
    }

    /// `None` where NaN takes part.
    pub fn compare(&self, other: &Decimal) -> Option<Ordering> {
        let sign = |negative: bool| if negative { Ordering::Less } else { Ordering::Greater };
        match (self, other) {
            (Decimal::NotANumber, _) | (_, Decimal::NotANumber) => None,
            (Decimal::Infinite { negative: left }, Decimal::Infinite { negative: right }) => {
                // The one with the minus sign is the lesser.
                Some(right.cmp(left))
            }
            (Decimal::Infinite { negative }, _) => Some(sign(*negative)),
            (_, Decimal::Infinite { negative }) => Some(sign(!*negative)),
            (
                Decimal::Finite {
                    negative: left,
                    whole,
                    fraction,
                },
                Decimal::Finite {
                    negative: right,
                    whole: other_whole,
                    fraction: other_fraction,
                },
            ) => {
                if left != right {
                    return Some(sign(*left));
                }
                let size = whole
                    .len()
                    .cmp(&other_whole.len())
                    .then_with(|| whole.cmp(other_whole))
                    // Digits behind the point have an order as text: trailing zeros are gone.
                    .then_with(|| fraction.cmp(other_fraction));
                Some(if *left { size.reverse() } else { size })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_exact() {
        let number = |text: &str| Decimal::parse(text).expect("a number");
        for (left, right, expect) in [
            ("0.1", "0.10", Ordering::Equal),
            ("1e2", "100", Ordering::Equal),
            ("-0", "0", Ordering::Equal),
            ("-1.5", "-1.25", Ordering::Less),
            ("inf", "1e99999", Ordering::Greater),
            ("1_000", "999.9", Ordering::Greater),
            ("1e-3", "0.001", Ordering::Equal),
        ] {
            assert_eq!(number(left).compare(&number(right)), Some(expect), "{left} {right}");
        }
        let float = Decimal::of(&Value::Float(0.1)).expect("a number");
        assert_eq!(float.compare(&number("0.1")), Some(Ordering::Greater));
        for text in ["", "abc", "1.2.3", "--1", "1e"] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }
}
