//! # control/experiments-complete
//! Every experiment the plan holds was run to its end, and left nothing behind.
//!
//! ## What it does
//! Each expected experiment must have a statement in this attempt. Its run must be judgeable (nothing unknown, every
//! fault bit, every detector passed its self-test), the system steady before, and steady after, and every fault
//! undone. What can't be judged leaves the answer open; a system that isn't steady after, or a fault that is still
//! there, fails. A plan without any experiment leaves it open too.
//!
//! ## Why it matters
//! An experiment that couldn't be run says nothing, and it is easy to read nothing as nothing bad.
//!
//! ## Example
//! `experiments/degrade-link.toml` names a link that no service uses: its fault never bites.
//!
//! ## What to do instead
//! Correct the experiment until its fault bites on a steady system, then release again. To drop an experiment, drop
//! its line in `staging.experiments`, where a reviewer sees it.
//!
//! ## References
//! - Principles of chaos engineering, <https://principlesofchaos.org/>
//! - Chaos Toolkit, steady-state hypothesis, <https://chaostoolkit.org/reference/concepts/>

use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged};
use crate::chaos::{Run, left_behind, reason, run, unfit};
use crate::history::Seen;
use crate::words::count;

pub(super) const ENTRY: Entry = Entry {
    id: "experiments-complete",
    stages: &[Stage::Staging],
    in_floor: true,
    parameters: &[],
    judge,
    judge_one: Some(one),
    watch: None,
};

const PREFIX: &str = "experiment:";

fn judge(asked: &Asked) -> Judged {
    let current: Vec<_> = asked.history.current(asked.spec.stage).collect();
    let expected: Vec<&str> = asked
        .history
        .attempt
        .expected
        .iter()
        .filter(|(stage, check)| *stage == asked.spec.stage && check.starts_with(PREFIX))
        .map(|(_, check)| check.as_str())
        .collect();
    let mut judged = Judged::pass();
    if expected.is_empty() {
        judged.add(asked.reason(
            Outcome::Indeterminate,
            "the plan holds no experiment",
            "at least one experiment",
            "name one under `staging.experiments` in `proofmark.toml`",
        ));
    }
    for check in &expected {
        if !current
            .iter()
            .any(|seen| seen.context.check == **check && !matches!(run(seen), Run::Other))
        {
            let name = &check[PREFIX.len()..];
            judged.add(asked.reason(
                Outcome::Indeterminate,
                format!("experiment `{name}` left no result in the log"),
                &format!("the result of experiment `{name}`"),
                "run the stage again and let the experiment end",
            ));
        }
    }
    judged = current
        .iter()
        .filter_map(|seen| one(asked, seen))
        .fold(judged, Judged::merge);
    if judged.outcome() == Outcome::Pass {
        judged.note(count(expected.len() as u64, "experiment", "experiments"));
    }
    judged
}

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    let run = match run(seen) {
        Run::Other => return None,
        Run::Malformed => return Some(asked.malformed(seen)),
        Run::Of(run) => run,
    };
    let mut judged = Judged::pass();
    for reason in unfit(asked, seen, &run)
        .into_iter()
        .chain(left_behind(asked, seen, &run))
    {
        judged.add(reason);
    }
    if run.steady_before && !run.steady_after {
        judged.add(reason(
            asked,
            seen,
            &run,
            Outcome::Fail,
            "the system was not steady after the experiment",
            "a steady state after every experiment",
            "see in the services' logs what still failed; a restart that is needed by hand is a finding",
        ));
    }
    Some(judged)
}
