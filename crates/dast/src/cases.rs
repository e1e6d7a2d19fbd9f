//! Makes test cases out of an operation: valid ones, and one departure from valid at a time.
//!
//! It knows the document and nothing of the service; it sends nothing. The same operation and seed give the same
//! cases.
//!
//! Start reading at [`of`].

use net::Sequence;
use serde_json::{Map, Value, json};

use crate::generate::{Generator, Style, flattened, kind};
use crate::openapi::{Api, Body, Operation, Parameter, Place, is_json};
use crate::request::{Input, Payload, texts};
use crate::schema::{Checker, Sender, bounds, count, list};

/// Places in one body that are varied; further ones stay as they are.
const PLACES_MAX: usize = 48;
/// Depth in a body down to which places are varied.
const DEPTH_MAX: usize = 4;
/// Valid cases of one operation.
const VALID_MAX: usize = 5;
/// Length of a long string whose schema sets no limit, in characters.
const LONG_CHARS: usize = 8_192;

/// One request to be made, and what is to be thought of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The class of input, as a finding names it: `malformed JSON`, `a number below its minimum in `quantity``.
    pub class: String,
    pub kind: Kind,
    /// Whether the document rules this input out, so that a 2xx is wrong.
    pub invalid: bool,
    /// Differs from the operation's for methods that the document doesn't have.
    pub method: String,
    pub input: Input,
    /// Headers besides parameters.
    pub headers: Vec<(String, String)>,
    /// Hexadecimal characters that no other case has, when the input holds them.
    pub marker: Option<String>,
    /// The parameter that this case is about, if it is one.
    pub varies: Option<(Place, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keeps to the document.
    Valid,
    /// Departs from it, or is at its borders.
    Odd,
    /// So odd that layers before the operation may refuse it on their own: too long, not text, another media type.
    Extreme,
    /// A method that the document doesn't have on this path.
    Method,
}

/// The cases of one operation.
pub(crate) struct Cases {
    /// Never empty.
    pub valid: Vec<Case>,
    pub odd: Vec<Case>,
    /// False when no valid input could be made; the first of `valid` is then only the best there is.
    pub valid_is_valid: bool,
}

/// Text in a hostile value that a browser would run, around a marker.
pub(crate) const MARKUP: &str = "<svg/onload=pmx";
/// Name of a header that a hostile value tries to smuggle in, before a marker.
pub(crate) const SMUGGLED_HEADER: &str = "x-pmx-";
/// Host that a hostile value tries to redirect to. The top-level domain is reserved for never existing (RFC 2606).
pub(crate) const FOREIGN_HOST: &str = "proofmark.invalid";

/// `first_of_path` is the one operation of its path that also tries methods the document doesn't have.
pub(crate) fn of(api: &Api, operation: &Operation, seed: u64, first_of_path: bool) -> Cases {
    let digest = evidence::Digest::of(operation.route().as_bytes());
    let mut own = [0; 8];
    own.copy_from_slice(&digest.0[..8]);
    let mut maker = Maker {
        api,
        operation,
        seed: seed ^ u64::from_le_bytes(own),
        markers: Sequence(seed ^ u64::from_be_bytes(own)),
    };
    let (valid, valid_is_valid) = maker.valid();
    let base = valid[0].input.clone();
    let richest = valid.last().map_or_else(|| base.clone(), |case| case.input.clone());
    let mut odd = maker.body_as_a_whole(&base);
    odd.extend(maker.parameters(&base));
    odd.extend(maker.body_places(&richest));
    odd.extend(maker.foreign_origin(&base));
    if first_of_path {
        odd.extend(maker.unknown_methods(&base));
    }
    Cases {
        valid,
        odd,
        valid_is_valid,
    }
}

/// A value that departs from valid.
struct Departure {
    class: &'static str,
    value: Value,
    kind: Kind,
    marker: Option<String>,
}

struct Maker<'a> {
    api: &'a Api,
    operation: &'a Operation,
    seed: u64,
    markers: Sequence,
}

impl Maker<'_> {
    fn case(&self, class: String, kind: Kind, invalid: bool, input: Input) -> Case {
        Case {
            class,
            kind,
            invalid,
            method: self.operation.method.clone(),
            input,
            headers: Vec::new(),
            marker: None,
            varies: None,
        }
    }

    fn marker(&mut self) -> String {
        format!("{:012x}", self.markers.draw() >> 16)
    }

    /// Examples first, then the least and the most that the schemas ask for.
    fn valid(&mut self) -> (Vec<Case>, bool) {
        let mut inputs: Vec<Input> = Vec::new();
        let mut all_hold = true;
        let examples = self.operation.body.as_ref().map_or(0, |body| body.examples.len());
        for number in 0..examples.min(VALID_MAX - 2) {
            let (input, holds) = self.input(Style::Least, self.seed, Some(number));
            if holds {
                inputs.push(input);
            }
        }
        for (style, seed) in [(Style::Least, self.seed), (Style::Full, self.seed.wrapping_add(1))] {
            let (input, holds) = self.input(style, seed, None);
            all_hold &= holds;
            inputs.push(input);
        }
        let valid_is_valid = all_hold || inputs.len() > 2;
        let mut seen: Vec<Input> = Vec::new();
        for input in inputs {
            let twice = |other: &Input| other.parameters == input.parameters && other.body == input.body;
            if !seen.iter().any(twice) {
                seen.push(input);
            }
        }
        let cases = seen
            .into_iter()
            .map(|input| self.case("valid input".to_owned(), Kind::Valid, false, input))
            .collect();
        (cases, valid_is_valid)
    }

    /// An input, and whether all of it keeps to the document. `example` chooses one of the body's examples.
    fn input(&self, style: Style, seed: u64, example: Option<usize>) -> (Input, bool) {
        let document = &self.api.document;
        let mut generator = Generator::new(document, seed);
        let mut checker = Checker::new(document, Sender::Client);
        let mut input = Input::default();
        let mut holds = true;
        for parameter in &self.operation.parameters {
            if !parameter.required && style == Style::Least {
                continue;
            }
            let example = parameter
                .examples
                .iter()
                .find(|example| checker.holds(&parameter.schema, example));
            let (value, held) = match example {
                Some(example) => (example.clone(), true),
                None => generator.value(&parameter.schema, style),
            };
            holds &= held || !parameter.required;
            if held || parameter.required {
                set(&mut input, parameter, texts(parameter.place, &value));
            }
        }
        if let Some(body) = &self.operation.body {
            let (value, held) = match example.and_then(|number| body.examples.get(number)) {
                Some(value) => (value.clone(), checker.holds(&body.schema, value)),
                None => generator.value(&body.schema, style),
            };
            holds &= held;
            input.body = Payload::Value {
                media_type: body.media_type.clone(),
                value,
            };
        }
        (input, holds)
    }

    fn body_as_a_whole(&mut self, base: &Input) -> Vec<Case> {
        let Some(body) = &self.operation.body else {
            return Vec::new();
        };
        let mut cases = Vec::new();
        if body.required {
            let input = Input {
                body: Payload::None,
                ..base.clone()
            };
            cases.push(self.case("no body".to_owned(), Kind::Odd, true, input));
        }
        if !is_json(&body.media_type) {
            return cases;
        }
        let Payload::Value { media_type, value } = &base.body else {
            return cases;
        };
        let written = value.to_string();
        // Half of an object, array or string is never JSON; half of a number may be.
        let cut: String = written
            .chars()
            .take(written.chars().count().saturating_sub(1))
            .collect();
        let whole = matches!(value, Value::Object(_) | Value::Array(_) | Value::String(_));
        let rows: [(&str, &str, Vec<u8>, bool, Kind); 5] = [
            ("malformed JSON", media_type, cut.into_bytes(), whole, Kind::Odd),
            ("an empty body", media_type, Vec::new(), body.required, Kind::Odd),
            (
                "a body that is not UTF-8",
                media_type,
                b"{\"\xff\xfe\": \"\xc0\"}".to_vec(),
                true,
                Kind::Odd,
            ),
            (
                "deeply nested JSON",
                media_type,
                [b"[".repeat(5_000), b"]".repeat(5_000)].concat(),
                false,
                Kind::Extreme,
            ),
            (
                "another content type",
                "text/plain",
                written.into_bytes(),
                false,
                Kind::Extreme,
            ),
        ];
        for (class, media_type, bytes, invalid, kind) in rows {
            let media_type = media_type.to_owned();
            let input = Input {
                body: Payload::Raw { media_type, bytes },
                ..base.clone()
            };
            cases.push(self.case(class.to_owned(), kind, invalid, input));
        }
        for (class, value) in [
            ("null as the body", Value::Null),
            ("an array as the body", json!([])),
            ("a string as the body", json!("pm")),
        ] {
            cases.push(self.with_body(class.to_owned(), body, value, base, Kind::Odd));
        }
        cases
    }

    fn with_body(&self, class: String, body: &Body, value: Value, base: &Input, kind: Kind) -> Case {
        // A form turns every value into text, so only JSON can be judged by its schema.
        let invalid =
            is_json(&body.media_type) && !Checker::new(&self.api.document, Sender::Client).holds(&body.schema, &value);
        let media_type = body.media_type.clone();
        let input = Input {
            body: Payload::Value { media_type, value },
            ..base.clone()
        };
        self.case(class, kind, invalid, input)
    }

    fn body_places(&mut self, base: &Input) -> Vec<Case> {
        let Some(body) = &self.operation.body else {
            return Vec::new();
        };
        let Payload::Value { value, .. } = &base.body else {
            return Vec::new();
        };
        let mut places = Vec::new();
        self.collect_places(&body.schema, value, String::new(), &mut places);
        let mut cases = Vec::new();
        for (pointer, schema) in places.into_iter().take(PLACES_MAX) {
            if let Some(Value::Object(members)) = value.pointer(&pointer) {
                cases.extend(self.members(body, value, &pointer, &schema, members, base));
            }
            if pointer.is_empty() {
                continue;
            }
            let named = named(&pointer);
            for departure in self.departures(&schema, Place::Query) {
                let mut changed = value.clone();
                let Some(place) = changed.pointer_mut(&pointer) else {
                    continue;
                };
                *place = departure.value;
                let class = format!("{} in `{named}`", departure.class);
                let mut case = self.with_body(class, body, changed, base, departure.kind);
                case.marker = departure.marker;
                cases.push(case);
            }
        }
        cases
    }

    /// An object without each of the members it must have, and with one more.
    fn members(
        &self,
        body: &Body,
        value: &Value,
        pointer: &str,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        base: &Input,
    ) -> Vec<Case> {
        let required: Vec<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
        let mut cases = Vec::new();
        for name in required.into_iter().filter(|name| members.contains_key(*name)) {
            let mut changed = value.clone();
            if let Some(Value::Object(members)) = changed.pointer_mut(pointer) {
                members.remove(name);
            }
            let place = named(&format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")));
            cases.push(self.with_body(format!("`{place}` left out"), body, changed, base, Kind::Odd));
        }
        let mut changed = value.clone();
        if let Some(Value::Object(members)) = changed.pointer_mut(pointer) {
            members.insert("proofmarkExtra".to_owned(), json!({"a": [1, null]}));
        }
        let class = if pointer.is_empty() {
            "an extra member".to_owned()
        } else {
            format!("an extra member in `{}`", named(pointer))
        };
        cases.push(self.with_body(class, body, changed, base, Kind::Odd));
        cases
    }

    /// Every place in a value with its schema, outer ones first.
    fn collect_places(
        &self,
        schema: &Value,
        value: &Value,
        pointer: String,
        places: &mut Vec<(String, Map<String, Value>)>,
    ) {
        let schema = flattened(&self.api.document, schema, 0, Style::Least, 0);
        let depth = pointer.matches('/').count();
        places.push((pointer.clone(), schema.clone()));
        if depth >= DEPTH_MAX || places.len() > PLACES_MAX {
            return;
        }
        match value {
            Value::Object(members) => {
                let properties = schema.get("properties").and_then(Value::as_object);
                for (name, member) in members {
                    if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                        let name = name.replace('~', "~0").replace('/', "~1");
                        self.collect_places(property, member, format!("{pointer}/{name}"), places);
                    }
                }
            }
            Value::Array(items) => {
                if let (Some(first), Some(part)) = (items.first(), schema.get("items")) {
                    self.collect_places(part, first, format!("{pointer}/0"), places);
                }
            }
            _ => {}
        }
    }

    fn parameters(&mut self, base: &Input) -> Vec<Case> {
        let mut cases = Vec::new();
        for parameter in &self.operation.parameters {
            let name = &parameter.name;
            if parameter.required && parameter.place != Place::Path {
                let mut input = base.clone();
                input
                    .parameters
                    .retain(|(place, other, _)| (*place, other) != (parameter.place, name));
                cases.push(self.case(format!("`{name}` left out"), Kind::Odd, true, input));
            }
            let schema = flattened(&self.api.document, &parameter.schema, 0, Style::Least, 0);
            for departure in self.departures(&schema, parameter.place) {
                let text = match &departure.value {
                    Value::String(text) => text.clone(),
                    Value::Number(number) => number.to_string(),
                    _ => continue,
                };
                if !can_be_sent(parameter.place, &text) {
                    continue;
                }
                let invalid = self.is_invalid_text(&parameter.schema, &text);
                let mut input = base.clone();
                set(&mut input, parameter, vec![text]);
                let mut case = self.case(
                    format!("{} in `{name}`", departure.class),
                    departure.kind,
                    invalid,
                    input,
                );
                case.marker = departure.marker;
                case.varies = Some((parameter.place, name.clone()));
                cases.push(case);
            }
        }
        cases
    }

    /// A parameter is text; it is invalid when no reading of the text keeps to the schema.
    fn is_invalid_text(&self, schema: &Value, text: &str) -> bool {
        let flat = flattened(&self.api.document, schema, 0, Style::Least, 0);
        if ["array", "object"].contains(&kind(&flat)) {
            return false;
        }
        let mut checker = Checker::new(&self.api.document, Sender::Client);
        let as_value = serde_json::from_str::<Value>(text).ok();
        let readings = [Some(Value::String(text.to_owned())), as_value];
        !readings
            .into_iter()
            .flatten()
            .any(|value| checker.holds(schema, &value))
    }

    /// The ways to depart from one schema.
    fn departures(&mut self, schema: &Map<String, Value>, place: Place) -> Vec<Departure> {
        let kind_of = kind(schema);
        let plain = |class, value| Departure {
            class,
            value,
            kind: Kind::Odd,
            marker: None,
        };
        let mut departures = Vec::new();
        match kind_of {
            "integer" | "number" => {
                let (least, most) = bounds(schema);
                let whole = |number: f64| {
                    if number.fract() == 0.0 && number.abs() < 9e15 {
                        json!(number as i64)
                    } else {
                        json!(number)
                    }
                };
                if let Some((bound, open)) = least {
                    departures.push(plain(
                        "a number below its minimum",
                        whole(if open { bound } else { bound - 1.0 }),
                    ));
                }
                if let Some((bound, open)) = most {
                    departures.push(plain(
                        "a number above its maximum",
                        whole(if open { bound } else { bound + 1.0 }),
                    ));
                }
                departures.push(plain("zero", json!(0)));
                departures.push(plain("a negative number", json!(-1)));
                departures.push(plain("a huge number", json!(i64::MAX)));
                departures.push(plain("a number beyond 64 bits", json!(1e300)));
                departures.push(plain("a fraction", json!(0.5)));
                departures.push(plain("a string for a number", json!("pm")));
            }
            "boolean" => departures.push(plain("a string for a boolean", json!("pm"))),
            "array" => departures.push(plain("a string for an array", json!("pm"))),
            "object" => departures.push(plain("a string for an object", json!("pm"))),
            _ => departures.push(plain("a number for a string", json!(7))),
        }
        if place != Place::Path {
            departures.push(plain("null", Value::Null));
            departures.push(plain("an empty string", json!("")));
        }
        departures.extend(self.hostile_strings(schema));
        departures
    }

    /// Strings that break what handles them carelessly. Numbers get them too: whoever takes a string for a number
    /// may well repeat it in a message.
    fn hostile_strings(&mut self, schema: &Map<String, Value>) -> Vec<Departure> {
        let long = count(schema, "maxLength").map_or(LONG_CHARS, |most| {
            usize::try_from(most.saturating_add(1)).unwrap_or(LONG_CHARS)
        });
        let rows: [(&'static str, String, Kind); 7] = [
            (
                "a long string",
                "a".repeat(long.min(LONG_CHARS)),
                if long < 1_024 { Kind::Odd } else { Kind::Extreme },
            ),
            (
                "unusual Unicode",
                "\u{202e}\u{feff}İſ漢🏳️‍🌈e\u{301}".to_owned(),
                Kind::Extreme,
            ),
            ("a null byte", "pm\0pm".to_owned(), Kind::Extreme),
            ("a format string", "%s%n%x{0}${7*7}{{7*7}}".to_owned(), Kind::Odd),
            ("a quote for a database", "pm' OR '1'='1\";--".to_owned(), Kind::Odd),
            (
                "a path out of its folder",
                "../../../../../../../../etc/passwd".to_owned(),
                Kind::Extreme,
            ),
            ("a foreign address", format!("https://{FOREIGN_HOST}/"), Kind::Odd),
        ];
        let mut departures: Vec<Departure> = rows
            .into_iter()
            .map(|(class, value, kind)| Departure {
                class,
                value: json!(value),
                kind,
                marker: None,
            })
            .collect();
        let marker = self.marker();
        departures.push(Departure {
            class: "markup",
            value: json!(format!("pm\"'>{MARKUP}{marker}>")),
            kind: Kind::Odd,
            marker: Some(marker),
        });
        let marker = self.marker();
        departures.push(Departure {
            class: "line ends",
            value: json!(format!("pm\r\n{SMUGGLED_HEADER}{marker}: 1\r\n")),
            kind: Kind::Extreme,
            marker: Some(marker),
        });
        departures
    }

    fn foreign_origin(&mut self, base: &Input) -> Vec<Case> {
        let mut case = self.case("a foreign origin".to_owned(), Kind::Valid, false, base.clone());
        case.headers
            .push(("origin".to_owned(), format!("https://{FOREIGN_HOST}")));
        vec![case]
    }

    fn unknown_methods(&mut self, base: &Input) -> Vec<Case> {
        let known = |method: &str| {
            self.api
                .operations
                .iter()
                .any(|other| other.path == self.operation.path && other.method == method)
        };
        ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROOFMARK"]
            .into_iter()
            .filter(|method| !known(method))
            .map(|method| Case {
                method: method.to_owned(),
                ..self.case(format!("method `{method}`"), Kind::Method, false, base.clone())
            })
            .collect()
    }
}

/// Puts a parameter in place of what was there.
fn set(input: &mut Input, parameter: &Parameter, texts: Vec<String>) {
    input
        .parameters
        .retain(|(place, name, _)| (*place, name) != (parameter.place, &parameter.name));
    for text in texts {
        input.parameters.push((parameter.place, parameter.name.clone(), text));
    }
}

/// Some values would not reach the operation: an empty or dotted path segment is another path, and a header can't
/// hold line ends.
fn can_be_sent(place: Place, text: &str) -> bool {
    match place {
        Place::Path => !text.is_empty() && text.chars().any(|c| c != '.'),
        Place::Header => !text.chars().any(char::is_control),
        Place::Query | Place::Cookie => true,
    }
}

/// A JSON pointer as people write it: `items.0.name`.
fn named(pointer: &str) -> String {
    pointer
        .trim_start_matches('/')
        .replace('/', ".")
        .replace("~1", "/")
        .replace("~0", "~")
        .chars()
        .flat_map(char::escape_default)
        .take(120)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(operation: Value) -> Cases {
        let document = json!({"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {"/orders/{id}": {"post": operation}}});
        let api = crate::load(document.to_string().as_bytes(), "openapi.json").unwrap();
        of(&api, &api.operations[0], 1, true)
    }

    #[test]
    fn every_class_is_made_and_judged_by_the_schema() {
        let cases = cases(json!({
            "parameters": [{"name": "limit", "in": "query", "required": true, "schema": {"type": "integer", "minimum": 1, "maximum": 10}}],
            "requestBody": {"required": true, "content": {"application/json": {"schema": {
                "type": "object", "required": ["product", "quantity"], "additionalProperties": false,
                "properties": {"product": {"type": "string", "minLength": 1, "maxLength": 20}, "quantity": {"type": "integer", "minimum": 1}, "note": {"type": "string"}}
            }}}},
        }));
        assert!(cases.valid_is_valid && cases.valid.iter().all(|case| !case.invalid));
        let invalid = |class: &str| {
            cases
                .odd
                .iter()
                .find(|case| case.class == class)
                .unwrap_or_else(|| panic!("no {class}"))
                .invalid
        };
        let rows = [
            ("malformed JSON", true),
            ("no body", true),
            ("`product` left out", true),
            ("`limit` left out", true),
            ("an extra member", true),
            ("a number below its minimum in `quantity`", true),
            ("a huge number in `quantity`", false),
            ("a number above its maximum in `limit`", true),
            ("a string for a number in `limit`", true),
            ("an empty string in `product`", true),
            ("a long string in `product`", true),
            ("a long string in `note`", false),
            ("a null byte in `note`", false),
            ("a number for a string in `note`", true),
            ("markup in `note`", false),
            ("markup in `id`", false),
            ("method `PROOFMARK`", false),
        ];
        for (class, expect) in rows {
            assert_eq!(invalid(class), expect, "{class}");
        }
        assert!(!cases.odd.iter().any(|case| case.class == "method `POST`"));
        let mut markers: Vec<_> = cases.odd.iter().filter_map(|case| case.marker.clone()).collect();
        let all = markers.len();
        markers.sort();
        markers.dedup();
        assert_eq!(markers.len(), all, "each marker is made once");
    }
}
