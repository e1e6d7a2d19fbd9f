//! Rules of the API that the comparison with toxiproxy-server (`conformance/src/toxiproxy.rs`) can't show: bounds, time to
//! live, metrics, and what is left after a refusal.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;

struct Case {
    api: Api,
    now: Instant,
}

impl Case {
    /// With proxy `p` to an echo server.
    fn new() -> Case {
        let case = Case {
            api: Api::new(system_names),
            now: Instant::now(),
        };
        let proxy = json!({ "name": "p", "listen": "127.0.0.1:0", "upstream": echo() });
        assert_eq!(case.ask("POST", "/proxies", &proxy.to_string()).0, 201);
        case
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let request = Request {
            method: method.to_owned(),
            ..Request::post_json(path, body)
        };
        let response = wire::answer(&self.api, &request, self.now);
        let json = serde_json::from_slice(&response.body);
        (response.status, json.unwrap_or(Value::Null))
    }

    #[track_caller]
    fn add(&self, toxic: &Value) -> Value {
        let (status, json) = self.ask("POST", "/proxies/p/toxics", &toxic.to_string());
        assert_eq!(status, 200, "{json}");
        json
    }

    fn toxics(&self) -> Vec<String> {
        let (_, json) = self.ask("GET", "/proxies/p/toxics", "");
        let names = json.as_array().unwrap().iter();
        names.map(|toxic| toxic["name"].as_str().unwrap().to_owned()).collect()
    }

    fn listen(&self) -> String {
        let (_, json) = self.ask("GET", "/proxies/p", "");
        json["listen"].as_str().unwrap().to_owned()
    }
}

fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                while let Ok(count @ 1..) = (&stream).read(&mut bytes) {
                    if (&stream).write_all(&bytes[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn talk(listen: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"ping")?;
    stream.read_exact(&mut [0; 4])
}

#[test]
fn what_would_end_toxiproxy_is_refused_and_said_why() {
    let case = Case::new();
    let rows = [
        ("slicer", json!({}), "`average_size` is 0: it can't be less than 1"),
        (
            "slicer",
            json!({ "average_size": 8, "size_variation": 9 }),
            "`size_variation` is 9: it can't be more than `average_size`, which is 8",
        ),
        (
            "bandwidth",
            json!({ "rate": -1 }),
            "`rate` is -1: it can't be less than 0",
        ),
        (
            "latency",
            json!({ "jitter": i64::MAX }),
            "`jitter` is 9223372036854775807: it can't be more than 9223372036854",
        ),
        (
            "loss",
            json!({ "per_mille": 1001 }),
            "`per_mille` is 1001: it can't be more than 1000",
        ),
        (
            "noop",
            json!({ "ttl_ms": -1 }),
            "`ttl_ms` is -1: it can't be less than 0",
        ),
        (
            "noop",
            json!({ "ttl_ms": 1.5 }),
            "bad request body: `attributes.ttl_ms`: a whole number is expected, not a number that is broken or too large",
        ),
    ];
    for (kind, attributes, expected) in rows {
        let toxic = json!({ "type": kind, "attributes": attributes });
        let (status, json) = case.ask("POST", "/proxies/p/toxics", &toxic.to_string());
        assert_eq!((status, json["error"].as_str()), (400, Some(expected)), "{toxic}");
    }
    assert!(case.toxics().is_empty());
}

#[test]
fn a_proxy_onto_itself_is_refused() {
    let case = Case::new();
    let listen = case.listen();
    let port = listen.rsplit_once(':').unwrap().1;
    for upstream in [listen.clone(), format!("localhost:{port}"), format!(":{port}")] {
        let body = json!({ "upstream": upstream, "enabled": true }).to_string();
        let (status, said) = case.ask("POST", "/proxies/p", &body);
        assert!(status >= 400, "{said}");
        let said = said["error"].as_str().unwrap().to_owned();
        assert!(said.ends_with("is the proxy's own listen address"), "{said}");
    }
    let body = json!({ "upstream": echo(), "enabled": true }).to_string();
    assert_eq!(case.ask("POST", "/proxies/p", &body).0, 200);
    talk(&case.listen()).unwrap();
}

#[test]
fn a_refused_change_changes_nothing() {
    let case = Case::new();
    let slicer = json!({ "average_size": 8, "size_variation": 4, "delay": 0 });
    let before = case.add(&json!({ "type": "slicer", "attributes": slicer }));
    for change in [
        json!({ "toxicity": 0.5, "attributes": { "delay": 1, "average_size": 3 } }),
        json!({ "toxicity": 0.5, "attributes": { "delay": "1" } }),
        json!({ "attributes": { "delay": 1 }, "toxicity": "1" }),
    ] {
        let (status, _) = case.ask("PATCH", "/proxies/p/toxics/slicer_downstream", &change.to_string());
        assert_eq!(status, 400, "{change}");
        let (_, after) = case.ask("GET", "/proxies/p/toxics/slicer_downstream", "");
        assert_eq!(after, before, "{change}");
    }
    let both = json!({ "attributes": { "average_size": 3, "size_variation": 3 } });
    let (status, _) = case.ask("PATCH", "/proxies/p/toxics/slicer_downstream", &both.to_string());
    assert_eq!(status, 200);
}

#[test]
fn a_toxic_with_a_time_to_live_removes_itself() {
    let mut case = Case::new();
    let brief = case.add(&json!({ "type": "noop", "name": "brief", "attributes": { "ttl_ms": 100 } }));
    assert_eq!(brief["attributes"]["ttl_ms"], 100);
    case.add(&json!({ "type": "noop", "name": "long", "attributes": { "ttl_ms": 500 } }));
    case.add(&json!({ "type": "noop", "name": "kept", "attributes": { "ttl_ms": 100 } }));
    case.ask("PATCH", "/proxies/p/toxics/kept", "{\"attributes\":{\"ttl_ms\":0}}");
    case.now += Duration::from_millis(99);
    // A change of something else doesn't prolong it, a new time does.
    case.ask("PATCH", "/proxies/p/toxics/brief", "{\"toxicity\":0.5}");
    assert_eq!(case.toxics(), ["brief", "long", "kept"]);
    case.now += Duration::from_millis(1);
    assert_eq!(case.toxics(), ["long", "kept"]);
    assert_eq!(case.ask("GET", "/proxies/p/toxics/brief", "").0, 404);
    case.ask("PATCH", "/proxies/p/toxics/long", "{\"attributes\":{\"ttl_ms\":1000}}");
    case.now += Duration::from_millis(999);
    assert_eq!(case.toxics(), ["long", "kept"]);
    case.now += Duration::from_millis(1);
    assert_eq!(case.toxics(), ["kept"]);
}

#[test]
fn traffic_passes_again_when_the_time_is_over_though_nobody_asks() {
    let case = Case::new();
    let listen = case.listen();
    case.add(&json!({ "type": "reset_peer", "attributes": { "ttl_ms": 300 } }));
    let refused = talk(&listen).unwrap_err().kind();
    assert!(
        [
            ErrorKind::ConnectionReset,
            ErrorKind::UnexpectedEof,
            ErrorKind::BrokenPipe
        ]
        .contains(&refused),
        "{refused}"
    );
    std::thread::sleep(Duration::from_millis(400));
    talk(&listen).unwrap();
}

#[test]
fn what_passed_is_counted_across_restarts() {
    let case = Case::new();
    talk(&case.listen()).unwrap();
    case.ask("POST", "/proxies/p", "{\"enabled\":false}");
    case.ask("POST", "/proxies/p", "{\"enabled\":true}");
    talk(&case.listen()).unwrap();
    case.ask("POST", "/proxies/p", "{\"enabled\":false}");
    let response = wire::answer(&case.api, &Request::get("/metrics"), case.now);
    let text = String::from_utf8(response.body).unwrap();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("toxiproxy_proxy_sent_bytes_total{direction=\"upstream\",").ends_with("} 8"));
    assert!(line("toxiproxy_proxy_sent_bytes_total{direction=\"downstream\",").ends_with("} 8"));
    assert!(line("proofmark_proxy_connections_total{").ends_with("} 2"));
    assert!(line("proofmark_proxy_connections_open{").ends_with("} 0"));
}

#[test]
fn a_disabled_or_removed_proxy_frees_its_port_before_it_answers() {
    let case = Case::new();
    let listen = case.listen();
    for (method, body) in [("POST", "{\"enabled\":false}"), ("DELETE", "")] {
        assert!(case.ask(method, "/proxies/p", body).0 < 300);
        drop(TcpListener::bind(&listen).unwrap());
        case.ask("POST", "/proxies/p", "{\"enabled\":true}");
    }
}

#[test]
fn nothing_grows_without_end() {
    let case = Case::new();
    for number in 0..TOXICS_MAX {
        case.add(&json!({ "type": "noop", "name": number.to_string() }));
    }
    let (status, json) = case.ask("POST", "/proxies/p/toxics", "{\"type\":\"noop\"}");
    assert_eq!(
        (status, &json["error"]),
        (400, &"a proxy holds 256 toxics at most".into())
    );
    let long = json!({ "name": "x".repeat(TEXT_BYTES_MAX + 1), "upstream": "u" });
    assert_eq!(case.ask("POST", "/proxies", &long.to_string()).0, 400);
    let off = |number: usize| json!({ "name": number.to_string(), "upstream": "u", "enabled": false });
    let all: Vec<Value> = (1..PROXIES_MAX).map(off).collect();
    assert_eq!(case.ask("POST", "/populate", &Value::from(all).to_string()).0, 201);
    let (status, json) = case.ask("POST", "/proxies", &off(0).to_string());
    assert_eq!(
        (status, &json["error"]),
        (400, &"there are 1024 proxies at most".into())
    );
}
