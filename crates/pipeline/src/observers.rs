//! Observers: every configured source of readings, opened, listened to and self-tested.
//!
//! Files are looked at every few milliseconds by one thread, requests are taken on loopback, answers are asked for;
//! whatever comes is stamped with the boot time at which its last byte was read and waits here until it is polled. It
//! deliberately judges nothing, and understands nothing: that is `telemetry`'s readers' work.
//!
//! Who owns a source can forge, repeat and hold back what it says. A source that fails its [`Observers::self_test`]
//! proves nothing, neither by speaking nor by silence.
//!
//! Start reading at [`Observers::start`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use chaos::{BoxFuture, Input, ObserverSetting, Observing};
use evidence::{Digest, Timestamp};
use host::process::{Child, Command, Sink, Wanted};
use net::http::{self, Handler, Limits, Request, Response, Server, ServerLimits};
use serde_json::Value;
use telemetry::{DOCUMENT_BYTES_MAX, Document, Entry, Follow, Options, Piece, Reader, Reading, Refused};
use tokio::task::AbortHandle;

use crate::Error;
use crate::run::{Clock, Random};

/// Readings that wait to be polled; of further ones only their number is kept, as a gap.
pub const READINGS_MAX: usize = 100_000;
/// How often files are looked at, in milliseconds.
const LOOK_MS: u64 = 2;
/// How long an answer of a source, or of ours to a self-test, may take.
const ANSWER: Limits = Limits {
    timeout_ms: 2_000,
    body_bytes_max: DOCUMENT_BYTES_MAX,
};
/// Longest file with a token, in bytes.
const TOKEN_BYTES_MAX: u64 = 4096;
/// A request with this header and the right value is our own self-test: what it says goes no further.
const SELF_TEST_HEADER: &str = "x-proofmark-self-test";
/// How many readings a self-test gave.
const READINGS_HEADER: &str = "x-proofmark-readings";

/// All configured sources, open. Dropping it closes them.
pub struct Observers {
    sources: BTreeMap<String, Source>,
    queue: Arc<Queue>,
    clock: Clock,
    /// Shows that a request is ours.
    own: String,
    servers: Vec<Server>,
    /// Ask sources that have to be asked.
    asking: Vec<AbortHandle>,
    stop: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

/// One open source.
struct Source {
    entry: &'static Entry,
    options: Options,
    fresh: Option<Duration>,
    /// Between two questions, where it has to be asked.
    pause: Duration,
    opened: Opened,
}

enum Opened {
    File(Arc<Mutex<FileSource>>),
    Command {
        child: Child,
        stream: Arc<Mutex<Stream>>,
    },
    Listen {
        address: SocketAddr,
        path: String,
        /// What [`Observers::self_test`] has to show.
        token: Option<credentials::Secret>,
    },
    Poll {
        address: SocketAddr,
        path: String,
    },
}

/// A reader of a stream.
struct Stream {
    reader: Box<dyn Reader>,
    /// Boot time of its last byte, or of its start.
    last: Duration,
}

struct FileSource {
    file: Follow,
    stream: Stream,
    /// Why it can't be read, if so.
    unreadable: Option<String>,
}

/// Readings that wait.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    readings: Vec<Reading>,
    /// Gaps among them, so that each is told once.
    gaps: BTreeSet<(String, String)>,
    dropped: BTreeMap<String, u64>,
}

impl Observers {
    /// Opens every source: files from their current end, programs started, ports bound. Call it within the runtime.
    ///
    /// # Errors
    /// A port can't be had, a program can't be started, a token can't be read. A file that can't be read (yet) is
    /// no error here: it is found by [`Observers::self_test`], and counts as a gap.
    pub fn start(
        settings: &BTreeMap<String, ObserverSetting>,
        clock: &Clock,
        random: &Random,
    ) -> Result<Observers, Error> {
        let mut observers = Observers {
            sources: BTreeMap::new(),
            queue: Arc::default(),
            clock: Arc::clone(clock),
            own: Digest::of(&random()).hex(),
            servers: Vec::new(),
            asking: Vec::new(),
            stop: Arc::default(),
            looking: None,
        };
        let mut heard: BTreeMap<String, Vec<Heard>> = BTreeMap::new();
        for (name, setting) in settings {
            let entry = telemetry::reader(&setting.kind).ok_or_else(|| {
                let what = format!("observer `{name}` has the unknown kind `{}`", setting.kind);
                Error::usage(what, "`proofmark explain` lists the kinds as observer/KIND")
            })?;
            let make = || (entry.make)(name, &setting.options);
            let stream = |reader| Stream {
                reader,
                last: clock().boottime,
            };
            let opened = match &setting.input {
                Input::File(path) => {
                    let mut file = Follow::new(path.clone());
                    file.skip_to_end();
                    Opened::File(Arc::new(Mutex::new(FileSource {
                        file,
                        stream: stream(make()),
                        unreadable: None,
                    })))
                }
                Input::Command(words) => {
                    let stream = Arc::new(Mutex::new(stream(make())));
                    let child = observers.run(name, words, Arc::clone(&stream))?;
                    Opened::Command { child, stream }
                }
                Input::Listen { address, token_file } => {
                    let token = token_file.as_deref().map(read_token).transpose()?;
                    // Any free port is one for each; a port that is named can be shared.
                    let shared = match address.strip_suffix(":0") {
                        Some(host) => format!("{host}:0 {name}"),
                        None => address.clone(),
                    };
                    heard.entry(shared).or_default().push(Heard {
                        name: name.clone(),
                        entry,
                        options: setting.options.clone(),
                        token: token.as_ref().map(|token| Digest::of(token.expose().as_bytes())),
                        reader: Mutex::new(make()),
                    });
                    Opened::Listen {
                        address: SocketAddr::from(([127, 0, 0, 1], 0)),
                        path: String::new(),
                        token,
                    }
                }
                Input::Poll {
                    address,
                    path,
                    every_ms,
                } => {
                    let at = resolve(name, address)?;
                    observers.ask(name, at, path, *every_ms, make());
                    Opened::Poll {
                        address: at,
                        path: path.clone(),
                    }
                }
            };
            let pause = match &setting.input {
                Input::Poll { every_ms, .. } => Duration::from_millis(*every_ms),
                _ => Duration::ZERO,
            };
            let source = Source {
                entry,
                options: setting.options.clone(),
                fresh: setting.fresh_seconds.map(Duration::from_secs),
                pause,
                opened,
            };
            observers.sources.insert(name.clone(), source);
        }
        for (listen, heard) in heard {
            let listen = listen.split(' ').next().unwrap_or_default().to_owned();
            observers.listen(&listen, heard)?;
        }
        observers.look()?;
        Ok(observers)
    }

    /// What was read since the last call, in the order of reading; all that stands in files now is among it.
    pub fn poll_readings(&self) -> Vec<Reading> {
        for (name, source) in &self.sources {
            let broken = match &source.opened {
                Opened::File(file) => {
                    let mut file = lock(file);
                    file.read(&self.clock, &self.queue);
                    file.unreadable
                        .as_ref()
                        .map(|reason| format!("its file can't be read: {reason}"))
                }
                Opened::Command { child, .. } => {
                    child.status().map(|status| format!("its program ended with {status}"))
                }
                Opened::Listen { .. } | Opened::Poll { .. } => None,
            };
            if let Some(reason) = broken {
                let source = name.clone();
                self.queue.add(vec![Reading::Gap { source, reason }]);
            }
        }
        let mut readings = self.queue.take();
        readings.sort_by_key(boottime);
        readings
    }

    /// Where a source listens; `None` for one that doesn't.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        match &self.sources.get(name)?.opened {
            Opened::Listen { address, .. } => Some(*address),
            _ => None,
        }
    }

    /// The URL to which a source's tool has to send; `None` for one that doesn't listen.
    pub fn url(&self, name: &str) -> Option<String> {
        match &self.sources.get(name)?.opened {
            Opened::Listen { address, path, .. } => Some(format!("http://{address}{path}")),
            _ => None,
        }
    }

    /// Whether a source can receive right now. `canary` is what its tool would say, as JSON or as a text in its own
    /// format; `null` takes the kind's own. Nothing of it comes out of [`Observers::poll_readings`].
    ///
    /// A file must be there, be readable and, where `fresh_seconds` says so, have grown lately; a program must run; a
    /// port must take the canary as it takes the tool's; an API must answer. And the reader must make something
    /// of the canary.
    ///
    /// # Errors
    /// Why it can't.
    pub async fn self_test(&self, name: &str, canary: &Value) -> Result<(), String> {
        let source = self
            .sources
            .get(name)
            .ok_or_else(|| format!("there is no observer `{name}`"))?;
        let now = (self.clock)();
        let canary = match canary {
            Value::Null => source.entry.canary.to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        match &source.opened {
            Opened::File(file) => {
                let path = {
                    let mut file = lock(file);
                    file.read(&self.clock, &self.queue);
                    if let Some(reason) = &file.unreadable {
                        return Err(format!("its file can't be read: {reason}"));
                    }
                    file.file.path().to_owned()
                };
                file_is_fresh(&path, source.fresh, now.utc)?;
                source.understands(name, &canary, now.boottime)
            }
            Opened::Command { child, stream } => {
                if let Some(status) = child.status() {
                    return Err(format!("its program ended with {status}"));
                }
                let silent = now.boottime.saturating_sub(lock(stream).last);
                if source.fresh.is_some_and(|fresh| silent > fresh) {
                    return Err(format!("its program has said nothing for {} s", silent.as_secs()));
                }
                source.understands(name, &canary, now.boottime)
            }
            Opened::Listen { address, path, token } => {
                self.post_canary(*address, path, token.as_ref(), canary.into_bytes())
                    .await
            }
            Opened::Poll { address, path } => {
                let bytes = get(*address, path).await?;
                let mut reader = (source.entry.make)(name, &source.options);
                let document = Document {
                    bytes: &bytes.body,
                    media_type: &media_type(bytes.header("content-type")),
                };
                let read = reader.document(&document, now.boottime, &mut Vec::new());
                read.map(|_| ())
                    .map_err(|Refused(reason)| format!("GET {path} answers something else: {reason}"))
            }
        }
    }

    /// Stops listening and asking; programs end.
    pub async fn stop(&self) {
        for asking in &self.asking {
            asking.abort();
        }
        for server in &self.servers {
            server.stop().await;
        }
    }

    async fn post_canary(
        &self,
        address: SocketAddr,
        path: &str,
        token: Option<&credentials::Secret>,
        body: Vec<u8>,
    ) -> Result<(), String> {
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            (SELF_TEST_HEADER.to_owned(), self.own.clone()),
        ];
        if let Some(token) = token {
            headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
        }
        let request = Request {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers,
            body,
        };
        let answer = http::send(address, request, &ANSWER)
            .await
            .map_err(|error| format!("its port doesn't answer: {error}"))?;
        if answer.status != 200 {
            return Err(format!("its port answers {} to a canary", answer.status));
        }
        match answer.header(READINGS_HEADER) {
            None | Some("0") => Err("a canary came in, and nothing came out".to_owned()),
            Some(_) => Ok(()),
        }
    }

    /// Starts a program whose output is a stream.
    fn run(&self, name: &str, words: &[String], stream: Arc<Mutex<Stream>>) -> Result<Child, Error> {
        let (clock, queue) = (Arc::clone(&self.clock), Arc::clone(&self.queue));
        let (program, args) = words
            .split_first()
            .ok_or_else(|| Error::usage(format!("observer `{name}` has an empty command"), "give a program"))?;
        let mut command = Command::new(program, "/");
        command.args = args.iter().map(Into::into).collect();
        command.env = BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
        // It reads what its user may read, as the user's own shell would: a namespace would take its groups away.
        command.isolation = Wanted::None;
        command.stdout = Sink::Lines(Box::new(move |line: &[u8]| {
            let mut readings = Vec::new();
            let mut stream = lock(&stream);
            let now = clock().boottime;
            stream.last = now;
            stream.reader.push(line, now, &mut readings);
            // A longer line comes in pieces of this length.
            if line.len() < host::process::LINE_BYTES_MAX {
                stream.reader.push(b"\n", now, &mut readings);
            }
            queue.add(readings);
        }));
        host::process::spawn(command).map_err(|error| {
            let what = format!("observer `{name}` can't be started: {error}");
            Error::usage(what, "give the program's whole path in `command`")
        })
    }

    /// Asks a source again and again.
    fn ask(&mut self, name: &str, address: SocketAddr, path: &str, every_ms: u64, mut reader: Box<dyn Reader>) {
        let (name, path) = (name.to_owned(), path.to_owned());
        let (clock, queue) = (Arc::clone(&self.clock), Arc::clone(&self.queue));
        let asking = tokio::spawn(async move {
            loop {
                let answer = get(address, &path).await;
                let now = clock().boottime;
                let mut readings = Vec::new();
                let read = answer.and_then(|answer| {
                    let document = Document {
                        bytes: &answer.body,
                        media_type: &media_type(answer.header("content-type")),
                    };
                    let read = reader.document(&document, now, &mut readings);
                    read.map_err(|Refused(reason)| format!("GET {path} answers something else: {reason}"))
                });
                if let Err(reason) = read {
                    readings.push(Reading::Gap {
                        source: name.clone(),
                        reason,
                    });
                }
                queue.add(readings);
                tokio::time::sleep(Duration::from_millis(every_ms)).await;
            }
        });
        self.asking.push(asking.abort_handle());
    }

    /// Serves one port for all sources that are heard there.
    fn listen(&mut self, listen: &str, heard: Vec<Heard>) -> Result<(), Error> {
        let names: Vec<String> = heard.iter().map(|heard| heard.name.clone()).collect();
        let at = |problem: String| {
            let what = format!("can't listen on `{listen}`: {problem}");
            Error::usage(
                what,
                format!("look at `[chaos.observer.{}]` of proofmark.toml", names[0]),
            )
        };
        let listener = TcpListener::bind(listen).map_err(|error| at(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| at(error.to_string()))?;
        if !address.ip().is_loopback() && heard.iter().any(|heard| heard.token.is_none()) {
            return Err(at("beyond loopback every observer needs a `token_file`".to_owned()));
        }
        for (name, path) in names.iter().zip(paths(&heard)) {
            if let Some(Source {
                opened: Opened::Listen {
                    address: at, path: own, ..
                },
                ..
            }) = self.sources.get_mut(name)
            {
                *at = address;
                *own = path;
            }
        }
        let receiver = Arc::new(Receiver {
            routes: paths(&heard).into_iter().zip(heard).collect(),
            own: Digest::of(self.own.as_bytes()),
            queue: Arc::clone(&self.queue),
            clock: Arc::clone(&self.clock),
        });
        let handler: Handler = Arc::new(move |request, _| {
            // Its last byte was read just now.
            let now = (receiver.clock)().boottime;
            let receiver = Arc::clone(&receiver);
            Box::pin(async move { receiver.answer(request, now) })
        });
        let limits = ServerLimits {
            body_bytes_max: DOCUMENT_BYTES_MAX,
            ..ServerLimits::default()
        };
        self.servers.push(Server::start(listener, handler, limits));
        Ok(())
    }

    /// Starts the thread that looks at files, and lets time pass for every stream.
    fn look(&mut self) -> Result<(), Error> {
        let mut files = Vec::new();
        let mut streams = Vec::new();
        for source in self.sources.values() {
            match &source.opened {
                Opened::File(file) => files.push(Arc::clone(file)),
                Opened::Command { stream, .. } => streams.push(Arc::clone(stream)),
                Opened::Listen { .. } | Opened::Poll { .. } => {}
            }
        }
        if files.is_empty() && streams.is_empty() {
            return Ok(());
        }
        let (stop, clock, queue) = (Arc::clone(&self.stop), Arc::clone(&self.clock), Arc::clone(&self.queue));
        let look = move || {
            while !stop.load(Ordering::Acquire) {
                for file in &files {
                    lock(file).read(&clock, &queue);
                }
                for stream in &streams {
                    let mut readings = Vec::new();
                    lock(stream).reader.tick(clock().boottime, &mut readings);
                    queue.add(readings);
                }
                std::thread::sleep(Duration::from_millis(LOOK_MS));
            }
        };
        let thread = std::thread::Builder::new().name("observers".to_owned()).spawn(look);
        self.looking = Some(thread.map_err(|error| Error::failed("look at files", error))?);
        Ok(())
    }
}

impl Observing for Observers {
    fn names(&self) -> Vec<String> {
        self.sources.keys().cloned().collect()
    }

    fn poll(&self) -> Vec<Reading> {
        self.poll_readings()
    }

    fn self_test<'a>(&'a self, observer: &'a str, canary: &'a Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(Observers::self_test(self, observer, canary))
    }

    fn pause(&self, observer: &str) -> Duration {
        self.sources.get(observer).map_or(Duration::ZERO, |source| source.pause)
    }
}

impl Drop for Observers {
    fn drop(&mut self) {
        for asking in &self.asking {
            asking.abort();
        }
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.looking.take() {
            let _ = thread.join();
        }
    }
}

impl Source {
    /// The reader makes something of what its tool would say.
    fn understands(&self, name: &str, canary: &str, now: Duration) -> Result<(), String> {
        let mut reader = (self.entry.make)(name, &self.options);
        let mut readings = Vec::new();
        reader.push(canary.as_bytes(), now, &mut readings);
        reader.end(now, &mut readings);
        match readings.first() {
            None => Err("its reader makes nothing of a canary".to_owned()),
            Some(Reading::Gap { reason, .. }) => Err(format!("its reader can't read a canary: {reason}")),
            Some(_) => Ok(()),
        }
    }
}

impl FileSource {
    fn read(&mut self, clock: &Clock, queue: &Queue) {
        let mut readings = Vec::new();
        let stream = &mut self.stream;
        let read = self.file.poll(&mut |piece| {
            let now = clock().boottime;
            match piece {
                Piece::Bytes(bytes) => {
                    stream.last = now;
                    stream.reader.push(bytes, now, &mut readings);
                }
                Piece::Cut => stream.reader.cut(),
                Piece::Replaced => stream.reader.end(now, &mut readings),
            }
        });
        stream.reader.tick(clock().boottime, &mut readings);
        self.unreadable = read.err().map(|error| error.to_string());
        queue.add(readings);
    }
}

/// The file is there, is one, can be read, and grew lately enough.
fn file_is_fresh(path: &Path, fresh: Option<Duration>, now: Timestamp) -> Result<(), String> {
    let metadata = std::fs::metadata(path).map_err(|error| format!("its file isn't there: {error}"))?;
    if metadata.is_dir() {
        return Err("its file is a folder".to_owned());
    }
    std::fs::File::open(path).map_err(|error| format!("its file can't be read: {error}"))?;
    let Some(fresh) = fresh else { return Ok(()) };
    let written = metadata
        .modified()
        .ok()
        .and_then(|written| Timestamp::try_from(written).ok())
        .ok_or("nobody knows when its file was written")?;
    let age = now.duration_since(written);
    if age > jiff::SignedDuration::try_from(fresh).unwrap_or(jiff::SignedDuration::MAX) {
        return Err(format!(
            "its file was last written {} s ago, more than {} s",
            age.as_secs(),
            fresh.as_secs()
        ));
    }
    Ok(())
}

/// A source that is sent requests.
struct Heard {
    name: String,
    entry: &'static Entry,
    options: Options,
    /// Of the token that senders have to show.
    token: Option<Digest>,
    reader: Mutex<Box<dyn Reader>>,
}

/// Where each is heard: at its kind's path where it is the only one of its kind, or else below it by name.
fn paths(heard: &[Heard]) -> Vec<String> {
    let path = |one: &Heard| {
        let path = one.entry.path.unwrap_or("/");
        let alone = heard.iter().filter(|other| other.entry.id == one.entry.id).count() == 1;
        if alone && one.entry.id != "generic" {
            path.to_owned()
        } else {
            format!("{path}/{}", one.name)
        }
    };
    heard.iter().map(path).collect()
}

/// What answers at one port.
struct Receiver {
    routes: Vec<(String, Heard)>,
    own: Digest,
    queue: Arc<Queue>,
    clock: Clock,
}

impl Receiver {
    fn answer(&self, request: Request, now: Duration) -> Response {
        let path = request.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        let named = |heard: &Heard| {
            let below = path.strip_prefix(heard.entry.path.unwrap_or_default());
            below.and_then(|below| below.strip_prefix('/')) == Some(heard.name.as_str())
        };
        let Some((_, heard)) = self.routes.iter().find(|(route, heard)| route == path || named(heard)) else {
            return plain(404, "nobody listens at this path\n");
        };
        if !heard.allows(&request) {
            return plain(401, "this observer wants its bearer token\n");
        }
        if request.method != "POST" {
            return plain(405, "send it with POST\n");
        }
        let is_own = request
            .header(SELF_TEST_HEADER)
            .is_some_and(|value| Digest::of(value.as_bytes()) == self.own);
        let media_type = media_type(request.header("content-type"));
        let encoding = request.header("content-encoding").map(str::to_owned);
        let mut readings = Vec::new();
        let read = match net::unpacked(request.body, encoding.as_deref(), DOCUMENT_BYTES_MAX) {
            Ok(bytes) => {
                let document = Document {
                    bytes: &bytes,
                    media_type: &media_type,
                };
                if is_own {
                    // What the tool said before is not mixed with what we say.
                    (heard.entry.make)(&heard.name, &heard.options).document(&document, now, &mut readings)
                } else {
                    lock(&heard.reader).document(&document, now, &mut readings)
                }
            }
            Err(error) => Err(Refused(error.to_string())),
        };
        if let Err(Refused(reason)) = &read {
            readings.push(Reading::Gap {
                source: heard.name.clone(),
                reason: format!("a request can't be read: {reason}"),
            });
        }
        let answer = (heard.entry.answer)(&media_type, &read);
        let mut response = Response::new(answer.status, answer.media_type, answer.body);
        if is_own {
            let told = readings
                .iter()
                .filter(|reading| !matches!(reading, Reading::Gap { .. }));
            let told = told.count().to_string();
            response.headers.push((READINGS_HEADER.to_owned(), told));
        } else {
            self.queue.add(readings);
        }
        response
    }
}

impl Heard {
    fn allows(&self, request: &Request) -> bool {
        let Some(wanted) = &self.token else { return true };
        let shown = request
            .header("authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        // Digests are compared, so that the time it takes says nothing about the token.
        shown.is_some_and(|(_, token)| Digest::of(token.trim().as_bytes()) == *wanted)
    }
}

impl Queue {
    fn add(&self, readings: Vec<Reading>) {
        if readings.is_empty() {
            return;
        }
        let mut waiting = lock(&self.0);
        for reading in readings {
            if let Reading::Gap { source, reason } = &reading
                && !waiting.gaps.insert((source.clone(), reason.clone()))
            {
                continue;
            }
            if waiting.readings.len() < READINGS_MAX {
                waiting.readings.push(reading);
            } else {
                *waiting.dropped.entry(reading.source().to_owned()).or_default() += 1;
            }
        }
    }

    fn take(&self) -> Vec<Reading> {
        let waiting = std::mem::take(&mut *lock(&self.0));
        let mut readings = waiting.readings;
        readings.extend(waiting.dropped.into_iter().map(|(source, count)| Reading::Gap {
            source,
            reason: format!("{count} readings came while {READINGS_MAX} waited, and are lost"),
        }));
        readings
    }
}

fn boottime(reading: &Reading) -> Option<Duration> {
    match reading {
        Reading::Event(event) => Some(event.boottime),
        Reading::Alert(alert) => Some(alert.boottime),
        Reading::Gap { .. } => None,
    }
}

async fn get(address: SocketAddr, path: &str) -> Result<Response, String> {
    let answer = http::send(address, Request::get(path), &ANSWER)
        .await
        .map_err(|error| format!("it doesn't answer: {error}"))?;
    match answer.status {
        200 => Ok(answer),
        status => Err(format!("it answers {status} to GET {path}")),
    }
}

fn plain(status: u16, text: &str) -> Response {
    Response::new(status, "text/plain; charset=utf-8", text)
}

/// Without its parameters, in lower case.
fn media_type(header: Option<&str>) -> String {
    let media_type = header.unwrap_or_default().split(';').next().unwrap_or_default();
    media_type.trim().to_ascii_lowercase()
}

fn resolve(name: &str, address: &str) -> Result<SocketAddr, Error> {
    let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| {
        let what = format!("`{address}` of observer `{name}` is no address");
        Error::usage(what, "write it like \"127.0.0.1:9090\"")
    })
}

fn read_token(path: &Path) -> Result<credentials::Secret, Error> {
    let too_long = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() > TOKEN_BYTES_MAX);
    if too_long {
        let what = format!("`{}` is longer than {TOKEN_BYTES_MAX} bytes", path.display());
        return Err(Error::usage(what, "it holds one token and nothing else"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?;
    if text.trim().is_empty() {
        let what = format!("`{}` is empty", path.display());
        return Err(Error::usage(what, "it holds one token and nothing else"));
    }
    Ok(credentials::Secret::new(text.trim().to_owned()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
