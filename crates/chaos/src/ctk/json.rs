//! JSON as the original reads and writes it: NaN and infinities, integers of any size, the last of two equal keys.
//!
//! Start reading at [`parse`] and [`write()`].

use super::raise::Raise;
use super::value::{Dict, Kind, Value, float};

/// Deeper than anything people write; the original reads a little deeper.
const DEPTH_MAX: usize = 200;
/// More digits than this are refused in one integer, as the original's interpreter refuses them.
const DIGITS_MAX: usize = 4_300;

/// Reads one document.
///
/// # Errors
/// `JSONDecodeError`, with the place in bytes.
pub fn parse(text: &str) -> Result<Value, Raise> {
    let mut reader = Reader {
        bytes: text.as_bytes(),
        text,
        at: 0,
    };
    if text.starts_with('\u{feff}') {
        return Err(reader.wrong("unexpected UTF-8 byte order mark"));
    }
    reader.space();
    let value = reader.value(0)?;
    reader.space();
    if reader.at < reader.bytes.len() {
        return Err(reader.wrong("extra data"));
    }
    Ok(value)
}

/// Writes a document, two spaces an indent, as the original's journal is written.
///
/// # Errors
/// `TypeError` for what JSON can't hold: bytes, and objects of Python modules other than dates, decimals and UUIDs.
pub fn write(value: &Value) -> Result<String, Raise> {
    let mut out = String::new();
    put(value, Some(0), &mut out)?;
    Ok(out)
}

/// Writes a document in one line.
///
/// # Errors
/// As [`write()`].
pub fn line(value: &Value) -> Result<String, Raise> {
    let mut out = String::new();
    put(value, None, &mut out)?;
    Ok(out)
}

/// The same for other crates' JSON: what it can't hold becomes text.
pub fn to_serde(value: &Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::Float(value) => serde_json::Number::from_f64(*value).map_or_else(|| float(*value).into(), Into::into),
        Value::List(items) | Value::Tuple(items) => items.iter().map(to_serde).collect(),
        Value::Dict(dict) => dict
            .0
            .iter()
            .map(|(key, value)| (key_text(key).unwrap_or_else(|_| key.text()), to_serde(value)))
            .collect(),
        other => other.text().into(),
    }
}

/// Other crates' JSON as a value.
pub fn from_serde(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) if number.is_f64() => Value::Float(value),
            _ => Value::Big(number.to_string()),
        },
        serde_json::Value::String(text) => Value::Str(text.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_serde).collect()),
        serde_json::Value::Object(items) => Value::Dict(Dict(
            items
                .iter()
                .map(|(key, value)| (Value::str(key), from_serde(value)))
                .collect(),
        )),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> Raise {
        Raise::error("JSONDecodeError", format!("{what} at byte {}", self.at))
    }

    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let found = self.bytes[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, Raise> {
        if depth > DEPTH_MAX {
            return Err(Raise::error("RecursionError", "nested too deep"));
        }
        match self.bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                Ok(Value::Str(self.string()?))
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(_) => {
                let words = [
                    ("null", Value::None),
                    ("true", Value::Bool(true)),
                    ("false", Value::Bool(false)),
                    ("NaN", Value::Float(f64::NAN)),
                    ("Infinity", Value::Float(f64::INFINITY)),
                    ("-Infinity", Value::Float(f64::NEG_INFINITY)),
                ];
                for (word, value) in words {
                    if self.takes(word) {
                        return Ok(value);
                    }
                }
                self.number()
            }
            None => Err(self.wrong("expecting value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Raise> {
        self.at += 1;
        let mut dict = Dict::default();
        self.space();
        if self.takes("}") {
            return Ok(Value::Dict(dict));
        }
        loop {
            self.space();
            if !self.takes("\"") {
                return Err(self.wrong("expecting property name enclosed in double quotes"));
            }
            let key = self.string()?;
            self.space();
            if !self.takes(":") {
                return Err(self.wrong("expecting ':' delimiter"));
            }
            self.space();
            let value = self.value(depth + 1)?;
            dict.set(key, value);
            self.space();
            if self.takes("}") {
                return Ok(Value::Dict(dict));
            }
            if !self.takes(",") {
                return Err(self.wrong("expecting ',' delimiter"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Raise> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.takes("]") {
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1)?);
            self.space();
            if self.takes("]") {
                return Ok(Value::List(items));
            }
            if !self.takes(",") {
                return Err(self.wrong("expecting ',' delimiter"));
            }
        }
    }

    /// Behind the opening quote.
    fn string(&mut self) -> Result<String, Raise> {
        let mut out = String::new();
        loop {
            let start = self.at;
            while !matches!(self.bytes.get(self.at), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return Err(self.wrong("invalid control character")),
                None => return Err(self.wrong("unterminated string")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Raise> {
        let kind = self.bytes.get(self.at).copied();
        self.at += 1;
        Ok(match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
                    let before = self.at;
                    self.at += 2;
                    let second = self.hex()?;
                    if (0xdc00..0xe000).contains(&second) {
                        let joined = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                        return Ok(char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    self.at = before;
                }
                // Half of a pair has no place in Rust's text.
                char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.wrong("invalid escape")),
        })
    }

    fn hex(&mut self) -> Result<u32, Raise> {
        let digits = self.bytes.get(self.at..self.at + 4);
        let digits = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.ok_or_else(|| self.wrong("invalid \\uXXXX escape"))?;
        let text = std::str::from_utf8(digits).unwrap_or_default();
        self.at += 4;
        u32::from_str_radix(text, 16).map_err(|_| self.wrong("invalid \\uXXXX escape"))
    }

    fn number(&mut self) -> Result<Value, Raise> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let from = reader.at;
            while reader.bytes.get(reader.at).is_some_and(u8::is_ascii_digit) {
                reader.at += 1;
            }
            reader.at - from
        };
        let _ = self.takes("-");
        // A leading zero stands alone.
        let whole = if self.takes("0") { 1 } else { digits(self) };
        if whole == 0 {
            self.at = start;
            return Err(self.wrong("expecting value"));
        }
        let mut is_float = false;
        let before = self.at;
        if self.takes(".") {
            if digits(self) > 0 {
                is_float = true;
            } else {
                self.at = before;
            }
        }
        let before = self.at;
        if self.takes("e") || self.takes("E") {
            let _ = self.takes("+") || self.takes("-");
            if digits(self) > 0 {
                is_float = true;
            } else {
                self.at = before;
            }
        }
        let text = &self.text[start..self.at];
        if is_float {
            return Ok(Value::Float(text.parse().unwrap_or(f64::NAN)));
        }
        integer(text)
    }
}

/// An integer in decimal digits.
pub fn integer(text: &str) -> Result<Value, Raise> {
    if let Ok(value) = text.parse() {
        return Ok(Value::Int(value));
    }
    let digits = text.trim_start_matches('-').trim_start_matches('0');
    if digits.len() > DIGITS_MAX {
        return Err(Raise::error(
            "ValueError",
            format!("exceeds the limit ({DIGITS_MAX} digits) for integer string conversion"),
        ));
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    Ok(Value::Big(format!("{sign}{digits}")))
}

fn put(value: &Value, indent: Option<usize>, out: &mut String) -> Result<(), Raise> {
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Big(digits) => out.push_str(digits),
        Value::Float(value) => out.push_str(&json_float(*value)),
        Value::Str(text) => quote(text, out),
        Value::List(items) | Value::Tuple(items) => {
            let items: Vec<(Option<String>, &Value)> = items.iter().map(|item| (None, item)).collect();
            block('[', ']', &items, indent, out)?;
        }
        Value::Dict(dict) => {
            let mut items = Vec::with_capacity(dict.0.len());
            for (key, value) in &dict.0 {
                items.push((Some(key_text(key)?), value));
            }
            block('{', '}', &items, indent, out)?;
        }
        Value::Foreign(foreign) if foreign.kind != Kind::Other => quote(&foreign.text, out),
        Value::Bytes(_) | Value::Foreign(_) => {
            return Err(Raise::error(
                "TypeError",
                format!("Object of type '{}' is not JSON serializable", value.type_name()),
            ));
        }
    }
    Ok(())
}

fn block(
    open: char,
    close: char,
    items: &[(Option<String>, &Value)],
    indent: Option<usize>,
    out: &mut String,
) -> Result<(), Raise> {
    out.push(open);
    let inner = indent.map(|indent| indent + 2);
    let new_line = |out: &mut String, indent: Option<usize>| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    for (index, (key, value)) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(if indent.is_some() { "," } else { ", " });
        }
        new_line(out, inner);
        if let Some(key) = key {
            quote(key, out);
            out.push_str(": ");
        }
        put(value, inner, out)?;
    }
    if !items.is_empty() {
        new_line(out, indent);
    }
    out.push(close);
    Ok(())
}

fn key_text(key: &Value) -> Result<String, Raise> {
    match key {
        Value::Str(text) => Ok(text.clone()),
        Value::None => Ok("null".to_owned()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Int(_) | Value::Big(_) => Ok(key.text()),
        Value::Float(value) => Ok(json_float(*value)),
        other => Err(Raise::error(
            "TypeError",
            format!("keys must be str, int, float, bool or None, not {}", other.type_name()),
        )),
    }
}

fn json_float(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float(value)
    }
}

fn quote(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for one in text.chars() {
        match one {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            one if u32::from(one) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(one));
            }
            one => out.push(one),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_the_original_does() {
        for (text, expect) in [
            ("{\"a\": 1, \"a\": 2}", "{\"a\": 2}"),
            (
                "[NaN, -Infinity, 1e3, -0.0, 123456789012345678901234567890]",
                "[NaN, -Infinity, 1000.0, -0.0, 123456789012345678901234567890]",
            ),
            ("\"\\u00e9\\ud83d\\ude00\\/\"", "\"é😀/\""),
            (" [ ] ", "[]"),
            ("{\"n\": {\"m\": [null, true]}}", "{\"n\": {\"m\": [null, true]}}"),
        ] {
            let value = parse(text).expect(text);
            assert_eq!(line(&value).expect(text), expect);
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{'a': 1}",
            "01",
            "1 2",
            "\"\n\"",
            "\u{feff}{}",
            "-",
            "nul",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn a_journal_is_indented() {
        let value = parse("{\"a\": [1, {}], \"b\": []}").expect("valid");
        assert_eq!(
            write(&value).expect("plain"),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}"
        );
    }
}
