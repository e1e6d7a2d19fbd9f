//! What is sent: an operation's input in pieces, and how the pieces become bytes.
//!
//! Start reading at [`Input`].

use net::http::Request;
use serde_json::Value;

use crate::openapi::{Operation, Place, Scheme, essence, is_json};

/// The input of one operation, before it is written down.
#[derive(Debug, Clone, Default)]
pub(crate) struct Input {
    /// Parameters by place and name; one name may come several times.
    pub parameters: Vec<(Place, String, String)>,
    pub body: Payload,
}

/// The body of one request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Payload {
    #[default]
    None,
    /// Written as its media type asks.
    Value { media_type: String, value: Value },
    /// Written as it is.
    Raw { media_type: String, bytes: Vec<u8> },
}

/// What the requester shows to be let in.
#[derive(Clone, Default)]
pub(crate) struct Credential {
    pub headers: Vec<(String, String)>,
    /// Further parameters that hold it: query and cookies.
    pub parameters: Vec<(Place, String, String)>,
}

impl Credential {
    /// Something of the right form that nobody has issued.
    pub fn invalid(schemes: &[&Scheme], marker: &str) -> Self {
        let mut credential = Credential::default();
        for scheme in schemes {
            match scheme {
                Scheme::Bearer | Scheme::Other => {
                    credential
                        .headers
                        .push(("authorization".to_owned(), format!("Bearer invalid-{marker}")));
                }
                // `proofmark:invalid` in Base64.
                Scheme::Basic => credential
                    .headers
                    .push(("authorization".to_owned(), "Basic cHJvb2ZtYXJrOmludmFsaWQ=".to_owned())),
                Scheme::Key {
                    place: Place::Header,
                    name,
                } => {
                    credential.headers.push((name.clone(), format!("invalid-{marker}")));
                }
                Scheme::Key { place, name } => {
                    credential
                        .parameters
                        .push((*place, name.clone(), format!("invalid-{marker}")));
                }
            }
        }
        credential
    }
}

/// Writes a request down.
pub(crate) fn request(
    base: &str,
    operation: &Operation,
    method: &str,
    input: &Input,
    credential: &Credential,
    extra: &[(String, String)],
) -> Request {
    let all = || input.parameters.iter().chain(&credential.parameters);
    let mut path = operation.path.clone();
    for (_, name, value) in all().filter(|(place, ..)| *place == Place::Path) {
        path = path.replace(&format!("{{{name}}}"), &encoded(value));
    }
    let mut path = format!("{base}{}", tidy(&path));
    let query: Vec<String> = all()
        .filter(|(place, ..)| *place == Place::Query)
        .map(|(_, name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    if !query.is_empty() {
        path.push('?');
        path.push_str(&query.join("&"));
    }

    let mut headers: Vec<(String, String)> = Vec::new();
    for (_, name, value) in all().filter(|(place, ..)| *place == Place::Header) {
        headers.push((name.clone(), value.clone()));
    }
    let cookies: Vec<String> = all()
        .filter(|(place, ..)| *place == Place::Cookie)
        .map(|(_, name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    if !cookies.is_empty() {
        headers.push(("cookie".to_owned(), cookies.join("; ")));
    }
    headers.extend(credential.headers.iter().chain(extra).cloned());
    headers.push(("accept".to_owned(), "*/*".to_owned()));
    let (media_type, body) = payload(&input.body);
    headers.extend(media_type.map(|media_type| ("content-type".to_owned(), media_type)));
    Request {
        method: method.to_owned(),
        path,
        headers,
        body,
    }
}

/// The literal parts of a template may hold what a request line can't.
fn tidy(path: &str) -> String {
    let fine = |byte: u8| byte.is_ascii_graphic() && !b"{}<>\"\\^`|#?".contains(&byte);
    path.bytes()
        .map(|byte| {
            if fine(byte) {
                (byte as char).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Percent-encoded but for what never has a meaning of its own (RFC 3986 section 2.3).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn payload(payload: &Payload) -> (Option<String>, Vec<u8>) {
    match payload {
        Payload::None => (None, Vec::new()),
        Payload::Raw { media_type, bytes } => (Some(media_type.clone()), bytes.clone()),
        Payload::Value { media_type, value } if is_json(media_type) => {
            (Some(media_type.clone()), value.to_string().into_bytes())
        }
        Payload::Value { media_type, value } => match essence(media_type).as_str() {
            "application/x-www-form-urlencoded" => {
                let fields = fields(value);
                let pairs: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
                    .collect();
                (Some(media_type.clone()), pairs.join("&").into_bytes())
            }
            "multipart/form-data" => {
                let boundary = "proofmark-boundary-7d1f";
                let mut body = String::new();
                for (name, value) in fields(value) {
                    let name = name.replace(['"', '\r', '\n'], "_");
                    body.push_str(&format!(
                        "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                    ));
                }
                body.push_str(&format!("--{boundary}--\r\n"));
                (
                    Some(format!("multipart/form-data; boundary={boundary}")),
                    body.into_bytes(),
                )
            }
            _ => (Some(media_type.clone()), text(value).into_bytes()),
        },
    }
}

fn fields(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), text(value))).collect()
}

/// A value as a parameter writes it: strings bare, the rest as JSON.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A parameter's value as it goes into a request: arrays are repeated in a query and joined by commas elsewhere.
pub(crate) fn texts(place: Place, value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) if place == Place::Query => items.iter().map(text).collect(),
        Value::Array(items) => vec![items.iter().map(text).collect::<Vec<_>>().join(",")],
        other => vec![text(other)],
    }
}
