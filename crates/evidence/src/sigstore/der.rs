//! DER, as far as certificates and time stamps need it (X.690 section 10): definite, shortest lengths and tags of one byte.
//!
//! Deliberately not a library: nothing is written, nothing is decoded that nobody asks for, and what is not the one
//! distinguished encoding is refused. Start reading at [`Reader`].

/// The bytes are not DER, or not of the expected shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) type Result<T> = std::result::Result<T, Malformed>;

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// `[number]`, constructed: explicit tags, and implicit ones of constructed types.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// `[number]`, primitive: implicit tags of primitive types.
pub(super) const fn context_primitive(number: u8) -> u8 {
    0x80 | number
}

/// One tag, length and value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// Tag and length included.
    pub whole: &'a [u8],
}

/// The elements of one value, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The one element that `bytes` consist of.
    pub fn only(bytes: &'a [u8], tag: u8) -> Result<Element<'a>> {
        let mut reader = Reader::new(bytes);
        let element = reader.expect(tag)?;
        reader.end()?;
        Ok(element)
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What was not read yet.
    pub fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    pub fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    pub fn next(&mut self) -> Result<Element<'a>> {
        let (&tag, after) = self.rest.split_first().ok_or(Malformed)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed);
        }
        let (length, head) = length(after)?;
        let whole = self.rest.get(..1 + head + length).ok_or(Malformed)?;
        self.rest = &self.rest[whole.len()..];
        Ok(Element {
            tag,
            content: &whole[1 + head..],
            whole,
        })
    }

    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>> {
        match self.next()? {
            element if element.tag == tag => Ok(element),
            _ => Err(Malformed),
        }
    }

    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>> {
        if self.rest.first() == Some(&tag) {
            self.next().map(Some)
        } else {
            Ok(None)
        }
    }

    /// The elements of a nested value.
    pub fn inside(&mut self, tag: u8) -> Result<Reader<'a>> {
        Ok(Reader::new(self.expect(tag)?.content))
    }

    /// The bytes of an INTEGER in their shortest form, its sign included.
    pub fn integer(&mut self) -> Result<&'a [u8]> {
        let content = self.expect(INTEGER)?.content;
        match content {
            [] | [0x00, 0x00..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => Err(Malformed),
            _ => Ok(content),
        }
    }

    /// An INTEGER that is small and not negative.
    pub fn small(&mut self) -> Result<u32> {
        let content = self.integer()?;
        if content.len() > 4 || content[0] & 0x80 != 0 {
            return Err(Malformed);
        }
        Ok(content.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// The content of an OBJECT IDENTIFIER, for comparison.
    pub fn oid(&mut self) -> Result<&'a [u8]> {
        let content = self.expect(OID)?.content;
        let complete = content.last().is_some_and(|byte| byte & 0x80 == 0);
        if complete { Ok(content) } else { Err(Malformed) }
    }

    pub fn octets(&mut self) -> Result<&'a [u8]> {
        Ok(self.expect(OCTET_STRING)?.content)
    }

    /// A BIT STRING of whole bytes.
    pub fn bits(&mut self) -> Result<&'a [u8]> {
        match self.expect(BIT_STRING)?.content.split_first() {
            Some((0, bytes)) => Ok(bytes),
            _ => Err(Malformed),
        }
    }

    /// A BOOLEAN that defaults to false, and therefore is only written when it is true.
    pub fn is_true(&mut self) -> Result<bool> {
        match self.optional(BOOLEAN)?.map(|element| element.content) {
            None => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(Malformed),
        }
    }
}

/// A length, and how many bytes it took.
fn length(bytes: &[u8]) -> Result<(usize, usize)> {
    let (&first, rest) = bytes.split_first().ok_or(Malformed)?;
    if first < 0x80 {
        return Ok((usize::from(first), 1));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 4 {
        return Err(Malformed);
    }
    let digits = rest.get(..count).ok_or(Malformed)?;
    let length = digits.iter().fold(0, |number, byte| number << 8 | usize::from(*byte));
    if digits[0] == 0 || length < 0x80 {
        return Err(Malformed);
    }
    Ok((length, 1 + count))
}

/// A moment: UTCTime (years 1950 to 2049), or GeneralizedTime, whose seconds may have a fraction in time stamps.
pub(super) fn time(element: Element<'_>) -> Result<crate::Timestamp> {
    let text = element.content.strip_suffix(b"Z").ok_or(Malformed)?;
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(at) if element.tag == GENERALIZED_TIME => (&text[..at], &text[at + 1..]),
        _ => (text, &[][..]),
    };
    let digits = |range: std::ops::Range<usize>| -> Result<i32> {
        let digits = whole.get(range).ok_or(Malformed)?;
        digits.iter().try_fold(0, |number, byte| match byte {
            b'0'..=b'9' => Ok(number * 10 + i32::from(byte - b'0')),
            _ => Err(Malformed),
        })
    };
    let (year, at) = match (element.tag, whole.len()) {
        (UTC_TIME, 12) => (
            digits(0..2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?,
            2,
        ),
        (GENERALIZED_TIME, 14) => (digits(0..4)?, 4),
        _ => return Err(Malformed),
    };
    let nanoseconds = nanoseconds(fraction, whole.len() < text.len())?;
    let field = |number: usize| {
        digits(at + 2 * number..at + 2 * number + 2).and_then(|value| i8::try_from(value).map_err(|_| Malformed))
    };
    let year = i16::try_from(year).map_err(|_| Malformed)?;
    let date = jiff::civil::Date::new(year, field(0)?, field(1)?).map_err(|_| Malformed)?;
    let time = jiff::civil::Time::new(field(2)?, field(3)?, field(4)?, nanoseconds).map_err(|_| Malformed)?;
    let moment = jiff::tz::TimeZone::UTC.to_timestamp(date.to_datetime(time));
    moment.map_err(|_| Malformed)
}

/// What stands behind the point: at least one digit, and none that says nothing.
fn nanoseconds(digits: &[u8], point: bool) -> Result<i32> {
    if !point {
        return Ok(0);
    }
    if digits.is_empty() || digits.len() > 9 || digits.ends_with(b"0") {
        return Err(Malformed);
    }
    let mut value = 0;
    for at in 0..9 {
        let digit = match digits.get(at) {
            None => 0,
            Some(byte @ b'0'..=b'9') => i32::from(byte - b'0'),
            Some(_) => return Err(Malformed),
        };
        value = value * 10 + digit;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_encoding() {
        let accepted = |bytes: &[u8]| Reader::only(bytes, OCTET_STRING).is_ok();
        assert!(accepted(&[4, 1, 7]));
        for refused in [
            &[4, 2, 7][..],
            &[4, 1, 7, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x80, 7, 0, 0],
            &[4, 0x85, 0, 0, 0, 0, 1, 7],
            &[4],
            &[],
            &[0x1f, 1, 7],
        ] {
            assert!(!accepted(refused), "{refused:?}");
        }
        let long = [&[4, 0x81, 0x80][..], &[1; 128]].concat();
        assert!(accepted(&long));
    }

    #[test]
    fn moments() {
        let moment = |tag, text: &str| {
            time(Element {
                tag,
                content: text.as_bytes(),
                whole: &[],
            })
            .map(|time| time.to_string())
        };
        assert_eq!(moment(UTC_TIME, "230712155635Z").as_deref(), Ok("2023-07-12T15:56:35Z"));
        assert_eq!(moment(UTC_TIME, "500101000000Z").as_deref(), Ok("1950-01-01T00:00:00Z"));
        assert_eq!(
            moment(GENERALIZED_TIME, "20500101000000Z").as_deref(),
            Ok("2050-01-01T00:00:00Z")
        );
        assert_eq!(
            moment(GENERALIZED_TIME, "20500101000000.25Z").as_deref(),
            Ok("2050-01-01T00:00:00.25Z")
        );
        for (tag, text) in [
            (UTC_TIME, "2307121556Z"),
            (UTC_TIME, "230712155635"),
            (UTC_TIME, "230712155635+0000"),
            (UTC_TIME, "231312155635Z"),
            (UTC_TIME, "23071215563xZ"),
            (UTC_TIME, "230712155635.5Z"),
            (GENERALIZED_TIME, "20500101000000.Z"),
            (GENERALIZED_TIME, "20500101000000.50Z"),
        ] {
            assert_eq!(moment(tag, text), Err(Malformed), "{text}");
        }
    }
}
