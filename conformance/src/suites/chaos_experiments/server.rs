//! A loopback HTTP server whose answers are the same for everyone who asks: no date, no version.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// Longer than any timeout a case sets.
const SLOW_MS: u64 = 900;

/// Serves until the program ends; the answer is its URL.
pub fn start() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // A client that goes away early is none of the server's business.
                let _ = serve(stream);
            });
        }
    });
    Ok(url)
}

fn serve(stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut chosen) = (0, Vec::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            name @ ("content-type" | "authorization" | "accept") => chosen.push(format!("{name}={value}")),
            name if name.starts_with("x-") => chosen.push(format!("{name}={value}")),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    chosen.sort();
    answer(stream, &method, &path, &chosen, &String::from_utf8_lossy(&body))
}

fn answer(mut stream: TcpStream, method: &str, path: &str, headers: &[String], body: &str) -> io::Result<()> {
    let send = |stream: &mut TcpStream, status: &str, kind: &str, more: &str, body: &[u8]| {
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{more}Content-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        stream.write_all(body)
    };
    let route = path.split('?').next().unwrap_or_default();
    if let Some(code) = route.strip_prefix("/status/") {
        return send(&mut stream, &format!("{code} Said"), "text/plain", "", b"said");
    }
    match route {
        "/json" => send(
            &mut stream,
            "200 OK",
            "application/json",
            "X-Twice: a\r\nx-twice: b\r\n",
            br#"{"a": [1, 2.5, null], "ok": true}"#,
        ),
        "/charset" => send(
            &mut stream,
            "200 OK",
            "application/json; charset=utf-8",
            "",
            "{\"é\": 1}".as_bytes(),
        ),
        "/broken" => send(&mut stream, "200 OK", "application/json", "", b"{"),
        "/latin" => send(&mut stream, "200 OK", "text/html", "", "é".as_bytes()),
        "/number" => send(&mut stream, "200 OK", "text/plain", "", b"42"),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(SLOW_MS));
            send(&mut stream, "200 OK", "text/plain", "", b"late")
        }
        "/hop" => send(
            &mut stream,
            "302 Found",
            "text/plain",
            "Location: /echo?from=hop\r\n",
            b"",
        ),
        "/loop" => send(&mut stream, "302 Found", "text/plain", "Location: /loop\r\n", b""),
        "/closed" => Ok(()),
        "/chunked" => write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ),
        _ => {
            let told = serde_json::json!({"method": method, "path": path, "headers": headers, "body": body});
            send(
                &mut stream,
                "200 OK",
                "application/json",
                "",
                told.to_string().as_bytes(),
            )
        }
    }
}
