//! A client for the web beyond loopback: names are resolved, `https` is spoken, redirects are followed.
//!
//! It is synchronous, opens one connection a request, and asks `stop` every few milliseconds whatever it waits for.
//! Header names come back in the case the server wrote them in. It deliberately has no cookies, no proxies, no
//! connection pool and no idea of what is asked for; certificates are checked against the files it is given.
//!
//! What an attacker who owns a certificate file can do: read and answer every request made with it.
//!
//! Start reading at [`send`].

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

/// How long a wait lasts before `stop` is asked again.
const SLICE_MS: u64 = 20;
const HEAD_BYTES_MAX: usize = 256 << 10;
const HEADERS_MAX: usize = 256;
/// Of a body, after it is unpacked.
const BODY_BYTES_MAX: usize = 64 << 20;
/// The length of a chunk in hexadecimal, with its extensions.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

/// Where systems keep the certificates they trust.
pub const SYSTEM_CERTIFICATES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// One request.
#[derive(Debug, Clone)]
pub struct WebRequest {
    pub method: String,
    pub url: String,
    /// As they are sent; `Host` and `Content-Length` are added where they are missing.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    pub verify: Verify,
    /// Until a connection stands; `None` waits as long as the system does.
    pub connect_timeout: Option<Duration>,
    /// Between two reads.
    pub read_timeout: Option<Duration>,
    pub redirects_max: usize,
}

/// How a server's certificate is checked.
#[derive(Debug, Clone)]
pub enum Verify {
    /// Against the first of these PEM files that is there.
    Against(Vec<PathBuf>),
    /// Not at all: whoever is in between reads and writes along.
    Off,
}

/// What came back, after all redirects.
#[derive(Debug, Clone)]
pub struct WebResponse {
    pub status: u16,
    /// In their order, names in the server's case.
    pub headers: Vec<(String, String)>,
    /// Unpacked when it was sent as gzip or deflate.
    pub body: Vec<u8>,
}

impl WebResponse {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    #[error("the URL `{0}` can't be used")]
    Url(String),
    /// No connection, or none that can be trusted.
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no answer in time")]
    Timeout,
    #[error("not an answer: {0}")]
    Protocol(String),
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("stopped")]
    Stopped,
}

/// Sends a request and follows redirects.
///
/// # Errors
/// See [`WebError`]; a response of any status is no error.
pub fn send(request: &WebRequest, stop: &dyn Fn() -> bool) -> Result<WebResponse, WebError> {
    let mut request = request.clone();
    for _ in 0..=request.redirects_max {
        let target = Target::parse(&request.url)?;
        let response = exchange(&request, &target, stop)?;
        let location = response
            .header("location")
            .filter(|_| matches!(response.status, 301 | 302 | 303 | 307 | 308));
        let Some(location) = location else {
            return Ok(response);
        };
        let next = target.join(location);
        let elsewhere = Target::parse(&next).is_ok_and(|next| next.host != target.host || next.port != target.port);
        // RFC 9110 section 15.4: what browsers do, and so does everyone.
        let becomes_get = match response.status {
            303 => request.method != "HEAD",
            302 => request.method != "HEAD",
            301 => request.method == "POST",
            _ => false,
        };
        if becomes_get {
            request.method = "GET".to_owned();
        }
        if !matches!(response.status, 307 | 308) {
            request.body = None;
            drop_headers(
                &mut request.headers,
                &["content-length", "content-type", "transfer-encoding"],
            );
        }
        if elsewhere {
            drop_headers(&mut request.headers, &["authorization"]);
        }
        request.url = next;
    }
    Err(WebError::Redirects(request.redirects_max))
}

/// Percent-encodes what may not stand in a query; a space becomes `+`.
pub fn form_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn drop_headers(headers: &mut Vec<(String, String)>, names: &[&str]) {
    headers.retain(|(name, _)| !names.iter().any(|gone| name.eq_ignore_ascii_case(gone)));
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// A URL in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    secure: bool,
    user: Option<String>,
    host: String,
    port: u16,
    /// Path and query, percent-encoded.
    path: String,
}

impl Target {
    fn parse(url: &str) -> Result<Target, WebError> {
        let wrong = || WebError::Url(url.to_owned());
        let url = url.trim_start();
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(wrong()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                (host.to_owned(), port.strip_prefix(':').unwrap_or(port))
            }
            None => {
                let (host, port) = place.split_once(':').unwrap_or((place, ""));
                (host.to_ascii_lowercase(), port)
            }
        };
        let port = match port {
            "" if secure => 443,
            "" => 80,
            digits => digits.parse().map_err(|_| wrong())?,
        };
        let plain = |one: char| one.is_ascii_graphic() && !"\\^`{|}<>\"".contains(one);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong());
        }
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Ok(Target {
            secure,
            user,
            host,
            port,
            path: requoted(&path),
        })
    }

    /// The URL that a reference means here (RFC 3986 section 5, without dot segments).
    fn join(&self, reference: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        if reference.contains("://") {
            return reference.to_owned();
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return format!("{scheme}://{rest}");
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let path = match reference.as_bytes().first() {
            Some(b'/') => reference.to_owned(),
            Some(b'?') => format!("{path}{reference}"),
            _ => format!("{}{reference}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        format!("{scheme}://{}{path}", self.place())
    }

    /// Host, and the port unless it goes without saying.
    fn place(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        match (self.secure, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// Encodes what may not stand in a URL; what is encoded already stays.
fn requoted(path: &str) -> String {
    let mut out = String::new();
    for byte in path.bytes() {
        let plain = byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if plain {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

fn exchange(request: &WebRequest, target: &Target, stop: &dyn Fn() -> bool) -> Result<WebResponse, WebError> {
    let head = head(request, target)?;
    let tcp = connect(request, target, stop)?;
    let broken = |error: io::Error| WebError::Connect(error.to_string());
    tcp.set_read_timeout(Some(Duration::from_millis(SLICE_MS)))
        .map_err(broken)?;
    let _ = tcp.set_nodelay(true);
    let mut stream: Box<dyn Stream> = if target.secure {
        Box::new(secured(tcp, request, target, stop)?)
    } else {
        Box::new(tcp)
    };
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(request.body.as_deref().unwrap_or_default());
    stream.write_all(&bytes).map_err(broken)?;
    stream.flush().map_err(broken)?;
    let mut reader = Reader {
        stream,
        stop,
        timeout: request.read_timeout,
        buffer: Vec::new(),
        at: 0,
    };
    reader.response(&request.method)
}

fn head(request: &WebRequest, target: &Target) -> Result<String, WebError> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, target.path);
    if find(&request.headers, "host").is_none() {
        head.push_str(&format!("Host: {}\r\n", target.place()));
    }
    for (name, value) in &request.headers {
        if name.is_empty() || [name, value].iter().any(|text| text.contains(['\r', '\n', '\0'])) {
            return Err(WebError::Protocol(format!(
                "the header `{}` can't be sent",
                name.escape_debug()
            )));
        }
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = request.body.as_ref().map(Vec::len);
    let length = length.or((!matches!(request.method.as_str(), "GET" | "HEAD")).then_some(0));
    if let Some(length) = length.filter(|_| find(&request.headers, "content-length").is_none()) {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    if let Some(user) = target
        .user
        .as_deref()
        .filter(|_| find(&request.headers, "authorization").is_none())
    {
        head.push_str(&format!("Authorization: Basic {}\r\n", base64(&unquoted(user))));
    }
    head.push_str("\r\n");
    Ok(head)
}

/// Names are resolved and connections opened in a thread of their own: both may take longer than anyone wants to wait.
fn connect(request: &WebRequest, target: &Target, stop: &dyn Fn() -> bool) -> Result<TcpStream, WebError> {
    let (answer, answers) = mpsc::channel();
    let (host, port, timeout) = (target.host.clone(), target.port, request.connect_timeout);
    let work = move || {
        let open = || -> io::Result<TcpStream> {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in (host.as_str(), port).to_socket_addrs()? {
                let opened = match timeout {
                    Some(timeout) => TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1))),
                    None => TcpStream::connect(address),
                };
                match opened {
                    Ok(stream) => return Ok(stream),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        // Nobody listens any more when it was stopped.
        let _ = answer.send(open());
    };
    let thread = std::thread::Builder::new().name("web-connect".to_owned()).spawn(work);
    thread.map_err(|error| WebError::Connect(error.to_string()))?;
    loop {
        match answers.recv_timeout(Duration::from_millis(SLICE_MS)) {
            Ok(opened) => return opened.map_err(|error| WebError::Connect(error.to_string())),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(WebError::Connect("no answer".to_owned())),
            Err(mpsc::RecvTimeoutError::Timeout) if stop() => return Err(WebError::Stopped),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
    }
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, TcpStream>;

fn secured(tcp: TcpStream, request: &WebRequest, target: &Target, stop: &dyn Fn() -> bool) -> Result<Tls, WebError> {
    let broken = |error: &dyn std::fmt::Display| WebError::Connect(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(&error))?;
    let config = match &request.verify {
        Verify::Off => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
            .with_no_client_auth(),
        Verify::Against(files) => {
            let file = files.iter().find(|file| file.is_file());
            let file = file.ok_or_else(|| WebError::Connect("there is no file of trusted certificates".to_owned()))?;
            let mut roots = rustls::RootCertStore::empty();
            let certificates = CertificateDer::pem_file_iter(file).map_err(|error| broken(&error))?;
            for certificate in certificates.flatten() {
                // A bundle may hold what rustls can't read; the rest is still trusted.
                let _ = roots.add(certificate);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|error| broken(&error))?;
    let connection = rustls::ClientConnection::new(Arc::new(config), name).map_err(|error| broken(&error))?;
    let mut stream = rustls::StreamOwned::new(connection, tcp);
    let start = Instant::now();
    while stream.conn.is_handshaking() {
        match stream.conn.complete_io(&mut stream.sock) {
            Ok(_) => {}
            Err(error) if waits(&error) => {
                if stop() {
                    return Err(WebError::Stopped);
                }
                if request.read_timeout.is_some_and(|limit| start.elapsed() >= limit) {
                    return Err(WebError::Timeout);
                }
            }
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(stream)
}

fn waits(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

/// Takes every certificate; signatures are still checked.
#[derive(Debug)]
struct Unchecked(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

struct Reader<'a> {
    stream: Box<dyn Stream>,
    stop: &'a dyn Fn() -> bool,
    timeout: Option<Duration>,
    buffer: Vec<u8>,
    at: usize,
}

impl Reader<'_> {
    fn response(&mut self, method: &str) -> Result<WebResponse, WebError> {
        loop {
            let line = self.line(HEAD_BYTES_MAX)?;
            let mut words = line.splitn(3, ' ');
            let version = words.next().unwrap_or_default();
            let status: Option<u16> = words.next().and_then(|digits| digits.parse().ok());
            let status = status.filter(|_| version.starts_with("HTTP/"));
            let status = status.ok_or_else(|| WebError::Connect("the answer is not HTTP".to_owned()))?;
            let headers = self.headers()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let empty = method == "HEAD" || matches!(status, 101 | 204 | 304);
            let body = if empty { Vec::new() } else { self.body(&headers)? };
            let body = unpacked(body, find(&headers, "content-encoding"))?;
            return Ok(WebResponse { status, headers, body });
        }
    }

    fn headers(&mut self) -> Result<Vec<(String, String)>, WebError> {
        let mut headers: Vec<(String, String)> = Vec::new();
        loop {
            let line = self.line(HEAD_BYTES_MAX)?;
            if line.is_empty() {
                return Ok(headers);
            }
            if headers.len() >= HEADERS_MAX {
                return Err(WebError::Protocol("too many headers".to_owned()));
            }
            // A line that goes on (RFC 9112 section 5.2).
            if line.starts_with([' ', '\t'])
                && let Some((_, value)) = headers.last_mut()
            {
                value.push(' ');
                value.push_str(line.trim());
                continue;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }

    fn body(&mut self, headers: &[(String, String)]) -> Result<Vec<u8>, WebError> {
        let chunked = find(headers, "transfer-encoding").is_some_and(|value| value.to_lowercase().contains("chunked"));
        if chunked {
            return self.chunks();
        }
        match find(headers, "content-length").and_then(|digits| digits.parse::<usize>().ok()) {
            Some(length) => self.exactly(length),
            None => {
                while self.fill()? {}
                Ok(self.buffer.split_off(self.at))
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, WebError> {
        let mut body = Vec::new();
        loop {
            let line = self.line(CHUNK_LINE_BYTES_MAX)?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16)
                .map_err(|_| WebError::Protocol("a chunk has no length".to_owned()))?;
            if length == 0 {
                self.headers()?;
                return Ok(body);
            }
            if body.len().saturating_add(length) > BODY_BYTES_MAX {
                return Err(too_large());
            }
            body.extend(self.exactly(length)?);
            self.line(CHUNK_LINE_BYTES_MAX)?;
        }
    }

    fn exactly(&mut self, length: usize) -> Result<Vec<u8>, WebError> {
        if length > BODY_BYTES_MAX {
            return Err(too_large());
        }
        while self.buffer.len() - self.at < length {
            if !self.fill()? {
                return Err(WebError::Protocol("the answer ends early".to_owned()));
            }
        }
        let taken = self.buffer[self.at..self.at + length].to_vec();
        self.at += length;
        Ok(taken)
    }

    fn line(&mut self, bytes_max: usize) -> Result<String, WebError> {
        loop {
            let rest = &self.buffer[self.at..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
                // Header bytes are Latin-1 (RFC 9110 section 5.5, obsolete text).
                let line = line.iter().map(|byte| char::from(*byte)).collect();
                self.at += end + 1;
                return Ok(line);
            }
            if rest.len() > bytes_max {
                return Err(WebError::Protocol("a line is too long".to_owned()));
            }
            if !self.fill()? {
                return Err(WebError::Connect(
                    "the server closed the connection without an answer".to_owned(),
                ));
            }
        }
    }

    /// Reads what comes next; false at the end.
    fn fill(&mut self) -> Result<bool, WebError> {
        let start = Instant::now();
        let mut bytes = [0; 16 << 10];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.buffer.extend_from_slice(&bytes[..read]);
                    if self.buffer.len() - self.at > BODY_BYTES_MAX + HEAD_BYTES_MAX {
                        return Err(too_large());
                    }
                    return Ok(true);
                }
                Err(error) if waits(&error) => {
                    if (self.stop)() {
                        return Err(WebError::Stopped);
                    }
                    if self.timeout.is_some_and(|limit| start.elapsed() >= limit) {
                        return Err(WebError::Timeout);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
                Err(error) => return Err(WebError::Connect(error.to_string())),
            }
        }
    }
}

fn too_large() -> WebError {
    WebError::Protocol(format!("the body is larger than {BODY_BYTES_MAX} bytes"))
}

fn unpacked(body: Vec<u8>, encoding: Option<&str>) -> Result<Vec<u8>, WebError> {
    crate::unpacked(body, encoding, BODY_BYTES_MAX).map_err(|error| WebError::Protocol(error.to_string()))
}

fn unquoted(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let joined = three.iter().fold(0_u32, |joined, byte| joined << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for index in 0..4 {
            let sextet = (joined >> (18 - 6 * index)) & 63;
            let letter = if index > three.len() {
                '='
            } else {
                char::from(ALPHABET[sextet as usize])
            };
            out.push(letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers each connection with the next of these, and hands back what was asked.
    fn server(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let thread = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut bytes = [0; 8192];
                let read = stream.read(&mut bytes).expect("a request");
                asked.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
                stream.write_all(answer.as_bytes()).expect("an answer");
            }
            asked
        });
        (url, thread)
    }

    fn get(url: &str) -> WebRequest {
        WebRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            verify: Verify::Off,
            connect_timeout: None,
            read_timeout: Some(Duration::from_secs(5)),
            redirects_max: 3,
        }
    }

    #[test]
    fn bodies_come_in_three_ways() {
        for (answer, body) in [
            ("HTTP/1.1 200 OK\r\nX-Case: A\r\nContent-Length: 2\r\n\r\nokmore", "ok"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
                "abc",
            ),
            ("HTTP/1.0 200 OK\r\n\r\nto the end", "to the end"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\n\r\n", ""),
        ] {
            let (url, thread) = server(vec![answer]);
            let response = send(&get(&url), &|| false).expect(answer);
            assert_eq!(String::from_utf8_lossy(&response.body), body);
            thread.join().expect("the server ends");
        }
    }

    #[test]
    fn redirects_are_followed_and_bounded() {
        let hop = "HTTP/1.1 302 Found\r\nLocation: /next?a=b c\r\nContent-Length: 0\r\n\r\n";
        let (url, thread) = server(vec![hop, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
        let mut request = get(&url);
        request.method = "POST".to_owned();
        request.body = Some(b"x".to_vec());
        assert_eq!(send(&request, &|| false).expect("answered").status, 200);
        let asked = thread.join().expect("the server ends");
        assert!(asked[1].starts_with("GET /next?a=b%20c HTTP/1.1\r\n"), "{}", asked[1]);
        let (url, thread) = server(vec![hop; 4]);
        assert_eq!(send(&get(&url), &|| false).map(|_| ()), Err(WebError::Redirects(3)));
        thread.join().expect("the server ends");
    }

    #[test]
    fn what_goes_wrong_has_a_name() {
        let (url, thread) = server(vec!["nonsense\r\n\r\n"]);
        assert!(matches!(send(&get(&url), &|| false), Err(WebError::Connect(_))));
        thread.join().expect("the server ends");
        for url in ["example.com/x", "ftp://a", "http://", "http://a:b/"] {
            assert!(matches!(send(&get(url), &|| false), Err(WebError::Url(_))), "{url}");
        }
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut request = get(&format!("http://{}", silent.local_addr().expect("an address")));
        request.read_timeout = Some(Duration::from_millis(50));
        assert_eq!(send(&request, &|| false).map(|_| ()), Err(WebError::Timeout));
        assert_eq!(send(&request, &|| true).map(|_| ()), Err(WebError::Stopped));
        let closed = silent.local_addr().expect("an address");
        drop(silent);
        assert!(matches!(
            send(&get(&format!("http://{closed}")), &|| false),
            Err(WebError::Connect(_))
        ));
    }

    #[test]
    fn users_and_queries_are_encoded() {
        assert_eq!(base64(b"user:pass"), "dXNlcjpwYXNz");
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(unquoted("a%40b"), b"a@b");
        assert_eq!(form_encoded("a b&ü"), "a+b%26%C3%BC");
    }
}
