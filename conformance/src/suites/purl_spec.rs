//! `purl-spec`: the specification's own tests against [`packages::purl::Purl`].
//!
//! A test parses, builds, or makes canonical; what has to fail has to. Definitions and schemas aren't cases. Cases are
//! named `TYPE/KIND/FILE:N`, the kind being `parse`, `build`, `validate` (make canonical) or `refuse`; and
//! `contradicted/FILE:N` where a test asks to refuse what another one of its file asks to make canonical.

use packages::purl::{Purl, PurlError};
use serde_json::{Map, Value, json};

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    for path in data.files()? {
        let document = data.json(&path)?;
        if let Some(tests) = document["tests"].as_array() {
            for (at, test) in tests.iter().enumerate() {
                let expected = expected(test);
                let got = guarded(|| answer(test).unwrap_or_else(|problem| problem));
                tally.case(&format!("{}/{path}:{at}", class(test, tests)), &expected, &got);
            }
        } else if !path.ends_with("-definition.json") && !path.contains(".schema-") {
            unplaced(tally, &path);
        }
    }
    Ok(())
}

fn class(test: &Value, tests: &[Value]) -> String {
    let refuse = |test: &Value| test["expected_failure"] == true;
    if refuse(test)
        && tests
            .iter()
            .any(|other| other["input"] == test["input"] && !refuse(other))
    {
        return "contradicted".to_owned();
    }
    let kind = if refuse(test) {
        "refuse"
    } else {
        test["test_type"].as_str().unwrap_or("unknown")
    };
    let of = match &test["input"] {
        Value::String(text) => text
            .split([':', '/'])
            .filter(|part| !part.is_empty())
            .nth(1)
            .unwrap_or("none"),
        parts => parts["type"].as_str().unwrap_or("none"),
    };
    format!("{}/{kind}", of.to_ascii_lowercase())
}

fn expected(test: &Value) -> String {
    if test["expected_failure"] == true {
        return "refused".to_owned();
    }
    match &test["expected_output"] {
        Value::String(text) => text.clone(),
        parts => normal(parts).to_string(),
    }
}

/// `Err` for a test this suite doesn't understand.
fn answer(test: &Value) -> Result<String, String> {
    let purl = match &test["input"] {
        Value::String(text) => Purl::parse(text),
        parts => build(parts),
    };
    Ok(match (test["test_type"].as_str(), purl) {
        (_, Err(_)) => "refused".to_owned(),
        (Some("parse"), Ok(purl)) => parts(&purl).to_string(),
        (Some("build" | "validate"), Ok(purl)) => purl.to_string(),
        (kind, Ok(_)) => return Err(format!("test type {kind:?} is unknown")),
    })
}

fn build(parts: &Value) -> Result<Purl, PurlError> {
    let text = |key: &str| parts[key].as_str();
    let name = text("name").unwrap_or_default();
    let mut purl = Purl::new(
        text("type").unwrap_or_default(),
        text("namespace"),
        name,
        text("version"),
    )?;
    for (key, value) in parts["qualifiers"].as_object().into_iter().flatten() {
        purl = purl.with_qualifier(key, value.as_str().unwrap_or_default())?;
    }
    Ok(match text("subpath") {
        Some(subpath) => purl.with_subpath(subpath),
        None => purl,
    })
}

fn parts(purl: &Purl) -> Value {
    normal(&json!({
        "type": purl.kind(),
        "namespace": purl.namespace(),
        "name": purl.name(),
        "version": purl.version(),
        "qualifiers": purl.qualifiers(),
        "subpath": purl.subpath(),
    }))
}

/// Without what is absent: tests write it as `null`, as nothing, or as an empty table.
fn normal(parts: &Value) -> Value {
    let present = |value: &Value| !value.is_null() && value.as_object().is_none_or(|table| !table.is_empty());
    let parts = parts
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| present(value));
    Value::Object(
        parts
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Map<_, _>>(),
    )
}
