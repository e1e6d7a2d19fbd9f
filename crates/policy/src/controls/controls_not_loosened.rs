//! # control/controls-not-loosened
//! Nothing that judged the last promoted release has become weaker.
//!
//! ## What it does
//! Holds the controls of this attempt, at all stages, against those of the attempt that was last promoted. A control
//! that was removed, a parameter that was relaxed, or a step or experiment that the plan no longer holds leaves the
//! answer open until an approver signs `loosened-controls` for this configuration. Where nothing was promoted yet
//! there is nothing to compare with.
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

use crate::catalogue::{Asked, Entry, Judged};
use crate::configuration::loosened;
use crate::history::Standing;
use crate::words::day;

pub(super) const ENTRY: Entry = Entry {
    id: "controls-not-loosened",
    stages: &Stage::ALL,
    parameters: &[],
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
    // What the log says and what the caller declares must both hold.
    let mut found: Vec<String> = [told, previous.map(|previous| previous.controls.as_slice())]
        .into_iter()
        .flatten()
        .flat_map(|before| loosened(before, &attempt.controls))
        .collect();
    for (stage, check) in previous.map_or(&[][..], |previous| &previous.expected) {
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
            "no control weaker than at the last promoted release",
            "put it back, or have an approver run `proofmark approve loosened-controls`",
        ));
    }
    judged
}
