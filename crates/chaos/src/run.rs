//! One run of one experiment, from steady state to steady state.
//!
//! Undo comes before everything else: it is durable before the injection, and done on every way out. It is never
//! credited: what the evidence calls recovered, the system did itself.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::Outcome;
use evidence::predicates::{ChaosExperiment, FaultRun};
use telemetry::SigmaRules;
use tokio::time::{sleep, timeout};

use crate::denied;
use crate::detectors::{Course, Detectors, During, micros};
use crate::environment::{Environment, ServiceAnswer, ServiceRequest};
use crate::experiment::{DEADLINE_SECONDS_MAX, Experiment};
use crate::fault::{Fault, Injected, Met, UndoClass};
use crate::invariants::Invariants;
use crate::journal::{EntryId, JournalError, State, UndoJournal};
use crate::measure::{self, Before};
use crate::permit::{Conditions, Permit};
use crate::strike::{Record, Undone};
use crate::toolkit;
use crate::watch::{STEP, Watch};

/// A step of ours (inject, read back, undo) may take so long, in milliseconds.
pub(crate) const STEP_MS_MAX: u64 = 5_000;
/// A request may take so long, in milliseconds; then it has failed.
const REQUEST_MS_MAX: u64 = 10_000;
/// An undo that fails is tried again for so long, in milliseconds.
const UNDO_MS_MAX: u64 = 10_000;
/// Between two tries to undo, in milliseconds.
const UNDO_PAUSE_MS: u64 = 50;

/// Why there is no evidence of a run at all. Nothing was injected.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// What can't be recorded must not be injected.
    #[error("nothing was injected: {0}")]
    Journal(#[from] JournalError),
}

/// Runs `experiment` against `environment` and says what was measured. `rules` holds the files that
/// [`Experiment::rule_paths`] names.
///
/// Times are microseconds of boot time from the start of the injection; `recovered_us` of a fault that ends by
/// itself is from that end. The injection is an interval: each fault's parameters carry it as `injection_us`.
/// Whatever keeps the run from being judged stands in `unknown`, and what was expected and did not happen in
/// `notes`.
///
/// The future has to be driven to its end; to stop it, let [`Environment::cancelled`] say so. Dropped, it leaves
/// its faults pending in the journal, for the warden or the next start.
///
/// # Errors
/// When the undo could not be made durable. Nothing was injected then.
pub async fn run(
    experiment: &Experiment,
    rules: &SigmaRules,
    environment: &dyn Environment,
    journal: &UndoJournal,
) -> Result<ChaosExperiment, ChaosError> {
    let mut evidence = blank(experiment);
    // Before anything is asked of anybody: even a look at a steady state may be a program that the file names.
    let objections = environment.objections(experiment);
    if !objections.is_empty() {
        evidence.unknown = objections;
        return Ok(evidence);
    }
    let claimed = journal.claim();
    let other_running = claimed.is_none() || !journal.pending().is_empty();
    let name = measure::name(environment.run_id());
    let detectors = Detectors::arm(experiment, rules, environment, &name).await;
    let invariants = Invariants::new(experiment, environment, &name);
    let mut unsteady = steady(experiment, environment).await.err();
    evidence.steady_before = unsteady.is_none();
    if unsteady.is_none() {
        unsteady = invariants
            .before()
            .await
            .into_iter()
            .reduce(|all, one| format!("{all}; {one}"));
    }
    detectors.alive(environment).await;
    let before = Before::watch(experiment, environment, &detectors, &name, unsteady.is_none()).await;
    let (records, unfit) = match unsteady {
        None => prepare(experiment, environment).await,
        Some(_) => (Vec::new(), Vec::new()),
    };
    let conditions = Conditions {
        opted_in: environment.opted_in(),
        unfit,
        unsteady,
        firing: detectors.firing(),
        broken: detectors.broken(),
        other_running,
        objections,
        cancelled: environment.cancelled(),
    };
    let permit = match Permit::obtain(experiment, &conditions) {
        Ok(permit) => permit,
        Err(refused) => {
            evidence.unknown = refused.reasons;
            evidence.detectors = detectors.runs(&Course::default());
            return Ok(evidence);
        }
    };
    let mut attack = Attack::plan(experiment, records, environment, journal, permit).await?;
    // What was logged, or counted, until now is not the injection's doing.
    detectors.look_before(environment, During::Between).await;
    let start = environment.now();
    detectors.start(start);
    let watch = Watch::new(environment, experiment, &detectors, &invariants, &name, start.boottime);
    match environment.arm(watch.start + experiment.deadline).await {
        Ok(()) => watch.run(attack.inject(&watch)).await,
        Err(reason) => watch.give_up(format!("not injected: the warden can't be armed: {reason}")),
    }
    let end = environment.now().boottime;
    attack.undo(watch.start + experiment.deadline).await;
    environment.disarm().await;
    // Whoever stops a run waits for this too, but not for long.
    let stopped = environment.cancelled();
    let limit = if stopped {
        STEP
    } else {
        Duration::from_secs(DEADLINE_SECONDS_MAX)
    };
    match within(limit, steady(experiment, environment)).await {
        Ok(()) => evidence.steady_after = true,
        Err(reason) if stopped => evidence
            .unknown
            .push(format!("no steady state after it was stopped: {reason}")),
        Err(reason) => evidence.notes.push(format!("steady state did not come back: {reason}")),
    }
    let injected = attack.injected();
    attack.report(&watch, &mut evidence);
    fill_in(&mut evidence, experiment, &watch, &detectors, end);
    if let Some(injected) = injected {
        evidence.notes.extend(invariants.runs(start.boottime).1);
        evidence.measured = Some(measure::of(&measure::Course {
            experiment,
            watch: &watch,
            detectors: &detectors,
            before: &before,
            invariants: &invariants,
            name: name.clone(),
            began: start.utc,
            injected,
            undo: end,
        }));
    }
    Ok(evidence)
}

/// What a run shows: unknown when it could not be judged, failed when anything expected did not happen.
pub fn outcome(evidence: &ChaosExperiment) -> Outcome {
    let undone = evidence.faults.iter().all(|fault| fault.undone);
    if !undone || !evidence.notes.is_empty() {
        Outcome::Fail
    } else if !evidence.unknown.is_empty() || evidence.faults.is_empty() {
        Outcome::Indeterminate
    } else {
        Outcome::Pass
    }
}

/// A request, bounded in time.
pub(crate) async fn ask(environment: &dyn Environment, request: &ServiceRequest) -> Result<ServiceAnswer, String> {
    match timeout(Duration::from_millis(REQUEST_MS_MAX), environment.request(request)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!(
            "no answer from `{}` within {REQUEST_MS_MAX} ms",
            request.service
        )),
    }
}

fn blank(experiment: &Experiment) -> ChaosExperiment {
    ChaosExperiment {
        experiment: experiment.path.clone(),
        title: experiment.title.clone(),
        digest: experiment.digest,
        faults: Vec::new(),
        steady_before: false,
        steady_after: false,
        detectors: Vec::new(),
        detected_us: None,
        contained_us: None,
        recovered_us: None,
        window_us: 0,
        workload: BTreeMap::new(),
        recovered_by_itself: false,
        rung: None,
        targets: experiment.targets(),
        pattern: Some(experiment.pattern()),
        study: None,
        unknown: Vec::new(),
        notes: Vec::new(),
        measured: None,
    }
}

/// Looks at the steady state: so many requests, each answered as it should be.
async fn steady(experiment: &Experiment, environment: &dyn Environment) -> Result<(), String> {
    let steady = &experiment.steady;
    if let Some(hypothesis) = &steady.hypothesis {
        return toolkit::hypothesis(&hypothesis.0).await;
    }
    let request = &steady.request;
    for _ in 0..steady.requests {
        let answer = ask(environment, request).await?;
        if answer.status != steady.status {
            return Err(format!(
                "`{}` answered {} to {} {}, not {}",
                request.service, answer.status, request.method, request.path, steady.status
            ));
        }
    }
    Ok(())
}

/// What each fault needs to undo, and the faults that can't bite here, each with the reason.
async fn prepare(experiment: &Experiment, environment: &dyn Environment) -> (Vec<Record>, Vec<String>) {
    let (mut records, mut unfit) = (Vec::new(), Vec::new());
    for fault in &experiment.faults {
        match step(fault.prepare(environment)).await {
            Ok(record) => records.push(record),
            Err(reason) => unfit.push(format!("`{}`: {reason}", fault.entry().id)),
        }
    }
    (records, unfit)
}

/// The faults of a run, on their way from planned to undone.
struct Attack<'a> {
    environment: &'a dyn Environment,
    journal: &'a UndoJournal,
    permit: Permit,
    faults: Vec<Ongoing<'a>>,
}

/// One of them.
struct Ongoing<'a> {
    fault: &'a dyn Fault,
    entry: EntryId,
    record: Record,
    /// Start of the injection; boot time.
    started: Option<Duration>,
    /// End of the injection.
    injected_at: Option<Duration>,
    injected: Injected,
    /// Read back as in force, at the end of its hold too where it has one.
    in_force: bool,
    /// Until when it held; `None` where it never ended before the run did.
    ended_at: Option<Duration>,
    undone: bool,
    undo: Duration,
    unknown: Vec<String>,
}

impl<'a> Attack<'a> {
    /// Makes every undo and way forward durable, and the first injection known.
    async fn plan(
        experiment: &'a Experiment,
        records: Vec<Record>,
        environment: &'a dyn Environment,
        journal: &'a UndoJournal,
        permit: Permit,
    ) -> Result<Attack<'a>, JournalError> {
        let mut faults = Vec::new();
        for (fault, prepared) in experiment.faults.iter().zip(records) {
            let id = fault.entry().id;
            let entry = journal.plan(
                &experiment.path,
                id,
                fault.entry().undo_class,
                &fault.undo_action(),
                &fault.parameters(),
                &prepared,
            )?;
            faults.push(Ongoing::new(fault.as_ref(), entry, prepared));
        }
        if let Some(first) = faults.first() {
            journal.advance(first.entry, State::Injecting)?;
        }
        Ok(Attack {
            environment,
            journal,
            permit,
            faults,
        })
    }

    /// Injects in order; a fault that ends by itself has ended before the next one begins.
    async fn inject(&mut self, watch: &Watch<'_>) {
        for (index, ongoing) in self.faults.iter_mut().enumerate() {
            let injected = async {
                if index > 0 {
                    record(self.journal, ongoing.entry, State::Injecting).await?;
                }
                ongoing.inject(&self.permit, self.environment).await?;
                watch.injected(index, &ongoing.record, &ongoing.injected);
                record(self.journal, ongoing.entry, State::Injected).await?;
                ongoing.hold(self.environment).await?;
                if ongoing.fault.hold().is_some() {
                    ongoing.take_back(self.environment, self.journal).await?;
                    watch.ended();
                }
                Ok::<(), String>(())
            };
            if let Err(reason) = injected.await {
                return watch.give_up(format!("`{}`: {reason}", ongoing.fault.entry().id));
            }
        }
        watch.settled();
    }

    /// Undoes what is not undone, the latest first. It tries until `deadline` (boot time), and at least once.
    async fn undo(&mut self, deadline: Duration) {
        for ongoing in self.faults.iter_mut().rev().filter(|ongoing| !ongoing.undone) {
            let decided = self.environment.now().boottime;
            let deadline = deadline.min(decided + Duration::from_millis(UNDO_MS_MAX));
            loop {
                let taken = ongoing.take_back(self.environment, self.journal).await;
                ongoing.undo = self.environment.now().boottime.saturating_sub(decided);
                let Err(reason) = taken else { break };
                // A way forward that is the holder's to take is not brought about by asking again.
                let irreversible = ongoing.fault.entry().undo_class == UndoClass::Irreversible;
                let once = irreversible && ongoing.fault.strike().is_none();
                if once || self.environment.now().boottime >= deadline {
                    ongoing
                        .unknown
                        .push(format!("`{}` is not undone: {reason}", ongoing.fault.entry().id));
                    break;
                }
                sleep(Duration::from_millis(UNDO_PAUSE_MS)).await;
            }
        }
    }

    /// When the last injection was over; boot time. `None` where nothing was injected.
    fn injected(&self) -> Option<Duration> {
        self.faults.iter().filter_map(|ongoing| ongoing.injected_at).max()
    }

    fn report(self, watch: &Watch<'_>, evidence: &mut ChaosExperiment) {
        let seen = watch.seen();
        for ongoing in self.faults {
            let mut parameters = ongoing.fault.parameters();
            let from_start = |at: Duration| micros(at.saturating_sub(watch.start));
            if let Some((started, injected)) = ongoing.started.zip(ongoing.injected_at) {
                let interval = vec![from_start(started), from_start(injected)];
                parameters.insert("injection_us".to_owned(), interval.into());
            }
            if !ongoing.injected.revoked.is_empty() {
                let revoked = ongoing
                    .injected
                    .revoked
                    .iter()
                    .map(|lease| lease.0.clone())
                    .collect::<Vec<_>>();
                parameters.insert("revoked".to_owned(), revoked.into());
            }
            let felt = ongoing.felt(&seen.samples);
            let id = ongoing.fault.entry().id;
            if ongoing.in_force && !felt {
                evidence.unknown.push(format!(
                    "`{id}` was in force, and no request of the steady state met it"
                ));
            }
            // A way forward that nobody took is a result, not a doubt.
            if ongoing.fault.entry().undo_class == UndoClass::Irreversible {
                evidence.notes.extend(ongoing.unknown);
            } else {
                evidence.unknown.extend(ongoing.unknown);
            }
            evidence.faults.push(FaultRun {
                fault: id.to_owned(),
                parameters,
                undo_class: ongoing.fault.entry().undo_class.name().to_owned(),
                bit: ongoing.in_force && felt,
                undone: ongoing.undone,
                undo_us: micros(ongoing.undo),
                techniques: ongoing.fault.entry().attack.iter().map(|id| (*id).to_owned()).collect(),
            });
        }
    }
}

impl<'a> Ongoing<'a> {
    fn new(fault: &'a dyn Fault, entry: EntryId, record: Record) -> Self {
        Ongoing {
            fault,
            entry,
            record,
            started: None,
            injected_at: None,
            injected: Injected::default(),
            in_force: false,
            ended_at: None,
            undone: false,
            undo: Duration::ZERO,
            unknown: Vec::new(),
        }
    }

    async fn inject(&mut self, permit: &Permit, environment: &dyn Environment) -> Result<(), String> {
        self.started = Some(environment.now().boottime);
        self.injected = self.step(self.fault.inject(permit, environment, &self.record)).await?;
        self.injected_at = Some(environment.now().boottime);
        step(self.fault.in_force(environment, &self.record, &self.injected)).await?;
        self.in_force = true;
        Ok(())
    }

    /// A step of this fault, bounded in time.
    async fn step<T>(&self, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        within(self.fault.time_max().unwrap_or(STEP), future).await
    }

    /// Waits for the fault's own end, where it has one, and reads back that it lasted until then.
    async fn hold(&mut self, environment: &dyn Environment) -> Result<(), String> {
        let (Some(hold), Some(injected_at)) = (self.fault.hold(), self.injected_at) else {
            return Ok(());
        };
        let held = environment.now().boottime.saturating_sub(injected_at);
        sleep(hold.saturating_sub(held)).await;
        if let Err(reason) = step(self.fault.in_force(environment, &self.record, &self.injected)).await {
            self.in_force = false;
            return Err(format!("it ended before its time: {reason}"));
        }
        Ok(())
    }

    /// Takes the fault back, or reads back that the way forward is taken, and closes its entry.
    async fn take_back(&mut self, environment: &dyn Environment, journal: &UndoJournal) -> Result<(), String> {
        let decided = environment.now().boottime;
        let undo = async {
            if self.started.is_none() {
                return Ok(Undone::Restored);
            }
            self.step(self.fault.undo(environment, &self.record, &self.injected))
                .await
        };
        // Undoing waits for no disk: an entry that still says injected is undone once more, which does no harm.
        let (undone, recorded) = tokio::join!(undo, record(journal, self.entry, State::Undoing));
        let undone = undone?;
        let now = environment.now().boottime;
        self.undone = true;
        self.undo = now.saturating_sub(decided);
        self.ended_at = Some(now);
        if let Undone::Foreign(reason) = &undone {
            let id = self.fault.entry().id;
            self.unknown
                .push(format!("`{id}` is left to whoever changed it since: {reason}"));
        }
        let last = State::last(self.fault.entry().undo_class, &undone);
        let closed = match recorded {
            Ok(()) => record(journal, self.entry, last).await,
            Err(reason) => Err(reason),
        };
        // The fault is gone whatever the journal says; that it says otherwise has to be told.
        if let Err(reason) = closed {
            self.unknown.push(reason);
        }
        Ok(())
    }

    /// True when the requests that began while it held show the fault.
    fn felt(&self, samples: &[crate::fault::Sample]) -> bool {
        let Some(from) = self.injected_at else { return false };
        let until = self.ended_at.unwrap_or(Duration::MAX);
        let met: Vec<_> = samples
            .iter()
            .filter(|sample| sample.start >= from && sample.start < until)
            .copied()
            .collect();
        self.fault.felt(&Met { samples: &met, until })
    }
}

/// A step of ours, bounded in time.
async fn step<T>(future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    within(STEP, future).await
}

async fn within<T>(limit: Duration, future: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(limit, future).await {
        Ok(done) => done,
        Err(_) => Err(format!("no answer within {} ms", limit.as_millis())),
    }
}

/// Writes to the journal without holding up whoever watches. That an entry is in the state already is no error.
async fn record(journal: &UndoJournal, entry: EntryId, to: State) -> Result<(), String> {
    let journal = journal.clone();
    let written = tokio::task::spawn_blocking(move || match journal.advance(entry, to) {
        Err(JournalError::Illegal { from, .. }) if from == to => Ok(()),
        written => written,
    });
    match written.await {
        Ok(written) => written.map_err(|error| error.to_string()),
        Err(_) => Err("the undo journal broke".to_owned()),
    }
}

/// What was measured, and what of the expected did not happen.
fn fill_in(
    evidence: &mut ChaosExperiment,
    experiment: &Experiment,
    watch: &Watch<'_>,
    detectors: &Detectors<'_>,
    end: Duration,
) {
    let since = |from: Duration| move |at: Duration| micros(at.saturating_sub(from));
    let (contained, recovered) = (watch.contained(), watch.recovered());
    let recovery_from = watch.recovery_from();
    let seen = watch.seen();
    evidence.detected_us = detectors.detected().map(|change| change.at).map(since(watch.start));
    evidence.contained_us = contained.map(|change| change.at).map(since(watch.start));
    evidence.recovered_us = recovered.map(|change| change.at).map(since(recovery_from));
    evidence.recovered_by_itself = recovered.is_some() && evidence.steady_after;
    evidence.window_us = since(watch.start)(end);
    evidence.workload = seen.counts.clone();
    evidence.detectors = detectors.runs(&Course {
        start: Some(watch.start),
        ended: watch.ends().then_some(seen.settled).flatten(),
        until: end,
        expected: experiment.expect.detected_within_seconds.map(Duration::from_secs),
        window: experiment.window,
    });
    evidence.unknown.extend(seen.unknown.iter().cloned());
    evidence.unknown.extend(detectors.broken());
    let fires = |detector| format!("detector `{detector}` fires although nothing is wrong");
    evidence.unknown.extend(detectors.firing().into_iter().map(fires));
    let wrongly_served = seen.counts.get("probe_wrongly_served").copied().unwrap_or(0);
    let fails_open = denied::name(&seen.denials);
    drop(seen);
    evidence
        .notes
        .extend(missed(evidence, experiment, wrongly_served, fails_open));
}

/// What was expected and did not happen in time, in words.
fn missed(
    evidence: &ChaosExperiment,
    experiment: &Experiment,
    wrongly_served: u64,
    fails_open: Option<&str>,
) -> Vec<String> {
    let expect = &experiment.expect;
    let late = |measured: Option<u64>, within: Option<u64>| {
        let within = within?;
        match measured {
            Some(measured) if measured <= within * 1_000_000 => None,
            Some(measured) => Some((format!("only after {:.1} s", seconds(measured)), within)),
            None => Some((
                format!("not within the {:.1} s that were watched", seconds(evidence.window_us)),
                within,
            )),
        }
    };
    let mut notes = Vec::new();
    if let Some((when, within)) = late(evidence.detected_us, expect.detected_within_seconds) {
        let armed: Vec<_> = evidence
            .detectors
            .iter()
            .map(|detector| format!("`{}`", detector.id))
            .collect();
        notes.push(format!(
            "noticed {when}, {within} s expected (armed: {})",
            armed.join(", ")
        ));
    }
    let service = experiment
        .probe()
        .map_or("", |(_, probe)| probe.request.service.as_str());
    let served =
        fails_open.map(|name| format!("`{service}` served the revoked credential {wrongly_served} times ({name})"));
    match late(evidence.contained_us, expect.contained_within_seconds) {
        Some((when, within)) => {
            let served = served.unwrap_or_else(|| format!("`{service}` never refused it, and never served it either"));
            notes.push(format!("contained {when}, {within} s expected: {served}"));
        }
        // One that refuses in time has only been slow; one that goes back on it has not contained anything.
        None if fails_open.is_some_and(|name| name != denied::UNTIL_CACHE_EXPIRY) => notes.extend(served),
        None => {}
    }
    if let Some((when, within)) = late(evidence.recovered_us, expect.recovered_within_seconds) {
        notes.push(format!("recovered {when}, {within} s expected"));
    }
    notes
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
