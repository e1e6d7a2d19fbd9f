//! # control/dependency-policy
//! Every package that is pulled in is one the project may use, from a source it may use.
//!
//! ## What it does
//! Reads the dependency review of the commit stage: manifests and lock files held against `[dependencies]` of
//! `proofmark.toml`. Every finding of severity `severity_min` (default `low`) or above fails; a manifest that could
//! not be read leaves the answer open. Where `deny` or `sources` is set, the review must also have been made with at
//! least that list of denied packages, and at most that list of sources.
//!
//! ## Why it matters
//! A package that was taken over, or that comes from a registry nobody watches, runs its code on the build machine
//! before any other check sees it.
//!
//! ## Example
//! `package-lock.json` pulls in `pkg:npm/event-stream`, which the project denies.
//!
//! ## What to do instead
//! Take the package out, or replace it with one that is allowed. Where it is really wanted, change
//! `[dependencies]` in a change of its own; where the trust root holds the list, ask whoever owns that.
//!
//! ## References
//! - SLSA dependency track, <https://slsa.dev/spec/draft/dependency-track>
//! - OpenSSF S2C2F, <https://github.com/ossf/s2c2f/blob/main/specification/framework.md>

use evidence::predicates::DEPENDENCY_REVIEW;
use evidence::{Severity, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::history::Seen;
use crate::lists::{at_least, at_most};
use crate::observed::{Watch, judge_observed};

pub(super) const ENTRY: Entry = Entry {
    id: "dependency-policy",
    stages: &[Stage::Commit],
    in_floor: true,
    parameters: &[
        Parameter {
            name: "deny",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Superset,
            doc: "package URLs that the review must have denied, as its statement's fact `deny` lists them",
        },
        Parameter {
            name: "severity_min",
            kind: Kind::Severity,
            default: Some(Setting::Severity(Severity::Low)),
            tighter: Tighter::Lower,
            doc: "findings below this severity are counted and don't fail",
        },
        Parameter {
            name: "sources",
            kind: Kind::Texts,
            default: None,
            tighter: Tighter::Subset,
            doc: "the only registries the review may have allowed, as its statement's fact `sources` lists them",
        },
    ],
    judge: |asked| asked.each(DEPENDENCY_REVIEW, WATCH.check, one),
    judge_one: Some(one),
    watch: Some(&WATCH),
};

static WATCH: Watch = Watch {
    predicate: DEPENDENCY_REVIEW,
    check: "dependency review",
    finding: ("denied dependency", "denied dependencies"),
    fix: "take the package out, or replace it with one that `[dependencies]` allows",
    must_look: false,
    units: &[],
};

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    (seen.statement.predicate_type == DEPENDENCY_REVIEW).then(|| {
        judge_observed(asked, seen, &WATCH)
            .merge(at_least(asked, seen, "deny"))
            .merge(at_most(asked, seen, "sources"))
    })
}
