//! Tells real secrets from look-alikes: checksums, randomness, placeholders.
//!
//! Not here: any one provider's format (that is the rule's own file). Start at [`random`] and [`placeholder`].

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320).
pub fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// `number` in base 62 (digits, capitals, small letters), padded to six digits.
pub fn base62_6(number: u32) -> [u8; 6] {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; 6];
    let mut rest = number as usize;
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[rest % 62];
        rest /= 62;
    }
    out
}

/// Whether the last six characters are the base-62 CRC-32 of what stands between `prefix` and them
/// (GitHub, npm: "Behind GitHub's new authentication token formats", 2021).
pub fn crc32_base62_suffix(token: &[u8], prefix: usize) -> bool {
    match token
        .get(prefix..)
        .and_then(|body| body.len().checked_sub(6).map(|at| body.split_at(at)))
    {
        Some((body, sum)) => base62_6(crc32(body)) == sum,
        None => false,
    }
}

/// Whether `text` is Bech32 (BIP 173) with a valid checksum, in one case throughout.
pub fn bech32(text: &[u8]) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    if text.iter().any(u8::is_ascii_lowercase) && text.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    let Some(separator) = lower.iter().rposition(|byte| *byte == b'1') else {
        return false;
    };
    let (human, data) = (&lower[..separator], &lower[separator + 1..]);
    let step = |sum: u32, value: u32| {
        (0..5).fold((sum & 0x01ff_ffff) << 5 ^ value, |next, bit| {
            if sum >> 25 >> bit & 1 == 1 {
                next ^ GENERATOR[bit]
            } else {
                next
            }
        })
    };
    let high = human.iter().map(|byte| u32::from(byte >> 5));
    let low = human.iter().map(|byte| u32::from(byte & 31));
    let mut sum = high.chain(std::iter::once(0)).chain(low).fold(1, step);
    for byte in data {
        let Some(value) = ALPHABET.iter().position(|letter| letter == byte) else {
            return false;
        };
        sum = step(sum, value as u32);
    }
    !human.is_empty() && data.len() >= 6 && sum == 1
}

/// What `text` says in base 64, with or without padding.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text).ok()
}

/// The password of `user:password` in base 64 (RFC 7617), when both are printable.
pub fn basic_password(text: &[u8]) -> Option<String> {
    let decoded = base64(text)?;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    (decoded.iter().all(u8::is_ascii_graphic) && !user.is_empty()).then(|| password.to_owned())
}

/// Shannon entropy in bits a byte.
pub fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    let length = bytes.len().max(1) as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / length;
            -share * share.log2()
        })
        .sum()
}

/// Whether `value` is spread as a random token of its length would be: the entropy of a short text can't exceed
/// the logarithm of its length, so the limit grows with it.
pub fn random(value: &[u8]) -> bool {
    let limit = match value.len() {
        0..8 => return false,
        8..12 => 2.5,
        12..20 => 2.9,
        20..32 => 3.1,
        _ if value.iter().all(u8::is_ascii_hexdigit) => 3.0,
        _ => 3.3,
    };
    entropy(value) >= limit && !sequential(value)
}

/// Whether `value` says of itself that it is none: `xxxx`, `changeme`, `${VAR}`, `<token>`, `EXAMPLE`.
pub fn placeholder(value: &[u8]) -> bool {
    if repeated(value) || reference(value) {
        return true;
    }
    const WORDS: &[&str] = &[
        "example",
        "sample",
        "changeme",
        "change_me",
        "change-me",
        "placeholder",
        "dummy",
        "insert",
        "replace",
        "redacted",
        "yourtoken",
        "your_",
        "your-",
        "_your",
        "-your",
        "<your",
        "yourpass",
        "yourkey",
        "yoursecret",
        "xxxx",
        "todo",
        "fixme",
        "goes_here",
        "goes-here",
        "gohere",
        "_here",
        "-here",
        "notreal",
        "not-real",
        "not_real",
        "fake",
        "foobar",
        "lorem",
        "mock",
        "deadbeef",
        "abcdefghijkl",
        "qwertyui",
        "asdfghjk",
        "0123456789",
        "1234567890",
        "1111111",
        "00000000",
        "aaaaaaaa",
        "****",
        "....",
        "---",
        "n/a",
        "undefined",
    ];
    let lower = value.to_ascii_lowercase();
    WORDS.iter().any(|word| contains(&lower, word.as_bytes()))
}

/// [`placeholder`] for tokens whose form already proves much: a random token may well hold `fake` or `1234567`
/// by chance or by its owner's choice of name, so only plain marks count.
pub fn plain_placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    repeated(value)
        || [
            "example",
            "xxxxx",
            "your_",
            "placeholder",
            "redacted",
            "changeme",
            "0000000000",
            "*****",
            "abcdefghijklmnopqrstuvwxyz",
        ]
        .iter()
        .any(|word| contains(&lower, word.as_bytes()))
}

/// Whether `value` names a secret that stands elsewhere: a variable, a template, a lookup, a call.
pub fn reference(value: &[u8]) -> bool {
    let starts = |text: &str| value.starts_with(text.as_bytes());
    let holds = |text: &str| contains(value, text.as_bytes());
    starts("$")
        && !starts("$2")
        && !starts("$1$")
        && !starts("$5$")
        && !starts("$6$")
        && !starts("$apr1$")
        && !starts("$argon2")
        || (starts("<") && value.ends_with(b">"))
        || (starts("%") && value.ends_with(b"%") && value.len() > 2)
        || (starts("[") && value.ends_with(b"]"))
        || (starts("(") && value.ends_with(b")"))
        || (starts("{") && value.ends_with(b"}"))
        || (starts("__") && value.ends_with(b"__"))
        || (starts("@") && value.ends_with(b"@") && value.len() > 2)
        || starts("&")
        || starts("!") && holds("_")
        || starts("=")
        || [
            "${",
            "{{",
            "}}",
            "$(",
            "<%",
            "%(",
            "#{",
            "@{",
            "{%",
            "$[",
            "::",
            "->",
            "process.env",
            "os.environ",
            "getenv",
            "ENV[",
            "env.",
            "secrets.",
            "vault:",
            "ssm:",
            "arn:",
            "data:",
        ]
        .iter()
        .any(|mark| holds(mark))
        || starts("{") && holds("}")
}

/// Whether letters are mostly put together as words and names are, rather than drawn at random.
///
/// Three in five pairs of neighbouring letters must be common ones; a change to a capital starts a new word.
pub fn wordlike(value: &[u8]) -> bool {
    // Row = first letter, bit = second letter: the 192 pairs that make up 86 % of those in 14,600 words of
    // program text. Of random letters, one pair in four is among them.
    const COMMON: [u32; 26] = [
        0x01eb94f, 0x0144911, 0x01e4d95, 0x0144119, 0x0afb87d, 0x0004931, 0x0020110, 0x0004111, 0x22ef87f, 0x0000000,
        0x0000110, 0x11c4911, 0x014c111, 0x00c417d, 0x07ef84c, 0x01ec911, 0x0100000, 0x11e711d, 0x01cc995, 0x11e4991,
        0x00eb916, 0x0000111, 0x0000111, 0x0000000, 0x0000000, 0x0000010,
    ];
    let (mut common, mut all) = (0, 0);
    for pair in value.windows(2) {
        let letters = pair[0].is_ascii_alphabetic() && pair[1].is_ascii_alphabetic();
        if letters && !(pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()) {
            let [first, second] = [pair[0], pair[1]].map(|letter| letter.to_ascii_lowercase() - b'a');
            all += 1;
            common += COMMON[usize::from(first)] >> second & 1;
        }
    }
    all == 0 || common * 5 >= all * 3
}

/// Letters only, put together as words: no random token.
pub fn wordlike_only(value: &[u8]) -> bool {
    !value.iter().any(u8::is_ascii_digit) && wordlike(value)
}

/// How many of the four classes (small, capital, digit, other) stand in `value`.
pub fn classes(value: &[u8]) -> usize {
    let has = |class: fn(&u8) -> bool| usize::from(value.iter().any(class));
    has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|byte| !byte.is_ascii_alphanumeric())
}

pub fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// One or two characters over and over.
fn repeated(value: &[u8]) -> bool {
    let mut seen = [false; 256];
    value.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count() <= 2
}

/// Mostly `abcdef…` or `123456…`: each character follows the one before.
fn sequential(value: &[u8]) -> bool {
    let steps = value
        .windows(2)
        .filter(|pair| pair[1] == pair[0].wrapping_add(1) || pair[1] == pair[0])
        .count();
    steps * 2 > value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_match_published_vectors() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(&base62_6(61), b"00000z");
        // BIP 173 test vectors.
        for (text, valid) in [
            ("A12UEL5L", true),
            ("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", true),
            ("A1G7SGD8", false),
            ("1qzzfhee", false),
            ("A12uEL5L", false),
        ] {
            assert_eq!(bech32(text.as_bytes()), valid, "{text}");
        }
    }

    #[test]
    fn placeholders_are_told_from_values() {
        for (value, expect) in [
            ("xxxxxxxxxxxx", true),
            ("${TOKEN}", true),
            ("{{ token }}", true),
            ("<token>", true),
            ("YOUR_API_KEY_HERE", true),
            ("changeme123", true),
            ("process.env.TOKEN", true),
            ("q7Tz-9fLw2-Hs81", false),
            ("$6$rounds=5000$abc", false),
        ] {
            assert_eq!(placeholder(value.as_bytes()), expect, "{value}");
        }
    }

    #[test]
    fn words_are_told_from_noise() {
        for (value, expect) in [
            ("refresh_token", true),
            ("authentication", true),
            ("default-secret-name", true),
            ("userPassword", true),
            ("tbvnwmxkqjrhdlcp", false),
            ("gjbubxsu", false),
            ("dzdvnffvqp", false),
            ("ufnlbbavawsdeecn", false),
        ] {
            assert_eq!(wordlike(value.as_bytes()), expect, "{value}");
        }
    }
}
