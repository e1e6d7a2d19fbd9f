//! An HTTP/1.1 server (RFC 9112): a thread for each connection, keep-alive, everything bounded.
//!
//! It takes bodies with `content-length` only; `transfer-encoding` is answered with 411, so there is no second way
//! to say where a request ends.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::http::{Request, Response};

const CONNECTIONS_MAX: usize = 256;
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
const IDLE_MS_MAX: u64 = 300_000;
const WRITE_MS_MAX: u64 = 10_000;

/// What answers requests.
pub type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// Serves until the process ends.
pub fn serve(listener: &TcpListener, handler: Arc<Handler>) {
    let open = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // An error here is one connection that went away before it was accepted.
        let Ok(stream) = stream else { continue };
        if open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            open.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (handler, counter) = (Arc::clone(&handler), Arc::clone(&open));
        let spawned = std::thread::Builder::new()
            .name("connection".to_owned())
            .spawn(move || {
                let _counted = Counted(counter);
                // Whatever goes wrong with a socket ends its connection, and only that.
                let _ = connection(stream, &*handler);
            });
        if spawned.is_err() {
            open.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Counts a connection until it is over, however it ends.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn connection(mut stream: TcpStream, handler: &Handler) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_millis(IDLE_MS_MAX)))?;
    stream.set_write_timeout(Some(Duration::from_millis(WRITE_MS_MAX)))?;
    let mut buffer = Vec::with_capacity(4096);
    loop {
        match read_request(&mut stream, &mut buffer)? {
            Incoming::Request { request, close } => {
                let response = handler(&request);
                stream.write_all(&render(&response, request.method == "HEAD", close))?;
                if close {
                    return Ok(());
                }
            }
            // Where the next request begins is unknown now, so the connection ends.
            Incoming::Refused(response) => {
                return stream.write_all(&render(&response, false, true));
            }
            Incoming::End => return Ok(()),
        }
    }
}

enum Incoming {
    Request { request: Request, close: bool },
    Refused(Response),
    End,
}

struct Head {
    request: Request,
    bytes: usize,
    close: bool,
}

/// Reads one request; what follows it stays in `buffer`.
fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>) -> std::io::Result<Incoming> {
    let mut head = loop {
        match parse_head(buffer) {
            Err(refused) => return Ok(Incoming::Refused(refused)),
            Ok(Some(head)) => break head,
            Ok(None) if buffer.len() > HEAD_BYTES_MAX => {
                return Ok(Incoming::Refused(Response::error(
                    431,
                    "the head of the request is too large",
                )));
            }
            Ok(None) => {}
        }
        if !more(stream, buffer)? {
            return Ok(Incoming::End);
        }
    };
    let length = match body_length(&head.request) {
        Ok(length) => length,
        Err(refused) => return Ok(Incoming::Refused(refused)),
    };
    while buffer.len() < head.bytes + length {
        if !more(stream, buffer)? {
            return Ok(Incoming::End);
        }
    }
    head.request.body = buffer[head.bytes..head.bytes + length].to_vec();
    buffer.drain(..head.bytes + length);
    Ok(Incoming::Request {
        request: head.request,
        close: head.close,
    })
}

fn more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                buffer.extend_from_slice(&chunk[..read]);
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn parse_head(buffer: &[u8]) -> Result<Option<Head>, Response> {
    let malformed = || Response::error(400, "malformed request");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let bytes = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Response::error(431, "too many headers"));
        }
        Err(_) => return Err(malformed()),
    };
    let target = parsed.path.ok_or_else(malformed)?;
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let headers: Vec<(String, String)> = parsed
        .headers
        .iter()
        // Bytes that are not UTF-8 are replaced: no header of ours may hold them, so the value is refused later on.
        .map(|header| {
            (
                header.name.to_ascii_lowercase(),
                String::from_utf8_lossy(header.value).trim().to_owned(),
            )
        })
        .collect();
    let request = Request {
        method: parsed.method.ok_or_else(malformed)?.to_owned(),
        path: path.to_owned(),
        query,
        headers,
        body: Vec::new(),
    };
    let connection = request.header("connection").unwrap_or_default().to_ascii_lowercase();
    let close = connection.contains("close") || (parsed.version == Some(0) && !connection.contains("keep-alive"));
    Ok(Some(Head { request, bytes, close }))
}

fn body_length(request: &Request) -> Result<usize, Response> {
    let values: Vec<&str> = request
        .headers
        .iter()
        .filter(|(name, _)| name == "content-length")
        .map(|(_, value)| value.as_str())
        .collect();
    if request.headers.iter().any(|(name, _)| name == "transfer-encoding") {
        return Err(Response::error(411, "say the length of the body with `content-length`"));
    }
    let length = match values[..] {
        [] => 0,
        [value] if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
            value.parse().unwrap_or(usize::MAX)
        }
        _ => return Err(Response::error(400, "malformed request")),
    };
    if length > BODY_BYTES_MAX {
        return Err(Response::error(413, "the body is too large"));
    }
    Ok(length)
}

/// The bytes of an answer, head and body in one, so that they leave in one write.
fn render(response: &Response, head_only: bool, close: bool) -> Vec<u8> {
    let mut head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nx-content-type-options: nosniff\r\n",
        response.status,
        reason(response.status),
        response.content_type,
        response.body.len(),
    );
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(if close { "connection: close\r\n\r\n" } else { "\r\n" });
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend_from_slice(&response.body);
    }
    bytes
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut bytes: &[u8]) -> Vec<Result<Request, u16>> {
        let (mut buffer, mut requests) = (Vec::new(), Vec::new());
        loop {
            match read_request(&mut bytes, &mut buffer).unwrap() {
                Incoming::Request { request, .. } => requests.push(Ok(request)),
                Incoming::Refused(response) => {
                    requests.push(Err(response.status));
                    return requests;
                }
                Incoming::End => return requests,
            }
        }
    }

    #[test]
    fn reads_requests_one_after_the_other() {
        let requests = read(
            b"POST /orders?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        );
        let first = requests[0].as_ref().unwrap();
        assert_eq!(
            (first.method.as_str(), first.path.as_str(), first.query.as_deref()),
            ("POST", "/orders", Some("a=b"))
        );
        assert_eq!(first.body, b"{}");
        assert_eq!(requests[1].as_ref().unwrap().path, "/health");
        assert_eq!(requests.len(), 2);
    }

    #[test]
    fn refuses_what_has_two_readings_or_no_end() {
        for (head, status) in [
            ("Content-Length: 1\r\nContent-Length: 2", 400),
            ("Content-Length: +1", 400),
            ("Content-Length: -1", 400),
            ("Transfer-Encoding: chunked", 411),
            ("Content-Length: 99999999999999999999999", 413),
        ] {
            let requests = read(format!("POST / HTTP/1.1\r\n{head}\r\n\r\nx").as_bytes());
            assert_eq!(requests[0].as_ref().err(), Some(&status), "{head}");
        }
        assert_eq!(read(b"NOT HTTP\r\n\r\n")[0].as_ref().err(), Some(&400));
    }

    #[test]
    fn a_head_without_end_is_cut_off() {
        let endless = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(2 * HEAD_BYTES_MAX));
        assert_eq!(read(endless.as_bytes())[0].as_ref().err(), Some(&431));
    }

    #[test]
    fn head_requests_get_no_body() {
        let bytes = render(&Response::bytes(200, "text/plain", "hello"), true, false);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("content-length: 5\r\n"));
        assert!(text.ends_with("\r\n\r\n"));
    }
}
