//! Detectors of an experiment while it runs: armed, self-tested, and watched for false alarms.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::predicates::DetectorRun;
use telemetry::SigmaRules;

use crate::environment::{Environment, ServiceRequest};
use crate::experiment::{Detector, DetectorKind, Experiment};

/// Polls that may be needed to get past what was logged before the run.
const OLD_POLLS_MAX: u32 = 256;

/// The detectors of one run.
pub(crate) struct Detectors<'a> {
    rules: &'a SigmaRules,
    armed: Mutex<Vec<Armed<'a>>>,
}

struct Armed<'a> {
    detector: &'a Detector,
    /// Why its self-test failed, if so.
    broken: Option<String>,
    false_alarm: bool,
    /// A probe's value, as last read before the injection.
    baseline: f64,
    /// Boot time.
    detected: Option<Duration>,
}

impl<'a> Detectors<'a> {
    /// Arms every detector and runs its self-test. What services logged before is none of its business.
    pub(crate) async fn arm(
        experiment: &'a Experiment,
        rules: &'a SigmaRules,
        environment: &dyn Environment,
    ) -> Detectors<'a> {
        // One poll reads a bounded part; an environment that never runs dry only costs false alarms.
        for _ in 0..OLD_POLLS_MAX {
            if environment.poll_logs(environment.now().boottime).is_empty() {
                break;
            }
        }
        let mut armed = Vec::new();
        for detector in &experiment.detectors {
            let tested = match &detector.kind {
                DetectorKind::Sigma { rule, self_test } => {
                    let matched = rules.matches(self_test).iter().any(|found| found.path == *rule);
                    if matched {
                        Ok(0.0)
                    } else {
                        Err(format!("`{rule}` doesn't match its line"))
                    }
                }
                DetectorKind::Probe { .. } => read(detector, environment).await,
            };
            armed.push(Armed {
                detector,
                baseline: *tested.as_ref().unwrap_or(&0.0),
                broken: tested.err().map(|reason| format!("`{}`: {reason}", detector.id)),
                false_alarm: false,
                detected: None,
            });
        }
        Detectors {
            rules,
            armed: Mutex::new(armed),
        }
    }

    /// Looks once at logs and metrics: whatever fires before the injection is a false alarm.
    pub(crate) async fn look_before(&self, environment: &dyn Environment) {
        self.read_logs(environment, None);
        for index in 0..self.len() {
            let detector = self.armed()[index].detector;
            if !matches!(detector.kind, DetectorKind::Probe { .. }) {
                continue;
            }
            let value = read(detector, environment).await;
            let armed = &mut self.armed()[index];
            match value {
                Ok(value) => {
                    armed.false_alarm |= value > armed.baseline;
                    armed.baseline = value;
                }
                Err(reason) => armed.broken = Some(format!("`{}`: {reason}", detector.id)),
            }
        }
    }

    /// Reads new log lines. With an injection, a match is a detection, unless it was read before; without one it is
    /// a false alarm.
    pub(crate) fn read_logs(&self, environment: &dyn Environment, injected: Option<Duration>) {
        for event in environment.poll_logs(environment.now().boottime) {
            let matches = self.rules.matches(&event.fields);
            if matches.is_empty() {
                continue;
            }
            for armed in self.armed().iter_mut() {
                let DetectorKind::Sigma { rule, .. } = &armed.detector.kind else {
                    continue;
                };
                if matches.iter().any(|found| found.path == *rule) {
                    armed.fire(event.boottime, injected);
                }
            }
        }
    }

    /// Reads one probe's metric. Call it for those that [`Detectors::probes`] names.
    pub(crate) async fn read_probe(&self, index: usize, environment: &dyn Environment, injected: Duration) {
        let detector = self.armed()[index].detector;
        // A service that doesn't answer just now is not a detection, and the next reading comes soon.
        let Ok(value) = read(detector, environment).await else {
            return;
        };
        let armed = &mut self.armed()[index];
        if value > armed.baseline {
            armed.fire(environment.now().boottime, Some(injected));
        }
    }

    /// Which detectors have to be asked.
    pub(crate) fn probes(&self) -> Vec<usize> {
        let is_probe = |armed: &Armed<'_>| matches!(armed.detector.kind, DetectorKind::Probe { .. });
        self.armed()
            .iter()
            .enumerate()
            .filter(|(_, armed)| is_probe(armed))
            .map(|(index, _)| index)
            .collect()
    }

    /// Boot time of the first detection that counts.
    pub(crate) fn detected(&self) -> Option<Duration> {
        self.armed()
            .iter()
            .filter(|armed| armed.counts())
            .filter_map(|armed| armed.detected)
            .min()
    }

    /// True when every detector that counts has fired.
    pub(crate) fn all_detected(&self) -> bool {
        self.armed()
            .iter()
            .filter(|armed| armed.counts())
            .all(|armed| armed.detected.is_some())
    }

    pub(crate) fn is_done(&self, index: usize) -> bool {
        self.armed()[index].detected.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.armed().len()
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        self.armed().iter().filter_map(|armed| armed.broken.clone()).collect()
    }

    pub(crate) fn firing(&self) -> Vec<String> {
        self.armed()
            .iter()
            .filter(|armed| armed.false_alarm)
            .map(|armed| armed.detector.id.clone())
            .collect()
    }

    /// What became of each, with times from the injection.
    pub(crate) fn runs(&self, injected: Option<Duration>) -> Vec<DetectorRun> {
        let run = |armed: &Armed<'_>| DetectorRun {
            id: armed.detector.id.clone(),
            kind: armed.detector.kind.name().to_owned(),
            self_test: armed.broken.is_none(),
            false_alarm: armed.false_alarm,
            detected_us: armed
                .detected
                .zip(injected)
                .map(|(at, injected)| micros(at.saturating_sub(injected))),
            diagnosis: None,
        };
        self.armed().iter().map(run).collect()
    }

    fn armed(&self) -> MutexGuard<'_, Vec<Armed<'a>>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Armed<'_> {
    /// A broken detector and one that fired without a cause prove nothing.
    fn counts(&self) -> bool {
        self.broken.is_none() && !self.false_alarm
    }

    fn fire(&mut self, at: Duration, injected: Option<Duration>) {
        match injected {
            Some(injected) if at >= injected => self.detected = self.detected.or(Some(at)),
            _ => self.false_alarm = true,
        }
    }
}

/// The metric of a probe.
async fn read(detector: &Detector, environment: &dyn Environment) -> Result<f64, String> {
    let DetectorKind::Probe { service, path, metric } = &detector.kind else {
        return Err("it has no metric".to_owned());
    };
    let request = ServiceRequest {
        service: service.clone(),
        method: "GET".to_owned(),
        path: path.clone(),
        ..ServiceRequest::default()
    };
    let answer = crate::run::ask(environment, &request).await?;
    if answer.status != 200 {
        return Err(format!("`{service}` answers {} to GET {path}", answer.status));
    }
    telemetry::metric(&String::from_utf8_lossy(&answer.body), metric)
        .ok_or_else(|| format!("`{service}` shows no metric `{metric}` at {path}"))
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
