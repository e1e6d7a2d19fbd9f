//! The routes of Toxiproxy's API, and its answers: functions over an HTTP request.
//!
//! Statuses, bodies and content types are those of Toxiproxy 2.12 (gorilla/mux 1.8 over Go's `net/http`), an error's
//! `text/plain` and trailing newline included.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Instant;

use net::http::{Request, Response};
use serde::{Serialize, Serializer};

use super::body::{self, NewToxic, ProxyFields};
use super::toxics::{TTL, Toxic};
use super::{Api, Refusal, Shown};

/// The version of the API that is spoken. Clients choose by it what they may ask for.
const VERSION: &str = "2.12.0";

pub(super) fn answer(api: &Api, request: &Request, now: Instant) -> Response {
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.path.as_str(), None),
    };
    let Some(path) = decoded(path) else {
        return Response::new(400, "text/plain; charset=utf-8", "400 Bad Request");
    };
    let clean = cleaned(&path);
    if clean != path {
        return moved(&clean, query);
    }
    let segments: Vec<&str> = clean.split('/').skip(1).collect();
    let Some(route) = Route::of(&segments) else {
        return failed(404, "404 page not found");
    };
    let Some(call) = route.call(&request.method) else {
        return empty(405);
    };
    if request
        .header("user-agent")
        .is_some_and(|agent| agent.starts_with("Mozilla/"))
    {
        return failed(403, "User agent not allowed");
    }
    call(api, &route, &request.body, now).unwrap_or_else(|refusal| refused(&refusal))
}

/// An error in Toxiproxy's form.
pub(super) fn refused(refusal: &Refusal) -> Response {
    failed(refusal.status(), &json(&ErrorOut::from(refusal)))
}

/// What a path names.
#[derive(Clone, Copy)]
enum Route<'a> {
    Reset,
    Populate,
    Version,
    Metrics,
    Proxies,
    Proxy(&'a str),
    Toxics(&'a str),
    Toxic(&'a str, &'a str),
}

type Call = fn(&Api, &Route<'_>, &[u8], Instant) -> Result<Response, Refusal>;

impl<'a> Route<'a> {
    fn of(segments: &[&'a str]) -> Option<Route<'a>> {
        Some(match *segments {
            ["reset"] => Route::Reset,
            ["populate"] => Route::Populate,
            ["version"] => Route::Version,
            ["metrics"] => Route::Metrics,
            ["proxies"] => Route::Proxies,
            ["proxies", proxy] if !proxy.is_empty() => Route::Proxy(proxy),
            ["proxies", proxy, "toxics"] => Route::Toxics(proxy),
            ["proxies", proxy, "toxics", toxic] if !toxic.is_empty() => Route::Toxic(proxy, toxic),
            _ => return None,
        })
    }

    fn call(&self, method: &str) -> Option<Call> {
        Some(match (self, method) {
            (Route::Reset, "POST") => |api, _, _, now| api.reset(now).map(|()| empty(204)),
            (Route::Populate, "POST") => |api, _, body, _| Ok(populate(api, body)),
            (Route::Version, "GET") => |_, _, _, _| Ok(version()),
            (Route::Metrics, _) => |api, _, _, now| Ok(metrics(&api.list(now))),
            (Route::Proxies, "GET") => |api, _, _, now| Ok(proxies(api.list(now))),
            (Route::Proxies, "POST") => |api, _, body, _| Ok(proxy(201, api.create(ProxyFields::read(body)?)?)),
            (Route::Proxy(_), "GET") => |api, route, _, now| Ok(proxy(200, api.show(route.proxy(), now)?)),
            (Route::Proxy(_), "POST" | "PATCH") => |api, route, body, now| {
                api.show(route.proxy(), now)?;
                let fields = ProxyFields::read(body)?;
                Ok(proxy(200, api.update(route.proxy(), &fields, now)?))
            },
            (Route::Proxy(_), "DELETE") => |api, route, _, _| api.remove(route.proxy()).map(|()| empty(204)),
            (Route::Toxics(_), "GET") => |api, route, _, now| Ok(toxics(api.show(route.proxy(), now)?)),
            (Route::Toxics(_), "POST") => |api, route, body, now| {
                api.show(route.proxy(), now)?;
                let added = api.add_toxic(route.proxy(), NewToxic::read(body)?, now)?;
                Ok(toxic(&added))
            },
            (Route::Toxic(..), "GET") => |api, route, _, now| {
                let shown = api.show(route.proxy(), now)?;
                let found = shown.toxics.iter().find(|toxic| toxic.name == route.toxic());
                found.map(toxic).ok_or(Refusal::ToxicNotFound)
            },
            (Route::Toxic(..), "POST" | "PATCH") => |api, route, body, now| {
                let changed = api.update_toxic(route.proxy(), route.toxic(), body, now)?;
                Ok(toxic(&changed))
            },
            (Route::Toxic(..), "DELETE") => |api, route, _, now| {
                api.remove_toxic(route.proxy(), route.toxic(), now)?;
                Ok(empty(204))
            },
            _ => return None,
        })
    }

    fn proxy(&self) -> &'a str {
        match *self {
            Route::Proxy(proxy) | Route::Toxics(proxy) | Route::Toxic(proxy, _) => proxy,
            _ => "",
        }
    }

    fn toxic(&self) -> &'a str {
        match *self {
            Route::Toxic(_, toxic) => toxic,
            _ => "",
        }
    }
}

fn populate(api: &Api, body: &[u8]) -> Response {
    let (shown, refusal) = match body::proxies(body) {
        Ok(all) => api.replace(all),
        Err(refusal) => (Vec::new(), Some(refusal)),
    };
    let status = refusal.as_ref().map_or(201, Refusal::status);
    let proxies: Vec<ProxyOut> = shown.into_iter().map(ProxyOut::from).collect();
    let out = PopulateOut {
        error: refusal.as_ref().map(ErrorOut::from),
        // None is null there, not an empty list.
        proxies: Some(proxies).filter(|proxies| !proxies.is_empty()),
    };
    Response::json(status, &json(&out))
}

fn version() -> Response {
    let body = format!("{{\"version\": \"{VERSION}\"}}\n");
    Response::new(200, "application/json;charset=utf-8", body)
}

fn proxies(all: Vec<Shown>) -> Response {
    let out: BTreeMap<String, ProxyOut> = all
        .into_iter()
        .map(|shown| (shown.name.clone(), ProxyOut::from(shown)))
        .collect();
    Response::json(200, &json(&out))
}

fn proxy(status: u16, shown: Shown) -> Response {
    Response::json(status, &json(&ProxyOut::from(shown)))
}

fn toxics(shown: Shown) -> Response {
    let out: Vec<ToxicOut> = shown.toxics.iter().map(ToxicOut::from).collect();
    Response::json(200, &json(&out))
}

fn toxic(toxic: &Toxic) -> Response {
    Response::json(200, &json(&ToxicOut::from(toxic)))
}

/// The counter has Toxiproxy's name and labels; connections are ours.
fn metrics(all: &[Shown]) -> Response {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, of: fn(&Shown) -> Vec<(&'static str, u64)>| {
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for shown in all {
            for (direction, value) in of(shown) {
                let _ = writeln!(
                    text,
                    "{name}{{{direction}listener=\"{}\",proxy=\"{}\",upstream=\"{}\"}} {value}",
                    label(&shown.listen),
                    label(&shown.name),
                    label(&shown.upstream)
                );
            }
        }
    };
    family("toxiproxy_proxy_sent_bytes_total", "counter", |shown| {
        vec![
            ("direction=\"upstream\",", shown.passed.bytes_up),
            ("direction=\"downstream\",", shown.passed.bytes_down),
        ]
    });
    family("proofmark_proxy_connections_total", "counter", |shown| {
        vec![("", shown.passed.connections_total)]
    });
    family("proofmark_proxy_connections_open", "gauge", |shown| {
        vec![("", shown.passed.connections_open)]
    });
    Response::new(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn json<T: Serialize>(out: &T) -> String {
    // Maps with text keys, numbers and texts can always be written.
    serde_json::to_string(out).unwrap_or_default()
}

fn empty(status: u16) -> Response {
    Response {
        status,
        headers: Vec::new(),
        body: Vec::new(),
    }
}

/// As Go's `http.Error`.
fn failed(status: u16, text: &str) -> Response {
    let mut response = Response::new(status, "text/plain; charset=utf-8", format!("{text}\n"));
    let header = ("x-content-type-options".to_owned(), "nosniff".to_owned());
    response.headers.push(header);
    response
}

fn moved(path: &str, query: Option<&str>) -> Response {
    let mut location = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            location.push(char::from(byte));
        } else {
            let _ = write!(location, "%{byte:02X}");
        }
    }
    if let Some(query) = query {
        let _ = write!(location, "?{query}");
    }
    let mut response = empty(301);
    response.headers.push(("location".to_owned(), location));
    response
}

/// With percent escapes resolved; `None` when one of them is none.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    Some(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// Without empty, `.` and `..` segments; a slash at the end stays.
fn cleaned(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let slash = if path.ends_with('/') && !kept.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{slash}", kept.join("/"))
}

#[derive(Serialize)]
struct ErrorOut {
    error: String,
    status: u16,
}

impl From<&Refusal> for ErrorOut {
    fn from(refusal: &Refusal) -> Self {
        ErrorOut {
            error: refusal.to_string(),
            status: refusal.status(),
        }
    }
}

#[derive(Serialize)]
struct PopulateOut {
    #[serde(flatten)]
    error: Option<ErrorOut>,
    proxies: Option<Vec<ProxyOut>>,
}

#[derive(Serialize)]
struct ProxyOut {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    toxics: Vec<ToxicOut>,
}

impl From<Shown> for ProxyOut {
    fn from(shown: Shown) -> Self {
        ProxyOut {
            name: shown.name,
            listen: shown.listen,
            upstream: shown.upstream,
            enabled: shown.enabled,
            toxics: shown.toxics.iter().map(ToxicOut::from).collect(),
        }
    }
}

#[derive(Serialize)]
struct ToxicOut {
    #[serde(serialize_with = "in_order")]
    attributes: Vec<(&'static str, i64)>,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    stream: String,
    #[serde(serialize_with = "short")]
    toxicity: f32,
}

impl From<&Toxic> for ToxicOut {
    fn from(toxic: &Toxic) -> Self {
        let names = toxic.kind.attributes.iter().map(|attribute| attribute.name);
        let values = names.zip(toxic.values.iter().copied());
        ToxicOut {
            attributes: values.chain(toxic.ttl_ms.map(|ttl| (TTL, ttl))).collect(),
            name: toxic.name.clone(),
            kind: toxic.kind.name,
            stream: toxic.stream.clone(),
            toxicity: toxic.toxicity,
        }
    }
}

/// A client that passes attributes on shows them in this order.
fn in_order<S: Serializer>(attributes: &[(&'static str, i64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(attributes.iter().copied())
}

/// Go writes a whole number without a point.
fn short<S: Serializer>(number: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    const WHOLE_MAX: f32 = 16_777_216.0;
    if number.fract() == 0.0 && number.abs() <= WHOLE_MAX {
        serializer.serialize_i64(*number as i64)
    } else {
        serializer.serialize_f32(*number)
    }
}
