//! What is seen between injection and undo: the workload, the revoked credential, the way forward.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::denied::{Answered, Denial};
use crate::detectors::{Detectors, During};
use crate::environment::{BoxFuture, CredentialRef, Environment, HEALTH, ServiceRequest};
use crate::experiment::{Experiment, Limit};
use crate::fault::{Injected, Probe, Sample, UndoClass};
use crate::invariants::Invariants;
use crate::looks::{Change, Looks};
use crate::run::{STEP_MS_MAX, ask};
use crate::strike::{Record, Undone};

/// Whether the run is over is looked at so often.
const DECIDE_MS: u64 = 5;
/// Logs and alerts are read so often, and more seldom the longer a run takes: one five-hundredth of it.
const LOOK_US_MIN: u64 = 1_000;
const LOOK_US_MAX: u64 = 50_000;
const LOOK_SHARE: u32 = 500;
/// Requests begin so often, and more seldom the longer it takes: one four-hundredth of it. A time can be wrong by as much.
const PACE_US_MIN: u64 = 2_000;
const PACE_US_MAX: u64 = 100_000;
const PACE_SHARE: u32 = 400;
/// Where the time is known, or can't have come yet, requests only show whether it stays so.
const CALM_US_MIN: u64 = 10_000;
/// Requests of the workload that may be under way at once, so that slow ones don't hide the next.
const LANES: usize = 8;
/// A look at a declared target may be a connection and a login: fewer at once, and not so often.
const HEALTH_LANES: usize = 3;
const HEALTH_US_MIN: u64 = 10_000;
/// Presentations of the revoked credential that may be under way at once.
const PROBE_LANES: usize = 4;
/// Metrics and limits are asked for so often at least, in milliseconds.
const METRIC_MS: u64 = 5;
/// So many refusals in a row, for so many milliseconds, are "from then on".
const REFUSALS: u32 = 5;
const REFUSED_MS_MIN: u64 = 100;
/// Of many revoked leases, so many are presented.
const REVOKED_MAX: usize = 8;
/// Once everything else is known, the detectors that haven't fired get this much longer.
const DETECTOR_GRACE_MS: u64 = 500;

/// Everything that watches one run. Its loops share what was seen, and end together.
pub(crate) struct Watch<'a> {
    environment: &'a dyn Environment,
    experiment: &'a Experiment,
    detectors: &'a Detectors<'a>,
    invariants: &'a Invariants<'a>,
    /// Name of the run.
    run: &'a str,
    /// Start of the injection; boot time.
    pub(crate) start: Duration,
    seen: Mutex<Seen>,
    stop: watch::Sender<bool>,
    /// When the last request of the workload, and the last presentation, began; boot time. Who has it is next.
    last_request: Turn,
    last_probe: Turn,
}

/// One waits for its turn at a time: how long to wait is not decided before it is known how the run goes by then.
type Turn = tokio::sync::Mutex<Duration>;

/// What was seen so far. Times are boot times.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every fault is injected, and those that end have ended: from here on recovery counts.
    pub(crate) settled: Option<Duration>,
    /// What the fault with the probe revoked.
    revoked: Option<Vec<CredentialRef>>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Requests that began since `settled`: served or not.
    recovery: Looks,
    /// Presentations of what was revoked: refused or not.
    refusals: Looks,
    /// The same, lease by lease.
    pub(crate) denials: Vec<Denial>,
    /// The fault that is in force, by number.
    in_force: Option<usize>,
    /// When every irreversible fault's way forward was seen taken.
    pub(crate) forward: Option<Change>,
    /// Irreversible faults that were injected.
    irreversible: Vec<(usize, Record, Injected)>,
    /// Requests in a row that were not served.
    failed: u32,
    /// Why the run can't be judged.
    pub(crate) unknown: Vec<String>,
    /// When nothing but detectors was left to wait for.
    known: Option<Duration>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        environment: &'a dyn Environment,
        experiment: &'a Experiment,
        detectors: &'a Detectors<'a>,
        invariants: &'a Invariants<'a>,
        run: &'a str,
        start: Duration,
    ) -> Self {
        let (stop, _) = watch::channel(false);
        Watch {
            environment,
            experiment,
            detectors,
            invariants,
            run,
            start,
            seen: Mutex::new(Seen::default()),
            stop,
            last_request: Turn::default(),
            last_probe: Turn::default(),
        }
    }

    /// Watches while `attack` injects; returns once everything asked for is known, the window is over, or the run
    /// can't go on. `attack` is dropped wherever it is then.
    pub(crate) async fn run(&self, attack: impl Future<Output = ()>) {
        let attack = async {
            tokio::select! {
                () = attack => {}
                () = self.stopped() => {}
            }
        };
        tokio::join!(
            attack,
            self.decide(),
            self.logs(),
            self.metrics(),
            self.limits(),
            self.forward(),
            all((0..PROBE_LANES).map(|_| self.probe()).collect()),
            all((0..self.lanes()).map(|_| self.lane()).collect()),
            all(self.invariants.watch(self)),
        );
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The run can't be judged any more: it ends at once.
    pub(crate) fn give_up(&self, reason: String) {
        self.seen().unknown.push(reason);
        self.stop.send_replace(true);
    }

    /// A fault is in force.
    pub(crate) fn injected(&self, index: usize, record: &Record, injected: &Injected) {
        let fault = &self.experiment.faults[index];
        let mut seen = self.seen();
        seen.in_force = Some(index);
        // The way forward of a declared target is ours to take, once the run is over: nothing to wait for.
        if fault.entry().undo_class == UndoClass::Irreversible && fault.strike().is_none() {
            seen.irreversible.push((index, record.clone(), injected.clone()));
        }
        if fault.probe().is_some() {
            seen.revoked = Some(injected.revoked.iter().take(REVOKED_MAX).cloned().collect());
        }
        drop(seen);
        self.detectors.revoked(&injected.revoked);
    }

    /// A fault has ended by itself.
    pub(crate) fn ended(&self) {
        self.seen().in_force = None;
    }

    /// The fault that is in force, by number.
    pub(crate) fn in_force(&self) -> Option<usize> {
        self.seen().in_force
    }

    /// What was revoked.
    pub(crate) fn revoked(&self) -> Vec<CredentialRef> {
        self.seen().revoked.clone().unwrap_or_default()
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.stop.borrow()
    }

    /// Nothing more is injected, and what ends has ended.
    pub(crate) fn settled(&self) {
        self.seen().settled = Some(self.now());
    }

    /// When the revoked credential began to be refused for good.
    pub(crate) fn contained(&self) -> Option<Change> {
        self.seen().refusals.change(self.start, REFUSALS)
    }

    /// When steady state was back, by the system's own doing.
    pub(crate) fn recovered(&self) -> Option<Change> {
        self.seen().recovered(self.experiment)
    }

    /// True when a fault ends by itself, before the run does.
    pub(crate) fn ends(&self) -> bool {
        self.experiment.faults.iter().any(|fault| fault.hold().is_some())
    }

    /// From when recovery counts; boot time.
    pub(crate) fn recovery_from(&self) -> Duration {
        let settled = self.seen().settled.filter(|_| self.ends());
        settled.unwrap_or(self.start)
    }

    pub(crate) fn now(&self) -> Duration {
        self.environment.now().boottime
    }

    /// Ends the run. It looks often and does nothing else, so that nothing that hangs can hold it up.
    async fn decide(&self) {
        loop {
            if self.environment.cancelled() {
                return self.give_up(self.environment.why_cancelled());
            }
            if *self.stop.borrow() {
                return;
            }
            if self.now().saturating_sub(self.start) >= self.experiment.window || self.everything_known() {
                self.stop.send_replace(true);
                return;
            }
            sleep(Duration::from_millis(DECIDE_MS)).await;
        }
    }

    fn everything_known(&self) -> bool {
        let mut seen = self.seen();
        let now = self.now();
        let contained = self.experiment.probe().is_none() || seen.is_contained(self.start, now);
        let awaited = self.experiment.awaits_detection();
        let detected = !awaited || (self.detectors.detected().is_some() && self.detectors.all_answered());
        let recovered = match &self.experiment.steady.hypothesis {
            Some(_) => seen.settled.is_some(),
            None => seen.recovered(self.experiment).is_some(),
        };
        if !(contained && detected && recovered) {
            seen.known = None;
            return false;
        }
        let known = *seen.known.get_or_insert(now);
        self.detectors.all_said() || now.saturating_sub(known) >= Duration::from_millis(DETECTOR_GRACE_MS)
    }

    async fn logs(&self) {
        while !*self.stop.borrow() {
            self.detectors.read(self.environment, During::Fault);
            let elapsed = self.now().saturating_sub(self.start);
            let pause =
                (elapsed / LOOK_SHARE).clamp(Duration::from_micros(LOOK_US_MIN), Duration::from_micros(LOOK_US_MAX));
            self.pause(pause).await;
        }
        // What was logged before the end and read by nobody yet still counts.
        self.detectors.read(self.environment, During::Fault);
    }

    async fn metrics(&self) {
        let probes = self.detectors.probes();
        while !*self.stop.borrow() && !probes.iter().all(|index| self.detectors.is_done(*index)) {
            for index in &probes {
                if !self.detectors.is_done(*index) {
                    self.unless_over(self.detectors.read_probe(*index, self.environment))
                        .await;
                }
            }
            self.pause(self.pace(self.start, PACE_US_MIN)).await;
        }
    }

    /// Looks whether a metric has risen above its limit.
    async fn limits(&self) {
        let limits = &self.experiment.abort.metrics;
        while !limits.is_empty() && !*self.stop.borrow() {
            for limit in limits {
                let Some(value) = self.unless_over(self.metric(limit)).await else {
                    return;
                };
                if value.is_some_and(|value| value > limit.above as f64) {
                    let Limit {
                        service, metric, above, ..
                    } = limit;
                    return self.give_up(format!("aborted: `{metric}` of `{service}` rose above {above}"));
                }
            }
            self.pause(Duration::from_millis(METRIC_MS)).await;
        }
    }

    /// `None` when it can't be read: that aborts nothing, detectors and steady state say what it is worth.
    async fn metric(&self, limit: &Limit) -> Option<f64> {
        let request = ServiceRequest {
            service: limit.service.clone(),
            method: "GET".to_owned(),
            path: limit.path.clone(),
            ..ServiceRequest::default()
        };
        let answer = ask(self.environment, &request).await.ok()?;
        telemetry::metric(&String::from_utf8_lossy(&answer.body), &limit.metric)
    }

    /// Presents the revoked credential for as long as the run lasts.
    fn probe(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Some((_, probe)) = self.experiment.probe() else {
                return;
            };
            while !*self.stop.borrow() {
                self.turn(&self.last_probe, || {
                    let known = self.seen().is_contained(self.start, self.now());
                    self.pace(self.start, if known { CALM_US_MIN } else { PACE_US_MIN })
                })
                .await;
                let revoked = self.seen().revoked.clone();
                if let Some(revoked) = revoked {
                    self.unless_over(self.probe_once(probe, &revoked)).await;
                }
            }
        })
    }

    /// One look: every lease is presented, and one that is not refused settles it.
    async fn probe_once(&self, probe: &Probe, revoked: &[CredentialRef]) {
        let look = {
            let now = self.now();
            self.seen().refusals.begin(now)
        };
        let mut all_refused = true;
        for (of, credential) in revoked.iter().enumerate() {
            let start = self.now();
            let request = ServiceRequest {
                run: Some(self.run.to_owned()),
                ..probe.with(credential)
            };
            let answer = ask(self.environment, &request).await;
            let elapsed = self.now().saturating_sub(start);
            let answer = Answered::of(answer.ok().map(|answer| answer.status), &probe.refused);
            let mut seen = self.seen();
            seen.count("probe_sent");
            seen.count(match answer {
                Answered::Refused => "probe_refused",
                Answered::Served(_) => "probe_wrongly_served",
                Answered::Otherwise => "probe_failed",
            });
            let fault = seen.in_force;
            seen.denials.push(Denial {
                start,
                elapsed,
                fault,
                at_once: false,
                of,
                answer,
            });
            all_refused &= answer == Answered::Refused;
        }
        let now = self.now();
        self.seen().refusals.answer(look, now, all_refused);
    }

    /// Waits for the way forward of every irreversible fault.
    async fn forward(&self) {
        let mut after = self.start;
        while !*self.stop.borrow() {
            let (settled, irreversible) = {
                let seen = self.seen();
                (seen.settled.is_some(), seen.irreversible.clone())
            };
            let begun = self.now();
            if settled && self.all_forward(&irreversible).await {
                let at = self.now();
                self.seen().forward = Some(Change { after, at });
                return;
            }
            after = begun;
            self.pause(self.pace(self.start, PACE_US_MIN)).await;
        }
    }

    async fn all_forward(&self, irreversible: &[(usize, Record, Injected)]) -> bool {
        for (index, record, injected) in irreversible {
            let taken = self.experiment.faults[*index].undo(self.environment, record, injected);
            if !matches!(self.unless_over(taken).await, Some(Ok(Undone::Restored))) {
                return false;
            }
        }
        true
    }

    fn lanes(&self) -> usize {
        match &self.experiment.steady {
            steady if steady.hypothesis.is_some() => 0,
            steady if steady.request.method == HEALTH => HEALTH_LANES,
            _ => LANES,
        }
    }

    /// Sends the steady request whenever one is due, and no other lane has taken it.
    fn lane(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let request = ServiceRequest {
                run: Some(self.run.to_owned()),
                ..self.experiment.steady.request.clone()
            };
            let health = request.method == HEALTH;
            while !*self.stop.borrow() {
                self.turn(&self.last_request, || {
                    let (settled, recovered) = {
                        let seen = self.seen();
                        (seen.settled, seen.recovered(self.experiment).is_some())
                    };
                    let least = match settled {
                        _ if health => HEALTH_US_MIN,
                        Some(_) if !recovered => PACE_US_MIN,
                        _ => CALM_US_MIN,
                    };
                    self.pace(settled.unwrap_or(self.start), least)
                })
                .await;
                if *self.stop.borrow() {
                    return;
                }
                let (sample, look) = self.sent();
                if let Some(status) = self.unless_over(self.status(&request)).await {
                    self.answered(sample, look, status);
                }
            }
        })
    }

    fn sent(&self) -> (usize, Option<usize>) {
        let start = self.now();
        let mut seen = self.seen();
        seen.count("sent");
        seen.samples.push(Sample {
            start,
            end: None,
            served: false,
        });
        // What began while the fault was in force says nothing about recovery.
        let counts = seen.settled.is_some_and(|settled| start >= settled);
        let look = counts.then(|| seen.recovery.begin(start));
        (seen.samples.len() - 1, look)
    }

    async fn status(&self, request: &ServiceRequest) -> Option<u16> {
        ask(self.environment, request).await.ok().map(|answer| answer.status)
    }

    fn answered(&self, sample: usize, look: Option<usize>, status: Option<u16>) {
        let now = self.now();
        let served = status == Some(self.experiment.steady.status);
        let mut seen = self.seen();
        seen.samples[sample].end = Some(now);
        seen.samples[sample].served = served;
        seen.count(match status {
            _ if served => "served",
            Some(401 | 403) => "refused",
            _ => "failed",
        });
        seen.failed = if served { 0 } else { seen.failed + 1 };
        if let Some(most) = self.experiment.abort.failures_in_row
            && seen.failed >= most
        {
            drop(seen);
            return self.give_up(format!(
                "aborted: {most} requests of the steady state in a row were not served"
            ));
        }
        if let Some(look) = look {
            seen.recovery.answer(look, now, served);
        }
    }

    /// How long from one request to the next: short where times are short.
    pub(crate) fn pace(&self, from: Duration, least_us: u64) -> Duration {
        let elapsed = self.now().saturating_sub(from);
        (elapsed / PACE_SHARE).clamp(Duration::from_micros(least_us), Duration::from_micros(PACE_US_MAX))
    }

    /// Waits until the next request is due: `pace` after the last one began, however long that takes.
    async fn turn(&self, last: &Turn, pace: impl Fn() -> Duration) {
        let mut last = last.lock().await;
        while !self.is_over() {
            let now = self.now();
            let left = (*last + pace()).saturating_sub(now);
            if left.is_zero() {
                *last = now;
                return;
            }
            self.pause(left.min(Duration::from_micros(PACE_US_MIN))).await;
        }
    }

    pub(crate) async fn pause(&self, duration: Duration) {
        self.unless_over(sleep(duration)).await;
    }

    pub(crate) async fn unless_over<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            value = future => Some(value),
            () = self.stopped() => None,
        }
    }

    async fn stopped(&self) {
        // INVARIANT: the sender lives as long as `self`, so waiting can't fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

impl Seen {
    fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// The revoked credential has been refused for long enough.
    fn is_contained(&self, start: Duration, now: Duration) -> bool {
        let change = self.refusals.change(start, REFUSALS);
        change.is_some_and(|change| now.saturating_sub(change.at) >= Duration::from_millis(REFUSED_MS_MIN))
    }

    /// Enough requests were served in a row, and every way forward is taken. The time is that of the first of
    /// those requests, or of the way forward when that came later: until then the holder was only lucky.
    fn recovered(&self, experiment: &Experiment) -> Option<Change> {
        let served = self.recovery.change(self.settled?, experiment.steady.requests)?;
        Some(served.and(self.forward?))
    }
}

/// Drives all of them to their ends.
pub(crate) async fn all(mut futures: Vec<BoxFuture<'_, ()>>) {
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// A step of ours that takes longer is broken.
pub(crate) const STEP: Duration = Duration::from_millis(STEP_MS_MAX);
