//! Reads OpenAPI documents (<https://spec.openapis.org/oas/v3.1.1.html>) into the operations that can be tested.
//!
//! It keeps schemas as they stand in the document; `schema` and `generate` give them meaning. What it can't read it
//! names as a gap and goes on.
//!
//! Start reading at [`load`].

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Diagnostic, Gap, Span};
use serde_json::{Map, Value};

use crate::gaps;
use crate::schema;

/// Longest document read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Operations tested of one document; further ones are a gap.
const OPERATIONS_MAX: usize = 2_000;
/// References followed one after the other.
const REFERENCES_MAX: usize = 32;
const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

/// A service as its document describes it.
#[derive(Debug, Clone)]
pub struct Api {
    pub title: String,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    pub(crate) operations: Vec<Operation>,
    pub(crate) schemes: BTreeMap<String, Scheme>,
    /// Path of the first server, put before every path; no `/` at its end.
    pub(crate) base: String,
    /// The whole document, which references point into.
    pub(crate) document: Value,
}

impl Api {
    /// `METHOD /path/{template}` of every operation, in order of path, then method.
    pub fn routes(&self) -> Vec<String> {
        self.operations.iter().map(Operation::route).collect()
    }

    /// The routes for which the document asks for credentials.
    pub fn secured_routes(&self) -> Vec<String> {
        self.operations
            .iter()
            .filter(|operation| operation.is_secured())
            .map(Operation::route)
            .collect()
    }
}

/// One method of one path.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Upper case.
    pub method: String,
    /// Template, from the first `/` on, without the server's path.
    pub path: String,
    pub parameters: Vec<Parameter>,
    pub body: Option<Body>,
    /// By status: `200`, `2XX` or `default`.
    pub responses: BTreeMap<String, ResponseSpec>,
    /// Alternatives, each with the names of schemes that it needs together.
    pub security: Vec<Vec<String>>,
}

impl Operation {
    pub fn route(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether the document says that nobody may call this without credentials.
    pub fn is_secured(&self) -> bool {
        !self.security.is_empty() && self.security.iter().all(|needed| !needed.is_empty())
    }

    /// What the document says about answers of this status.
    pub fn response(&self, status: u16) -> Option<&ResponseSpec> {
        self.responses
            .get(&status.to_string())
            .or_else(|| self.responses.get(&format!("{}XX", status / 100)))
            .or_else(|| self.responses.get("default"))
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub name: String,
    pub place: Place,
    pub required: bool,
    pub schema: Value,
    pub examples: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub required: bool,
    /// The media type that is sent, as the document spells it.
    pub media_type: String,
    pub schema: Value,
    pub examples: Vec<Value>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ResponseSpec {
    /// Media type (may hold `*`) and schema.
    pub content: Vec<(String, Option<Value>)>,
    pub required_headers: Vec<String>,
}

/// How credentials are presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scheme {
    Bearer,
    Basic,
    Key { place: Place, name: String },
    Other,
}

pub(crate) fn load(document: &[u8], path: &str) -> Result<Api, Vec<Diagnostic>> {
    let document = parse(document, path)?;
    let Value::Object(root) = &document else {
        return Err(vec![diagnostic(
            gaps::DOCUMENT_SHAPE,
            "the document is not an object",
            path,
            0,
            0,
        )]);
    };
    check_shape(root, path)?;

    let mut reader = Reader {
        document: &document,
        gaps: BTreeSet::new(),
    };
    let schemes = reader.schemes();
    let mut operations = reader.operations();
    operations.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    if operations.len() > OPERATIONS_MAX {
        let reason = format!(
            "only the first {OPERATIONS_MAX} of {} operations are tested",
            operations.len()
        );
        reader.gap(gaps::UNSUPPORTED, "paths", &reason, true);
        operations.truncate(OPERATIONS_MAX);
    }
    if operations.is_empty() {
        reader.gap(gaps::NO_OPERATIONS, path, "the document describes no operation", true);
    }
    let gaps = reader.gaps.into_iter().collect();
    let title = root.get("info").and_then(|info| info.get("title"));
    Ok(Api {
        title: title.and_then(Value::as_str).unwrap_or_default().to_owned(),
        gaps,
        operations,
        schemes,
        base: base_path(root),
        document,
    })
}

fn diagnostic(code: &str, message: &str, path: &str, line: usize, column: usize) -> Diagnostic {
    let help = match code {
        gaps::DOCUMENT_VERSION => "convert it to OpenAPI 3.1",
        gaps::DOCUMENT_NOT_READ => "mend it at that place",
        _ => "hold it against https://spec.openapis.org/oas/latest.html",
    };
    Diagnostic {
        code: code.to_owned(),
        message: message.to_owned(),
        span: Some(Span {
            path: path.to_owned(),
            line: u32::try_from(line).unwrap_or(0),
            column: u32::try_from(column).unwrap_or(0),
            commit: None,
        }),
        help: Some(help.to_owned()),
    }
}

/// JSON when it opens like JSON, YAML otherwise.
fn parse(document: &[u8], path: &str) -> Result<Value, Vec<Diagnostic>> {
    let not_read = |message: &str, line, column| vec![diagnostic(gaps::DOCUMENT_NOT_READ, message, path, line, column)];
    if document.len() > DOCUMENT_BYTES_MAX {
        return Err(not_read(
            &format!("the document is longer than {DOCUMENT_BYTES_MAX} bytes"),
            0,
            0,
        ));
    }
    let document = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    let first = document.iter().find(|byte| !byte.is_ascii_whitespace());
    if matches!(first, Some(b'{' | b'[' | b'"')) {
        return serde_json::from_slice(document).map_err(|error| {
            not_read(
                &format!("the document is not JSON: {}", without_place(&error.to_string())),
                error.line(),
                error.column(),
            )
        });
    }
    yaml_serde::from_slice(document).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
        not_read(
            &format!("the document is not YAML: {}", without_place(&error.to_string())),
            line,
            column,
        )
    })
}

/// The span says where, so the message needn't.
fn without_place(message: &str) -> &str {
    message.split(" at line ").next().unwrap_or(message)
}

fn check_shape(root: &Map<String, Value>, path: &str) -> Result<(), Vec<Diagnostic>> {
    let mut wrong = Vec::new();
    match root
        .get("openapi")
        .map(|version| version.as_str().map_or_else(|| version.to_string(), str::to_owned))
    {
        Some(version) if version.starts_with("3.0") || version.starts_with("3.1") => {}
        Some(version) => {
            let version: String = version.chars().take(20).collect();
            wrong.push((
                gaps::DOCUMENT_VERSION,
                format!("version `{}` is not 3.0 or 3.1", version.escape_default()),
            ));
        }
        None if root.contains_key("swagger") => {
            wrong.push((gaps::DOCUMENT_VERSION, "this is a Swagger 2.0 document".to_owned()));
        }
        None => wrong.push((
            gaps::DOCUMENT_SHAPE,
            "there is no `openapi` with the version".to_owned(),
        )),
    }
    match root.get("paths") {
        Some(Value::Object(_)) => {}
        Some(_) => wrong.push((gaps::DOCUMENT_SHAPE, "`paths` is not an object".to_owned())),
        // 3.1 has documents of webhooks or components alone.
        None if root.contains_key("webhooks") || root.contains_key("components") => {}
        None => wrong.push((gaps::DOCUMENT_SHAPE, "there are no `paths`".to_owned())),
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong
        .into_iter()
        .map(|(code, message)| diagnostic(code, &message, path, 0, 0))
        .collect())
}

/// The path of the first server's URL, with variables at their defaults.
fn base_path(root: &Map<String, Value>) -> String {
    let server = root.get("servers").and_then(|servers| servers.get(0));
    let Some(url) = server.and_then(|server| server.get("url")).and_then(Value::as_str) else {
        return String::new();
    };
    let mut url = url.to_owned();
    if let Some(variables) = server
        .and_then(|server| server.get("variables"))
        .and_then(Value::as_object)
    {
        for (name, variable) in variables.iter().take(32) {
            let default = variable.get("default").and_then(Value::as_str).unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), default);
        }
    }
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
        None => url.as_str(),
    };
    let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let usable = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'{');
    if usable { path.to_owned() } else { String::new() }
}

struct Reader<'a> {
    document: &'a Value,
    gaps: BTreeSet<Gap>,
}

impl<'a> Reader<'a> {
    fn gap(&mut self, id: &str, what: &str, reason: &str, blocks: bool) {
        self.gaps.insert(Gap {
            id: id.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            blocks,
        });
    }

    /// What a value stands for: itself, or what its `$ref` points to.
    fn resolve(&mut self, value: &'a Value, what: &str, blocks: bool) -> Option<&'a Value> {
        let mut value = value;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Some(value);
            };
            match schema::pointed(self.document, reference) {
                Some(next) => value = next,
                None => {
                    let shown: String = reference.chars().take(120).collect();
                    self.gap(
                        gaps::UNRESOLVED_REFERENCE,
                        what,
                        &format!("`{shown}` is not in this document"),
                        blocks,
                    );
                    return None;
                }
            }
        }
        self.gap(gaps::UNRESOLVED_REFERENCE, what, "references go in a circle", blocks);
        None
    }

    fn schemes(&mut self) -> BTreeMap<String, Scheme> {
        let declared = self
            .document
            .pointer("/components/securitySchemes")
            .and_then(Value::as_object);
        let mut schemes = BTreeMap::new();
        for (name, scheme) in declared.into_iter().flatten() {
            let what = format!("security scheme {name}");
            if let Some(scheme) = self.resolve(scheme, &what, false) {
                schemes.insert(name.clone(), read_scheme(scheme));
            }
        }
        schemes
    }

    fn operations(&mut self) -> Vec<Operation> {
        let paths = self.document.get("paths").and_then(Value::as_object);
        let mut operations = Vec::new();
        for (path, item) in paths.into_iter().flatten() {
            if !path.starts_with('/') {
                // `x-` extensions are allowed here and mean nothing to us.
                if !path.starts_with("x-") {
                    self.gap(gaps::UNSUPPORTED, path, "the path doesn't start with `/`", true);
                }
                continue;
            }
            let Some(item) = self.resolve(item, path, true) else {
                continue;
            };
            for method in METHODS {
                if let Some(operation) = item.get(method) {
                    operations.extend(self.operation(method, path, item, operation));
                }
            }
        }
        operations
    }

    fn operation(&mut self, method: &str, path: &str, item: &'a Value, operation: &'a Value) -> Option<Operation> {
        let method = method.to_ascii_uppercase();
        let route = format!("{method} {path}");
        if !operation.is_object() {
            self.gap(gaps::UNSUPPORTED, &route, "the operation is not an object", true);
            return None;
        }
        let parameters = self.parameters(&route, path, item, operation);
        let body = match operation.get("requestBody") {
            Some(body) => self.body(&route, body)?,
            None => None,
        };
        let responses = self.responses(&route, operation);
        let security = operation
            .get("security")
            .or_else(|| self.document.get("security"))
            .and_then(Value::as_array)
            .map(|alternatives| {
                let names = |needed: &Value| needed.as_object().map(|needed| needed.keys().cloned().collect());
                alternatives.iter().filter_map(names).collect()
            })
            .unwrap_or_default();
        Some(Operation {
            method,
            path: path.to_owned(),
            parameters,
            body,
            responses,
            security,
        })
    }

    /// The operation's own parameters go before those of its path; a part of the template that nobody declares is
    /// a string.
    fn parameters(&mut self, route: &str, path: &str, item: &'a Value, operation: &'a Value) -> Vec<Parameter> {
        let mut parameters: Vec<Parameter> = Vec::new();
        let own = operation.get("parameters").and_then(Value::as_array);
        let shared = item.get("parameters").and_then(Value::as_array);
        for value in own.into_iter().flatten().chain(shared.into_iter().flatten()) {
            let Some(value) = self.resolve(value, route, true) else {
                continue;
            };
            let Some(parameter) = self.parameter(route, value) else {
                continue;
            };
            let twice = |other: &Parameter| (other.place, &other.name) == (parameter.place, &parameter.name);
            if !parameters.iter().any(twice) {
                parameters.push(parameter);
            }
        }
        parameters
            .retain(|parameter| parameter.place != Place::Path || path.contains(&format!("{{{}}}", parameter.name)));
        for name in template_names(path) {
            if !parameters
                .iter()
                .any(|parameter| parameter.place == Place::Path && parameter.name == name)
            {
                self.gap(
                    gaps::UNSUPPORTED,
                    route,
                    &format!("`{{{name}}}` is not declared as a parameter"),
                    false,
                );
                parameters.push(Parameter {
                    name: name.to_owned(),
                    place: Place::Path,
                    required: true,
                    schema: serde_json::json!({"type": "string"}),
                    examples: Vec::new(),
                });
            }
        }
        parameters
    }

    fn parameter(&mut self, route: &str, value: &'a Value) -> Option<Parameter> {
        let name = value.get("name").and_then(Value::as_str)?.to_owned();
        let place = match value.get("in").and_then(Value::as_str) {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") => Place::Header,
            Some("cookie") => Place::Cookie,
            _ => {
                self.gap(
                    gaps::UNSUPPORTED,
                    route,
                    &format!("parameter `{name}` has no known `in`"),
                    false,
                );
                return None;
            }
        };
        // The specification says that these three are ignored here.
        let ignored = ["accept", "content-type", "authorization"];
        if place == Place::Header && ignored.contains(&name.to_ascii_lowercase().as_str()) {
            return None;
        }
        let first_content = value
            .get("content")
            .and_then(Value::as_object)
            .and_then(|content| content.values().next());
        let schema = value
            .get("schema")
            .or_else(|| first_content.and_then(|content| content.get("schema")));
        let schema = schema.cloned().unwrap_or(Value::Bool(true));
        self.scan(route, &schema);
        Some(Parameter {
            required: place == Place::Path || value.get("required") == Some(&Value::Bool(true)),
            examples: self.examples(value),
            name,
            place,
            schema,
        })
    }

    /// `None` when nobody knows what the operation takes, so that it can't be called.
    fn body(&mut self, route: &str, value: &'a Value) -> Option<Option<Body>> {
        let value = self.resolve(value, route, true)?;
        let required = value.get("required") == Some(&Value::Bool(true));
        let content = value.get("content").and_then(Value::as_object);
        let readable = content
            .into_iter()
            .flatten()
            .filter_map(|(media_type, spec)| Some((rank(media_type)?, media_type, spec)))
            .min_by_key(|(rank, ..)| *rank);
        let Some((_, media_type, spec)) = readable else {
            return Some(content.and_then(|content| self.opaque_body(route, content, required)));
        };
        let schema = spec.get("schema").cloned().unwrap_or(Value::Bool(true));
        self.scan(route, &schema);
        Some(Some(Body {
            required,
            media_type: media_type.replace("*/*", "application/json").replace("/*", "/json"),
            examples: self.examples(spec),
            schema,
        }))
    }

    /// A body of a media type that we can't make by its schema: some text, so that at least authentication and
    /// failures are tested.
    fn opaque_body(&mut self, route: &str, content: &Map<String, Value>, required: bool) -> Option<Body> {
        let media_type = content.keys().next()?;
        self.gap(
            gaps::UNSUPPORTED,
            route,
            &format!("bodies of `{media_type}` are not made by their schema"),
            false,
        );
        Some(Body {
            required,
            media_type: media_type.clone(),
            schema: serde_json::json!({"type": "string"}),
            examples: Vec::new(),
        })
    }

    fn examples(&mut self, value: &'a Value) -> Vec<Value> {
        let named = value.get("examples").and_then(Value::as_object);
        let mut examples: Vec<Value> = value.get("example").cloned().into_iter().collect();
        for example in named.into_iter().flatten().map(|(_, example)| example).take(8) {
            if let Some(example) = self.resolve(example, "examples", false) {
                examples.extend(example.get("value").cloned());
            }
        }
        examples
    }

    fn responses(&mut self, route: &str, operation: &'a Value) -> BTreeMap<String, ResponseSpec> {
        let mut responses = BTreeMap::new();
        let declared = operation.get("responses").and_then(Value::as_object);
        for (status, value) in declared.into_iter().flatten() {
            let Some(value) = self.resolve(value, route, false) else {
                responses.insert(status.to_uppercase(), ResponseSpec::default());
                continue;
            };
            let mut spec = ResponseSpec::default();
            for (media_type, content) in value.get("content").and_then(Value::as_object).into_iter().flatten() {
                let schema = content.get("schema").cloned();
                if let Some(schema) = &schema {
                    self.scan(route, schema);
                }
                spec.content.push((essence(media_type), schema));
            }
            for (name, header) in value.get("headers").and_then(Value::as_object).into_iter().flatten() {
                if let Some(header) = self.resolve(header, route, false)
                    && header.get("required") == Some(&Value::Bool(true))
                {
                    spec.required_headers.push(name.clone());
                }
            }
            let status = if status == "default" {
                status.clone()
            } else {
                status.to_uppercase()
            };
            responses.insert(status, spec);
        }
        responses
    }

    /// Names what a schema asks for and we don't hold answers against.
    fn scan(&mut self, route: &str, schema: &Value) {
        for problem in schema::problems(self.document, schema) {
            match problem {
                schema::Problem::Reference(reference) => {
                    let reason = format!("`{reference}` is not in this document");
                    self.gap(gaps::UNRESOLVED_REFERENCE, route, &reason, false);
                }
                schema::Problem::Keyword(keyword) => {
                    self.gap(gaps::UNSUPPORTED, route, &format!("keyword `{keyword}`"), false);
                }
                schema::Problem::Pattern => {
                    self.gap(
                        gaps::UNSUPPORTED,
                        route,
                        "a `pattern` that is not a regular language, or too large",
                        false,
                    );
                }
                schema::Problem::Depth => {
                    self.gap(gaps::UNSUPPORTED, route, "a schema that is nested too deeply", false);
                }
            }
        }
    }
}

fn read_scheme(scheme: &Value) -> Scheme {
    let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
    match (text("type"), text("scheme").to_ascii_lowercase().as_str(), text("in")) {
        ("http", "bearer", _) | ("oauth2" | "openIdConnect", _, _) => Scheme::Bearer,
        ("http", "basic", _) => Scheme::Basic,
        ("apiKey", _, "header") => Scheme::Key {
            place: Place::Header,
            name: text("name").to_owned(),
        },
        ("apiKey", _, "query") => Scheme::Key {
            place: Place::Query,
            name: text("name").to_owned(),
        },
        ("apiKey", _, "cookie") => Scheme::Key {
            place: Place::Cookie,
            name: text("name").to_owned(),
        },
        _ => Scheme::Other,
    }
}

/// The names between braces, in order.
pub(crate) fn template_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .map(|(name, _)| name)
}

/// Media type without parameters, in lower case.
pub(crate) fn essence(media_type: &str) -> String {
    media_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

pub(crate) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// Which media type we would rather send; `None` when we can't make bodies of it.
fn rank(media_type: &str) -> Option<u8> {
    match essence(media_type).as_str() {
        _ if is_json(media_type) => Some(0),
        "*/*" | "application/*" => Some(1),
        "application/x-www-form-urlencoded" => Some(2),
        "multipart/form-data" => Some(3),
        "text/plain" => Some(4),
        _ => None,
    }
}
