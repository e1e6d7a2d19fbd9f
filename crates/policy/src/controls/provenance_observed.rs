//! # control/provenance-observed
//! Each artifact has provenance that was observed while it was built, at the SLSA level asked for.
//!
//! ## What it does
//! For each artifact the plan expects there must be SLSA provenance in this attempt that was signed by the role
//! `step`, names Proofmark as builder, names at least one product by digest, says how it was observed, and claims a
//! level of `slsa_level_min` (default 1) or above. A level below it fails; provenance that is missing, or that doesn't
//! say how it was observed, leaves the answer open. The level is what the isolation of the build earned, never what
//! somebody declared.
//!
//! A secret in the artifact or in the build's log fails, and so does an artifact that was built twice in one attempt or
//! again after the build gate had decided. The answer stays open when the tree changed during the build, when the build
//! read what belongs to no digest (files of the tree that are not part of its digest, files outside tree, toolchain,
//! package registry and system folders), or was not seen to write its product.
//!
//! ## Why it matters
//! Everything later is said about bytes. Provenance is what ties these bytes to this source, this command and these
//! materials; without it, a tested artifact may be any artifact.
//!
//! ## Example
//! `ledger` was built by `cargo build` under `proofmark run`: 212 files read, 3 programs executed, SLSA level 2.
//!
//! ## What to do instead
//! List the artifact under `[[build.artifact]]` with the command that builds it, so that `release` builds it itself.
//! For a higher level, build on a host that offers user namespaces and Landlock.
//!
//! ## References
//! - SLSA provenance v1, <https://slsa.dev/spec/v1.0/provenance>
//! - SLSA levels of the build track, <https://slsa.dev/spec/v1.0/levels>

use evidence::predicates::PROVENANCE;
use evidence::{Outcome, Stage};
use serde_json::Value;

use crate::builder::BUILDER_ID_PREFIX;
use crate::builds::exchanged;
use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::history::Seen;
use crate::words::{count, names_up_to};

pub(super) const ENTRY: Entry = Entry {
    id: "provenance-observed",
    stages: &[Stage::Build],
    in_floor: true,
    parameters: &[Parameter {
        name: "slsa_level_min",
        kind: Kind::Integer,
        default: Some(Setting::Integer(1)),
        tighter: Tighter::Higher,
        doc: "the SLSA build level that each artifact's provenance must claim at least",
    }],
    judge,
    judge_one: Some(one),
    watch: None,
};

const PREFIX: &str = "provenance:";

fn judge(asked: &Asked) -> Judged {
    let expected: Vec<&str> = asked
        .history
        .attempt
        .expected
        .iter()
        .filter(|(stage, _)| *stage == asked.spec.stage)
        .filter_map(|(_, check)| check.strip_prefix(PREFIX))
        .collect();
    let mut judged = exchanged(asked);
    if expected.is_empty() {
        judged.add(asked.reason(
            Outcome::Indeterminate,
            "the plan builds no artifact",
            "provenance of at least one artifact",
            "add a `[[build.artifact]]` to `proofmark.toml`",
        ));
    }
    let mut levels = Vec::new();
    for name in &expected {
        let check = format!("{PREFIX}{name}");
        let found: Vec<_> = asked
            .history
            .current(asked.spec.stage)
            .filter(|seen| seen.context.check == check)
            .filter_map(|seen| Some((seen, one(asked, seen)?)))
            .collect();
        if found.is_empty() {
            judged.add(asked.reason(
                Outcome::Indeterminate,
                format!("artifact `{name}` has no provenance in this attempt"),
                &format!("provenance of artifact `{name}`"),
                format!("let `release` build `{name}` to the end"),
            ));
        }
        for (seen, one) in found {
            levels.extend(level(seen));
            judged = judged.merge(one);
        }
    }
    if let (Outcome::Pass, Some(least)) = (judged.outcome(), levels.iter().min()) {
        let artifacts = count(expected.len() as u64, "artifact", "artifacts");
        judged.note(format!("{artifacts}, provenance observed (SLSA L{least})"));
    }
    judged
}

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != PROVENANCE {
        return None;
    }
    let artifact = seen.context.check.strip_prefix(PREFIX).unwrap_or(&seen.context.check);
    let mut judged = Judged::pass();
    let builder = seen
        .statement
        .predicate
        .pointer("/runDetails/builder/id")
        .and_then(Value::as_str)
        .unwrap_or("");
    if !builder.starts_with(BUILDER_ID_PREFIX) {
        judged.add(asked.reason_at(
            seen,
            Outcome::Fail,
            format!("artifact `{artifact}` was built by `{builder}`"),
            &format!("a builder below `{BUILDER_ID_PREFIX}`"),
            "let `release` build it, so that its provenance is observed",
        ));
    } else {
        judged = judged.merge(closed(asked, seen, artifact));
    }
    judged = judged.merge(secrets(asked, seen, artifact));
    if !seen.statement.examined().any(|subject| subject.sha256().is_some()) {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("the provenance of `{artifact}` names no product by its SHA-256"),
            "a product by digest",
            "check that `path` of its `[[build.artifact]]` is the file that its command writes",
        ));
    }
    let method = ours(seen, "method").and_then(Value::as_str).unwrap_or("");
    if ["", "none", "declared"].contains(&method) {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("the provenance of `{artifact}` doesn't say how it was observed"),
            "provenance that was observed, not declared",
            "let `release` build it, or wrap the command in `proofmark run --`",
        ));
    }
    let least = asked.integer("slsa_level_min");
    match level(seen) {
        Some(level) if level >= least => {}
        Some(level) => judged.add(asked.reason_at(
            seen,
            Outcome::Fail,
            format!("artifact `{artifact}` was built at SLSA level {level}"),
            &format!("level {least} or above"),
            format!(
                "build on a host that isolates the step better (isolation was `{}`)",
                ours(seen, "isolation").and_then(Value::as_str).unwrap_or("not stated")
            ),
        )),
        None => judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!("the provenance of `{artifact}` claims no SLSA level"),
            &format!("level {least} or above"),
            "make the statement with this version of Proofmark",
        )),
    }
    Some(judged)
}

/// Whether a secret got out with the build.
fn secrets(asked: &Asked, seen: &Seen, artifact: &str) -> Judged {
    const ASKS: &str = "no secret in an artifact or in the log of its build";
    let mut judged = Judged::pass();
    for (field, place) in [
        ("secretsInArtifact", format!("artifact `{artifact}`")),
        ("secretsInLog", format!("the build log of `{artifact}`")),
    ] {
        match ours(seen, field).map(Value::as_u64) {
            Some(Some(0)) => {}
            Some(Some(n)) => judged.add(asked.reason_at(
                seen,
                Outcome::Fail,
                format!("{} exposed in {place}", count(n, "secret is", "secrets are")),
                ASKS,
                "rotate it, and take it out of what the build reads and prints",
            )),
            // Whoever writes nothing of ours at all is told so where it says neither method nor level.
            None if nothing_of_ours(seen) => {}
            _ => judged.add(asked.reason_at(
                seen,
                Outcome::Indeterminate,
                format!("the provenance doesn't say whether a secret is exposed in {place}"),
                ASKS,
                "make the statement with this version of Proofmark",
            )),
        }
    }
    judged
}

/// Whether the build was made from the tree that was digested, and from nothing that no digest covers.
fn closed(asked: &Asked, seen: &Seen, artifact: &str) -> Judged {
    let mut judged = Judged::pass();
    let mut open = |what: String, asks: &str, fix: &str| {
        judged.add(asked.reason_at(seen, Outcome::Indeterminate, what, asks, fix));
    };
    const TREE: &str = "a tree that is the same after the build";
    let tree = seen
        .statement
        .predicate
        .pointer("/buildDefinition/resolvedDependencies/0/digest/sha256");
    match ours(seen, "treeAfter") {
        Some(after) if after.is_string() && Some(after) == tree => {}
        Some(_) => open(
            format!("artifact `{artifact}`: the tree changed while it was built"),
            TREE,
            "let nothing write into the tree during the build but the build below its output folder, and release again",
        ),
        None => open(
            format!("the provenance of `{artifact}` doesn't say whether the tree changed while it was built"),
            TREE,
            "make the statement with this version of Proofmark",
        ),
    }
    for (field, which, fix) in [
        (
            "undigestedReads",
            "in the tree and not part of its digest",
            "add them to the repository, or don't read them in the build",
        ),
        (
            "outsideReads",
            "outside tree, toolchain, package registry and system folders",
            "add them to the repository, or don't read them in the build",
        ),
    ] {
        let asks = "a build that reads nothing but what a digest covers";
        let Some(listed) = ours(seen, field) else { continue };
        let paths: Option<Vec<&str>> = listed
            .as_array()
            .and_then(|listed| listed.iter().map(Value::as_str).collect());
        match paths {
            Some(paths) if paths.is_empty() => {}
            Some(paths) => open(
                format!("the build of `{artifact}` read {}, {which}", names_up_to(3, paths)),
                asks,
                fix,
            ),
            None => open(
                format!("`{field}` in the provenance of `{artifact}` is not a list of paths"),
                asks,
                "make the statement with this version of Proofmark",
            ),
        }
    }
    if ours(seen, "productWritten").and_then(Value::as_bool) != Some(true) {
        open(
            format!("the build was not seen to write `{artifact}`"),
            "a product that the observed build wrote",
            "check that `path` of its `[[build.artifact]]` is the file that its command writes, and let `release` build it",
        );
    }
    judged
}

fn nothing_of_ours(seen: &Seen) -> bool {
    let ours = seen
        .statement
        .predicate
        .pointer("/buildDefinition/internalParameters/proofmark");
    ours.and_then(Value::as_object).is_none_or(|ours| ours.is_empty())
}

fn level(seen: &Seen) -> Option<u64> {
    ours(seen, "slsaLevel")?.as_u64()
}

/// What Proofmark says beside the standard's fields.
fn ours<'a>(seen: &'a Seen, name: &str) -> Option<&'a Value> {
    seen.statement
        .predicate
        .pointer("/buildDefinition/internalParameters/proofmark")?
        .get(name)
}
