//! What an experiment is given: configuration, secrets and variables, from the file, the environment and the command line.
//!
//! The environment is an argument. Secrets out of Vault are refused with a reason: no client is built in.
//! Start reading at [`configuration`].

use std::path::Path;

use super::json;
use super::raise::Raise;
use super::value::{Dict, Value};
use super::yaml;

/// Values that override those of the experiment.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    pub configuration: Dict,
    pub secrets: Dict,
}

/// Reads `configuration`. A key of the experiment takes its variable's value or definition in its place; variables
/// without such a key are not used.
///
/// # Errors
/// `InvalidExperiment` for an environment variable that isn't there and has no default; `ValueError` or `TypeError` for
/// a value that doesn't convert.
pub fn configuration(declared: &Value, variables: &Dict, env: &dyn Fn(&str) -> Option<String>) -> Result<Value, Raise> {
    let mut out = Dict::default();
    for (key, value) in items(declared)? {
        let given = key.as_str().and_then(|name| variables.get(name));
        let value = given.unwrap_or(value);
        let kind = value.find("type").and_then(Value::as_str);
        let value = if kind == Some("env") {
            let name = value.item("key")?;
            let found = name.as_str().and_then(env);
            let default = value.find("default");
            if found.is_none() && default.is_none() {
                return Err(Raise::invalid_experiment(format!(
                    "Configuration makes reference to an environment key that does not exist: {}",
                    name.text()
                )));
            }
            let raw = found
                .map(Value::Str)
                .or_else(|| default.cloned())
                .unwrap_or(Value::None);
            converted(value.find("env_var_type").unwrap_or(&Value::None), raw)?
        } else {
            value.clone()
        };
        out.insert(key.clone(), value);
    }
    Ok(Value::Dict(out))
}

/// Reads `secrets`.
///
/// # Errors
/// As [`configuration`]; `Unsupported` for a secret out of Vault.
pub fn secrets(declared: &Value, variables: &Value, env: &dyn Fn(&str) -> Option<String>) -> Result<Value, Raise> {
    let mut out = Dict::default();
    for (key, value) in items(declared)? {
        let given = match variables {
            value if !value.truthy() => None,
            value => key.as_str().map(|name| value.get(name)).transpose()?.flatten(),
        };
        let given = given.filter(|value| !value.is_none());
        let value = match value {
            Value::Dict(_) if given.is_some() => given.cloned().unwrap_or(Value::None),
            Value::Dict(dict) => match dict.get("type").and_then(Value::as_str) {
                Some("env") => {
                    let name = value.item("key")?;
                    let found = name.as_str().and_then(env);
                    found.map(Value::Str).ok_or_else(|| {
                        Raise::invalid_experiment(format!(
                            "Secrets make reference to an environment key that does not exist: {}",
                            name.text()
                        ))
                    })?
                }
                Some("vault") => {
                    return Err(Raise::error(
                        "Unsupported",
                        "secrets out of Vault: no Vault client is built in; pass them as environment variables (`type: env`)",
                    ));
                }
                _ => secrets(value, &Value::None, env)?,
            },
            other => other.clone(),
        };
        out.insert(key.clone(), value);
    }
    Ok(Value::Dict(out))
}

fn items(value: &Value) -> Result<impl Iterator<Item = &(Value, Value)>, Raise> {
    let dict = value.as_dict().ok_or_else(|| {
        Raise::error(
            "AttributeError",
            format!("'{}' object has no attribute 'items'", value.type_name()),
        )
    })?;
    Ok(dict.0.iter())
}

/// A value in the type that was asked for.
fn converted(kind: &Value, value: Value) -> Result<Value, Raise> {
    let wrong = |class: &str| Raise::error(class, "the value does not convert to the type that was asked for");
    let name = match kind {
        Value::None => return Ok(value),
        Value::Str(name) => name.as_str(),
        _ => "",
    };
    let number = |value: &Value| match value {
        Value::Str(text) => Ok(text.trim().replace('_', "")),
        other if other.is_number() => Ok(other.text()),
        _ => Err(wrong("TypeError")),
    };
    match name {
        "str" | "string" => Ok(value),
        "int" | "integer" => match value {
            Value::Bool(value) => Ok(Value::Int(i64::from(value))),
            Value::Int(_) | Value::Big(_) => Ok(value),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "whole numbers below 2^63 alone come here"
            )]
            Value::Float(value) if value.abs() < 9e18 => Ok(Value::Int(value.trunc() as i64)),
            other => {
                let text = number(&other)?;
                let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(wrong("ValueError"));
                }
                json::integer(text.strip_prefix('+').unwrap_or(&text))
            }
        },
        "float" | "number" => match value {
            Value::Bool(value) => Ok(Value::Float(f64::from(u8::from(value)))),
            other => number(&other)?
                .parse()
                .map(Value::Float)
                .map_err(|_| wrong("ValueError")),
        },
        "bytes" => match value {
            Value::Str(text) => Ok(Value::Bytes(text.into_bytes())),
            _ => Err(wrong("AttributeError")),
        },
        "bool" => match value {
            Value::Bool(_) => Ok(value),
            Value::Str(text) => Ok(Value::Bool(!matches!(
                text.to_lowercase().as_str(),
                "false" | "0" | "no"
            ))),
            _ => Err(wrong("AttributeError")),
        },
        "json" => match value {
            Value::Str(text) if !text.is_empty() => json::parse(&text),
            other => Ok(other),
        },
        _ => Err(Raise::error(
            "ValueError",
            "variable type can only be: bool, str, int, float, bytes or json",
        )),
    }
}

/// One `key=value` or `key:type=value` of the command line.
///
/// # Errors
/// A sentence for the person who wrote it; the value isn't in it.
pub fn variable(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or("a variable is written name=value or name:type=value")?;
    let value = Value::str(value);
    match key.rsplit_once(':') {
        Some((name, kind)) => match converted(&Value::str(kind), value) {
            Ok(value) => Ok((name.to_owned(), value)),
            Err(error) => Err(format!("`{name}`: {}", error_text(&error))),
        },
        None => Ok((key.to_owned(), value)),
    }
}

fn error_text(error: &Raise) -> String {
    match error {
        Raise::Error { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

/// Takes a file of variables: a mapping with `configuration` and `secrets`, or lines `NAME=value` for the environment,
/// which are the answer. A file that can't be read or parsed is passed over, as the original passes it over.
///
/// # Errors
/// `ValueError` for a line without `=`, `AttributeError` for a document that is no mapping.
pub fn variables_of_file(path: &Path, variables: &mut Variables) -> Result<Vec<(String, String)>, Raise> {
    let Ok(text) = std::fs::read_to_string(path) else {
        return Ok(Vec::new());
    };
    let parsed = match path.extension().and_then(|end| end.to_str()) {
        Some("yaml" | "yml") => yaml::parse(&text),
        Some("json") => json::parse(&text),
        _ => Ok(Value::None),
    };
    let Ok(parsed) = parsed else {
        return Ok(Vec::new());
    };
    if !parsed.truthy() {
        let lines = text.lines().map(str::trim);
        return lines
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let pair = line.split_once('=');
                let (name, value) = pair.ok_or_else(|| Raise::error("ValueError", "a line without `=`"))?;
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect();
    }
    let parts = [
        ("configuration", &mut variables.configuration),
        ("secrets", &mut variables.secrets),
    ];
    for (name, into) in parts {
        if let Some(given) = parsed.get(name)? {
            for (key, value) in items(given)? {
                into.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "PORT").then(|| "80".to_owned())
    }

    #[test]
    fn configuration_takes_the_environment_and_variables() {
        let declared = json::parse(
            r#"{"a": "x", "p": {"type": "env", "key": "PORT", "env_var_type": "int"},
                "d": {"type": "env", "key": "NONE", "default": "no", "env_var_type": "bool"}, "v": 1}"#,
        )
        .expect("valid");
        let mut variables = Dict::default();
        variables.set("v", Value::Int(2));
        variables.set("unknown", Value::Int(3));
        let read = configuration(&declared, &variables, &env).expect("read");
        assert_eq!(
            json::line(&read).expect("plain"),
            r#"{"a": "x", "p": 80, "d": false, "v": 2}"#
        );
        for (text, class) in [
            (r#"{"a": {"type": "env", "key": "NONE"}}"#, "InvalidExperiment"),
            (r#"{"a": {"type": "env"}}"#, "KeyError"),
            (
                r#"{"a": {"type": "env", "key": "NONE", "default": "x", "env_var_type": "int"}}"#,
                "ValueError",
            ),
            (
                r#"{"a": {"type": "env", "key": "NONE", "default": null, "env_var_type": "int"}}"#,
                "TypeError",
            ),
            (
                r#"{"a": {"type": "env", "key": "PORT", "env_var_type": "odd"}}"#,
                "ValueError",
            ),
            ("[]", "AttributeError"),
        ] {
            let got = configuration(&json::parse(text).expect("valid"), &Dict::default(), &env);
            assert_eq!(got.expect_err(text).class(), class, "{text}");
        }
    }

    #[test]
    fn variables_have_types() {
        for (text, expect) in [
            ("a=b=c", "'b=c'"),
            ("a:int=07", "7"),
            ("a:float=1e3", "1000.0"),
            ("a:bytes=x", "b'x'"),
            ("a:bool=NO", "False"),
            ("a:json=[1]", "[1]"),
        ] {
            assert_eq!(variable(text).expect(text).1.repr(), expect, "{text}");
        }
        for text in ["a", "a:int=x", "a:odd=1", "a:json={"] {
            assert!(variable(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_groups() {
        let declared = json::parse(r#"{"g": {"t": {"type": "env", "key": "PORT"}, "s": "x"}, "l": 5}"#).expect("valid");
        let read = secrets(&declared, &Value::None, &env).expect("read");
        assert_eq!(
            json::line(&read).expect("plain"),
            r#"{"g": {"t": "80", "s": "x"}, "l": 5}"#
        );
        let vault = json::parse(r#"{"g": {"t": {"type": "vault", "path": "x"}}}"#).expect("valid");
        assert_eq!(
            secrets(&vault, &Value::None, &env).expect_err("refused").class(),
            "Unsupported"
        );
    }
}
