//! An HTTP/1.1 client for one server: keeps connections, waits for a bounded time, never follows redirects.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT_MS_MAX: u64 = 500;
const ANSWER_MS_MAX: u64 = 2_000;
const IDLE_CONNECTIONS_MAX: usize = 64;
const HEAD_BYTES_MAX: usize = 16 << 10;
const BODY_BYTES_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 64;

/// A server and the idle connections to it.
#[derive(Debug)]
pub struct Client {
    /// `host:port`.
    address: String,
    idle: Mutex<Vec<TcpStream>>,
}

/// Status and body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// What was wrong with the kept connection that was tried first, when there was one and it was dead.
    pub replaced: Option<ErrorKind>,
}

impl Client {
    pub fn new(address: &str) -> Self {
        Client {
            address: address.to_owned(),
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Sends a request with one header more (name, value), and a JSON body when there is one.
    ///
    /// A kept connection that turns out to be dead is replaced once by a new one: the request may then arrive twice, so
    /// it must mean the same when repeated.
    pub fn call(&self, method: &str, path: &str, header: (&str, &str), body: &[u8]) -> Result<Answer> {
        let (name, value) = header;
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{name}: {value}\r\n",
            self.address
        );
        if !body.is_empty() {
            request.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            ));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        // A statement of its own, so that the lock is let go before the exchange.
        let kept = self.idle().pop();
        let replaced = match kept.map(|stream| self.exchange(stream, &bytes)) {
            None => None,
            Some(Err(error)) if is_dead(&error) => {
                // What ended one kept connection probably ended all of them.
                self.idle().clear();
                Some(error.kind())
            }
            Some(result) => return result,
        };
        let answer = self.exchange(self.connect()?, &bytes)?;
        Ok(Answer { replaced, ..answer })
    }

    fn connect(&self) -> Result<TcpStream> {
        let address = self
            .address
            .to_socket_addrs()?
            .next()
            .ok_or(ErrorKind::AddrNotAvailable)?;
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)))?;
        stream.set_write_timeout(Some(Duration::from_millis(ANSWER_MS_MAX)))?;
        Ok(stream)
    }

    fn exchange(&self, mut stream: TcpStream, request: &[u8]) -> Result<Answer> {
        stream.write_all(request)?;
        let (answer, keep) = read_answer(&mut stream)?;
        let mut idle = self.idle();
        if keep && idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(stream);
        }
        Ok(answer)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_dead(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted
    )
}

/// Reads one answer; the flag says whether the connection may be kept.
fn read_answer(stream: &mut impl Read) -> Result<(Answer, bool)> {
    let mut buffer = Vec::with_capacity(1024);
    let (status, length, keep, head) = loop {
        if let Some(parsed) = parse_head(&buffer)? {
            break parsed;
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        more(stream, &mut buffer)?;
    };
    while buffer.len() < head + length {
        more(stream, &mut buffer)?;
    }
    // More bytes than announced belong to nothing we asked for.
    let keep = keep && buffer.len() == head + length;
    Ok((
        Answer {
            status,
            body: buffer[head..head + length].to_vec(),
            replaced: None,
        },
        keep,
    ))
}

/// Status, length of the body, whether to keep the connection, length of the head.
fn parse_head(buffer: &[u8]) -> Result<Option<(u16, usize, bool, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    let head = match parsed.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(ErrorKind::InvalidData.into()),
    };
    let status = parsed.code.unwrap_or_default();
    let value = |name: &str| {
        let header = parsed
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| std::str::from_utf8(header.value).unwrap_or_default().trim())
    };
    let length = match value("content-length") {
        Some(length) => length.parse::<usize>().ok(),
        None if status == 204 => Some(0),
        None => None,
    };
    // Neither a chunked body nor one that ends with the connection is expected of the servers we call.
    let length = length
        .filter(|length| *length <= BODY_BYTES_MAX)
        .ok_or(ErrorKind::InvalidData)?;
    let keep = !value("connection").is_some_and(|connection| connection.eq_ignore_ascii_case("close"));
    Ok(Some((status, length, keep, head)))
}

fn more(stream: &mut impl Read, buffer: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer.extend_from_slice(&chunk[..read]);
                return Ok(());
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer() {
        let mut bytes: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(
            read_answer(&mut bytes).unwrap(),
            (
                Answer {
                    status: 201,
                    body: b"ok".to_vec(),
                    replaced: None
                },
                true
            )
        );
        let mut bytes: &[u8] = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
        assert_eq!(
            read_answer(&mut bytes).unwrap(),
            (
                Answer {
                    status: 204,
                    body: Vec::new(),
                    replaced: None
                },
                false
            )
        );
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
        ] {
            assert_eq!(
                read_answer(&mut text.as_bytes()).unwrap_err().kind(),
                ErrorKind::UnexpectedEof,
                "{text}"
            );
        }
    }
}
