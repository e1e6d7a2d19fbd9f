//! What an experiment is made of: values as the original's language has them, with its equality, order, truth and text.
//!
//! JSON can't hold all of it (bytes, tuples, dates, numbers beyond 64 bits, NaN, keys that are no strings), and an
//! experiment's answer may depend on each: `1 == 1.0 == True`, but a tuple is no list.
//!
//! Not here: reading and writing ([`super::json`], [`super::yaml`]). Start reading at [`Value`].

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::decimal::Decimal;
use super::raise::Raise;

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, in decimal digits with an optional minus sign.
    Big(String),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Dict),
    Foreign(Foreign),
}

/// A mapping in the order of insertion.
#[derive(Debug, Clone, Default)]
pub struct Dict(pub Vec<(Value, Value)>);

/// An object of a Python module: what can be said about it here.
#[derive(Debug, Clone)]
pub struct Foreign {
    pub kind: Kind,
    /// `isoformat()` of a date, `str()` of anything else.
    pub text: String,
    /// `repr()`.
    pub repr: String,
    /// Names the object itself, inside the bridge that made it.
    pub handle: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Date,
    DateTime,
    Decimal,
    Uuid,
    Other,
}

impl Value {
    pub fn str(text: impl Into<String>) -> Value {
        Value::Str(text.into())
    }

    /// A mapping with these keys.
    pub fn dict<const N: usize>(items: [(&str, Value); N]) -> Value {
        Value::Dict(Dict(items.map(|(key, value)| (Value::str(key), value)).into()))
    }

    pub fn strings(items: &[&str]) -> Value {
        Value::List(items.iter().map(|item| Value::str(*item)).collect())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    pub fn as_dict_mut(&mut self) -> Option<&mut Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    pub fn is_none(&self) -> bool {
        matches!(self, Value::None)
    }

    /// The value of a key, when this is a mapping that has it.
    pub fn find(&self, key: &str) -> Option<&Value> {
        self.as_dict().and_then(|dict| dict.get(key))
    }

    /// `value.get(key)`: an error where only a mapping has that.
    pub fn get(&self, key: &str) -> Result<Option<&Value>, Raise> {
        match self {
            Value::Dict(dict) => Ok(dict.get(key)),
            other => Err(Raise::error(
                "AttributeError",
                format!("'{}' object has no attribute 'get'", other.type_name()),
            )),
        }
    }

    /// `value[key]`.
    pub fn item(&self, key: &str) -> Result<&Value, Raise> {
        match self {
            Value::Dict(dict) => dict
                .get(key)
                .ok_or_else(|| Raise::error("KeyError", format!("'{key}'"))),
            other => Err(Raise::error(
                "TypeError",
                format!("'{}' has no key '{key}'", other.type_name()),
            )),
        }
    }

    /// `for item in value`: a mapping gives its keys, text its characters.
    pub fn iterate(&self) -> Result<Vec<Value>, Raise> {
        match self {
            Value::List(items) | Value::Tuple(items) => Ok(items.clone()),
            Value::Dict(dict) => Ok(dict.0.iter().map(|(key, _)| key.clone()).collect()),
            Value::Str(text) => Ok(text.chars().map(|one| Value::Str(one.into())).collect()),
            Value::Bytes(bytes) => Ok(bytes.iter().map(|byte| Value::Int(i64::from(*byte))).collect()),
            other => Err(Raise::error(
                "TypeError",
                format!("'{}' object is not iterable", other.type_name()),
            )),
        }
    }

    /// `bool(value)`.
    pub fn truthy(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.is_empty(),
            Value::Dict(dict) => !dict.0.is_empty(),
            Value::Big(_) => true,
            Value::Foreign(foreign) => foreign.kind != Kind::Decimal || foreign.text.parse() != Ok(0.0),
        }
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Big(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Foreign(foreign) => match foreign.kind {
                Kind::Date => "datetime.date",
                Kind::DateTime => "datetime.datetime",
                Kind::Decimal => "decimal.Decimal",
                Kind::Uuid => "UUID",
                Kind::Other => "object",
            },
        }
    }

    /// `isinstance(value, numbers.Number)`.
    pub fn is_number(&self) -> bool {
        match self {
            Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::Float(_) => true,
            Value::Foreign(foreign) => foreign.kind == Kind::Decimal,
            _ => false,
        }
    }

    /// `left == right`.
    pub fn equals(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::None, Value::None) => true,
            (Value::Str(left), Value::Str(right)) => left == right,
            (Value::Bytes(left), Value::Bytes(right)) => left == right,
            (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.equals(right))
            }
            (Value::Dict(left), Value::Dict(right)) => {
                left.0.len() == right.0.len()
                    && left
                        .0
                        .iter()
                        .all(|(key, value)| right.find(key).is_some_and(|other| value.equals(other)))
            }
            (left, right) if left.is_number() && right.is_number() => {
                matches!(numbers(left, right), Some(Ordering::Equal))
            }
            (Value::Foreign(left), Value::Foreign(right)) => {
                if left.kind == Kind::Other {
                    left.handle.is_some() && left.handle == right.handle
                } else {
                    left.kind == right.kind && left.text == right.text
                }
            }
            _ => false,
        }
    }

    /// `left <= right`: an error where the two have no order.
    pub fn at_most(&self, other: &Value) -> Result<bool, Raise> {
        let unordered = || {
            Raise::error(
                "TypeError",
                format!(
                    "'<=' not supported between instances of '{}' and '{}'",
                    self.type_name(),
                    other.type_name()
                ),
            )
        };
        match (self, other) {
            (left, right) if left.is_number() && right.is_number() => {
                Ok(numbers(left, right).is_some_and(Ordering::is_le))
            }
            (Value::Str(left), Value::Str(right)) => Ok(left <= right),
            (Value::Bytes(left), Value::Bytes(right)) => Ok(left <= right),
            (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
                for (left, right) in left.iter().zip(right) {
                    if !left.equals(right) {
                        return left.at_most(right);
                    }
                }
                Ok(left.len() <= right.len())
            }
            (Value::Foreign(left), Value::Foreign(right))
                if left.kind == right.kind && matches!(left.kind, Kind::Date | Kind::DateTime) =>
            {
                Ok(left.text <= right.text)
            }
            _ => Err(unordered()),
        }
    }

    /// `str(value)`.
    pub fn text(&self) -> String {
        match self {
            Value::Str(text) => text.clone(),
            Value::Foreign(foreign) => foreign.text.clone(),
            other => other.repr(),
        }
    }

    /// `repr(value)`.
    pub fn repr(&self) -> String {
        match self {
            Value::None => "None".to_owned(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            Value::Int(value) => value.to_string(),
            Value::Big(digits) => digits.clone(),
            Value::Float(value) => float(*value),
            Value::Str(text) => quoted(text),
            Value::Bytes(bytes) => bytes_repr(bytes),
            Value::List(items) => format!("[{}]", joined(items)),
            Value::Tuple(items) if items.len() == 1 => format!("({},)", joined(items)),
            Value::Tuple(items) => format!("({})", joined(items)),
            Value::Dict(dict) => {
                let items: Vec<String> = dict
                    .0
                    .iter()
                    .map(|(key, value)| format!("{}: {}", key.repr(), value.repr()))
                    .collect();
                format!("{{{}}}", items.join(", "))
            }
            Value::Foreign(foreign) => foreign.repr.clone(),
        }
    }

    /// What lies behind a path of keys and indexes.
    pub fn at(&self, path: &[Step]) -> Option<&Value> {
        path.iter().try_fold(self, |value, step| match (step, value) {
            (Step::Key(key), value) => value.find(key),
            (Step::Index(index), Value::List(items)) => items.get(*index),
            _ => None,
        })
    }

    pub fn at_mut(&mut self, path: &[Step]) -> Option<&mut Value> {
        path.iter().try_fold(self, |value, step| match (step, value) {
            (Step::Key(key), Value::Dict(dict)) => dict.get_mut(key),
            (Step::Index(index), Value::List(items)) => items.get_mut(*index),
            _ => None,
        })
    }
}

/// One step of a path into a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(&'static str),
    Index(usize),
}

impl Dict {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(name, _)| name.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0
            .iter_mut()
            .find(|(name, _)| name.as_str() == Some(key))
            .map(|(_, value)| value)
    }

    pub fn find(&self, key: &Value) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name.equals(key)).map(|(_, value)| value)
    }

    /// Sets a key where it stands, or behind all others.
    pub fn set(&mut self, key: impl Into<String>, value: Value) {
        self.insert(Value::Str(key.into()), value);
    }

    pub fn insert(&mut self, key: Value, value: Value) {
        match self.0.iter_mut().find(|(name, _)| name.equals(&key)) {
            Some((_, old)) => *old = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(name, _)| name.as_str() == Some(key))?;
        Some(self.0.remove(index).1)
    }
}

/// `repr` of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        format!("{plain}.0")
    }
}

/// The order of two numbers, exactly; `None` where NaN takes part.
fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    let small = |value: &Value| match value {
        Value::Bool(value) => Some(i64::from(*value)),
        Value::Int(value) => Some(*value),
        _ => None,
    };
    if let (Some(left), Some(right)) = (small(left), small(right)) {
        return Some(left.cmp(&right));
    }
    if let (Value::Float(left), Value::Float(right)) = (left, right) {
        return left.partial_cmp(right);
    }
    Decimal::of(left)?.compare(&Decimal::of(right)?)
}

fn joined(items: &[Value]) -> String {
    items.iter().map(Value::repr).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for one in text.chars() {
        match one {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            one if one == quote => {
                out.push('\\');
                out.push(one);
            }
            one if one.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(one));
            }
            one => out.push(one),
        }
    }
    out.push(quote);
    out
}

fn bytes_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let mut out = format!("b{quote}");
    for byte in bytes {
        match byte {
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte if char::from(*byte) == quote => {
                out.push('\\');
                out.push(quote);
            }
            0x20..0x7f => out.push(char::from(*byte)),
            byte => {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_originals() {
        for (value, expect) in [
            (Value::Float(0.1), "0.1"),
            (Value::Float(1e16), "1e+16"),
            (Value::Float(1.5e-7), "1.5e-07"),
            (Value::Float(100.0), "100.0"),
            (Value::Float(0.0001), "0.0001"),
            (Value::Float(1234567890123456.0), "1234567890123456.0"),
            (Value::Bool(true), "True"),
            (Value::str("it's"), "\"it's\""),
            (
                Value::List(vec![Value::Int(1), Value::None, Value::str("a")]),
                "[1, None, 'a']",
            ),
            (Value::Tuple(vec![Value::Int(1)]), "(1,)"),
            (Value::Bytes(vec![b'a', 0, b'\'']), "b\"a\\x00'\""),
        ] {
            assert_eq!(value.repr(), expect);
        }
    }

    #[test]
    fn numbers_are_compared_by_value() {
        let equal = [
            (Value::Bool(true), Value::Float(1.0)),
            (
                Value::Big("18446744073709551616".into()),
                Value::Float(18446744073709551616.0),
            ),
        ];
        for (left, right) in equal {
            assert!(left.equals(&right), "{left:?} {right:?}");
        }
        let unequal = [
            (Value::Int(9007199254740993), Value::Float(9007199254740992.0)),
            (Value::Float(f64::NAN), Value::Float(f64::NAN)),
            (Value::List(vec![]), Value::Tuple(vec![])),
            (Value::str("1"), Value::Int(1)),
        ];
        for (left, right) in unequal {
            assert!(!left.equals(&right), "{left:?} {right:?}");
        }
    }
}
