//! The OASIS schemas of CACAO 2.0, and what they say of a playbook.
//!
//! They are draft 7, so that `unevaluatedProperties` in them means nothing and what stands beside a `$ref` is
//! ignored: the answer is the one that PyPI's `jsonschema` gives. What they don't say is in `check.rs`.
//!
//! Start reading at [`Schemas::refusals`].

use std::collections::BTreeSet;
use std::sync::OnceLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Registry, ValidationError, Validator};
use serde_json::Value;

/// The file that every playbook is held against.
const ROOT: &str = "playbook.json";
/// Of somebody's text, no more is shown in a sentence.
const SHOWN_CHARS_MAX: usize = 80;

/// A set of schemas, ready for use.
#[derive(Debug)]
pub struct Schemas {
    playbook: Validator,
    /// Command type and its schema. `playbook.json` doesn't refer to these.
    commands: Vec<(String, Validator)>,
}

/// One reason why a schema refuses a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// JSON pointer (RFC 6901) to what is refused; empty for the whole document.
    pub path: String,
    /// The schema's keyword: `required`, `pattern`.
    pub keyword: String,
    pub sentence: String,
}

/// A set of schemas that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    #[error("`{path}` is not JSON: {reason}")]
    NotJson { path: String, reason: String },
    #[error("`{path}` has no `$id`")]
    NoId { path: String },
    #[error("there is no `{ROOT}`")]
    NoRoot,
    #[error("`{path}` is no usable schema: {reason}")]
    Unusable { path: String, reason: String },
}

impl Schemas {
    /// The schemas that are built in.
    pub fn shipped() -> &'static Schemas {
        static SHIPPED: OnceLock<Schemas> = OnceLock::new();
        SHIPPED.get_or_init(|| Schemas::of(&FILES).expect("a test builds the schemas that ship"))
    }

    /// Paths and texts of the built-in schemas.
    pub fn files() -> &'static [(&'static str, &'static str)] {
        &FILES
    }

    /// Other schemas of the same layout: path below their folder, and text. They refer to each other by `$id`;
    /// nothing is ever fetched.
    pub fn of(files: &[(&str, &str)]) -> Result<Schemas, SchemaError> {
        let mut parsed = Vec::new();
        let mut registry = Registry::new();
        let unusable = |path: &str, reason: String| SchemaError::Unusable {
            path: path.to_owned(),
            reason,
        };
        for (path, text) in files {
            let schema: Value = serde_json::from_str(text).map_err(|error| SchemaError::NotJson {
                path: (*path).to_owned(),
                reason: error.to_string(),
            })?;
            let id = schema["$id"].as_str().ok_or_else(|| SchemaError::NoId {
                path: (*path).to_owned(),
            })?;
            registry = registry
                .add(id, schema.clone())
                .map_err(|error| unusable(path, error.to_string()))?;
            parsed.push((*path, schema));
        }
        let registry = registry.prepare().map_err(|error| unusable(ROOT, error.to_string()))?;
        let build = |path: &str, schema: &Value| {
            jsonschema::options()
                .with_registry(&registry)
                .offline()
                .build(schema)
                .map_err(|error| unusable(path, error.to_string()))
        };
        let (_, root) = parsed
            .iter()
            .find(|(path, _)| *path == ROOT)
            .ok_or(SchemaError::NoRoot)?;
        let playbook = build(ROOT, root)?;
        let mut commands = Vec::new();
        for (path, schema) in &parsed {
            let name = path
                .strip_prefix("commands/")
                .and_then(|name| name.strip_suffix(".json"));
            if let Some(name) = name.filter(|name| *name != "command-data") {
                commands.push((name.to_owned(), build(path, schema)?));
            }
        }
        Ok(Schemas { playbook, commands })
    }

    /// Why the schemas refuse this document; nothing when they accept it. Sorted, without doubles.
    pub fn refusals(&self, document: &Value) -> Vec<Refusal> {
        collect(&self.playbook, document, "")
    }

    /// Why the schema of a command's own type refuses it; nothing for a type that has none. `path` is the
    /// command's place in its document.
    pub fn command_refusals(&self, command: &Value, path: &str) -> Vec<Refusal> {
        let named = command["type"].as_str().unwrap_or_default();
        let found = self.commands.iter().find(|(name, _)| name == named);
        found.map_or_else(Vec::new, |(_, validator)| collect(validator, command, path))
    }
}

fn collect(validator: &Validator, document: &Value, below: &str) -> Vec<Refusal> {
    let found: BTreeSet<Refusal> = validator
        .iter_errors(document)
        .map(|error| Refusal {
            path: format!("{below}{}", error.instance_path().as_str()),
            keyword: error.kind().keyword().to_owned(),
            sentence: sentence(&error),
        })
        .collect();
    found.into_iter().collect()
}

/// What is wrong, for a person.
fn sentence(error: &ValidationError<'_>) -> String {
    let shown = shown(error.instance());
    match error.kind() {
        ValidationErrorKind::Required { property } => format!("`{}` is missing", text(property)),
        ValidationErrorKind::Type { kind } => format!("{shown} should be {}", types(kind)),
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options
                .as_array()
                .into_iter()
                .flatten()
                .map(|option| format!("`{}`", text(option)))
                .collect();
            match options.as_slice() {
                [one] => format!("{shown} should be {one}"),
                several => format!("{shown} should be one of {}", several.join(", ")),
            }
        }
        ValidationErrorKind::Pattern { pattern } => match known(pattern) {
            Some(what) => format!("{shown} is not {what}"),
            None => format!("{shown} doesn't match `{pattern}`"),
        },
        ValidationErrorKind::MinItems { limit } => format!("the list needs at least {limit} entries"),
        ValidationErrorKind::MinProperties { limit } => format!("the object needs at least {limit} entries"),
        ValidationErrorKind::Minimum { limit } => format!("{shown} should be at least {limit}"),
        ValidationErrorKind::Maximum { limit } => format!("{shown} should be at most {limit}"),
        ValidationErrorKind::Not { schema } => forbidden(schema),
        ValidationErrorKind::AnyOf { context } => alternatives("none of the allowed forms fits", context),
        ValidationErrorKind::OneOfNotValid { context } => {
            // Alternatives that differ in one pattern each say the same thing of any other text.
            if error.instance().is_string() {
                format!("{shown} is none of the allowed forms")
            } else {
                alternatives("none of the allowed forms fits", context)
            }
        }
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            "more than one of the forms fits of which exactly one is allowed".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Patterns of the schemas that have a name.
fn known(pattern: &str) -> Option<&'static str> {
    if pattern.starts_with("^[a-z][a-z0-9-]+[a-z0-9]--") {
        Some("an identifier: a type in lower case, `--` and a UUID (versions 1 to 5) are expected")
    } else if pattern.starts_with("^[0-9]{4}-(0[1-9]") {
        Some("a time: `2026-01-31T12:00:00.000Z` is the form")
    } else {
        None
    }
}

fn types(kind: &TypeKind) -> String {
    let name = |kind: String| match kind.as_str() {
        "null" => "null".to_owned(),
        "array" => "a list".to_owned(),
        "integer" | "object" => format!("an {kind}"),
        _ => format!("a {kind}"),
    };
    match kind {
        TypeKind::Single(kind) => name(kind.to_string()),
        TypeKind::Multiple(kinds) => {
            let names: Vec<String> = kinds.iter().map(|kind| name(kind.to_string())).collect();
            names.join(" or ")
        }
    }
}

/// A `not` over `required` names what must be left out.
fn forbidden(schema: &Value) -> String {
    let names: BTreeSet<&str> = schema["anyOf"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([schema])
        .flat_map(|schema| schema["required"].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    if names.is_empty() {
        return "what stands here is not allowed".to_owned();
    }
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    let together = if schema["anyOf"].is_array() || names.len() == 1 {
        ""
    } else {
        " together"
    };
    format!("{} must not be given here{together}", names.join(", "))
}

fn alternatives(lead: &str, context: &[Vec<ValidationError<'static>>]) -> String {
    let forms: BTreeSet<String> = context
        .iter()
        .filter(|errors| !errors.is_empty())
        .map(|errors| {
            let reasons: Vec<String> = errors.iter().map(sentence).collect();
            reasons.join(" and ")
        })
        .collect();
    let forms: Vec<String> = forms.into_iter().collect();
    format!("{lead}: {}", forms.join("; or "))
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        other => {
            let text = text(other);
            let mut short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            if short.len() < text.len() {
                short.push('…');
            }
            format!("`{}`", short.escape_debug())
        }
    }
}

/// The files of `schemas/`.
const FILES: [(&str, &str); 51] = [
    (
        "agent-target/agent-target.json",
        include_str!("../schemas/agent-target/agent-target.json"),
    ),
    (
        "agent-target/group.json",
        include_str!("../schemas/agent-target/group.json"),
    ),
    (
        "agent-target/http-api.json",
        include_str!("../schemas/agent-target/http-api.json"),
    ),
    (
        "agent-target/individual.json",
        include_str!("../schemas/agent-target/individual.json"),
    ),
    (
        "agent-target/linux.json",
        include_str!("../schemas/agent-target/linux.json"),
    ),
    (
        "agent-target/location.json",
        include_str!("../schemas/agent-target/location.json"),
    ),
    (
        "agent-target/net-address.json",
        include_str!("../schemas/agent-target/net-address.json"),
    ),
    (
        "agent-target/organization.json",
        include_str!("../schemas/agent-target/organization.json"),
    ),
    (
        "agent-target/sector.json",
        include_str!("../schemas/agent-target/sector.json"),
    ),
    (
        "agent-target/security-category.json",
        include_str!("../schemas/agent-target/security-category.json"),
    ),
    (
        "agent-target/ssh.json",
        include_str!("../schemas/agent-target/ssh.json"),
    ),
    (
        "authentication-info/authentication-info.json",
        include_str!("../schemas/authentication-info/authentication-info.json"),
    ),
    (
        "authentication-info/http-basic.json",
        include_str!("../schemas/authentication-info/http-basic.json"),
    ),
    (
        "authentication-info/oauth2.json",
        include_str!("../schemas/authentication-info/oauth2.json"),
    ),
    (
        "authentication-info/user-auth.json",
        include_str!("../schemas/authentication-info/user-auth.json"),
    ),
    ("commands/bash.json", include_str!("../schemas/commands/bash.json")),
    (
        "commands/caldera-cmd.json",
        include_str!("../schemas/commands/caldera-cmd.json"),
    ),
    (
        "commands/command-data.json",
        include_str!("../schemas/commands/command-data.json"),
    ),
    (
        "commands/elastic.json",
        include_str!("../schemas/commands/elastic.json"),
    ),
    (
        "commands/http-api.json",
        include_str!("../schemas/commands/http-api.json"),
    ),
    (
        "commands/jupyter.json",
        include_str!("../schemas/commands/jupyter.json"),
    ),
    (
        "commands/kestrel.json",
        include_str!("../schemas/commands/kestrel.json"),
    ),
    ("commands/manual.json", include_str!("../schemas/commands/manual.json")),
    (
        "commands/openc2-http.json",
        include_str!("../schemas/commands/openc2-http.json"),
    ),
    (
        "commands/powershell.json",
        include_str!("../schemas/commands/powershell.json"),
    ),
    ("commands/sigma.json", include_str!("../schemas/commands/sigma.json")),
    ("commands/ssh.json", include_str!("../schemas/commands/ssh.json")),
    ("commands/yara.json", include_str!("../schemas/commands/yara.json")),
    (
        "data-markings/data-marking.json",
        include_str!("../schemas/data-markings/data-marking.json"),
    ),
    (
        "data-markings/marking-iep.json",
        include_str!("../schemas/data-markings/marking-iep.json"),
    ),
    (
        "data-markings/marking-statement.json",
        include_str!("../schemas/data-markings/marking-statement.json"),
    ),
    (
        "data-markings/marking-tlp.json",
        include_str!("../schemas/data-markings/marking-tlp.json"),
    ),
    (
        "data-types/civic-location.json",
        include_str!("../schemas/data-types/civic-location.json"),
    ),
    (
        "data-types/contact.json",
        include_str!("../schemas/data-types/contact.json"),
    ),
    (
        "data-types/external-reference.json",
        include_str!("../schemas/data-types/external-reference.json"),
    ),
    (
        "data-types/identifier.json",
        include_str!("../schemas/data-types/identifier.json"),
    ),
    (
        "data-types/playbook-processing-summary.json",
        include_str!("../schemas/data-types/playbook-processing-summary.json"),
    ),
    (
        "data-types/signature.json",
        include_str!("../schemas/data-types/signature.json"),
    ),
    (
        "data-types/timestamp.json",
        include_str!("../schemas/data-types/timestamp.json"),
    ),
    (
        "data-types/variable.json",
        include_str!("../schemas/data-types/variable.json"),
    ),
    (
        "extension-definition/extension-definition.json",
        include_str!("../schemas/extension-definition/extension-definition.json"),
    ),
    ("playbook.json", include_str!("../schemas/playbook.json")),
    (
        "workflows/action.json",
        include_str!("../schemas/workflows/action.json"),
    ),
    ("workflows/end.json", include_str!("../schemas/workflows/end.json")),
    (
        "workflows/if-condition.json",
        include_str!("../schemas/workflows/if-condition.json"),
    ),
    (
        "workflows/parallel.json",
        include_str!("../schemas/workflows/parallel.json"),
    ),
    (
        "workflows/playbook-action.json",
        include_str!("../schemas/workflows/playbook-action.json"),
    ),
    ("workflows/start.json", include_str!("../schemas/workflows/start.json")),
    (
        "workflows/switch-condition.json",
        include_str!("../schemas/workflows/switch-condition.json"),
    ),
    (
        "workflows/while-condition.json",
        include_str!("../schemas/workflows/while-condition.json"),
    ),
    (
        "workflows/workflow-step.json",
        include_str!("../schemas/workflows/workflow-step.json"),
    ),
];
