//! What earlier runs say of a candidate: a Beta posterior of the probability that its next run shows a weakness.
//!
//! A run speaks for its own candidate most, and for its neighbours too. Weaknesses have causes in common: nobody reads
//! the logs of a kind of target, nothing looks for a family of faults or for a technique, nobody watches one target.
//! So each of these groups either has a hole or not, and a run fails when one of its groups has a hole that shows, or
//! by chance (a noisy-or). How likely each group has a hole is estimated for all at once, so that what one group
//! explains is not said again by another (mean field; Saul, Jaakkola and Jordan, Mean field theory for sigmoid belief
//! networks, 1996). How many groups of a level have holes is learnt too: where families don't matter, families soon
//! say little.
//!
//! What the groups say is the mean of a Beta distribution that is worth the more runs the more of them were seen; runs
//! of the candidate itself move it most. Logarithms are those of the `libm` crate, not of the host: the same runs give
//! the same numbers everywhere.

use std::collections::BTreeMap;

use super::Traits;

/// The chance that a run fails in a group that has a hole: detectors notice some things by other ways, and by luck.
const SHOWN: f64 = 0.8;
/// The chance that a run fails where no group has a hole.
const CHANCE: f64 = 0.01;
/// The share of the groups of a level that have holes before anything is known, and how many groups that is worth.
const HOLES: f64 = 0.12;
const HOLES_GROUPS: f64 = 3.0;
/// What a run of its own that showed nothing leaves of a candidate's odds; one that failed divides them by it.
const MISSED: f64 = 0.2;
/// What neighbours say is worth so many runs, and so many more for each run of the best known group, up to a bound.
const WORTH: f64 = 20.0;
const WORTH_RUN: f64 = 3.0;
const WORTH_MAX: f64 = 100.0;
/// What a release leaves of what a run before it says: the code has changed since.
const RELEASE_LEFT: f64 = 0.8;
/// Rounds over all groups; each moves a belief half of the way, so that none swings.
const ROUNDS: usize = 12;

/// A run, as far as it says something.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    pub traits: Traits,
    /// Names the candidate that was run: [`super::identity`].
    pub candidate: String,
    /// It showed a weakness; `None` where it could not be judged.
    pub failed: Option<bool>,
    /// The release in which it ran, counted from 0.
    pub release: u64,
    /// Its place in the log.
    pub index: u64,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// What one group says.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    /// `technique T1078`, `target db`.
    pub group: String,
    /// Judged runs of the group that failed, and all of them; those of earlier releases count for less.
    pub failed: f64,
    pub runs: f64,
    /// The probability that the group has a hole.
    pub hole: f64,
}

/// A Beta distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    pub a: f64,
    pub b: f64,
}

impl Beta {
    pub fn mean(self) -> f64 {
        self.a / (self.a + self.b)
    }
}

/// What is believed of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Belief {
    pub beta: Beta,
    /// The mean that its neighbours give.
    pub neighbours: f64,
    /// What its groups say, for those that were run.
    pub shares: Vec<Share>,
    /// Its own judged runs; those of earlier releases count for less.
    pub runs: f64,
}

/// Everything that the log's runs say, at one release.
#[derive(Debug)]
pub(super) struct Posterior<'t> {
    runs: Vec<Run<'t>>,
    levels: Vec<Groups>,
}

/// A judged run.
#[derive(Debug)]
struct Run<'t> {
    trial: &'t Trial,
    failed: bool,
    weight: f64,
    /// Its groups: level, and number there.
    groups: Vec<(usize, usize)>,
}

/// The groups of one level that were run.
#[derive(Debug, Default)]
struct Groups {
    numbers: BTreeMap<String, usize>,
    /// The probability that each has a hole.
    holes: Vec<f64>,
    /// Runs of each.
    members: Vec<Vec<usize>>,
    /// The share of groups with holes, of those that were not run too.
    share: f64,
}

/// A level of sharing: the groups of it that a candidate is in.
type Level = fn(&Traits) -> Vec<String>;

const LEVELS: [Level; 4] = [
    |traits| each("kind", &traits.kinds),
    |traits| each("family", &traits.families),
    |traits| each("technique", &traits.techniques),
    |traits| each("target", &traits.targets),
];

fn each(word: &str, names: &[String]) -> Vec<String> {
    names.iter().map(|name| format!("{word} {name}")).collect()
}

impl<'t> Posterior<'t> {
    /// `release` is the one that the choice is for; runs that nobody could judge say nothing.
    pub(super) fn of(trials: &'t [Trial], release: u64) -> Posterior<'t> {
        let run = |trial: &'t Trial| {
            let age = release.saturating_sub(trial.release) as f64;
            Some(Run {
                trial,
                failed: trial.failed?,
                weight: libm::pow(RELEASE_LEFT, age),
                groups: Vec::new(),
            })
        };
        let mut runs: Vec<Run<'t>> = trials.iter().filter_map(run).collect();
        let levels = LEVELS.iter().enumerate();
        let levels = levels.map(|(at, level)| Groups::of(*level, at, &mut runs)).collect();
        let mut posterior = Posterior { runs, levels };
        for _ in 0..ROUNDS {
            posterior.round();
        }
        posterior
    }

    pub(super) fn belief(&self, candidate: &str, traits: &Traits) -> Belief {
        let mut quiet = 1.0 - CHANCE;
        let mut shares: Vec<Share> = Vec::new();
        for (level, groups) in LEVELS.iter().zip(&self.levels) {
            for name in level(traits) {
                let known = groups
                    .numbers
                    .get(&name)
                    .map(|number| self.share(&name, groups, *number));
                quiet *= 1.0 - SHOWN * known.as_ref().map_or(groups.share, |share| share.hole);
                shares.extend(known);
            }
        }
        let mut odds = (1.0 - quiet) / quiet;
        let mut runs = 0.0;
        for run in self.runs.iter().filter(|run| run.trial.candidate == candidate) {
            let left = libm::pow(MISSED, run.weight);
            odds *= if run.failed { 1.0 / left } else { left };
            runs += run.weight;
        }
        let mean = odds / (1.0 + odds);
        let seen = shares.iter().map(|share| share.runs).fold(0.0, f64::max);
        let worth = (WORTH + WORTH_RUN * seen).min(WORTH_MAX);
        Belief {
            beta: Beta {
                a: mean * worth,
                b: (1.0 - mean) * worth,
            },
            neighbours: 1.0 - quiet,
            shares,
            runs,
        }
    }

    fn share(&self, name: &str, groups: &Groups, number: usize) -> Share {
        let members = || groups.members[number].iter().map(|at| &self.runs[*at]);
        Share {
            group: name.to_owned(),
            failed: members().filter(|run| run.failed).map(|run| run.weight).sum(),
            runs: members().map(|run| run.weight).sum(),
            hole: groups.holes[number],
        }
    }

    /// Looks at each group once more, the others being as they are, and then at the share of each level.
    fn round(&mut self) {
        for level in 0..self.levels.len() {
            for number in 0..self.levels[level].holes.len() {
                let hole = self.hole(level, number);
                let belief = &mut self.levels[level].holes[number];
                *belief = (*belief + hole) / 2.0;
            }
            let groups = &mut self.levels[level];
            let holes = groups.holes.iter().sum::<f64>();
            groups.share = (HOLES * HOLES_GROUPS + holes) / (HOLES_GROUPS + groups.holes.len() as f64);
        }
    }

    /// The probability that a group has a hole, by its runs: how likely each is with and without one.
    fn hole(&self, level: usize, number: usize) -> f64 {
        let groups = &self.levels[level];
        let mut log_odds = libm::log(groups.share / (1.0 - groups.share));
        for at in &groups.members[number] {
            let run = &self.runs[*at];
            let others = run.groups.iter().filter(|group| **group != (level, number));
            let quiet = others.fold(1.0 - CHANCE, |quiet, (level, number)| {
                quiet * (1.0 - SHOWN * self.levels[*level].holes[*number])
            });
            let ratio = if run.failed {
                (1.0 - (1.0 - SHOWN) * quiet) / (1.0 - quiet)
            } else {
                1.0 - SHOWN
            };
            log_odds += run.weight * libm::log(ratio);
        }
        1.0 / (1.0 + libm::exp(-log_odds))
    }
}

impl Groups {
    fn of(level: Level, at: usize, runs: &mut [Run<'_>]) -> Groups {
        let mut groups = Groups {
            share: HOLES,
            ..Groups::default()
        };
        for (index, run) in runs.iter_mut().enumerate() {
            for name in level(&run.trial.traits) {
                let next = groups.holes.len();
                let number = *groups.numbers.entry(name).or_insert(next);
                if number == next {
                    groups.holes.push(HOLES);
                    groups.members.push(Vec::new());
                }
                groups.members[number].push(index);
                run.groups.push((at, number));
            }
        }
        groups
    }
}
