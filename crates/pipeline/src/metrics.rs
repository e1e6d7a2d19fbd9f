//! The five metrics: a pure fold over logged statements.
//!
//! Every figure carries its n; a metric without a denominator says `n/a (n = 0)`, and what was never detected is
//! counted as such, not dropped.

use std::collections::{BTreeMap, BTreeSet};

use evidence::predicates::{self, Attempt, ChaosExperiment, GateExperiment, PlantResult};
use evidence::{Digest, Logged, Stage, Statement, Verified};

/// The five metrics of one attempt; the exposure rate is over every build in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    pub mttd: Times,
    pub mttr: Times,
    pub coverage: Coverage,
    pub exposure: Exposure,
    /// Share of findings that people recorded as false, from waivers; none are kept apart yet.
    pub false_positives: Option<(u64, u64)>,
    /// Planted commits, dependencies and artifacts that no gate blocked, of those a gate decided on; each plant as
    /// it was last planted.
    pub false_negatives: Option<(u64, u64)>,
}

/// Times that were measured, and how often nothing came within the window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Times {
    pub measured_us: Vec<u64>,
    /// Runs in which it never happened within the window.
    pub never: u64,
}

/// Attestation coverage: statements that are there, of those the plan expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Coverage {
    pub present: u64,
    pub expected: u64,
}

/// Secrets exposure: distinct secrets in artifacts and in logs, over the builds that were scanned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exposure {
    pub in_artifacts: u64,
    pub in_logs: u64,
    pub builds: u64,
    pub unscanned: u64,
}

/// Folds the statements of the log.
pub fn fold(attempt: &Attempt, statements: &[Logged<Verified<Statement>>]) -> Metrics {
    let digest = attempt.digest();
    let own = || {
        statements
            .iter()
            .filter(move |s| s.context().is_some_and(|c| c.attempt == digest))
    };
    let mut mttd = Times::default();
    let mut mttr = Times::default();
    for run in own().filter_map(|statement| statement.predicate_as::<ChaosExperiment>(predicates::CHAOS)) {
        if !run.detectors.is_empty() {
            mttd.add(run.detected_us);
        }
        mttr.add(run.recovered_us.filter(|_| run.recovered_by_itself));
    }
    Metrics {
        mttd,
        mttr,
        coverage: coverage(attempt, own()),
        exposure: exposure(statements),
        false_positives: None,
        false_negatives: false_negatives(statements),
    }
}

fn coverage<'a>(attempt: &Attempt, own: impl Iterator<Item = &'a Logged<Verified<Statement>>>) -> Coverage {
    let present: BTreeSet<(Stage, String)> = own.filter_map(|s| s.context()).map(|c| (c.stage, c.check)).collect();
    let have = attempt
        .expected
        .iter()
        .filter(|expected| present.contains(expected))
        .count();
    Coverage {
        present: have as u64,
        expected: attempt.expected.len() as u64,
    }
}

fn exposure(statements: &[Logged<Verified<Statement>>]) -> Exposure {
    let mut exposure = Exposure::default();
    let mut seen: BTreeSet<Digest> = BTreeSet::new();
    for statement in statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::PROVENANCE)
    {
        if !seen.insert(statement.verified().digest()) {
            continue;
        }
        let own = &statement.predicate["buildDefinition"]["internalParameters"]["proofmark"];
        match (own["secretsInArtifact"].as_u64(), own["secretsInLog"].as_u64()) {
            (Some(artifact), Some(log)) => {
                exposure.builds += 1;
                exposure.in_artifacts += artifact;
                exposure.in_logs += log;
            }
            _ => exposure.unscanned += 1,
        }
    }
    exposure
}

/// The last answer to each plant counts, in the order of the log: an old miss that a gate catches by now is none.
fn false_negatives(statements: &[Logged<Verified<Statement>>]) -> Option<(u64, u64)> {
    let experiments = statements
        .iter()
        .filter_map(|statement| statement.predicate_as::<GateExperiment>(predicates::GATES));
    share_missed(experiments)
}

fn share_missed(experiments: impl Iterator<Item = GateExperiment>) -> Option<(u64, u64)> {
    let mut last: BTreeMap<(String, String), PlantResult> = BTreeMap::new();
    for run in experiments.flat_map(|experiment| experiment.plants) {
        if run.result != PlantResult::NotJudged {
            last.insert((run.plant, run.variant), run.result);
        }
    }
    let missed = last.values().filter(|result| **result == PlantResult::Missed).count();
    (!last.is_empty()).then_some((missed as u64, last.len() as u64))
}

impl Times {
    fn add(&mut self, time: Option<u64>) {
        match time {
            Some(us) => self.measured_us.push(us),
            None => self.never += 1,
        }
    }

    /// `140 ms (n 2)`, `never (n 1)`, `n/a (n = 0)`.
    pub fn text(&self) -> String {
        let n = self.measured_us.len() as u64 + self.never;
        if n == 0 {
            return "n/a (n = 0)".to_owned();
        }
        if self.measured_us.is_empty() {
            return format!("never (n {n})");
        }
        let mean = self.measured_us.iter().sum::<u64>() / self.measured_us.len() as u64;
        let never = if self.never > 0 {
            format!(", {} never", self.never)
        } else {
            String::new()
        };
        format!("{} (n {n}{never})", duration_text(mean))
    }
}

impl Exposure {
    /// `0 per 1,000 builds (n 7, ≤ 349)`: the rate, the builds scanned, the upper end of the 95 % interval.
    pub fn text(&self) -> String {
        if self.builds == 0 {
            return "n/a (n = 0)".to_owned();
        }
        let secrets = self.in_artifacts + self.in_logs;
        let rate = secrets as f64 * 1000.0 / self.builds as f64;
        let upper = poisson_upper(secrets) * 1000.0 / self.builds as f64;
        let unscanned = if self.unscanned > 0 {
            format!(", {} not scanned", self.unscanned)
        } else {
            String::new()
        };
        format!(
            "{rate:.0} per 1,000 builds (n {}, ≤ {:.0}{unscanned})",
            self.builds,
            upper.min(1000.0 * (1 + secrets) as f64)
        )
    }
}

/// Upper end of the one-sided 95 % interval for the mean of a Poisson count (Garwood 1936).
fn poisson_upper(count: u64) -> f64 {
    statistics::chi_squared_quantile(0.95, 2.0 * (count + 1) as f64) / 2.0
}

/// `140 ms`, `1.3 s`.
pub fn duration_text(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// A share with its n and its 95 % interval, or the honest nothing.
pub fn share_text(share: Option<(u64, u64)>) -> String {
    match share.and_then(|(hits, n)| Some((hits, n, statistics::wilson(hits, n)?))) {
        Some((hits, n, interval)) => format!(
            "{:.1} % (n {n}, 95 % {:.1}-{:.1})",
            hits as f64 * 100.0 / n as f64,
            interval.low * 100.0,
            interval.high * 100.0
        ),
        None => "n/a (n = 0)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use evidence::predicates::PlantRun;

    use super::*;

    #[test]
    fn nothing_measured_says_so() {
        assert_eq!(Times::default().text(), "n/a (n = 0)");
        assert_eq!(
            Times {
                measured_us: vec![],
                never: 2
            }
            .text(),
            "never (n 2)"
        );
        assert_eq!(
            Times {
                measured_us: vec![100_000, 180_000],
                never: 1
            }
            .text(),
            "140 ms (n 3, 1 never)"
        );
        assert_eq!(Exposure::default().text(), "n/a (n = 0)");
        assert_eq!(share_text(None), "n/a (n = 0)");
        assert_eq!(share_text(Some((0, 0))), "n/a (n = 0)");
    }

    #[test]
    fn each_plant_counts_as_it_was_last_planted() {
        let run = |plant: &str, result| PlantRun {
            plant: plant.to_owned(),
            variant: String::new(),
            what: String::new(),
            stage: Stage::Commit,
            expected: "no-secrets".to_owned(),
            result,
            by: Vec::new(),
            stopped: None,
            undecided: false,
        };
        let experiment = |plants| GateExperiment {
            tree: Digest::of(b""),
            configuration: Digest::of(b""),
            policy: Digest::of(b""),
            seed: "1".to_owned(),
            clean: Stage::Commit,
            plants,
            not_applicable: Vec::new(),
        };
        let first = experiment(vec![run("a", PlantResult::Missed), run("b", PlantResult::Missed)]);
        let then = experiment(vec![run("a", PlantResult::Caught), run("b", PlantResult::NotJudged)]);
        assert_eq!(share_missed([first, then].into_iter()), Some((1, 2)));
        assert_eq!(
            share_missed([experiment(vec![run("a", PlantResult::NotJudged)])].into_iter()),
            None
        );
        assert_eq!(share_text(Some((0, 20))), "0.0 % (n 20, 95 % 0.0-16.1)");
    }

    #[test]
    fn no_event_in_n_has_the_rule_of_three() {
        assert!((poisson_upper(0) - 2.9957).abs() < 1e-3);
        assert!((poisson_upper(1) - 4.7439).abs() < 1e-3);
    }
}
