//! # control/canary-promoted
//! The new version was shown, on real traffic beside the old one, to be no worse than allowed.
//!
//! ## What it does
//! Reads the canary of the production stage. `promote` passes when an old version with other bytes ran beside it, the
//! new one is a product of this attempt, every measure's e-value for "not worse" reaches `1 / alpha` with an alpha of
//! at most `alpha_max` (default 0.05), none for "worse" does, and the router's weight was read back as 100. `halt`
//! fails. `undecided` leaves the answer open, and so does a first release without an old version, until an approver
//! signs `first-release` for this tree.
//!
//! ## Why it matters
//! Every earlier stage asks about what was thought of. Traffic doesn't think, and finds the rest.
//!
//! ## Example
//! The new version answers 2.3 % of 600 requests with an error, the old one none of 1,200: halted, weight back at 0.
//!
//! ## What to do instead
//! After a halt, read the new version's logs for the measure that is named (`canary/errors`, `canary/slow`) and fix
//! it. When it stays undecided, give it more requests (`production.requests_max`) or a wider margin. For a first
//! release, name a baseline under `[production.baseline]`, or have an approver sign it.
//!
//! ## References
//! - Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical
//!   Science 38 (2023), <https://arxiv.org/abs/2210.01948>
//! - Beyer et al., "The Site Reliability Workbook", chapter 16 (canarying releases), O'Reilly 2018

use evidence::predicates::{CANARY, CanaryRun};
use evidence::{Outcome, Reason, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::history::{Seen, Standing};
use crate::words::{day, digest, names, thousands};

pub(super) const ENTRY: Entry = Entry {
    id: "canary-promoted",
    stages: &[Stage::Production],
    in_floor: true,
    parameters: &[
        Parameter {
            name: "alpha_max",
            kind: Kind::Number,
            default: Some(Setting::Number(0.05)),
            tighter: Tighter::Lower,
            doc: "probability of a wrong answer that the comparison may have been made with at most",
        },
        limit(
            "error_margin_max",
            "how much larger the new one's share of errors may have been allowed to be at most",
        ),
        limit(
            "slow_margin_max",
            "how much larger its share of slow requests may have been allowed to be at most",
        ),
        limit(
            "slow_ms_max",
            "milliseconds from which on a request must have counted as slow",
        ),
    ],
    judge: |asked| {
        let mut judged = asked.each(CANARY, "canary", one);
        for seen in asked.history.current(asked.spec.stage) {
            if let Some(run) = seen.statement.predicate_as::<CanaryRun>(CANARY)
                && !asked.history.built(run.new)
            {
                judged.add(asked.reason_at(
                    seen,
                    Outcome::Fail,
                    format!(
                        "the canary ran {}, which is no product of this attempt",
                        digest(run.new)
                    ),
                    "the artifact that this attempt built",
                    "start the service from the artifact that was built, and run the stage again",
                ));
            }
        }
        judged
    },
    judge_one: Some(one),
    watch: None,
};

/// Limits have no default: the configuration states them, and the next release is held against them.
const fn limit(name: &'static str, doc: &'static str) -> Parameter {
    Parameter {
        name,
        kind: Kind::Number,
        default: None,
        tighter: Tighter::Lower,
        doc,
    }
}

/// The limits the comparison was made with that are wider than the control allows.
fn too_wide(asked: &Asked, run: &CanaryRun) -> Vec<String> {
    ["error_margin", "slow_margin", "slow_ms"]
        .into_iter()
        .filter_map(|name| {
            let most = asked.spec.parameters.get(&format!("{name}_max"))?.as_f64()?;
            let used = run.limits.get(name).copied();
            let fits = used.is_some_and(|used| used <= most);
            (!fits).then(|| match used {
                Some(used) => format!("{name} {used} where at most {most} is allowed"),
                None => format!("no {name} stated where at most {most} is allowed"),
            })
        })
        .collect()
}

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != CANARY {
        return None;
    }
    let Some(run) = seen.statement.predicate_as::<CanaryRun>(CANARY) else {
        return Some(asked.malformed(seen));
    };
    Some(match run.decision.as_str() {
        "halt" => halted(asked, seen, &run),
        _ if run.old.is_none() => first(asked, seen),
        "promote" => promoted(asked, seen, &run),
        "undecided" => Judged::because(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("neither better nor worse was shown: {}", run.reason),
            "a decision on real traffic",
            "send more requests (`production.requests_max`), or widen the margin that is asked for",
        )),
        other => Judged::because(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("the canary's decision is `{other}`, which is none of promote, halt, undecided"),
            "a decision on real traffic",
            "make the statement with this version of Proofmark",
        )),
    })
}

fn halted(asked: &Asked, seen: &Seen, run: &CanaryRun) -> Judged {
    let asks = "a new version that is no worse than allowed";
    let what = format!("the new version was halted: {}", run.reason);
    let fix = "read the new version's logs for the failing requests, fix them, and release again";
    let mut reason = asked.reason_at(seen, Outcome::Fail, what, asks, fix);
    if let Some(measure) = decisive(run, |e, bar| e >= bar) {
        reason.id = format!("canary/{measure}");
    }
    let mut judged = Judged::because(reason);
    if run.final_weight != 0 {
        judged.add(asked.reason_at(
            seen,
            Outcome::Fail,
            format!(
                "the new version was halted and still has {} % of the traffic",
                run.final_weight
            ),
            "a weight of 0 after a halt, read back from the router",
            "take the new version out of the router now",
        ));
    }
    judged
}

fn first(asked: &Asked, seen: &Seen) -> Judged {
    let tree = asked.history.attempt.tree;
    let open = |what: String| {
        let fix = format!(
            "name an older version under `[production.baseline]`, or have an approver run {}",
            asked.approve("first-release")
        );
        Judged::because(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            what,
            "an old version to compare with",
            fix,
        ))
    };
    match asked.history.approval("first-release", tree, None, asked.facts.now) {
        Standing::Holds(approval) => {
            let mut judged = Judged::pass();
            judged.cleared.push(format!(
                "first release of tree {}: approved until {} (log index {}): {}",
                digest(tree),
                day(approval.value.expires),
                approval.index,
                approval.value.reason
            ));
            judged.note("first release, approved");
            judged
        }
        Standing::Expired(approval) => open(format!(
            "there is no old version to compare with, and the approval (log index {}) ended {}",
            approval.index,
            day(approval.value.expires)
        )),
        Standing::None => open("there is no old version to compare with".to_owned()),
    }
}

fn promoted(asked: &Asked, seen: &Seen, run: &CanaryRun) -> Judged {
    let mut judged = Judged::pass();
    let mut open = |what: String, asks: &str, fix: &str| {
        judged.add(asked.reason_at(seen, Outcome::Indeterminate, what, asks, fix));
    };
    if run.old == Some(run.new) {
        open(
            "old and new are the same bytes".to_owned(),
            "an old version that differs from the new one",
            "compare with the last promoted artifact whose digest differs, or with a baseline",
        );
    }
    let alpha_max = asked.number("alpha_max");
    let alpha_fits = run.alpha > 0.0 && run.alpha <= alpha_max;
    if !alpha_fits {
        open(
            format!("the comparison was made with alpha {}", run.alpha),
            &format!("an alpha of at most {alpha_max}"),
            "run the stage again with a smaller alpha",
        );
    }
    let wide = too_wide(asked, run);
    if !wide.is_empty() {
        open(
            format!("the comparison was made with {}", wide.join(", ")),
            "limits no wider than those in force",
            "narrow the limits in `[production]`, and run the stage again",
        );
    }
    let unproven: Vec<&str> = run
        .not_worse
        .iter()
        .filter(|(_, e)| **e < 1.0 / run.alpha)
        .map(|(measure, _)| measure.as_str())
        .collect();
    if alpha_fits && (run.not_worse.is_empty() || !unproven.is_empty()) {
        let what = match unproven.is_empty() {
            true => "promoted without evidence in any measure".to_owned(),
            false => format!("promoted without enough evidence in {}", names(unproven)),
        };
        open(
            what,
            "an e-value of 1 / alpha or above in every measure",
            "send more requests, and run the stage again",
        );
    }
    if run.final_weight != 100 {
        open(
            format!(
                "promoted, and the router's weight was read back as {} %",
                run.final_weight
            ),
            "all traffic on the new version after a promotion",
            "see why the router didn't take its weight, and run the stage again",
        );
    }
    if let Some(measure) = decisive(run, |e, bar| e >= bar) {
        let asks = "a new version that is no worse than allowed";
        let what = format!("promoted although the evidence says that it is worse in `{measure}`");
        let mut reason: Reason = asked.reason_at(
            seen,
            Outcome::Fail,
            what,
            asks,
            "take the new version out of the router",
        );
        reason.id = format!("canary/{measure}");
        judged.add(reason);
    }
    if judged.outcome() == Outcome::Pass {
        judged.note(summary(run));
    }
    judged
}

/// The measure with the most evidence for "worse", if it decides.
fn decisive(run: &CanaryRun, decides: fn(f64, f64) -> bool) -> Option<&str> {
    run.worse
        .iter()
        .filter(|(_, e)| decides(**e, 1.0 / run.alpha))
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(measure, _)| measure.as_str())
}

/// `promoted after 4,120 requests (errors 0.02 % against 0.00 %, e-value 31)`.
fn summary(run: &CanaryRun) -> String {
    let requests: u64 = run.arms.values().map(|arm| arm.requests).fold(0, u64::saturating_add);
    let share = |arm: &str| {
        let arm = run.arms.get(arm)?;
        (arm.requests > 0).then(|| format!("{:.2} %", arm.errors as f64 / arm.requests as f64 * 100.0))
    };
    let share = |arm: &str| share(arm).unwrap_or_else(|| "n/a (n = 0)".to_owned());
    let e_value = run.not_worse.values().copied().fold(f64::INFINITY, f64::min);
    format!(
        "promoted after {} requests (errors {} against {}, e-value {e_value:.0})",
        thousands(requests),
        share("new"),
        share("old"),
    )
}
