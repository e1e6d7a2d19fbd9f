//! # control/licences-allowed
//! Every component that is shipped has a licence the project accepts.
//!
//! ## What it does
//! Reads the licence check of the build stage: the SPDX expressions of all components held against `[licences]` of
//! `proofmark.toml`. Every finding of severity `severity_min` (default `low`) or above fails; a component whose
//! licence could not be found out leaves the answer open where the check says so. Where `allow` is set, the check
//! must have been made with no licence beyond that list.
//!
//! ## Why it matters
//! A licence is a condition on shipping. Found after the release, it is a choice between a lawyer and a recall.
//!
//! ## Example
//! `left-pad 1.3.0` is WTFPL and shipped, and the project allows MIT and Apache-2.0.
//!
//! ## What to do instead
//! Replace the component, or take it out of what is shipped. Where the licence is acceptable, add it to
//! `licences.allow` in a change of its own.
//!
//! ## References
//! - SPDX licence expressions, <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>
//! - OpenChain, ISO/IEC 5230, <https://openchainproject.org/license-compliance>

use evidence::predicates::LICENCES;
use evidence::{Severity, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::history::Seen;
use crate::lists::at_most;
use crate::observed::{Watch, judge_observed};

pub(super) const ENTRY: Entry = Entry {
    id: "licences-allowed",
    stages: &[Stage::Build],
    in_floor: true,
    parameters: &[
        Parameter {
            name: "allow",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Subset,
            doc: "the only SPDX licences the check may have allowed, as its statement's fact `allow` lists them",
        },
        Parameter {
            name: "severity_min",
            kind: Kind::Severity,
            default: Some(Setting::Severity(Severity::Low)),
            tighter: Tighter::Lower,
            doc: "findings below this severity are counted and don't fail",
        },
    ],
    judge: |asked| asked.each(LICENCES, WATCH.check, one),
    judge_one: Some(one),
    watch: Some(&WATCH),
};

static WATCH: Watch = Watch {
    predicate: LICENCES,
    check: "licence check",
    finding: ("licence problem", "licence problems"),
    fix: "replace the component, or add its licence to `licences.allow` where it is acceptable",
    must_look: false,
    units: &[],
};

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    (seen.statement.predicate_type == LICENCES)
        .then(|| judge_observed(asked, seen, &WATCH).merge(at_most(asked, seen, "allow")))
}
