//! The kill switch over HTTP, served by the warden: it answers when the supervisor hangs, and has the force to end it.
//!
//! ```text
//! POST /v1/stop      everything is undone; answered once it is, or after 30 s with what is left
//! GET  /v1/status    {"running":…,"experiment":…,"deadlineMsLeft":…,"stopping":…,"faults":[{"fault":…,"undo":…}]}
//! ```
//!
//! Both want `authorization: Bearer TOKEN`: 401 without, 403 with another one. Whoever has the token can end
//! experiments and read what they do, and can't begin, change or prolong one. It doesn't say who asked, and it keeps
//! no history: the run's evidence says that it was stopped.
//!
//! The warden tells the supervisor through the same socket as `proofmark chaos stop`; a supervisor that is not done
//! soon after is killed, as with the kill switch's file.

use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use evidence::Digest;
use host::DiskStorage;
use net::http::{Request, Response, Server, ServerLimits};
use serde_json::json;
use tokio::sync::watch;

use crate::journal::{JournalEntry, State, UndoJournal};

/// How long whoever stops a run waits for everything to be undone, in milliseconds.
const UNDONE_MS_MAX: u64 = 30_000;
/// How often it is looked at meanwhile, in milliseconds.
const LOOK_MS: u64 = 2;
const LIMITS: ServerLimits = ServerLimits {
    connections_max: 256,
    body_bytes_max: 1_024,
    headers_max: 64,
    head_bytes_max: 8 << 10,
    request_ms_max: 2_000,
    stop_ms_max: 300,
};

/// Where the kill switch is served, and what the warden does about it.
pub struct StopApi {
    /// On loopback. The warden has it alone once it stands.
    pub listener: TcpListener,
    /// SHA-256 of the token that lets somebody stop a run.
    pub token: Digest,
    /// The socket that tells the supervisor to stop, by a connection.
    pub stop_socket: PathBuf,
}

/// What warden and API know of each other. Times are boot times.
#[derive(Clone)]
pub(super) struct Switch(Arc<Mutex<Thrown>>);

#[derive(Default)]
struct Thrown {
    /// When somebody stopped it over HTTP.
    at: Option<Duration>,
    /// When everything must be undone; `None` while nothing is injected.
    deadline: Option<Duration>,
    /// Kept open: the supervisor closes its end once it is done.
    told: Option<UnixStream>,
}

impl Switch {
    pub(super) fn new() -> Switch {
        Switch(Arc::default())
    }

    pub(super) fn thrown_at(&self) -> Option<Duration> {
        self.lock().at
    }

    pub(super) fn armed(&self, deadline: Duration) {
        self.lock().deadline = Some(deadline);
    }

    /// Everything is undone, or as good as it gets.
    pub(super) fn disarmed(&self) {
        self.lock().deadline = None;
    }

    fn lock(&self) -> MutexGuard<'_, Thrown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when there was somebody to tell, or something to undo.
    fn throw(&self, stop_socket: &Path) -> bool {
        let mut thrown = self.lock();
        thrown.at.get_or_insert_with(|| host::now().boottime);
        if thrown.told.is_none() {
            thrown.told = UnixStream::connect(stop_socket).ok();
        }
        thrown.told.is_some() || thrown.deadline.is_some()
    }
}

/// The server's thread. It ends with [`Api::stop`], or with the process.
pub(super) struct Api {
    end: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Api {
    /// Serves until it is stopped, in a thread of its own: what the warden does meanwhile holds up no answer.
    pub(super) fn start(
        listener: TcpListener,
        token: Digest,
        stop_socket: &Path,
        journal: &Path,
        switch: &Switch,
    ) -> Result<Api, String> {
        let served = Arc::new(Served {
            token,
            stop_socket: stop_socket.to_owned(),
            journal: journal.to_owned(),
            switch: switch.clone(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        let (end, mut ended) = watch::channel(false);
        let serve = move || {
            runtime.block_on(async {
                let answer = move |request, _| {
                    let served = Arc::clone(&served);
                    Box::pin(async move { served.answer(&request).await }) as net::BoxFuture<Response>
                };
                let server = Server::start(listener, Arc::new(answer), LIMITS);
                let _ = ended.wait_for(|ended| *ended).await;
                server.stop().await;
            });
        };
        let thread = thread::Builder::new()
            .name("proofmark-stop-api".to_owned())
            .spawn(serve)
            .map_err(|error| error.to_string())?;
        Ok(Api { end, thread })
    }

    /// Lets answers under way out, and ends.
    pub(super) fn stop(self) {
        self.end.send_replace(true);
        let _ = self.thread.join();
    }
}

struct Served {
    token: Digest,
    stop_socket: PathBuf,
    journal: PathBuf,
    switch: Switch,
}

impl Served {
    async fn answer(&self, request: &Request) -> Response {
        let Some(token) = bearer(request) else {
            let mut refused = error(401, "say `authorization: Bearer TOKEN`");
            refused
                .headers
                .push(("www-authenticate".to_owned(), "Bearer realm=\"proofmark\"".to_owned()));
            return refused;
        };
        // Digests are compared, and in constant time: neither length nor beginning of the token shows in the answer's time.
        if verify_slices_are_equal(&Digest::of(token.as_bytes()).0, &self.token.0).is_err() {
            return error(403, "this is not the token");
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/v1/stop") => self.stop().await,
            ("GET", "/v1/status") => Response::json(200, &self.status().to_string()),
            (_, "/v1/stop" | "/v1/status") => error(405, "`POST /v1/stop` and `GET /v1/status` are served"),
            _ => error(404, "`POST /v1/stop` and `GET /v1/status` are served"),
        }
    }

    async fn stop(&self) -> Response {
        if !self.switch.throw(&self.stop_socket) {
            return error(409, "no experiment runs");
        }
        let until = Instant::now() + Duration::from_millis(UNDONE_MS_MAX);
        while self.switch.lock().deadline.is_some() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
        }
        let left = self.left();
        let undone = left.is_empty();
        let line = |entry: &JournalEntry| format!("`{}` of {}: {}", entry.fault, entry.experiment, entry.undo);
        let answer = json!({"stopped": true, "undone": undone, "left": left.iter().map(line).collect::<Vec<_>>()});
        Response::json(if undone { 200 } else { 202 }, &answer.to_string())
    }

    fn status(&self) -> serde_json::Value {
        let (deadline, stopping) = {
            let thrown = self.switch.lock();
            (thrown.deadline, thrown.at.is_some())
        };
        let left = self.left();
        let ms_left = deadline.map(|deadline| deadline.saturating_sub(host::now().boottime).as_millis() as u64);
        let in_force = left.iter().filter(|entry| entry.state != State::Planned);
        let fault = |entry: &JournalEntry| json!({"fault": entry.fault, "undo": entry.undo});
        json!({
            "running": deadline.is_some(),
            "experiment": left.first().map(|entry| &entry.experiment),
            "deadlineMsLeft": ms_left,
            "stopping": stopping,
            "faults": in_force.map(fault).collect::<Vec<_>>(),
        })
    }

    /// What the journal has open; it is the supervisor's, and only read here.
    fn left(&self) -> Vec<JournalEntry> {
        DiskStorage::open(&self.journal).map_or_else(|_| Vec::new(), |storage| UndoJournal::peek(&storage))
    }
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn error(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "error": message }).to_string())
}
