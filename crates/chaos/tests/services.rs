//! Faults on real PostgreSQL, Redis and NATS, beyond what `faults.rs` proves of each: whole experiments, undo from the
//! journal alone, no secret in it, and an attack that is refused.
//!
//! This test program starts itself again as the holder of a fault. Its own `main` looks for that role first, which the
//! usual harness would not.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chaos::process::{Holder, Holders};
use chaos::{
    BoxFuture, CredentialRef, Environment, Experiment, Fault, Permit, Record, Rehearsal, ServiceAnswer, ServiceRequest,
    Site, Targets, UndoClass, UndoJournal, Undone, run,
};
use evidence::Now;
use evidence::predicates::ChaosExperiment;
use serde_json::json;
use telemetry::{Event, SigmaRules};
use testkit::SimStorage;
use testkit::rigs::{self, Make, Rig};

/// The faults of this file: those of the three services.
const SERVICES: [&str; 6] = ["sql-", "tenant-", "redis-", "nats-", "stolen-", "neighbour-"];
const TIME_LEFT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "__holder") {
        return ExitCode::from(chaos::process::holder_main(&args[1..]));
    }
    let tests: [(&str, fn()); 7] = [
        ("examples_can_be_read", examples_can_be_read),
        ("targets_are_asked_how_they_are", targets_are_asked_how_they_are),
        ("undone_from_the_journal_alone", undone_from_the_journal_alone),
        (
            "an_attack_that_is_refused_does_not_bite",
            an_attack_that_is_refused_does_not_bite,
        ),
        (
            "a_revoked_login_is_noticed_in_the_log",
            a_revoked_login_is_noticed_in_the_log,
        ),
        ("a_lock_ends_with_its_holder", a_lock_ends_with_its_holder),
        ("a_revoked_command_is_given_back", a_revoked_command_is_given_back),
    ];
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let mut ran = 0;
    for (name, test) in tests {
        if filter.is_some_and(|filter| !name.contains(filter.as_str())) {
            continue;
        }
        let begun = Instant::now();
        // A failure panics, and the program ends with it.
        test();
        ran += 1;
        println!("test {name} ... ok ({:.1} s)", begun.elapsed().as_secs_f64());
    }
    println!("{ran} passed");
    ExitCode::SUCCESS
}

/// The rigs of this file, with the class of each fault.
fn services() -> impl Iterator<Item = (&'static str, Make, UndoClass)> {
    rigs::all()
        .into_iter()
        .filter(|(id, _)| SERVICES.iter().any(|service| id.starts_with(service)))
        .filter_map(|(id, make)| {
            let entry = chaos::faults().iter().find(|entry| entry.id == id)?;
            Some((id, make, entry.undo_class))
        })
}

fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// What a page shows is what one writes.
fn examples_can_be_read() {
    let (before, rest) = LOGIN.split_once("[[fault]]").unwrap();
    let (_, after) = rest.split_once("[[detector]]").unwrap();
    for (id, ..) in services() {
        let page = chaos::page(id).unwrap();
        let example = page
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .unwrap();
        let file = format!("{before}{example}[[detector]]{after}");
        let experiment = Experiment::parse("experiments/x.toml", &file);
        let plan = experiment
            .unwrap_or_else(|problems| panic!("{id}: {problems:?}"))
            .plan();
        assert_eq!(plan.len(), 1);
        assert_eq!(plan[0].fault, format!("chaos/{id}"));
    }
}

/// Whoever injected is gone, and another process finds the journal.
fn undone_from_the_journal_alone() {
    let mut done = 0;
    let otherwise = [("sql-role-widened", "grant = \"superuser\"\n")];
    let rows = services()
        .map(|row| (row, ""))
        .chain(otherwise.iter().filter_map(|(id, keys)| {
            let row = services().find(|(each, ..)| each == id)?;
            Some((row, *keys))
        }));
    for ((id, make, class), keys) in rows {
        // Its way forward is its clients' to take.
        if class == UndoClass::Irreversible {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut rig = make(folder.path()).unwrap();
        let before = rig.state().unwrap();
        let storage = Arc::new(SimStorage::new(1));
        {
            let journal = UndoJournal::open(storage.clone()).unwrap();
            let fault = format!("{}{keys}", rig.fault());
            let mut drill = Rehearsal::new(&fault, &rig.targets(), TIME_LEFT).unwrap();
            drill.plan(&journal).unwrap();
            drill.inject(&journal, &program()).unwrap();
            assert!(rig.shows().unwrap(), "{id}");
        }
        let written: Vec<u8> = storage.files().into_values().flatten().collect();
        let written = String::from_utf8_lossy(&written);
        assert!(written.contains(id), "{written}");
        // Passwords of rigs end like that; so do hashes of PostgreSQL begin, and of Redis, by SHA-256 of the first.
        for secret in ["-of-a-rig", "SCRAM-SHA-256", "$4096:", &sha256_hex("app-of-a-rig")] {
            assert!(!written.contains(secret), "{id}: `{secret}` is in {written}");
        }
        let journal = UndoJournal::open(storage).unwrap();
        let recovered = journal.recover_at_start(&[]).unwrap();
        assert_eq!(
            (recovered.undone.len(), recovered.failed),
            (1, Vec::<String>::new()),
            "{id}"
        );
        assert!(!rig.shows().unwrap(), "{id}");
        assert_eq!(rig.state().unwrap(), before, "{id}");
        done += 1;
    }
    assert!(done >= 22, "{done}");
}

/// Every target of a rig is well before its fault and after; during it, one of them isn't.
fn targets_are_asked_how_they_are() {
    for id in [
        "sql-role-login-revoked",
        "redis-user-off",
        "nats-user-removed",
        "certificate-expired",
        "upstream-withdrawn",
    ] {
        let (_, make) = rigs::all().into_iter().find(|(each, _)| *each == id).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let rig = make(folder.path()).unwrap();
        let targets = Targets::parse("proofmark.toml", &rig.targets()).unwrap();
        // Some rigs declare a service that their fault never asks, at a port where nobody is.
        let asked = || {
            targets
                .all()
                .filter(|target| target.optional("address") != Some("127.0.0.1:1"))
        };
        let unwell = || -> Vec<String> { asked().filter_map(|target| chaos::health::of(target).err()).collect() };
        assert_eq!((unwell(), asked().count() > 0), (Vec::new(), true), "{id}");
        let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
        let mut drill = Rehearsal::new(&rig.fault(), &rig.targets(), TIME_LEFT).unwrap();
        drill.plan(&journal).unwrap();
        drill.inject(&journal, &program()).unwrap();
        let during = unwell();
        assert_eq!(during.len(), 1, "{id}: {during:?}");
        assert!(!during[0].contains("-of-a-rig"), "{during:?}");
        assert_eq!(drill.undo(&journal).unwrap(), Undone::Restored);
        assert_eq!(unwell(), Vec::<String>::new(), "{id}");
    }
}

fn sha256_hex(text: &str) -> String {
    evidence::Digest::of(text.as_bytes()).hex()
}

/// With another password than the neighbour's, the attempt is made and does not succeed.
fn an_attack_that_is_refused_does_not_bite() {
    for id in ["neighbour-reached", "stolen-token-reused"] {
        let (_, make, _) = services().find(|(each, ..)| *each == id).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut rig = make(folder.path()).unwrap();
        let wrong = folder.path().join("another-password");
        std::fs::write(&wrong, "another\n").unwrap();
        // The credential that is stolen is that of the last target.
        let targets = rig.targets();
        let (first, last) = targets.split_at(targets.rfind("[chaos.target.db-app]").unwrap());
        let last: String = last
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some(("password_file", _)) => format!("password_file = \"{}\"\n", wrong.display()),
                _ => format!("{line}\n"),
            })
            .collect();
        let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
        let mut drill = Rehearsal::new(&rig.fault(), &format!("{first}{last}"), TIME_LEFT).unwrap();
        drill.plan(&journal).unwrap();
        drill.inject(&journal, &program()).unwrap();
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!((drill.bites(), rig.shows()), (Ok(false), Ok(false)), "{id}");
        assert_eq!(drill.undo(&journal), Ok(Undone::Restored), "{id}");
    }
}

const LOGIN: &str = r#"
title = "a revoked login is noticed"
deadline_seconds = 20
window_seconds = 5
[steady]
service = "shop"
method = "GET"
path = "/orders"
status = 200
requests = 2
[[fault]]
id = "sql-role-login-revoked"
target = "db"
client = "db-app"
[[detector]]
id = "login-refused"
kind = "sigma"
rule = "detection/login-refused.yml"
self_test = '{"message":"FATAL:  role \"x\" is not permitted to log in"}'
[expect]
detected_within_seconds = 5
"#;

const LOGIN_RULE: &str = "title: A role may not log in\nlogsource:\n  product: postgresql\ndetection:\n  selection:\n    \
                          message|contains: is not permitted to log in\n  condition: selection\n";

fn a_revoked_login_is_noticed_in_the_log() {
    let evidence = play("sql-role-login-revoked", LOGIN);
    let detected = evidence.detected_us.expect("PostgreSQL logs it");
    assert!(detected < 5_000_000, "{detected}");
    assert!(evidence.workload["failed"] > 0, "{:?}", evidence.workload);
}

fn a_lock_ends_with_its_holder() {
    let evidence = play(
        "sql-lock-held",
        &without_detector("sql-lock-held", "table = \"orders\"\nhold_ms = 800"),
    );
    assert!(evidence.workload["failed"] > 0, "{:?}", evidence.workload);
    let lock = &evidence.faults[0];
    assert_eq!(
        (lock.undo_class.as_str(), &lock.parameters["hold_ms"]),
        ("process-bounded", &json!(800))
    );
    // From the end of the lock.
    assert!(
        evidence.recovered_by_itself && evidence.recovered_us.is_some(),
        "{evidence:?}"
    );
}

fn a_revoked_command_is_given_back() {
    let file = without_detector("redis-acl-revoked", "command = \"get\"\nkey = \"cart:1\"");
    let evidence = play("redis-acl-revoked", &file.replace("\"db", "\"cache"));
    assert!(evidence.workload["failed"] > 0, "{:?}", evidence.workload);
}

/// The experiment with another fault, and only recovery asked for.
fn without_detector(fault: &str, keys: &str) -> String {
    let (before, _) = LOGIN.split_once("[[detector]]").unwrap();
    let before = before
        .replace("sql-role-login-revoked", fault)
        .replace("window_seconds = 5", "window_seconds = 2");
    format!("{before}{keys}\n")
}

/// Runs an experiment against the rig of a fault, and checks what each run has to show.
fn play(fault: &str, file: &str) -> ChaosExperiment {
    let (_, make, _) = services().find(|(each, ..)| *each == fault).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let experiment = Experiment::parse("experiments/x.toml", file).unwrap_or_else(|problems| panic!("{problems:?}"));
    let rules = SigmaRules::load(&[("detection/login-refused.yml".to_owned(), LOGIN_RULE.into())]).unwrap();
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).unwrap();
    let environment = Real::start(make, folder.path().to_owned());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let evidence = runtime
        .block_on(run(&experiment, &rules, &environment, &journal))
        .unwrap();
    assert_eq!(evidence.unknown, Vec::<String>::new());
    assert!(evidence.steady_before && evidence.steady_after, "{:?}", evidence.notes);
    let ran = &evidence.faults[0];
    assert!(ran.bit && ran.undone && ran.undo_us < 2_000_000, "{ran:?}");
    assert_eq!(journal.pending(), []);
    evidence
}

/// What is asked of a rig, which lives in a thread of its own: does the fault show?
type Question = tokio::sync::oneshot::Sender<Result<bool, String>>;

/// A rig as an experiment sees it: its one service answers 200 as long as the fault doesn't show, and 503 while it does.
struct Real {
    rig: Mutex<Sender<Question>>,
    targets: Targets,
    holders: Arc<Holders>,
    log: PathBuf,
    /// So much of the log is read.
    read: Mutex<u64>,
}

impl Real {
    fn start(make: Make, folder: PathBuf) -> Real {
        let (ask, asked) = channel();
        let (tell, told) = channel();
        let log = folder.join("postgresql.log");
        std::thread::spawn(move || {
            let mut rig = make(&folder).unwrap();
            tell.send(rig.targets()).unwrap();
            answer(rig.as_mut(), &asked);
        });
        let targets = told.recv().expect("the rig starts");
        Real {
            rig: Mutex::new(ask),
            targets: Targets::parse("targets", &targets).unwrap(),
            holders: Arc::new(Holders::default()),
            log,
            read: Mutex::new(0),
        }
    }
}

fn answer(rig: &mut dyn Rig, asked: &Receiver<Question>) {
    while let Ok(question) = asked.recv() {
        let _ = question.send(rig.shows());
    }
}

impl Environment for Real {
    fn opted_in(&self) -> bool {
        true
    }

    fn request<'a>(&'a self, _: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let begun = Instant::now();
            let (question, answer) = tokio::sync::oneshot::channel();
            self.rig.lock().unwrap().send(question).unwrap();
            let shows = answer.await.map_err(|error| error.to_string())??;
            Ok(ServiceAnswer {
                status: if shows { 503 } else { 200 },
                body: Vec::new(),
                elapsed: begun.elapsed(),
            })
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async { Err("there is no broker".to_owned()) })
    }

    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async { Vec::new() })
    }

    fn site(&self) -> Site {
        Site {
            targets: self.targets.clone(),
            time_left: TIME_LEFT,
            salt: [7; 32],
        }
    }

    fn hold<'a>(
        &'a self,
        _: &'a Permit,
        fault: &'a dyn Fault,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (id, parameters, record) = (fault.entry().id, fault.parameters(), record.clone());
        let holders = self.holders.clone();
        Box::pin(async move {
            let held = move || {
                let holder = Holder::spawn(&program(), id, &parameters, &record, TIME_LEFT)?;
                holders.add(id.to_owned(), holder);
                Ok(())
            };
            tokio::task::spawn_blocking(held)
                .await
                .map_err(|error| error.to_string())?
        })
    }

    fn release<'a>(&'a self, fault: &'a dyn Fault) -> BoxFuture<'a, Result<(), String>> {
        self.holders.stop(fault.entry().id);
        Box::pin(async { Ok(()) })
    }

    fn poll_logs(&self, boottime: Duration) -> Vec<Event> {
        let mut read = self.read.lock().unwrap();
        let mut text = String::new();
        let Ok(mut file) = std::fs::File::open(&self.log) else {
            return Vec::new();
        };
        file.seek(SeekFrom::Start(*read)).unwrap();
        *read += file.read_to_string(&mut text).unwrap() as u64;
        let event = |line: &str| Event {
            source: "postgresql".to_owned(),
            boottime,
            fields: json!({"message": line}),
        };
        text.lines().map(event).collect()
    }

    fn run_id(&self) -> [u8; 16] {
        std::array::from_fn(|at| host::random_seed()[at])
    }

    fn now(&self) -> Now {
        host::now()
    }

    fn cancelled(&self) -> bool {
        false
    }
}
