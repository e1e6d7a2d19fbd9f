//! Whole runs against a scripted environment, on a clock that the test owns: what is reported is what was scripted.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos::{
    BoxFuture, CredentialRef, Environment, Experiment, ServiceAnswer, ServiceRequest, State, UndoJournal, run,
};
use evidence::predicates::{ChaosExperiment, Moment};
use evidence::{Now, Timestamp};
use net::proxy::{Applied, Toxic};
use serde_json::json;
use telemetry::{Event, SigmaRules};
use testkit::SimStorage;
use tokio::time::{Instant, sleep};

const REVOKE: &str = include_str!("revoke-ledger.toml");
const DEGRADE: &str = include_str!("degrade-link.toml");
const RUN: [u8; 16] = [0x5a; 16];

const DENIED: &str = "title: Ledger denied a credential\nlogsource:\n  product: shop\ndetection:\n  selection:\n    \
                      event: denied\n  condition: selection\n";
const UNREACHABLE: &str = "title: Upstream failed\nlogsource:\n  product: shop\ndetection:\n  selection:\n    \
                           event: upstream_failed\n  condition: selection\n";

/// How the system behaves. Delays are from the injection, or for links from the end of the last fault.
#[derive(Clone)]
struct Script {
    opted_in: bool,
    /// The log line of the detection; `None`: nobody notices.
    logged: Option<u64>,
    /// The metric rises.
    counted: Option<u64>,
    contained: Option<u64>,
    recovered: Option<u64>,
    steady_status: u16,
    /// A log line that the rule matches, without any cause.
    false_alarm: bool,
    metric_missing: bool,
    probe_refuses_all: bool,
    /// The links don't carry the steady request.
    link_unused: bool,
    /// `cancelled` from so long after the injection.
    cancel: Option<u64>,
    revoke_hangs: bool,
    /// So many times, clearing a link fails.
    stubborn: u32,
    /// The link loses its toxics by itself, as when the worker dies.
    toxics_lost: bool,
    /// Refused at this time for a moment, then accepted again.
    flapping: bool,
}

impl Default for Script {
    fn default() -> Self {
        Script {
            opted_in: true,
            logged: Some(140),
            counted: Some(230),
            contained: Some(60),
            recovered: Some(700),
            steady_status: 201,
            false_alarm: false,
            metric_missing: false,
            probe_refuses_all: false,
            link_unused: false,
            cancel: None,
            revoke_hangs: false,
            stubborn: 0,
            toxics_lost: false,
            flapping: false,
        }
    }
}

struct Scripted {
    script: Script,
    origin: Instant,
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    injected: Option<Instant>,
    toxics: Vec<Applied>,
    cleared: Option<Instant>,
    lines_sent: u32,
    stubborn: u32,
    /// Toxics that were ever set.
    history: Vec<Vec<Applied>>,
}

impl Scripted {
    fn new(script: Script) -> Self {
        let world = World {
            stubborn: script.stubborn,
            ..World::default()
        };
        Scripted {
            script,
            origin: Instant::now(),
            world: Mutex::new(world),
        }
    }

    fn since_injection(&self) -> Option<Duration> {
        self.world.lock().unwrap().injected.map(|at| at.elapsed())
    }

    fn passed(&self, after: Option<u64>) -> bool {
        after
            .zip(self.since_injection())
            .is_some_and(|(after, since)| since >= Duration::from_millis(after))
    }

    fn recovered(&self) -> bool {
        let world = self.world.lock().unwrap();
        let Some(from) = world.cleared.or(world.injected) else {
            return true;
        };
        self.script
            .recovered
            .is_some_and(|after| from.elapsed() >= Duration::from_millis(after))
    }

    async fn answer(&self, request: &ServiceRequest) -> Result<u16, String> {
        if let Some(credential) = &request.credential {
            let refused = credential.0 == "lease-1" && self.passed(self.script.contained);
            let flaps = self.script.flapping && self.since_injection().is_some_and(|since| since.as_millis() < 30);
            return Ok(if refused || flaps || self.script.probe_refuses_all {
                401
            } else {
                200
            });
        }
        let toxics = self.world.lock().unwrap().toxics.clone();
        match toxics.first() {
            _ if self.script.link_unused => {}
            Some(Applied {
                toxic: Toxic::Latency { delay_ms, .. },
                ..
            }) => sleep(Duration::from_millis(*delay_ms)).await,
            Some(_) => return Err("connection reset".to_owned()),
            None => {}
        }
        sleep(Duration::from_millis(1)).await;
        let injected = self.since_injection().is_some() && toxics.is_empty();
        Ok(if injected && !self.recovered() {
            502
        } else {
            self.script.steady_status
        })
    }
}

impl Environment for Scripted {
    fn opted_in(&self) -> bool {
        self.script.opted_in
    }

    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let start = Instant::now();
            if request.path == "/metrics" {
                let denied = u32::from(self.passed(self.script.counted));
                let name = if self.script.metric_missing {
                    "other"
                } else {
                    "ledger_denied_total"
                };
                let body = format!("{name} {denied}\n").into_bytes();
                return Ok(ServiceAnswer {
                    status: 200,
                    body,
                    elapsed: start.elapsed(),
                });
            }
            let status = self.answer(request).await?;
            Ok(ServiceAnswer {
                status,
                body: Vec::new(),
                elapsed: start.elapsed(),
            })
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async move {
            if self.script.revoke_hangs {
                sleep(Duration::from_secs(3600)).await;
            }
            self.world.lock().unwrap().injected = Some(Instant::now());
            Ok(vec![CredentialRef("lease-1".to_owned())])
        })
    }

    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async move {
            let lease = |name: &str| vec![CredentialRef(name.to_owned())];
            match self.since_injection() {
                None => lease("lease-1"),
                Some(_) if self.recovered() => lease("lease-2"),
                Some(_) => Vec::new(),
            }
        })
    }

    fn toxics<'a>(&'a self, _: &'a str, toxics: Vec<Applied>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut world = self.world.lock().unwrap();
            if toxics.is_empty() && world.stubborn > 0 {
                world.stubborn -= 1;
                return Err("the worker does not answer".to_owned());
            }
            world.injected.get_or_insert(Instant::now());
            world.cleared = toxics.is_empty().then(Instant::now);
            world.history.push(toxics.clone());
            world.toxics = toxics;
            Ok(())
        })
    }

    fn read_toxics<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Vec<Applied>, String>> {
        Box::pin(async move {
            let lost = self.script.toxics_lost
                && self
                    .since_injection()
                    .is_some_and(|since| since >= Duration::from_millis(100));
            Ok(if lost {
                Vec::new()
            } else {
                self.world.lock().unwrap().toxics.clone()
            })
        })
    }

    fn poll_logs(&self, now: Duration) -> Vec<Event> {
        let due = self.passed(self.script.logged);
        let mut world = self.world.lock().unwrap();
        let early = self.script.false_alarm && world.injected.is_none();
        if !early && (!due || world.lines_sent > 0) {
            return Vec::new();
        }
        world.lines_sent += 1;
        let line = |event: &str| Event {
            source: "ledger".to_owned(),
            boottime: now,
            fields: json!({ "event": event }),
        };
        vec![line("denied"), line("upstream_failed"), line("served")]
    }

    fn run_id(&self) -> [u8; 16] {
        RUN
    }

    fn now(&self) -> Now {
        // The boot clock starts somewhere: nothing may take it for zero.
        let boottime = Duration::from_secs(86_400) + self.origin.elapsed();
        Now {
            utc: Timestamp::UNIX_EPOCH,
            boottime,
        }
    }

    fn cancelled(&self) -> bool {
        self.passed(self.script.cancel)
    }
}

fn rules() -> SigmaRules {
    SigmaRules::load(&[
        ("detection/ledger-denied.yml".to_owned(), DENIED.into()),
        ("detection/ledger-unreachable.yml".to_owned(), UNREACHABLE.into()),
    ])
    .unwrap()
}

struct Ran {
    evidence: ChaosExperiment,
    environment: Scripted,
    journal: UndoJournal,
    took: Duration,
}

async fn play(file: &str, script: Script) -> Ran {
    let experiment = Experiment::parse("experiments/x.toml", file).unwrap();
    let rules = rules();
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    let environment = Scripted::new(script);
    let start = Instant::now();
    let evidence = run(&experiment, &rules, &environment, &journal).await.unwrap();
    Ran {
        evidence,
        environment,
        journal,
        took: start.elapsed(),
    }
}

/// Within 5 ms and half a per cent; timers of this clock go by whole milliseconds.
#[track_caller]
fn near(measured_us: Option<u64>, scripted_ms: u64) {
    let measured = measured_us.expect("it happened");
    let off = measured.abs_diff(scripted_ms * 1000);
    let bound = 5_000 + scripted_ms * 5;
    assert!(off <= bound, "measured {measured} us, scripted {scripted_ms} ms");
}

/// The truth lies within what the moment says of its own resolution.
#[track_caller]
fn within(moment: &Moment, scripted_ms: u64) {
    let at = moment.at_us.expect("it happened");
    let truth = scripted_ms * 1000;
    let earliest = at - moment.resolution_us;
    assert!(
        earliest <= truth + 1_000 && truth <= at,
        "{moment:?}, scripted {scripted_ms} ms"
    );
    assert!(moment.resolution_us <= 5_000 + scripted_ms * 5, "{moment:?}");
    assert_eq!(moment.duration_us(), (at, true));
}

#[tokio::test(start_paused = true)]
async fn times_are_those_of_the_script() {
    for (logged, counted, contained, recovered) in [
        (140, 230, 60, 700),
        (5, 40, 0, 20),
        (900, 30, 1200, 300),
        (2500, 2600, 800, 3100),
        (50, 50, 50, 50),
    ] {
        let script = Script {
            logged: Some(logged),
            counted: Some(counted),
            contained: Some(contained),
            recovered: Some(recovered),
            ..Script::default()
        };
        let ran = play(REVOKE, script).await;
        let evidence = &ran.evidence;
        assert_eq!(evidence.unknown, Vec::<String>::new());
        assert_eq!(evidence.notes, Vec::<String>::new());
        near(evidence.detected_us, logged.min(counted));
        near(evidence.contained_us, contained);
        near(evidence.recovered_us, recovered);
        let measured = evidence.measured.as_ref().unwrap();
        assert_eq!(measured.run, "5a".repeat(16));
        within(&measured.moments["detected"], logged.min(counted));
        within(&measured.moments["contained"], contained);
        within(&measured.moments["recovered"], recovered);
        assert_eq!(measured.undo_us, evidence.window_us);
        assert_eq!(measured.blind.len(), 2);
        assert!(measured.phases["before"].served > 5 && measured.phases["during"].requests > 0);
        near(evidence.detectors[0].detected_us, logged);
        near(evidence.detectors[1].detected_us, counted);
        assert!(evidence.steady_before && evidence.steady_after && evidence.recovered_by_itself);
        let fault = &evidence.faults[0];
        assert!(fault.bit && fault.undone, "{fault:?}");
        assert_eq!(fault.undo_class, "irreversible");
        assert_eq!(fault.parameters["revoked"], json!(["lease-1"]));
        assert!(fault.parameters["injection_us"].is_array());
        assert_eq!(ran.journal.pending(), []);
        let last = [logged, counted, contained, recovered].into_iter().max().unwrap();
        assert!(
            ran.took < Duration::from_millis(last + 800),
            "ended after {:?}",
            ran.took
        );
        assert!(evidence.workload["sent"] >= evidence.workload["served"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_is_slowed_then_reset() {
    let ran = play(
        DEGRADE,
        Script {
            logged: Some(1700),
            recovered: Some(300),
            ..Script::default()
        },
    )
    .await;
    let evidence = &ran.evidence;
    assert_eq!(evidence.unknown, Vec::<String>::new());
    assert_eq!(evidence.notes, Vec::<String>::new());
    near(evidence.detected_us, 1700);
    near(evidence.recovered_us, 300);
    assert_eq!(evidence.contained_us, None);
    assert!(
        evidence.window_us > 2_300_000 && evidence.window_us < 3_000_000,
        "{}",
        evidence.window_us
    );
    for fault in &evidence.faults {
        assert!(fault.bit && fault.undone, "{fault:?}");
        assert_eq!(fault.undo_class, "process-bounded");
    }
    let slowed = Toxic::Latency {
        delay_ms: 400,
        jitter_ms: 0,
    };
    let world = ran.environment.world.lock().unwrap();
    let toxics: Vec<Vec<Toxic>> = world
        .history
        .iter()
        .map(|set| set.iter().map(|applied| applied.toxic).collect())
        .collect();
    assert_eq!(
        toxics,
        [vec![slowed], vec![], vec![Toxic::Reset { after_ms: 0 }], vec![]]
    );
    assert_eq!(ran.journal.pending(), []);
    assert!(evidence.workload["failed"] > 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_open_is_seen_to() {
    let script = Script {
        logged: None,
        counted: None,
        contained: None,
        recovered: Some(0),
        ..Script::default()
    };
    let ran = play(REVOKE, script).await;
    let evidence = &ran.evidence;
    assert_eq!((evidence.contained_us, evidence.detected_us), (None, None));
    assert_eq!(evidence.unknown, Vec::<String>::new());
    assert!(evidence.window_us >= 30_000_000 && evidence.window_us < 30_100_000);
    let served = evidence.workload["probe_wrongly_served"];
    assert!(served > 100);
    assert!(!evidence.workload.contains_key("probe_refused"));
    assert_eq!(evidence.notes.len(), 2, "{:?}", evidence.notes);
    assert!(
        evidence.notes[0].starts_with("noticed not within the 30.0 s"),
        "{:?}",
        evidence.notes
    );
    assert!(
        evidence.notes[1].contains(&format!("{served} times")),
        "{:?}",
        evidence.notes
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_not_asked_for_is_not_waited_for() {
    let script = Script {
        logged: None,
        recovered: Some(300),
        ..Script::default()
    };
    let ran = play(&DEGRADE.replace("detected_within_seconds = 30\n", ""), script.clone()).await;
    assert_eq!(ran.evidence.detected_us, None);
    assert!(ran.evidence.window_us < 3_500_000, "{}", ran.evidence.window_us);
    assert_eq!(ran.evidence.notes, Vec::<String>::new());
    let ran = play(DEGRADE.split("[expect]").next().unwrap(), script).await;
    assert!(ran.evidence.window_us >= 30_000_000, "{}", ran.evidence.window_us);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_never_leases_again_has_not_recovered() {
    let ran = play(
        REVOKE,
        Script {
            recovered: None,
            ..Script::default()
        },
    )
    .await;
    let evidence = &ran.evidence;
    assert_eq!(evidence.recovered_us, None);
    assert!(!evidence.recovered_by_itself && !evidence.steady_after);
    assert!(!evidence.faults[0].undone);
    near(evidence.detected_us, 140);
    // The way forward is not taken, and the next start is told.
    let pending = ran.journal.pending();
    assert_eq!((pending.len(), pending[0].state), (1, State::Undoing));
    assert!(
        evidence.notes.iter().any(|note| note.contains("has not leased")),
        "{:?}",
        evidence.notes
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_does_not_last_is_no_containment() {
    let ran = play(
        REVOKE,
        Script {
            flapping: true,
            contained: Some(400),
            ..Script::default()
        },
    )
    .await;
    near(ran.evidence.contained_us, 400);
}

/// Nothing is injected, and the reason is told.
#[track_caller]
fn refused(ran: &Ran, reason: &str) {
    let evidence = &ran.evidence;
    assert!(
        evidence.unknown.iter().any(|unknown| unknown.contains(reason)),
        "{:?}",
        evidence.unknown
    );
    assert_eq!(evidence.faults, []);
    assert_eq!(evidence.window_us, 0);
    let world = ran.environment.world.lock().unwrap();
    assert!(world.injected.is_none() && world.history.is_empty());
    assert_eq!(ran.journal.pending(), []);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_injected_without_a_permit() {
    let ran = play(
        REVOKE,
        Script {
            opted_in: false,
            ..Script::default()
        },
    )
    .await;
    refused(&ran, "has not opted in");
    let ran = play(
        REVOKE,
        Script {
            steady_status: 500,
            ..Script::default()
        },
    )
    .await;
    refused(&ran, "`storefront` answered 500 to POST /orders, not 201");
    assert!(!ran.evidence.steady_before);
    let ran = play(
        REVOKE,
        Script {
            false_alarm: true,
            ..Script::default()
        },
    )
    .await;
    refused(&ran, "detector `ledger-denied` fires although nothing is wrong");
    assert!(ran.evidence.detectors[0].false_alarm);
    let ran = play(
        REVOKE,
        Script {
            metric_missing: true,
            ..Script::default()
        },
    )
    .await;
    refused(&ran, "shows no metric `ledger_denied_total`");
    assert!(ran.evidence.detectors[0].self_test && !ran.evidence.detectors[1].self_test);
    let ran = play(
        REVOKE,
        Script {
            probe_refuses_all: true,
            ..Script::default()
        },
    )
    .await;
    refused(&ran, "even before the credential is revoked");
    let broken = REVOKE.replace("\"event\":\"denied\"", "\"event\":\"other\"");
    let ran = play(&broken, Script::default()).await;
    refused(&ran, "`detection/ledger-denied.yml` doesn't match its line");
    assert!(!ran.evidence.detectors[0].self_test);
}

#[tokio::test(start_paused = true)]
async fn one_experiment_at_a_time() {
    let experiment = Experiment::parse("x.toml", REVOKE).unwrap();
    let rules = rules();
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    let (first, second) = (Scripted::new(Script::default()), Scripted::new(Script::default()));
    let (first, second) = tokio::join!(
        run(&experiment, &rules, &first, &journal),
        run(&experiment, &rules, &second, &journal)
    );
    assert_eq!(first.unwrap().unknown, Vec::<String>::new());
    assert_eq!(
        second.unwrap().unknown,
        ["another experiment runs, or left something to undo"]
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_left_behind_is_undone_first() {
    let experiment = Experiment::parse("x.toml", REVOKE).unwrap();
    let rules = rules();
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    let class = chaos::UndoClass::ProcessBounded;
    journal
        .plan(
            "other.toml",
            "link-reset",
            class,
            "remove it",
            &Default::default(),
            &Default::default(),
        )
        .unwrap();
    let environment = Scripted::new(Script::default());
    let evidence = run(&experiment, &rules, &environment, &journal).await.unwrap();
    assert_eq!(evidence.unknown, ["another experiment runs, or left something to undo"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_undoes_first() {
    for cancel in [0, 1, 400, 1499, 1600] {
        let ran = play(
            DEGRADE,
            Script {
                cancel: Some(cancel),
                ..Script::default()
            },
        )
        .await;
        assert!(
            ran.evidence.unknown.iter().any(|unknown| unknown.contains("stopped")),
            "{:?}",
            ran.evidence
        );
        assert!(
            ran.evidence.faults.iter().all(|fault| fault.undone),
            "{:?}",
            ran.evidence.faults
        );
        assert!(ran.took < Duration::from_millis(cancel + 300), "{:?}", ran.took);
        let world = ran.environment.world.lock().unwrap();
        assert_eq!(world.toxics, []);
        assert_eq!(ran.journal.pending(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_hangs_makes_it_unknown() {
    let ran = play(
        REVOKE,
        Script {
            revoke_hangs: true,
            ..Script::default()
        },
    )
    .await;
    assert_eq!(ran.evidence.unknown, ["`credential-revoked`: no answer within 5000 ms"]);
    assert!(!ran.evidence.faults[0].bit);
    assert_eq!(ran.journal.pending(), []);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_ends_early_makes_it_unknown() {
    let ran = play(
        DEGRADE,
        Script {
            toxics_lost: true,
            ..Script::default()
        },
    )
    .await;
    assert!(
        ran.evidence.unknown[0].contains("it ended before its time"),
        "{:?}",
        ran.evidence.unknown
    );
    assert!(!ran.evidence.faults[0].bit);
    assert_eq!(ran.journal.pending(), []);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_nobody_meets_makes_it_unknown() {
    let ran = play(
        DEGRADE,
        Script {
            link_unused: true,
            recovered: Some(0),
            logged: Some(1),
            ..Script::default()
        },
    )
    .await;
    assert_eq!(ran.evidence.unknown.len(), 2, "{:?}", ran.evidence.unknown);
    assert!(ran.evidence.faults.iter().all(|fault| !fault.bit && fault.undone));
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_fails_is_tried_again() {
    let ran = play(
        DEGRADE,
        Script {
            stubborn: 5,
            ..Script::default()
        },
    )
    .await;
    assert!(
        ran.evidence.faults.iter().all(|fault| fault.undone),
        "{:?}",
        ran.evidence
    );
    assert!(!ran.evidence.unknown.is_empty());
    assert_eq!(ran.journal.pending(), []);
    let ran = play(
        DEGRADE,
        Script {
            stubborn: u32::MAX,
            ..Script::default()
        },
    )
    .await;
    assert!(!ran.evidence.faults[0].undone);
    assert!(
        ran.evidence
            .unknown
            .iter()
            .any(|unknown| unknown.contains("is not undone")),
        "{:?}",
        ran.evidence.unknown
    );
    assert_eq!(ran.journal.pending().len(), 1);
}

/// A storage that fails from some write on: nothing may be injected that is not durable, and what is injected is
/// undone all the same.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_not_injected() {
    let experiment = Experiment::parse("x.toml", DEGRADE).unwrap();
    let rules = rules();
    for failing in 0..12 {
        let storage = Arc::new(Failing {
            inner: SimStorage::new(1),
            left: Mutex::new(failing + 1),
        });
        let journal = UndoJournal::open(storage).unwrap();
        let environment = Scripted::new(Script {
            logged: Some(100),
            recovered: Some(10),
            ..Script::default()
        });
        let ran = run(&experiment, &rules, &environment, &journal).await;
        let world = environment.world.lock().unwrap();
        assert_eq!(world.toxics, [], "{failing}");
        match ran {
            Err(_) => assert!(world.history.is_empty(), "{failing}"),
            Ok(evidence) if failing < 10 => assert!(!evidence.unknown.is_empty(), "{failing}: {evidence:?}"),
            Ok(_) => {}
        }
    }
}

/// Fails every write after some.
struct Failing {
    inner: SimStorage,
    left: Mutex<u32>,
}

impl Failing {
    fn spend(&self, operation: &'static str, path: &str) -> Result<(), evidence::StorageError> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            let reason = "no space left".to_owned();
            return Err(evidence::StorageError {
                operation,
                path: path.to_owned(),
                reason,
            });
        }
        *left -= 1;
        Ok(())
    }
}

impl evidence::Storage for Failing {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, evidence::StorageError> {
        self.inner.read(path)
    }
    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, evidence::StorageError> {
        self.inner.read_at(path, offset, length)
    }
    fn length(&self, path: &str) -> Result<Option<u64>, evidence::StorageError> {
        self.inner.length(path)
    }
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), evidence::StorageError> {
        self.spend("append to", path)?;
        self.inner.append(path, bytes)
    }
    fn truncate(&self, path: &str, length: u64) -> Result<(), evidence::StorageError> {
        self.inner.truncate(path, length)
    }
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), evidence::StorageError> {
        self.spend("replace", path)?;
        self.inner.replace(path, bytes)
    }
    fn sync(&self, path: &str) -> Result<(), evidence::StorageError> {
        self.inner.sync(path)
    }
    fn remove(&self, path: &str) -> Result<(), evidence::StorageError> {
        self.inner.remove(path)
    }
    fn list(&self, folder: &str) -> Result<Vec<String>, evidence::StorageError> {
        self.inner.list(folder)
    }
}

/// `pipeline` spawns runs on its runtime.
#[test]
fn a_run_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let experiment = Experiment::parse("x.toml", REVOKE).unwrap();
    let rules = rules();
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    let environment: Box<dyn Environment> = Box::new(NoClock);
    is_send(run(&experiment, &rules, environment.as_ref(), &journal));
}

struct NoClock;

impl Environment for NoClock {
    fn opted_in(&self) -> bool {
        false
    }
    fn request<'a>(&'a self, _: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async { Err("none".to_owned()) })
    }
    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async { Err("none".to_owned()) })
    }
    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async { Vec::new() })
    }
    fn poll_logs(&self, _: Duration) -> Vec<Event> {
        Vec::new()
    }
    fn run_id(&self) -> [u8; 16] {
        RUN
    }
    fn now(&self) -> Now {
        Now {
            utc: Timestamp::UNIX_EPOCH,
            boottime: Duration::ZERO,
        }
    }
    fn cancelled(&self) -> bool {
        true
    }
}
