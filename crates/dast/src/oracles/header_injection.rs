//! # dast/header-injection
//! Line ends sent in a request come back as line ends in the head of the answer, so that input can add headers.
//!
//! ## What it does
//! Sends a carriage return, a line feed and a header of its own name in every string, and looks for that header in
//! every later answer.
//!
//! ## Why it matters
//! Whoever gets someone to follow a link sets their cookies, redirects them, or makes a shared cache keep a page of
//! their own (response splitting).
//!
//! ## Example
//! `GET /go?to=%2Fhome%0D%0Aset-cookie:%20session=1` answers with `location: /home` and `set-cookie: session=1`.
//!
//! ## What to do instead
//! Refuse control characters in whatever goes into a header, or use a library that does.
//!
//! ## References
//! - CWE-113, HTTP request/response splitting, <https://cwe.mitre.org/data/definitions/113.html>

use evidence::Severity;

use crate::cases::SMUGGLED_HEADER;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/header-injection",
    fix: "refuse control characters in whatever goes into a header",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response() else {
        return Vec::new();
    };
    let smuggled = response.headers.iter().any(|(name, _)| {
        let marker = name
            .get(SMUGGLED_HEADER.len()..)
            .filter(|_| name.starts_with(SMUGGLED_HEADER));
        marker.is_some_and(|marker| exchange.markers.contains_key(marker))
    });
    if smuggled {
        vec![Hit::new(
            Severity::High,
            "header",
            "lets its input add headers to the answer",
        )]
    } else {
        Vec::new()
    }
}
