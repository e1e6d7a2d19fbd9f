//! `toxiproxy`: Toxiproxy's own clients, unmodified, and odd requests, put to toxiproxy-server and to our API: the answers
//! are to be the same. Where toxiproxy-server is not installed, its recorded answers (`toxiproxy/golden`) stand in for it;
//! `toxiproxy record VERSION` writes them.
//!
//! - `toxiproxy/client.py`, `toxiproxy/client.mjs`: every method of toxiproxy-python and of toxiproxy-node-client
//! - `toxiproxy/client-go/main.go`, `toxiproxy/client.rb`: every method of Toxiproxy's Go and Ruby clients; not in the
//!   tests, and named as not run where Go with the module in its cache, or Ruby with the gem, is missing
//! - `toxiproxy/requests.jsonl`: requests no client sends, with method, path, body and agent. `{taken}` is a port
//!   somebody listens on, `{listen.NAME}` where proxy NAME listened when it was last shown
//!
//! An answer is compared without ports, without the version, without `Logger` (Go's logger, shown by accident), and without
//! what follows `bad request body: `, since those words are those of Go's JSON reader.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos::toxiproxy::{Api, serve, system_names};
use net::http::{self, Limits, Request, Response};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::expected::Tally;

const SCRIPTS: [Script; 5] = [Script::Requests, Script::Python, Script::Node, Script::Go, Script::Ruby];
/// How long toxiproxy-server may take to listen.
const START_MS_MAX: u64 = 5_000;
/// What follows in an error stands in the words of a JSON reader.
const JSON_WORDS: &str = "bad request body: ";

/// Compares all scripts.
pub fn run() -> Result<(), String> {
    let mut tally = Tally::of("toxiproxy")?;
    for script in SCRIPTS {
        match script.program() {
            Ok(program) => compare(script, &program, &mut tally)?,
            Err(problem) if matches!(script, Script::Go | Script::Ruby) => {
                println!("not run: {}: {problem}", script.name())
            }
            Err(problem) => return Err(problem),
        }
    }
    tally.close()
}

/// Writes what toxiproxy-server of that version answers.
pub fn record(version: &str) -> Result<(), String> {
    let server = server_program().ok_or("toxiproxy-server is not installed")?;
    for script in SCRIPTS {
        let theirs = Theirs::start(&server)?;
        let program = script.program()?;
        let mut text = format!("{}\n", json!({ "recorded": format!("toxiproxy-server {version}") }));
        for (step, answer) in script.answers(&program, theirs.address)? {
            text.push_str(&format!("{}\n", json!({ "step": step, "answer": answer })));
        }
        std::fs::write(script.golden(), text).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn compare(script: Script, program: &Program, tally: &mut Tally) -> Result<(), String> {
    let expected = match server_program() {
        Some(server) => {
            let theirs = Theirs::start(&server)?;
            script.answers(program, theirs.address)?
        }
        None => script.recorded()?,
    };
    let ours = Ours::start()?;
    let mut got: BTreeMap<String, Value> = script.answers(program, ours.address)?.into_iter().collect();
    for (step, answer) in expected {
        let got = got
            .remove(&step)
            .map_or_else(|| "no answer".to_owned(), |got| got.to_string());
        tally.case(&format!("{}/{step}", script.name()), &answer.to_string(), &got);
    }
    for (step, answer) in got {
        tally.case(
            &format!("{}/{step}", script.name()),
            "no such step",
            &answer.to_string(),
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Script {
    Requests,
    Python,
    Node,
    Go,
    Ruby,
}

/// What runs a script: program and first arguments. The port follows, then what stands in `after`.
#[derive(Default)]
struct Program {
    words: Vec<PathBuf>,
    after: Option<PathBuf>,
    _built: Option<tempfile::TempDir>,
}

impl Script {
    fn name(self) -> &'static str {
        match self {
            Script::Requests => "requests",
            Script::Python => "python",
            Script::Node => "node",
            Script::Go => "go",
            Script::Ruby => "ruby",
        }
    }

    fn program(self) -> Result<Program, String> {
        Ok(match self {
            Script::Requests => Program::default(),
            Script::Python => Program {
                words: vec![python()?, folder().join("client.py")],
                ..Program::default()
            },
            Script::Node => Program {
                words: vec!["node".into(), folder().join("client.mjs")],
                after: Some(node_modules()?),
                ..Program::default()
            },
            Script::Go => go_client()?,
            Script::Ruby => Program {
                words: vec![ruby()?, folder().join("client.rb")],
                ..Program::default()
            },
        })
    }

    fn golden(self) -> PathBuf {
        folder().join(format!("golden/{}.jsonl", self.name()))
    }

    fn recorded(self) -> Result<Vec<(String, Value)>, String> {
        let path = self.golden();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let (_, steps) = text.split_once('\n').ok_or("no recorded answers")?;
        self::steps(steps)
    }

    /// Step and answer of each step, in order.
    fn answers(self, program: &Program, address: SocketAddr) -> Result<Vec<(String, Value)>, String> {
        let Some((name, words)) = program.words.split_first() else {
            return requests(address);
        };
        let mut command = Command::new(name);
        command.args(words).arg(address.port().to_string()).args(&program.after);
        let out = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        if !out.status.success() {
            let words = String::from_utf8_lossy(&out.stderr);
            return Err(format!("{command:?} failed: {words}"));
        }
        steps(&String::from_utf8_lossy(&out.stdout))
    }
}

fn steps(lines: &str) -> Result<Vec<(String, Value)>, String> {
    let step = |line: &str| {
        let value: Value = serde_json::from_str(line).map_err(|error| format!("`{line}`: {error}"))?;
        let step = value["step"].as_str().ok_or_else(|| format!("`{line}` has no step"))?;
        Ok((step.to_owned(), plain(value["answer"].clone())))
    };
    lines.lines().map(step).collect()
}

/// Sends the odd requests in turn.
fn requests(address: SocketAddr) -> Result<Vec<(String, Value)>, String> {
    let path = folder().join("requests.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    let taken = taken
        .local_addr()
        .map_err(|error| error.to_string())
        .map(|at| (taken, at.port()))?;
    let runtime = runtime()?;
    let mut listens: BTreeMap<String, String> = BTreeMap::new();
    let mut answers = Vec::new();
    for line in text.lines() {
        let asked: Value = serde_json::from_str(line).map_err(|error| format!("`{line}`: {error}"))?;
        let field = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let mut body = field("body").replace("{taken}", &taken.1.to_string());
        for (name, listen) in &listens {
            body = body.replace(&format!("{{listen.{name}}}"), listen);
        }
        let agent = Some(field("agent")).filter(|agent| !agent.is_empty());
        let request = Request {
            method: field("method"),
            path: field("path"),
            headers: agent
                .map(|agent| ("user-agent".to_owned(), agent))
                .into_iter()
                .collect(),
            body: body.into_bytes(),
        };
        let response = runtime
            .block_on(http::send(address, request, &Limits::default()))
            .map_err(|error| format!("{}: {error}", field("step")))?;
        note_listens(&response, &mut listens);
        answers.push((field("step"), plain(shown(&response))));
    }
    Ok(answers)
}

fn note_listens(response: &Response, listens: &mut BTreeMap<String, String>) {
    fn visit(value: &Value, listens: &mut BTreeMap<String, String>) {
        if let (Some(name), Some(listen)) = (value["name"].as_str(), value["listen"].as_str()) {
            listens.insert(name.to_owned(), listen.to_owned());
        }
        if let Some(proxies) = value["proxies"].as_array() {
            proxies.iter().for_each(|proxy| visit(proxy, listens));
        }
    }
    if let Ok(value) = serde_json::from_slice::<Value>(&response.body) {
        visit(&value, listens);
    }
}

fn shown(response: &Response) -> Value {
    let body = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&response.body).into_owned()));
    json!({
        "status": response.status,
        "type": response.header("content-type"),
        "location": response.header("location"),
        "body": body,
    })
}

/// Without what differs from run to run and from one JSON reader to the other.
fn plain(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain_text(&text)),
        Value::Array(list) => list.into_iter().map(plain).collect(),
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, _)| name != "Logger");
            let member = |(name, value): (String, Value)| match (name.as_str(), value) {
                ("version", Value::String(_)) => (name, "VERSION".into()),
                (_, value) => (name, plain(value)),
            };
            Value::Object(kept.map(member).collect())
        }
        other => other,
    }
}

fn plain_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    if let Some((before, after)) = text.split_once(JSON_WORDS) {
        out = format!("{before}{JSON_WORDS}…");
        rest = after.find("\",\"status\"").map_or("", |end| &after[end..]);
    }
    for (index, part) in rest.split(':').enumerate() {
        if index > 0 {
            out.push(':');
        }
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if index > 0 && (4..=5).contains(&digits) {
            out.push_str("PORT");
            out.push_str(&part[digits..]);
        } else {
            out.push_str(part);
        }
    }
    out
}

/// A toxiproxy-server, killed in the end.
struct Theirs {
    child: Child,
    address: SocketAddr,
}

impl Theirs {
    fn start(program: &Path) -> Result<Theirs, String> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let address = free.map_err(|error| error.to_string())?;
        let child = Command::new(program)
            .args(["-host", "127.0.0.1", "-port", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let theirs = Theirs { child, address };
        let end = Instant::now() + Duration::from_millis(START_MS_MAX);
        while TcpStream::connect(address).is_err() {
            if Instant::now() > end {
                return Err(format!("toxiproxy-server doesn't listen after {START_MS_MAX} ms"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(theirs)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our API in this process, gone with this value.
struct Ours {
    address: SocketAddr,
    _server: http::Server,
    _runtime: Runtime,
}

impl Ours {
    fn start() -> Result<Ours, String> {
        let runtime = runtime()?;
        let listener = net::loopback_listener().map_err(|error| error.to_string())?;
        let guard = runtime.enter();
        let server = serve(listener, Arc::new(Api::new(system_names)));
        drop(guard);
        Ok(Ours {
            address: server.address(),
            _server: server,
            _runtime: runtime,
        })
    }
}

fn runtime() -> Result<Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("toxiproxy")
}

fn peers() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    home.join(".cache/proofmark-peers")
}

/// Where `cargo xtask test setup` puts the interpreters' packages.
fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    target
        .map_or_else(|| root.join("target"), |target| root.join(target))
        .join("tools")
}

fn server_program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([peers().join("bin")])
        .map(|folder| folder.join("toxiproxy-server"))
        .find(|program| program.is_file())
}

/// An interpreter that has the client.
fn python() -> Result<PathBuf, String> {
    let known = [
        tools().join("venv/bin/python"),
        peers().join("venv/chaos/bin/python"),
        "python3".into(),
    ];
    let has_client = |python: &PathBuf| {
        let mut asked = Command::new(python);
        asked.args(["-c", "import toxiproxy"]).stderr(Stdio::null());
        asked.status().is_ok_and(|status| status.success())
    };
    let found = known.into_iter().find(has_client);
    found.ok_or_else(|| "toxiproxy-python is not installed: `cargo xtask test setup` installs it".to_owned())
}

/// A folder of modules that has the client.
fn node_modules() -> Result<PathBuf, String> {
    let known = [tools().join("npm"), peers().join("npm/toxiproxy-client")].map(|folder| folder.join("node_modules"));
    let found = known
        .into_iter()
        .find(|folder| folder.join("toxiproxy-node-client").is_dir());
    found.ok_or_else(|| "toxiproxy-node-client is not installed: `cargo xtask test setup` installs it".to_owned())
}

fn ruby() -> Result<PathBuf, String> {
    let mut asked = Command::new("ruby");
    asked.args(["-e", "require 'toxiproxy'"]).stderr(Stdio::null());
    match asked.status() {
        Ok(status) if status.success() => Ok("ruby".into()),
        _ => Err("there is no Ruby with the gem `toxiproxy`".to_owned()),
    }
}

/// The script, built against the module in Go's cache and nothing from the network.
fn go_client() -> Result<Program, String> {
    let built = tempfile::tempdir().map_err(|error| error.to_string())?;
    let program = built.path().join("client");
    std::fs::copy(folder().join("client-go/main.go"), built.path().join("main.go"))
        .and_then(|_| {
            let module = "module client\n\ngo 1.23\n\nrequire github.com/Shopify/toxiproxy/v2 v2.12.0\n";
            std::fs::write(built.path().join("go.mod"), module)
        })
        .map_err(|error| error.to_string())?;
    let out = Command::new("go")
        .args(["build", "-mod=mod", "-o"])
        .arg(&program)
        .current_dir(built.path())
        .envs([("GOPROXY", "off"), ("GOSUMDB", "off")])
        .output()
        .map_err(|error| format!("`go`: {error}"))?;
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
    }
    Ok(Program {
        words: vec![program],
        _built: Some(built),
        ..Program::default()
    })
}

/// Prints at once, so that a long campaign shows that it lives.
pub fn say(text: &str) {
    println!("{text}");
    let _ = std::io::stdout().flush();
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    fn same_answers(script: Script) {
        let mut tally = Tally::of("toxiproxy").unwrap();
        compare(script, &script.program().unwrap(), &mut tally).unwrap();
        tally.close().unwrap();
    }

    #[test]
    fn odd_requests_get_the_answers_of_toxiproxy_server() {
        same_answers(Script::Requests);
    }

    #[test]
    fn the_python_client_gets_the_answers_of_toxiproxy_server() {
        same_answers(Script::Python);
    }

    #[test]
    fn the_node_client_gets_the_answers_of_toxiproxy_server() {
        same_answers(Script::Node);
    }

    #[test]
    fn what_differs_from_run_to_run_is_taken_out() {
        let rows = [
            ("listen tcp 127.0.0.1:41234: bind", "listen tcp 127.0.0.1:PORT: bind"),
            ("[::]:8080", "[::]:PORT"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("address 99999: invalid port", "address 99999: invalid port"),
            ("bad request body: EOF", "bad request body: …"),
            (
                "{\"error\":\"bad request body: x\",\"status\":400}",
                "{\"error\":\"bad request body: …\",\"status\":400}",
            ),
        ];
        for (text, expected) in rows {
            assert_eq!(plain_text(text), expected);
        }
    }

    #[test]
    fn nothing_is_reset_at_toxicity_0_in_10_000_connections() {
        const THREADS: usize = 4;
        const CONNECTIONS: usize = 10_000;
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let upstream = echo.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in echo.incoming() {
                let Ok(mut stream) = stream else { break };
                std::thread::spawn(move || {
                    let mut bytes = [0; 4];
                    while stream
                        .read_exact(&mut bytes)
                        .and_then(|()| stream.write_all(&bytes))
                        .is_ok()
                    {}
                });
            }
        });
        let api = Api::new(system_names);
        let ask = |path: &str, body: &str| {
            let response = api.answer(&Request::post_json(path, body));
            assert!(response.status < 300, "{}", String::from_utf8_lossy(&response.body));
            serde_json::from_slice::<Value>(&response.body).unwrap()
        };
        let body = json!({ "name": "p", "upstream": upstream.to_string(), "listen": "127.0.0.1:0" });
        let listen = ask("/proxies", &body.to_string())["listen"]
            .as_str()
            .unwrap()
            .to_owned();
        for kind in [
            "latency",
            "bandwidth",
            "slow_close",
            "timeout",
            "reset_peer",
            "slicer",
            "limit_data",
        ] {
            for stream in ["upstream", "downstream"] {
                let attributes =
                    json!({ "latency": 60_000, "timeout": 0, "average_size": 1, "bytes": 0, "delay": 1_000 });
                let toxic = json!({ "type": kind, "stream": stream, "toxicity": 0, "attributes": attributes });
                ask("/proxies/p/toxics", &toxic.to_string());
            }
        }
        let broken = |listen: &str| {
            let talk = || -> std::io::Result<bool> {
                let mut stream = TcpStream::connect(listen)?;
                stream.set_read_timeout(Some(Duration::from_secs(10)))?;
                stream.write_all(b"ping")?;
                let mut bytes = [0; 4];
                stream.read_exact(&mut bytes)?;
                Ok(&bytes == b"ping")
            };
            usize::from(!talk().unwrap_or(false))
        };
        let failures: usize = std::thread::scope(|scope| {
            let work = || (0..CONNECTIONS / THREADS).map(|_| broken(&listen)).sum::<usize>();
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(failures, 0, "of {CONNECTIONS} connections");
    }
}
