//! Invariants while a run lasts: looked at before the injection, throughout, and told with what broke them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::predicates::InvariantRun;

use crate::denied::{self, Answered, Denial};
use crate::detectors::micros;
use crate::environment::{BoxFuture, CredentialRef, Environment, ServiceRequest};
use crate::experiment::{Experiment, Invariant, InvariantKind, VALUE};
use crate::history::{Broken, History};
use crate::run::ask;
use crate::watch::{Watch, all};

/// A look comes so often at most, and more seldom the longer a run takes.
const PACE_US_MIN: u64 = 10_000;
/// Every so many looks, many come at once.
const BURST_EVERY: u64 = 8;

/// The invariants of one run.
pub(crate) struct Invariants<'a> {
    environment: &'a dyn Environment,
    run: &'a str,
    kept: Vec<Kept<'a>>,
}

struct Kept<'a> {
    invariant: &'a Invariant,
    seen: Mutex<Seen>,
}

/// What was seen of one.
struct Seen {
    denials: Vec<Denial>,
    /// Of what is served or read: its start, how long it took, whether it held.
    looks: Vec<(Duration, Duration, bool)>,
    history: Option<History>,
    broken: BTreeMap<Broken, u64>,
}

impl<'a> Invariants<'a> {
    pub(crate) fn new(experiment: &'a Experiment, environment: &'a dyn Environment, run: &'a str) -> Invariants<'a> {
        let kept = |invariant: &'a Invariant| Kept {
            invariant,
            seen: Mutex::new(Seen {
                denials: Vec::new(),
                looks: Vec::new(),
                history: match &invariant.kind {
                    InvariantKind::History { model, .. } => Some(History::new(*model, run)),
                    _ => None,
                },
                broken: BTreeMap::new(),
            }),
        };
        Invariants {
            environment,
            run,
            kept: experiment.invariants.iter().map(kept).collect(),
        }
    }

    /// Looks once before the injection: why each that doesn't hold doesn't.
    pub(crate) async fn before(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for kept in &self.kept {
            let held = match &kept.invariant.kind {
                // There is nothing revoked yet.
                InvariantKind::Denied { revoked: true, .. } => continue,
                InvariantKind::Denied { request, refused, .. } => {
                    let denial = self.denied(request, refused, None, 0, false).await;
                    kept.seen().denials.push(denial);
                    denial.answer == Answered::Refused
                }
                InvariantKind::Served { request, status, .. } => ask(self.environment, request)
                    .await
                    .is_ok_and(|answer| answer.status == *status),
                InvariantKind::History { write, read, .. } => {
                    let written = self.write(kept, write).await;
                    written && self.read(kept, read).await.is_some_and(|(.., held)| held.is_ok())
                }
            };
            if !held {
                broken.push(format!("invariant `{}` does not hold to begin with", kept.invariant.id));
            }
        }
        broken
    }

    /// What looks at each while a run lasts.
    pub(crate) fn watch<'w>(&'w self, watch: &'w Watch<'_>) -> Vec<BoxFuture<'w, ()>> {
        let one = |kept: &'w Kept<'a>| -> BoxFuture<'w, ()> {
            Box::pin(async move {
                let mut looks = 0;
                while !watch.is_over() {
                    if watch.in_force().is_some() {
                        watch.unless_over(self.look(kept, watch, looks)).await;
                        looks += 1;
                    }
                    watch.pause(watch.pace(watch.start, PACE_US_MIN)).await;
                }
            })
        };
        self.kept.iter().map(one).collect()
    }

    async fn look(&self, kept: &Kept<'_>, watch: &Watch<'_>, number: u64) {
        let start = watch.now();
        match &kept.invariant.kind {
            InvariantKind::Denied {
                request,
                refused,
                burst,
                revoked,
            } => {
                let fault = watch.in_force();
                let at_once = *burst > 1 && number % BURST_EVERY == BURST_EVERY - 1;
                let credentials: Vec<Option<CredentialRef>> = if *revoked {
                    watch.revoked().into_iter().map(Some).collect()
                } else {
                    vec![None]
                };
                let many = if at_once { *burst as usize } else { 1 };
                let requests = credentials
                    .iter()
                    .enumerate()
                    .flat_map(|of| std::iter::repeat_n(of, many));
                let requests = requests.map(|(of, credential)| -> BoxFuture<'_, ()> {
                    let request = ServiceRequest {
                        credential: credential.clone(),
                        ..request.clone()
                    };
                    Box::pin(async move {
                        let denial = self.denied(&request, refused, fault, of, at_once).await;
                        kept.seen().denials.push(denial);
                    })
                });
                all(requests.collect()).await;
            }
            InvariantKind::Served { request, status, .. } => {
                let request = ServiceRequest {
                    run: Some(self.run.to_owned()),
                    ..request.clone()
                };
                let served = ask(self.environment, &request)
                    .await
                    .is_ok_and(|answer| answer.status == *status);
                let elapsed = watch.now().saturating_sub(start);
                kept.seen().looks.push((start, elapsed, served));
            }
            InvariantKind::History { write, read, .. } => {
                self.write(kept, write).await;
                // A read that fails says nothing about what was written.
                if let Some((start, elapsed, held)) = self.read(kept, read).await {
                    let mut seen = kept.seen();
                    seen.looks.push((start, elapsed, held.is_ok()));
                    if let Err(broken) = held {
                        *seen.broken.entry(broken).or_default() += 1;
                    }
                }
            }
        }
    }

    async fn denied(
        &self,
        request: &ServiceRequest,
        refused: &[u16],
        fault: Option<usize>,
        of: usize,
        at_once: bool,
    ) -> Denial {
        let request = ServiceRequest {
            run: fault.map(|_| self.run.to_owned()),
            ..request.clone()
        };
        let start = self.environment.now().boottime;
        let answer = ask(self.environment, &request).await;
        Denial {
            start,
            elapsed: self.environment.now().boottime.saturating_sub(start),
            fault,
            at_once,
            of,
            answer: Answered::of(answer.ok().map(|answer| answer.status), refused),
        }
    }

    /// Writes the next word; true when that was acknowledged.
    async fn write(&self, kept: &Kept<'_>, request: &ServiceRequest) -> bool {
        let Some((number, word)) = kept.seen().history.as_mut().map(History::next) else {
            return false;
        };
        let request = ServiceRequest {
            path: request.path.replace(VALUE, &word),
            body: String::from_utf8_lossy(&request.body)
                .replace(VALUE, &word)
                .into_bytes(),
            ..request.clone()
        };
        let answer = ask(self.environment, &request).await;
        let acknowledged = answer.is_ok_and(|answer| (200..300).contains(&answer.status));
        if acknowledged && let Some(history) = &mut kept.seen().history {
            history.acknowledged(number, self.environment.now().boottime);
        }
        acknowledged
    }

    /// Reads back and checks; `None` where no answer came.
    async fn read(
        &self,
        kept: &Kept<'_>,
        request: &ServiceRequest,
    ) -> Option<(Duration, Duration, Result<(), Broken>)> {
        let start = self.environment.now().boottime;
        let answer = ask(self.environment, request).await.ok()?;
        if !(200..300).contains(&answer.status) {
            return None;
        }
        let elapsed = self.environment.now().boottime.saturating_sub(start);
        let seen = kept.seen();
        let held = seen.history.as_ref()?.read(start, &answer.body);
        Some((start, elapsed, held))
    }

    /// What became of each, with times from `start`, and what did not hold, in words.
    pub(crate) fn runs(&self, start: Duration) -> (Vec<InvariantRun>, Vec<String>) {
        let mut notes = Vec::new();
        let mut runs = Vec::new();
        for kept in &self.kept {
            let run = kept.run(start, &self.kept);
            if run.broken > 0 {
                let first = run.broken_us.map_or_else(String::new, |us| {
                    format!(", first after {:.3} s", Duration::from_micros(us).as_secs_f64())
                });
                let name = run.diagnosis.as_deref().unwrap_or("broken");
                notes.push(format!(
                    "invariant `{}` did not hold in {} of {} looks{first} ({name}): {}",
                    run.id,
                    run.broken,
                    run.looks,
                    kept.invariant.words()
                ));
            }
            runs.push(run);
        }
        (runs, notes)
    }

    /// What is wrong with services, by name.
    pub(crate) fn services(&self, start: Duration) -> BTreeMap<String, String> {
        let wrong = self.kept.iter().filter_map(|kept| {
            let InvariantKind::Denied { request, .. } = &kept.invariant.kind else {
                return None;
            };
            Some((request.service.clone(), kept.run(start, &self.kept).diagnosis?))
        });
        wrong.collect()
    }
}

impl Kept<'_> {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, start: Duration, all: &[Kept<'_>]) -> InvariantRun {
        let (looks, broken, diagnosis) = match &self.invariant.kind {
            InvariantKind::Denied { revoked, .. } => self.run_denied(*revoked, all),
            InvariantKind::Served { p99_ms, .. } => self.run_served(*p99_ms),
            InvariantKind::History { .. } => self.run_history(),
        };
        InvariantRun {
            id: self.invariant.id.clone(),
            property: self.invariant.property.name().to_owned(),
            looks,
            broken: broken.len() as u64,
            broken_us: broken.first().map(|at| micros(at.saturating_sub(start))),
            diagnosis,
        }
    }

    /// Looks, when each broken one ended, and its name.
    fn run_denied(&self, revoked: bool, all: &[Kept<'_>]) -> (u64, Vec<Duration>, Option<String>) {
        let mut denials = self.seen().denials.clone();
        denials.sort_by_key(|denial| denial.start);
        let name = denied::name(&denials);
        if revoked {
            // How long a revoked credential goes on being accepted is containment; from its first refusal on it
            // has to be refused.
            let first = denials.iter().position(|denial| denial.answer == Answered::Refused);
            denials.drain(..first.unwrap_or(0));
        }
        let during: Vec<&Denial> = denials.iter().filter(|denial| denial.fault.is_some()).collect();
        let answered = during
            .iter()
            .filter(|denial| denial.answer != Answered::Otherwise)
            .count();
        let mut broken: Vec<Duration> = during
            .iter()
            .filter(|denial| matches!(denial.answer, Answered::Served(_)))
            .map(|denial| denial.start + denial.elapsed)
            .collect();
        broken.sort_unstable();
        let name = name.filter(|_| !broken.is_empty()).map(|name| self.beside(name, all));
        (answered as u64, broken, name)
    }

    /// The name of a service that fails open, where another request to it is refused.
    fn beside(&self, name: &'static str, all: &[Kept<'_>]) -> String {
        let InvariantKind::Denied { request: own, .. } = &self.invariant.kind else {
            return name.to_owned();
        };
        let refused = |differs: &dyn Fn(&ServiceRequest) -> bool| {
            all.iter().any(|other| match &other.invariant.kind {
                InvariantKind::Denied { request, .. } => {
                    let seen = other.seen();
                    let during = || seen.denials.iter().filter(|denial| denial.fault.is_some());
                    request.service == own.service
                        && differs(request)
                        && during().any(|denial| denial.answer == Answered::Refused)
                        && !during().any(|denial| matches!(denial.answer, Answered::Served(_)))
                }
                _ => false,
            })
        };
        let always = matches!(name, "fail-open" | "fail-open-on-error");
        if always && refused(&|other| other.identity != own.identity && other.path == own.path) {
            "fail-open-for-one-identity".to_owned()
        } else if always && refused(&|other| other.path != own.path && other.identity == own.identity) {
            "fail-open-on-one-path".to_owned()
        } else {
            name.to_owned()
        }
    }

    fn run_served(&self, p99_ms: Option<u64>) -> (u64, Vec<Duration>, Option<String>) {
        let seen = self.seen();
        let limit = p99_ms.map_or(Duration::MAX, Duration::from_millis);
        let end = |(start, elapsed, _): &(Duration, Duration, bool)| *start + *elapsed;
        let mut broken: Vec<Duration> = seen.looks.iter().filter(|(.., served)| !served).map(end).collect();
        let slow: Vec<Duration> = seen
            .looks
            .iter()
            .filter(|(_, elapsed, served)| *served && *elapsed > limit)
            .map(end)
            .collect();
        let unserved = !broken.is_empty();
        // One of a hundred may be slow.
        let too_slow = slow.len() * 100 > seen.looks.len();
        if too_slow {
            broken.extend(slow);
        }
        broken.sort_unstable();
        let name = match (unserved, too_slow) {
            (true, _) => Some("not-served"),
            (false, true) => Some("slow"),
            (false, false) => None,
        };
        (seen.looks.len() as u64, broken, name.map(str::to_owned))
    }

    fn run_history(&self) -> (u64, Vec<Duration>, Option<String>) {
        let seen = self.seen();
        let broken = seen.looks.iter().filter(|(.., held)| !held);
        let broken = broken.map(|(start, elapsed, _)| *start + *elapsed).collect();
        let name = seen.broken.keys().next().map(|broken| broken.name().to_owned());
        (seen.looks.len() as u64, broken, name)
    }
}

impl Invariant {
    /// What it asks for, in words.
    fn words(&self) -> String {
        let of = |request: &ServiceRequest| format!("`{}` {} {}", request.service, request.method, request.path);
        match &self.kind {
            InvariantKind::Denied { request, .. } => format!("{} has to be refused", of(request)),
            InvariantKind::Served { request, p99_ms, .. } => match p99_ms {
                Some(ms) => format!("{} has to be served, 99 of 100 within {ms} ms", of(request)),
                None => format!("{} has to be served", of(request)),
            },
            InvariantKind::History { read, .. } => {
                format!("what was acknowledged has to be in {}", of(read))
            }
        }
    }
}
