//! # control/detection-proven
//! An attack of a certain kind is noticed in time, nearly always, and that was shown lately.
//!
//! ## What it does
//! Reads every run of an experiment in this store's log that is at most `evidence_days` old (default 30) and injected one
//! of `faults` (`credential-revoked`), or a fault of one of `techniques` (ATT&CK: `T1078`). A run counts as detected when a
//! detector that passed its self-test and had not fired before fired within `within_seconds` (default 30) of the start of
//! the injection. One that was never detected, or later, counts as not detected; it is not dropped.
//!
//! It holds when the one-sided 95 % lower bound of the share detected (Wilson 1927) is at least `probability` (default
//! 0.9). That takes 25 runs without a miss for 0.9, 11 for 0.8; a share alone is easily had by luck. `runs_min` (default
//! 5) may ask for more. Where the share itself is below `probability` it fails; where only the bound is, too few runs are
//! known, and the answer is open.
//!
//! Each fault and technique that is named has to hold by itself, and so has each part of its runs that attacked the same
//! targets on the same rung (where none is declared: that came from the same experiment file), so that many easy runs
//! don't thin out the hard ones. Each digest in `experiments` has to hold by itself too.
//!
//! A run that could not be judged, that did not bite, or that injected something else beside it and was detected, counts
//! neither way. But where such runs, taken as not detected, would bring the bound below, the answer is open: leaving out
//! what looks bad is no way to a better figure. What was killed before it could be recorded can't be counted.
//!
//! ## Why it matters
//! That somebody noticed once proves that it can happen. Whoever decides on it wants to know how often it does, and
//! whether that is still so.
//!
//! ## Example
//! ```toml
//! [[control]]
//! id = "detection-proven"
//! stage = "production"
//! faults = ["credential-revoked"]
//! within_seconds = 30
//! probability = 0.9
//! evidence_days = 30
//! ```
//!
//! ## What to do instead
//! Run the experiment as often as the bound takes (`proofmark chaos run`), on a schedule, so that evidence never gets too
//! old. Look at each miss: a detector that polls too slowly, a log that was not shipped.
//!
//! ## References
//! - Wilson, Probable inference, the law of succession, and statistical inference (1927),
//!   <https://doi.org/10.1080/01621459.1927.10502953>
//! - NIST CSF 2.0 DE.CM and ID.IM-02, <https://doi.org/10.6028/NIST.CSWP.29>
//! - MITRE ATT&CK, <https://attack.mitre.org/>

use std::collections::{BTreeMap, BTreeSet};

use evidence::predicates::ChaosExperiment;
use evidence::{Digest, Outcome, Reason, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::chaos::{Run, fault_name, run, unfit};
use crate::history::Seen;
use crate::words::{count, names};

pub(super) const ENTRY: Entry = Entry {
    id: "detection-proven",
    stages: &Stage::ALL,
    // It asks about an attack that somebody has to name.
    in_floor: false,
    parameters: &[
        Parameter {
            name: "evidence_days",
            kind: Kind::Integer,
            default: Some(Setting::Integer(30)),
            tighter: Tighter::Lower,
            doc: "days after which a run counts no more",
        },
        Parameter {
            name: "experiments",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Superset,
            doc: "SHA-256 digests of experiment files whose runs have to suffice by themselves",
        },
        Parameter {
            name: "faults",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Superset,
            doc: "ids of faults, each of which has to be noticed",
        },
        Parameter {
            name: "probability",
            kind: Kind::Number,
            default: Some(Setting::Number(0.9)),
            tighter: Tighter::Higher,
            doc: "what the one-sided 95 % lower bound of the share detected has to reach, from 0 to 1",
        },
        Parameter {
            name: "runs_min",
            kind: Kind::Integer,
            default: Some(Setting::Integer(5)),
            tighter: Tighter::Higher,
            doc: "runs that have to be known at least",
        },
        Parameter {
            name: "techniques",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Superset,
            doc: "ATT&CK techniques, each of which has to be noticed whichever fault does it; sub-techniques are part of theirs",
        },
        Parameter {
            name: "within_seconds",
            kind: Kind::Integer,
            default: Some(Setting::Integer(30)),
            tighter: Tighter::Lower,
            doc: "seconds from the start of injection by which a detector must have fired",
        },
    ],
    judge,
    judge_one: None,
    watch: None,
};

fn judge(asked: &Asked) -> Judged {
    let faults = asked.texts("faults").unwrap_or_default();
    let techniques = asked.texts("techniques").unwrap_or_default();
    if faults.is_empty() && techniques.is_empty() {
        return Judged::because(asked.reason(
            Outcome::Indeterminate,
            "it names neither a fault nor a technique",
            "an attack to be noticed",
            "write `faults = [\"credential-revoked\"]`, or `techniques`, under the control",
        ));
    }
    let runs = runs(asked);
    let mut judged = Judged::pass();
    for fault in faults {
        let id = fault.rsplit('/').next().unwrap_or(fault);
        let is_it = |name: &str| name == id;
        judged = judged.merge(attack(asked, &format!("`{id}`"), &runs, &is_it));
    }
    for technique in techniques {
        let tagged = |name: &str| {
            let tags = asked.facts.techniques.get(name);
            tags.is_some_and(|tags| tags.iter().any(|tag| is_part(tag, technique)))
        };
        judged = judged.merge(attack(asked, technique, &runs, &tagged));
    }
    judged
}

/// `T1078.004` is part of `T1078`.
fn is_part(tag: &str, technique: &str) -> bool {
    tag.strip_prefix(technique)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// A run that is new enough.
struct Recent<'a> {
    seen: &'a Seen<'a>,
    run: ChaosExperiment,
}

/// Every run in the log that is not too old. The same statement counts once, however often it was logged; one that says
/// it comes from the future counts not at all.
fn runs<'a>(asked: &Asked<'a>) -> Vec<Recent<'a>> {
    const DAY_SECONDS: i64 = 24 * 60 * 60;
    let days = i64::try_from(asked.integer("evidence_days")).unwrap_or(i64::MAX);
    let mut known = BTreeSet::new();
    let recent = |seen: &&Seen| {
        let age = asked.facts.now.as_second().saturating_sub(seen.context.at.as_second());
        (0..=days.saturating_mul(DAY_SECONDS)).contains(&age)
    };
    let each = |seen: &'a Seen<'a>| match run(seen) {
        Run::Of(run) => Some(Recent { seen, run: *run }),
        Run::Other | Run::Malformed => None,
    };
    asked
        .history
        .all()
        .filter(recent)
        .filter_map(each)
        .filter(|recent| {
            known.insert(Digest::of(&evidence::to_canonical(
                recent.seen.statement.verified().value(),
            )))
        })
        .collect()
}

/// How runs of one kind went.
#[derive(Default)]
struct Tally {
    detected: u64,
    missed: u64,
    /// Not judged, though something may have been injected.
    unknown: u64,
}

impl Tally {
    fn add(&mut self, verdict: Noticed) {
        match verdict {
            Noticed::InTime => self.detected += 1,
            Noticed::Not => self.missed += 1,
            Noticed::Unknown => self.unknown += 1,
        }
    }

    fn known(&self) -> u64 {
        self.detected + self.missed
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noticed {
    InTime,
    Not,
    Unknown,
}

/// One fault or technique: every part of its runs.
fn attack(asked: &Asked, what: &str, runs: &[Recent], is_it: &dyn Fn(&str) -> bool) -> Judged {
    let mut parts: BTreeMap<String, Tally> = BTreeMap::new();
    let demanded = asked.texts("experiments").unwrap_or_default();
    for digest in &demanded {
        parts.insert(format!("experiment {digest}"), Tally::default());
    }
    for recent in runs
        .iter()
        .filter(|recent| recent.run.faults.iter().any(|fault| is_it(fault_name(fault))))
    {
        let noticed = noticed(asked, recent, is_it);
        parts.entry(place(&recent.run)).or_default().add(noticed);
        let hex = recent.run.digest.hex();
        for digest in demanded
            .iter()
            .filter(|digest| digest.trim_start_matches("sha256:") == hex)
        {
            parts.entry(format!("experiment {digest}")).or_default().add(noticed);
        }
    }
    if parts.is_empty() {
        parts.insert(String::new(), Tally::default());
    }
    let mut judged = Judged::pass();
    for (place, tally) in &parts {
        match shown(asked, what, place, tally) {
            Ok(note) => judged.note(note),
            Err(reason) => judged.add(*reason),
        }
    }
    judged
}

/// What a run attacked, in words; runs of different places are never added up.
fn place(run: &ChaosExperiment) -> String {
    if run.targets.is_empty() {
        return run.experiment.clone();
    }
    let rung = run.rung.as_deref().unwrap_or("no rung");
    format!("{} ({rung})", names(run.targets.iter().map(String::as_str)))
}

fn noticed(asked: &Asked, recent: &Recent, is_it: &dyn Fn(&str) -> bool) -> Noticed {
    let run = &recent.run;
    if !unfit(asked, recent.seen, run).is_empty() {
        return Noticed::Unknown;
    }
    let within_us = asked.integer("within_seconds").saturating_mul(1_000_000);
    let credited = run
        .detectors
        .iter()
        .filter(|detector| detector.self_test && !detector.false_alarm)
        .filter_map(|detector| detector.detected_us)
        .min();
    if credited.is_none_or(|credited| credited > within_us) || run.detected_us.is_none() {
        return Noticed::Not;
    }
    // What was noticed may have been the other fault.
    if run.faults.iter().all(|fault| is_it(fault_name(fault))) {
        Noticed::InTime
    } else {
        Noticed::Unknown
    }
}

/// A note where it holds, and the reason where it doesn't.
fn shown(asked: &Asked, what: &str, place: &str, tally: &Tally) -> Result<String, Box<Reason>> {
    let (probability, within) = (asked.number("probability"), asked.integer("within_seconds"));
    let days = asked.integer("evidence_days");
    let at = if place.is_empty() {
        String::new()
    } else {
        format!(" of {place}")
    };
    let (known, runs_min) = (tally.known(), asked.integer("runs_min").max(1));
    let asks = format!(
        "{what} noticed within {within} s with a probability of at least {probability} (one-sided 95 % lower bound), \
         evidence at most {days} days old"
    );
    let reason = |outcome, what: String, fix: String| Box::new(asked.reason(outcome, what, &asks, fix));
    let unknown = match tally.unknown {
        0 => String::new(),
        n => format!("; {} could not be judged", count(n, "run", "runs")),
    };
    let more = |lacking: u64| {
        format!(
            "run it {} more (`proofmark chaos run`), or see why runs can't be judged",
            times(lacking)
        )
    };
    let Some(bound) = statistics::wilson_low(tally.detected, known).filter(|_| known >= runs_min) else {
        let found = format!(
            "{what}{at}: {} known in the last {days} days, {runs_min} are the least{unknown}",
            count(known, "run is", "runs are")
        );
        return Err(reason(Outcome::Indeterminate, found, more(runs_min - known)));
    };
    let share = tally.detected as f64 / known as f64;
    let figures = format!(
        "{what}{at}: noticed within {within} s in {} of {} (share {share:.3}, lower bound {bound:.3}){unknown}",
        tally.detected,
        count(known, "run", "runs")
    );
    if share < probability {
        let fix =
            "see why it was not noticed, mend the detectors, and run it again: misses count until they are too old";
        return Err(reason(Outcome::Fail, figures, fix.to_owned()));
    }
    if bound < probability {
        let lacking = lacking(tally.detected, known, probability);
        return Err(reason(Outcome::Indeterminate, figures, more(lacking)));
    }
    let at_worst = statistics::wilson_low(tally.detected, known + tally.unknown);
    if at_worst.is_none_or(|worst| worst < probability) {
        let found = format!(
            "{figures}; with these as misses the bound is {:.3}",
            at_worst.unwrap_or(0.0)
        );
        let fix = "see why they could not be judged, and run it again".to_owned();
        return Err(reason(Outcome::Indeterminate, found, fix));
    }
    Ok(figures)
}

/// How many more runs it takes where each is noticed.
fn lacking(detected: u64, known: u64, probability: f64) -> u64 {
    const RUNS_MAX: u64 = 100_000;
    let reaches =
        |more: &u64| statistics::wilson_low(detected + more, known + more).is_some_and(|bound| bound >= probability);
    (1..RUNS_MAX).find(reaches).unwrap_or(RUNS_MAX)
}

fn times(n: u64) -> String {
    count(n, "time", "times")
}
