//! # control/steps-passed
//! The team's own linters and tests ran, and none of them failed.
//!
//! ## What it does
//! Every step the plan expects (`[[commit.step]]`) must have a test result in this attempt. `PASSED` and `WARNED`
//! pass, `FAILED` fails, and a step without a result leaves the answer open, as does a plan without any step. Where
//! `steps_required` is set, the plan must hold steps of these names.
//!
//! ## Why it matters
//! Nobody knows better than the team what its code must do. A test that isn't run any more looks exactly like one
//! that passes, unless something asks for it by name.
//!
//! ## Example
//! Step `unit-tests` ends with `cart::total_is_rounded` failed: the commit stage is blocked.
//!
//! ## What to do instead
//! Run the step's command as it stands in `proofmark.toml` and fix what it reports. A test that fails now and then
//! is worth a fix of its own: running it again until it passes is seen by `control/no-rerun`.
//!
//! ## References
//! - in-toto test result, <https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md>
//! - NIST SSDF (SP 800-218), PW.8, <https://doi.org/10.6028/NIST.SP.800-218>

use evidence::predicates::{TEST_RESULT, TestResult};
use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Tighter};
use crate::history::Seen;
use crate::words::{count, names};

pub(super) const ENTRY: Entry = Entry {
    id: "steps-passed",
    stages: &[Stage::Commit],
    in_floor: true,
    parameters: &[Parameter {
        name: "steps_required",
        kind: Kind::Texts,
        default: None,
        tighter: Tighter::Superset,
        doc: "names of steps that the plan must hold, whatever the configuration says",
    }],
    judge,
    judge_one: Some(one),
    watch: None,
};

const PREFIX: &str = "step:";

fn judge(asked: &Asked) -> Judged {
    let expected: Vec<&str> = asked
        .history
        .attempt
        .expected
        .iter()
        .filter(|(stage, _)| *stage == asked.spec.stage)
        .filter_map(|(_, check)| check.strip_prefix(PREFIX))
        .collect();
    let mut judged = Judged::pass();
    if expected.is_empty() {
        judged.add(asked.reason(
            Outcome::Indeterminate,
            "the plan holds no step: no linter and no test was run",
            "the result of at least one step",
            "add a `[[commit.step]]` that runs your tests to `proofmark.toml`",
        ));
    }
    for name in asked.texts("steps_required").unwrap_or_default() {
        if !expected.contains(&name) {
            judged.add(asked.reason(
                Outcome::Fail,
                format!("the plan doesn't hold step `{name}`"),
                &format!("step `{name}`, whatever the configuration says"),
                format!("put the `[[commit.step]]` named `{name}` back into `proofmark.toml`"),
            ));
        }
    }
    let mut passed = 0;
    for name in expected {
        let check = format!("{PREFIX}{name}");
        let results: Vec<_> = asked
            .history
            .current(asked.spec.stage)
            .filter(|seen| seen.context.check == check)
            .filter_map(|seen| Some((seen, one(asked, seen)?)))
            .collect();
        if results.is_empty() {
            judged.add(asked.reason(
                Outcome::Indeterminate,
                format!("step `{name}` left no result in the log"),
                &format!("the result of step `{name}`"),
                "run the stage again and let the step end",
            ));
        }
        for (seen, result) in results {
            let tests = seen.statement.predicate_as::<TestResult>(TEST_RESULT);
            passed += tests.map_or(0, |tests| tests.passed_tests.len() as u64);
            judged = judged.merge(result);
        }
    }
    if passed > 0 {
        judged.note(format!("{} passed", count(passed, "test", "tests")));
    }
    judged
}

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != TEST_RESULT {
        return None;
    }
    let Some(result) = seen.statement.predicate_as::<TestResult>(TEST_RESULT) else {
        return Some(asked.malformed(seen));
    };
    let step = seen.context.check.strip_prefix(PREFIX).unwrap_or(&seen.context.check);
    let mut judged = Judged::pass();
    let failed = !result.failed_tests.is_empty();
    match result.result.as_str() {
        "PASSED" | "WARNED" if !failed => {
            if !result.warned_tests.is_empty() {
                let warnings = count(result.warned_tests.len() as u64, "warning", "warnings");
                judged.note(format!("{warnings} of step `{step}`"));
            }
        }
        "PASSED" | "WARNED" | "FAILED" => {
            let what = if failed {
                let tests = names(result.failed_tests.iter().map(String::as_str));
                format!("step `{step}` failed: {tests}")
            } else {
                format!("step `{step}` failed")
            };
            let asks = format!("step `{step}` to pass");
            let fix = format!("run the command of `[[commit.step]]` `{step}` by hand, and fix what it reports");
            judged.add(asked.reason_at(seen, Outcome::Fail, what, &asks, fix));
        }
        other => judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("step `{step}` has result `{other}`, which is none of PASSED, WARNED, FAILED"),
            "a result of the in-toto test-result predicate",
            "make the statement with this version of Proofmark",
        )),
    }
    Some(judged)
}
