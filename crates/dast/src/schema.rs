//! Holds JSON values against schemas: the part of JSON Schema 2020-12 that services use, and the older spelling of
//! OpenAPI 3.0 (`nullable`, boolean `exclusiveMinimum`).
//!
//! Not understood, and named by [`problems`]: `$dynamicRef`, `unevaluated…`, `content…`, references out of the
//! document, patterns with look-around. Annotations other than `format` ask for nothing.
//!
//! Start reading at [`Checker::check`].

use std::collections::{BTreeSet, HashMap};

use regex::Regex;
use serde_json::{Map, Number, Value};

/// Schemas inside each other, references included.
const DEPTH_MAX: usize = 64;
/// Schemas applied to one value in all; a value that needs more is held as not checked.
const STEPS_MAX: u32 = 200_000;
/// Bytes of one compiled pattern.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Who sends the value: clients don't send what is `readOnly`, servers don't send what is `writeOnly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    Client,
    Server,
}

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// JSON pointer into the value, with `*` for the index into an array.
    pub pointer: String,
    /// Keyword that asks for it.
    pub keyword: &'static str,
    /// What it should be; holds names of the schema, never of the value.
    pub what: String,
}

/// Applies schemas of one document.
pub(crate) struct Checker<'a> {
    document: &'a Value,
    sender: Sender,
    steps_left: u32,
    patterns: HashMap<String, Option<Regex>>,
}

impl<'a> Checker<'a> {
    pub fn new(document: &'a Value, sender: Sender) -> Self {
        Checker {
            document,
            sender,
            steps_left: STEPS_MAX,
            patterns: HashMap::new(),
        }
    }

    /// `None` when the value keeps to the schema, as far as that was understood.
    pub fn check(&mut self, schema: &Value, value: &Value) -> Option<Violation> {
        self.steps_left = STEPS_MAX;
        self.apply(schema, value, "", 0).err()
    }

    pub fn holds(&mut self, schema: &Value, value: &Value) -> bool {
        self.check(schema, value).is_none()
    }

    fn apply(&mut self, schema: &Value, value: &Value, at: &str, depth: usize) -> Result<(), Violation> {
        if depth > DEPTH_MAX || self.steps_left == 0 {
            return Ok(());
        }
        self.steps_left -= 1;
        let schema = match schema {
            Value::Bool(false) => return Err(violation(at, "false", "should not be there")),
            Value::Object(schema) => schema,
            _ => return Ok(()),
        };
        if let Some(target) = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| pointed(self.document, reference))
        {
            self.apply(target, value, at, depth + 1)?;
        }
        if value.is_null() && schema.get("nullable") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        check_type(schema, value, at)?;
        check_choice(schema, value, at)?;
        match value {
            Value::Number(number) => check_number(schema, number, at)?,
            Value::String(text) => self.check_string(schema, text, at)?,
            Value::Array(items) => self.check_array(schema, items, at, depth)?,
            Value::Object(members) => self.check_object(schema, members, at, depth)?,
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combined(schema, value, at, depth)
    }

    fn check_combined(
        &mut self,
        schema: &Map<String, Value>,
        value: &Value,
        at: &str,
        depth: usize,
    ) -> Result<(), Violation> {
        for part in list(schema, "allOf") {
            self.apply(part, value, at, depth + 1)?;
        }
        if schema.contains_key("anyOf") {
            let parts = list(schema, "anyOf");
            if !parts.is_empty() && !parts.iter().any(|part| self.apply(part, value, at, depth + 1).is_ok()) {
                return Err(violation(at, "anyOf", "should be one of the described alternatives"));
            }
        }
        if schema.contains_key("oneOf") {
            let parts = list(schema, "oneOf");
            let fitting = parts
                .iter()
                .filter(|part| self.apply(part, value, at, depth + 1).is_ok())
                .count();
            if !parts.is_empty() && fitting != 1 {
                return Err(violation(
                    at,
                    "oneOf",
                    "should be exactly one of the described alternatives",
                ));
            }
        }
        if let Some(not) = schema.get("not")
            && self.apply(not, value, at, depth + 1).is_ok()
        {
            return Err(violation(at, "not", "should not be what is ruled out"));
        }
        if let Some(condition) = schema.get("if") {
            let branch = if self.apply(condition, value, at, depth + 1).is_ok() {
                "then"
            } else {
                "else"
            };
            if let Some(branch) = schema.get(branch) {
                self.apply(branch, value, at, depth + 1)?;
            }
        }
        Ok(())
    }

    fn check_string(&mut self, schema: &Map<String, Value>, text: &str, at: &str) -> Result<(), Violation> {
        let length = text.chars().count() as u64;
        if count(schema, "minLength").is_some_and(|least| length < least) {
            return Err(violation(at, "minLength", "is too short"));
        }
        if count(schema, "maxLength").is_some_and(|most| length > most) {
            return Err(violation(at, "maxLength", "is too long"));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && !self.matches(pattern, text)
        {
            return Err(violation(at, "pattern", "doesn't match its pattern"));
        }
        match schema.get("format").and_then(Value::as_str) {
            Some(format) if !has_format(format, text) => {
                Err(violation(at, "format", &format!("is not a `{}`", shown(format))))
            }
            _ => Ok(()),
        }
    }

    /// A pattern that can't be compiled rules nothing out.
    fn matches(&mut self, pattern: &str, text: &str) -> bool {
        if !self.patterns.contains_key(pattern) {
            self.patterns.insert(pattern.to_owned(), compile(pattern));
        }
        self.patterns[pattern].as_ref().is_none_or(|regex| regex.is_match(text))
    }

    fn check_array(
        &mut self,
        schema: &Map<String, Value>,
        items: &[Value],
        at: &str,
        depth: usize,
    ) -> Result<(), Violation> {
        let length = items.len() as u64;
        if count(schema, "minItems").is_some_and(|least| length < least) {
            return Err(violation(at, "minItems", "has too few items"));
        }
        if count(schema, "maxItems").is_some_and(|most| length > most) {
            return Err(violation(at, "maxItems", "has too many items"));
        }
        if schema.get("uniqueItems") == Some(&Value::Bool(true)) {
            let mut seen = BTreeSet::new();
            if !items.iter().all(|item| seen.insert(item.to_string())) {
                return Err(violation(at, "uniqueItems", "has an item twice"));
            }
        }
        let inside = format!("{at}/*");
        let first = list(schema, "prefixItems");
        for (part, item) in first.iter().zip(items) {
            self.apply(part, item, &inside, depth + 1)?;
        }
        if let Some(rest) = schema.get("items") {
            for item in items.iter().skip(first.len()) {
                self.apply(rest, item, &inside, depth + 1)?;
            }
        }
        if let Some(wanted) = schema.get("contains") {
            let fitting = items
                .iter()
                .filter(|item| self.apply(wanted, item, &inside, depth + 1).is_ok())
                .count() as u64;
            if fitting < count(schema, "minContains").unwrap_or(1)
                || count(schema, "maxContains").is_some_and(|most| fitting > most)
            {
                return Err(violation(at, "contains", "doesn't hold the items it should"));
            }
        }
        Ok(())
    }

    fn check_object(
        &mut self,
        schema: &Map<String, Value>,
        members: &Map<String, Value>,
        at: &str,
        depth: usize,
    ) -> Result<(), Violation> {
        let properties = schema.get("properties").and_then(Value::as_object);
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            let excused = properties
                .and_then(|properties| properties.get(name))
                .is_some_and(|property| self.is_not_sent(property));
            if !excused && !members.contains_key(name) {
                return Err(violation(at, "required", &format!("lacks `{}`", shown(name))));
            }
        }
        let size = members.len() as u64;
        if count(schema, "minProperties").is_some_and(|least| size < least) {
            return Err(violation(at, "minProperties", "has too few members"));
        }
        if count(schema, "maxProperties").is_some_and(|most| size > most) {
            return Err(violation(at, "maxProperties", "has too many members"));
        }
        let patterns = schema.get("patternProperties").and_then(Value::as_object);
        for (name, member) in members {
            let mut known = false;
            if let Some(property) = properties.and_then(|properties| properties.get(name)) {
                known = true;
                self.apply(property, member, &format!("{at}/{}", shown(name)), depth + 1)?;
            }
            for (pattern, property) in patterns.into_iter().flatten() {
                if self.matches(pattern, name) {
                    known = true;
                    self.apply(property, member, &format!("{at}/*"), depth + 1)?;
                }
            }
            match schema.get("additionalProperties") {
                // The name comes from the value, so it is not told.
                Some(Value::Bool(false)) if !known => {
                    return Err(violation(
                        at,
                        "additionalProperties",
                        "has a member that is not described",
                    ));
                }
                Some(rest) if !known => self.apply(rest, member, &format!("{at}/*"), depth + 1)?,
                _ => {}
            }
            if let Some(names) = schema.get("propertyNames") {
                self.apply(names, &Value::String(name.clone()), at, depth + 1)?;
            }
            if let Some(needed) = schema
                .get("dependentRequired")
                .and_then(|map| map.get(name))
                .and_then(Value::as_array)
                && let Some(missing) = needed
                    .iter()
                    .filter_map(Value::as_str)
                    .find(|needed| !members.contains_key(*needed))
            {
                return Err(violation(
                    at,
                    "dependentRequired",
                    &format!("lacks `{}`", shown(missing)),
                ));
            }
            if let Some(dependent) = schema.get("dependentSchemas").and_then(|map| map.get(name)) {
                self.apply(dependent, &Value::Object(members.clone()), at, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Whether the sender leaves this property out by definition.
    fn is_not_sent(&self, property: &Value) -> bool {
        let property = deref(self.document, property);
        let flag = match self.sender {
            Sender::Client => "readOnly",
            Sender::Server => "writeOnly",
        };
        property.get(flag) == Some(&Value::Bool(true))
    }
}

/// What a schema asks for and nobody here understands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Problem {
    Reference(String),
    Keyword(&'static str),
    Pattern,
    Depth,
}

/// Walks a schema and everything it refers to.
pub(crate) fn problems(document: &Value, schema: &Value) -> BTreeSet<Problem> {
    const NOT_UNDERSTOOD: [&str; 6] = [
        "$dynamicRef",
        "$recursiveRef",
        "unevaluatedProperties",
        "unevaluatedItems",
        "contentSchema",
        "$anchor",
    ];
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut waiting = vec![(schema, 0)];
    while let Some((schema, depth)) = waiting.pop() {
        if depth > DEPTH_MAX {
            found.insert(Problem::Depth);
            continue;
        }
        match schema {
            Value::Array(parts) => waiting.extend(parts.iter().map(|part| (part, depth + 1))),
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    match pointed(document, reference) {
                        Some(target) if seen.insert(reference) => waiting.push((target, depth + 1)),
                        Some(_) => {}
                        None => {
                            found.insert(Problem::Reference(shown(reference)));
                        }
                    }
                }
                for keyword in NOT_UNDERSTOOD {
                    if members.get(keyword).is_some_and(|value| *value != Value::Bool(true)) {
                        found.insert(Problem::Keyword(keyword));
                    }
                }
                if members
                    .get("pattern")
                    .and_then(Value::as_str)
                    .is_some_and(|pattern| compile(pattern).is_none())
                {
                    found.insert(Problem::Pattern);
                }
                // Examples and defaults are values, not schemas.
                let parts = members
                    .iter()
                    .filter(|(key, _)| !["example", "examples", "default", "enum", "const"].contains(&key.as_str()));
                waiting.extend(parts.map(|(_, part)| (part, depth + 1)));
            }
            _ => {}
        }
    }
    found
}

/// What a local reference (`#/components/schemas/Pet`) points to.
pub(crate) fn pointed<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    let pointer = reference.strip_prefix('#')?;
    document.pointer(&percent_decoded(pointer)?)
}

/// What a schema stands for, references followed.
pub(crate) fn deref<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        match schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| pointed(document, reference))
        {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A pattern of ECMA-262 as far as ours can say the same.
pub(crate) fn compile(pattern: &str) -> Option<Regex> {
    // ECMA-262 lets `/` be escaped; here it must not be.
    let pattern = pattern.replace("\\/", "/");
    regex::RegexBuilder::new(&pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .ok()
}

/// The types a schema allows; empty for all.
pub(crate) fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn list<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub(crate) fn count(schema: &Map<String, Value>, key: &str) -> Option<u64> {
    let value = schema.get(key)?;
    value.as_u64().or_else(|| {
        value
            .as_f64()
            .filter(|number| *number >= 0.0)
            .map(|number| number as u64)
    })
}

/// A bound, with whether it is itself ruled out.
pub(crate) type Bound = Option<(f64, bool)>;

/// The lowest and highest allowed number.
pub(crate) fn bounds(schema: &Map<String, Value>) -> (Bound, Bound) {
    let side = |plain: &str, exclusive: &str, tighter: fn(f64, f64) -> bool| {
        let inclusive = schema.get(plain).and_then(Value::as_f64);
        match schema.get(exclusive) {
            Some(Value::Bool(true)) => inclusive.map(|bound| (bound, true)),
            Some(value) if value.is_number() => match (inclusive, value.as_f64()) {
                (Some(inclusive), Some(exclusive)) if tighter(inclusive, exclusive) => Some((inclusive, false)),
                (_, Some(exclusive)) => Some((exclusive, true)),
                (inclusive, None) => inclusive.map(|bound| (bound, false)),
            },
            _ => inclusive.map(|bound| (bound, false)),
        }
    };
    (
        side("minimum", "exclusiveMinimum", |inclusive, exclusive| {
            inclusive > exclusive
        }),
        side("maximum", "exclusiveMaximum", |inclusive, exclusive| {
            inclusive < exclusive
        }),
    )
}

fn violation(pointer: &str, keyword: &'static str, what: &str) -> Violation {
    Violation {
        pointer: pointer.to_owned(),
        keyword,
        what: what.to_owned(),
    }
}

/// A name of the document in a message: short, on one line.
fn shown(name: &str) -> String {
    name.chars().take(120).flat_map(char::escape_default).collect()
}

fn check_type(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), Violation> {
    let types = types(schema);
    let fits = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.as_number().is_some_and(is_integer),
        // Not a type: the document is wrong, not the value.
        _ => true,
    };
    if types.is_empty() || types.iter().any(fits) {
        return Ok(());
    }
    let names: Vec<String> = types.iter().map(|name| shown(name)).collect();
    Err(violation(at, "type", &format!("is not of type {}", names.join(" or "))))
}

fn check_choice(schema: &Map<String, Value>, value: &Value, at: &str) -> Result<(), Violation> {
    if let Some(only) = schema.get("const")
        && !same(only, value)
    {
        return Err(violation(at, "const", "is not the one allowed value"));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.iter().any(|allowed| same(allowed, value))
    {
        return Err(violation(at, "enum", "is not one of the allowed values"));
    }
    Ok(())
}

/// Equal as JSON Schema has it: 1 and 1.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn is_integer(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn check_number(schema: &Map<String, Value>, number: &Number, at: &str) -> Result<(), Violation> {
    let Some(float) = number.as_f64() else { return Ok(()) };
    let (least, most) = bounds(schema);
    if least.is_some_and(|(bound, open)| float < bound || (open && float == bound)) {
        return Err(violation(at, "minimum", "is too small"));
    }
    if most.is_some_and(|(bound, open)| float > bound || (open && float == bound)) {
        return Err(violation(at, "maximum", "is too large"));
    }
    if let Some(step) = schema
        .get("multipleOf")
        .and_then(Value::as_f64)
        .filter(|step| *step > 0.0)
    {
        let times = float / step;
        if (times - times.round()).abs() > 1e-9 * times.abs().max(1.0) {
            return Err(violation(at, "multipleOf", "is not a multiple of its step"));
        }
    }
    let in_range = match schema.get("format").and_then(Value::as_str) {
        Some("int32") => (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&float),
        Some("int64") => number.is_i64() || (!number.is_u64() && float.abs() < 9.3e18),
        _ => true,
    };
    if in_range {
        Ok(())
    } else {
        Err(violation(at, "format", "doesn't fit its integer format"))
    }
}

/// Formats that are exact enough to be held against; all others fit.
fn has_format(format: &str, text: &str) -> bool {
    match format {
        "date-time" => text.contains(['T', 't']) && text.parse::<evidence::Timestamp>().is_ok(),
        "date" => text.len() == 10 && format!("{text}T00:00:00Z").parse::<evidence::Timestamp>().is_ok(),
        "uuid" => is_uuid(text),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "email" => text
            .rsplit_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)),
        "uri" | "url" => is_uri(text),
        _ => true,
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<usize> = text.split('-').map(str::len).collect();
    groups == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn keyword(schema: &Value, value: &Value) -> Option<&'static str> {
        let document = json!({"components": {"schemas": {
            "Pet": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            "Tree": {"type": "object", "properties": {"child": {"$ref": "#/components/schemas/Tree"}}},
            "Loop": {"$ref": "#/components/schemas/Loop"},
        }}});
        Checker::new(&document, Sender::Server)
            .check(schema, value)
            .map(|violation| violation.keyword)
    }

    #[test]
    fn each_keyword_holds() {
        let rows: Vec<(Value, Value, Option<&str>)> = vec![
            (json!({"type": "string"}), json!("a"), None),
            (json!({"type": "string"}), json!(1), Some("type")),
            (json!({"type": ["string", "null"]}), json!(null), None),
            (json!({"type": "string", "nullable": true}), json!(null), None),
            (json!({"type": "integer"}), json!(1.0), None),
            (json!({"type": "integer"}), json!(1.5), Some("type")),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(3_000_000_000u64),
                Some("format"),
            ),
            (
                json!({"type": "integer", "format": "int64"}),
                json!(u64::MAX),
                Some("format"),
            ),
            (json!({"enum": [1, "a"]}), json!(1.0), None),
            (json!({"enum": [1, "a"]}), json!("b"), Some("enum")),
            (json!({"const": {"a": 1}}), json!({"a": 2}), Some("const")),
            (json!({"minimum": 1}), json!(0), Some("minimum")),
            (
                json!({"minimum": 1, "exclusiveMinimum": true}),
                json!(1),
                Some("minimum"),
            ),
            (json!({"exclusiveMinimum": 1}), json!(1), Some("minimum")),
            (json!({"exclusiveMaximum": 1, "maximum": 0}), json!(0), None),
            (json!({"maximum": 1}), json!(2), Some("maximum")),
            (json!({"multipleOf": 0.1}), json!(0.3), None),
            (json!({"multipleOf": 2}), json!(3), Some("multipleOf")),
            (json!({"minLength": 2}), json!("ß"), Some("minLength")),
            (json!({"maxLength": 1}), json!("ß"), None),
            (json!({"pattern": "^a+$"}), json!("b"), Some("pattern")),
            (json!({"pattern": "(?=x)"}), json!("b"), None),
            (json!({"format": "date-time"}), json!("2026-01-02T03:04:05Z"), None),
            (json!({"format": "date-time"}), json!("yesterday"), Some("format")),
            (json!({"format": "date"}), json!("2026-02-30"), Some("format")),
            (json!({"format": "uuid"}), json!("123"), Some("format")),
            (json!({"format": "email"}), json!("a@b"), None),
            (json!({"format": "uri"}), json!("no uri"), Some("format")),
            (json!({"items": {"type": "string"}}), json!(["a", 1]), Some("type")),
            (
                json!({"prefixItems": [{"type": "string"}], "items": false}),
                json!(["a", 1]),
                Some("false"),
            ),
            (json!({"minItems": 1}), json!([]), Some("minItems")),
            (json!({"maxItems": 1}), json!([1, 2]), Some("maxItems")),
            (json!({"uniqueItems": true}), json!([1, 1]), Some("uniqueItems")),
            (json!({"contains": {"const": 1}}), json!([2]), Some("contains")),
            (
                json!({"contains": {"const": 1}, "maxContains": 1}),
                json!([1, 1]),
                Some("contains"),
            ),
            (json!({"required": ["a"]}), json!({}), Some("required")),
            (
                json!({"required": ["a"], "properties": {"a": {"writeOnly": true}}}),
                json!({}),
                None,
            ),
            (
                json!({"properties": {"a": {"type": "string"}}}),
                json!({"a": 1}),
                Some("type"),
            ),
            (
                json!({"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false}),
                json!({"x": "a"}),
                None,
            ),
            (
                json!({"properties": {}, "additionalProperties": false}),
                json!({"x": "a"}),
                Some("additionalProperties"),
            ),
            (
                json!({"additionalProperties": {"type": "string"}}),
                json!({"x": 1}),
                Some("type"),
            ),
            (
                json!({"propertyNames": {"maxLength": 1}}),
                json!({"xx": 1}),
                Some("maxLength"),
            ),
            (
                json!({"dependentRequired": {"a": ["b"]}}),
                json!({"a": 1}),
                Some("dependentRequired"),
            ),
            (
                json!({"dependentSchemas": {"a": {"required": ["b"]}}}),
                json!({"a": 1}),
                Some("required"),
            ),
            (json!({"minProperties": 1}), json!({}), Some("minProperties")),
            (json!({"maxProperties": 0}), json!({"a": 1}), Some("maxProperties")),
            (
                json!({"allOf": [{"type": "object"}, {"required": ["a"]}]}),
                json!({}),
                Some("required"),
            ),
            (
                json!({"anyOf": [{"type": "string"}, {"type": "null"}]}),
                json!(1),
                Some("anyOf"),
            ),
            (
                json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}),
                json!(1),
                Some("oneOf"),
            ),
            (json!({"not": {"type": "string"}}), json!("a"), Some("not")),
            (
                json!({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}),
                json!(""),
                Some("minLength"),
            ),
            (
                json!({"if": {"type": "string"}, "then": {"minLength": 1}, "else": {"minimum": 1}}),
                json!(0),
                Some("minimum"),
            ),
            (json!({"$ref": "#/components/schemas/Pet"}), json!({}), Some("required")),
            (
                json!({"$ref": "#/components/schemas/%50et"}),
                json!({}),
                Some("required"),
            ),
            (
                json!({"$ref": "#/components/schemas/Tree"}),
                json!({"child": {"child": 1}}),
                Some("type"),
            ),
            (json!({"$ref": "#/components/schemas/Loop"}), json!(1), None),
            (json!({"$ref": "other.json#/a"}), json!(1), None),
            (json!(false), json!(1), Some("false")),
            (json!(true), json!(1), None),
        ];
        for (schema, value, expect) in rows {
            assert_eq!(keyword(&schema, &value), expect, "{schema} {value}");
        }
    }

    #[test]
    fn a_violation_tells_names_of_the_schema_only() {
        let schema = json!({"properties": {"items": {"items": {"required": ["id"]}}}, "additionalProperties": false});
        let document = Value::Null;
        let mut checker = Checker::new(&document, Sender::Server);
        let found = checker
            .check(&schema, &json!({"items": [{"id": 1}, {"secret-key": 2}]}))
            .unwrap();
        assert_eq!(
            (found.pointer.as_str(), found.what.as_str()),
            ("/items/*", "lacks `id`")
        );
        let found = checker.check(&schema, &json!({"s3cret": 1})).unwrap();
        assert!(!format!("{found:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let schema = json!({"unevaluatedProperties": false, "properties": {"a": {"pattern": "(?<=x)y"}, "b": {"$ref": "x.json"}}});
        let found: Vec<Problem> = problems(&Value::Null, &schema).into_iter().collect();
        assert_eq!(
            found,
            [
                Problem::Reference("x.json".into()),
                Problem::Keyword("unevaluatedProperties"),
                Problem::Pattern
            ]
        );
    }

    pub(crate) fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            prop::sample::select(vec!["string", "object", "array", "integer", "#/a", "(", "^a*$", "date"])
                .prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = prop_oneof![
                prop::sample::select(vec![
                    "type",
                    "properties",
                    "items",
                    "required",
                    "allOf",
                    "anyOf",
                    "oneOf",
                    "not",
                    "$ref",
                    "pattern",
                    "minimum",
                    "exclusiveMinimum",
                    "maxLength",
                    "minItems",
                    "enum",
                    "format",
                    "a",
                    "additionalProperties",
                    "multipleOf",
                ])
                .prop_map(str::to_owned),
                ".{0,4}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_schema_and_no_value_is_too_strange(schema in any_json(), value in any_json(), document in any_json()) {
            let mut checker = Checker::new(&document, Sender::Client);
            let _ = checker.check(&schema, &value);
            let _ = problems(&document, &schema);
        }
    }
}
