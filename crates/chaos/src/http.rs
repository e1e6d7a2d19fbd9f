//! HTTP, as faults talk to it: one plain request, and an answer that is bounded in size and in time.
//!
//! By hand: a client crate follows redirects, decodes and reuses connections, and what is looked for is what the server
//! itself says to one request. It speaks no TLS.
//! Start reading at [`get`]. Spec: RFC 9112

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::target::Target;
use crate::tls::connect;

/// A longer answer of a service is cut.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// So is one that still goes on after so many milliseconds.
const ANSWER_MS_MAX: u64 = 1_200;
/// What is read at once.
const PART_BYTES: usize = 8 << 10;
/// From here on the server says that the failure is its own (RFC 9110, 15.6).
const SERVER_ERROR: u16 = 500;

/// Status and body of a plain HTTP request, `None` where no HTTP comes back. `Err` when there is no connection.
pub(crate) fn get(target: &Target, address: &str, path: &str) -> Result<Option<(u16, String)>, String> {
    let mut stream = connect(address)?;
    let host = target.optional("server_name").unwrap_or(address);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: proofmark\r\nConnection: close\r\n\r\n");
    let answer = match stream.write_all(request.as_bytes()) {
        Ok(()) => read_bounded(&mut stream),
        Err(_) => Vec::new(),
    };
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok());
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(status.map(|status| (status, body.to_owned())))
}

/// `Ok` when it answers a request for the target's `path` with anything but a failure of its own.
pub(crate) fn ping(target: &Target) -> Result<(), String> {
    let path = target.optional("path").unwrap_or("/");
    match get(target, target.text("address")?, path)? {
        Some((status, _)) if status < SERVER_ERROR => Ok(()),
        Some((status, _)) => Err(format!("`{path}` answers {status}")),
        None => Err(format!("`{path}` answers no HTTP")),
    }
}

/// What comes until the end, or until it breaks off.
fn read_bounded(stream: &mut impl Read) -> Vec<u8> {
    let end = Instant::now() + Duration::from_millis(ANSWER_MS_MAX);
    let mut answer = Vec::new();
    let mut part = [0; PART_BYTES];
    while answer.len() < ANSWER_BYTES_MAX && Instant::now() < end {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(length) => answer.extend_from_slice(&part[..length]),
        }
    }
    answer
}
