//! `chaos proxy`, as a client of Toxiproxy meets it: started, spoken to, stopped by a signal, nothing left.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

/// The command, its words so far, and where it listens.
fn start(args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .args(["chaos", "proxy", "--listen", "127.0.0.1:0"])
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut words = BufReader::new(child.stderr.take().expect("its words"));
    let mut line = String::new();
    words.read_line(&mut line).expect("a line");
    let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
    let address = address.unwrap_or_else(|| panic!("no address in `{line}`")).to_owned();
    (child, words, address)
}

fn ask(address: &str, request: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the API listens");
    let length = body.len();
    write!(
        stream,
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn stop(child: &mut Child) {
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill");
    assert!(killed.success());
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn it_serves_the_proxies_of_a_file_until_it_is_told_to_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("toxiproxy.json");
    std::fs::write(
        &file,
        r#"[{"name":"a","listen":"127.0.0.1:0","upstream":"127.0.0.1:1"}]"#,
    )
    .expect("a file");
    let (mut child, mut words, address) = start(&["--config", &file.display().to_string()]);
    let answer = ask(&address, "GET /proxies/a", "");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let listen = answer
        .split("\"listen\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let listen = listen.expect("where it listens").to_owned();
    let answer = ask(&address, "POST /proxies/a/toxics", r#"{"type":"slicer"}"#);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    stop(&mut child);
    TcpListener::bind(&listen).expect("its port is free");
    let mut rest = String::new();
    words.read_to_string(&mut rest).expect("its words");
    assert_eq!(rest, "stopped; every proxy and its faults are gone\n");
}

#[test]
fn what_it_cannot_start_with_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("toxiproxy.json");
    std::fs::write(&file, r#"[{"name":"a"}]"#).expect("a file");
    let file = file.display().to_string();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let rows: [(&[&str], &str); 4] = [
        (
            &["--port", "0", "--config", &file],
            "missing required field: upstream at proxy 1",
        ),
        (
            &["--port", "0", "--config", "nowhere.json"],
            "can't read `nowhere.json`",
        ),
        (&["--port", &port], "somebody listens there already"),
        (&["--listen", "8474"], "`8474` is no address to listen on"),
    ];
    for (args, expected) in rows {
        let out = Command::new(env!("CARGO_BIN_EXE_proofmark"))
            .args(["chaos", "proxy"])
            .args(args)
            .output()
            .expect("the program starts");
        let words = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}
