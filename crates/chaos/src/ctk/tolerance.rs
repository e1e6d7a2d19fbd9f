//! Whether what a probe saw is what its hypothesis tolerates.
//!
//! Which comparison it is depends on the tolerance alone. Start reading at [`Engine::within_tolerance`].

use fancy_regex::Regex;

use super::bridge;
use super::decimal::Decimal;
use super::engine::{Engine, Lane};
use super::jsonpath::JsonPath;
use super::raise::Raise;
use super::value::{Dict, Step, Value};
use super::{Level, json};

impl Engine<'_> {
    /// Compares `value` with the tolerance of the probe at `path`; `tolerance` is what it says after its names were
    /// replaced.
    ///
    /// # Errors
    /// Where the original's comparison raises: an order between text and numbers, say.
    pub(super) fn within_tolerance(
        &self,
        path: &[Step],
        tolerance: &Value,
        value: &Value,
        lane: Lane,
    ) -> Result<bool, Raise> {
        if let Value::Dict(_) = tolerance {
            let kind = tolerance.get("type")?.and_then(Value::as_str);
            return match kind {
                Some("probe") => self.probe_tolerates(path, tolerance, value, lane),
                Some("regex") => self.regex_tolerates(tolerance, value, lane),
                Some("jsonpath") => self.path_tolerates(tolerance, value),
                Some("range") => self.range_tolerates(tolerance, value, lane),
                _ => Ok(false),
            };
        }
        if is_foreign(value)
            && matches!(
                tolerance,
                Value::Bool(_) | Value::Str(_) | Value::Int(_) | Value::List(_)
            )
        {
            return self.bridge_tolerates(tolerance, value, lane);
        }
        let status = value.find("status");
        match tolerance {
            Value::Bool(_) | Value::Str(_) => Ok(value.equals(tolerance)),
            Value::Int(_) | Value::Big(_) => Ok(status.unwrap_or(value).equals(tolerance)),
            Value::List(items) => match (status, items.as_slice()) {
                (Some(status), items) => Ok(items.iter().any(|item| item.equals(status))),
                (None, [low, high]) => Ok(low.at_most(value)? && value.at_most(high)?),
                (None, items) => Ok(items.iter().any(|item| item.equals(value))),
            },
            _ => Ok(false),
        }
    }

    /// A probe is given the value as an argument; its answer's truth is the answer.
    fn probe_tolerates(&self, path: &[Step], tolerance: &Value, value: &Value, lane: Lane) -> Result<bool, Raise> {
        let mut probe = tolerance.clone();
        let arguments = probe
            .as_dict_mut()
            .and_then(|dict| dict.get_mut("provider"))
            .ok_or_else(|| Raise::error("KeyError", "'provider'"))?;
        let arguments = arguments
            .as_dict_mut()
            .and_then(|dict| dict.get_mut("arguments"))
            .ok_or_else(|| Raise::error("KeyError", "'arguments'"))?;
        match arguments {
            Value::Dict(dict) => dict.set("value", value.clone()),
            other => {
                return Err(Raise::error(
                    "TypeError",
                    format!("a {} takes no argument by name", other.type_name()),
                ));
            }
        }
        // The original keeps the argument in the experiment.
        let mut inside = path.to_vec();
        inside.push(Step::Key("tolerance"));
        if let Some(kept) = self.world().experiment.at_mut(&inside) {
            *kept = probe.clone();
        }
        match self.run_activity(&probe, lane) {
            Ok(answer) if is_foreign(&answer) => {
                let mut question = Dict::default();
                question.set("value", bridge::encoded(&answer));
                Ok(matches!(self.ask("truth", question, lane).0?, Value::Bool(true)))
            }
            Ok(answer) => Ok(answer.truthy()),
            Err(Raise::Failed(_)) => Ok(false),
            Err(raise) => Err(raise),
        }
    }

    fn regex_tolerates(&self, tolerance: &Value, value: &Value, lane: Lane) -> Result<bool, Raise> {
        let pattern = tolerance.get("pattern")?.unwrap_or(&Value::None);
        let pattern = self.substitute(pattern)?;
        let Value::Str(pattern) = pattern else {
            return Err(Raise::error(
                "TypeError",
                "first argument must be string or compiled pattern",
            ));
        };
        if is_foreign(value) {
            let mut tolerance = tolerance.clone();
            if let Some(dict) = tolerance.as_dict_mut() {
                dict.set("pattern", Value::Str(pattern));
            }
            return self.bridge_tolerates(&tolerance, value, lane);
        }
        let compiled = compile(&pattern)?;
        match target(tolerance, value)? {
            Value::Str(text) => compiled
                .is_match(text)
                .map_err(|error| Raise::error("RuntimeError", error.to_string())),
            other => Err(Raise::error(
                "TypeError",
                format!("expected string or bytes-like object, got '{}'", other.type_name()),
            )),
        }
    }

    fn path_tolerates(&self, tolerance: &Value, value: &Value) -> Result<bool, Raise> {
        let path = tolerance.get("path")?.unwrap_or(&Value::None);
        let path = self.substitute(path)?;
        let path = path
            .as_str()
            .ok_or_else(|| Raise::error("TypeError", "a JSON path is text"))?;
        let path = JsonPath::parse(path).map_err(|reason| Raise::error("ValueError", reason))?;
        let mut value = target(tolerance, value)?.clone();
        if let Value::Bytes(bytes) = &value {
            let text = String::from_utf8(bytes.clone());
            value = Value::Str(text.map_err(|_| Raise::error("UnicodeDecodeError", "not UTF-8"))?);
        }
        if let Value::Str(text) = &value
            && let Ok(parsed) = json::parse(text)
        {
            value = parsed;
        }
        let found = path.find(&value)?;
        let mut tolerated = !found.is_empty();
        if let Some(count) = tolerance.get("count")?.filter(|count| !count.is_none()) {
            tolerated = count.equals(&Value::Int(i64::try_from(found.len()).unwrap_or(i64::MAX)));
        }
        if let Some(expect) = tolerance.get("expect")? {
            let expect = match self.substitute(expect)? {
                Value::List(items) => items,
                one => vec![one],
            };
            tolerated = Value::List(found).equals(&Value::List(expect));
        }
        Ok(tolerated)
    }

    fn range_tolerates(&self, tolerance: &Value, value: &Value, lane: Lane) -> Result<bool, Raise> {
        let value = match target(tolerance, value)? {
            inner if is_foreign(inner) => return self.bridge_tolerates(tolerance, value, lane),
            inner => inner,
        };
        let number = match value {
            Value::Str(text) => match Decimal::parse(text) {
                Some(number) => number,
                None => {
                    self.say(Level::Debug, "range check expects a number value");
                    return Ok(false);
                }
            },
            other => decimal(other)?,
        };
        let bounds = tolerance.get("range")?.unwrap_or(&Value::None);
        let Value::List(bounds) = bounds else {
            return Err(Raise::error("TypeError", "a range is a list"));
        };
        let [low, high, ..] = bounds.as_slice() else {
            return Err(Raise::error("IndexError", "list index out of range"));
        };
        let at_most = |left: &Decimal, right: &Decimal| {
            let order = left.compare(right);
            order
                .map(std::cmp::Ordering::is_le)
                .ok_or_else(|| Raise::error("InvalidOperation", "NaN has no order"))
        };
        Ok(at_most(&decimal(low)?, &number)? && at_most(&number, &decimal(high)?)?)
    }

    /// Objects of modules are compared where they live.
    fn bridge_tolerates(&self, tolerance: &Value, value: &Value, lane: Lane) -> Result<bool, Raise> {
        let mut question = Dict::default();
        question.set("tolerance", bridge::encoded(tolerance));
        question.set("value", bridge::encoded(value));
        Ok(matches!(self.ask("within", question, lane).0?, Value::Bool(true)))
    }
}

/// A pattern of Python's `re`.
///
/// # Errors
/// `error`, as that module names it, for what it couldn't read either.
pub(super) fn compile(pattern: &str) -> Result<Regex, Raise> {
    // `\Z` is the very end there, and the last line break's place elsewhere.
    let mut translated = String::with_capacity(pattern.len());
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        translated.push(letter);
        if letter == '\\' {
            match letters.next() {
                Some('Z') => translated.push('z'),
                Some(next) => translated.push(next),
                None => {}
            }
        }
    }
    Regex::new(&translated).map_err(|error| Raise::error("error", error.to_string()))
}

/// The part of a value that a tolerance speaks of; the whole value where it has no such part.
fn target<'v>(tolerance: &Value, value: &'v Value) -> Result<&'v Value, Raise> {
    match tolerance.get("target")?.filter(|target| target.truthy()) {
        Some(target) => match value {
            Value::Dict(dict) => Ok(dict.find(target).unwrap_or(value)),
            other => Err(Raise::error(
                "AttributeError",
                format!("'{}' object has no attribute 'get'", other.type_name()),
            )),
        },
        None => Ok(value),
    }
}

fn decimal(value: &Value) -> Result<Decimal, Raise> {
    let number = match value {
        Value::Str(text) => Decimal::parse(text),
        other => Decimal::of(other),
    };
    number.ok_or_else(|| {
        Raise::error(
            "TypeError",
            format!("conversion from {} to Decimal is not supported", value.type_name()),
        )
    })
}

fn is_foreign(value: &Value) -> bool {
    match value {
        Value::Foreign(_) => true,
        Value::List(items) | Value::Tuple(items) => items.iter().any(is_foreign),
        Value::Dict(dict) => dict.0.iter().any(|(_, value)| is_foreign(value)),
        _ => false,
    }
}
