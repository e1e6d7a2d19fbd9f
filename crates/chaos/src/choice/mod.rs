//! What to attack next: risk × threat prevalence × posterior uncertainty ÷ cost, by Thompson sampling.
//!
//! Each candidate, an experiment that could run, has a Beta posterior of the probability that it shows a weakness,
//! learnt from its own runs and its neighbours' (`posterior.rs`). One draw of it (`draw.rs`) is multiplied by what a
//! weakness there would matter (risk), by how common the attack is (`prevalence.toml`), by what is still unknown
//! (uncertainty), and divided by what finding out costs. The highest goes first, but for one rule: each technique runs
//! at least once in so many releases.
//!
//! It only orders. What the owner's settings have something against is never proposed, and no run changes what is: the
//! objections are decided before, and what is above the highest rung to propose is left out here. It runs nothing,
//! reads no log and no clock, and its only randomness is the seed: the same candidates, runs and seed give the same
//! choice, byte for byte.
//!
//! Start reading at [`choose`].

mod draw;
mod posterior;
mod prevalence;
mod settings;

use std::collections::{BTreeMap, BTreeSet};

use evidence::Digest;

use crate::declare::Rung;
use crate::experiment::Experiment;
use crate::fault::Effect;
use crate::settings::Settings;

use draw::Draws;
use posterior::Posterior;

pub use posterior::{Belief, Beta, Share, Trial};
pub use prevalence::{Prevalence, prevalence};
pub use settings::ChoiceSettings;

/// What is left to find out about a candidate that failed in this release already: that it failed by chance.
const KNOWN: f64 = 0.01;
/// A run that takes this long, or longer, costs half as much again as one that takes no time.
const COST_SECONDS: f64 = 300.0;
/// Criticality of what is not declared: the worst.
const CRITICALITY_MAX: u64 = 5;

/// The page of the prevalence catalogue, as `explain chaos/prevalence` prints it: Markdown.
pub fn prevalence_page() -> String {
    let lines = prevalence::TEXT.lines().map_while(|line| line.strip_prefix('#'));
    lines
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}

/// What runs have in common: the groups that learn from one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traits {
    /// Catalogue ids: `sql-read-only`.
    pub faults: Vec<String>,
    /// First words of the ids: `sql`.
    pub families: Vec<String>,
    /// ATT&CK ids.
    pub techniques: Vec<String>,
    /// Declared targets, by name.
    pub targets: Vec<String>,
    /// Kinds of targets; `environment` for what attacks none that is declared.
    pub kinds: Vec<String>,
}

impl Traits {
    /// Of faults by catalogue id, with or without `chaos/` before it, on targets by name.
    pub fn of<'n>(faults: impl Iterator<Item = &'n str>, targets: &[String], settings: &Settings) -> Traits {
        let mut traits = Traits::default();
        for id in faults.map(|id| id.strip_prefix("chaos/").unwrap_or(id)) {
            traits.faults.push(id.to_owned());
            let family = id.split('-').next().unwrap_or(id).trim_end_matches('s');
            traits.families.push(family.to_owned());
            let entry = crate::faults().iter().find(|entry| entry.id == id);
            let attack = entry.map_or(&[][..], |entry| entry.attack);
            traits
                .techniques
                .extend(attack.iter().map(|technique| (*technique).to_owned()));
        }
        traits.targets = targets.to_vec();
        let known = targets.iter().filter_map(|name| settings.targets.named(name).ok());
        traits.kinds = known.map(|target| target.kind.name().to_owned()).collect();
        if targets.is_empty() {
            traits.kinds.push("environment".to_owned());
        }
        for names in [
            &mut traits.faults,
            &mut traits.families,
            &mut traits.techniques,
            &mut traits.targets,
            &mut traits.kinds,
        ] {
            names.sort_unstable();
            names.dedup();
        }
        traits
    }
}

/// Names what an experiment does and to what, whatever its file is called: what its runs are found by in the log.
pub fn identity(pattern: Digest, targets: &[String]) -> String {
    format!("{}@{}", pattern.hex(), targets.join(","))
}

/// An experiment that could run.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its file. Names it in the choice; not two candidates have the same.
    pub path: String,
    /// [`identity`].
    pub identity: String,
    pub traits: Traits,
    /// Of the most critical target: 1 to 5.
    pub criticality: u64,
    /// What its faults may do to a system that is not prepared, at worst: 0 to 1. See [`harm`].
    pub harm: f64,
    pub rung: Rung,
    /// Declared targets that it touches.
    pub reach: u64,
    /// How long it may take, as declared, in seconds.
    pub seconds: f64,
    /// What stands against it by the owner's settings, each in one line. With one it is never proposed.
    pub objections: Vec<String>,
}

impl Candidate {
    pub fn of(experiment: &Experiment, settings: &Settings, objections: Vec<String>) -> Candidate {
        let names = experiment.targets();
        let entries: Vec<_> = experiment.faults.iter().map(|fault| fault.entry()).collect();
        let targets: Vec<_> = names
            .iter()
            .filter_map(|name| settings.targets.named(name).ok())
            .collect();
        Candidate {
            path: experiment.path.clone(),
            identity: identity(experiment.pattern(), &names),
            traits: Traits::of(entries.iter().map(|entry| entry.id), &names, settings),
            criticality: targets
                .iter()
                .map(|target| target.criticality)
                .max()
                .unwrap_or(CRITICALITY_MAX),
            harm: entries.iter().map(|entry| harm(entry.effect)).fold(0.0, f64::max),
            rung: targets.iter().map(|target| target.rung).max().unwrap_or(Rung::Isolated),
            reach: names.len() as u64,
            seconds: experiment.deadline.as_secs_f64(),
            objections,
        }
    }
}

/// What an effect may cost: each of the three properties that is lost, at risk or degraded adds to it, none takes it
/// over 1.
pub fn harm(effect: Effect) -> f64 {
    let of = |words: &str| {
        let kept = words.starts_with("kept");
        match words {
            _ if words.starts_with("lost") => 0.8,
            _ if kept && words.contains("unless") => 0.3,
            _ if kept => 0.0,
            _ if words.starts_with("at ") => 0.6,
            _ => 0.4,
        }
    };
    let kept = [effect.confidentiality, effect.integrity, effect.availability].map(|words| 1.0 - of(words));
    1.0 - kept.into_iter().product::<f64>()
}

/// What the score of a candidate is made of. Risk, prevalence and cost each move it by a factor of two about, what was
/// learnt by more: none of them alone decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// (1 + criticality ÷ 5 × harm) ÷ 2: from 0.5 to 1.
    pub risk: f64,
    /// Of the most prevalent of its techniques; (1 + weight) ÷ 2 of it counts.
    pub prevalence: Prevalence,
    pub belief: Belief,
    /// The draw of the posterior: a probability that its next run shows a weakness.
    pub draw: f64,
    /// What is left to find out by another run: 1 ÷ (1 + its own runs); next to nothing where it is known to fail.
    pub uncertainty: f64,
    /// Log index of the run that showed, in this release, that it fails.
    pub known: Option<u64>,
    /// 1 + seconds ÷ 600 (300 s at most) + a quarter for each target beyond the first + half for each rung above the
    /// lowest: at least 1.
    pub cost: f64,
    /// How long a run is expected to take: the median of earlier ones, or as declared.
    pub seconds: f64,
    /// risk × prevalence × draw × uncertainty ÷ cost.
    pub score: f64,
}

impl Factors {
    /// What the prevalence multiplies the score by: from 0.55 to 1.
    pub fn counted(&self) -> f64 {
        (1.0 + self.prevalence.weight) / 2.0
    }
}

/// Why a candidate was picked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its score was the highest.
    Score,
    /// A technique has to run now to run once in the releases that the rule gives it. `last` is the release of its
    /// last run, counted from 0.
    Due { technique: String, last: Option<u64> },
}

/// One that was picked, before all that follow.
#[derive(Debug, Clone, PartialEq)]
pub struct Pick {
    pub path: String,
    pub factors: Factors,
    pub reason: Reason,
    /// The next best of those that could have been picked instead, and its score.
    pub runner_up: Option<(String, f64)>,
}

/// What to run next, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    pub seed: u64,
    /// The release that it is for, counted from 0.
    pub release: u64,
    pub picks: Vec<Pick>,
    /// Candidates that could have been picked.
    pub allowed: u64,
    /// Never proposed: path, and what stands against it.
    pub refused: Vec<(String, Vec<String>)>,
    /// Techniques that no allowed candidate stands for, though a refused one does.
    pub uncovered: Vec<String>,
    /// Says when the rule can't be kept: more techniques than it gives runs for.
    pub short: Option<String>,
}

/// Picks `count` of the candidates, best first. `release` is the one that is to come, counted from 0: runs since it
/// began count as its own.
pub fn choose(
    candidates: &[Candidate],
    trials: &[Trial],
    release: u64,
    settings: &ChoiceSettings,
    seed: u64,
    count: usize,
) -> Choice {
    let mut sorted: Vec<&Candidate> = candidates.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    sorted.dedup_by(|a, b| a.path == b.path);
    let mut refused = Vec::new();
    let mut left = Vec::new();
    for candidate in sorted {
        match objections(candidate, settings) {
            none if none.is_empty() => left.push(candidate),
            some => refused.push((candidate.path.clone(), some)),
        }
    }
    let mut rule = Rule::of(&left, trials, release, settings, count);
    let allowed = left.len() as u64;
    let covered: BTreeSet<&String> = left.iter().flat_map(|candidate| &candidate.traits.techniques).collect();
    let all = candidates.iter().flat_map(|candidate| &candidate.traits.techniques);
    let uncovered: BTreeSet<&String> = all.filter(|technique| !covered.contains(technique)).collect();
    let posterior = Posterior::of(trials, release);
    let known: Vec<Factors> = left
        .iter()
        .map(|candidate| factors(candidate, &posterior, trials, release, settings))
        .collect();
    let mut open: Vec<(&Candidate, Factors)> = left.into_iter().zip(known).collect();
    let mut picks = Vec::new();
    while picks.len() < count && !open.is_empty() {
        for (candidate, factors) in &mut open {
            drawn(factors, seed, picks.len() as u64, candidate);
        }
        let (at, reason) = rule.pick(&open);
        let (candidate, factors) = open.remove(at);
        rule.ran(&candidate.traits.techniques);
        let second = open.iter().max_by(|a, b| order(a, b));
        picks.push(Pick {
            path: candidate.path.clone(),
            factors,
            reason,
            runner_up: second.map(|(candidate, factors)| (candidate.path.clone(), factors.score)),
        });
    }
    Choice {
        seed,
        release,
        picks,
        allowed,
        refused,
        uncovered: uncovered.into_iter().cloned().collect(),
        short: rule.short,
    }
}

/// What the owner's settings have against it, and that it stands above the highest rung to propose.
fn objections(candidate: &Candidate, settings: &ChoiceSettings) -> Vec<String> {
    let mut against = candidate.objections.clone();
    if candidate.rung > settings.rung_max {
        against.push(format!(
            "it runs on rung `{}`, `rung_max` of `[chaos.choice]` lets `{}` be proposed at most",
            candidate.rung, settings.rung_max
        ));
    }
    against
}

fn factors(
    candidate: &Candidate,
    posterior: &Posterior<'_>,
    trials: &[Trial],
    release: u64,
    settings: &ChoiceSettings,
) -> Factors {
    let own = || trials.iter().filter(|trial| trial.candidate == candidate.identity);
    let belief = posterior.belief(&candidate.identity, &candidate.traits);
    let latest = own().filter(|trial| trial.release >= release && trial.failed.is_some());
    let known = latest
        .max_by_key(|trial| trial.index)
        .filter(|trial| trial.failed == Some(true))
        .map(|trial| trial.index);
    let mut took: Vec<f64> = own()
        .map(|trial| trial.seconds)
        .filter(|seconds| *seconds > 0.0)
        .collect();
    took.sort_by(f64::total_cmp);
    let seconds = took.get(took.len() / 2).copied().unwrap_or(candidate.seconds);
    let rung = Rung::ALL.iter().position(|rung| *rung == candidate.rung).unwrap_or(0);
    let common = candidate.traits.techniques.iter().map(|id| prevalence(id, settings));
    Factors {
        risk: (1.0 + candidate.criticality as f64 / CRITICALITY_MAX as f64 * candidate.harm) / 2.0,
        prevalence: common
            .max_by(|a, b| {
                a.weight
                    .total_cmp(&b.weight)
                    .then_with(|| b.technique.cmp(&a.technique))
            })
            .unwrap_or_else(|| prevalence("none", settings)),
        draw: 0.0,
        uncertainty: known.map_or(1.0, |_| KNOWN) / (1.0 + belief.runs),
        belief,
        known,
        cost: 1.0
            + seconds.min(COST_SECONDS) / COST_SECONDS / 2.0
            + candidate.reach.saturating_sub(1) as f64 / 4.0
            + rung as f64 / 2.0,
        seconds,
        score: 0.0,
    }
}

/// Draws, for one pick.
fn drawn(factors: &mut Factors, seed: u64, pick: u64, candidate: &Candidate) {
    factors.draw = Draws::new(seed, pick, &candidate.path).beta(factors.belief.beta);
    factors.score = factors.risk * factors.counted() * factors.draw * factors.uncertainty / factors.cost;
}

/// By score; of equals the first by name is the greater one.
fn order(a: &(&Candidate, Factors), b: &(&Candidate, Factors)) -> std::cmp::Ordering {
    a.1.score.total_cmp(&b.1.score).then_with(|| b.0.path.cmp(&a.0.path))
}

/// Each technique at least once in so many releases: how many releases each has left, and how many runs there are.
struct Rule {
    /// Releases that a technique has left beyond this one; negative when it is late.
    slack: BTreeMap<String, i64>,
    last: BTreeMap<String, u64>,
    releases: i64,
    /// Runs that this release has room for, and each that follows.
    now: i64,
    runs: i64,
    short: Option<String>,
}

impl Rule {
    fn of(allowed: &[&Candidate], trials: &[Trial], release: u64, settings: &ChoiceSettings, count: usize) -> Rule {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let releases = signed(settings.releases);
        let mut last: BTreeMap<String, u64> = BTreeMap::new();
        let mut tried = BTreeSet::new();
        for trial in trials {
            for technique in &trial.traits.techniques {
                if trial.failed.is_some() {
                    let at = last.entry(technique.clone()).or_insert(trial.release);
                    *at = trial.release.max(*at);
                } else if trial.release >= release {
                    tried.insert(technique);
                }
            }
        }
        let techniques: BTreeSet<&String> = allowed
            .iter()
            .flat_map(|candidate| &candidate.traits.techniques)
            .collect();
        let slack = techniques.iter().map(|technique| {
            // One that never ran counts from the first release on.
            let due = last
                .get(*technique)
                .map_or(releases - 1, |last| signed(*last) + releases);
            let slack = due - signed(release);
            // What could not be judged counts for nothing, but is not tried again and again in one release.
            let slack = if tried.contains(technique) { slack.max(1) } else { slack };
            ((*technique).clone(), slack)
        });
        let done = trials.iter().filter(|trial| trial.release >= release).count() as u64;
        let room = settings.releases * settings.runs;
        let short = (techniques.len() as u64 > room).then(|| {
            format!(
                "{} techniques may need more than the {room} runs that {} releases of {} runs have: `releases` and `runs` of `[chaos.choice]`",
                techniques.len(),
                settings.releases,
                settings.runs
            )
        });
        Rule {
            slack: slack.collect(),
            last,
            releases,
            now: signed(settings.runs.saturating_sub(done)).max(i64::try_from(count).unwrap_or(i64::MAX)),
            runs: signed(settings.runs),
            short,
        }
    }

    /// The best by score, unless a technique has to run now. Not called with nothing to pick from.
    fn pick(&self, open: &[(&Candidate, Factors)]) -> (usize, Reason) {
        let best = |of: &dyn Fn(&Candidate) -> bool| {
            let fit = open.iter().enumerate().filter(|(_, (candidate, _))| of(candidate));
            fit.max_by(|a, b| order(a.1, b.1)).map(|(at, _)| at)
        };
        if let Some(technique) = self.due(open) {
            let at = best(&|candidate| candidate.traits.techniques.contains(&technique));
            let last = self.last.get(&technique).copied();
            if let Some(at) = at {
                return (at, Reason::Due { technique, last });
            }
        }
        (best(&|_| true).unwrap_or(0), Reason::Score)
    }

    /// The technique that is most pressed, once some number of releases has no run to spare: as many techniques end
    /// within it as it has runs (earliest deadline first).
    fn due(&self, open: &[(&Candidate, Factors)]) -> Option<String> {
        let there: BTreeSet<&String> = open
            .iter()
            .flat_map(|(candidate, _)| &candidate.traits.techniques)
            .collect();
        let mut pressed: Vec<(i64, &String)> = self
            .slack
            .iter()
            .filter(|(technique, _)| there.contains(technique))
            .map(|(technique, slack)| (*slack, technique))
            .collect();
        pressed.sort();
        let full = |(position, (slack, _)): (usize, &(i64, &String))| {
            let room = self.now.saturating_add(slack.max(&0).saturating_mul(self.runs));
            i64::try_from(position + 1).unwrap_or(i64::MAX) >= room || *slack < 0
        };
        pressed
            .iter()
            .enumerate()
            .any(full)
            .then(|| pressed.first().map(|(_, technique)| (*technique).clone()))
            .flatten()
    }

    fn ran(&mut self, techniques: &[String]) {
        self.now -= 1;
        for technique in techniques {
            self.slack.insert(technique.clone(), self.releases);
        }
    }
}

#[cfg(test)]
mod tests;
