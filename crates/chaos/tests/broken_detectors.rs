//! Broken detectors and services that fail open: each is found and named, none of their false detections is credited,
//! and healthy ones beside them are not accused. A scripted world, on a clock that the test owns.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos::{
    BoxFuture, CredentialRef, Environment, Experiment, Observing, ServiceAnswer, ServiceRequest, UndoJournal, outcome,
    run,
};
use evidence::predicates::{ChaosExperiment, Measured};
use evidence::{Now, Outcome, Timestamp};
use net::proxy::{Applied, Toxic};
use serde_json::{Value, json};
use telemetry::{Alert, Event, Reading, SigmaRules};
use testkit::SimStorage;
use tokio::time::{Instant, sleep};

/// Nobody's run is called that.
const RUN: [u8; 16] = [0xc5; 16];
const BOOTED: Duration = Duration::from_secs(86_400);

const REVOKE: &str = "title = \"revoked\"\ndeadline_seconds = 20\nwindow_seconds = 10\n\
    [steady]\nservice = \"storefront\"\nmethod = \"POST\"\npath = \"/orders\"\nidentity = \"shopper\"\nstatus = 201\nrequests = 5\n\
    [[fault]]\nid = \"credential-revoked\"\nrole = \"storefront\"\npolicy = \"ledger\"\n\
    [fault.probe]\nservice = \"ledger\"\nmethod = \"GET\"\npath = \"/balance\"\nrefused = [401]\n\
    [expect]\ncontained_within_seconds = 1\n";
const SLOWED: &str = "title = \"slowed\"\ndeadline_seconds = 20\nwindow_seconds = 10\n\
    [steady]\nservice = \"storefront\"\nmethod = \"POST\"\npath = \"/orders\"\nstatus = 201\nrequests = 5\n\
    [[fault]]\nid = \"link-slowed\"\nlink = \"storefront-ledger\"\nlatency_ms = 300\nhold_ms = 1500\n\
    [expect]\nrecovered_within_seconds = 5\n";
const RESET: &str = "title = \"reset\"\ndeadline_seconds = 20\nwindow_seconds = 10\n\
    [steady]\nservice = \"storefront\"\nmethod = \"POST\"\npath = \"/orders\"\nstatus = 201\nrequests = 5\n\
    [[fault]]\nid = \"link-reset\"\nlink = \"storefront-ledger\"\nhold_ms = 1500\n\
    [expect]\nrecovered_within_seconds = 5\n";

const DENIED: &str =
    "title: Denied\nlogsource:\n  product: shop\ndetection:\n  s:\n    event: denied\n  condition: s\n";
const BAD_TOKEN: &str = "title: Bad token\nlogsource:\n  product: shop\ndetection:\n  s:\n    event: denied\n    reason: bad token\n  condition: s\n";
const CANARY: &str = "title: Canary\nlogsource:\n  product: shop\ndetection:\n  s:\n    event: denied\n    canary: yes\n  condition: s\n";
const SERVED: &str =
    "title: Served\nlogsource:\n  product: shop\ndetection:\n  s:\n    event: served\n  condition: s\n";

/// What is known at a moment.
struct Tick {
    now: Duration,
    /// Since the injection, at this poll and the one before.
    since: Option<Duration>,
    before: Option<Duration>,
    /// Since the world began, likewise.
    age: Duration,
    age_before: Option<Duration>,
    /// The name of a run came with an ordinary request since the last poll.
    marker: Option<String>,
    /// Ordinary requests since the last poll.
    requests: u64,
    utc: Timestamp,
}

impl Tick {
    /// Once: so long after the injection.
    fn at(&self, ms: u64) -> bool {
        let at = Duration::from_millis(ms);
        self.since.is_some_and(|since| since >= at) && self.before.is_none_or(|before| before < at)
    }

    /// Every so often since the world began: how often it has been, when it is time again.
    fn every(&self, ms: u64) -> Option<u128> {
        let turn = |age: Duration| age.as_millis() / u128::from(ms);
        (self.age_before.map(turn) != Some(turn(self.age))).then(|| turn(self.age))
    }

    fn line(&self, fields: Value) -> Reading {
        Reading::Event(Event {
            source: "ledger".to_owned(),
            boottime: self.now,
            fields,
        })
    }

    fn good(&self) -> Reading {
        self.named("Good", json!({"good": "yes", "service": "ledger"}))
    }

    fn named(&self, name: &str, fields: Value) -> Reading {
        match self.alert(true, &[], fields) {
            Reading::Alert(alert) => Reading::Alert(Alert {
                name: name.to_owned(),
                ..alert
            }),
            other => other,
        }
    }

    fn alert(&self, firing: bool, techniques: &[&str], fields: Value) -> Reading {
        self.alert_of(firing, techniques, fields, None)
    }

    /// `claimed`: seconds from now.
    fn alert_of(&self, firing: bool, techniques: &[&str], fields: Value, claimed: Option<i64>) -> Reading {
        Reading::Alert(Alert {
            source: "siem".to_owned(),
            name: "Denied".to_owned(),
            firing,
            boottime: self.now,
            claimed: claimed.map(|seconds| Timestamp::from_second(self.utc.as_second() + seconds).unwrap()),
            severity: String::new(),
            techniques: techniques.iter().map(|technique| (*technique).to_owned()).collect(),
            fields,
        })
    }
}

/// A request to the service that has to refuse.
struct Call<'a> {
    request: &'a ServiceRequest,
    since: Option<Duration>,
    slowed: bool,
    reset: bool,
    under_way: usize,
    number: u64,
}

type Speak = Box<dyn FnMut(&Tick) -> Vec<Reading> + Send>;
/// Status, body and how long it takes.
type Serve = Box<dyn Fn(&Call<'_>) -> (u16, String, u64) + Send + Sync>;

struct World {
    origin: Instant,
    state: Mutex<State>,
    speak: Mutex<Speak>,
    serve: Serve,
    observer: Result<(), String>,
    leases: usize,
    under_way: AtomicUsize,
    number: AtomicU64,
}

#[derive(Default)]
struct State {
    injected: Option<Instant>,
    toxics: Vec<Applied>,
    polled: Option<Instant>,
    marker: Option<String>,
    requests: u64,
}

impl World {
    fn since(&self) -> Option<Duration> {
        self.state.lock().unwrap().injected.map(|at| at.elapsed())
    }
}

impl Observing for World {
    fn names(&self) -> Vec<String> {
        vec!["siem".to_owned()]
    }

    /// Said by the world itself, which knows when it is asked.
    fn poll(&self) -> Vec<Reading> {
        Vec::new()
    }

    fn self_test<'a>(&'a self, _: &'a str, _: &'a serde_json::Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.observer.clone() })
    }

    fn pause(&self, _: &str) -> Duration {
        Duration::ZERO
    }
}

impl Environment for World {
    fn opted_in(&self) -> bool {
        true
    }

    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let begun = Instant::now();
            let ok = |status: u16, body: String| ServiceAnswer {
                status,
                body: body.into_bytes(),
                elapsed: begun.elapsed(),
            };
            let toxics = self.state.lock().unwrap().toxics.clone();
            let slowed = toxics
                .iter()
                .any(|applied| matches!(applied.toxic, Toxic::Latency { .. }));
            let reset = toxics
                .iter()
                .any(|applied| matches!(applied.toxic, Toxic::Reset { .. }));
            if request.path == "/metrics" {
                let risen = u32::from(self.since().is_some_and(|since| since.as_millis() >= 200));
                return Ok(ok(200, format!("denied_total {risen}\n")));
            }
            if request.path == "/orders" {
                {
                    let mut state = self.state.lock().unwrap();
                    state.requests += 1;
                    state.marker = request.run.clone().or(state.marker.take());
                }
                sleep(Duration::from_millis(if slowed { 300 } else { 1 })).await;
                let well = self.since().is_none_or(|since| since.as_millis() >= 700);
                let status = if reset || (toxics.is_empty() && !well) {
                    502
                } else {
                    201
                };
                return Ok(ok(status, String::new()));
            }
            let call = Call {
                request,
                since: self.since(),
                slowed,
                reset,
                under_way: self.under_way.fetch_add(1, Ordering::SeqCst) + 1,
                number: self.number.fetch_add(1, Ordering::SeqCst),
            };
            sleep(Duration::from_millis(1)).await;
            let call = Call {
                under_way: self.under_way.load(Ordering::SeqCst),
                ..call
            };
            let (status, body, ms) = (self.serve)(&call);
            sleep(Duration::from_millis(ms)).await;
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(ok(status, body))
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async move {
            self.state.lock().unwrap().injected = Some(Instant::now());
            Ok((0..self.leases)
                .map(|at| CredentialRef(format!("lease-{at}")))
                .collect())
        })
    }

    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async move {
            match self.since() {
                None => (0..self.leases)
                    .map(|at| CredentialRef(format!("lease-{at}")))
                    .collect(),
                Some(since) if since.as_millis() >= 700 => vec![CredentialRef("lease-new".to_owned())],
                Some(_) => Vec::new(),
            }
        })
    }

    fn toxics<'a>(&'a self, _: &'a str, toxics: Vec<Applied>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            state.injected.get_or_insert(Instant::now());
            state.toxics = toxics;
            Ok(())
        })
    }

    fn read_toxics<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Applied>, String>> {
        Box::pin(async move { Ok(self.state.lock().unwrap().toxics.clone()) })
    }

    fn poll_logs(&self, _: Duration) -> Vec<Event> {
        Vec::new()
    }

    fn poll_readings(&self, now: Duration) -> Vec<Reading> {
        let tick = {
            let mut state = self.state.lock().unwrap();
            let polled = state.polled.replace(Instant::now());
            Tick {
                now,
                since: state.injected.map(|at| at.elapsed()),
                before: state
                    .injected
                    .zip(polled)
                    .and_then(|(at, polled)| polled.checked_duration_since(at)),
                age: self.origin.elapsed(),
                age_before: polled.map(|polled| polled.duration_since(self.origin)),
                marker: state.marker.take(),
                requests: std::mem::take(&mut state.requests),
                utc: self.now().utc,
            }
        };
        (self.speak.lock().unwrap())(&tick)
    }

    fn observing(&self) -> Option<&dyn Observing> {
        Some(self)
    }

    fn entities(&self) -> Vec<String> {
        ["storefront", "ledger", "billing", "shopper"]
            .map(str::to_owned)
            .to_vec()
    }

    fn run_id(&self) -> [u8; 16] {
        RUN
    }

    fn now(&self) -> Now {
        let elapsed = self.origin.elapsed();
        Now {
            utc: Timestamp::from_millisecond(1_790_000_000_000 + i64::try_from(elapsed.as_millis()).unwrap()).unwrap(),
            boottime: BOOTED + elapsed,
        }
    }

    fn cancelled(&self) -> bool {
        false
    }
}

fn rules() -> SigmaRules {
    let files = [
        ("denied.yml", DENIED),
        ("bad-token.yml", BAD_TOKEN),
        ("canary.yml", CANARY),
        ("served.yml", SERVED),
    ];
    SigmaRules::load(&files.map(|(path, text)| (path.to_owned(), text.into()))).unwrap()
}

/// A world in which nothing is wrong: what was revoked is refused after 60 ms, and all is well again after 700.
fn healthy() -> World {
    World {
        origin: Instant::now(),
        state: Mutex::default(),
        speak: Mutex::new(Box::new(|_| Vec::new())),
        serve: Box::new(|call| {
            let revoked = call.request.credential.is_some() && call.since.is_some_and(|since| since.as_millis() >= 60);
            (if revoked { 401 } else { 200 }, String::new(), 0)
        }),
        observer: Ok(()),
        leases: 1,
        under_way: AtomicUsize::new(0),
        number: AtomicU64::new(0),
    }
}

async fn play(experiment: &str, world: World) -> ChaosExperiment {
    let experiment =
        Experiment::parse("x.toml", experiment).unwrap_or_else(|problems| panic!("{experiment}\n{problems:#?}"));
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    run(&experiment, &rules(), &world, &journal).await.unwrap()
}

fn measured(evidence: &ChaosExperiment) -> &Measured {
    evidence.measured.as_ref().expect("something was injected")
}

const SIGMA: &str = "kind = \"sigma\"\nrule = \"denied.yml\"\nself_test = '{\"event\":\"denied\"}'\n";
const ALERT: &str = "kind = \"alert\"\nsource = \"siem\"\nname = \"Denied\"\n";
/// A detector that works, beside each broken one: it fires 140 ms after the injection.
const GOOD: &str =
    "[[detector]]\nid = \"good\"\nkind = \"alert\"\nsource = \"siem\"\nname = \"Good\"\nlabels = { good = \"yes\" }\n";

/// A detector that says something, beside one that works: its diagnosis, and when it is credited, in milliseconds.
async fn detector(
    base: &str,
    keys: &str,
    mut speak: impl FnMut(&Tick) -> Vec<Reading> + Send + 'static,
) -> (Option<String>, Option<u64>, ChaosExperiment) {
    let text = format!("{base}detected_within_seconds = 5\n{GOOD}[[detector]]\nid = \"x\"\n{keys}");
    let both = move |tick: &Tick| {
        let mut said = speak(tick);
        if tick.at(140) {
            said.push(tick.good());
        }
        said
    };
    let world = World {
        speak: Mutex::new(Box::new(both)),
        ..healthy()
    };
    let evidence = play(&text, world).await;
    let x = evidence.detectors.iter().find(|run| run.id == "x").unwrap().clone();
    if let Some(measured) = &evidence.measured {
        let credited = measured
            .alerts
            .iter()
            .filter(|alert| alert.detector == "x" && alert.credited);
        assert_eq!(credited.count(), usize::from(x.detected_us.is_some()));
        for alert in &measured.alerts {
            assert_eq!(alert.credited, alert.why.is_none(), "{alert:?}");
        }
    }
    (x.diagnosis, x.detected_us.map(|us| us / 1000), evidence)
}

/// Named, not credited, and the one beside it is credited.
async fn broken(name: &str, keys: &str, speak: impl FnMut(&Tick) -> Vec<Reading> + Send + 'static) {
    let (diagnosis, credited, evidence) = detector(REVOKE, keys, speak).await;
    assert_eq!(
        (diagnosis.as_deref(), credited),
        (Some(name), None),
        "{keys}: {evidence:#?}"
    );
    match &evidence.measured {
        Some(measured) => {
            let good = evidence.detectors.iter().find(|run| run.id == "good").unwrap();
            assert_eq!(good.diagnosis, None, "{keys}");
            near(measured.moments["detected"].at_us.map(|us| us / 1000), 140);
            assert_eq!(measured.moments["detected"].by.as_deref(), Some("good"));
        }
        // What fires, or is broken, before anything is injected keeps it from being injected.
        None => assert_eq!(outcome(&evidence), Outcome::Indeterminate, "{:?}", evidence.unknown),
    }
}

#[track_caller]
fn near(measured_ms: Option<u64>, scripted_ms: u64) {
    let measured = measured_ms.expect("it happened");
    assert!(
        measured >= scripted_ms && measured <= scripted_ms + 5 + scripted_ms / 200,
        "{measured} {scripted_ms}"
    );
}

#[tokio::test(start_paused = true)]
async fn detectors_that_work_are_credited_with_their_own_time_and_not_accused() {
    // A log line, at once, and after a while.
    for ms in [1, 5, 90, 600] {
        let speak = move |tick: &Tick| match tick.at(ms) {
            true => vec![tick.line(json!({"event": "denied", "service": "ledger"}))],
            false => Vec::new(),
        };
        let (diagnosis, credited, _) = detector(REVOKE, SIGMA, speak).await;
        assert_eq!(diagnosis, None);
        near(credited, ms);
    }
    // An alert that says what and how, that goes on, and ends once all is well.
    let speak = |tick: &Tick| match (tick.at(80), tick.at(690)) {
        (true, _) => vec![tick.alert_of(true, &["T1550"], json!({"labels": {"job": "ledger"}}), Some(0))],
        (_, true) => vec![tick.alert(false, &["T1550"], json!({"labels": {"job": "ledger"}}))],
        _ => Vec::new(),
    };
    let strict = format!("{ALERT}correlation = \"entity-and-technique\"\nnotifies = true\n");
    let (diagnosis, credited, evidence) = detector(REVOKE, &strict, speak).await;
    assert_eq!(diagnosis, None);
    near(credited, 80);
    let alert = measured(&evidence)
        .alerts
        .iter()
        .find(|alert| alert.detector == "x")
        .unwrap();
    assert_eq!(alert.correlation, "entity-and-technique");
    near(measured(&evidence).moments["notified"].at_us.map(|us| us / 1000), 80);
    // One that carries the run's name, whatever else it says.
    let speak = |tick: &Tick| match tick.at(80) {
        true => vec![tick.alert(
            true,
            &["T1059"],
            json!({"agent": format!("proofmark/{}", "c5".repeat(16))}),
        )],
        false => Vec::new(),
    };
    let (diagnosis, credited, evidence) = detector(REVOKE, ALERT, speak).await;
    assert_eq!(diagnosis, None);
    near(credited, 80);
    assert!(
        measured(&evidence)
            .alerts
            .iter()
            .any(|alert| alert.correlation == "run-id")
    );
    // A metric.
    let probe = "kind = \"probe\"\nservice = \"ledger\"\npath = \"/metrics\"\nmetric = \"denied_total\"\n";
    let (diagnosis, credited, _) = detector(REVOKE, probe, |_| Vec::new()).await;
    assert_eq!(diagnosis, None);
    near(credited, 200);
    // A source that has to be heard of, and is.
    let alive = format!("{ALERT}alive_seconds = 1\n");
    let speak = |tick: &Tick| match (tick.at(90), tick.every(50)) {
        (true, _) => vec![tick.alert(true, &[], json!({}))],
        (_, Some(_)) => vec![tick.named("Watchdog", json!({}))],
        _ => Vec::new(),
    };
    let (diagnosis, credited, _) = detector(REVOKE, &alive, speak).await;
    assert_eq!(diagnosis, None);
    near(credited, 90);
}

#[tokio::test(start_paused = true)]
async fn dead_ones() {
    let other = SIGMA.replace("\"event\":\"denied\"", "\"event\":\"other\"");
    broken("dead", &other, |_| Vec::new()).await;
    // What an observer was not given before the injection.
    let gap = |tick: &Tick| match tick.since {
        None => vec![Reading::Gap {
            source: "ledger".to_owned(),
            reason: "permission denied".to_owned(),
        }],
        Some(_) => Vec::new(),
    };
    broken("dead", &format!("{SIGMA}source = \"ledger\"\n"), gap).await;
    // Never heard of, and since yesterday.
    let alive = format!("{SIGMA}source = \"ledger\"\nalive_seconds = 2\n");
    broken("dead-since", &alive, |_| Vec::new()).await;
    let mut told = false;
    let yesterday = move |tick: &Tick| match std::mem::replace(&mut told, true) {
        false => vec![tick.line(json!({"event": "started", "timestamp": "2026-09-20T00:00:00Z"}))],
        true => Vec::new(),
    };
    broken("dead-since", &alive, yesterday).await;
    // An observer that can't receive.
    let world = World {
        observer: Err("its port doesn't answer".to_owned()),
        ..healthy()
    };
    let evidence = play(&format!("{REVOKE}{GOOD}"), world).await;
    assert_eq!(evidence.detectors[0].diagnosis.as_deref(), Some("dead"));
    assert_eq!(outcome(&evidence), Outcome::Indeterminate);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_read_makes_a_run_unknown_and_no_gap_in_detection() {
    let speak = |tick: &Tick| match tick.at(50) {
        true => vec![Reading::Gap {
            source: "siem".to_owned(),
            reason: "too much was said".to_owned(),
        }],
        false => Vec::new(),
    };
    let (_, credited, evidence) = detector(REVOKE, ALERT, speak).await;
    assert_eq!(credited, None);
    assert!(
        evidence.unknown.iter().any(|unknown| unknown.contains("was not read")),
        "{:?}",
        evidence.unknown
    );
    // The other one has noticed all the same.
    near(measured(&evidence).moments["detected"].at_us.map(|us| us / 1000), 140);
}

#[tokio::test(start_paused = true)]
async fn ones_that_fire_although_nothing_is_wrong() {
    broken("always-on", SIGMA, |tick| vec![tick.line(json!({"event": "denied"}))]).await;
    // On since before the run.
    let mut told = false;
    let on = move |tick: &Tick| match (std::mem::replace(&mut told, true), tick.at(100)) {
        (false, _) | (_, true) => vec![tick.alert(true, &[], json!({"service": "ledger"}))],
        _ => Vec::new(),
    };
    broken("always-on", ALERT, on).await;
    // On the ordinary workload.
    let served = SIGMA.replace("denied", "served");
    let workload = |tick: &Tick| {
        (0..tick.requests)
            .map(|_| tick.line(json!({"event": "served"})))
            .collect()
    };
    broken("always-on", &served, workload).await;
    // On and off.
    let flaps = |tick: &Tick| {
        let turn = tick.every(25).map(|turn| tick.alert(turn % 2 == 0, &[], json!({})));
        turn.into_iter().collect()
    };
    broken("flapping", ALERT, flaps).await;
    // Only seen to flap once something was injected.
    let flaps = |tick: &Tick| match (tick.since, tick.every(40)) {
        (Some(_), Some(turn)) => vec![tick.alert(turn % 2 == 0, &[], json!({}))],
        _ => Vec::new(),
    };
    broken("flapping", ALERT, flaps).await;
    // Once, by chance.
    let mut told = 0;
    let once = move |tick: &Tick| {
        told += 1;
        (told == 4)
            .then(|| tick.line(json!({"event": "denied"})))
            .into_iter()
            .collect()
    };
    broken("false-alarm", SIGMA, once).await;
}

#[tokio::test(start_paused = true)]
async fn ones_that_read_the_runs_name() {
    for echo in [true, false] {
        let speak = move |tick: &Tick| match &tick.marker {
            Some(run) => vec![tick.line(json!({"event": "denied", "agent": if echo { run } else { "?" }}))],
            None => Vec::new(),
        };
        broken("reads-run-id", SIGMA, speak).await;
    }
}

#[tokio::test(start_paused = true)]
async fn ones_that_are_right_for_the_wrong_reason() {
    for (techniques, fields) in [
        (&["T1059.004"][..], json!({"service": "ledger"})),
        (&["T1059", "T1003"], json!({})),
        (&[], json!({"service": "ledger", "accessor": "lease-77"})),
        (&[], json!({"event": "denied", "user": "mallory"})),
        (&["T1078"], json!({"target": "payroll"})),
        (&[], json!({"labels": {"instance": "billing"}})),
    ] {
        let speak = move |tick: &Tick| match tick.at(70) {
            true => vec![tick.alert(true, techniques, fields.clone())],
            false => Vec::new(),
        };
        broken("wrong-reason", ALERT, speak).await;
    }
    // What it is said to detect is not what was done.
    let keys = format!("{ALERT}techniques = [\"T1486\"]\n");
    let speak = |tick: &Tick| match tick.at(70) {
        true => vec![tick.alert(true, &[], json!({"service": "ledger"}))],
        false => Vec::new(),
    };
    broken("wrong-reason", &keys, speak).await;
    // Right the second time.
    let speak = |tick: &Tick| match (tick.at(70), tick.at(400)) {
        (true, _) => vec![tick.alert(true, &["T1059"], json!({"service": "ledger"}))],
        (_, true) => vec![tick.alert(true, &["T1078"], json!({"service": "ledger"}))],
        _ => Vec::new(),
    };
    let (diagnosis, credited, _) = detector(REVOKE, ALERT, speak).await;
    assert_eq!(diagnosis, None);
    near(credited, 400);
}

#[tokio::test(start_paused = true)]
async fn weak_ones_where_more_is_asked_for() {
    for least in ["entity-and-technique", "run-id"] {
        let keys = format!("{ALERT}correlation = \"{least}\"\n");
        let speak = |tick: &Tick| match tick.at(70) {
            true => vec![tick.alert(true, &[], json!({"service": "ledger"}))],
            false => Vec::new(),
        };
        broken("weak", &keys, speak).await;
    }
}

#[tokio::test(start_paused = true)]
async fn late_ones_count_with_their_own_time() {
    let speak = |tick: &Tick| match tick.at(6200) {
        true => vec![tick.line(json!({"event": "denied"}))],
        false => Vec::new(),
    };
    let text = format!("{REVOKE}detected_within_seconds = 5\n[[detector]]\nid = \"x\"\n{SIGMA}");
    let world = World {
        speak: Mutex::new(Box::new(speak)),
        ..healthy()
    };
    let evidence = play(&text, world).await;
    assert_eq!(evidence.detectors[0].diagnosis.as_deref(), Some("late"));
    near(evidence.detected_us.map(|us| us / 1000), 6200);
    assert!(
        evidence
            .notes
            .iter()
            .any(|note| note.starts_with("noticed only after 6.2 s")),
        "{:?}",
        evidence.notes
    );
    // After the fault had ended by itself, though in time.
    let speak = |tick: &Tick| match tick.at(1600) {
        true => vec![tick.line(json!({"event": "denied"}))],
        false => Vec::new(),
    };
    let (diagnosis, credited, _) = detector(SLOWED, SIGMA, speak).await;
    assert_eq!(diagnosis.as_deref(), Some("late"));
    near(credited, 1600);
}

#[tokio::test(start_paused = true)]
async fn ones_that_know_only_their_self_test_or_say_nothing() {
    let line = |tick: &Tick| match tick.at(70) {
        true => vec![tick.line(json!({"event": "denied", "service": "ledger", "reason": "expired token"}))],
        false => Vec::new(),
    };
    let bad_token = "kind = \"sigma\"\nrule = \"bad-token.yml\"\n\
        self_test = '{\"event\":\"denied\",\"service\":\"ledger\",\"reason\":\"bad token\"}'\n";
    broken("self-test-only", bad_token, line).await;
    let canary = "kind = \"sigma\"\nrule = \"canary.yml\"\nself_test = '{\"event\":\"denied\",\"canary\":\"yes\"}'\n";
    broken("self-test-only", canary, |_| Vec::new()).await;
    // Watched for as long as was asked for, it said nothing.
    let text = format!("{REVOKE}detected_within_seconds = 5\n[[detector]]\nid = \"x\"\n{SIGMA}");
    let evidence = play(&text, healthy()).await;
    assert_eq!(evidence.detectors[0].diagnosis.as_deref(), Some("silent"));
    let detected = &measured(&evidence).moments["detected"];
    assert_eq!((detected.at_us, detected.from_us), (None, 0));
    assert!(
        detected.until_us >= 10_000_000,
        "censored where watching ended: {detected:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn ones_whose_clock_is_wrong_and_ones_that_are_there_twice() {
    // It began an hour ago, by its own account: it is not about this.
    let speak = |tick: &Tick| match tick.at(70) {
        true => vec![tick.alert_of(true, &["T1078"], json!({"service": "ledger"}), Some(-3600))],
        false => Vec::new(),
    };
    broken("clock-wrong", ALERT, speak).await;
    // It is yet to come: it counts by our clock.
    let speak = |tick: &Tick| match tick.at(70) {
        true => vec![tick.alert_of(true, &["T1078"], json!({"service": "ledger"}), Some(3600))],
        false => Vec::new(),
    };
    let (diagnosis, credited, _) = detector(REVOKE, ALERT, speak).await;
    assert_eq!(diagnosis.as_deref(), Some("clock-wrong"));
    near(credited, 70);
    let text = format!("{REVOKE}[[detector]]\nid = \"x\"\n{SIGMA}[[detector]]\nid = \"y\"\n{SIGMA}");
    let speak = |tick: &Tick| match tick.at(70) {
        true => vec![tick.line(json!({"event": "denied"}))],
        false => Vec::new(),
    };
    let world = World {
        speak: Mutex::new(Box::new(speak)),
        ..healthy()
    };
    let evidence = play(&text, world).await;
    let names: Vec<_> = evidence.detectors.iter().map(|run| run.diagnosis.as_deref()).collect();
    assert_eq!(names, [None, Some("duplicate")]);
}

#[tokio::test(start_paused = true)]
async fn who_answers_is_seen_and_what_comes_before_is_no_answer() {
    let text = format!(
        "{REVOKE}detected_within_seconds = 5\n{GOOD}\
         [[response]]\nid = \"oncall\"\nmoment = \"acknowledged\"\nkind = \"alert\"\nsource = \"siem\"\nname = \"Ack\"\nby = \"user\"\n\
         [[response]]\nid = \"runner\"\nmoment = \"responded\"\nkind = \"alert\"\nsource = \"siem\"\nname = \"Act\"\n"
    );
    let mut told = false;
    let speak = move |tick: &Tick| {
        let mut said = Vec::new();
        if !std::mem::replace(&mut told, true) {
            said.push(tick.named("Ack", json!({"user": "yesterday"})));
        }
        if tick.at(140) {
            said.push(tick.good());
        }
        if tick.at(900) {
            said.push(tick.named("Ack", json!({"user": "ada"})));
        }
        if tick.at(1500) {
            said.push(tick.named("Act", json!({"playbook": "contain"})));
        }
        said
    };
    let world = World {
        speak: Mutex::new(Box::new(speak)),
        ..healthy()
    };
    let evidence = play(&text, world).await;
    let moments = &measured(&evidence).moments;
    near(moments["acknowledged"].at_us.map(|us| us / 1000), 900);
    assert_eq!(moments["acknowledged"].by.as_deref(), Some("ada"));
    near(moments["responded"].at_us.map(|us| us / 1000), 1500);
    assert_eq!(moments["responded"].by.as_deref(), Some("siem"));
    assert!(!moments.contains_key("notified"), "nobody is said to be told");
}

/// A service, under an experiment with `extra`: the names it is given.
async fn service(
    base: &str,
    extra: &str,
    leases: usize,
    serve: impl Fn(&Call<'_>) -> (u16, String, u64) + Send + Sync + 'static,
) -> (Option<String>, ChaosExperiment) {
    let world = World {
        serve: Box::new(serve),
        leases,
        ..healthy()
    };
    let evidence = play(&format!("{base}{extra}"), world).await;
    let name = measured(&evidence).services.get("ledger").cloned();
    (name, evidence)
}

fn status(status: u16) -> (u16, String, u64) {
    (status, String::new(), 0)
}

fn ms(call: &Call<'_>) -> u128 {
    call.since.map_or(0, |since| since.as_millis())
}

/// 401 for what is revoked from `from` on.
fn refuses(call: &Call<'_>, from: u128) -> bool {
    call.request.credential.is_some() && call.since.is_some() && ms(call) >= from
}

#[tokio::test(start_paused = true)]
async fn services_that_go_on_serving_what_was_revoked() {
    let (name, evidence) = service(REVOKE, "", 1, |_| status(200)).await;
    assert_eq!(name.as_deref(), Some("fail-open"), "{:?}", evidence.notes);
    assert_eq!(measured(&evidence).moments["contained"].at_us, None);
    // Until what it cached ran out: too late, and with its own time.
    let until = |call: &Call<'_>| status(if refuses(call, 2300) { 401 } else { 200 });
    let (name, evidence) = service(REVOKE, "", 1, until).await;
    assert_eq!(name.as_deref(), Some("fail-open-until-cache-expiry"));
    near(evidence.contained_us.map(|us| us / 1000), 2300);
    assert_eq!(outcome(&evidence), Outcome::Fail);
    // It refused, and forgot it again.
    let forgets = |call: &Call<'_>| status(if refuses(call, 20) && ms(call) < 450 { 401 } else { 200 });
    let (name, evidence) = service(REVOKE, "", 1, forgets).await;
    assert_eq!(name.as_deref(), Some("fail-open-after-cache-expiry"));
    assert_eq!(measured(&evidence).moments["contained"].at_us, None);
    assert_eq!(outcome(&evidence), Outcome::Fail);
    // One of ten is let in.
    let sometimes = |call: &Call<'_>| {
        status(if refuses(call, 20) && call.number % 10 != 3 {
            401
        } else {
            200
        })
    };
    let (name, evidence) = service(REVOKE, "", 1, sometimes).await;
    assert_eq!(
        name.as_deref(),
        Some("fail-open-intermittently"),
        "{:?}",
        evidence.notes
    );
    assert_eq!(outcome(&evidence), Outcome::Fail);
    // One of three.
    let one = |call: &Call<'_>| {
        let first = call
            .request
            .credential
            .as_ref()
            .is_some_and(|lease| lease.0 == "lease-1");
        status(if refuses(call, 20) && !first { 401 } else { 200 })
    };
    let (name, evidence) = service(REVOKE, "", 3, one).await;
    assert_eq!(
        name.as_deref(),
        Some("fail-open-for-one-identity"),
        "{:?}",
        evidence.notes
    );
    assert_eq!(outcome(&evidence), Outcome::Fail);
}

#[tokio::test(start_paused = true)]
async fn services_that_refuse_are_not_accused() {
    for from in [0, 60, 900] {
        let (name, evidence) = service(REVOKE, "", 2, move |call| {
            status(if refuses(call, from) { 401 } else { 200 })
        })
        .await;
        // Slow, and in time.
        assert_eq!(name, None);
        assert_eq!(evidence.notes, Vec::<String>::new());
        near(evidence.contained_us.map(|us| us / 1000), u64::try_from(from).unwrap());
        assert_eq!(outcome(&evidence), Outcome::Pass);
    }
    // Errors are no service.
    let fails = |call: &Call<'_>| status(if call.reset { 503 } else { 401 });
    for base in [SLOWED, RESET] {
        let (name, evidence) = service(base, STRANGER, 1, fails).await;
        assert_eq!((name, &evidence.notes), (None, &Vec::new()));
        assert!(measured(&evidence).invariants[0].looks > 0 || base == RESET);
    }
}

const STRANGER: &str = "[[invariant]]\nid = \"stranger\"\nproperty = \"confidentiality\"\nkind = \"denied\"\n\
    service = \"ledger\"\nmethod = \"GET\"\npath = \"/balance\"\nrefused = [401]\n";

#[tokio::test(start_paused = true)]
async fn services_that_let_strangers_in_while_something_is_wrong() {
    let other_path = STRANGER.replace("stranger", "admin").replace("/balance", "/admin");
    let other_one = STRANGER.replace("\"stranger\"", "\"guest\"\nidentity = \"guest\"");
    type Behaves = fn(&Call<'_>) -> (u16, u64);
    let cases: [(&str, &str, String, Behaves); 8] = [
        ("fail-open-on-error", RESET, String::new(), |call| {
            (if call.reset { 200 } else { 401 }, 0)
        }),
        ("fail-open-on-timeout", SLOWED, String::new(), |call| {
            if call.slowed { (200, 300) } else { (401, 0) }
        }),
        ("fail-open-under-load", SLOWED, String::new(), |call| {
            (if call.slowed && call.under_way > 4 { 200 } else { 401 }, 0)
        }),
        ("fail-open-after-cache-expiry", RESET, String::new(), |call| {
            (if call.reset && ms(call) > 600 { 200 } else { 401 }, 0)
        }),
        ("fail-open-until-cache-expiry", RESET, String::new(), |call| {
            (if call.reset && ms(call) < 600 { 200 } else { 401 }, 0)
        }),
        ("fail-open-intermittently", RESET, String::new(), |call| {
            (if call.reset && call.number % 5 == 0 { 200 } else { 401 }, 0)
        }),
        ("fail-open-on-one-path", RESET, other_path, |call| {
            (
                if call.reset && call.request.path == "/balance" {
                    200
                } else {
                    401
                },
                0,
            )
        }),
        ("fail-open-for-one-identity", RESET, other_one, |call| {
            (
                if call.reset && call.request.identity.is_none() {
                    200
                } else {
                    401
                },
                0,
            )
        }),
    ];
    for (expect, base, extra, behaves) in cases {
        let serve = move |call: &Call<'_>| {
            let (status, ms) = behaves(call);
            (status, String::new(), ms)
        };
        let (name, evidence) = service(base, &format!("{STRANGER}{extra}"), 1, serve).await;
        assert_eq!(name.as_deref(), Some(expect), "{:#?}", measured(&evidence).invariants);
        let invariant = &measured(&evidence).invariants[0];
        assert!(
            invariant.broken > 0 && invariant.broken <= invariant.looks,
            "{invariant:?}"
        );
        assert_eq!(invariant.property, "confidentiality");
        assert_eq!(outcome(&evidence), Outcome::Fail);
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_hold_to_begin_with_is_not_attacked() {
    let world = World {
        serve: Box::new(|_| status(200)),
        ..healthy()
    };
    let evidence = play(&format!("{RESET}{STRANGER}"), world).await;
    assert!(evidence.measured.is_none());
    assert!(
        evidence.unknown[0].contains("invariant `stranger` does not hold to begin with"),
        "{:?}",
        evidence.unknown
    );
}

const NOTES: &str = "[[invariant]]\nid = \"notes\"\nproperty = \"integrity\"\nkind = \"history\"\nmodel = \"MODEL\"\n\
    [invariant.write]\nservice = \"ledger\"\nmethod = \"PUT\"\npath = \"/notes/{value}\"\n\
    [invariant.read]\nservice = \"ledger\"\nmethod = \"GET\"\npath = \"/notes\"\n";

/// What was written, as a store that may lose, repeat or hold back some of it while the link is reset.
async fn store(model: &str, spoil: fn(&mut Vec<String>, String, u64)) -> (Option<String>, ChaosExperiment) {
    let kept: Mutex<Vec<String>> = Mutex::default();
    let serve = move |call: &Call<'_>| {
        let mut kept = kept.lock().unwrap();
        match call.request.path.strip_prefix("/notes/") {
            Some(word) if call.reset => spoil(&mut kept, word.to_owned(), call.number),
            Some(word) => kept.push(word.to_owned()),
            None => {}
        }
        let body = match kept.last() {
            Some(last) if call.request.path == "/notes" && kept.len() % 2 == 2 => last.clone(),
            _ => kept.join(","),
        };
        (200, body, 0)
    };
    let (_, evidence) = service(RESET, &NOTES.replace("MODEL", model), 1, serve).await;
    let name = measured(&evidence).invariants[0].diagnosis.clone();
    (name, evidence)
}

#[tokio::test(start_paused = true)]
async fn stores_that_lose_or_repeat_what_they_acknowledged() {
    let (name, evidence) = store("set", |kept, word, _| kept.push(word)).await;
    assert_eq!(name, None);
    assert!(measured(&evidence).invariants[0].looks > 10);
    assert_eq!(evidence.notes, Vec::<String>::new());
    let (name, evidence) = store("set", |kept, word, number| {
        if number % 6 != 0 {
            kept.push(word)
        }
    })
    .await;
    assert_eq!(name.as_deref(), Some("lost-write"));
    assert_eq!(outcome(&evidence), Outcome::Fail);
    let (name, _) = store("set", |kept, word, _| kept.extend([word.clone(), word])).await;
    assert_eq!(name.as_deref(), Some("duplicate-write"));
    let (name, _) = store("register", |kept, word, _| *kept = vec![word]).await;
    assert_eq!(name, None);
    let (name, _) = store("register", |_, _, _| {}).await;
    assert_eq!(name.as_deref(), Some("stale-read"));
}

#[tokio::test(start_paused = true)]
async fn what_has_to_stay_served_and_in_time() {
    let served = "[[invariant]]\nid = \"there\"\nproperty = \"availability\"\nkind = \"served\"\n\
        service = \"ledger\"\nmethod = \"GET\"\npath = \"/catalogue\"\nstatus = 200\np99_ms = 100\n";
    type Behaves = fn(&Call<'_>) -> (u16, u64);
    let cases: [(Option<&str>, Behaves); 4] = [
        (None, |_| (200, 0)),
        (None, |call| (200, if call.number == 40 { 150 } else { 20 })),
        (Some("slow"), |call| (200, if call.reset { 150 } else { 0 })),
        (Some("not-served"), |call| (if call.reset { 503 } else { 200 }, 0)),
    ];
    for (expect, behaves) in cases {
        let serve = move |call: &Call<'_>| {
            let (status, ms) = behaves(call);
            (status, String::new(), ms)
        };
        let (_, evidence) = service(RESET, served, 1, serve).await;
        let invariant = &measured(&evidence).invariants[0];
        // One slow look is one of a hundred only where there are a hundred.
        if invariant.looks >= 100 || expect.is_some() {
            assert_eq!(invariant.diagnosis.as_deref(), expect, "{invariant:?}");
        }
    }
}
