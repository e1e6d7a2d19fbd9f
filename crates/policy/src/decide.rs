//! The gate, and its preview.

use std::collections::BTreeMap;

use evidence::predicates::Attempt;
use evidence::{
    ControlSpec, Logged, Observation, Outcome, Preview, Reason, Stage, Statement, Timestamp, Verdict, Verified,
};

use crate::catalogue::{Asked, Entry, Judged, controls, sort_reasons};
use crate::configuration::faults;
use crate::history::History;
use crate::observed::{self, Clearing};
use crate::words::did_you_mean;

/// What a gate reads: an attempt, and everything the log of its store holds, of every attempt.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub attempt: &'a Attempt,
    /// In any order. A statement that is left out can only have been one that speaks against: give all of them.
    pub statements: &'a [Logged<Verified<Statement>>],
}

/// What the gate is told beside the log.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The time at which is judged: wall clock, or what `--as-of` states.
    pub now: Timestamp,
    /// The controls in force when the last attempt was promoted; `None` when none was.
    pub previous_controls: Option<Vec<ControlSpec>>,
    /// ATT&CK techniques by the name of the fault that does them, from the catalogue of faults.
    pub techniques: BTreeMap<String, Vec<String>>,
}

/// Whether `stage` of this attempt may be passed.
///
/// Every control that the attempt asks at this stage is in the verdict. Fail beats Indeterminate beats Pass; a stage
/// at which nothing is asked is no pass. The verdict is a function of the set of statements, the attempt and the
/// facts: neither the order of statements nor anything else changes it.
pub fn decide(stage: Stage, evidence: &Evidence, facts: &Facts) -> Verdict {
    let history = History::new(evidence);
    let mut answers: Vec<(String, Judged)> = evidence
        .attempt
        .controls
        .iter()
        .filter(|spec| spec.stage == stage)
        .map(|spec| (spec.id.clone(), judge(spec, &history, facts)))
        .collect();
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut verdict = verdict(stage, answers);
    if verdict.controls.is_empty() {
        verdict.reasons.push(whole(
            format!("no control is asked at stage {stage}"),
            "ask at least one: a new trust root has a floor of them",
        ));
    }
    if evidence
        .statements
        .iter()
        .any(|s| s.verified().trust_root() != evidence.attempt.trust_root)
    {
        verdict.outcome = verdict.outcome.and(Outcome::Indeterminate);
        verdict.reasons.push(whole(
            "evidence was verified against another trust root than the attempt names".to_owned(),
            "verify with the trust root of this attempt, or start a new attempt under the new one",
        ));
    }
    sort_reasons(&mut verdict.reasons);
    verdict
}

/// What a gate would say of these observations: for `check` and the hook, which have nothing signed.
///
/// Each observation comes with its stage and the predicate type it would be stated under. Only controls that can be
/// judged from one of them are in the verdict, whose stage is the first that would not pass, else the last seen.
/// The tree's own suppressions hide findings here, and only here.
pub fn preview(observations: &[(Stage, &str, &Observation)], asked: &[ControlSpec]) -> Preview<Verdict> {
    // `Facts` and `History` are there for controls that read the log; none of those is asked here.
    let facts = Facts {
        now: Timestamp::UNIX_EPOCH,
        previous_controls: None,
        techniques: BTreeMap::new(),
    };
    let attempt = nobody(asked);
    let history = History::new(&Evidence {
        attempt: &attempt,
        statements: &[],
    });
    let mut verdicts = Vec::new();
    for stage in Stage::ALL {
        let mut answers: Vec<(String, Judged)> = Vec::new();
        for spec in asked.iter().filter(|spec| spec.stage == stage) {
            let Some((entry, watch)) = find(&spec.id).and_then(|entry| Some((entry, entry.watch?))) else {
                continue;
            };
            let given = observations
                .iter()
                .filter(|(at, predicate, _)| *at == stage && *predicate == watch.predicate);
            let asked = Asked {
                entry,
                spec,
                history: &history,
                facts: &facts,
            };
            let judged = given
                .map(|(_, _, observation)| observed::judge(&asked, None, observation, watch, Clearing::Suppressions))
                .reduce(Judged::merge);
            answers.extend(judged.map(|judged| (spec.id.clone(), judged)));
        }
        if !answers.is_empty() {
            answers.sort_by(|(a, _), (b, _)| a.cmp(b));
            verdicts.push(verdict(stage, answers));
        }
    }
    let stage = verdicts
        .iter()
        .find(|verdict| verdict.outcome != Outcome::Pass)
        .or(verdicts.last());
    let mut all = Verdict {
        stage: stage.map_or(Stage::Commit, |verdict| verdict.stage),
        outcome: Outcome::all(verdicts.iter().map(|verdict| verdict.outcome)),
        controls: Vec::new(),
        reasons: Vec::new(),
        cleared: Vec::new(),
        notes: Vec::new(),
    };
    for verdict in verdicts {
        all.controls.extend(verdict.controls);
        all.reasons.extend(verdict.reasons);
        all.cleared.extend(verdict.cleared);
        all.notes.extend(verdict.notes);
    }
    all.controls.sort_by(|a, b| a.0.cmp(&b.0));
    sort_reasons(&mut all.reasons);
    Preview(all)
}

pub(crate) fn find(id: &str) -> Option<&'static Entry> {
    controls().iter().find(|entry| entry.id == id)
}

fn judge(spec: &ControlSpec, history: &History, facts: &Facts) -> Judged {
    let Some(entry) = find(&spec.id) else {
        return Judged::because(unknown_control(spec));
    };
    let asked = Asked {
        entry,
        spec,
        history,
        facts,
    };
    let faults = faults(entry, spec);
    if faults.is_empty() {
        return (entry.judge)(&asked);
    }
    let mut judged = Judged::pass();
    for fault in faults {
        let what = fault.message;
        let fix = fault
            .help
            .unwrap_or_else(|| "correct the control's entry and start a new attempt".to_owned());
        judged.add(asked.reason(Outcome::Indeterminate, what, "parameters this program knows", fix));
    }
    judged
}

fn verdict(stage: Stage, answers: Vec<(String, Judged)>) -> Verdict {
    let mut verdict = Verdict {
        stage,
        outcome: Outcome::all(answers.iter().map(|(_, judged)| judged.outcome())),
        controls: Vec::new(),
        reasons: Vec::new(),
        cleared: Vec::new(),
        notes: Vec::new(),
    };
    // What every stage is asked says least about this one: it comes last.
    let mut everywhere = Vec::new();
    for (id, mut judged) in answers {
        let asked_everywhere = controls().iter().any(|entry| entry.id == id && entry.stages.len() > 1);
        let notes = if asked_everywhere {
            &mut everywhere
        } else {
            &mut verdict.notes
        };
        notes.append(&mut judged.notes);
        verdict.cleared.append(&mut judged.cleared);
        verdict.controls.push((id, judged.outcome()));
        verdict.reasons.extend(judged.into_reasons());
    }
    verdict.notes.append(&mut everywhere);
    verdict.cleared.sort();
    verdict.cleared.dedup();
    sort_reasons(&mut verdict.reasons);
    verdict
}

fn unknown_control(spec: &ControlSpec) -> Reason {
    let meant = did_you_mean(&spec.id, controls().iter().map(|entry| entry.id));
    Reason {
        control: format!("control/{}", spec.id),
        outcome: Outcome::Indeterminate,
        id: format!("control/{}", spec.id),
        what: format!("this program knows no control `{}`", spec.id),
        r#where: String::new(),
        why: format!(
            "the attempt asks it at stage {}, and what can't be judged is not passed",
            spec.stage
        ),
        fix: match meant {
            Some(meant) => format!("did you mean `{meant}`? otherwise update Proofmark"),
            None => "update Proofmark, or take the control out where it was added".to_owned(),
        },
        finding: None,
        log_index: None,
    }
}

/// Why the verdict as a whole is open, whatever the controls say.
fn whole(what: String, fix: &str) -> Reason {
    Reason {
        control: "control/coverage-complete".to_owned(),
        outcome: Outcome::Indeterminate,
        id: "control/coverage-complete".to_owned(),
        what,
        r#where: String::new(),
        why: "a gate passes only what its own trust root and controls vouch for".to_owned(),
        fix: fix.to_owned(),
        finding: None,
        log_index: None,
    }
}

/// The attempt of a preview: none.
fn nobody(controls: &[ControlSpec]) -> Attempt {
    let none = evidence::Digest([0; 32]);
    Attempt {
        name: String::new(),
        version: String::new(),
        commit: None,
        tree: none,
        configuration: none,
        policy: none,
        trust_root: none,
        previous: None,
        number: 0,
        controls: controls.to_vec(),
        expected: Vec::new(),
    }
}
