//! A log of made-up runs, for tests: always the same, with everything in it that a report has to show. Statements are
//! signed and logged as any other; only their numbers are drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::predicates::{
    self, AlertRun, BlindWindow, ChaosExperiment, DetectorRun, Drill, DrillAction, DrillDeviation, DrillExperiment,
    DrillParticipant, DrillStep, DrillTaken, FaultRun, InvariantRun, Measured, Moment, Phase, StudyArm,
    StudyExperiment, StudyPlan, StudyPower,
};
use evidence::{CheckedBundle, Context, Digest, Now, Stage, Statement, Subject, Timestamp};
use testkit::Rng;

use super::Source;
use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::run::{Clock, Random};
use crate::store::Store;

/// A name that nobody means well with: markup, a mark that turns the direction, a terminal's escape.
pub const HOSTILE: &str = "</title><script>alert('x')</script>\u{202e}\u{1b}[31m\"onload=\"";
const SECOND_US: u64 = 1_000_000;

/// A folder with a log, and the keys it was made with.
pub struct Sample {
    pub folder: tempfile::TempDir,
    pub tree: PathBuf,
    pub home: PathBuf,
}

/// What the runs of one experiment are like.
struct Kind {
    file: String,
    title: &'static str,
    /// Fault, undo class, techniques.
    faults: &'static [(&'static str, &'static str, &'static [&'static str])],
    runs: u64,
    /// Of 100 runs, how many are detected, contained, recovered.
    chances: [u64; 3],
    /// Time to detect, on average, in milliseconds.
    detect_ms: u64,
    detectors: &'static [(&'static str, Option<&'static str>)],
    window_s: u64,
}

pub fn clock() -> Clock {
    let utc: Timestamp = "2027-03-01T12:00:00Z".parse().expect("a time");
    Arc::new(move || Now {
        utc,
        boottime: std::time::Duration::from_secs(1),
    })
}

pub fn random() -> Random {
    let rng = std::sync::Mutex::new(Rng::new(7));
    Arc::new(move || {
        let bytes = rng.lock().expect("nobody panics with it").bytes(32);
        bytes.try_into().expect("32 bytes")
    })
}

impl Sample {
    /// A log with these statements, in this order.
    pub fn with(statements: &[Statement]) -> Sample {
        let folder = tempfile::tempdir().expect("a folder");
        let (tree, home) = (folder.path().join("tree"), folder.path().join("home"));
        std::fs::create_dir(&tree).expect("a folder");
        let sample = Sample { folder, tree, home };
        let mut log = sample.log();
        for statement in statements {
            log.record(statement, clock()()).expect("a log that can be written");
        }
        sample
    }

    fn log(&self) -> EvidenceLog {
        let random = random();
        let mut seeds = || random();
        let home = Home::at(self.home.clone(), Some(&self.tree)).expect("a home");
        let (root, _) = home.ensure(&mut seeds).expect("keys");
        let store = Store::open(&self.tree, &mut seeds).expect("a store");
        EvidenceLog::open(&store, &home, root, clock()()).expect("a log")
    }

    /// The whole log as a bundle.
    pub fn bundle(&self) -> PathBuf {
        let log = self.log();
        let statements: Vec<_> = (0..log.size())
            .map(|index| log.logged_envelope(index).expect("an entry"))
            .collect();
        let files = CheckedBundle::write(
            Digest::of(b"attempt"),
            &log.checkpoint_note(),
            &statements,
            BTreeMap::new(),
            &log.gate.signers(),
        );
        let path = self.folder.path().join("bundle");
        for (name, bytes) in files.expect("a bundle") {
            let file = path.join(name);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            std::fs::write(file, bytes).expect("a file");
        }
        path
    }

    pub fn read(&self, path: &Path) -> Source {
        super::read(path, &self.home, None, &clock(), &random()).expect("a log that verifies")
    }
}

/// Runs of several experiments in turn, and what else stands in a log.
pub fn statements() -> Vec<Statement> {
    let mut rng = Rng::new(20_261_124);
    let kinds = kinds();
    let mut left: Vec<(usize, u64)> = kinds.iter().enumerate().map(|(kind, k)| (kind, k.runs)).collect();
    let mut all = Vec::new();
    while !left.is_empty() {
        let turn = rng.index(left.len());
        let (kind, runs) = &mut left[turn];
        let run = run(&kinds[*kind], all.len() as u64, &mut rng);
        all.push(statement(&run, all.len() as u64));
        *runs -= 1;
        if *runs == 0 {
            left.remove(turn);
        }
    }
    // Nothing injected; and injected, with an older program that measured less.
    let mut refused = run(&kinds[0], 0, &mut rng);
    refused.faults.clear();
    refused.measured = None;
    refused.unknown = vec!["steady state did not hold before anything was injected".to_owned()];
    let mut older = run(&kinds[0], 1, &mut rng);
    older.measured = None;
    for run in [refused, older] {
        all.push(statement(&run, all.len() as u64));
    }
    study(&mut all, &mut rng);
    for number in 0..7 {
        let drill = drill(number, &mut rng);
        all.push(logged(predicates::DRILL, &drill, drill.digest, all.len() as u64));
    }
    all
}

/// A study: its plan, its runs, and a result; then a result that somebody made up.
fn study(all: &mut Vec<Statement>, rng: &mut Rng) {
    const BLOCKS: usize = 7;
    let kind = |file: &str, detect_ms| Kind {
        file: file.to_owned(),
        title: "Is the new rule faster?",
        faults: &[("secret-leaked", "journaled", &["T1552.001"])],
        runs: 0,
        chances: [98, 60, 95],
        detect_ms,
        detectors: &[("leak-rule", None)],
        window_s: 8,
    };
    let (fast, slow) = (
        kind("experiments/new-rule.toml", 500),
        kind("experiments/old-rule.toml", 2_500),
    );
    let experiment = |kind: &Kind| StudyExperiment {
        experiment: kind.file.clone(),
        digest: Digest::of(kind.file.as_bytes()),
        sham: false,
    };
    let order = (0..BLOCKS).map(|_| match rng.percent(50) {
        true => vec![
            StudyArm::Treatment,
            StudyArm::Control,
            StudyArm::Control,
            StudyArm::Treatment,
        ],
        false => vec![
            StudyArm::Control,
            StudyArm::Treatment,
            StudyArm::Control,
            StudyArm::Treatment,
        ],
    });
    let plan = StudyPlan {
        study: "studies/new-rule.toml".to_owned(),
        digest: Digest::of(b"study"),
        title: format!("New rule {HOSTILE}"),
        design: "treatment-control".to_owned(),
        treatment: experiment(&fast),
        control: experiment(&slow),
        outcome: "detected".to_owned(),
        window_us: 8 * SECOND_US,
        seed: "4711".to_owned(),
        order: order.collect(),
        alpha: 0.05,
        analysis: "log-rank scores against every order that the blocks allow".to_owned(),
        smallest_p: 1.5e-7,
        expected_share: 0.7,
        power: vec![
            StudyPower {
                hazard_ratio: 1.5,
                power: 0.21,
            },
            StudyPower {
                hazard_ratio: 3.0,
                power: 0.83,
            },
        ],
    };
    let (digest, index) = (plan.canonical_digest(), all.len() as u64);
    all.push(logged(predicates::STUDY_PLAN, &plan, digest, index));
    let mut runs = Vec::new();
    for (number, place) in plan.places().into_iter().enumerate() {
        let kind = if place.arm == StudyArm::Treatment { &fast } else { &slow };
        let mut run = run(kind, number as u64, rng);
        run.study = Some(place);
        if number == 5 {
            run.unknown.push("fault `secret-leaked` did not bite".to_owned());
        }
        let at = all.len() as u64;
        all.push(statement(&run, at));
        runs.push((at, run));
    }
    let mut result = ::chaos::study::analyse(&plan, index, &runs);
    all.push(logged(predicates::STUDY_RESULT, &result, digest, all.len() as u64));
    if let Some(test) = &mut result.test {
        test.p /= 10.0;
    }
    all.push(logged(predicates::STUDY_RESULT, &result, digest, all.len() as u64));
}

/// A rehearsal; the last one's people mean no good, and the one before was answered by nobody.
fn drill(number: u64, rng: &mut Rng) -> Drill {
    let hostile = number == 6;
    let answered = number != 5;
    let text = |plain: &str| if hostile { HOSTILE.to_owned() } else { plain.to_owned() };
    let notified = 2 * SECOND_US + exponential(rng, 5 * SECOND_US);
    let acknowledged = notified + exponential(rng, 60 * SECOND_US);
    let over = acknowledged + exponential(rng, 300 * SECOND_US);
    let mut milestones_us = BTreeMap::from([("announced".to_owned(), 0), ("notified".to_owned(), notified)]);
    if answered {
        milestones_us.insert("acknowledged".to_owned(), acknowledged);
        milestones_us.insert("over".to_owned(), over);
    }
    milestones_us.insert("closed".to_owned(), over + 60 * SECOND_US);
    let step = |name: &str, began_us: u64, done_us: Option<u64>| DrillTaken {
        step: text("action--1"),
        name: text(name),
        by: text("Mia O'Hara"),
        began_us,
        done_us,
        outcome: if done_us.is_some() { "done" } else { "waiting" }.to_owned(),
    };
    Drill {
        playbook: if hostile {
            text("")
        } else {
            "playbooks/stolen-token.json".to_owned()
        },
        name: text("A stolen token is used"),
        digest: Digest::of(b"playbook"),
        run: "run-1".to_owned(),
        announcement: text("This is a drill: token `ledger/7f2` is used from elsewhere."),
        live: false,
        started: "2027-02-01T09:00:00Z".parse().expect("a time"),
        wall_clock: number == 3,
        experiment: (number == 1).then(|| DrillExperiment {
            file: "experiments/revoke-ledger.toml".to_owned(),
            index: Some(11),
            problem: None,
        }),
        outcome: if answered { "succeeded" } else { "stopped" }.to_owned(),
        milestones_us,
        participants: vec![DrillParticipant {
            name: text("Mia O'Hara"),
            keys: vec![evidence::KeyId(Digest::of(b"key").hex())],
        }],
        expected: vec![DrillStep {
            step: text("action--1"),
            name: text("Revoke the token"),
            person: true,
            conditional: false,
            timeout_us: Some(600 * SECOND_US),
        }],
        taken: vec![
            step("Ask who uses it", notified, answered.then_some(acknowledged)),
            step("Revoke the token", acknowledged, answered.then_some(over)),
        ],
        deviations: vec![DrillDeviation {
            kind: "out-of-order".to_owned(),
            step: text("action--1"),
            what: text("the token was revoked before anybody was asked"),
        }],
        notes: vec![text("Nobody knew where the list of owners is.")],
        actions: vec![DrillAction {
            owner: text("Mia O'Hara"),
            action: text("put the list of owners into the runbook"),
        }],
    }
}

/// A run as it is logged.
pub fn statement(run: &ChaosExperiment, number: u64) -> Statement {
    logged(predicates::CHAOS, run, run.digest, number)
}

/// A predicate as it is logged: an hour after the one before it.
fn logged<P: serde::Serialize>(kind: &str, predicate: &P, about: Digest, number: u64) -> Statement {
    let began: Timestamp = "2027-01-04T08:00:00Z".parse().expect("a time");
    let at = Timestamp::from_second(began.as_second() + 3600 * number as i64).expect("a time");
    let context = Context {
        attempt: about,
        stage: Stage::Staging,
        check: "chaos:sample".to_owned(),
        config: Digest::of(b"config"),
        at,
    };
    Statement::new(kind, vec![Subject::new("subject", about)], predicate, &context)
}

fn kinds() -> Vec<Kind> {
    vec![
        Kind {
            file: "experiments/revoke-ledger.toml".to_owned(),
            title: "A revoked credential is noticed",
            faults: &[("credential-revoked", "irreversible", &["T1550.001"])],
            runs: 58,
            chances: [92, 88, 90],
            detect_ms: 900,
            detectors: &[("ledger-denied", None), ("edr-token-reuse", Some("late"))],
            window_s: 30,
        },
        Kind {
            file: "experiments/link-slow-then-reset.toml".to_owned(),
            title: "The ledger's link is slow, then reset",
            faults: &[
                ("link-slowed", "process-bounded", &["T1498", "T1499"]),
                ("link-reset", "process-bounded", &["T1499"]),
            ],
            runs: 41,
            chances: [55, 50, 97],
            detect_ms: 4_000,
            detectors: &[("p99-alert", None), ("noise", Some("always-on"))],
            window_s: 20,
        },
        Kind {
            file: "experiments/port-open.toml".to_owned(),
            title: "A port that nobody declared",
            faults: &[("port-open", "journaled", &["T1133"])],
            runs: 14,
            chances: [0, 0, 100],
            detect_ms: 1,
            detectors: &[("port-watch", Some("dead"))],
            window_s: 60,
        },
        Kind {
            file: "experiments/clock.toml".to_owned(),
            title: "The clock is an hour off",
            faults: &[("clock-skewed", "process-bounded", &["T1124"])],
            runs: 3,
            chances: [70, 40, 70],
            detect_ms: 300,
            detectors: &[("ntp-drift", None)],
            window_s: 10,
        },
        Kind {
            file: format!("experiments/{HOSTILE}.toml"),
            title: "<img src=x onerror=alert(1)>",
            faults: &[("<b>fault</b>", "journaled", &["T9999.999", "T1<script>"])],
            runs: 6,
            chances: [80, 50, 50],
            detect_ms: 500,
            detectors: &[("\u{202e}rotceted\" onclick=\"x", Some("wrong-reason"))],
            window_s: 5,
        },
        Kind {
            file: "x".repeat(10_000),
            title: "A very long name",
            faults: &[("disk-full", "journaled", &["T1499.001"])],
            runs: 5,
            chances: [60, 60, 100],
            detect_ms: 70_000,
            detectors: &[("disk-alert", Some("flapping"))],
            window_s: 300,
        },
    ]
}

fn run(kind: &Kind, number: u64, rng: &mut Rng) -> ChaosExperiment {
    let window = kind.window_s * SECOND_US;
    let injected = 20_000 + rng.below(40_000);
    let settled = injected + SECOND_US + rng.below(SECOND_US);
    let undo = window.max(settled) + rng.below(5_000);
    let detected = rng
        .percent(kind.chances[0])
        .then(|| exponential(rng, kind.detect_ms * 1000))
        .filter(|at| *at <= window);
    let moment = |at: Option<u64>, from: u64, by: Option<&str>| Moment {
        at_us: at.map(|at| from + at).filter(|at| *at <= undo),
        from_us: from,
        until_us: undo,
        resolution_us: 2_000,
        by: at.and(by).map(str::to_owned),
    };
    let detector = kind.detectors[0].0;
    let mut moments = BTreeMap::new();
    let mut after = |name: &str, before: Option<u64>, mean_ms: u64, by: &str, rng: &mut Rng| {
        let at = before
            .filter(|_| rng.percent(90))
            .map(|before| before + exponential(rng, mean_ms * 1000));
        moments.insert(name.to_owned(), moment(at, 0, Some(by)));
        at.filter(|at| *at <= undo)
    };
    let notified = after("notified", detected, 200, "pager", rng);
    let acknowledged = after("acknowledged", notified, 3_000, "Mia O'Hara", rng);
    after("responded", acknowledged, 2_000, "Mia O'Hara", rng);
    let contained = detected
        .filter(|_| rng.percent(kind.chances[1]))
        .map(|at| at + exponential(rng, 700_000));
    moments.insert("detected".to_owned(), moment(detected, 0, Some(detector)));
    moments.insert("contained".to_owned(), moment(contained, 0, Some("ledger")));
    let recovered = rng.percent(kind.chances[2]).then(|| exponential(rng, 1_200_000));
    moments.insert("recovered".to_owned(), moment(recovered, settled, Some("storefront")));
    let broken = rng.percent(15);
    let detectors: Vec<DetectorRun> = kind
        .detectors
        .iter()
        .enumerate()
        .map(|(place, (id, diagnosis))| DetectorRun {
            id: (*id).to_owned(),
            kind: "sigma".to_owned(),
            self_test: *diagnosis != Some("dead") || !number.is_multiple_of(7),
            false_alarm: *diagnosis == Some("always-on") && number.is_multiple_of(5),
            detected_us: detected.filter(|_| place == 0),
            diagnosis: diagnosis.filter(|_| !number.is_multiple_of(3)).map(str::to_owned),
        })
        .collect();
    let unknown: Vec<String> = detectors
        .iter()
        .filter(|detector| !detector.self_test || detector.false_alarm)
        .map(|detector| format!("detector `{}` proves nothing", detector.id))
        .collect();
    let phase = |rng: &mut Rng, failing: u64, p99: u64| {
        let requests = 200 + rng.below(100);
        Phase {
            requests,
            served: requests - rng.below(failing.max(1)),
            p50_us: 4_000 + rng.below(1_000),
            p99_us: p99 + rng.below(p99),
        }
    };
    let phases = BTreeMap::from([
        ("before".to_owned(), phase(rng, 1, 9_000)),
        ("during".to_owned(), phase(rng, 60, 250_000)),
        ("after".to_owned(), phase(rng, 4, 12_000)),
    ]);
    let measured = Measured {
        run: Digest::of(&rng.bytes(16)).hex()[..32].to_owned(),
        began: "2027-01-04T08:00:00Z".parse().expect("a time"),
        injected_us: injected,
        settled_us: Some(settled),
        undo_us: undo,
        moments,
        alerts: alerts(kind, detected, rng),
        blind: blind(kind, rng),
        invariants: vec![
            InvariantRun {
                id: "denied-stays-denied".to_owned(),
                property: "confidentiality".to_owned(),
                looks: 57,
                broken: if broken { 3 } else { 0 },
                broken_us: broken.then_some(injected + 400_000),
                diagnosis: broken.then(|| "fail-open-on-timeout".to_owned()),
            },
            InvariantRun {
                id: "history-adds-up".to_owned(),
                property: "integrity".to_owned(),
                looks: if number.is_multiple_of(11) { 0 } else { 12 },
                broken: 0,
                broken_us: None,
                diagnosis: None,
            },
        ],
        phases,
        services: if broken {
            BTreeMap::from([("web".to_owned(), "fail-open-on-timeout".to_owned())])
        } else {
            BTreeMap::new()
        },
    };
    ChaosExperiment {
        experiment: kind.file.clone(),
        title: kind.title.to_owned(),
        digest: Digest::of(kind.file.as_bytes()),
        faults: kind
            .faults
            .iter()
            .map(|(fault, class, techniques)| FaultRun {
                fault: (*fault).to_owned(),
                parameters: BTreeMap::new(),
                undo_class: (*class).to_owned(),
                bit: true,
                undone: *class != "irreversible" || rng.percent(97),
                undo_us: 2_000 + exponential(rng, 60_000),
                techniques: techniques.iter().map(|id| (*id).to_owned()).collect(),
            })
            .collect(),
        steady_before: true,
        steady_after: true,
        detectors,
        detected_us: detected,
        contained_us: contained,
        recovered_us: recovered.map(|at| settled + at),
        window_us: window,
        workload: BTreeMap::new(),
        recovered_by_itself: recovered.is_some(),
        rung: Some("isolated".to_owned()),
        targets: vec!["ledger".to_owned()],
        pattern: Some(Digest::of(b"pattern")),
        unknown,
        notes: Vec::new(),
        study: None,
        measured: Some(measured),
    }
}

/// Whole microseconds with this mean, by inversion.
fn exponential(rng: &mut Rng, mean_us: u64) -> u64 {
    let share = (rng.below(1 << 32) + 1) as f64 / (1_u64 << 32) as f64;
    (-share.ln() * mean_us as f64) as u64
}

fn alerts(kind: &Kind, detected: Option<u64>, rng: &mut Rng) -> Vec<AlertRun> {
    let mut alerts = Vec::new();
    if let Some(at) = detected {
        let correlation = ["run-id", "run-id", "entity-and-technique", "window"][rng.index(4)];
        alerts.push(AlertRun {
            detector: kind.detectors[0].0.to_owned(),
            at_us: at as i64,
            correlation: correlation.to_owned(),
            credited: true,
            why: None,
        });
    }
    for (id, diagnosis) in kind.detectors {
        if diagnosis.is_some() && rng.percent(50) {
            alerts.push(AlertRun {
                detector: (*id).to_owned(),
                at_us: rng.below(2 * SECOND_US) as i64 - SECOND_US as i64,
                correlation: "none".to_owned(),
                credited: false,
                why: Some("it fires on nothing as well".to_owned()),
            });
        }
    }
    alerts.sort_by_key(|alert| alert.at_us);
    alerts
}

fn blind(kind: &Kind, rng: &mut Rng) -> Vec<BlindWindow> {
    let mut from = -(20 * SECOND_US as i64);
    ["nothing", "marker"]
        .iter()
        .map(|planted| {
            let until = from + (4 + rng.below(4)) as i64 * SECOND_US as i64;
            let always_on = kind
                .detectors
                .iter()
                .filter(|(_, diagnosis)| *diagnosis == Some("always-on"));
            let window = BlindWindow {
                from_us: from,
                until_us: until,
                planted: (*planted).to_owned(),
                fired: always_on
                    .filter(|_| rng.percent(40))
                    .map(|(id, _)| (*id).to_owned())
                    .collect(),
            };
            from = until + 1_000;
            window
        })
        .collect()
}
