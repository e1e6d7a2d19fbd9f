//! # control/no-rerun
//! Nothing that failed on this tree was run again until it passed.
//!
//! ## What it does
//! Reads this stage's statements of every attempt on the same tree. Where a check failed and later passed under the
//! same configuration, the answer stays open until an approver signs `rerun` for this tree, after the failure; both
//! log indices are shown. A canary beside an old version that was left undecided and run again counts in the same way,
//! whatever the later run said. A failure that was not followed by a pass under the same configuration stands, whatever
//! passed under another. What failed and what passed is for the control that reads the statement to say, each
//! statement by itself; a finding that is waived now doesn't count then either.
//!
//! ## Why it matters
//! A check that fails one time in three passes nearly always if one may try five times. What it found one time in
//! three is still there.
//!
//! ## Example
//! Step `unit-tests` failed at log index 41 and passed at 58, on the same tree.
//!
//! ## What to do instead
//! Find out why it failed; a change to the tree starts afresh. Where the cause lay outside (a full disk), have an
//! approver sign `rerun` with that reason.
//!
//! ## References
//! - Luo et al., "An empirical analysis of flaky tests", FSE 2014, <https://doi.org/10.1145/2635868.2635920>
//! - Simmons, Nelson, Simonsohn, "False-positive psychology", Psychological Science 22 (2011), on stopping when it
//!   suits, <https://doi.org/10.1177/0956797611417632>

use std::collections::{BTreeMap, BTreeSet};

use evidence::predicates::{CANARY, CanaryRun};
use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged};
use crate::decide::find;
use crate::history::{Seen, Standing};
use crate::words::{day, digest};

pub(super) const ENTRY: Entry = Entry {
    id: "no-rerun",
    stages: &Stage::ALL,
    in_floor: true,
    parameters: &[],
    judge,
    judge_one: None,
    watch: None,
};

fn judge(asked: &Asked) -> Judged {
    let mut by_check: BTreeMap<(&str, &str), Vec<(&Seen, Outcome)>> = BTreeMap::new();
    for seen in asked.history.of_tree(asked.spec.stage) {
        if let Some(outcome) = isolated(asked, seen) {
            let key = (seen.context.check.as_str(), seen.statement.predicate_type.as_str());
            by_check.entry(key).or_default().push((seen, outcome));
        }
    }
    by_check
        .into_iter()
        .map(|((check, _), runs)| one_check(asked, check, &runs))
        .fold(Judged::pass(), Judged::merge)
}

/// What the controls asked at this stage say of a statement alone; `None` when none reads it.
fn isolated(asked: &Asked, seen: &Seen) -> Option<Outcome> {
    let specs = asked
        .history
        .attempt
        .controls
        .iter()
        .filter(|spec| spec.stage == asked.spec.stage);
    let outcomes = specs.filter_map(|spec| {
        let entry = find(&spec.id)?;
        Some((entry.judge_one?)(&Asked { entry, spec, ..*asked }, seen)?.outcome())
    });
    outcomes.reduce(Outcome::and)
}

/// The runs of one check, in order of log index.
fn one_check(asked: &Asked, check: &str, runs: &[(&Seen, Outcome)]) -> Judged {
    let own: BTreeSet<u64> = asked
        .history
        .current(asked.spec.stage)
        .map(|seen| seen.statement.index())
        .collect();
    let mut judged = Judged::pass();
    for (failed, _) in runs.iter().filter(|(_, outcome)| *outcome == Outcome::Fail) {
        let index = failed.statement.index();
        if own.contains(&index) {
            // The control that reads it says so itself.
            continue;
        }
        let passed = runs.iter().rev().find(|(seen, outcome)| {
            *outcome == Outcome::Pass && seen.statement.index() > index && seen.context.config == failed.context.config
        });
        judged = judged.merge(match passed {
            Some((passed, _)) => run_again(asked, check, (failed, "failed"), (passed, "passed")),
            None if still_failing(&own, runs) => Judged::pass(),
            None => stands(asked, check, failed),
        });
    }
    for (open, _) in runs.iter().filter(|(seen, _)| undecided(seen)) {
        let index = open.statement.index();
        let later = runs.iter().rev().find(|(seen, _)| seen.statement.index() > index);
        if let Some((later, outcome)) = later.filter(|_| !own.contains(&index)) {
            let then = match outcome {
                Outcome::Pass => "passed",
                Outcome::Fail => "failed",
                Outcome::Indeterminate => "was run again",
            };
            judged = judged.merge(run_again(asked, check, (open, "was undecided"), (later, then)));
        }
    }
    judged
}

/// True of a canary that had something to compare with and came to no decision: every further run is one more draw.
fn undecided(seen: &Seen) -> bool {
    let run: Option<CanaryRun> = seen.statement.predicate_as(CANARY);
    run.is_some_and(|run| run.decision == "undecided" && run.old.is_some())
}

/// True when this attempt's own run of the check fails: its control reports that, and an earlier failure adds nothing.
fn still_failing(own: &BTreeSet<u64>, runs: &[(&Seen, Outcome)]) -> bool {
    runs.iter()
        .any(|(seen, outcome)| *outcome == Outcome::Fail && own.contains(&seen.statement.index()))
}

/// Two runs of one check, each with what became of it in words.
fn run_again(asked: &Asked, check: &str, (failed, first): (&Seen, &str), (passed, then): (&Seen, &str)) -> Judged {
    let tree = asked.history.attempt.tree;
    let (before, after) = (failed.statement.index(), passed.statement.index());
    let story =
        format!("check `{check}` {first} at log index {before} and {then} at log index {after} on the same tree");
    let standing = asked.history.approval("rerun", tree, Some(before), asked.facts.now);
    if let Standing::Holds(approval) = standing {
        let mut judged = Judged::pass();
        judged.cleared.push(format!(
            "{story}: approved until {} (log index {}): {}",
            day(approval.value.expires),
            approval.index,
            approval.value.reason
        ));
        return judged;
    }
    let ended = match standing {
        Standing::Expired(approval) => {
            format!(
                "; the approval at log index {} ended {}",
                approval.index,
                day(approval.value.expires)
            )
        }
        _ => String::new(),
    };
    let mut reason = asked.reason_at(
        failed,
        Outcome::Indeterminate,
        format!("{story}{ended}"),
        "no check run again until it passes",
        format!(
            "find out why and change the tree, or have an approver run {}",
            asked.approve("rerun")
        ),
    );
    reason.r#where = format!("log index {before}, log index {after}");
    Judged::because(reason)
}

fn stands(asked: &Asked, check: &str, failed: &Seen) -> Judged {
    Judged::because(asked.reason_at(
        failed,
        Outcome::Fail,
        format!(
            "check `{check}` failed at log index {} on the same tree (configuration {}) and has not passed since",
            failed.statement.index(),
            digest(failed.context.config)
        ),
        "every failure on this tree settled under the configuration it was found with",
        "fix what failed, which changes the tree, or run the check again under the configuration it failed with",
    ))
}
