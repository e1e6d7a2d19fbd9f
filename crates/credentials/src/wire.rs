//! The broker's protocol: a subset of Vault's HTTP API (<https://developer.hashicorp.com/vault/api-docs/auth/token>),
//! as functions over HTTP-shaped requests. Whoever has sockets serves it; there is no I/O here.
//!
//! ```text
//! POST /v1/auth/token/create       identity token   {"policies":["ledger"],"ttl":"300s"}
//! POST /v1/auth/token/lookup       identity token   {"token":"…"}
//! POST /v1/auth/token/revoke-self  leased token
//! GET  /v1/sys/health              no token
//! ```
//!
//! As in Vault: `PUT` means `POST`, a lifetime over the role's maximum is cut to it, and errors are
//! `{"errors":["…"]}`. Unlike Vault: a field we don't know is refused, because a limit the caller asked for must not be
//! dropped in silence. No answer quotes anything of the request: it may be a token.

use std::fmt;

use evidence::Now;
use serde::{Deserialize, Serialize};

use crate::broker::{Broker, BrokerError};

/// Longest request body that is read.
pub const BODY_BYTES_MAX: usize = 16 << 10;
/// Longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 256;

/// A request, as far as the broker is concerned. `Debug` shows method and path only.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path, with or without a query (which is ignored).
    pub path: &'a str,
    /// Header `X-Vault-Token`.
    pub token: Option<&'a str>,
    pub body: &'a [u8],
}

/// An answer: status and JSON (`application/json`), empty with status 204. `Debug` shows the body's length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Route::of(self.path).map_or("another", Route::path);
        f.debug_struct("Request")
            .field("path", &path)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}

impl Broker {
    /// Answers one request. Never fails: what is wrong with it is an answer too.
    pub fn handle(&self, request: &Request<'_>, now: Now) -> Response {
        self.answer(request, now).unwrap_or_else(Refusal::response)
    }

    fn answer(&self, request: &Request<'_>, now: Now) -> Result<Response, Refusal> {
        let route = Route::of(request.path).ok_or(Refusal::Route)?;
        let method = if request.method == "PUT" {
            "POST"
        } else {
            request.method
        };
        if method != route.method() {
            return Err(Refusal::Method);
        }
        if request.body.len() > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        if route == Route::Health {
            return Ok(self.health());
        }
        let token = request
            .token
            .filter(|token| !token.is_empty())
            .ok_or(Refusal::NoToken)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::Denied);
        }
        match route {
            Route::Create => self.answer_create(token, request.body, now),
            Route::Lookup => self.answer_lookup(token, request.body, now),
            Route::RevokeSelf if self.give_back(token, now) => Ok(Response {
                status: 204,
                body: Vec::new(),
            }),
            Route::RevokeSelf | Route::Health => Err(Refusal::Denied),
        }
    }

    fn health(&self) -> Response {
        let sealed = self.is_sealed();
        Response::json(
            if sealed { 503 } else { 200 },
            &Health {
                initialized: true,
                sealed,
                standby: false,
            },
        )
    }

    fn answer_create(&self, token: &str, body: &[u8], now: Now) -> Result<Response, Refusal> {
        // Whose identity it is comes first: a stranger learns nothing about the form of a body.
        let role = self.role_of(token).ok_or(Refusal::Denied)?;
        let asked: CreateRequest = parse(body)?;
        let ttl_seconds = asked.ttl.as_ref().map(Ttl::seconds).transpose()?;
        let (secret, lease) = self
            .create(&role, &asked.policies, ttl_seconds, now)
            .map_err(Refusal::from)?;
        Ok(Response::json(
            200,
            &CreateResponse {
                auth: Auth {
                    client_token: secret.expose(),
                    accessor: &lease.accessor.0,
                    policies: &lease.policies,
                    lease_duration: lease.ttl_seconds(now.boottime),
                    renewable: false,
                },
            },
        ))
    }

    fn answer_lookup(&self, token: &str, body: &[u8], now: Now) -> Result<Response, Refusal> {
        let role = self.role_of(token).ok_or(Refusal::Denied)?;
        if !self.may_lookup(&role) {
            return Err(Refusal::Denied);
        }
        let asked: LookupRequest = parse(body)?;
        let (lease, ttl) = self.live(asked.token, now).ok_or(Refusal::BadToken)?;
        Ok(Response::json(
            200,
            &LookupResponse {
                data: Looked {
                    accessor: &lease.accessor.0,
                    policies: &lease.policies,
                    display_name: &lease.role,
                    ttl,
                },
            },
        ))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Route {
    Create,
    Lookup,
    RevokeSelf,
    Health,
}

impl Route {
    const ALL: [Route; 4] = [Route::Create, Route::Lookup, Route::RevokeSelf, Route::Health];

    fn of(path: &str) -> Option<Route> {
        let path = path.split('?').next().unwrap_or_default();
        Route::ALL.into_iter().find(|route| route.path() == path)
    }

    fn path(self) -> &'static str {
        match self {
            Route::Create => "/v1/auth/token/create",
            Route::Lookup => "/v1/auth/token/lookup",
            Route::RevokeSelf => "/v1/auth/token/revoke-self",
            Route::Health => "/v1/sys/health",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Route::Health => "GET",
            Route::Create | Route::Lookup | Route::RevokeSelf => "POST",
        }
    }
}

/// Why a request is refused. Its texts are fixed: none of them can hold a token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Route,
    Method,
    TooLarge,
    NoToken,
    /// Whoever asks may not.
    Denied,
    /// The token that was asked about is unknown, expired or revoked: which of these is nobody's business.
    BadToken,
    Json,
    Ttl,
    Policies,
    TooMany,
    Sealed,
}

impl Refusal {
    fn response(self) -> Response {
        let (status, error) = match self {
            Refusal::Route => (404, "no handler for route"),
            Refusal::Method => (405, "unsupported operation"),
            Refusal::TooLarge => (413, "request body too large"),
            Refusal::NoToken => (403, "missing client token"),
            Refusal::Denied => (403, "permission denied"),
            Refusal::BadToken => (403, "bad token"),
            Refusal::Json => (400, "failed to parse JSON input"),
            Refusal::Ttl => (
                400,
                "`ttl` is not a whole number of seconds over 0, or one with `s`, `m` or `h`",
            ),
            Refusal::Policies => (
                400,
                "`policies` must name at least one policy, and no more than the bound",
            ),
            Refusal::TooMany => (429, "the role holds too many leases"),
            Refusal::Sealed => (503, "the broker is sealed: its lease journal can't be written"),
        };
        Response::json(status, &Errors { errors: [error] })
    }
}

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::UnknownRole { .. } | BrokerError::Denied { .. } => Refusal::Denied,
            BrokerError::Policies { .. } => Refusal::Policies,
            BrokerError::TooManyLeases { .. } => Refusal::TooMany,
            BrokerError::Ttl => Refusal::Ttl,
            BrokerError::Role { .. }
            | BrokerError::Random
            | BrokerError::Sealed
            | BrokerError::Version { .. }
            | BrokerError::Storage(_) => Refusal::Sealed,
        }
    }
}

impl Response {
    fn json<T: Serialize>(status: u16, value: &T) -> Self {
        // Plain structs of texts and numbers: writing them to memory can't fail.
        Response {
            status,
            body: serde_json::to_vec(value).unwrap_or_default(),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    // The parser's own message may quote the body, so it goes no further.
    serde_json::from_slice(body).map_err(|_| Refusal::Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateRequest {
    policies: Vec<String>,
    #[serde(default)]
    ttl: Option<Ttl>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ttl {
    Seconds(u64),
    Text(String),
}

impl Ttl {
    /// `300`, `"300"`, `"300s"`, `"5m"`, `"1h"`.
    fn seconds(&self) -> Result<u64, Refusal> {
        let seconds = match self {
            Ttl::Seconds(seconds) => Some(*seconds),
            Ttl::Text(text) => {
                let (digits, unit) = match text.as_bytes().last() {
                    Some(b's') => (&text[..text.len() - 1], 1),
                    Some(b'm') => (&text[..text.len() - 1], 60),
                    Some(b'h') => (&text[..text.len() - 1], 3600),
                    _ => (text.as_str(), 1),
                };
                // `parse` alone would take a plus sign.
                let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
                digits
                    .parse::<u64>()
                    .ok()
                    .filter(|_| plain)
                    .and_then(|number| number.checked_mul(unit))
            }
        };
        seconds.filter(|seconds| *seconds > 0).ok_or(Refusal::Ttl)
    }
}

/// The token is borrowed where it has no escapes, which ours never have; one with escapes can't be a token of ours.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookupRequest<'a> {
    token: &'a str,
}

#[derive(Serialize)]
struct CreateResponse<'a> {
    auth: Auth<'a>,
}

#[derive(Serialize)]
struct Auth<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: &'a [String],
    lease_duration: u64,
    renewable: bool,
}

#[derive(Serialize)]
struct LookupResponse<'a> {
    data: Looked<'a>,
}

#[derive(Serialize)]
struct Looked<'a> {
    accessor: &'a str,
    policies: &'a [String],
    display_name: &'a str,
    ttl: u64,
}

#[derive(Serialize)]
struct Health {
    initialized: bool,
    sealed: bool,
    standby: bool,
}

#[derive(Serialize)]
struct Errors<'a> {
    errors: [&'a str; 1],
}
