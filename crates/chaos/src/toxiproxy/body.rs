//! Request bodies, read as forgivingly as Go's `encoding/json` reads them: a name matches without case, `null` leaves a
//! field as it is, of two the later holds, unknown names and what follows the value are ignored. Numbers are not
//! forgiven: a whole one may be written neither as a text nor with a point.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Refusal, TEXT_BYTES_MAX};

/// A proxy as it is asked for; what isn't named is `None`.
#[derive(Debug, Default)]
pub(super) struct ProxyFields {
    pub(super) name: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) upstream: Option<String>,
    pub(super) enabled: Option<bool>,
}

impl ProxyFields {
    pub(super) fn read(body: &[u8]) -> Result<ProxyFields, Refusal> {
        ProxyFields::of(parse(body)?)
    }

    fn of(json: Json) -> Result<ProxyFields, Refusal> {
        let mut fields = ProxyFields::default();
        for (name, value) in json.members("the proxy")? {
            match name.to_ascii_lowercase().as_str() {
                "name" => value.text(&name, &mut fields.name)?,
                "listen" => value.text(&name, &mut fields.listen)?,
                "upstream" => value.text(&name, &mut fields.upstream)?,
                "enabled" => match value {
                    Json::Null => {}
                    Json::Bool(enabled) => fields.enabled = Some(enabled),
                    other => return Err(other.unlike(&name, "true or false")),
                },
                _ => {}
            }
        }
        Ok(fields)
    }
}

/// The proxies of `POST /populate` and of a configuration file.
pub(super) fn proxies(body: &[u8]) -> Result<Vec<ProxyFields>, Refusal> {
    match parse(body)? {
        Json::Null => Ok(Vec::new()),
        Json::List(list) => list.into_iter().map(ProxyFields::of).collect(),
        other => Err(other.unlike("the body", "a list of proxies")),
    }
}

/// A toxic as it is asked for.
#[derive(Debug, Default)]
pub(super) struct NewToxic {
    pub(super) name: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) stream: Option<String>,
    pub(super) change: ToxicChange,
}

/// What can be changed of a toxic.
#[derive(Debug, Default)]
pub(super) struct ToxicChange {
    pub(super) toxicity: Option<f32>,
    /// In their order; nothing is known of them yet.
    pub(super) attributes: Vec<(String, Json)>,
}

impl NewToxic {
    pub(super) fn read(body: &[u8]) -> Result<NewToxic, Refusal> {
        let mut toxic = NewToxic::default();
        for (name, value) in parse(body)?.members("the toxic")? {
            match name.to_ascii_lowercase().as_str() {
                "name" => value.text(&name, &mut toxic.name)?,
                "type" => value.text(&name, &mut toxic.kind)?,
                "stream" => value.text(&name, &mut toxic.stream)?,
                _ => toxic.change.take(&name, value)?,
            }
        }
        Ok(toxic)
    }
}

impl ToxicChange {
    pub(super) fn read(body: &[u8]) -> Result<ToxicChange, Refusal> {
        let mut change = ToxicChange::default();
        for (name, value) in parse(body)?.members("the toxic")? {
            change.take(&name, value)?;
        }
        Ok(change)
    }

    fn take(&mut self, name: &str, value: Json) -> Result<(), Refusal> {
        if name.eq_ignore_ascii_case("attributes") {
            self.attributes.extend(value.members(name)?);
        } else if name.eq_ignore_ascii_case("toxicity") {
            let number = match value {
                Json::Null => return Ok(()),
                Json::Whole(number) => number as f32,
                Json::Number(number) if (number as f32).is_finite() => number as f32,
                other => return Err(other.unlike(name, "a number")),
            };
            self.toxicity = Some(number);
        }
        Ok(())
    }
}

/// Any JSON value, members in their order and with those that come twice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// Written without point or exponent, and in the bounds of `i64`.
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn members(self, what: &str) -> Result<Vec<(String, Json)>, Refusal> {
        match self {
            Json::Null => Ok(Vec::new()),
            Json::Object(members) => Ok(members),
            other => Err(other.unlike(what, "an object")),
        }
    }

    fn text(self, name: &str, field: &mut Option<String>) -> Result<(), Refusal> {
        match self {
            Json::Null => Ok(()),
            Json::Text(text) if text.len() > TEXT_BYTES_MAX => Err(Refusal::Bound(format!(
                "`{}` is longer than {TEXT_BYTES_MAX} bytes",
                shortened(name)
            ))),
            Json::Text(text) => {
                *field = Some(text);
                Ok(())
            }
            other => Err(other.unlike(name, "a text")),
        }
    }

    /// Why this value can't stand there.
    pub(super) fn unlike(&self, name: &str, expected: &str) -> Refusal {
        let found = match self {
            Json::Null => "null",
            Json::Bool(_) => "true or false",
            Json::Whole(_) => "a whole number",
            Json::Number(_) => "a number that is broken or too large",
            Json::Text(_) => "a text",
            Json::List(_) => "a list",
            Json::Object(_) => "an object",
        };
        Refusal::Body(format!("`{}`: {expected} is expected, not {found}", shortened(name)))
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

fn parse(body: &[u8]) -> Result<Json, Refusal> {
    let text = String::from_utf8_lossy(body);
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Json>();
    match values.next() {
        None => Err(Refusal::Body("EOF".to_owned())),
        Some(Ok(json)) => Ok(json),
        Some(Err(error)) if error.is_eof() => Err(Refusal::Body("unexpected EOF".to_owned())),
        Some(Err(error)) => Err(Refusal::Body(error.to_string())),
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Whole(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(i64::try_from(value).map_or(Json::Number(value as f64), Json::Whole))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                // `-0` arrives here, since no integer has a negative zero.
                Ok(if value == 0.0 && value.is_sign_negative() {
                    Json::Whole(0)
                } else {
                    Json::Number(value)
                })
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut object = Vec::new();
                while let Some(member) = members.next_entry()? {
                    object.push(member);
                }
                Ok(Json::Object(object))
            }
        }

        deserializer.deserialize_any(Any)
    }
}
