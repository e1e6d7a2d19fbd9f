//! # control/coverage-complete
//! Everything the plan expects at this stage was looked at, and what was looked at is what this attempt built.
//!
//! ## What it does
//! Each check that the attempt's plan expects at this stage must have a statement of this attempt in the log; this is
//! attestation coverage, and missing ones count in its denominator. From the integration stage on, everything a
//! statement examines by digest must be a product of this attempt's provenance (or its tree, its configuration, the
//! experiment file itself, the canary's old version), and each statement must examine at least one product. An artifact
//! that was built again after the build gate, or twice before it, fails. A statement that says it was made more than a
//! minute before something that was logged earlier leaves the answer open: the clock was set back.
//!
//! ## Why it matters
//! A check that was skipped, crashed or was killed leaves no trace but its absence. And a test of some other build's
//! artifact is evidence about that artifact only.
//!
//! ## Example
//! The plan expects `experiment:revoke-ledger` at staging and the log holds none of this attempt: 1 of 2.
//!
//! ## What to do instead
//! Run the stage again and let it end. Where another build's artifact was examined, start the services from what
//! `release` built.
//!
//! ## References
//! - in-toto specification, <https://github.com/in-toto/specification/blob/master/in-toto-spec.md>
//! - SLSA, verifying artifacts, <https://slsa.dev/spec/v1.0/verifying-artifacts>

use std::collections::BTreeSet;

use evidence::predicates::{CANARY, CHAOS, CanaryRun, ChaosExperiment, PROVENANCE};
use evidence::{Digest, Outcome, Stage, Timestamp};

use crate::builds::exchanged;
use crate::catalogue::{Asked, Entry, Judged};
use crate::history::Seen;
use crate::words::digest;

pub(super) const ENTRY: Entry = Entry {
    id: "coverage-complete",
    stages: &Stage::ALL,
    in_floor: true,
    parameters: &[],
    judge,
    judge_one: None,
    watch: None,
};

fn judge(asked: &Asked) -> Judged {
    let stage = asked.spec.stage;
    let expected: BTreeSet<&str> = asked
        .history
        .attempt
        .expected
        .iter()
        .filter(|(at, _)| *at == stage)
        .map(|(_, check)| check.as_str())
        .collect();
    let mut judged = Judged::pass();
    if expected.is_empty() {
        judged.add(asked.reason(
            Outcome::Indeterminate,
            format!("the plan expects no check at stage {stage}"),
            "at least one check",
            "configure the stage in `proofmark.toml`, or stop before it with `--to`",
        ));
    }
    let mut covered = 0;
    for check in &expected {
        if asked
            .history
            .of_attempt(stage)
            .any(|seen| seen.context.check == **check)
        {
            covered += 1;
            continue;
        }
        judged.add(asked.reason(
            Outcome::Indeterminate,
            format!("check `{check}` left no statement of this attempt in the log"),
            "every check that the plan expects",
            "run the stage again and let it end",
        ));
    }
    judged = judged.merge(set_back(asked));
    if stage >= Stage::Integration {
        judged = judged.merge(exchanged(asked));
        // Provenance made at this stage (of a baseline) names what it made, it examines nothing.
        for seen in asked
            .history
            .current(stage)
            .filter(|seen| seen.statement.predicate_type != PROVENANCE)
        {
            judged = judged.merge(joined(asked, seen));
        }
    }
    judged.note(format!("coverage {covered}/{}", expected.len()));
    judged
}

/// Whether time went on while this stage's evidence was made, up to the time at which it is judged: what expires must
/// not be revived by setting a clock back.
fn set_back(asked: &Asked) -> Judged {
    const ASKS: &str = "evidence whose times follow the log's order";
    const FIX: &str = "run without `--as-of`, or with a later time";
    let mut judged = Judged::pass();
    for seen in asked.history.current(asked.spec.stage) {
        let newest = asked.history.newest_before(seen.statement.index());
        if let Some(newest) = newest.filter(|newest| precedes(seen.context.at, *newest)) {
            let what = format!(
                "the clock was set back: check `{}` says {}, and something logged before it {newest}",
                seen.context.check, seen.context.at
            );
            judged.add(asked.reason_at(seen, Outcome::Indeterminate, what, ASKS, FIX));
        }
    }
    let newest = asked.history.newest();
    if let Some(newest) = newest.filter(|newest| precedes(asked.facts.now, *newest)) {
        let what = format!(
            "the clock was set back: the gate is asked at {}, and the log holds a statement of {newest}",
            asked.facts.now
        );
        judged.add(asked.reason(Outcome::Indeterminate, what, ASKS, FIX));
    }
    judged
}

/// True when `at` is before `newest` by more than clocks are corrected by.
fn precedes(at: Timestamp, newest: Timestamp) -> bool {
    const CORRECTED_MS_MAX: i128 = 60_000;
    newest.duration_since(at).as_millis() > CORRECTED_MS_MAX
}

/// Whether what a statement examines was built in this attempt.
fn joined(asked: &Asked, seen: &Seen) -> Judged {
    const ASKS: &str = "evidence about what this attempt built";
    const FIX: &str = "start the services from the artifacts that `release` built, and run the stage again";
    let mut judged = Judged::pass();
    let beside = beside(asked, seen);
    let mut products = 0;
    for subject in seen.statement.examined() {
        match subject.sha256() {
            Some(examined) if asked.history.built(examined) => products += 1,
            Some(examined) if beside.contains(&examined) => {}
            Some(examined) => judged.add(asked.reason_at(
                seen,
                Outcome::Indeterminate,
                format!(
                    "check `{}` examined `{}` ({}), which is no product of this attempt",
                    seen.context.check,
                    subject.name,
                    digest(examined)
                ),
                ASKS,
                FIX,
            )),
            None => judged.add(asked.reason_at(
                seen,
                Outcome::Indeterminate,
                format!(
                    "check `{}` examined `{}` without a SHA-256",
                    seen.context.check, subject.name
                ),
                ASKS,
                "make the statement with this version of Proofmark",
            )),
        }
    }
    if products == 0 {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!(
                "check `{}` examined nothing that this attempt built",
                seen.context.check
            ),
            ASKS,
            FIX,
        ));
    }
    judged
}

/// What a statement may examine beside products.
fn beside(asked: &Asked, seen: &Seen) -> Vec<Digest> {
    let mut out = vec![asked.history.attempt.tree, asked.history.attempt.configuration];
    out.extend(
        seen.statement
            .predicate_as::<ChaosExperiment>(CHAOS)
            .map(|run| run.digest),
    );
    out.extend(seen.statement.predicate_as::<CanaryRun>(CANARY).and_then(|run| run.old));
    out
}
