//! What an oracle is, and what it gets to see.
//!
//! Start reading at [`Entry`]; the oracles themselves are in `oracles/`, one file each.

use std::collections::HashMap;

use evidence::Severity;
use net::http::{HttpError, Response};

use crate::cases::Case;
use crate::openapi::{Api, Operation};

/// One weakness that is looked for.
pub(crate) struct Entry {
    /// Catalogue id: `dast/server-error`.
    pub id: &'static str,
    /// What to do, cheapest way first.
    pub fix: &'static str,
    pub judge: fn(&Exchange<'_>) -> Vec<Hit>,
}

/// One request with what came of it.
pub(crate) struct Exchange<'a> {
    pub api: &'a Api,
    pub operation: &'a Operation,
    pub case: &'a Case,
    pub requester: Requester,
    pub result: &'a Result<Response, HttpError>,
    /// Every marker sent so far, with the route and class of input that sent it.
    pub markers: &'a HashMap<String, (String, String)>,
}

impl<'a> Exchange<'a> {
    /// The response, where there is one.
    pub fn response(&self) -> Option<&'a Response> {
        self.result.as_ref().ok()
    }

    /// The response, where there is one with a 2xx.
    pub fn success(&self) -> Option<&'a Response> {
        self.response().filter(|response| response.status / 100 == 2)
    }
}

/// What the request showed to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requester {
    /// Credentials of one of the given identities.
    Named,
    Anonymous,
    /// Credentials of the right form that nobody has issued.
    Invalid,
}

/// Something an oracle holds to be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hit {
    pub severity: Severity,
    /// Tells this hit from others of the same oracle and route, and is the same in the next run. Holds no value of
    /// a request or response.
    pub context: String,
    /// What the service does, after `METHOD /path`: `answers 500`.
    pub what: String,
}

impl Hit {
    pub fn new(severity: Severity, context: impl Into<String>, what: impl Into<String>) -> Self {
        Hit {
            severity,
            context: context.into(),
            what: what.into(),
        }
    }
}
