//! YAML as the original reads it: version 1.1 as PyYAML's safe loader takes it, where `yes` is true, `010` is eight
//! and a date is a date. A tag that would make an object, and so run code, is an error, never followed.
//!
//! The grammar comes from `saphyr-parser`; what a scalar means is decided here. Start reading at [`parse`].

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use fancy_regex::Regex;
use saphyr_parser::{Event, Parser, ScalarStyle};

use super::json;
use super::raise::Raise;
use super::value::{Dict, Foreign, Kind, Value};

const DEPTH_MAX: usize = 150;
/// Nodes after aliases are followed: a short document can't become a large one.
const NODES_MAX: usize = 500_000;

const CORE: &str = "tag:yaml.org,2002:";

/// Reads one document; an empty one is none.
///
/// # Errors
/// `YAMLError` for what is no YAML, has two documents, or asks for an object.
pub fn parse(text: &str) -> Result<Value, Raise> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        nodes: 0,
    };
    match composer.document()? {
        Some(node) => construct(&node),
        None => Ok(Value::None),
    }
}

#[derive(Debug, Clone)]
struct Node {
    tag: String,
    content: Content,
    /// Itself and everything below it.
    size: usize,
}

#[derive(Debug, Clone)]
enum Content {
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

struct Composer<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

fn wrong(message: impl Into<String>) -> Raise {
    Raise::error("YAMLError", message)
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<Event<'a>, Raise> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(wrong(error.to_string())),
            None => Ok(Event::StreamEnd),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Raise> {
        let mut found = None;
        loop {
            match self.next()? {
                Event::StreamEnd => return Ok(found),
                Event::DocumentStart(_) if found.is_some() => {
                    return Err(wrong("expected a single document in the stream"));
                }
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
                event => found = Some(self.node(event, 0)?),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, depth: usize) -> Result<Node, Raise> {
        if depth > DEPTH_MAX {
            return Err(wrong("nested too deep"));
        }
        let (anchor, node) = match event {
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| wrong("found an alias of something that is not complete"))?;
                (0, node)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = match tag {
                    Some(tag) => tag_name(&tag),
                    None if style == ScalarStyle::Plain => implicit(&text).to_owned(),
                    None => format!("{CORE}str"),
                };
                let content = Content::Scalar(text.into_owned());
                (anchor, Node { tag, content, size: 1 })
            }
            Event::SequenceStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::SequenceEnd => break,
                        event => items.push(self.node(event, depth + 1)?),
                    }
                }
                let tag = tag.map_or_else(|| format!("{CORE}seq"), |tag| tag_name(&tag));
                let size = 1 + items.iter().map(|item| item.size).sum::<usize>();
                let content = Content::Sequence(items);
                (anchor, Node { tag, content, size })
            }
            Event::MappingStart(anchor, tag) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Event::MappingEnd => break,
                        event => {
                            let key = self.node(event, depth + 1)?;
                            let event = self.next()?;
                            items.push((key, self.node(event, depth + 1)?));
                        }
                    }
                }
                let tag = tag.map_or_else(|| format!("{CORE}map"), |tag| tag_name(&tag));
                let size = 1 + items.iter().map(|(key, value)| key.size + value.size).sum::<usize>();
                let content = Content::Mapping(items);
                (anchor, Node { tag, content, size })
            }
            other => return Err(wrong(format!("unexpected {other:?}"))),
        };
        self.nodes += node.size;
        if self.nodes > NODES_MAX.saturating_mul(depth + 1) || node.size > NODES_MAX {
            return Err(wrong("too large"));
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }
}

/// The tag in full; the lone `!` makes text of a scalar.
fn tag_name(tag: &saphyr_parser::Tag) -> String {
    match (tag.handle.as_str(), tag.suffix.as_str()) {
        ("!", "") | ("", "!") => format!("{CORE}str"),
        ("!!", suffix) => format!("{CORE}{suffix}"),
        (handle, suffix) => format!("{handle}{suffix}"),
    }
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern of this file")
}

static BOOL: LazyLock<Regex> =
    LazyLock::new(|| pattern("^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"));
static FLOAT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?",
        r"|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?",
        r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*",
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    ))
});
static INT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+",
        r"|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$",
    ))
});
static TIMESTAMP: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^(?:[0-9]{4}-[0-9]{2}-[0-9]{2}",
        r"|[0-9]{4}-[0-9][0-9]?-[0-9][0-9]?(?:[Tt]|[ \t]+)[0-9][0-9]?:[0-9]{2}:[0-9]{2}(?:\.[0-9]*)?",
        r"(?:[ \t]*(?:Z|[-+][0-9][0-9]?(?::[0-9][0-9])?))?)$",
    ))
});
static TIMESTAMP_PARTS: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"^([0-9]{4})-([0-9][0-9]?)-([0-9][0-9]?)(?:(?:[Tt]|[ \t]+)([0-9][0-9]?):([0-9]{2}):([0-9]{2})",
        r"(?:\.([0-9]*))?(?:[ \t]*(Z|([-+])([0-9][0-9]?)(?::([0-9]{2}))?))?)?$",
    ))
});

fn is(pattern: &Regex, text: &str) -> bool {
    pattern.is_match(text).unwrap_or(false)
}

/// What a plain scalar is.
fn implicit(text: &str) -> &'static str {
    // The first byte rules out most of the patterns for most of the scalars.
    match text.as_bytes().first() {
        None => "tag:yaml.org,2002:null",
        Some(b'~' | b'n' | b'N') if matches!(text, "~" | "null" | "Null" | "NULL") => "tag:yaml.org,2002:null",
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O') if is(&BOOL, text) => {
            "tag:yaml.org,2002:bool"
        }
        Some(b'-' | b'+' | b'.' | b'0'..=b'9') if is(&FLOAT, text) => "tag:yaml.org,2002:float",
        Some(b'-' | b'+' | b'0'..=b'9') if is(&INT, text) => "tag:yaml.org,2002:int",
        Some(b'0'..=b'9') if is(&TIMESTAMP, text) => "tag:yaml.org,2002:timestamp",
        Some(b'<') if text == "<<" => "tag:yaml.org,2002:merge",
        Some(b'=') if text == "=" => "tag:yaml.org,2002:value",
        _ => "tag:yaml.org,2002:str",
    }
}

fn construct(node: &Node) -> Result<Value, Raise> {
    let Some(kind) = node.tag.strip_prefix(CORE) else {
        return Err(no_constructor(&node.tag));
    };
    match (kind, &node.content) {
        ("null", Content::Scalar(_)) => Ok(Value::None),
        ("bool", _) => match scalar(node)?.to_ascii_lowercase().as_str() {
            "yes" | "true" | "on" => Ok(Value::Bool(true)),
            "no" | "false" | "off" => Ok(Value::Bool(false)),
            other => Err(Raise::error("KeyError", format!("'{other}'"))),
        },
        ("int", _) => int(&scalar(node)?),
        ("float", _) => float(&scalar(node)?),
        ("str" | "value", _) => Ok(Value::Str(scalar(node)?)),
        ("timestamp", _) => timestamp(&scalar(node)?),
        ("binary", _) => {
            let text: String = scalar(node)?.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(text);
            Ok(Value::Bytes(bytes.map_err(|error| wrong(error.to_string()))?))
        }
        ("seq", Content::Sequence(items)) => {
            let items: Result<Vec<Value>, Raise> = items.iter().map(construct).collect();
            Ok(Value::List(items?))
        }
        ("map", Content::Mapping(_)) => mapping(node),
        ("omap" | "pairs", Content::Sequence(items)) => {
            let pairs: Result<Vec<Value>, Raise> = items
                .iter()
                .map(|item| match &item.content {
                    Content::Mapping(pair) if pair.len() == 1 => {
                        Ok(Value::Tuple(vec![construct(&pair[0].0)?, construct(&pair[0].1)?]))
                    }
                    _ => Err(wrong("expected a mapping of length 1")),
                })
                .collect();
            Ok(Value::List(pairs?))
        }
        ("set", Content::Mapping(_)) => {
            let keys = mapping(node)?.iterate()?;
            let names: Vec<String> = keys.iter().map(Value::repr).collect();
            let text = format!("{{{}}}", names.join(", "));
            Ok(Value::Foreign(Foreign {
                kind: Kind::Other,
                repr: text.clone(),
                text,
                handle: None,
            }))
        }
        ("null" | "seq" | "map" | "omap" | "pairs" | "set", _) => Err(wrong(format!("a {kind} is expected"))),
        _ => Err(no_constructor(&node.tag)),
    }
}

fn no_constructor(tag: &str) -> Raise {
    wrong(format!("could not determine a constructor for the tag '{tag}'"))
}

fn scalar(node: &Node) -> Result<String, Raise> {
    match &node.content {
        Content::Scalar(text) => Ok(text.clone()),
        Content::Mapping(items) => {
            let value = items.iter().find(|(key, _)| key.tag == "tag:yaml.org,2002:value");
            value.map_or_else(|| Err(wrong("expected a scalar node")), |(_, value)| scalar(value))
        }
        Content::Sequence(_) => Err(wrong("expected a scalar node")),
    }
}

fn mapping(node: &Node) -> Result<Value, Raise> {
    let mut dict = Dict::default();
    for (key, value) in flattened(node)? {
        let key = if key.tag == "tag:yaml.org,2002:value" {
            Value::Str(scalar(&key)?)
        } else {
            construct(&key)?
        };
        if matches!(key, Value::List(_) | Value::Dict(_)) {
            return Err(wrong("found unhashable key"));
        }
        dict.insert(key, construct(&value)?);
    }
    Ok(Value::Dict(dict))
}

/// The pairs of a mapping, what it merges first.
fn flattened(node: &Node) -> Result<Vec<(Node, Node)>, Raise> {
    let Content::Mapping(items) = &node.content else {
        return Err(wrong("expected a mapping for merging"));
    };
    let mut merged = Vec::new();
    let mut own = Vec::new();
    for (key, value) in items {
        if key.tag != "tag:yaml.org,2002:merge" {
            own.push((key.clone(), value.clone()));
            continue;
        }
        match &value.content {
            Content::Mapping(_) => merged.extend(flattened(value)?),
            Content::Sequence(parts) => {
                // The first of them wins, so it comes last.
                for part in parts.iter().rev() {
                    merged.extend(flattened(part)?);
                }
            }
            Content::Scalar(_) => return Err(wrong("expected a mapping or list of mappings for merging")),
        }
    }
    merged.extend(own);
    Ok(merged)
}

fn no_number(text: &str) -> Raise {
    Raise::error("ValueError", format!("no number: '{text}'"))
}

fn int(text: &str) -> Result<Value, Raise> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.as_bytes().first() {
        Some(b'-') => (-1, &plain[1..]),
        Some(b'+') => (1, &plain[1..]),
        _ => (1, plain.as_str()),
    };
    let radix = |digits: &str, radix| {
        let value = i128::from_str_radix(digits, radix).map_err(|_| no_number(text))?;
        json::integer(&(value * sign).to_string())
    };
    if digits == "0" {
        return Ok(Value::Int(0));
    }
    if let Some(digits) = digits.strip_prefix("0b") {
        return radix(digits, 2);
    }
    if let Some(digits) = digits.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if digits.starts_with('0') {
        return radix(digits, 8);
    }
    if digits.contains(':') {
        let mut value: i128 = 0;
        for part in digits.split(':') {
            let part: i128 = part.parse().map_err(|_| no_number(text))?;
            value = value.saturating_mul(60).saturating_add(part);
        }
        return json::integer(&value.saturating_mul(sign).to_string());
    }
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_number(text));
    }
    json::integer(&format!("{}{digits}", if sign < 0 { "-" } else { "" }))
}

fn float(text: &str) -> Result<Value, Raise> {
    let plain = text.replace('_', "").to_ascii_lowercase();
    let (sign, digits) = match plain.as_bytes().first() {
        Some(b'-') => (-1.0, &plain[1..]),
        Some(b'+') => (1.0, &plain[1..]),
        _ => (1.0, plain.as_str()),
    };
    let value = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => f64::NAN,
        digits if digits.contains(':') => {
            let mut value = 0.0;
            for part in digits.split(':') {
                value = value * 60.0 + part.parse::<f64>().map_err(|_| no_number(text))?;
            }
            value
        }
        digits => digits.parse().map_err(|_| no_number(text))?,
    };
    Ok(Value::Float(sign * value))
}

fn timestamp(text: &str) -> Result<Value, Raise> {
    let parts = TIMESTAMP_PARTS.captures(text).ok().flatten();
    let parts = parts.ok_or_else(|| Raise::error("AttributeError", "no timestamp"))?;
    let part = |index: usize| parts.get(index).map(|found| found.as_str());
    let number = |index: usize| part(index).and_then(|digits| digits.parse::<u32>().ok()).unwrap_or(0);
    let (year, month, day) = (number(1), number(2), number(3));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if year == 0 || day == 0 || day > days {
        return Err(Raise::error("ValueError", "day is out of range for month"));
    }
    let date = format!("{year:04}-{month:02}-{day:02}");
    if part(4).is_none() {
        return Ok(foreign(Kind::Date, &date));
    }
    let (hour, minute, second) = (number(4), number(5), number(6));
    if hour > 23 || minute > 59 || second > 59 {
        return Err(Raise::error("ValueError", "hour, minute or second is out of range"));
    }
    let mut out = format!("{date}T{hour:02}:{minute:02}:{second:02}");
    let fraction: String = part(7)
        .unwrap_or_default()
        .chars()
        .chain("000000".chars())
        .take(6)
        .collect();
    if part(7).is_some_and(|digits| !digits.is_empty()) && fraction != "000000" {
        out.push_str(&format!(".{fraction}"));
    }
    match (part(9), part(8)) {
        (Some(sign), _) => {
            let zero = number(10) == 0 && number(11) == 0;
            out.push_str(&format!(
                "{}{:02}:{:02}",
                if zero { "+" } else { sign },
                number(10),
                number(11)
            ));
        }
        (None, Some(_)) => out.push_str("+00:00"),
        (None, None) => {}
    }
    Ok(foreign(Kind::DateTime, &out))
}

fn foreign(kind: Kind, text: &str) -> Value {
    Value::Foreign(Foreign {
        kind,
        text: text.to_owned(),
        repr: text.to_owned(),
        handle: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_version_1_1() {
        for (text, expect) in [
            ("yes", "true"),
            ("Off", "false"),
            ("y", "\"y\""),
            ("010", "8"),
            ("0o10", "\"0o10\""),
            ("0x1F", "31"),
            ("1_000", "1000"),
            ("190:20:30", "685230"),
            ("1e3", "\"1e3\""),
            ("1.0e+3", "1000.0"),
            ("6.", "6.0"),
            (".inf", "Infinity"),
            ("~", "null"),
            ("", "null"),
            ("'1'", "\"1\""),
            ("2001-12-14", "\"2001-12-14\""),
            ("2001-12-14t21:59:43.10-05:00", "\"2001-12-14T21:59:43.100000-05:00\""),
            ("2001-12-15 2:59:43.1 Z", "\"2001-12-15T02:59:43.100000+00:00\""),
            ("!!str 1", "\"1\""),
            ("! 1", "\"1\""),
            ("!!int '7'", "7"),
            ("{a: 1, a: 2}", "{\"a\": 2}"),
            ("[&x {a: 1}, {<<: *x, b: 2}]", "[{\"a\": 1}, {\"a\": 1, \"b\": 2}]"),
            ("{1: a, true: b}", "{\"1\": \"b\"}"),
        ] {
            let value = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(json::line(&value).expect(text), expect, "{text}");
        }
    }

    #[test]
    fn what_would_run_code_or_grow_is_an_error() {
        let bomb = (0..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
            let next = level + 1;
            let alias = vec![format!("*a{level}"); 9].join(",");
            format!("{text}a{next}: &a{next} [{alias}]\n")
        });
        for text in [
            "!!python/object/apply:os.system\nargs: ['true']\n",
            "!own tag",
            "a: 1\n---\nb: 2\n",
            "a: [1",
            "{[1]: 2}",
            "2001-13-40",
            "*missing",
            bomb.as_str(),
        ] {
            assert!(parse(text).is_err(), "{}", &text[..text.len().min(40)]);
        }
    }
}
