//! HTTP/1.1 over TCP, with whole bodies in memory and a limit on everything.
//!
//! It doesn't follow redirects, keep cookies, stream, compress or switch protocols: what was sent and what came
//! back is exactly what the caller sees, which is what a test needs.
//!
//! Start reading at [`send`]; [`Client`] is the same with connections kept alive, [`Server`] the other side.

mod client;
mod message;
mod server;

use std::time::Duration;

pub use client::{Client, send, timed};
pub use server::{Handler, Peer, Server, ServerLimits};

pub(crate) use message::plain;
pub(crate) use server::RawHandler;

/// One request. Framing (`content-length`, `transfer-encoding`) follows from `body`, whatever `headers` say; `host`
/// is the address when `headers` have none.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Any token (RFC 9110 section 5.6.2), as it goes over the wire: `GET`.
    pub method: String,
    /// From the first `/` on, with the query, percent-encoded.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// A `GET` without headers or body.
    pub fn get(path: &str) -> Self {
        Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// A `POST` of JSON.
    pub fn post_json(path: &str, body: &str) -> Self {
        Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    /// The first value of a header, whose name is compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

/// One response. Header values that aren't UTF-8 have U+FFFD in place of what can't be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// A response with a content type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            body: body.into(),
        }
    }

    /// A JSON response.
    pub fn json(status: u16, body: &str) -> Self {
        Response::new(status, "application/json", body)
    }

    /// The first value of a header, whose name is compared without case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }
}

fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

// Headers and bodies may hold credentials, so `Debug` shows neither values nor bytes.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(
            f,
            "{} {path} ({} header(s), {} byte(s))",
            self.method,
            self.headers.len(),
            self.body.len()
        )
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({} header(s), {} byte(s))",
            self.status,
            self.headers.len(),
            self.body.len()
        )
    }
}

/// What a client puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of the connection to the last byte of the body, in milliseconds.
    pub timeout_ms: u64,
    /// Longest response body read, in bytes; a longer one is [`HttpError::BodyTooLarge`].
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            timeout_ms: 10_000,
            body_bytes_max: 4 << 20,
        }
    }
}

/// A result and how long it took, the time to connect included.
#[derive(Debug, Clone)]
pub struct Timed {
    pub response: Result<Response, HttpError>,
    pub elapsed: Duration,
}

/// No response came. Never holds a header or a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request itself can't be put on the wire; nothing was sent.
    #[error("can't form the request: {0}")]
    Request(String),
    /// Nobody listens, or the connection was refused; nothing was sent.
    #[error("can't connect: {0}")]
    Connect(String),
    #[error("no answer within {after_ms} ms")]
    Timeout { after_ms: u64 },
    /// The connection ended before the response did.
    #[error("connection closed before the answer was complete: {0}")]
    Closed(String),
    /// What came back is not HTTP/1.1, or has more or longer headers than we read.
    #[error("answer is not acceptable HTTP: {0}")]
    Protocol(String),
    #[error("answer's body is longer than {bytes_max} bytes")]
    BodyTooLarge { bytes_max: usize },
}
