//! `soak truth`: experiments against services whose moments are known. A service notices, tells, refuses and recovers at
//! scripted times, on the real clock and over loopback, and writes down the boot time at which it did each; what the
//! evidence says must be that, within 5 ms and 0.5 %. What never happens is censored, not dropped.
//!
//! Each run is signed and logged, and read back as it was; the report of the log is made twice, byte for byte the same,
//! and computed again by a program that isn't ours (`conformance/scripts/chaos_figures.py`).
//!
//! Many runs go on side by side, since they mostly wait. How many is bounded: load is not to be the error. Start
//! reading at [`run`].

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chaos::{
    BoxFuture, CredentialRef, Environment, Experiment, Observing, ServiceAnswer, ServiceRequest, Settings, UndoJournal,
};
use evidence::Now;
use evidence::predicates::ChaosExperiment;
use net::http::{Client, Handler, Limits, Request, Response, Server, ServerLimits};
use pipeline::observers::Observers;
use pipeline::progress::Progress;
use pipeline::release::Options;
use telemetry::{Event, LogTail, SigmaRules};
use testkit::{Rng, SimStorage};
use tokio::sync::Semaphore;

use crate::Flags;

/// A time may be wrong by so much, and by this share of itself.
const ERROR_US: u64 = 5_000;
const ERROR_SHARE: f64 = 0.005;
/// Runs side by side.
const JOBS: u64 = 4;
/// The claim is about so many runs, none of which may fail. In fewer, which the test command does beside other work, the
/// scheduler may make one reading late.
const RUNS_STRICT: u64 = 1_000;
/// The longest moment of most runs, and of a few, in milliseconds.
const MOMENT_MS_MIN: u64 = 10;
const MOMENT_MS_MAX: u64 = 4_000;
const LONG_MS_MAX: u64 = 60_000;
/// One of so many runs has long moments.
const LONG_EVERY: u64 = 100;
/// Of a hundred moments so many never come.
const NEVER_PERCENT: u64 = 30;
const LIMITS: Limits = Limits {
    timeout_ms: 5_000,
    body_bytes_max: 1 << 20,
};
/// How far ours goes before others, where the system lets it: their load is no error of ours.
const NICE: i32 = -15;

const RULE: &str = "title: Denied\nlogsource:\n  product: truth\ndetection:\n  s:\n    event: denied\n  condition: s\n";
const ACK: &str = "title: Taken on\nlogsource:\n  product: truth\ndetection:\n  s:\n    event: ack\n  condition: s\n";
const ACT: &str = "title: Acts\nlogsource:\n  product: truth\ndetection:\n  s:\n    event: act\n  condition: s\n";

pub fn run(flags: &Flags) -> Result<(), String> {
    let (runs, first) = (flags.number("--runs", 1_000)?, flags.number("--seed", 1)?);
    let jobs = flags.number("--jobs", JOBS)?;
    // SAFETY: changes the priority of this process alone.
    let alone = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) } == 0;
    let folder = tempfile::Builder::new()
        .prefix("proofmark-truth-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let measured = runtime.block_on(measure(runs, first, jobs, folder.path()));
    let mut tally = Tally::default();
    let mut kept = Vec::new();
    for (seed, ran) in measured {
        match ran {
            Ok(ran) => {
                tally.compare(seed, &ran);
                kept.push(ran.evidence);
            }
            Err(problem) => tally.fail(seed, &problem),
        }
    }
    tally.print();
    let told = report(&kept, folder.path(), flags.get("--program"))?;
    println!("{told}");
    println!(
        "{runs} runs, {jobs} side by side{}, {} failures",
        if alone { "" } else { " (not before others: no right to)" },
        tally.failures
    );
    let allowed = if runs < RUNS_STRICT { 1 } else { 0 };
    if tally.failures <= allowed && tally.moments > 0 {
        Ok(())
    } else {
        Err(format!("{} failures", tally.failures))
    }
}

type Measured = Vec<(u64, Result<Ran, String>)>;

async fn measure(runs: u64, first: u64, jobs: u64, folder: &Path) -> Measured {
    let gate = Arc::new(Semaphore::new(usize::try_from(jobs).unwrap_or(1)));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for number in 0..runs {
        let seed = first.wrapping_add(number);
        let (gate, folder) = (gate.clone(), folder.to_owned());
        tasks.push(tokio::spawn(async move {
            let Ok(_place) = gate.acquire().await else {
                return (seed, Err("no place".to_owned()));
            };
            let ran = one(seed, number, &folder).await;
            if number % 50 == 49 {
                eprintln!("{} of {runs} begun, {} s", number + 1, begun.elapsed().as_secs());
            }
            (seed, ran)
        }));
    }
    let mut measured = Vec::new();
    for task in tasks {
        match task.await {
            Ok(ran) => measured.push(ran),
            Err(error) => measured.push((0, Err(error.to_string()))),
        }
    }
    measured
}

/// When a service does what, in milliseconds from the injection; `None`: never.
#[derive(Debug, Clone, PartialEq)]
struct Script {
    by: Noticed,
    moments: BTreeMap<&'static str, Option<u64>>,
    window_s: u64,
}

/// How it is noticed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noticed {
    Line,
    Metric,
    Webhook,
}

const MOMENTS: [&str; 5] = ["detected", "acknowledged", "responded", "contained", "recovered"];

impl Script {
    fn of(seed: u64, number: u64) -> Script {
        let mut rng = Rng::new(seed);
        let most = if number % LONG_EVERY == LONG_EVERY / 2 {
            LONG_MS_MAX
        } else {
            MOMENT_MS_MAX
        };
        let by = *rng
            .pick(&[Noticed::Line, Noticed::Metric, Noticed::Webhook])
            .unwrap_or(&Noticed::Line);
        let answered = rng.percent(25);
        let mut moments = BTreeMap::new();
        for name in MOMENTS {
            let never = rng.percent(NEVER_PERCENT);
            let at = between(&mut rng, MOMENT_MS_MIN, most);
            if answered || !matches!(name, "acknowledged" | "responded") {
                moments.insert(name, (!never).then_some(at));
            }
        }
        let last = moments.values().flatten().max().copied().unwrap_or(MOMENT_MS_MIN);
        Script {
            by,
            moments,
            window_s: (last + last / 10 + 1_000).div_ceil(1_000),
        }
    }

    fn at(&self, name: &str) -> Option<u64> {
        self.moments.get(name).copied().flatten()
    }

    fn experiment(&self) -> String {
        let detector = match self.by {
            Noticed::Line => "kind = \"sigma\"\nrule = \"denied.yml\"\nself_test = '{\"event\":\"denied\"}'\n",
            Noticed::Metric => "kind = \"probe\"\nservice = \"it\"\npath = \"/metrics\"\nmetric = \"denied_total\"\n",
            Noticed::Webhook => "kind = \"alert\"\nsource = \"hook\"\nname = \"Denied\"\n",
        };
        let mut text = format!(
            "title = \"truth\"\ndeadline_seconds = {}\nwindow_seconds = {}\n\
             [steady]\nservice = \"it\"\nmethod = \"GET\"\npath = \"/work\"\nstatus = 200\nrequests = 3\n\
             [[fault]]\nid = \"credential-revoked\"\nrole = \"holder\"\npolicy = \"it\"\n\
             [fault.probe]\nservice = \"it\"\nmethod = \"GET\"\npath = \"/door\"\nrefused = [401]\n\
             [[detector]]\nid = \"it-notices\"\n{detector}",
            self.window_s + 10,
            self.window_s
        );
        for (name, rule, event) in [("acknowledged", "ack.yml", "ack"), ("responded", "act.yml", "act")] {
            if self.moments.contains_key(name) {
                text += &format!(
                    "[[response]]\nid = \"{name}\"\nmoment = \"{name}\"\nkind = \"sigma\"\nrule = \"{rule}\"\n\
                     self_test = '{{\"event\":\"{event}\"}}'\nby = \"by\"\n"
                );
            }
        }
        text
    }
}

/// As many short times as long ones, by their order of size.
fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    let share = rng.below(1 << 32) as f64 / (1u64 << 32) as f64;
    (least as f64 * (most as f64 / least as f64).powf(share)) as u64
}

/// What was measured, and what the service says it did.
struct Ran {
    script: Script,
    evidence: ChaosExperiment,
    injected: Option<Duration>,
    did: BTreeMap<&'static str, Duration>,
}

async fn one(seed: u64, number: u64, folder: &Path) -> Result<Ran, String> {
    let script = Script::of(seed, number);
    let (made, log) = (script.clone(), folder.join(format!("{seed}.log")));
    // What one run needs to begin must not hold up the others.
    let begun = tokio::task::spawn_blocking(move || {
        let experiment =
            Experiment::parse("truth.toml", &made.experiment()).map_err(|problems| format!("{problems:?}"))?;
        let files = [("denied.yml", RULE), ("ack.yml", ACK), ("act.yml", ACT)];
        let rules = SigmaRules::load(&files.map(|(path, text)| (path.to_owned(), text.into())))
            .map_err(|problems| format!("{problems:?}"))?;
        let journal = UndoJournal::open(Arc::new(SimStorage::new(seed))).map_err(|error| error.to_string())?;
        Ok::<_, String>((experiment, rules, journal, Service::start(made, log)?))
    });
    let (experiment, rules, journal, service) = begun.await.map_err(|error| error.to_string())??;
    let evidence = chaos::run(&experiment, &rules, &service, &journal)
        .await
        .map_err(|error| error.to_string())?;
    let state = service.state();
    Ok(Ran {
        script,
        evidence,
        injected: state.injected,
        did: state.did.clone(),
    })
}

/// A service on loopback, and the world it is in.
struct Service {
    script: Script,
    log: PathBuf,
    _server: Server,
    client: Client,
    tail: Mutex<LogTail>,
    observers: Observers,
    hook: Option<SocketAddr>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    injected: Option<Duration>,
    did: BTreeMap<&'static str, Duration>,
    over: bool,
}

impl Service {
    fn start(script: Script, log: PathBuf) -> Result<Service, String> {
        let state: Arc<Mutex<State>> = Arc::default();
        let listener = net::loopback_listener().map_err(|error| error.to_string())?;
        let server = Server::start(listener, handler(state.clone()), ServerLimits::default());
        let client = Client::new(server.address());
        let settings = "[chaos.observer.hook]\nkind = \"generic\"\nlisten = \"127.0.0.1:0\"\nname = \"/alert\"\n";
        let settings = Settings::parse("proofmark.toml", settings).map_err(|problems| format!("{problems:?}"))?;
        let clock: pipeline::Clock = Arc::new(host::now);
        let random: pipeline::Random = Arc::new(host::random_seed);
        let observers = Observers::start(&settings.observers, &clock, &random).map_err(|error| error.to_string())?;
        let hook = observers.address("hook");
        Ok(Service {
            tail: Mutex::new(LogTail::new(vec![("it".to_owned(), log.clone())])),
            script,
            log,
            _server: server,
            client,
            observers,
            hook,
            state,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// From now on it does what is scripted, on a thread of its own, and writes down when.
    fn attack(&self) {
        let injected = host::now().boottime;
        self.state().injected = Some(injected);
        let mut due: Vec<(u64, &'static str)> = MOMENTS
            .into_iter()
            .filter_map(|name| Some((self.script.at(name)?, name)))
            .collect();
        due.sort_unstable();
        let (state, log, by, hook) = (self.state.clone(), self.log.clone(), self.script.by, self.hook);
        std::thread::spawn(move || {
            for (ms, name) in due {
                let at = injected + Duration::from_millis(ms);
                std::thread::sleep(at.saturating_sub(host::now().boottime));
                if lock(&state).over {
                    return;
                }
                let now = host::now().boottime;
                match (name, by) {
                    ("detected", Noticed::Line) => write_line(&log, "{\"event\":\"denied\"}\n"),
                    ("detected", Noticed::Webhook) => post(hook),
                    ("acknowledged", _) => write_line(&log, "{\"event\":\"ack\",\"by\":\"ada\"}\n"),
                    ("responded", _) => write_line(&log, "{\"event\":\"act\",\"by\":\"runner\"}\n"),
                    // What is asked for is different from now on.
                    _ => {}
                }
                lock(&state).did.insert(name, now);
            }
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.state().over = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_line(log: &Path, line: &str) {
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    if let Ok(mut file) = file {
        let _ = file.write_all(line.as_bytes());
    }
}

/// As a tool would: one request, and who reads the answer doesn't matter.
fn post(hook: Option<SocketAddr>) {
    let Some(address) = hook else { return };
    let body = "{\"alert\":\"Denied\"}";
    let request = format!(
        "POST /generic/hook HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(request.as_bytes());
        let _ = std::io::Read::read(&mut stream, &mut [0; 512]);
    }
}

fn handler(state: Arc<Mutex<State>>) -> Handler {
    Arc::new(move |request: Request, _| {
        let (injected, has) = {
            let state = lock(&state);
            let has = |name| state.did.contains_key(name);
            let has = ["detected", "contained", "recovered"].map(has);
            (state.injected.is_some(), has)
        };
        let [detected, contained, recovered] = has;
        Box::pin(async move {
            let (status, body) = match request.path.as_str() {
                "/door" if injected && contained => (401, String::new()),
                "/work" if injected && !recovered => (503, String::new()),
                "/metrics" => (200, format!("denied_total {}\n", u32::from(detected))),
                _ => (200, String::new()),
            };
            Response::new(status, "text/plain", body.into_bytes())
        })
    })
}

impl Environment for Service {
    fn opted_in(&self) -> bool {
        true
    }

    fn objections(&self, _: &Experiment) -> Vec<String> {
        Vec::new()
    }

    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let begun = Instant::now();
            let answer = self.client.send(Request::get(&request.path), &LIMITS).await;
            let answer = answer.map_err(|error| error.to_string())?;
            Ok(ServiceAnswer {
                status: answer.status,
                body: answer.body,
                elapsed: begun.elapsed(),
            })
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async move {
            self.attack();
            Ok(vec![CredentialRef("lease-1".to_owned())])
        })
    }

    /// It leases again at once: what recovery waits for is the service.
    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        let name = if self.state().injected.is_some() {
            "lease-2"
        } else {
            "lease-1"
        };
        Box::pin(async move { vec![CredentialRef(name.to_owned())] })
    }

    fn poll_logs(&self, now: Duration) -> Vec<Event> {
        self.tail.lock().map(|mut tail| tail.poll(now)).unwrap_or_default()
    }

    fn observing(&self) -> Option<&dyn Observing> {
        Some(&self.observers)
    }

    fn run_id(&self) -> [u8; 16] {
        let random = host::random_seed();
        std::array::from_fn(|at| random[at])
    }

    fn now(&self) -> Now {
        host::now()
    }

    fn cancelled(&self) -> bool {
        false
    }
}

/// What agrees and what doesn't.
#[derive(Default)]
struct Tally {
    failures: u64,
    moments: u64,
    /// By moment: errors in microseconds, how many never came, and how many of those are told as censored.
    by: BTreeMap<&'static str, (Vec<u64>, u64, u64)>,
}

impl Tally {
    fn fail(&mut self, seed: u64, problem: &str) {
        self.failures += 1;
        println!("seed {seed}: {problem}");
    }

    fn compare(&mut self, seed: u64, ran: &Ran) {
        let problems = self.problems(ran);
        if !problems.is_empty() {
            self.fail(seed, &format!("{} ({:?})", problems.join("; "), ran.script));
        }
    }

    fn problems(&mut self, ran: &Ran) -> Vec<String> {
        let (Some(measured), Some(injected)) = (&ran.evidence.measured, ran.injected) else {
            return vec![format!("nothing was injected: {:?}", ran.evidence.unknown)];
        };
        let mut problems: Vec<String> = ran.evidence.unknown.clone();
        for (name, scripted) in &ran.script.moments {
            self.moments += 1;
            let Some(told) = measured.moments.get(*name) else {
                problems.push(format!("`{name}` is not told of"));
                continue;
            };
            let truth = ran.did.get(name).map(|at| micros(at.saturating_sub(injected)));
            let entry = self.by.entry(name).or_default();
            match (truth.filter(|us| *us < told.until_us), told.at_us) {
                (Some(truth), Some(at)) => {
                    let error = at.abs_diff(truth);
                    entry.0.push(error);
                    if error > ERROR_US + (truth as f64 * ERROR_SHARE) as u64 {
                        problems.push(format!("`{name}` at {at} us, in truth at {truth} us"));
                    }
                }
                (None, None) => {
                    entry.1 += 1;
                    let whole = told.until_us >= ran.script.window_s * 1_000_000;
                    if scripted.is_some() && !whole {
                        problems.push(format!("`{name}` was not waited for: until {} us", told.until_us));
                    }
                    entry.2 += u64::from(told.duration_us() == (told.until_us, false));
                }
                (truth, at) => problems.push(format!("`{name}` at {at:?} us, in truth at {truth:?} us")),
            }
        }
        problems
    }

    fn print(&mut self) {
        for (name, (errors, never, censored)) in &mut self.by {
            errors.sort_unstable();
            let at = |percent: usize| errors.get((errors.len() * percent / 100).min(errors.len().saturating_sub(1)));
            let [p50, p99, most] = [50, 99, 100].map(|percent| at(percent).copied().unwrap_or(0));
            println!(
                "{name:<13} {:>5} times, error p50 {p50} us, p99 {p99} us, max {most} us; never {never}, told as censored {censored}",
                errors.len()
            );
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

struct Silent;

impl Progress for Silent {
    fn header(&self, _: &str) {}
    fn doing(&self, _: evidence::Stage, _: &str, _: u64, _: u64) {}
    fn decided(&self, _: &pipeline::report::StageLine) {}
    fn note(&self, _: &str) {}
}

/// Signs and logs every run, reads them back, and has the report of the log made twice and computed again.
fn report(runs: &[ChaosExperiment], folder: &Path, program: Option<&str>) -> Result<String, String> {
    let tree = folder.join("tree");
    std::fs::create_dir_all(&tree).map_err(|error| error.to_string())?;
    let program = program.ok_or("`--program P` is missing")?;
    let program = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
    let options = Options {
        tree: tree.clone(),
        upto: evidence::Stage::Staging,
        home: folder.join("home"),
        clock: Arc::new(host::now),
        random: Arc::new(host::random_seed),
        progress: Arc::new(Silent),
        cancel: host::process::Cancel::default(),
        program: program.clone(),
    };
    pipeline::chaos::keep(&options, runs).map_err(|error| error.to_string())?;
    let kept = pipeline::chaos::kept(&options).map_err(|error| error.to_string())?;
    let bytes = |runs: &[ChaosExperiment]| runs.iter().map(evidence::to_canonical).collect::<Vec<_>>();
    if bytes(&kept) != bytes(runs) {
        return Err("what is logged is not what was measured".to_owned());
    }
    let told = format!("{} runs signed, logged, and read back byte for byte", kept.len());
    let ask = || {
        Command::new(&program)
            .args(["chaos", "report", "--json"])
            .current_dir(&tree)
            .env("PROOFMARK_HOME", folder.join("home"))
            .output()
            .map_err(|error| error.to_string())
    };
    let first = ask()?;
    if !first.status.success() || ask()?.stdout != first.stdout {
        return Err(format!(
            "the report is not the same twice: {}",
            String::from_utf8_lossy(&first.stderr)
        ));
    }
    let file = folder.join("report.json");
    std::fs::write(&file, &first.stdout).map_err(|error| error.to_string())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/chaos_figures.py");
    let checked = Command::new("python3")
        .arg(script)
        .args([&tree, &file])
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    if !checked.status.success() {
        return Err(format!("computed again: {}", String::from_utf8_lossy(&checked.stdout)));
    }
    let last = String::from_utf8_lossy(&checked.stdout)
        .trim()
        .lines()
        .last()
        .unwrap_or_default()
        .to_owned();
    Ok(format!(
        "{told}; its report is the same twice, and computed again: {last}"
    ))
}
