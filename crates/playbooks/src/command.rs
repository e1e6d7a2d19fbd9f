//! A step's command made ready: variables filled in, target found, everything checked that can be checked before
//! anything is done.
//!
//! Start reading at [`prepare`].

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use net::http::Request;
use serde_json::Value;

use crate::actuators::HttpCall;
use crate::check::{RUNS, is_here};
use crate::journal::format::Values;
use crate::playbook::{Command, Kind, Model, Party};
use crate::run::{Content, StepScope, VALUE_BYTES_MAX, plain_name};
use crate::variables::{expand, shell};

/// Where `http` goes when nothing else is said (CACAO 2.0 section 7.8).
const PORT_DEFAULT: u16 = 80;

/// What is to be done.
pub(crate) enum Call {
    /// Somebody does what this says.
    Manual(String),
    Shell {
        command: String,
        parameters: BTreeMap<String, String>,
        /// The words behind `proofmark`, when the command is one of ours and nothing else.
        words: Option<Vec<String>>,
    },
    Http(HttpCall),
}

/// Reads a secret's file.
type ReadSecret<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// # Errors
/// A sentence that says why the command can't be run; nothing was done.
pub(crate) fn prepare(
    command: &Command,
    party: Option<&str>,
    model: &Model,
    step: &Kind,
    scope: &StepScope<'_>,
    secret: ReadSecret<'_>,
) -> Result<Call, String> {
    let text = || command.text().ok_or("the command has no text".to_owned());
    match command.kind.as_str() {
        "manual" => expand(&text()?, |name| shown(scope, name)).map(Call::Manual),
        "bash" => {
            let agent = match step {
                Kind::Action { agent, .. } => model.agents.get(agent),
                _ => None,
            };
            if !agent.is_some_and(is_here) {
                return Err("bash commands run on this machine only, and the step's agent is another one".to_owned());
            }
            let text = text()?;
            let (command, names) = shell(&text);
            let parameters = names
                .into_iter()
                .map(|(parameter, name)| Ok((parameter, shown(scope, name)?)))
                .collect::<Result<_, String>>()?;
            let words = words(&text, scope)?;
            Ok(Call::Shell {
                command,
                parameters,
                words,
            })
        }
        "http-api" => {
            let found = party.and_then(|id| model.targets.get(id).or_else(|| model.agents.get(id)));
            let target = found.ok_or("the request has no target")?;
            http(command, target, model, scope, secret).map(Call::Http)
        }
        other => Err(format!(
            "commands of type `{other}` are not run here, only {}",
            RUNS.map(|kind| format!("`{kind}`")).join(", ")
        )),
    }
}

/// A value as a person or a shell may see it: a secret is its file.
fn shown(scope: &StepScope<'_>, name: &str) -> Result<String, String> {
    match scope.content(name)? {
        Content::Plain(Some(value)) if value.contains('\0') => Err(format!("the value of `{name}` has a zero byte")),
        Content::Plain(Some(value)) => Ok(value.clone()),
        Content::Plain(None) => Err(format!("the variable `{name}` has no value")),
        Content::Secret(file) => Ok(file.display().to_string()),
    }
}

/// A value as a request carries it: a secret is itself.
fn sent(scope: &StepScope<'_>, name: &str, secret: ReadSecret<'_>) -> Result<String, String> {
    match scope.content(name)? {
        Content::Secret(file) => secret(file),
        Content::Plain(_) => shown(scope, name),
    }
}

/// `proofmark WORD…` and nothing that only a shell understands: the words, each reference part of one word.
fn words(text: &str, scope: &StepScope<'_>) -> Result<Option<Vec<String>>, String> {
    const SHELL: &str = "|&;<>()$`\"'\\*?[]#~!{}\n";
    let Some(rest) = text.trim().strip_prefix("proofmark ") else {
        return Ok(None);
    };
    if rest.contains(|c| SHELL.contains(c)) {
        return Ok(None);
    }
    let words = rest
        .split_whitespace()
        .map(|word| expand(word, |name| shown(scope, name)));
    words.collect::<Result<_, String>>().map(Some)
}

fn http(
    command: &Command,
    target: &Party,
    model: &Model,
    scope: &StepScope<'_>,
    secret: ReadSecret<'_>,
) -> Result<HttpCall, String> {
    let line = command.text().ok_or("the request has no start line")?;
    let mut parts = line.split_whitespace();
    let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0") | None, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(format!("`{line}` is no start line: `GET /path HTTP/1.1` is the form"));
    };
    let path = expand(path, |name| {
        if matches!(scope.content(name)?, Content::Secret(_)) {
            return Err(format!("`{name}` is secret, and has no place in a path"));
        }
        shown(scope, name).map(|value| encoded(&value))
    })?;
    if !path.starts_with('/') {
        return Err(format!("the path `{path}` doesn't begin with `/`"));
    }
    let mut headers = Vec::new();
    for (name, values) in &command.headers {
        for value in values {
            let value = expand(value, |name| sent(scope, name, secret))?;
            if value.contains(|c: char| c.is_control()) {
                return Err(format!("the header `{name}` would have a control character"));
            }
            headers.push((name.to_lowercase(), value));
        }
    }
    if let Some(info) = &target.authentication_info {
        let info = model
            .authentication
            .get(info)
            .ok_or("the target's authentication is not defined")?;
        headers.push(authorization(info, scope, secret)?);
    }
    let json = headers
        .iter()
        .any(|(name, value)| name == "content-type" && value.contains("json"));
    let body = command.body().ok_or("the content is not base64 of a UTF-8 text")?;
    let body = expand(&body, |name| {
        let value = sent(scope, name, secret)?;
        Ok::<_, String>(if json { escaped(&value) } else { value })
    })?;
    let (host, port) = address(target)?;
    Ok(HttpCall {
        host,
        port,
        request: Request {
            method: method.to_owned(),
            path,
            headers,
            body: body.into_bytes(),
        },
        timeout: Duration::ZERO,
    })
}

/// The inside of a JSON string.
fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Percent-encodes what would end a path or begin a query.
fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/:@,".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The `authorization` header that a target's authentication asks for (CACAO 2.0 section 6).
fn authorization(info: &Value, scope: &StepScope<'_>, secret: ReadSecret<'_>) -> Result<(String, String), String> {
    let field = |name: &str| {
        expand(info[name].as_str().unwrap_or_default(), |name| {
            sent(scope, name, secret)
        })
    };
    if info["kms"].as_bool() == Some(true) {
        return Err("the target's authentication is in a key management service, and none is asked here".to_owned());
    }
    let value = match info["type"].as_str().unwrap_or_default() {
        "http-basic" => format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", field("user_id")?, field("password")?))
        ),
        "user-auth" => format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", field("username")?, field("password")?))
        ),
        "oauth2" => {
            let name = field("oauth_header")?.trim_end_matches(':').to_lowercase();
            let token = field("token")?;
            let value = if name == "authorization" && !token.contains(' ') {
                format!("Bearer {token}")
            } else {
                token
            };
            return plain_header(name, value);
        }
        other => return Err(format!("authentication of type `{other}` is not known here")),
    };
    plain_header("authorization".to_owned(), value)
}

fn plain_header(name: String, value: String) -> Result<(String, String), String> {
    if name.is_empty() || value.contains(|c: char| c.is_control()) {
        return Err("the target's authentication can't be a header".to_owned());
    }
    Ok((name, value))
}

/// Where a target is: address before name before URL.
fn address(target: &Party) -> Result<(String, u16), String> {
    let first = |kind: &str| target.address.get(kind)?.iter().find_map(Value::as_str);
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("`{text}` is no port"));
    let given = target.port.as_deref().map(port).transpose()?;
    if let Some(host) = first("ipv4").or_else(|| first("ipv6")).or_else(|| first("dname")) {
        return Ok((host.to_owned(), given.unwrap_or(PORT_DEFAULT)));
    }
    let url = first("url").ok_or_else(|| format!("the target `{}` has no address", target.name))?;
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some((scheme, _)) => return Err(format!("`{scheme}` is not spoken here, only `http`")),
        None => url,
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, text)) if !host.ends_with(':') => Ok((host.to_owned(), port(text)?)),
        _ => Ok((authority.to_owned(), given.unwrap_or(PORT_DEFAULT))),
    }
}

/// The variables that a step sets.
pub(crate) fn out_names(step: &Kind) -> Vec<&str> {
    match step {
        Kind::Action { out_args, .. } | Kind::PlaybookAction { out_args, .. } => {
            out_args.iter().map(|name| plain_name(name)).collect()
        }
        _ => Vec::new(),
    }
}

/// What a command's output sets: a line `__name__=value` for each variable, or a JSON object's members of their names;
/// the whole output where there is but one variable and neither is there.
pub(crate) fn out_values(kind: &str, wanted: &[&str], printed: &str) -> Values {
    let mut values = Values::new();
    let object: Option<Value> = (kind == "http-api")
        .then(|| serde_json::from_str(printed).ok())
        .flatten();
    for name in wanted {
        let bare = name.trim_matches('_');
        let member = object
            .as_ref()
            .and_then(|object| object.get(name).or_else(|| object.get(bare)));
        let line = || {
            let lines = printed.lines().rev();
            let mut found = lines.filter_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='));
            found.next().map(str::to_owned)
        };
        let value = match member {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Null) => continue,
            Some(other) => Some(other.to_string()),
            None => line(),
        };
        let value = value.or_else(|| (wanted.len() == 1).then(|| printed.trim_end_matches(['\r', '\n']).to_owned()));
        if let Some(value) = value {
            values.insert((*name).to_owned(), Some(cut(value)));
        }
    }
    values
}

fn cut(mut value: String) -> String {
    if value.len() > VALUE_BYTES_MAX {
        let end = (0..=VALUE_BYTES_MAX).rev().find(|at| value.is_char_boundary(*at));
        value.truncate(end.unwrap_or(0));
    }
    value
}
