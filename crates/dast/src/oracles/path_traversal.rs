//! # dast/path-traversal
//! A path that leaves its folder is followed: the answer holds a file of the system.
//!
//! ## What it does
//! Sends `../../../etc/passwd` in every string and looks for the first line of that file in the answer.
//!
//! ## Why it matters
//! Whoever can read any file reads keys, configuration and source.
//!
//! ## Example
//! `GET /static/..%2F..%2F..%2Fetc%2Fpasswd` answers `root:x:0:0:root:/root:/bin/bash`.
//!
//! ## What to do instead
//! Look names up in a list, or resolve the whole path and refuse what lies outside of the folder.
//!
//! ## References
//! - CWE-22, path traversal, <https://cwe.mitre.org/data/definitions/22.html>

use evidence::Severity;

use crate::oracle::Entry;
use crate::oracle::{Exchange, Hit};

pub(super) const ENTRY: Entry = Entry {
    id: "dast/path-traversal",
    fix: "resolve the path and refuse what lies outside of its folder",
    judge,
};

fn judge(exchange: &Exchange<'_>) -> Vec<Hit> {
    let Some(response) = exchange.response() else {
        return Vec::new();
    };
    let holds = |form: &[u8]| response.body.windows(form.len()).any(|window| window == form);
    if holds(b"root:x:0:0:") || holds(b"root:*:0:0:") {
        vec![Hit::new(
            Severity::Critical,
            "passwd",
            "returns a file from outside of its folder",
        )]
    } else {
        Vec::new()
    }
}
