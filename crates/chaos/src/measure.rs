//! The measurement of a run: what was seen before, during and after, as the evidence has it.
//!
//! All times are of one clock, from the start of the injection; each moment says until when it was watched for and how
//! far from the truth it may be. What comes after our own undo has begun is never credited to the system.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::Timestamp;
use evidence::predicates::{Measured, Phase};
use tokio::time::sleep;

use crate::denied;
use crate::detectors::{Detectors, During, micros, moment};
use crate::environment::{Environment, HEALTH, ServiceRequest};
use crate::experiment::Experiment;
use crate::fault::Sample;
use crate::invariants::Invariants;
use crate::looks::Change;
use crate::run::ask;
use crate::watch::{Seen, Watch};

/// How often detectors and the steady state are looked at in a blind window, in milliseconds.
const BLIND_LOOK_MS: u64 = 10;
/// A look at a declared target may be a connection and a login.
const BLIND_HEALTH_MS: u64 = 40;

/// The name of a run: 128 random bits in hex.
pub(crate) fn name(random: [u8; 16]) -> String {
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was seen before the injection.
pub(crate) struct Before {
    /// What was done, from when and until when; boot time.
    windows: Vec<(During, Duration, Duration)>,
    samples: Vec<Sample>,
}

impl Before {
    /// Two windows in which nothing is injected: ordinary requests alone, then ordinary requests that carry the run's
    /// name. Whatever fires in them is a false alert.
    pub(crate) async fn watch(
        experiment: &Experiment,
        environment: &dyn Environment,
        detectors: &Detectors<'_>,
        run: &str,
        steady: bool,
    ) -> Before {
        let mut before = Before {
            windows: Vec::new(),
            samples: Vec::new(),
        };
        let request = &experiment.steady.request;
        let asks = steady && experiment.steady.hypothesis.is_none();
        // Where there is no request that could carry the name, the second window is like the first.
        let second = if asks && request.method != HEALTH {
            During::Marker
        } else {
            During::Nothing
        };
        let look = Duration::from_millis(if request.method == HEALTH {
            BLIND_HEALTH_MS
        } else {
            BLIND_LOOK_MS
        });
        for during in [During::Nothing, second] {
            let request = ServiceRequest {
                run: (during == During::Marker).then(|| run.to_owned()),
                ..request.clone()
            };
            let from = environment.now().boottime;
            loop {
                let start = environment.now().boottime;
                if asks {
                    let answer = ask(environment, &request).await;
                    before.samples.push(Sample {
                        start,
                        end: Some(environment.now().boottime),
                        served: answer.is_ok_and(|answer| answer.status == experiment.steady.status),
                    });
                }
                detectors.look_before(environment, during).await;
                let now = environment.now().boottime;
                if now.saturating_sub(from) >= experiment.blind || environment.cancelled() {
                    break;
                }
                sleep(look.saturating_sub(now.saturating_sub(start))).await;
            }
            before.windows.push((during, from, environment.now().boottime));
        }
        before
    }
}

/// A run that is over.
pub(crate) struct Course<'a> {
    pub(crate) experiment: &'a Experiment,
    pub(crate) watch: &'a Watch<'a>,
    pub(crate) detectors: &'a Detectors<'a>,
    pub(crate) before: &'a Before,
    pub(crate) invariants: &'a Invariants<'a>,
    pub(crate) name: String,
    pub(crate) began: Timestamp,
    /// When the last injection was over, and our own undo began; boot time.
    pub(crate) injected: Duration,
    pub(crate) undo: Duration,
}

/// The measurement of a run in which something was injected.
pub(crate) fn of(course: &Course<'_>) -> Measured {
    let Course { watch, undo, .. } = *course;
    let start = watch.start;
    let since = |at: Duration| micros(at.saturating_sub(start));
    let mut moments = course.detectors.moments(start, undo);
    if let Some((_, probe)) = course.experiment.probe() {
        let contained = watch.contained().map(|change| (change, probe.request.service.clone()));
        moments.insert("contained".to_owned(), moment(contained, start, start, undo));
    }
    let from = watch.recovery_from();
    if course.experiment.steady.hypothesis.is_none() {
        let recovered = watch.recovered();
        let by = course.experiment.steady.request.service.clone();
        let recovered = recovered.map(|change: Change| (change, by));
        moments.insert("recovered".to_owned(), moment(recovered, start, from, undo));
    }
    let mut services = course.invariants.services(start);
    let seen = watch.seen();
    let expected = course.experiment.expect.contained_within_seconds;
    let contained = moments.get("contained").and_then(|contained| contained.at_us);
    // One that only goes on for a while, and less than is borne, is well.
    let in_time = contained.is_some_and(|us| expected.is_none_or(|seconds| us <= seconds * 1_000_000));
    let name = denied::name(&seen.denials).filter(|name| !in_time || *name != denied::UNTIL_CACHE_EXPIRY);
    if let Some(((_, probe), name)) = course.experiment.probe().zip(name) {
        services
            .entry(probe.request.service.clone())
            .or_insert_with(|| name.to_owned());
    }
    let settled = seen.settled.filter(|_| watch.ends());
    Measured {
        run: course.name.clone(),
        began: course.began,
        injected_us: since(course.injected),
        settled_us: settled.map(since),
        undo_us: since(undo),
        moments,
        alerts: course.detectors.alerts(start),
        blind: course.detectors.blind(&course.before.windows, start),
        invariants: course.invariants.runs(start).0,
        services,
        phases: phases(&course.before.samples, &seen, settled),
    }
}

/// The workload before the injection, while the fault was in force, and after it had ended by itself.
fn phases(before: &[Sample], seen: &Seen, settled: Option<Duration>) -> BTreeMap<String, Phase> {
    let ended = settled.unwrap_or(Duration::MAX);
    let (during, after): (Vec<Sample>, Vec<Sample>) = seen.samples.iter().copied().partition(|one| one.start < ended);
    [("before", before.to_vec()), ("during", during), ("after", after)]
        .into_iter()
        .filter(|(_, samples)| !samples.is_empty())
        .map(|(name, samples)| (name.to_owned(), phase(&samples)))
        .collect()
}

fn phase(samples: &[Sample]) -> Phase {
    let served = samples.iter().filter(|sample| sample.served);
    let mut times: Vec<u64> = served
        .filter_map(|sample| Some(micros(sample.end?.saturating_sub(sample.start))))
        .collect();
    times.sort_unstable();
    Phase {
        requests: samples.len() as u64,
        served: times.len() as u64,
        p50_us: quantile(&times, 50),
        p99_us: quantile(&times, 99),
    }
}

/// The nearest rank of sorted times; 0 of none.
fn quantile(times: &[u64], percent: usize) -> u64 {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let times: Vec<u64> = (1..=100).collect();
        assert_eq!((quantile(&times, 50), quantile(&times, 99)), (50, 99));
        assert_eq!((quantile(&[7], 50), quantile(&[7], 99), quantile(&[], 99)), (7, 7, 0));
        assert_eq!(name([0xab; 16]), "ab".repeat(16));
    }
}
