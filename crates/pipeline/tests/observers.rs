//! Observers over real files, programs and ports, and with the tools themselves: Prometheus, Alertmanager, journalctl and
//! OpenTelemetry's SDK. What is not installed prints `not run`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use net::http::{self, Limits, Request, Response};
use pipeline::observers::Observers;
use serde_json::{Value, json};
use telemetry::{Alert, Event, Reading};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Observers of a `[chaos]` section, in a folder of their own.
struct Bench {
    folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    observers: Option<Observers>,
    /// Polled, and not looked at yet.
    waiting: RefCell<VecDeque<Reading>>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            folder: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            observers: None,
            waiting: RefCell::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn try_open(&self, text: &str) -> Result<Observers, String> {
        let settings = chaos::Settings::parse("proofmark.toml", text)
            .map_err(|problems| format!("{problems:?}"))?
            .below(self.folder.path());
        let _guard = self.runtime.enter();
        let clock: pipeline::Clock = Arc::new(pipeline::now);
        let random: pipeline::Random = Arc::new(pipeline::random_seed);
        Observers::start(&settings.observers, &clock, &random).map_err(|error| error.to_string())
    }

    fn open(&mut self, text: &str) {
        self.observers = Some(self.try_open(text).unwrap());
    }

    fn observers(&self) -> &Observers {
        self.observers.as_ref().unwrap()
    }

    fn add(&self, name: &str, text: &str) {
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// All that has come and was not looked at yet.
    fn poll(&self) -> Vec<Reading> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.extend(self.observers().poll_readings());
        waiting.drain(..).collect()
    }

    /// Polls until something that is no gap has come that `wanted` finds.
    fn wait<T>(&self, what: &str, mut wanted: impl FnMut(Reading) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < PATIENCE {
            self.waiting.borrow_mut().extend(self.observers().poll_readings());
            while let Some(reading) = self.waiting.borrow_mut().pop_front() {
                seen.push(format!("{reading:?}"));
                if let Some(found) = wanted(reading) {
                    return found;
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what} didn't come; {seen:#?}");
    }

    fn self_test(&self, name: &str, canary: &Value) -> Result<(), String> {
        self.runtime.block_on(self.observers().self_test(name, canary))
    }

    fn post(&self, name: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let url = self.observers().url(name).unwrap();
        let (address, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        self.post_at(address.parse().unwrap(), &format!("/{path}"), headers, body)
    }

    fn post_at(&self, address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.to_vec(),
        };
        self.runtime
            .block_on(http::send(address, request, &Limits::default()))
            .unwrap()
    }
}

fn event(reading: Reading) -> Option<Event> {
    match reading {
        Reading::Event(event) => Some(event),
        _ => None,
    }
}

fn alert(reading: Reading) -> Option<Alert> {
    match reading {
        Reading::Alert(alert) => Some(alert),
        _ => None,
    }
}

const FALCO: &str = r#"{"rule":"Shell","priority":"Warning","tags":["T1059"],"time":"2026-11-24T12:00:01Z","output_fields":{"run":"r-7"}}"#;

#[test]
fn a_file_is_followed_through_rotation_and_cuts() {
    let mut bench = Bench::new();
    bench.add("falco.json", "old\n");
    bench.open("[chaos.observer.runtime]\nkind = \"falco\"\nfile = \"falco.json\"\n");
    assert_eq!(bench.poll(), [], "what stands there already is not news");
    let before = pipeline::now().boottime;
    bench.add("falco.json", &format!("{FALCO}\n"));
    let first = bench.wait("an alert", alert);
    assert!((before..=pipeline::now().boottime).contains(&first.boottime));
    assert_eq!((first.source.as_str(), first.name.as_str()), ("runtime", "Shell"));
    bench.add("falco.json", FALCO);
    fs::rename(bench.path("falco.json"), bench.path("falco.json.1")).unwrap();
    bench.add("falco.json", &format!("{FALCO}\n"));
    bench.wait("the unfinished line of the old file", alert);
    bench.wait("the line of the new file", alert);
    bench.add("falco.json", &format!("{FALCO}\n"));
    bench.wait("one more", alert);
    fs::write(bench.path("falco.json"), format!("{FALCO}\n")).unwrap();
    bench.wait("what was written after a cut", alert);
    assert_eq!(bench.poll(), []);
}

#[test]
fn what_was_written_before_a_poll_is_in_it() {
    let mut bench = Bench::new();
    bench.open("[chaos.observer.waf]\nkind = \"generic\"\nfile = \"waf.json\"\nname = \"/rule\"\n");
    for n in 0..200 {
        bench.add("waf.json", &format!("{{\"rule\":\"r{n}\"}}\n"));
        let names: Vec<_> = bench
            .poll()
            .into_iter()
            .filter_map(alert)
            .map(|alert| alert.name)
            .collect();
        assert_eq!(names, [format!("r{n}")]);
    }
}

#[test]
fn a_file_that_says_nothing_new_fails_its_self_test() {
    let mut bench = Bench::new();
    bench.open(
        "[chaos.observer.runtime]\nkind = \"falco\"\nfile = \"falco.json\"\nfresh_seconds = 3600\n\
         [chaos.observer.folder]\nkind = \"auditd\"\nfile = \".\"\n",
    );
    let check = |bench: &Bench, canary: Value, expect: &str| {
        let found = bench.self_test("runtime", &canary).err().unwrap_or_default();
        assert!(
            found.starts_with(expect) && found.is_empty() == expect.is_empty(),
            "{found}"
        );
    };
    check(&bench, Value::Null, "its file isn't there");
    bench.add("falco.json", "");
    check(&bench, Value::Null, "");
    check(&bench, serde_json::from_str(FALCO).unwrap(), "");
    check(
        &bench,
        json!({"message": "x"}),
        "its reader can't read a canary: it has no `rule`",
    );
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options()
        .append(true)
        .open(bench.path("falco.json"))
        .unwrap()
        .set_modified(yesterday)
        .unwrap();
    check(&bench, Value::Null, "its file was last written 8640");
    assert!(
        bench
            .self_test("folder", &Value::Null)
            .unwrap_err()
            .contains("can't be read")
    );
    assert!(bench.self_test("nobody", &Value::Null).is_err());
    let gap = bench.wait("a gap", |reading| match reading {
        Reading::Gap { source, .. } => Some(source),
        _ => None,
    });
    assert_eq!(gap, "folder");
}

#[test]
fn requests_of_every_kind_on_one_port() {
    let mut bench = Bench::new();
    bench.open(
        "[chaos.observer.pager]\nkind = \"alertmanager\"\nlisten = \"127.0.0.1:0\"\n\
         [chaos.observer.runtime]\nkind = \"falco\"\nlisten = \"127.0.0.1:0\"\n\
         [chaos.observer.logs]\nkind = \"otlp\"\nlisten = \"127.0.0.1:0\"\n\
         [chaos.observer.waf]\nkind = \"generic\"\nlisten = \"127.0.0.1:0\"\nname = \"/rule\"\n",
    );
    let observers = bench.observers();
    for (name, path) in [
        ("pager", "/alertmanager"),
        ("runtime", "/falco"),
        ("logs", "/v1/logs"),
        ("waf", "/generic/waf"),
    ] {
        let address = observers.address(name).unwrap();
        assert_eq!(observers.url(name), Some(format!("http://{address}{path}")));
        assert_eq!(bench.self_test(name, &Value::Null), Ok(()), "{name}");
        assert_eq!(bench.post_at(address, "/other", &[], b"").status, 404);
        assert_eq!(
            bench
                .post_at(address, path, &[("content-type", "application/json")], b"\xff")
                .status,
            400
        );
        let gaps = bench.poll();
        assert!(
            matches!(&gaps[..], [Reading::Gap { source, .. }] if source == name),
            "{gaps:?}"
        );
    }
    assert_eq!(bench.poll(), [], "canaries go no further");
    let before = pipeline::now().boottime;
    assert_eq!(bench.post("runtime", &[], FALCO.as_bytes()).status, 200);
    let after = pipeline::now().boottime;
    let got = bench.wait("an alert", alert);
    assert!((before..=after).contains(&got.boottime));
    assert_eq!(bench.post("waf", &[], br#"{"rule":"x"}"#).status, 200);
    assert_eq!(bench.wait("an alert", alert).name, "x");
    assert!(
        bench
            .self_test("waf", &json!([]))
            .unwrap_err()
            .contains("nothing came out")
    );
    assert!(
        bench
            .self_test("runtime", &json!({}))
            .unwrap_err()
            .contains("answers 400")
    );
    // A body is bounded, packed or not.
    let zeros = vec![b' '; telemetry::DOCUMENT_BYTES_MAX + 1];
    assert_eq!(bench.post("logs", &[], &zeros).status, 413);
    assert_eq!(
        bench
            .post(
                "logs",
                &[("content-encoding", "gzip"), ("content-type", "application/json")],
                b"x"
            )
            .status,
        400
    );
}

#[test]
fn a_shared_port_and_tokens() {
    let mut bench = Bench::new();
    fs::write(bench.path("token"), "s3cret-of-a-test\n").unwrap();
    let port = net::loopback_listener().unwrap().local_addr().unwrap().port();
    let text = format!(
        "[chaos.observer.a]\nkind = \"alertmanager\"\nlisten = \"127.0.0.1:{port}\"\n\
         [chaos.observer.b]\nkind = \"alertmanager\"\nlisten = \"127.0.0.1:{port}\"\ntoken_file = \"token\"\n\
         [chaos.observer.c]\nkind = \"falco\"\nlisten = \"127.0.0.1:{port}\"\n"
    );
    bench.open(&text);
    let url = |name: &str| bench.observers().url(name).unwrap();
    assert_eq!(url("a"), format!("http://127.0.0.1:{port}/alertmanager/a"));
    assert_eq!(url("c"), format!("http://127.0.0.1:{port}/falco"));
    let note = br#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"A"}}]}"#;
    assert_eq!(bench.post("b", &[], note).status, 401);
    assert_eq!(bench.post("b", &[("authorization", "Bearer wrong")], note).status, 401);
    assert_eq!(
        bench
            .post("b", &[("authorization", "bearer s3cret-of-a-test")], note)
            .status,
        200
    );
    assert_eq!(bench.post("a", &[], note).status, 200);
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(bench.post_at(at, "/falco/c?x=1", &[], FALCO.as_bytes()).status, 200);
    let sources: Vec<String> = bench
        .poll()
        .into_iter()
        .filter_map(alert)
        .map(|alert| alert.source)
        .collect();
    assert_eq!(sources, ["b", "a", "c"]);
    for name in ["a", "b", "c"] {
        assert_eq!(bench.self_test(name, &Value::Null), Ok(()), "{name}");
    }
    assert!(
        bench.try_open(&text).err().unwrap().contains("can't listen"),
        "somebody listens there already"
    );
    let open = "[chaos.observer.a]\nkind = \"falco\"\nlisten = \"0.0.0.0:0\"\n";
    assert!(bench.try_open(open).err().unwrap().contains("token_file"));
}

#[test]
fn a_program_that_prints() {
    let mut bench = Bench::new();
    bench.open(
        "[chaos.observer.journal]\nkind = \"journald\"\ncommand = [\"sh\", \"-c\", \"printf 'MESSAGE\\\\n\\\\001\\\\000\\\\000\\\\000\\\\000\\\\000\\\\000\\\\000x\\\\n_PID=7\\\\n\\\\n'; exec sleep 600\"]\n\
         [chaos.observer.ended]\nkind = \"journald\"\ncommand = [\"true\"]\n",
    );
    let entry = bench.wait("an entry", event);
    assert_eq!(entry.fields, json!({"MESSAGE": "x", "_PID": "7"}));
    assert_eq!(bench.self_test("journal", &Value::Null), Ok(()));
    bench.wait("a gap", |reading| {
        matches!(&reading, Reading::Gap { source, .. } if source == "ended").then_some(())
    });
    assert!(
        bench
            .self_test("ended", &Value::Null)
            .unwrap_err()
            .contains("ended with exit code 0")
    );
    let missing = "[chaos.observer.x]\nkind = \"journald\"\ncommand = [\"no-such-program-here\"]\n";
    assert!(bench.try_open(missing).is_err());
}

#[test]
fn an_api_that_is_asked_and_one_that_is_gone() {
    let mut bench = Bench::new();
    let answers = Arc::new(std::sync::Mutex::new(String::new()));
    let served = Arc::clone(&answers);
    let handler: http::Handler = Arc::new(move |_, _| {
        let body = served.lock().unwrap().clone();
        Box::pin(async move { Response::json(200, &body) })
    });
    let guard = bench.runtime.enter();
    let server = http::Server::start(
        net::loopback_listener().unwrap(),
        handler,
        http::ServerLimits::default(),
    );
    drop(guard);
    let firing = |names: &[&str]| {
        let alerts: Vec<Value> = names
            .iter()
            .map(|name| json!({"labels": {"alertname": name}, "state": "firing", "activeAt": "2026-11-24T12:00:00Z"}))
            .collect();
        *answers.lock().unwrap() = json!({"status": "success", "data": {"alerts": alerts}}).to_string();
    };
    firing(&[]);
    bench.open(&format!(
        "[chaos.observer.rules]\nkind = \"prometheus\"\naddress = \"{}\"\nevery_ms = 2\n",
        server.address()
    ));
    assert_eq!(bench.self_test("rules", &Value::Null), Ok(()));
    firing(&["A"]);
    let told = bench.wait("an alert", alert);
    assert_eq!((told.name.as_str(), told.firing), ("A", true));
    firing(&[]);
    assert!(!bench.wait("its end", alert).firing);
    *answers.lock().unwrap() = "{}".to_owned();
    assert!(
        bench
            .self_test("rules", &Value::Null)
            .unwrap_err()
            .contains("answers something else")
    );
    bench.runtime.block_on(server.stop());
    drop(server);
    assert!(
        bench
            .self_test("rules", &Value::Null)
            .unwrap_err()
            .contains("doesn't answer")
    );
    bench.wait("a gap", |reading| {
        matches!(&reading, Reading::Gap { reason, .. } if reason.contains("doesn't answer")).then_some(())
    });
}

// The tools themselves.

/// A program that is killed with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, args: &[&str], folder: &Path) -> Option<Running> {
    let log = fs::File::create(folder.join(format!("{}.log", program.rsplit('/').next().unwrap()))).unwrap();
    let child = Command::new(program)
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn();
    match child {
        Ok(child) => Some(Running(child)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("not run: `{program}` is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    net::loopback_listener().unwrap().local_addr().unwrap().port()
}

/// Asks until the answer is 200.
fn ready(bench: &Bench, address: SocketAddr, path: &str) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let answer = bench
            .runtime
            .block_on(http::send(address, Request::get(path), &Limits::default()));
        if answer.is_ok_and(|answer| answer.status == 200) {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{address}{path} doesn't get ready");
}

#[test]
fn prometheus_and_alertmanager() {
    let mut bench = Bench::new();
    // What is measured: a page with one metric, which the test sets.
    let metric = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let served = Arc::clone(&metric);
    let handler: http::Handler = Arc::new(move |_, _| {
        let page = format!("denied {}\n", served.load(std::sync::atomic::Ordering::Relaxed));
        Box::pin(async move { Response::new(200, "text/plain; version=0.0.4", page) })
    });
    let guard = bench.runtime.enter();
    let page = http::Server::start(
        net::loopback_listener().unwrap(),
        handler,
        http::ServerLimits::default(),
    );
    drop(guard);
    let (prometheus, alertmanager) = (free_port(), free_port());
    let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
    bench.open(&format!(
        "[chaos.observer.pager]\nkind = \"alertmanager\"\nlisten = \"127.0.0.1:0\"\n\
         [chaos.observer.rules]\nkind = \"prometheus\"\naddress = \"127.0.0.1:{prometheus}\"\nevery_ms = 20\n\
         [chaos.observer.series]\nkind = \"prometheus\"\naddress = \"127.0.0.1:{prometheus}\"\nevery_ms = 20\n\
         path = \"/federate?match%5B%5D=ALERTS\"\n"
    ));
    let folder = bench.folder.path().to_owned();
    let write = |name: &str, text: String| fs::write(folder.join(name), text).unwrap();
    write(
        "am.yml",
        format!(
            "route:\n  receiver: hook\n  group_by: [alertname]\n  group_wait: 0s\n  group_interval: 1s\nreceivers:\n- name: hook\n  \
             webhook_configs:\n  - url: {}\n    send_resolved: true\n",
            bench.observers().url("pager").unwrap()
        ),
    );
    write(
        "prom.yml",
        format!(
            "global:\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  evaluation_interval: 100ms\nrule_files: [rules.yml]\n\
             alerting:\n  alertmanagers:\n  - static_configs:\n    - targets: ['127.0.0.1:{alertmanager}']\n\
             scrape_configs:\n- job_name: shop\n  static_configs:\n  - targets: ['{}']\n",
            page.address()
        ),
    );
    write(
        "rules.yml",
        "groups:\n- name: shop\n  rules:\n  - alert: Denied\n    expr: denied > 0\n    labels: {severity: page, technique: T1078.004}\n    \
         annotations: {summary: 'many denied'}\n  - alert: Lasting\n    expr: denied > 0\n    for: 1h\n"
            .to_owned(),
    );
    let am_listen = format!("--web.listen-address=127.0.0.1:{alertmanager}");
    let prom_listen = format!("--web.listen-address=127.0.0.1:{prometheus}");
    let Some(_alertmanager) = start(
        "prometheus-alertmanager",
        &[
            "--config.file=am.yml",
            "--storage.path=am",
            "--cluster.listen-address=",
            &am_listen,
        ],
        &folder,
    ) else {
        return;
    };
    let Some(_prometheus) = start(
        "prometheus",
        &["--config.file=prom.yml", "--storage.tsdb.path=tsdb", &prom_listen],
        &folder,
    ) else {
        return;
    };
    ready(&bench, at(alertmanager), "/-/ready");
    ready(&bench, at(prometheus), "/-/ready");
    for name in ["pager", "rules", "series"] {
        assert_eq!(bench.self_test(name, &Value::Null), Ok(()), "{name}");
    }
    bench.poll();
    let set = pipeline::now().boottime;
    metric.store(3, std::sync::atomic::Ordering::Relaxed);
    let mut seen: Vec<Alert> = Vec::new();
    let told_by_all = |seen: &[Alert], firing: bool| {
        ["pager", "rules", "series"]
            .iter()
            .all(|name| seen.iter().any(|alert| alert.source == *name && alert.firing == firing))
    };
    bench.wait("every observer's alert", |reading| {
        seen.extend(alert(reading));
        told_by_all(&seen, true).then_some(())
    });
    for told in &seen {
        assert_eq!(
            (told.name.as_str(), told.severity.as_str(), told.firing),
            ("Denied", "page", true),
            "pending is not firing"
        );
        assert_eq!(told.techniques, ["T1078.004"]);
        assert!(told.boottime > set);
        assert_eq!(told.claimed.is_some(), told.source != "series");
        println!("{}: {:?} after the metric", told.source, told.boottime - set);
    }
    metric.store(0, std::sync::atomic::Ordering::Relaxed);
    bench.wait("every observer's end", |reading| {
        seen.extend(alert(reading));
        told_by_all(&seen, false).then_some(())
    });
}

/// What `cargo xtask test setup` installs for Python.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
        PathBuf::from,
    );
    target.join("tools/venv/bin/python")
}

#[test]
fn opentelemetrys_own_exporter() {
    let python = python();
    let installed = Command::new(&python)
        .args(["-c", "import opentelemetry.exporter.otlp.proto.http"])
        .output()
        .is_ok_and(|out| out.status.success());
    if !installed {
        println!("not run: opentelemetry-exporter-otlp-proto-http is not installed");
        return;
    }
    let mut bench = Bench::new();
    fs::write(bench.path("token"), "s3cret-of-a-test").unwrap();
    bench.open("[chaos.observer.logs]\nkind = \"otlp\"\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n");
    let script = r#"
import logging, sys
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
url, compression, token = sys.argv[1:]
provider = LoggerProvider(resource=Resource.create({"service.name": "ledger", "replica": 3}))
exporter = OTLPLogExporter(endpoint=url, compression=Compression(compression), headers={"authorization": "Bearer " + token}, timeout=5)
provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
log = logging.getLogger("audit")
log.addHandler(LoggingHandler(logger_provider=provider))
log.error("denied %s", "eve", extra={"run": "r-7", "count": -2, "ratio": 0.5, "roles": ["a", "b"], "known": False})
provider.shutdown()
"#;
    for compression in ["none", "gzip", "deflate"] {
        let url = bench.observers().url("logs").unwrap();
        let sent = Command::new(&python)
            .args(["-c", script, &url, compression, "s3cret-of-a-test"])
            .output()
            .unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        let fields = bench.wait("a record", event).fields;
        let got = json!([
            fields["message"],
            fields["run"],
            fields["count"],
            fields["ratio"],
            fields["roles"],
            fields["known"]
        ]);
        assert_eq!(
            got,
            json!(["denied eve", "r-7", -2, 0.5, ["a", "b"], false]),
            "{compression}"
        );
        assert_eq!(
            (&fields["severity_number"], &fields["severity"]),
            (&json!(17), &json!("ERROR"))
        );
        assert_eq!(
            (&fields["resource"]["service.name"], &fields["resource"]["replica"]),
            (&json!("ledger"), &json!(3))
        );
        assert_eq!(fields["scope"]["name"], "audit");
        assert!(fields["time_unix_nano"].as_u64().unwrap() > 0);
    }
    assert_eq!(bench.self_test("logs", &Value::Null), Ok(()));
}

/// `systemd-journal-remote` makes a real journal file, `journalctl` prints it in both formats, and both say the same.
#[test]
fn journalctl_over_a_real_journal() {
    let bench = Bench::new();
    let mut export = Vec::new();
    for n in 0..50_u64 {
        let stamps = format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID=0123456789abcdef0123456789abcdef\n",
            1_795_521_601_000_000 + n,
            1_000_000 + n
        );
        export.extend_from_slice(stamps.as_bytes());
        let message = format!("line {n}\nand another = one \u{e9}");
        export.extend_from_slice(b"MESSAGE\n");
        export.extend_from_slice(&(message.len() as u64).to_le_bytes());
        export.extend_from_slice(message.as_bytes());
        export.extend_from_slice(format!("\n_PID={n}\nTAG=one\nTAG=two\nSYSLOG_IDENTIFIER=shop\n\n").as_bytes());
    }
    fs::write(bench.path("export"), &export).unwrap();
    let journal = bench.path("made.journal");
    let remote = "/lib/systemd/systemd-journal-remote";
    let made = Command::new(remote)
        .arg(format!("--output={}", journal.display()))
        .arg(bench.path("export"))
        .output();
    if !made.as_ref().is_ok_and(|out| out.status.success()) {
        println!("not run: `{remote}` made no journal: {made:?}");
        return;
    }
    let read = |format: &str| -> Vec<Value> {
        let out = Command::new("journalctl")
            .args([
                &format!("--file={}", journal.display()),
                &format!("--output={format}"),
                "--no-pager",
            ])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let mut reader = (telemetry::reader("journald").unwrap().make)("journal", &telemetry::Options::default());
        let mut readings = Vec::new();
        for part in out.stdout.chunks(1000) {
            reader.push(part, Duration::ZERO, &mut readings);
        }
        reader.end(Duration::ZERO, &mut readings);
        readings
            .into_iter()
            .map(|reading| event(reading).unwrap().fields)
            .collect()
    };
    let (exported, json) = (read("export"), read("json"));
    assert_eq!(exported.len(), 50);
    for (n, entry) in exported.iter().enumerate() {
        assert_eq!(entry["MESSAGE"], format!("line {n}\nand another = one \u{e9}"));
        assert_eq!(
            (&entry["_PID"], &entry["TAG"]),
            (&json!(n.to_string()), &json!(["one", "two"]))
        );
    }
    assert_eq!(exported, json);
}
