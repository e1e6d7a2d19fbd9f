//! Makes JSON values that keep to a schema.
//!
//! It makes an honest attempt and no proof: whoever needs to know holds the value against the schema afterwards.
//! Values are the same for the same seed.
//!
//! Start reading at [`Generator::value`].

use net::Sequence;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::{Map, Value, json};

use crate::schema::{self, Checker, Sender, bounds, count, deref, list, types};

/// Values inside each other; below that there is only what is required, and below twice that nothing.
const DEPTH_MAX: usize = 6;
/// Items of an array and repetitions in a pattern, unless the schema asks for more.
const ITEMS_MAX: u64 = 3;
/// Longest string or array that is made because a schema asks for it.
const LENGTH_MAX: u64 = 20_000;

/// How much to put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// What is required, at its lower bounds.
    Least,
    /// Every property, somewhere between the bounds.
    Full,
}

/// Makes values for one operation.
pub(crate) struct Generator<'a> {
    document: &'a Value,
    sequence: Sequence,
}

impl<'a> Generator<'a> {
    pub fn new(document: &'a Value, seed: u64) -> Self {
        Generator {
            document,
            sequence: Sequence(seed),
        }
    }

    /// A value for `schema`, and whether it keeps to it.
    pub fn value(&mut self, schema: &Value, style: Style) -> (Value, bool) {
        let mut checker = Checker::new(self.document, Sender::Client);
        let mut value = Value::Null;
        // Choices are drawn anew each time, which helps where they don't go together.
        for _ in 0..4 {
            value = self.make(schema, style, 0);
            if checker.holds(schema, &value) {
                return (value, true);
            }
        }
        (value, false)
    }

    fn make(&mut self, schema: &Value, style: Style, depth: usize) -> Value {
        let schema = flattened(self.document, schema, self.sequence.draw(), style, 0);
        if let Some(value) = self.given(&schema, style) {
            return value;
        }
        let nullable = schema.get("nullable") == Some(&Value::Bool(true)) || types(&schema).contains(&"null");
        if depth > 2 * DEPTH_MAX || (depth > DEPTH_MAX && nullable) {
            return Value::Null;
        }
        match kind(&schema) {
            "object" => self.object(&schema, style, depth),
            "array" => self.array(&schema, style, depth),
            "string" => Value::String(self.string(&schema, style)),
            "integer" => self.number(&schema, style, true),
            "number" => self.number(&schema, style, false),
            "boolean" => Value::Bool(style == Style::Least || self.sequence.below(2) == 0),
            _ => Value::Null,
        }
    }

    /// What the schema itself offers.
    fn given(&mut self, schema: &Map<String, Value>, style: Style) -> Option<Value> {
        if let Some(only) = schema.get("const") {
            return Some(only.clone());
        }
        let allowed = list(schema, "enum");
        if !allowed.is_empty() {
            let chosen = if style == Style::Least {
                0
            } else {
                self.sequence.below(allowed.len() as u64) as usize
            };
            return Some(allowed[chosen].clone());
        }
        let examples = list(schema, "examples");
        let offered = schema
            .get("example")
            .or(schema.get("default"))
            .into_iter()
            .chain(examples);
        let mut checker = Checker::new(self.document, Sender::Client);
        let schema = Value::Object(schema.clone());
        offered
            .filter(|value| !value.is_null())
            .find(|value| checker.holds(&schema, value))
            .cloned()
    }

    fn object(&mut self, schema: &Map<String, Value>, style: Style, depth: usize) -> Value {
        let required: Vec<&str> = list(schema, "required").iter().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut members = Map::new();
        for (name, property) in properties.into_iter().flatten() {
            let wanted = required.contains(&name.as_str()) || (style == Style::Full && depth < DEPTH_MAX);
            let read_only = deref(self.document, property).get("readOnly") == Some(&Value::Bool(true));
            if wanted && !read_only && *property != Value::Bool(false) {
                members.insert(name.clone(), self.make(property, style, depth + 1));
            }
        }
        for name in required {
            let described = properties.is_some_and(|properties| properties.contains_key(name));
            if !described && !members.contains_key(name) {
                members.insert(name.to_owned(), json!("pm"));
            }
        }
        let rest = schema.get("additionalProperties").filter(|rest| rest.is_object());
        let least = count(schema, "minProperties")
            .unwrap_or(0)
            .max(u64::from(rest.is_some() && style == Style::Full));
        for number in 0..least.min(LENGTH_MAX) {
            if members.len() as u64 >= least {
                break;
            }
            let value = rest.map_or_else(|| json!("pm"), |rest| self.make(rest, style, depth + 1));
            members.insert(format!("pm{number}"), value);
        }
        Value::Object(members)
    }

    fn array(&mut self, schema: &Map<String, Value>, style: Style, depth: usize) -> Value {
        let first = list(schema, "prefixItems");
        let least = count(schema, "minItems").unwrap_or(0).min(LENGTH_MAX);
        let wanted = match style {
            Style::Full if depth < DEPTH_MAX => least.max(first.len() as u64).max(1),
            _ => least,
        };
        let wanted = wanted.min(count(schema, "maxItems").unwrap_or(u64::MAX));
        let unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let any = Value::Bool(true);
        let mut items: Vec<Value> = Vec::new();
        for number in 0..wanted as usize {
            let part = first.get(number).or(schema.get("items")).unwrap_or(&any);
            let mut item = self.make(part, style, depth + 1);
            for _ in 0..8 {
                if !unique || !items.contains(&item) {
                    break;
                }
                item = self.make(part, Style::Full, depth + 1);
            }
            items.push(item);
        }
        if let Some(wanted) = schema.get("contains")
            && items.is_empty()
        {
            items.push(self.make(wanted, style, depth + 1));
        }
        Value::Array(items)
    }

    fn number(&mut self, schema: &Map<String, Value>, style: Style, integer: bool) -> Value {
        let (least, most) = bounds(schema);
        let step = schema
            .get("multipleOf")
            .and_then(Value::as_f64)
            .filter(|step| *step > 0.0);
        let step = step.unwrap_or(if integer { 1.0 } else { 0.5 });
        let low = match (least, most) {
            (Some((bound, _)), _) => bound,
            (None, Some((bound, _))) => bound.min(1.0),
            (None, None) => 1.0,
        };
        let mut number = (low / step).ceil() * step;
        if least.is_some_and(|(bound, open)| open && number <= bound) {
            number += step;
        }
        let upper = most.map_or(
            number + 1_000.0 * step,
            |(bound, open)| if open { bound - step } else { bound },
        );
        if style == Style::Full && upper > number {
            let steps = ((upper - number) / step).floor().min(1_000.0) as u64;
            number += self.sequence.below(steps + 1) as f64 * step;
        } else if most.is_some_and(|(bound, open)| number > bound || (open && number == bound)) {
            // No multiple lies between the bounds that way; the highest one is the best there is.
            number = (upper / step).floor() * step;
        }
        if number.fract() == 0.0 && number.abs() < 9e15 {
            json!(number as i64)
        } else {
            json!(number)
        }
    }

    fn string(&mut self, schema: &Map<String, Value>, style: Style) -> String {
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && let Some(text) = self.matching(pattern, count(schema, "minLength").unwrap_or(0))
        {
            return text;
        }
        let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
        if let Some(text) = self.formatted(format) {
            return text;
        }
        let least = count(schema, "minLength").unwrap_or(0).min(LENGTH_MAX);
        let most = count(schema, "maxLength").unwrap_or(u64::MAX);
        let usual = if style == Style::Least { 1 } else { 8 };
        let length = usual.max(least).min(most);
        let letters = b"abcdefghijklmnopqrstuvwxyz";
        (0..length)
            .map(|_| letters[self.sequence.below(26) as usize] as char)
            .collect()
    }

    fn formatted(&mut self, format: &str) -> Option<String> {
        Some(match format {
            "date-time" => "2026-01-02T03:04:05Z".to_owned(),
            "date" => "2026-01-02".to_owned(),
            "time" => "03:04:05Z".to_owned(),
            "duration" => "PT5M".to_owned(),
            "uuid" => {
                let (a, b) = (self.sequence.draw(), self.sequence.draw());
                let last = b & 0xffff_ffff_ffff;
                format!(
                    "{:08x}-{:04x}-4{:03x}-8{:03x}-{last:012x}",
                    a >> 32,
                    (a >> 16) & 0xffff,
                    a & 0xfff,
                    (b >> 48) & 0xfff
                )
            }
            "email" | "idn-email" => "pm@example.org".to_owned(),
            "uri" | "url" | "iri" | "uri-reference" => "https://example.org/".to_owned(),
            "hostname" | "idn-hostname" => "example.org".to_owned(),
            "ipv4" => "192.0.2.1".to_owned(),
            "ipv6" => "2001:db8::1".to_owned(),
            "byte" => "cHJvb2Y=".to_owned(),
            _ => return None,
        })
    }

    /// A string that a pattern matches, at least `least` characters long where the pattern can be.
    fn matching(&mut self, pattern: &str, least: u64) -> Option<String> {
        let compiled = schema::compile(pattern)?;
        let hir = regex_syntax::Parser::new().parse(&pattern.replace("\\/", "/")).ok()?;
        for more in [0, least.min(LENGTH_MAX)] {
            let mut text = String::new();
            self.sample(&hir, more, &mut text);
            if text.chars().count() as u64 >= least && compiled.is_match(&text) {
                return Some(text);
            }
        }
        None
    }

    fn sample(&mut self, hir: &Hir, more: u64, text: &mut String) {
        if text.len() as u64 > LENGTH_MAX {
            return;
        }
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
            HirKind::Class(class) => text.extend(self.member(class)),
            HirKind::Repetition(repetition) => {
                let least = u64::from(repetition.min);
                let most = repetition.max.map_or(u64::MAX, u64::from);
                let times = least
                    .saturating_add(self.sequence.below(ITEMS_MAX + 1))
                    .max(more)
                    .min(most);
                for _ in 0..times.min(LENGTH_MAX) {
                    self.sample(&repetition.sub, 0, text);
                }
            }
            HirKind::Capture(capture) => self.sample(&capture.sub, more, text),
            HirKind::Concat(parts) => {
                for part in parts {
                    self.sample(part, more, text);
                }
            }
            HirKind::Alternation(parts) => {
                let chosen = self.sequence.below(parts.len() as u64) as usize;
                self.sample(&parts[chosen], more, text);
            }
        }
    }

    /// One character of a class: a letter or digit where there is one, else something printable, else the first.
    fn member(&mut self, class: &Class) -> Option<char> {
        let ranges: Vec<(u32, u32)> = match class {
            Class::Unicode(class) => class
                .iter()
                .map(|range| (range.start() as u32, range.end() as u32))
                .collect(),
            Class::Bytes(class) => class
                .iter()
                .map(|range| (range.start().into(), range.end().into()))
                .collect(),
        };
        let contains = |c: u32| ranges.iter().any(|(first, last)| (*first..=*last).contains(&c));
        let plain: Vec<u32> = (0x20..0x7f).filter(|c| contains(*c)).collect();
        let alphanumeric: Vec<u32> = plain
            .iter()
            .copied()
            .filter(|c| (*c as u8).is_ascii_alphanumeric())
            .collect();
        let choice = if alphanumeric.is_empty() { plain } else { alphanumeric };
        if choice.is_empty() {
            return ranges.first().and_then(|(first, _)| char::from_u32(*first));
        }
        char::from_u32(choice[self.sequence.below(choice.len() as u64) as usize])
    }
}

/// The schema with its references followed, the parts of `allOf` joined, and one alternative of `oneOf` and `anyOf`
/// chosen: the first for [`Style::Least`].
pub(crate) fn flattened(document: &Value, schema: &Value, draw: u64, style: Style, depth: usize) -> Map<String, Value> {
    let mut flat = Map::new();
    let Value::Object(members) = schema else { return flat };
    if depth > DEPTH_MAX {
        return flat;
    }
    if let Some(target) = members
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| schema::pointed(document, reference))
    {
        join(&mut flat, flattened(document, target, draw, style, depth + 1));
    }
    for part in list(members, "allOf") {
        join(&mut flat, flattened(document, part, draw, style, depth + 1));
    }
    for key in ["oneOf", "anyOf"] {
        let parts = list(members, key);
        if !parts.is_empty() {
            let chosen = if style == Style::Least {
                0
            } else {
                (draw % parts.len() as u64) as usize
            };
            join(
                &mut flat,
                flattened(document, &parts[chosen], draw / 7, style, depth + 1),
            );
        }
    }
    let own = members
        .iter()
        .filter(|(key, _)| !["$ref", "allOf", "oneOf", "anyOf"].contains(&key.as_str()));
    join(
        &mut flat,
        own.map(|(key, value)| (key.clone(), value.clone())).collect(),
    );
    flat
}

/// Joins two schemas that both hold: lists of required names and properties add up, the rest is replaced.
fn join(flat: &mut Map<String, Value>, other: Map<String, Value>) {
    for (key, value) in other {
        match (key.as_str(), flat.get_mut(&key), value) {
            ("properties", Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
            ("required", Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (_, _, value) => {
                flat.insert(key, value);
            }
        }
    }
}

/// The type to make: the first that isn't null, or what the keywords speak of.
pub(crate) fn kind(schema: &Map<String, Value>) -> &str {
    let types = types(schema);
    if let Some(name) = types.iter().find(|name| **name != "null") {
        return name;
    }
    if !types.is_empty() {
        return "null";
    }
    let has = |keys: &[&str]| keys.iter().any(|key| schema.contains_key(*key));
    if has(&["properties", "required", "additionalProperties", "minProperties"]) {
        "object"
    } else if has(&["items", "prefixItems", "minItems", "contains"]) {
        "array"
    } else if has(&[
        "minimum",
        "maximum",
        "multipleOf",
        "exclusiveMinimum",
        "exclusiveMaximum",
    ]) {
        "number"
    } else {
        "string"
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_keep_to_their_schema() {
        let schemas = [
            json!({"type": "string", "minLength": 3, "maxLength": 5}),
            json!({"type": "string", "pattern": "^[A-Z]{2}-\\d{4,6}(\\/x)?$"}),
            json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 12}),
            json!({"type": "string", "format": "uuid"}),
            json!({"type": "string", "format": "date-time"}),
            json!({"type": "integer", "minimum": 5, "maximum": 7}),
            json!({"type": "integer", "exclusiveMinimum": 0, "multipleOf": 10}),
            json!({"type": "integer", "maximum": -5}),
            json!({"type": "number", "minimum": 0.25, "maximum": 0.75}),
            json!({"type": "number", "exclusiveMinimum": true, "minimum": 0, "maximum": 1}),
            json!({"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 2, "uniqueItems": true}),
            json!({"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}, {"required": ["b"], "properties": {"b": {"type": "integer"}}}]}),
            json!({"oneOf": [{"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}, "additionalProperties": false}, {"type": "null"}]}),
            json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}),
            json!({"type": ["null", "string"], "minLength": 1}),
            json!({"type": "object", "required": ["id", "x"], "properties": {"id": {"readOnly": true, "type": "string"}, "x": {"type": "boolean"}}}),
            json!({"type": "string", "example": "wrong", "maxLength": 2}),
        ];
        for schema in schemas {
            for style in [Style::Least, Style::Full] {
                for seed in 0..20 {
                    let (value, holds) = Generator::new(&Value::Null, seed).value(&schema, style);
                    assert!(holds, "{schema} {style:?} {seed}: {value}");
                    assert_eq!(Generator::new(&Value::Null, seed).value(&schema, style).0, value);
                }
            }
        }
    }

    #[test]
    fn a_schema_that_holds_itself_comes_to_an_end() {
        let document = json!({"a": {"type": "object", "required": ["b"], "properties": {"b": {"$ref": "#/a"}, "c": {"type": "array", "items": {"$ref": "#/a"}}}}});
        let _ = Generator::new(&document, 1).value(&json!({"$ref": "#/a"}), Style::Full);
    }

    proptest! {
        #[test]
        fn no_pattern_is_too_strange(pattern in ".{0,12}", least in 0u64..30) {
            let _ = Generator::new(&Value::Null, 1).matching(&pattern, least);
        }
    }
}
