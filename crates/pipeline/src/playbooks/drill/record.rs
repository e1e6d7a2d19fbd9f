//! The after-action record: what was expected, what was done, when and by whom, and where the two differ. A pure
//! function of the two journals and the playbook.

use std::collections::BTreeMap;

use ::playbooks::{Playbook, RunRecord, RunStatus, UnitRecord, WayStep};
use evidence::predicates::{self, Drill, DrillDeviation, DrillExperiment, DrillParticipant, DrillStep, DrillTaken};
use evidence::{Context, Digest, Stage, Statement, Subject, Timestamp};
use serde_json::json;

use super::format::Record;
use super::{Answered, Journal};
use crate::{Error, TOOL};

/// What the engine says of a step whose time is over.
const TIMED_OUT: &str = "ACTION_TIMEOUT";

/// The record of a drill that is closed at `closed`, by its own clock. Notes and actions are the caller's.
pub(super) fn of(
    journal: &Journal,
    playbook: &Playbook,
    walked: &RunRecord,
    closed: Timestamp,
) -> Result<Drill, Error> {
    let announced = journal.announced()?;
    let answers = journal.answers()?;
    let since = |at: Timestamp| u64::try_from(at.duration_since(announced.at).as_micros()).unwrap_or(0);
    let way = playbook.way();
    let answered: BTreeMap<&str, Timestamp> = answers.iter().map(|given| (given.unit.as_str(), given.at)).collect();
    let executions = executions(&way, &walked.units);
    let taken: Vec<DrillTaken> = executions
        .iter()
        .map(|one| one.taken(&answered, &since, announced.live))
        .collect();
    let outcome = match &walked.status {
        RunStatus::Succeeded => "succeeded",
        RunStatus::Failed { .. } => "failed",
        RunStatus::Waiting(_) => "stopped",
    };
    let mut milestones_us = BTreeMap::from([("announced".to_owned(), 0), ("closed".to_owned(), since(closed))]);
    let people = executions.iter().filter(|one| one.person(&way));
    milestones_us.extend(
        people
            .map(|one| one.began())
            .min()
            .map(|at| ("notified".to_owned(), since(at))),
    );
    let first = answers.iter().map(|given| given.at).min();
    milestones_us.extend(first.map(|at| ("acknowledged".to_owned(), since(at))));
    if outcome != "stopped" {
        let last = walked.units.iter().map(|unit| unit.changed).max();
        milestones_us.extend(last.map(|at| ("over".to_owned(), since(at))));
    }
    Ok(Drill {
        playbook: announced.playbook.clone(),
        name: playbook.name().to_owned(),
        digest: *playbook.digest(),
        run: walked.run.clone(),
        announcement: announced.announcement.clone(),
        live: announced.live,
        started: announced.at,
        wall_clock: journal.restarted(crate::now())?,
        experiment: experiment(journal)?,
        outcome: outcome.to_owned(),
        milestones_us,
        participants: participants(&answers),
        deviations: deviations(&way, &executions, &taken, outcome),
        expected: way.iter().map(step).collect(),
        taken,
        notes: Vec::new(),
        actions: Vec::new(),
    })
}

/// About the playbook, of stage staging.
pub(super) fn statement(drill: &Drill, at: Timestamp) -> Statement {
    let context = Context {
        attempt: drill.digest,
        stage: Stage::Staging,
        check: format!("drill:{}", drill.run),
        config: Digest::of(&evidence::to_canonical(
            &json!({"check": "drill", "playbook": drill.digest}),
        )),
        at,
    };
    let subjects = vec![Subject::new(drill.playbook.clone(), drill.digest)];
    Statement::new(predicates::DRILL, subjects, drill, &context)
}

fn step(step: &WayStep<'_>) -> DrillStep {
    DrillStep {
        step: step.id.to_owned(),
        name: step.name.to_owned(),
        person: step.person,
        conditional: step.conditional,
        timeout_us: step.timeout_ms.map(|ms| ms.saturating_mul(1000)),
    }
}

fn experiment(journal: &Journal) -> Result<Option<DrillExperiment>, Error> {
    let Some(file) = journal.announced()?.experiment else {
        return Ok(None);
    };
    let came = journal.records()?.into_iter().find_map(|record| match record {
        Record::Experiment { index, problem } => Some((index, problem)),
        _ => None,
    });
    let (index, problem) = came.unwrap_or((None, Some("the drill was closed before it was over".to_owned())));
    Ok(Some(DrillExperiment { file, index, problem }))
}

/// Who answered, each once, with all keys that signed for them.
fn participants(answers: &[Answered]) -> Vec<DrillParticipant> {
    let mut found: Vec<DrillParticipant> = Vec::new();
    for Answered { by, keys, .. } in answers {
        let at = found.iter().position(|known| known.name == *by).unwrap_or_else(|| {
            found.push(DrillParticipant {
                name: by.clone(),
                keys: Vec::new(),
            });
            found.len() - 1
        });
        for key in keys {
            if !found[at].keys.contains(key) {
                found[at].keys.push(key.clone());
            }
        }
    }
    found
}

/// The commands of one execution of a step.
struct Execution<'a> {
    step: &'a str,
    /// The branch it stands in: what comes before the step in the names of its units.
    branch: &'a str,
    units: Vec<&'a UnitRecord>,
}

/// In order of their beginning. A playbook that another calls is one step of it.
fn executions<'a>(way: &[WayStep<'_>], units: &'a [UnitRecord]) -> Vec<Execution<'a>> {
    let mut found: Vec<Execution<'a>> = Vec::new();
    for unit in units {
        let mut at = 0;
        let mut place: Option<(bool, &str, &str)> = None;
        for part in unit.unit.split('/') {
            let known = way.iter().any(|step| step.id == part);
            // A step that the way doesn't lead to: one of a failure's branch.
            if place.is_none_or(|(known, ..)| !known) && (known || part.contains("--")) {
                place = Some((known, part, &unit.unit[..at]));
            }
            at += part.len() + 1;
        }
        let (_, step, branch) = place.unwrap_or((false, unit.unit.as_str(), ""));
        match found.iter_mut().find(|one| one.step == step && one.branch == branch) {
            Some(one) => one.units.push(unit),
            None => found.push(Execution {
                step,
                branch,
                units: vec![unit],
            }),
        }
    }
    found
}

impl Execution<'_> {
    fn began(&self) -> Timestamp {
        self.units.iter().map(|unit| unit.began).min().unwrap_or_default()
    }

    fn person(&self, way: &[WayStep<'_>]) -> bool {
        let by = self
            .units
            .iter()
            .any(|unit| unit.by.is_some() || unit.state == "waiting");
        by || way.iter().any(|step| step.id == self.step && step.person)
    }

    /// The state of the command that it came to.
    fn state(&self) -> &str {
        let open = self.units.iter().find(|unit| unit.state != "done");
        open.map_or("done", |unit| unit.state.as_str())
    }

    fn taken(&self, answered: &BTreeMap<&str, Timestamp>, since: &dyn Fn(Timestamp) -> u64, live: bool) -> DrillTaken {
        let by = self.units.iter().rev().find_map(|unit| unit.by.clone());
        let over = !matches!(self.state(), "waiting" | "interrupted");
        let ended = self.units.iter().map(|unit| {
            // What a person did was done when they said so, not when it was written down.
            answered.get(unit.unit.as_str()).copied().unwrap_or(unit.changed)
        });
        let outcome = match (self.state(), live || by.is_some()) {
            ("done", false) => "rehearsed",
            (state, _) => state,
        };
        DrillTaken {
            step: self.step.to_owned(),
            name: self.units.first().map_or_else(String::new, |unit| unit.name.clone()),
            by: by.unwrap_or_else(|| if over { TOOL.to_owned() } else { String::new() }),
            began_us: since(self.began()),
            done_us: ended.max().filter(|_| over).map(since),
            outcome: outcome.to_owned(),
        }
    }
}

/// Where it went another way, in order of the steps that were taken, then those that weren't.
fn deviations(
    way: &[WayStep<'_>],
    executions: &[Execution<'_>],
    taken: &[DrillTaken],
    outcome: &str,
) -> Vec<DrillDeviation> {
    let mut found = Vec::new();
    let mut say = |kind: &str, step: &str, what: String| {
        found.push(DrillDeviation {
            kind: kind.to_owned(),
            step: step.to_owned(),
            what,
        });
    };
    // Branches that run side by side have an order each.
    let mut furthest: BTreeMap<&str, usize> = BTreeMap::new();
    for (execution, taken) in executions.iter().zip(taken) {
        match taken.outcome.as_str() {
            state if state.contains(TIMED_OUT) => say("timed-out", &taken.step, state.to_owned()),
            state if state.starts_with("failed") => say("failed", &taken.step, state.to_owned()),
            "waiting" => say("unanswered", &taken.step, format!("nobody answered `{}`", taken.name)),
            "interrupted" => say("failed", &taken.step, format!("`{}` was interrupted", taken.name)),
            _ => {}
        }
        let Some(position) = way.iter().position(|step| step.id == execution.step) else {
            say(
                "unexpected",
                &taken.step,
                format!("`{}` is not on the playbook's way when every step succeeds", taken.name),
            );
            continue;
        };
        let before = furthest.entry(execution.branch).or_insert(position);
        if position < *before {
            say(
                "out-of-order",
                &taken.step,
                format!("`{}` came after a step that follows it", taken.name),
            );
        }
        *before = position.max(*before);
    }
    for step in way.iter().filter(|step| !step.conditional) {
        if executions.iter().all(|one| one.step != step.id) {
            let why = if outcome == "stopped" {
                "was not reached before the drill was closed"
            } else {
                "was never taken"
            };
            say("skipped", step.id, format!("`{}` {why}", step.name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: [WayStep<'static>; 3] = [
        WayStep {
            id: "action--1",
            name: "look",
            person: true,
            conditional: false,
            timeout_ms: None,
        },
        WayStep {
            id: "action--2",
            name: "cut",
            person: false,
            conditional: false,
            timeout_ms: Some(5),
        },
        WayStep {
            id: "action--3",
            name: "tell",
            person: true,
            conditional: true,
            timeout_ms: None,
        },
    ];

    fn unit(unit: &str, second: i64, state: &str, by: Option<&str>) -> UnitRecord {
        UnitRecord {
            unit: unit.to_owned(),
            name: unit.to_owned(),
            began: Timestamp::from_second(second).unwrap(),
            changed: Timestamp::from_second(second + 1).unwrap(),
            state: state.to_owned(),
            by: by.map(str::to_owned),
        }
    }

    /// The kinds and steps of the deviations of a drill in which these units were run.
    #[track_caller]
    fn check(units: &[UnitRecord], outcome: &str, expect: &[(&str, &str)]) {
        let executions = executions(&WAY, units);
        let since = |at: Timestamp| u64::try_from(at.as_microsecond()).unwrap();
        let taken: Vec<DrillTaken> = executions
            .iter()
            .map(|one| one.taken(&BTreeMap::new(), &since, false))
            .collect();
        let found = deviations(&WAY, &executions, &taken, outcome);
        let found: Vec<(&str, &str)> = found.iter().map(|one| (one.kind.as_str(), one.step.as_str())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn each_deviation_is_named() {
        let look = || unit("action--1/0", 1, "done", Some("ann"));
        let cut = |state| unit("action--2/0", 3, state, None);
        check(&[look(), cut("done")], "succeeded", &[]);
        check(&[look()], "failed", &[("skipped", "action--2")]);
        check(&[look(), cut("failed: it broke")], "failed", &[("failed", "action--2")]);
        check(
            &[unit(
                "action--1/0",
                1,
                "failed: `look`: ACTION_TIMEOUT, nobody answered in time",
                None,
            )],
            "failed",
            &[("timed-out", "action--1"), ("skipped", "action--2")],
        );
        check(
            &[unit("action--1/0", 1, "waiting", None)],
            "stopped",
            &[("unanswered", "action--1"), ("skipped", "action--2")],
        );
        check(
            &[look(), cut("done"), unit("action--9/0", 9, "done", None)],
            "succeeded",
            &[("unexpected", "action--9")],
        );
        check(
            &[cut("done"), unit("action--1/0", 9, "done", Some("ann"))],
            "succeeded",
            &[("out-of-order", "action--1")],
        );
        // Side by side, each branch has an order of its own.
        check(
            &[
                unit("parallel--7/1/action--2/0", 1, "done", None),
                unit("parallel--7/0/action--1/0", 1, "done", Some("ann")),
            ],
            "succeeded",
            &[],
        );
    }

    #[test]
    fn what_a_called_playbook_does_is_one_step() {
        let units = [
            unit("action--2", 5, "done", None),
            unit("action--2/call/action--8/0", 3, "done", Some("ann")),
        ];
        let found = executions(&WAY, &units);
        assert_eq!((found.len(), found[0].step), (1, "action--2"));
        assert_eq!(found[0].began(), Timestamp::from_second(3).unwrap());
    }

    #[test]
    fn a_participant_is_told_once_with_all_keys() {
        let key = |id: &str| evidence::KeyId(id.to_owned());
        let answer = |by: &str, id: &str| Answered {
            unit: "u".to_owned(),
            by: by.to_owned(),
            keys: vec![key(id)],
            at: Timestamp::UNIX_EPOCH,
        };
        let found = participants(&[answer("ann", "a"), answer("bob", "a"), answer("ann", "b")]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].keys, [key("a"), key("b")]);
    }
}
