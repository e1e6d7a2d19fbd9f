//! The JSON mapping of protobuf (<https://protobuf.dev/programming-guides/json>), as far as bundles and trusted roots use it,
//! and JSON in which no key stands twice.
//!
//! `null` is a field's default, field names are read in both spellings (each struct lists the second), bytes in base64 of
//! either alphabet, 64-bit integers as text or number. Unknown fields are refused. Start reading at [`strict`].

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// `bytes`; never empty, since that is the same as absent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Bytes(pub Vec<u8>);

/// The bytes that base64 of either alphabet stands for. Lines may be broken, as `base64` and others break them.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let broken = text.contains(['\r', '\n']);
    let text = if broken { &text.replace(['\r', '\n'], "") } else { text };
    let engine = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("base64")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Bytes, E> {
                base64(text).map(Bytes).ok_or_else(|| E::custom("not base64"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// `int64`, as text or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Int(pub i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Int;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a 64-bit integer")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int, E> {
                i64::try_from(number).map(Int).map_err(|_| E::custom("over 64 bits"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Int, E> {
                let number: i64 = text.parse().map_err(|_| E::custom("not a 64-bit integer"))?;
                if number.to_string() == text {
                    Ok(Int(number))
                } else {
                    Err(E::custom("not the shortest form of a 64-bit integer"))
                }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// Any JSON in which no key stands twice, so that no two readers see two documents in it.
pub(super) fn strict(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice::<Strict>(bytes).map(|strict| strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Strict;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_string<E>(self, value: String) -> Result<Strict, E> {
                Ok(Strict(value.into()))
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict(Value::Null))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Strict, A::Error> {
                let mut values = Vec::new();
                while let Some(Strict(value)) = list.next_element()? {
                    values.push(value);
                }
                Ok(Strict(Value::Array(values)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Strict, A::Error> {
                let mut values = Map::new();
                while let Some(key) = table.next_key::<String>()? {
                    let Strict(value) = table.next_value()?;
                    if values.insert(key, value).is_some() {
                        return Err(de::Error::custom("a key stands twice"));
                    }
                }
                Ok(Strict(Value::Object(values)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protobuf_json() {
        let int = |text: &str| serde_json::from_str::<Int>(text).ok().map(|int| int.0);
        assert_eq!(int("\"12\""), Some(12));
        assert_eq!(int("12"), Some(12));
        assert_eq!(int("-1"), Some(-1));
        for refused in [
            "\"012\"",
            "\"+1\"",
            "\"\"",
            "1.5",
            "18446744073709551615",
            "\" 1\"",
            "true",
        ] {
            assert_eq!(int(refused), None, "{refused}");
        }
        let bytes = |text: &str| serde_json::from_str::<Bytes>(text).ok().map(|bytes| bytes.0);
        assert_eq!(bytes("\"+/8=\""), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("\"-_8\""), Some(vec![0xfb, 0xff]));
        assert_eq!(bytes("\"+/\\n8=\\n\""), Some(vec![0xfb, 0xff]));
        for refused in ["\"+_8=\"", "\"+/9=\"", "\"!\"", "\"+/8= \"", "1"] {
            assert_eq!(bytes(refused), None, "{refused}");
        }
        assert!(strict(br#"{"a":{"b":1,"c":[1,null]}}"#).is_ok());
        assert!(strict(br#"{"a":{"b":1,"b":1}}"#).is_err());
        assert!(strict(br#"{} {}"#).is_err());
    }
}
