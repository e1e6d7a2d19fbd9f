//! What is seen between injection and undo: the workload, the revoked credential, the way forward.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::detectors::Detectors;
use crate::environment::{CredentialRef, Environment, ServiceRequest};
use crate::experiment::{Experiment, Limit};
use crate::fault::{Injected, Probe, Sample, UndoClass};
use crate::run::{STEP_MS_MAX, ask};
use crate::strike::{Record, Undone};

/// Detectors are looked at this often at least.
const DETECTOR_MS: u64 = 5;
/// Requests come at most this often, and more slowly the longer a run takes: one hundredth of it.
const PACE_MS_MIN: u64 = 10;
const PACE_MS_MAX: u64 = 100;
/// Requests of the workload that may be under way at once, so that one that hangs doesn't hide the next.
const LANES: u32 = 3;
/// So many refusals in a row are "from then on".
const REFUSALS: u32 = 5;
/// Of many revoked leases, so many are presented.
const REVOKED_MAX: usize = 8;
/// Once everything else is known, the detectors that haven't fired get this much longer.
const DETECTOR_GRACE_MS: u64 = 500;

/// Everything that watches one run. Its loops share what was seen, and end together.
pub(crate) struct Watch<'a> {
    environment: &'a dyn Environment,
    experiment: &'a Experiment,
    detectors: &'a Detectors<'a>,
    /// Start of the injection; boot time.
    pub(crate) start: Duration,
    seen: Mutex<Seen>,
    stop: watch::Sender<bool>,
}

/// What was seen so far. Times are boot times.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every fault is injected, and those that end have ended: from here on recovery counts.
    pub(crate) settled: Option<Duration>,
    /// What the fault with the probe revoked.
    revoked: Option<Vec<CredentialRef>>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) counts: BTreeMap<String, u64>,
    /// Requests served in a row since `settled`, and when the first of them ended.
    served: u32,
    served_from: Option<Duration>,
    refusals: u32,
    refused_from: Option<Duration>,
    /// When every irreversible fault's way forward was seen taken.
    pub(crate) forward: Option<Duration>,
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
        start: Duration,
    ) -> Self {
        let (stop, _) = watch::channel(false);
        Watch {
            environment,
            experiment,
            detectors,
            start,
            seen: Mutex::new(Seen::default()),
            stop,
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
            self.probe(),
            self.forward(),
            self.lane(0),
            self.lane(1),
            self.lane(2),
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
        // The way forward of a declared target is ours to take, once the run is over: nothing to wait for.
        if fault.entry().undo_class == UndoClass::Irreversible && fault.strike().is_none() {
            seen.irreversible.push((index, record.clone(), injected.clone()));
        }
        if fault.probe().is_some() {
            seen.revoked = Some(injected.revoked.iter().take(REVOKED_MAX).cloned().collect());
        }
    }

    /// Nothing more is injected, and what ends has ended.
    pub(crate) fn settled(&self) {
        self.seen().settled = Some(self.now());
    }

    /// When the revoked credential began to be refused for good.
    pub(crate) fn contained(&self) -> Option<Duration> {
        self.seen().refused_from
    }

    /// When steady state was back, by the system's own doing.
    pub(crate) fn recovered(&self) -> Option<Duration> {
        self.seen().recovered(self.experiment)
    }

    fn now(&self) -> Duration {
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
            sleep(Duration::from_millis(DETECTOR_MS)).await;
        }
    }

    fn everything_known(&self) -> bool {
        let mut seen = self.seen();
        let contained = self.experiment.probe().is_none() || seen.refusals >= REFUSALS;
        let detected = !self.experiment.awaits_detection() || self.detectors.detected().is_some();
        let recovered = match &self.experiment.steady.hypothesis {
            Some(_) => seen.settled.is_some(),
            None => seen.recovered(self.experiment).is_some(),
        };
        if !(contained && detected && recovered) {
            seen.known = None;
            return false;
        }
        let now = self.now();
        let known = *seen.known.get_or_insert(now);
        self.detectors.all_detected() || now.saturating_sub(known) >= Duration::from_millis(DETECTOR_GRACE_MS)
    }

    async fn logs(&self) {
        while !*self.stop.borrow() {
            self.detectors.read_logs(self.environment, Some(self.start));
            self.pause(Duration::from_millis(DETECTOR_MS)).await;
        }
        // What was logged before the end and read by nobody yet still counts.
        self.detectors.read_logs(self.environment, Some(self.start));
    }

    async fn metrics(&self) {
        let probes = self.detectors.probes();
        while !*self.stop.borrow() && !probes.iter().all(|index| self.detectors.is_done(*index)) {
            for index in &probes {
                if !self.detectors.is_done(*index) {
                    self.unless_stopped(self.detectors.read_probe(*index, self.environment, self.start))
                        .await;
                }
            }
            self.pause(Duration::from_millis(DETECTOR_MS)).await;
        }
    }

    /// Looks whether a metric has risen above its limit.
    async fn limits(&self) {
        let limits = &self.experiment.abort.metrics;
        while !limits.is_empty() && !*self.stop.borrow() {
            for limit in limits {
                let Some(value) = self.unless_stopped(self.metric(limit)).await else {
                    return;
                };
                if value.is_some_and(|value| value > limit.above as f64) {
                    let Limit {
                        service, metric, above, ..
                    } = limit;
                    return self.give_up(format!("aborted: `{metric}` of `{service}` rose above {above}"));
                }
            }
            self.pause(Duration::from_millis(DETECTOR_MS)).await;
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
    async fn probe(&self) {
        let Some((_, probe)) = self.experiment.probe() else {
            return;
        };
        while !*self.stop.borrow() {
            let revoked = self.seen().revoked.clone();
            if let Some(revoked) = revoked {
                self.unless_stopped(self.probe_once(probe, &revoked)).await;
            }
            self.pause(self.pace()).await;
        }
    }

    async fn probe_once(&self, probe: &Probe, revoked: &[CredentialRef]) {
        for credential in revoked {
            let answer = ask(self.environment, &probe.with(credential)).await;
            let mut seen = self.seen();
            seen.count("probe_sent");
            match answer {
                Ok(answer) if probe.refused.contains(&answer.status) => seen.count("probe_refused"),
                Ok(answer) => {
                    seen.count(if answer.status < 400 {
                        "probe_wrongly_served"
                    } else {
                        "probe_failed"
                    });
                    return seen.not_refused();
                }
                Err(_) => {
                    seen.count("probe_failed");
                    return seen.not_refused();
                }
            }
        }
        let now = self.now();
        let mut seen = self.seen();
        seen.refusals += 1;
        seen.refused_from.get_or_insert(now);
    }

    /// Waits for the way forward of every irreversible fault.
    async fn forward(&self) {
        while !*self.stop.borrow() {
            let (settled, irreversible) = {
                let seen = self.seen();
                (seen.settled.is_some(), seen.irreversible.clone())
            };
            if settled && self.all_forward(&irreversible).await {
                let now = self.now();
                self.seen().forward = Some(now);
                return;
            }
            self.pause(Duration::from_millis(PACE_MS_MIN)).await;
        }
    }

    async fn all_forward(&self, irreversible: &[(usize, Record, Injected)]) -> bool {
        for (index, record, injected) in irreversible {
            let taken = self.experiment.faults[*index].undo(self.environment, record, injected);
            if !matches!(self.unless_stopped(taken).await, Some(Ok(Undone::Restored))) {
                return false;
            }
        }
        true
    }

    /// Sends the steady request, one after the other.
    async fn lane(&self, lane: u32) {
        if self.experiment.steady.hypothesis.is_some() {
            return;
        }
        self.pause(Duration::from_millis(PACE_MS_MIN) * lane).await;
        while !*self.stop.borrow() {
            let start = self.now();
            let sample = {
                let mut seen = self.seen();
                seen.count("sent");
                seen.samples.push(Sample {
                    start,
                    end: None,
                    served: false,
                });
                seen.samples.len() - 1
            };
            let request = &self.experiment.steady.request;
            if let Some(status) = self.unless_stopped(self.status(request)).await {
                self.answered(sample, status);
            }
            self.pause(self.pace() * LANES).await;
        }
    }

    async fn status(&self, request: &ServiceRequest) -> Option<u16> {
        ask(self.environment, request).await.ok().map(|answer| answer.status)
    }

    fn answered(&self, sample: usize, status: Option<u16>) {
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
        let start = seen.samples[sample].start;
        // What began while the fault was in force says nothing about recovery.
        if seen.settled.is_some_and(|settled| start >= settled) {
            if served {
                seen.served += 1;
                seen.served_from.get_or_insert(now);
            } else {
                seen.served = 0;
                seen.served_from = None;
            }
        }
    }

    /// How long to wait between two requests: short where times are short.
    fn pace(&self) -> Duration {
        let since = self.seen().settled.unwrap_or(self.start);
        let elapsed = self.now().saturating_sub(since);
        (elapsed / 100).clamp(Duration::from_millis(PACE_MS_MIN), Duration::from_millis(PACE_MS_MAX))
    }

    async fn pause(&self, duration: Duration) {
        self.unless_stopped(sleep(duration)).await;
    }

    async fn unless_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
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

    fn not_refused(&mut self) {
        self.refusals = 0;
        self.refused_from = None;
    }

    /// Enough requests were served in a row, and every way forward is taken. The time is that of the first of
    /// those requests, or of the way forward when that came later: until then the holder was only lucky.
    fn recovered(&self, experiment: &Experiment) -> Option<Duration> {
        let enough = self.served >= experiment.steady.requests;
        self.served_from
            .filter(|_| enough)
            .zip(self.forward)
            .map(|(served, forward)| served.max(forward))
    }
}

/// A step of ours that takes longer is broken.
pub(crate) const STEP: Duration = Duration::from_millis(STEP_MS_MAX);
