//! `soak blind`: detectors that fire at random, on ordinary work, or on the run's name, and never because of the fault.
//! What fires in a blind window is a false alert: nothing of it is credited, its detector is named, and nothing is
//! injected where it would be.
//!
//! What fires by chance while the fault is in force, and never in a blind window, is joined to the injection by its time
//! alone, which is weak: it is counted here, and where more is asked for nothing of it may be credited.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos::{BoxFuture, CredentialRef, Environment, Experiment, Observing, ServiceAnswer, ServiceRequest, UndoJournal};
use evidence::Now;
use evidence::predicates::ChaosExperiment;
use serde_json::json;
use telemetry::{Alert, Event, Reading, SigmaRules};
use testkit::{Rng, SimStorage};
use tokio::sync::Semaphore;

use crate::Flags;

/// Runs side by side: each mostly waits.
const JOBS: usize = 24;

pub fn run(flags: &Flags) -> Result<(), String> {
    let (runs, first) = (flags.number("--runs", 1_000)?, flags.number("--seed", 1)?);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let done = runtime.block_on(async {
        let gate = Arc::new(Semaphore::new(JOBS));
        let seeds = (0..runs).map(|number| first.wrapping_add(number));
        let tasks: Vec<_> = seeds
            .map(|seed| {
                let gate = gate.clone();
                tokio::spawn(async move {
                    let _place = gate.acquire().await;
                    (seed, one(seed).await)
                })
            })
            .collect();
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap_or_else(|error| (0, Err(error.to_string()))));
        }
        done
    });
    let mut counted = Counted::default();
    for (seed, ran) in done {
        let problems = match ran {
            Ok((fires, strict, evidence)) => counted.judge(fires, strict, &evidence),
            Err(problem) => vec![problem],
        };
        for problem in &problems {
            println!("seed {seed}: {problem}");
        }
        counted.failures += u64::from(!problems.is_empty());
    }
    println!(
        "{} windows were blind, {} of them with a false alert; {} credits in them",
        counted.windows, counted.fired, counted.credits
    );
    println!(
        "{} runs went on to the injection: {} of {} credited by the time alone, by chance; {} of {} where more is asked for",
        counted.injected, counted.weak.0, counted.weak.1, counted.strict.0, counted.strict.1
    );
    println!("{runs} runs, {} failures", counted.failures);
    match (counted.failures, counted.fired) {
        (0, 0) if runs > 20 => Err("no detector fired in a blind window: nothing was shown".to_owned()),
        (0, _) => Ok(()),
        (failures, _) => Err(format!("{failures} failures")),
    }
}

/// What makes a detector fire.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fires {
    /// At random, so often a second.
    Random(u64),
    /// On every so many ordinary requests.
    Work(u64),
    /// On the run's name.
    Name,
}

#[derive(Default)]
struct Counted {
    failures: u64,
    windows: u64,
    fired: u64,
    credits: u64,
    injected: u64,
    weak: (u64, u64),
    strict: (u64, u64),
}

impl Counted {
    fn judge(&mut self, fires: Fires, strict: bool, evidence: &ChaosExperiment) -> Vec<String> {
        let mut problems = Vec::new();
        self.windows += 2;
        let detector = &evidence.detectors[0];
        let Some(measured) = &evidence.measured else {
            self.fired += 1;
            let named = detector.diagnosis.as_deref();
            if detector.detected_us.is_some() || evidence.detected_us.is_some() {
                self.credits += 1;
                problems.push(format!("{fires:?}: credited although it fires without a cause"));
            }
            if !matches!(named, Some("always-on" | "flapping" | "false-alarm" | "reads-run-id")) {
                problems.push(format!("{fires:?}: named {named:?}, unknown {:?}", evidence.unknown));
            }
            if fires == Fires::Name && named != Some("reads-run-id") {
                problems.push(format!("it reads the run's name, and is named {named:?}"));
            }
            return problems;
        };
        self.injected += 1;
        if matches!(fires, Fires::Name | Fires::Work(1..=4)) {
            problems.push(format!("{fires:?} was not found out"));
        }
        for alert in &measured.alerts {
            if alert.credited && alert.at_us < 0 {
                self.credits += 1;
                problems.push(format!("{fires:?}: credited before the injection: {alert:?}"));
            }
        }
        if measured.blind.iter().any(|window| !window.fired.is_empty()) {
            problems.push(format!("{fires:?}: injected although it fired in a blind window"));
        }
        let tally = if strict { &mut self.strict } else { &mut self.weak };
        tally.1 += 1;
        tally.0 += u64::from(detector.detected_us.is_some());
        if strict && detector.detected_us.is_some() {
            problems.push(format!(
                "{fires:?}: credited without anything that joins it to the fault"
            ));
        }
        problems
    }
}

async fn one(seed: u64) -> Result<(Fires, bool, ChaosExperiment), String> {
    let mut rng = Rng::new(seed);
    let fires = match rng.below(5) {
        0..=2 => Fires::Random(1 + rng.below(30)),
        3 => Fires::Work(1 + rng.below(40)),
        _ => Fires::Name,
    };
    let (strict, alert) = (rng.percent(50), rng.percent(50));
    let kind = if alert {
        "kind = \"alert\"\nsource = \"siem\"\n"
    } else {
        "kind = \"sigma\"\nrule = \"denied.yml\"\nself_test = '{\"event\":\"denied\"}'\n"
    };
    let least = if strict {
        "correlation = \"entity-and-technique\"\n"
    } else {
        ""
    };
    let text = format!(
        "title = \"blind\"\ndeadline_seconds = 5\nwindow_seconds = 1\nblind_ms = {}\n\
         [steady]\nservice = \"it\"\nmethod = \"GET\"\npath = \"/work\"\nstatus = 200\nrequests = 3\n\
         [[fault]]\nid = \"credential-revoked\"\nrole = \"holder\"\npolicy = \"it\"\n\
         [fault.probe]\nservice = \"it\"\nmethod = \"GET\"\npath = \"/door\"\nrefused = [401]\n\
         [[detector]]\nid = \"x\"\n{kind}{least}",
        50 + rng.below(200)
    );
    let experiment = Experiment::parse("blind.toml", &text).map_err(|problems| format!("{problems:?}"))?;
    let rule = "title: Denied\nlogsource:\n  product: x\ndetection:\n  s:\n    event: denied\n  condition: s\n";
    let rules =
        SigmaRules::load(&[("denied.yml".to_owned(), rule.into())]).map_err(|problems| format!("{problems:?}"))?;
    let journal = UndoJournal::open(Arc::new(SimStorage::new(seed))).map_err(|error| error.to_string())?;
    let world = World {
        fires,
        alert,
        state: Mutex::new(State {
            rng,
            polled: host::now().boottime,
            work: 0,
            due: 0,
            named: None,
            revoked: false,
        }),
    };
    let evidence = chaos::run(&experiment, &rules, &world, &journal)
        .await
        .map_err(|error| error.to_string())?;
    Ok((fires, strict, evidence))
}

/// A world in which all is well, but for the detector.
struct World {
    fires: Fires,
    alert: bool,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    polled: Duration,
    work: u64,
    /// Firings that are due.
    due: u64,
    named: Option<String>,
    revoked: bool,
}

impl World {
    fn with<T>(&self, of: impl FnOnce(&mut State) -> T) -> T {
        of(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Observing for World {
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Said by the world itself, which knows when it is asked.
    fn poll(&self) -> Vec<Reading> {
        Vec::new()
    }

    fn self_test<'a>(&'a self, _: &'a str, _: &'a serde_json::Value) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
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
        let status = self.with(|state| {
            if request.path == "/work" {
                state.work += 1;
                match (self.fires, &request.run) {
                    (Fires::Work(every), _) if state.work.is_multiple_of(every) => state.due += 1,
                    (Fires::Name, Some(run)) => {
                        state.named = Some(run.clone());
                        state.due += 1;
                    }
                    _ => {}
                }
            }
            if request.path == "/door" && state.revoked {
                401
            } else {
                200
            }
        });
        Box::pin(async move {
            Ok(ServiceAnswer {
                status,
                body: Vec::new(),
                elapsed: Duration::ZERO,
            })
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        self.with(|state| state.revoked = true);
        Box::pin(async { Ok(vec![CredentialRef("lease-1".to_owned())]) })
    }

    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        let name = self.with(|state| if state.revoked { "lease-2" } else { "lease-1" });
        Box::pin(async move { vec![CredentialRef(name.to_owned())] })
    }

    fn poll_logs(&self, _: Duration) -> Vec<Event> {
        Vec::new()
    }

    fn poll_readings(&self, now: Duration) -> Vec<Reading> {
        self.with(|state| {
            if let Fires::Random(often) = self.fires {
                let micros = now.saturating_sub(state.polled).as_micros();
                // So small a chance in so short a time that two at once don't matter.
                let chance = u64::try_from(micros).unwrap_or(0) * often;
                state.due += u64::from(state.rng.below(1_000_000) < chance);
            }
            state.polled = now;
            let fields = json!({"event": "denied", "agent": state.named.take().unwrap_or_default()});
            let said = |_| {
                if !self.alert {
                    return Reading::Event(Event {
                        source: "it".to_owned(),
                        boottime: now,
                        fields: fields.clone(),
                    });
                }
                Reading::Alert(Alert {
                    source: "siem".to_owned(),
                    name: "Denied".to_owned(),
                    firing: true,
                    boottime: now,
                    claimed: None,
                    severity: String::new(),
                    techniques: Vec::new(),
                    fields: fields.clone(),
                })
            };
            (0..std::mem::take(&mut state.due)).map(said).collect()
        })
    }

    fn observing(&self) -> Option<&dyn Observing> {
        Some(self)
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
