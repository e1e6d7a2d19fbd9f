//! # control/controls-not-loosened
//! Nothing that judged the last release has become weaker.
//!
//! ## What it does
//! Holds the controls of this attempt, at all stages, against those of the attempt that was last promoted, and of the
//! attempt that last passed this stage before this one began. A control that was removed, a parameter that was relaxed,
//! a step or experiment that the plan no longer holds, or one that changed (`judges` names each with its digest) leaves
//! the answer open until an approver signs `loosened-controls` for this configuration. Where nothing passed yet there
//! is nothing to compare with.
//!
//! ## Why it matters
//! The change that is judged also carries the file that says how it is judged. Without this, the shortest way to a
//! pass is to ask for less, in the same pull request.
//!
//! ## Example
//! A pull request raises `within_seconds` of `revocation-detected` from 5 to 30, and caches credentials.
//!
//! ## What to do instead
//! Put the control back. Where less is really enough, have an approver sign it: that stands in the log with a reason
//! and an end.
//!
//! ## References
//! - SLSA source track, protected branches, <https://slsa.dev/spec/draft/source-requirements>
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>

use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Tighter};
use crate::configuration::loosened;
use crate::history::Standing;
use crate::words::day;

pub(super) const ENTRY: Entry = Entry {
    id: "controls-not-loosened",
    stages: &Stage::ALL,
    in_floor: true,
    parameters: &[Parameter {
        name: "judges",
        kind: Kind::Texts,
        default: None,
        tighter: Tighter::Superset,
        doc: "what judges this release, one text each: steps with their command's digest, experiments with their files' \
              digest, traffic, secured routes, identities, advisory records; taking one away is a loosening",
    }],
    judge,
    judge_one: None,
    watch: None,
};

/// Checks that the project chooses: one that is dropped judges less.
const CHOSEN: [&str; 2] = ["step:", "experiment:"];

fn judge(asked: &Asked) -> Judged {
    let attempt = asked.history.attempt;
    let previous = asked.history.previous();
    let told = asked.facts.previous_controls.as_deref();
    if attempt.previous.is_some() && previous.is_none() && told.is_none() {
        return Judged::because(asked.reason(
            Outcome::Indeterminate,
            "the attempt that was last promoted is named, and what judged it is not known",
            "the controls of the last promoted attempt",
            "give the gate the whole log of the store",
        ));
    }
    let passed = asked.history.passed_before(asked.spec.stage);
    if let Some(passed) = &passed
        && passed.attempt.is_none()
    {
        return Judged::because(asked.reason(
            Outcome::Indeterminate,
            format!(
                "another attempt passed this stage (log index {}), and what judged it is not known",
                passed.index
            ),
            "the controls of the attempt that last passed this stage",
            "give the gate the whole log of the store",
        ));
    }
    let before = [previous, passed.and_then(|passed| passed.attempt)];
    let before = || before.into_iter().flatten();
    // What the log says and what the caller declares must all hold.
    let mut found: Vec<String> = told
        .into_iter()
        .chain(before().map(|attempt| attempt.controls.as_slice()))
        .flat_map(|before| loosened(before, &attempt.controls))
        .collect();
    for (stage, check) in before().flat_map(|attempt| &attempt.expected) {
        let chosen = CHOSEN.iter().any(|prefix| check.starts_with(prefix));
        if chosen && !attempt.expected.iter().any(|(at, now)| at == stage && now == check) {
            found.push(format!("check `{check}` (stage {stage}) was dropped"));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Judged::pass();
    }
    let mut judged = Judged::pass();
    let standing = asked
        .history
        .approval("loosened-controls", attempt.configuration, None, asked.facts.now);
    if let Standing::Holds(approval) = standing {
        for line in found {
            judged.cleared.push(format!(
                "{line}: approved until {} (log index {}): {}",
                day(approval.value.expires),
                approval.index,
                approval.value.reason
            ));
        }
        return judged;
    }
    let ended = match standing {
        Standing::Expired(approval) => {
            format!(
                " (the approval at log index {} ended {})",
                approval.index,
                day(approval.value.expires)
            )
        }
        _ => String::new(),
    };
    for line in found {
        judged.add(asked.reason(
            Outcome::Indeterminate,
            format!("{line}{ended}"),
            "no control weaker than at the last promoted release, or when this stage was last passed",
            format!(
                "put it back, or have an approver run {}",
                asked.approve("loosened-controls")
            ),
        ));
    }
    judged
}
