//! The `http` provider: one request, and its answer as status, headers and body.
//!
//! What is sent follows the library that the original uses; how it is sent is [`net::web`]. Start reading at [`call`].

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use net::web::{self, SYSTEM_CERTIFICATES, Verify, WebError, WebRequest, WebResponse};

use super::engine::{Engine, Lane};
use super::process::seconds;
use super::raise::Raise;
use super::value::{Dict, Value};
use super::{Level, json};

const REDIRECTS_MAX: usize = 30;
const RETRIES_MAX: i64 = 100;
const FORM: &str = "application/x-www-form-urlencoded";

/// Runs the activity.
///
/// # Errors
/// `ActivityFailed` without a connection or an answer in time; anything else that the original lets through.
pub(super) fn call(engine: &Engine<'_>, provider: &Value, lane: Lane) -> Result<Value, Raise> {
    let request = request(engine, provider)?;
    let retries = match provider.get("max_retries")? {
        Some(Value::Int(retries)) => (*retries).clamp(0, RETRIES_MAX),
        _ => 0,
    };
    // The raise is kept: each interruption is answered once.
    let stopped = std::cell::RefCell::new(None);
    let stop = || {
        let mut stopped = stopped.borrow_mut();
        if stopped.is_none() {
            *stopped = engine.stop(lane);
        }
        stopped.is_some()
    };
    let mut answer = web::send(&request, &stop);
    for _ in 0..retries {
        if matches!(answer, Err(WebError::Connect(_))) {
            answer = web::send(&request, &stop);
        }
    }
    let raise = stopped.borrow_mut().take();
    match answer {
        Ok(response) => value(engine, &response, lane),
        Err(WebError::Stopped) => Err(raise.unwrap_or_else(|| Raise::Interrupt("stopped".to_owned()))),
        Err(WebError::Connect(reason)) => Err(Raise::Failed(format!("failed to connect to {}: {reason}", request.url))),
        Err(WebError::Timeout) => Err(Raise::Failed("activity took too long to complete".to_owned())),
        Err(WebError::Url(url)) => Err(Raise::error("InvalidURL", url)),
        Err(WebError::Redirects(count)) => Err(Raise::error("TooManyRedirects", format!("exceeded {count} redirects"))),
        Err(WebError::Protocol(reason)) => Err(Raise::error("ChunkedEncodingError", reason)),
    }
}

/// Fetches a document: an experiment that is named by its URL.
pub(super) fn fetch(
    engine: &Engine<'_>,
    url: &str,
    headers: Vec<(String, String)>,
    verify: &Value,
) -> Result<WebResponse, Raise> {
    let request = WebRequest {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers,
        body: None,
        verify: trusted(engine, verify),
        connect_timeout: None,
        read_timeout: None,
        redirects_max: REDIRECTS_MAX,
    };
    let stop = || engine.stop(Lane::Foreground).is_some();
    web::send(&request, &stop).map_err(|error| Raise::error("ConnectionError", error.to_string()))
}

fn request(engine: &Engine<'_>, provider: &Value) -> Result<WebRequest, Raise> {
    let url = engine.substitute(provider.item("url")?)?;
    let method = match provider.get("method")? {
        None => "GET".to_owned(),
        Some(Value::Str(method)) => method.to_uppercase(),
        Some(other) => {
            return Err(Raise::error(
                "AttributeError",
                format!("'{}' object has no attribute 'upper'", other.type_name()),
            ));
        }
    };
    let headers = engine.substitute(provider.get("headers")?.unwrap_or(&Value::None))?;
    let timeout = engine.substitute(provider.get("timeout")?.unwrap_or(&Value::None))?;
    let verify = provider.get("verify_tls")?.unwrap_or(&Value::Bool(true));
    let arguments = engine.arguments(provider, Value::None)?;
    let (connect_timeout, read_timeout) = timeouts(&timeout)?;
    let as_json = headers.truthy() && headers.get("Content-Type")?.and_then(Value::as_str) == Some("application/json");
    let mut sent = sent_headers(&headers)?;
    let mut url = url
        .as_str()
        .ok_or_else(|| Raise::error("MissingSchema", format!("a URL is text, not a {}", url.type_name())))?
        .to_owned();
    let mut body = None;
    if method == "GET" {
        if let Some(query) = form(&arguments)? {
            let joint = match (url.contains('?'), url.ends_with(['?', '&'])) {
                (_, true) => "",
                (true, false) => "&",
                (false, false) => "?",
            };
            let (before, fragment) = url.split_once('#').unwrap_or((&url, ""));
            let fragment = if fragment.is_empty() {
                String::new()
            } else {
                format!("#{fragment}")
            };
            url = format!("{before}{joint}{query}{fragment}");
        }
    } else if as_json {
        if !arguments.is_none() {
            let text = json::line(&arguments)?;
            if text.contains("NaN") && has_nan(&arguments) {
                return Err(Raise::error("InvalidJSONError", "a number that JSON can't hold"));
            }
            body = Some(text.into_bytes());
        }
    } else if arguments.truthy() {
        let is_text = matches!(arguments, Value::Str(_) | Value::Bytes(_));
        body = match &arguments {
            Value::Bytes(bytes) => Some(bytes.clone()),
            other => form(other)?.map(String::into_bytes),
        };
        if !is_text && !has(&sent, "content-type") {
            sent.push(("Content-Type".to_owned(), FORM.to_owned()));
        }
    }
    Ok(WebRequest {
        method,
        url,
        headers: sent,
        body,
        verify: trusted(engine, verify),
        connect_timeout,
        read_timeout,
        redirects_max: REDIRECTS_MAX,
    })
}

fn has_nan(value: &Value) -> bool {
    match value {
        Value::Float(value) => !value.is_finite(),
        Value::List(items) | Value::Tuple(items) => items.iter().any(has_nan),
        Value::Dict(dict) => dict.0.iter().any(|(_, value)| has_nan(value)),
        _ => false,
    }
}

fn has(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name))
}

fn sent_headers(headers: &Value) -> Result<Vec<(String, String)>, Raise> {
    let mut sent = vec![
        (
            "User-Agent".to_owned(),
            concat!("proofmark/", env!("CARGO_PKG_VERSION")).to_owned(),
        ),
        ("Accept-Encoding".to_owned(), "gzip, deflate".to_owned()),
        ("Accept".to_owned(), "*/*".to_owned()),
        ("Connection".to_owned(), "close".to_owned()),
    ];
    if !headers.truthy() {
        return Ok(sent);
    }
    let dict = headers
        .as_dict()
        .ok_or_else(|| Raise::error("ValueError", "headers are a mapping"))?;
    for (name, value) in &dict.0 {
        let wrong = || Raise::error("InvalidHeader", format!("the header `{}` can't be sent", name.text()));
        let name = name.as_str().ok_or_else(wrong)?;
        if value.is_none() {
            sent.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
            continue;
        }
        let value = value.as_str().ok_or_else(wrong)?;
        if value.starts_with([' ', '\t']) || value.contains(['\r', '\n']) || name.contains([':', '\r', '\n']) {
            return Err(wrong());
        }
        sent.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        sent.push((name.to_owned(), value.to_owned()));
    }
    Ok(sent)
}

/// Until connected, and between two reads.
fn timeouts(value: &Value) -> Result<(Option<Duration>, Option<Duration>), Raise> {
    match value {
        Value::List(both) => match both.as_slice() {
            [connect, read] => Ok((seconds(Some(connect))?, seconds(Some(read))?)),
            _ => Err(Raise::error("ValueError", "a timeout is a number or a pair of numbers")),
        },
        Value::Str(_) => Err(Raise::error("ValueError", "a timeout is a number, not text")),
        one => {
            let one = seconds(Some(one))?;
            if one.is_some_and(|one| one.is_zero()) {
                return Err(Raise::error("ValueError", "a timeout of nothing"));
            }
            Ok((one, one))
        }
    }
}

fn trusted(engine: &Engine<'_>, verify: &Value) -> Verify {
    if !verify.truthy() {
        return Verify::Off;
    }
    let named = verify.as_str().map(str::to_owned);
    let named = named.or_else(|| engine.variable("REQUESTS_CA_BUNDLE"));
    let named = named.or_else(|| engine.variable("CURL_CA_BUNDLE"));
    let named = named.or_else(|| engine.variable("SSL_CERT_FILE"));
    Verify::Against(match named.filter(|path| !path.is_empty()) {
        Some(path) => vec![PathBuf::from(path)],
        None => SYSTEM_CERTIFICATES.iter().map(PathBuf::from).collect(),
    })
}

/// A query or a form: text as it is, a mapping as `name=value` pairs; nothing where there is nothing.
fn form(arguments: &Value) -> Result<Option<String>, Raise> {
    if !arguments.truthy() {
        return Ok(None);
    }
    let dict = match arguments {
        Value::Str(text) => return Ok(Some(text.clone())),
        Value::Dict(dict) => dict,
        other => {
            return Err(Raise::error(
                "ValueError",
                format!("arguments are a mapping or text, not a {}", other.type_name()),
            ));
        }
    };
    let mut pairs = Vec::new();
    for (key, value) in &dict.0 {
        let values = match value {
            Value::List(items) | Value::Tuple(items) => items.clone(),
            // A mapping gives its keys.
            Value::Dict(_) => value.iterate()?,
            one => vec![one.clone()],
        };
        for value in values.iter().filter(|value| !value.is_none()) {
            pairs.push(format!(
                "{}={}",
                web::form_encoded(&key.text()),
                web::form_encoded(&value.text())
            ));
        }
    }
    Ok(Some(pairs.join("&")).filter(|text| !text.is_empty()))
}

fn value(engine: &Engine<'_>, response: &WebResponse, lane: Lane) -> Result<Value, Raise> {
    let content_type = merged(response, "content-type");
    let body = if content_type.as_deref() == Some("application/json") {
        let text = json_text(&response.body);
        json::parse(&text)?
    } else {
        Value::Str(text(engine, &response.body, content_type.as_deref(), lane)?)
    };
    let mut headers = Dict::default();
    for (name, _) in &response.headers {
        let known = headers.0.iter().any(|(key, _)| key.text().eq_ignore_ascii_case(name));
        if !known && let Some(value) = merged(response, name) {
            headers.set(name, Value::Str(value));
        }
    }
    if response.status > 399 {
        engine.say(
            Level::Warning,
            &format!("this HTTP call was answered with {}", response.status),
        );
    }
    Ok(Value::dict([
        ("status", Value::Int(i64::from(response.status))),
        ("headers", Value::Dict(headers)),
        ("body", body),
    ]))
}

/// All values of a header, joined.
fn merged(response: &WebResponse, name: &str) -> Option<String> {
    let same = response
        .headers
        .iter()
        .filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let values: Vec<&str> = same.map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// JSON comes in UTF-8, -16 or -32 (RFC 4627 section 3).
fn json_text(body: &[u8]) -> String {
    let utf16 = |wide: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = body.chunks_exact(2).map(|pair| wide([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match body {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, ..] | [1..=255, 0, ..] => utf16(u16::from_le_bytes).trim_start_matches('\u{feff}').to_owned(),
        [0xfe, 0xff, ..] | [0, 1..=255, ..] => utf16(u16::from_be_bytes).trim_start_matches('\u{feff}').to_owned(),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}

/// A body as text: in the encoding its header names, Latin-1 for text that names none, guessed otherwise.
fn text(engine: &Engine<'_>, body: &[u8], content_type: Option<&str>, lane: Lane) -> Result<String, Raise> {
    if body.is_ascii() {
        return Ok(String::from_utf8_lossy(body).into_owned());
    }
    let content_type = content_type.unwrap_or_default();
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, value)| value.trim_matches(['"', '\'', ' ']).to_ascii_lowercase());
    let latin = || body.iter().map(|byte| char::from(*byte)).collect::<String>();
    let utf8 = || String::from_utf8_lossy(body).into_owned();
    match charset.as_deref() {
        Some("utf-8" | "utf8") => Ok(utf8()),
        Some("iso-8859-1" | "latin-1" | "latin1") => Ok(latin()),
        None if kind.contains("text") => Ok(latin()),
        None if kind.contains("application/json") => Ok(utf8()),
        other if engine.options.compatible => {
            let mut question = Dict::default();
            let encoded = base64::engine::general_purpose::STANDARD.encode(body);
            question.set("bytes", Value::Str(encoded));
            question.set("encoding", other.map_or(Value::None, Value::str));
            match engine.ask("apparent", question, lane).0 {
                Ok(Value::Str(text)) => Ok(text),
                Ok(_) => Ok(utf8()),
                Err(Raise::Error { class, .. }) if class == "NoPython" || class == "LookupError" => Ok(utf8()),
                Err(raise) => Err(raise),
            }
        }
        _ => Ok(utf8()),
    }
}
