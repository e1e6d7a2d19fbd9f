//! `${name}`: values of configuration and secrets, put into an experiment's text.
//!
//! Text that is nothing but one `${name}` becomes the value in its own type; inside of other text it becomes text. A name
//! that nobody knows stays as it stands. Start reading at [`Names::substitute`].

use super::raise::Raise;
use super::value::{Dict, Value};

/// Where names are looked up: configuration first, then each group of secrets.
#[derive(Clone, Copy)]
pub struct Names<'a> {
    pub configuration: &'a Value,
    pub secrets: &'a Value,
}

impl Names<'_> {
    /// True when there is nothing to look up: then arguments stay as they are, `$$` included.
    pub fn is_empty(&self) -> bool {
        !self.configuration.truthy() && !self.secrets.truthy()
    }

    /// `value` with every name replaced, inside of lists and mappings too (keys stay).
    ///
    /// # Errors
    /// `TypeError` when a name is looked up in a secret that is no mapping.
    pub fn substitute(&self, value: &Value) -> Result<Value, Raise> {
        match value {
            Value::Str(text) if !text.is_empty() => self.text(text),
            Value::List(items) => self.items(items),
            Value::Dict(dict) => self.dict(dict),
            other => Ok(other.clone()),
        }
    }

    fn items(&self, items: &[Value]) -> Result<Value, Raise> {
        let items: Result<Vec<Value>, Raise> = items.iter().map(|item| self.inner(item)).collect();
        Ok(Value::List(items?))
    }

    fn dict(&self, dict: &Dict) -> Result<Value, Raise> {
        let items: Result<Vec<(Value, Value)>, Raise> = dict
            .0
            .iter()
            .map(|(key, value)| Ok((key.clone(), self.inner(value)?)))
            .collect();
        Ok(Value::Dict(Dict(items?)))
    }

    fn inner(&self, value: &Value) -> Result<Value, Raise> {
        match value {
            // A tuple becomes a list once it is looked into.
            Value::Tuple(items) if !items.is_empty() => self.items(items),
            other => self.substitute(other),
        }
    }

    fn text(&self, text: &str) -> Result<Value, Raise> {
        let whole = match token(text) {
            Some((Token::Name(name), length)) if length == text.len() => Some(name),
            _ => None,
        };
        if let Some(name) = whole.filter(|_| text.starts_with("${"))
            && let Some(value) = self.lookup(name)?
        {
            return Ok(value.clone());
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            out.push_str(&rest[..start]);
            rest = &rest[start..];
            match token(rest) {
                Some((Token::Name(name), length)) => {
                    match self.lookup(name)? {
                        Some(value) => out.push_str(&value.text()),
                        None => out.push_str(&rest[..length]),
                    }
                    rest = &rest[length..];
                }
                Some((Token::Dollar, length)) => {
                    out.push('$');
                    rest = &rest[length..];
                }
                None => {
                    out.push('$');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        Ok(Value::Str(out))
    }

    fn lookup(&self, name: &str) -> Result<Option<&Value>, Raise> {
        if let Some(value) = self.configuration.find(name) {
            return Ok(Some(value));
        }
        for (_, group) in self.secrets.as_dict().into_iter().flat_map(|dict| &dict.0) {
            match group {
                Value::Dict(dict) => {
                    if let Some(value) = dict.get(name) {
                        return Ok(Some(value));
                    }
                }
                other => {
                    return Err(Raise::error(
                        "TypeError",
                        format!("a name is looked up in a secret that is a {}", other.type_name()),
                    ));
                }
            }
        }
        Ok(None)
    }
}

enum Token<'a> {
    Name(&'a str),
    /// `$$`.
    Dollar,
}

/// What stands at the start of text that begins with `$`, and its length in bytes.
fn token(text: &str) -> Option<(Token<'_>, usize)> {
    let rest = text.strip_prefix('$')?;
    if rest.starts_with('$') {
        return Some((Token::Dollar, 2));
    }
    let length = |text: &str| {
        let starts = text.starts_with(|one: char| one == '_' || one.is_ascii_alphabetic());
        let name = text
            .bytes()
            .take_while(|byte| *byte == b'_' || byte.is_ascii_alphanumeric());
        if starts { name.count() } else { 0 }
    };
    if let Some(braced) = rest.strip_prefix('{') {
        let name = length(braced);
        let closed = name > 0 && braced[name..].starts_with('}');
        return closed.then(|| (Token::Name(&braced[..name]), name + 3));
    }
    let name = length(rest);
    (name > 0).then(|| (Token::Name(&rest[..name]), name + 1))
}

#[cfg(test)]
mod tests {
    use super::super::json;
    use super::*;

    #[test]
    fn names_become_values() {
        let configuration =
            json::parse(r#"{"n": 3, "s": "x", "none": null, "b": true, "d": {"k": 1.0}}"#).expect("valid");
        let secrets = json::parse(r#"{"group": {"token": "t", "n": 4}}"#).expect("valid");
        let names = Names {
            configuration: &configuration,
            secrets: &secrets,
        };
        for (text, expect) in [
            (r#""${n}""#, "3"),
            (r#""$n""#, "\"3\""),
            (r#""a ${n}${s} ${b} ${none} ${d}""#, r#""a 3x True None {'k': 1.0}""#),
            (r#""${missing} $$ $ ${n} ${1}""#, r#""${missing} $ $ 3 ${1}""#),
            (r#""${missing}""#, r#""${missing}""#),
            (
                r#"["${token}", {"k": ["${n}"], "${n}": 1}, 5]"#,
                r#"["t", {"k": [3], "${n}": 1}, 5]"#,
            ),
            (r#""$$""#, "\"$\""),
            ("\"\"", "\"\""),
        ] {
            let value = names
                .substitute(&json::parse(text).expect("valid"))
                .expect("substituted");
            assert_eq!(json::line(&value).expect("plain"), expect, "{text}");
        }
    }

    #[test]
    fn a_secret_that_is_no_mapping_has_no_names() {
        let configuration = Value::dict([]);
        let secrets = json::parse(r#"{"token": "t"}"#).expect("valid");
        let names = Names {
            configuration: &configuration,
            secrets: &secrets,
        };
        assert_eq!(
            names
                .substitute(&Value::str("${x}"))
                .map(|_| ())
                .map_err(|e| e.class().to_owned()),
            Err("TypeError".to_owned())
        );
    }
}
