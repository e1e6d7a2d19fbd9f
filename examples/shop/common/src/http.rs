//! Requests and answers, as handlers see them.

use serde_json::{Value, json};

/// A request that was read whole.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// Path as sent, percent-encoding included, without the query.
    pub path: String,
    /// What follows the first `?`.
    pub query: Option<String>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// The value of a header that must not come twice; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self
            .headers
            .iter()
            .filter(|(header, _)| header == name)
            .map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => value,
            _ => None,
        }
    }

    /// The token of `authorization: Bearer <token>` (RFC 6750), when it has the form of one.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let valid = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(plain);
        (scheme.eq_ignore_ascii_case("bearer") && valid).then_some(token)
    }

    /// The media type of the body, in lower case and without parameters.
    pub fn media_type(&self) -> Option<String> {
        let value = self.header("content-type")?;
        Some(value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
    }
}

const TOKEN_BYTES_MAX: usize = 256;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    /// More headers; values never hold what a request said.
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn json(status: u16, value: &Value) -> Self {
        Response::bytes(status, "application/json", value.to_string())
    }

    pub fn bytes(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Response {
            status,
            content_type,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// An error in the one shape all errors have. It never repeats what the request said.
    pub fn error(status: u16, message: &'static str) -> Self {
        Response::json(status, &json!({ "error": message }))
    }

    /// 401 with the challenge that RFC 9110 asks for.
    pub fn unauthenticated(message: &'static str) -> Self {
        Response::error(401, message).with("www-authenticate", "Bearer")
    }

    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> Request {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Request {
            headers,
            ..Request::default()
        }
    }

    #[test]
    fn reads_bearer_tokens() {
        for (value, expect) in [
            ("Bearer pmt.abc-_", Some("pmt.abc-_")),
            ("bearer x", Some("x")),
            ("Bearer ", None),
            ("Bearer a b", None),
            ("Bearer a\"b", None),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            assert_eq!(request(&[("authorization", value)]).bearer(), expect, "{value}");
        }
    }

    #[test]
    fn a_header_that_comes_twice_counts_as_absent() {
        assert_eq!(
            request(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]).bearer(),
            None
        );
    }
}
