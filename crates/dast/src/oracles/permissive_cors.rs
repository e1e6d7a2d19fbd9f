//! # dast/permissive-cors
//! Pages of any origin may read answers that were made with the user's credentials.
//!
//! ## What it does
//! Sends a valid request with the `origin` of a host that can't exist, and looks whether the answer both allows that
//! very origin and allows credentials.
//!
//! ## Why it matters
//! Every page a signed-in user visits can read their data.
//!
//! ## Example
//! `origin: https://proofmark.invalid` is answered with `access-control-allow-origin: https://proofmark.invalid` and
//! `access-control-allow-credentials: true`.
//!
//! ## What to do instead
//! Compare the origin with a list; allow credentials only for what is on it.
//!
//! ## References
//! - CWE-942, permissive cross-domain policy, <https://cwe.mitre.org/data/definitions/942.html>
//! - Fetch standard, CORS protocol, <https://fetch.spec.whatwg.org/#http-cors-protocol>

use evidence::Severity;

use crate::cases::FOREIGN_HOST;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/permissive-cors",
    fix: "compare the origin with a list before allowing credentials",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response() else {
        return Vec::new();
    };
    let origin = response
        .header("access-control-allow-origin")
        .and_then(|origin| origin.strip_prefix("https://"));
    let credentials = response.header("access-control-allow-credentials") == Some("true");
    if origin == Some(FOREIGN_HOST) && credentials {
        vec![Hit::new(
            Severity::Medium,
            "origin",
            "lets pages of any origin read answers made with credentials",
        )]
    } else {
        Vec::new()
    }
}
