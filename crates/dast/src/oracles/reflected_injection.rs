//! # dast/reflected-injection
//! Markup sent in a request comes back in a page, unescaped, so that a browser would run it.
//!
//! ## What it does
//! Sends an element with an event handler and a marker of its own in every string, and looks for it, character for
//! character, in every later answer that a browser may show as a page: `text/html`, XHTML, SVG, XML, or no content
//! type at all. Finding it in an answer to another request means that it was stored. The same text in JSON that is
//! declared as JSON is harmless.
//!
//! ## Why it matters
//! Whoever gets someone to follow a link, or to look at what was stored, runs a script in their session.
//!
//! ## Example
//! `GET /search?q=<svg/onload=…>` answers `<p>Nothing found for <svg/onload=…></p>`.
//!
//! ## What to do instead
//! Let a template engine escape whatever it fills in, answer data as `application/json`, and send
//! `x-content-type-options: nosniff`.
//!
//! ## References
//! - CWE-79, cross-site scripting, <https://cwe.mitre.org/data/definitions/79.html>
//! - OWASP cross site scripting prevention,
//!   <https://cheatsheetseries.owasp.org/cheatsheets/Cross_Site_Scripting_Prevention_Cheat_Sheet.html>

use evidence::Severity;
use net::http::Response;

use crate::cases::MARKUP;
use crate::openapi::essence;
use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/reflected-injection",
    fix: "escape what is put into the page, or answer it as `application/json`",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response().filter(|response| is_shown_as_page(response)) else {
        return Vec::new();
    };
    let body = String::from_utf8_lossy(&response.body);
    let mut hits: Vec<Hit> = Vec::new();
    for rest in body.split(MARKUP).skip(1) {
        let Some(marker) = rest.get(..12).filter(|_| rest[12..].starts_with('>')) else {
            continue;
        };
        let Some((source, _)) = exchange.markers.get(marker) else {
            continue;
        };
        let hit = if exchange.case.marker.as_deref() == Some(marker) {
            Hit::new(
                Severity::High,
                "reflected",
                "returns markup from its input unescaped in a page",
            )
        } else {
            Hit::new(
                Severity::High,
                format!("stored from {source}"),
                format!("shows markup, stored by `{source}`, unescaped in a page"),
            )
        };
        if !hits.contains(&hit) {
            hits.push(hit);
        }
    }
    hits
}

/// Whether a browser would show this as a page, by its type or by guessing.
fn is_shown_as_page(response: &Response) -> bool {
    match response.header("content-type").map(essence) {
        Some(media_type) => [
            "text/html",
            "application/xhtml+xml",
            "image/svg+xml",
            "text/xml",
            "application/xml",
        ]
        .contains(&media_type.as_str()),
        None => response.header("x-content-type-options") != Some("nosniff"),
    }
}
