//! Counts two arms and says when the evidence suffices.

use std::collections::BTreeMap;

use evidence::predicates::Arm;

use crate::measures::ALL;
use crate::process::{Null, Pair, Tally};
use crate::{Entry, Request};

/// What the comparison may get wrong, and how much worse the new version may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Probability of halting a new version that is not worse, over all looks and measures together; and of
    /// promoting one that is worse than a margin. Usually 0.05. Taken as 0.05 where it is not between 0 and 1.
    pub alpha: f64,
    /// Largest excess of the new arm's share of errors that may be promoted: 0.01 is one request in a hundred.
    pub error_margin: f64,
    /// The same for slow requests.
    pub slow_margin: f64,
    /// Requests, both arms together, after which an open question stays open: the answer is then undecided.
    pub requests_max: u64,
}

/// Which version answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArmName {
    Old,
    New,
}

impl ArmName {
    pub fn name(self) -> &'static str {
        match self {
            ArmName::Old => "old",
            ArmName::New => "new",
        }
    }
}

/// What the evidence so far allows. May be asked for after every request.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Not enough evidence yet.
    Continue,
    /// In every measure the new version is less than its margin worse.
    Promote {
        /// Requests of both arms.
        requests: u64,
        /// The weakest measure's e-value; at least `1 / alpha`.
        e_value: f64,
        reason: String,
    },
    /// In this measure the new version is worse by more than a quarter of its margin.
    Halt {
        /// `errors` or `slow`; `canary/<measure>` is its page.
        measure: String,
        /// At least `1 / alpha`.
        e_value: f64,
        reason: String,
    },
    /// `requests_max` is reached and neither is shown.
    Undecided { requests: u64, reason: String },
}

impl Decision {
    /// As the canary statement spells it; `continue` while it runs.
    pub fn name(&self) -> &'static str {
        match self {
            Decision::Continue => "continue",
            Decision::Promote { .. } => "promote",
            Decision::Halt { .. } => "halt",
            Decision::Undecided { .. } => "undecided",
        }
    }

    /// Why, in words for people; empty while it runs.
    pub fn reason(&self) -> &str {
        match self {
            Decision::Continue => "",
            Decision::Promote { reason, .. } | Decision::Halt { reason, .. } | Decision::Undecided { reason, .. } => {
                reason
            }
        }
    }
}

/// The two arms. An anytime-valid test: `1 / alpha` is the bar at every look, with no correction for looking often.
///
/// Two questions are asked of every measure, each with its own e-process (see `process.rs`):
///
/// - *worse*, against the null "the new share is at most the old one plus a quarter of the margin". The first measure whose
///   e-value reaches `1 / alpha` halts. These e-values are divided by the number of measures, so that the
///   probability of halting a harmless version is at most `alpha` over all of them together.
/// - *not worse*, against the null "the new share is at least the old one plus the margin". Every measure's e-value
///   must reach `1 / alpha` to promote, which needs no division: the one bad measure alone would have to err.
///
/// Requests of the new arm until the answer, from `tests/figures.rs` (200 runs each, seed fixed; `alpha` 0.05, error
/// margin 0.01, weight 10 per cent for 300 requests and then 50, 6,000 requests at most):
///
/// | errors, old and new | answer | median | 95 % of runs |
/// |---|---|---|---|
/// | 0 % and 2 % | halted in 200 | 471 | 895 |
/// | 0.05 % and 2.05 % | halted in 200 | 466 | 1,336 |
/// | 0.2 % and 2.2 % | halted in 197 | 989 | 2,330 |
/// | 0 % and 0 % | promoted in 200 | 400 | 406 |
/// | 0.02 % and 0.02 % | promoted in 200 | 400 | 921 |
/// | 0.1 % and 0.1 % | promoted in 200 | 526 | 1,409 |
/// | 1 % and 1 % | promoted in 98, halted in 1, else undecided | 2,807 | 2,944 |
///
/// At 5 % of errors and above, 6,000 requests are too few to tell one per cent apart: the answer is then undecided,
/// and either more requests or a wider margin helps.
#[derive(Debug, Clone)]
pub struct Comparator {
    limits: Limits,
    /// In the order of [`ALL`].
    pairs: Vec<Pair>,
    old_us: Vec<u64>,
    new_us: Vec<u64>,
}

/// The part of a margin that a version may be worse without being halted.
const TOLERANCE: f64 = 0.25;
/// Times kept for quantiles, each arm; later requests still count for the test.
const TIMES_MAX: usize = 1 << 20;
/// Where e-values are cut off: beyond it only a longer number is won, and JSON has no infinity.
const E_VALUE_MAX: f64 = 1e12;

impl Comparator {
    pub fn new(limits: Limits) -> Self {
        let sane = |margin: f64| {
            if margin.is_finite() {
                margin.clamp(0.0, 0.99)
            } else {
                0.0
            }
        };
        let alpha = if limits.alpha > 0.0 && limits.alpha < 1.0 {
            limits.alpha
        } else {
            0.05
        };
        let limits = Limits {
            alpha,
            error_margin: sane(limits.error_margin),
            slow_margin: sane(limits.slow_margin),
            requests_max: limits.requests_max,
        };
        Comparator {
            limits,
            pairs: ALL.iter().map(|_| Pair::new()).collect(),
            old_us: Vec::new(),
            new_us: Vec::new(),
        }
    }

    /// Counts one request. `elapsed_us` is for the arms' quantiles only; `slow` is what the test reads.
    pub fn observe(&mut self, arm: ArmName, error: bool, slow: bool, elapsed_us: u64) {
        let request = Request { error, slow };
        for (pair, measure) in self.pairs.iter_mut().zip(ALL) {
            pair.observe(arm, (measure.counts)(&request));
        }
        let times = match arm {
            ArmName::Old => &mut self.old_us,
            ArmName::New => &mut self.new_us,
        };
        if times.len() < TIMES_MAX {
            times.push(elapsed_us);
        }
    }

    /// Halting beats promoting beats giving up.
    pub fn decision(&self) -> Decision {
        let bar = 1.0 / self.limits.alpha;
        if let Some((measure, e_value)) = self.measured().map(|m| (m, self.worse(m))).find(|(_, e)| *e >= bar) {
            let reason = format!("{}: worse (e-value {})", self.compared(measure), shown(e_value));
            return Decision::Halt {
                measure: ALL[measure].name.to_owned(),
                e_value,
                reason,
            };
        }
        let requests = self.requests();
        let e_value = self.measured().map(|m| self.not_worse(m)).fold(f64::INFINITY, f64::min);
        let all = || self.measured().map(|m| self.compared(m)).collect::<Vec<_>>().join(", ");
        if e_value >= bar {
            let reason = format!("{}: not worse (e-value {})", all(), shown(e_value));
            return Decision::Promote {
                requests,
                e_value,
                reason,
            };
        }
        if requests >= self.limits.requests_max {
            let reason = format!(
                "{}: neither shown after {requests} requests (e-value for not worse {}, {} is needed)",
                all(),
                shown(e_value),
                shown(bar)
            );
            return Decision::Undecided { requests, reason };
        }
        Decision::Continue
    }

    /// The e-values behind the decision, by measure: that the new version is worse, and that it is not worse than
    /// the margin. Each decides at `1 / alpha`; all are finite.
    pub fn evidence(&self) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
        let by_name = |e: &dyn Fn(usize) -> f64| self.measured().map(|m| (ALL[m].name.to_owned(), e(m))).collect();
        (by_name(&|m| self.worse(m)), by_name(&|m| self.not_worse(m)))
    }

    /// Counts and quantiles by arm name (`old`, `new`).
    pub fn arms(&self) -> BTreeMap<String, Arm> {
        [ArmName::Old, ArmName::New]
            .into_iter()
            .map(|name| (name.name().to_owned(), self.arm(name)))
            .collect()
    }

    /// The limits in force, after nonsense was brought into range.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    fn measured(&self) -> std::ops::Range<usize> {
        0..ALL.len()
    }

    fn worse(&self, measure: usize) -> f64 {
        let delta = self.margin(&ALL[measure]) * TOLERANCE;
        (self.pairs[measure].log_e(Null::AtMost { delta }).exp() / ALL.len() as f64).min(E_VALUE_MAX)
    }

    fn not_worse(&self, measure: usize) -> f64 {
        let delta = self.margin(&ALL[measure]);
        self.pairs[measure]
            .log_e(Null::AtLeast { delta })
            .exp()
            .min(E_VALUE_MAX)
    }

    fn margin(&self, measure: &Entry) -> f64 {
        (measure.margin)(&self.limits)
    }

    /// `errors 2.33 % (14 of 600) against 0.00 % (0 of 1200)`.
    fn compared(&self, measure: usize) -> String {
        let side = |tally: &Tally| format!("{:.2} % ({} of {})", tally.share() * 100.0, tally.hits, tally.n);
        let Pair { old, new, .. } = &self.pairs[measure];
        format!("{} {} against {}", ALL[measure].name, side(new), side(old))
    }

    fn requests(&self) -> u64 {
        self.pairs.first().map_or(0, |pair| pair.old.n + pair.new.n)
    }

    fn arm(&self, arm: ArmName) -> Arm {
        let (mut times, of): (_, fn(&Pair) -> &Tally) = match arm {
            ArmName::Old => (self.old_us.clone(), |pair| &pair.old),
            ArmName::New => (self.new_us.clone(), |pair| &pair.new),
        };
        times.sort_unstable();
        let hits = |name: &str| {
            ALL.iter()
                .zip(&self.pairs)
                .find(|(measure, _)| measure.name == name)
                .map_or(0, |(_, pair)| of(pair).hits)
        };
        Arm {
            requests: self.pairs.first().map_or(0, |pair| of(pair).n),
            errors: hits("errors"),
            slow: hits("slow"),
            p50_us: quantile(&times, 50),
            p99_us: quantile(&times, 99),
        }
    }
}

/// Nearest rank; 0 of no times.
fn quantile(sorted: &[u64], per_cent: usize) -> u64 {
    let rank = (sorted.len() * per_cent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

/// An e-value for people: whole from 10 on, and never more digits than it deserves.
fn shown(e_value: f64) -> String {
    match e_value {
        e if e >= 1e6 => "over 1000000".to_owned(),
        e if e >= 10.0 => format!("{e:.0}"),
        e => format!("{e:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        alpha: 0.05,
        error_margin: 0.01,
        slow_margin: 0.05,
        requests_max: 6000,
    };

    fn compare(old: (u64, u64, u64), new: (u64, u64, u64)) -> Comparator {
        let mut comparator = Comparator::new(LIMITS);
        for (arm, (requests, errors, slow)) in [(ArmName::Old, old), (ArmName::New, new)] {
            for i in 0..requests {
                comparator.observe(arm, i < errors, i < slow, 1000 + i);
            }
        }
        comparator
    }

    #[test]
    fn decisions() {
        // (requests, errors, slow) of old and new, and what follows.
        for (old, new, expected) in [
            ((0, 0, 0), (0, 0, 0), "continue"),
            ((1, 0, 0), (1, 1, 1), "continue"),
            ((100, 0, 0), (100, 0, 0), "continue"),
            ((900, 0, 0), (100, 0, 0), "continue"),
            ((600, 0, 0), (600, 0, 0), "promote"),
            ((600, 0, 0), (600, 18, 0), "halt"),
            ((600, 0, 0), (600, 0, 90), "halt"),
            ((600, 300, 0), (600, 0, 0), "promote"),
            ((0, 0, 0), (6000, 0, 0), "undecided"),
            ((6000, 0, 0), (0, 0, 0), "undecided"),
            ((3000, 30, 0), (3000, 45, 0), "undecided"),
        ] {
            let comparator = compare(old, new);
            assert_eq!(
                comparator.decision().name(),
                expected,
                "{old:?} {new:?}: {:?}",
                comparator.evidence()
            );
        }
    }

    #[test]
    fn halt_names_the_measure_and_both_shares() {
        let Decision::Halt {
            measure,
            e_value,
            reason,
        } = compare((600, 0, 0), (600, 18, 0)).decision()
        else {
            panic!("not halted")
        };
        assert_eq!(measure, "errors");
        assert!(e_value >= 20.0);
        assert!(
            reason.starts_with("errors 3.00 % (18 of 600) against 0.00 % (0 of 600): worse (e-value "),
            "{reason}"
        );
    }

    #[test]
    fn evidence_is_finite_and_order_does_not_matter() {
        let mut forth = Comparator::new(LIMITS);
        let mut back = Comparator::new(LIMITS);
        let requests: Vec<_> = (0..4000u64)
            .map(|i| {
                (
                    if i % 3 == 0 { ArmName::New } else { ArmName::Old },
                    i % 7 == 0,
                    i % 2 == 0,
                )
            })
            .collect();
        for (arm, error, slow) in &requests {
            forth.observe(*arm, *error, *slow, 1);
        }
        for (arm, error, slow) in requests.iter().rev() {
            back.observe(*arm, *error, *slow, 1);
        }
        let (a, b) = (forth.evidence(), back.evidence());
        for (forth, back) in a.0.values().chain(a.1.values()).zip(b.0.values().chain(b.1.values())) {
            assert!(
                forth.is_finite() && (forth - back).abs() <= 1e-6 * forth.abs(),
                "{forth} {back}"
            );
        }
        let extreme = compare((3000, 0, 0), (3000, 3000, 3000));
        assert!(extreme.evidence().0.values().all(|e| *e <= E_VALUE_MAX && *e >= 20.0));
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        for (times, p50, p99) in [
            (vec![], 0, 0),
            (vec![7], 7, 7),
            ((1..=100).collect(), 50, 99),
            (vec![1, 9], 1, 9),
        ] {
            assert_eq!((quantile(&times, 50), quantile(&times, 99)), (p50, p99));
        }
    }

    #[test]
    fn nonsense_limits_are_brought_into_range() {
        for alpha in [0.0, -1.0, 1.0, f64::NAN, f64::INFINITY] {
            let limits = Limits {
                alpha,
                error_margin: f64::NAN,
                slow_margin: 7.0,
                requests_max: 10,
            };
            let mut comparator = Comparator::new(limits);
            comparator.observe(ArmName::Old, true, true, 1);
            comparator.observe(ArmName::New, true, true, 1);
            assert_eq!(comparator.limits().alpha, 0.05);
            let (worse, not_worse) = comparator.evidence();
            assert!(worse.values().chain(not_worse.values()).all(|e| e.is_finite()));
        }
    }
}
