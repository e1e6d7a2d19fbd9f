//! `bench abort`: how long it takes from a breach, or from a thrown kill switch, until everything is undone.
//!
//! An experiment takes a secret's permissions away; the breach is a metric that rises above its limit, the kill switch
//! a file, the socket, a signal and the HTTP API in turn. The clock runs in this process: it starts before the breach is made and
//! stops when the file has its permissions again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Flags;

const BREACH_P99_MS_MAX: f64 = 250.0;
const SWITCH_P99_MS_MAX: f64 = 100.0;
/// Before and after a breach nothing takes longer.
const WAIT_MS_MAX: u64 = 10_000;

pub fn run(flags: &Flags) -> Result<(), String> {
    let runs = flags.number("--runs", 100)?;
    let program = flags.get("--program").ok_or("`--program P` is missing")?;
    let program = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
    let bench = Bench::new(program)?;
    let mut missed = Vec::new();
    for (way, bar) in [
        (Way::Breach, BREACH_P99_MS_MAX),
        (Way::File, SWITCH_P99_MS_MAX),
        (Way::Socket, SWITCH_P99_MS_MAX),
        (Way::Signal, SWITCH_P99_MS_MAX),
        (Way::Api, SWITCH_P99_MS_MAX),
    ] {
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(bench.once(way)?.as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1];
        let p99 = at(0.99);
        println!(
            "{:<10} p50 {:>6.1} ms  p99 {p99:>6.1} ms  max {:>6.1} ms  bar p99 {bar} ms  n = {runs}",
            way.name(),
            at(0.5),
            at(1.0)
        );
        if p99 > bar {
            missed.push(way.name());
        }
    }
    if missed.is_empty() {
        Ok(())
    } else {
        Err(format!("over the bar: {}", missed.join(", ")))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Breach,
    File,
    Socket,
    Signal,
    Api,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Breach => "breach",
            Way::File => "file",
            Way::Socket => "socket",
            Way::Signal => "signal",
            Way::Api => "api",
        }
    }
}

/// A folder with a secret, and a service whose metric can be made to rise.
struct Bench {
    folder: tempfile::TempDir,
    program: PathBuf,
    errors: Arc<AtomicU64>,
    /// Where the kill switch is served.
    api: SocketAddr,
}

impl Bench {
    fn new(program: PathBuf) -> Result<Bench, String> {
        let failed = |error: std::io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(failed)?;
        let secrets = folder.path().join("secrets");
        std::fs::create_dir(&secrets).map_err(failed)?;
        std::fs::write(secrets.join("token"), "x").map_err(failed)?;
        std::fs::set_permissions(secrets.join("token"), std::fs::Permissions::from_mode(0o640)).map_err(failed)?;
        let errors = Arc::new(AtomicU64::new(0));
        let port = serve(errors.clone()).map_err(failed)?;
        let at = folder.path().display();
        // Free a moment ago, and again at once.
        let api = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(failed)?;
        let target = |name: &str, rest: &str| {
            format!(
                "[chaos.target.{name}]\nopted_in = true\nrung = \"isolated\"\ntenancy = \"dedicated\"\ncriticality = 1\n{rest}\n"
            )
        };
        let config = [
            format!("[chaos]\nkill_switch = \"{at}/stop\"\nkill_switch_api = \"{api}\"\n"),
            target(
                "secrets",
                &format!("kind = \"files\"\nroot = \"{}\"", secrets.display()),
            ),
            target("web", &format!("kind = \"http\"\naddress = \"127.0.0.1:{port}\"")),
        ]
        .concat();
        let experiment = "title = \"aborted\"\ndeadline_seconds = 60\nwindow_seconds = 30\n\
            [declares]\ndata = \"synthetic\"\npaying_customers = \"none\"\ntenancy = \"dedicated\"\n\
            [steady]\ntarget = \"secrets\"\n\
            [abort]\n[[abort.metric]]\nservice = \"web\"\npath = \"/metrics\"\nmetric = \"errors_total\"\nabove = 0\n\
            [[fault]]\nid = \"secret-unreadable\"\ntarget = \"secrets\"\npath = \"token\"\nhold_ms = 20000\n";
        std::fs::write(folder.path().join("proofmark.toml"), config).map_err(failed)?;
        std::fs::write(folder.path().join("experiment.toml"), experiment).map_err(failed)?;
        Ok(Bench {
            folder,
            program,
            errors,
            api,
        })
    }

    fn once(&self, way: Way) -> Result<Duration, String> {
        self.errors.store(0, Ordering::SeqCst);
        let mut child = Command::new(&self.program)
            .args(["chaos", "run", "experiment.toml"])
            .current_dir(self.folder.path())
            .env("PROOFMARK_HOME", self.folder.path().with_extension("home"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        self.until(&mut child, true)?;
        // Somewhere within the run, not at its first moment.
        std::thread::sleep(Duration::from_millis(30));
        let begun = Instant::now();
        let connection = self.throw(way, &child)?;
        self.until(&mut child, false)?;
        let took = begun.elapsed();
        child.wait().map_err(|error| error.to_string())?;
        drop(connection);
        let _ = std::fs::remove_file(self.folder.path().join("stop"));
        Ok(took)
    }

    /// What it gives is kept open until everything is undone.
    fn throw(&self, way: Way, child: &Child) -> Result<Option<OwnedFd>, String> {
        let folder = self.folder.path();
        match way {
            Way::Breach => self.errors.store(1, Ordering::SeqCst),
            Way::File => std::fs::write(folder.join("stop"), "").map_err(|error| error.to_string())?,
            Way::Socket => {
                let socket = folder.join(".proofmark/undo/stop.sock");
                let stream = std::os::unix::net::UnixStream::connect(socket).map_err(|error| error.to_string())?;
                return Ok(Some(stream.into()));
            }
            Way::Api => {
                let token = std::fs::read_to_string(folder.join(".proofmark/undo/stop.token"));
                let token = token.map_err(|error| error.to_string())?;
                let head = "POST /v1/stop HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n";
                let request = format!("{head}authorization: Bearer {token}\r\n\r\n");
                let mut stream = TcpStream::connect(self.api).map_err(|error| error.to_string())?;
                stream
                    .write_all(request.as_bytes())
                    .map_err(|error| error.to_string())?;
                return Ok(Some(stream.into()));
            }
            Way::Signal => {
                // SAFETY: a signal to a child of ours that is not reaped yet.
                unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
            }
        }
        Ok(None)
    }

    /// Until the fault is in force, or is gone.
    fn until(&self, child: &mut Child, in_force: bool) -> Result<(), String> {
        let secret = self.folder.path().join("secrets/token");
        let give_up = Instant::now() + Duration::from_millis(WAIT_MS_MAX);
        while (mode(&secret)? == 0) != in_force {
            let ended = child.try_wait().map_err(|error| error.to_string())?.is_some();
            if Instant::now() > give_up || (in_force && ended) {
                return Err(format!(
                    "the fault never was {}",
                    if in_force { "in force" } else { "undone" }
                ));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }
}

fn mode(path: &Path) -> Result<u32, String> {
    let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
    Ok(metadata.permissions().mode() & 0o777)
}

/// Answers every request with the metric, one at a time.
fn serve(errors: Arc<AtomicU64>) -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let body = format!("errors_total {}\n", errors.load(Ordering::SeqCst));
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all([head, body].concat().as_bytes());
        }
    });
    Ok(port)
}
