//! Dynamic tests: drives a running service from its OpenAPI document and judges what comes back.
//!
//! It never touches an address outside of its [`Scope`], follows no redirect, resolves no name and stores no
//! response. Given the document, the seed and a deterministic server, it sends the same requests in the same order.
//!
//! Start reading at [`load`] and [`test`]. `cases` makes requests out of an operation, `campaign` sends them, and the
//! catalogue in `oracles/` judges: one file more there is one weakness more that is looked for.

mod campaign;
mod cases;
mod components;
mod gaps;
mod generate;
mod memory;
mod openapi;
mod oracle;
mod oracles;
mod request;
mod schema;
mod tally;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use evidence::{Component, Diagnostic, Observation};

pub use openapi::Api;
use oracle::Entry;

/// What to test, and where one may look at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub address: SocketAddr,
    pub scope: Scope,
}

/// The addresses that may be touched; anything else is refused before a byte is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Every port of 127.0.0.0/8 and ::1. On by default.
    pub loopback: bool,
    /// Further addresses, port included, each allowed by whoever answers for that host.
    pub addresses: Vec<SocketAddr>,
}

impl Default for Scope {
    fn default() -> Self {
        Scope {
            loopback: true,
            addresses: Vec::new(),
        }
    }
}

impl Scope {
    pub fn allows(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listed = self
            .addresses
            .iter()
            .any(|allowed| allowed.ip().to_canonical() == ip && allowed.port() == address.port());
        listed || (self.loopback && ip.is_loopback())
    }
}

/// Who asks. Headers hold credentials, so they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    /// Sent with every request; none for anonymous.
    pub headers: Vec<(String, String)>,
}

impl Identity {
    /// Someone without credentials; tested whether or not it is asked for.
    pub fn anonymous() -> Self {
        Identity {
            name: "anonymous".to_owned(),
            headers: Vec::new(),
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({}, {} header(s))", self.name, self.headers.len())
    }
}

/// How to test.
#[derive(Debug, Clone)]
pub struct Options {
    /// Chooses generated values; recorded by the caller so that a run can be repeated.
    pub seed: u64,
    /// Requests in all. Valid requests and authentication come first, so a low number costs hostile input.
    pub requests_max: u64,
    /// How long one answer may take, in milliseconds.
    pub timeout_ms: u64,
    /// What the service is made of, to name the component behind a finding where the answer gives it away.
    pub components: Vec<Component>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 0,
            requests_max: 2_000,
            timeout_ms: 5_000,
            components: Vec::new(),
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Coverage units: `routes` (reached with a 2xx), `requests` (sent, of those planned), `identities` (accepted at
    /// least once where credentials are asked for).
    pub observation: Observation,
    /// Requests that were sent.
    pub requests: u64,
    /// In order of path, then method.
    pub routes: Vec<RouteReport>,
}

/// What was seen of one operation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteReport {
    /// `METHOD /path/{template}`.
    pub route: String,
    pub requests: u64,
    /// How many answers had which status.
    pub statuses: BTreeMap<u16, u64>,
    /// How many requests got no answer.
    pub unanswered: u64,
    /// Whether it ever answered 2xx to a request that keeps to the document.
    pub reached: bool,
}

/// Nothing could be tested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DastError {
    #[error("`{address}` is outside of the scope (loopback, and what is allowed by address)")]
    OutOfScope { address: SocketAddr },
    #[error("`{address}` can't be reached: {reason}")]
    Unreachable { address: SocketAddr, reason: String },
}

/// Reads an OpenAPI document, 3.0 or 3.1, in JSON or YAML; `path` names it in diagnostics.
///
/// What isn't understood becomes a gap of the [`Api`] and doesn't stop the rest: remote references, media types,
/// keywords.
///
/// # Errors
/// Diagnostics when it isn't an OpenAPI document at all.
pub fn load(document: &[u8], path: &str) -> Result<Api, Vec<Diagnostic>> {
    openapi::load(document, path)
}

/// Tests every operation of `api` at `target` as every identity, and as nobody.
///
/// `progress` is told (requests sent, requests planned).
///
/// # Errors
/// When the target is out of scope, or nobody answers there from the start.
pub async fn test(
    api: &Api,
    target: &Target,
    identities: &[Identity],
    options: &Options,
    progress: Option<&dyn Fn(u64, u64)>,
) -> Result<Report, DastError> {
    let address = InScope::new(target)?;
    campaign::run(api, address, identities, options, progress).await
}

/// An address that was held against its scope. Requests are only sent to one of these.
#[derive(Clone, Copy)]
struct InScope(SocketAddr);

impl InScope {
    fn new(target: &Target) -> Result<Self, DastError> {
        let address = target.address;
        // Connecting to the unspecified address means this machine to the kernel, which is not what it says.
        let unspecified = matches!(address.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED)) || address.ip().is_unspecified();
        if unspecified || !target.scope.allows(address) {
            return Err(DastError::OutOfScope { address });
        }
        Ok(InScope(address))
    }
}

/// The page of an oracle or gap of this crate, as Markdown.
pub fn page(id: &str) -> Option<&'static str> {
    static PAGES: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();
    let pages = PAGES.get_or_init(|| {
        let oracles = oracles::PAGES.iter().map(|(id, source)| (*id, doc_comment(source)));
        let gaps = gaps::PAGES.iter().map(|(id, text)| (*id, (*text).to_owned()));
        oracles.chain(gaps).collect()
    });
    pages.get(id).map(String::as_str)
}

/// Every id that [`page`] knows, sorted.
pub fn ids() -> Vec<&'static str> {
    let oracles = oracles::PAGES.iter().map(|(id, _)| *id);
    let mut ids: Vec<_> = oracles.chain(gaps::PAGES.iter().map(|(id, _)| *id)).collect();
    ids.sort_unstable();
    ids
}

/// The text of a file's `//!` lines.
fn doc_comment(source: &str) -> String {
    let mut text = String::new();
    for line in source.lines().map_while(|line| line.strip_prefix("//!")) {
        text.push_str(line.strip_prefix(' ').unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scope_is_loopback_unless_said_otherwise() {
        let rows = [
            ("127.0.0.1:80", true),
            ("127.9.9.9:1", true),
            ("[::1]:80", true),
            ("[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false),
            ("[::]:80", false),
            ("10.0.0.1:80", false),
            ("192.0.2.7:443", true),
            ("192.0.2.7:444", false),
            ("[::ffff:192.0.2.7]:443", true),
            ("8.8.8.8:443", false),
        ];
        let scope = Scope {
            addresses: vec!["192.0.2.7:443".parse().unwrap()],
            ..Scope::default()
        };
        for (address, expect) in rows {
            let target = Target {
                address: address.parse().unwrap(),
                scope: scope.clone(),
            };
            assert_eq!(InScope::new(&target).is_ok(), expect, "{address}");
        }
    }

    #[test]
    fn every_oracle_has_a_whole_page() {
        for (oracle, (id, _)) in oracles::ALL.iter().zip(oracles::PAGES) {
            assert_eq!(oracle.id, *id);
            let page = page(id).unwrap();
            let mut rest = page;
            for heading in [
                &format!("# {id}\n"),
                "\n## What it does\n",
                "\n## Why it matters\n",
                "\n## Example\n",
                "\n## What to do instead\n",
                "\n## References\n",
            ] {
                let place = rest.find(heading).unwrap_or_else(|| panic!("{id} lacks `{heading}`"));
                rest = &rest[place + heading.len()..];
            }
        }
        assert_eq!(oracles::ALL.len(), oracles::PAGES.len());
        assert!(page("dast/route-not-reached").is_some());
        assert_eq!(page("dast/none"), None);
    }
}
