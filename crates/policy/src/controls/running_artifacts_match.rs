//! # control/running-artifacts-match
//! What really runs is what this attempt built.
//!
//! ## What it does
//! Reads the run-time composition of the integration stage: for each service, the digest of the executable that its
//! process really runs. It must equal the digest that was expected, and both must be a product of the provenance of
//! that artifact in this attempt, made before its build gate decided. Anything else fails; no process, or a process
//! that could not be read, leaves the answer open.
//!
//! ## Why it matters
//! Tests say something about what they tested. An artifact of an earlier build, a cached image, a binary swapped on
//! the way: each is tested well and released without having been built from this source.
//!
//! ## Example
//! `ledger` runs `sha256:9c1e…`, and provenance of this attempt says that `ledger` is `sha256:41fa…`.
//!
//! ## What to do instead
//! Start services with `{artifact.NAME}`, which is the file that was built. Where something else writes that path
//! between build and start, stop it; then release again.
//!
//! ## References
//! - SLSA, verifying artifacts, <https://slsa.dev/spec/v1.0/verifying-artifacts>
//! - NIST SSDF (SP 800-218), PS.2, <https://doi.org/10.6028/NIST.SP.800-218>

use evidence::predicates::RUNTIME;
use evidence::{Digest, Outcome, Stage};
use serde_json::Value;

use crate::builds::exchanged;
use crate::catalogue::{Asked, Entry, Judged};
use crate::history::Seen;
use crate::observed::{Watch, judge_observed, observed};
use crate::words::{count, digest};

pub(super) const ENTRY: Entry = Entry {
    id: "running-artifacts-match",
    stages: &[Stage::Integration],
    in_floor: true,
    parameters: &[],
    judge: |asked| {
        let mut judged = asked.each(RUNTIME, WATCH.check, one);
        for seen in asked.history.current(asked.spec.stage) {
            judged = judged.merge(joined(asked, seen));
        }
        judged.merge(exchanged(asked))
    },
    judge_one: Some(one),
    watch: None,
};

static WATCH: Watch = Watch {
    predicate: RUNTIME,
    check: "run-time composition",
    finding: ("difference", "differences"),
    fix: "start the services from the artifacts that were built",
    must_look: false,
    units: &[],
};

/// One service's process, as the statement's fact `processes` has it.
struct Process {
    service: String,
    /// The artifact it is configured to run; none where its command begins with something else.
    artifact: Option<String>,
    expected: Option<Digest>,
    running: Option<Digest>,
}

/// What the statement says by itself.
fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != RUNTIME {
        return None;
    }
    let mut judged = judge_observed(asked, seen, &WATCH);
    // The observation's own count says nothing that the processes don't.
    judged.notes.clear();
    let Some(processes) = processes(seen) else {
        return Some(judged.merge(asked.malformed(seen)));
    };
    if processes.is_empty() {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            "no process was looked at",
            "the executable of each service",
            "name the services under `[environment.local.services]`",
        ));
    }
    for process in &processes {
        let Some(running) = process.running else {
            judged.add(about(
                asked,
                seen,
                process,
                Outcome::Indeterminate,
                "the executable it runs could not be read".to_owned(),
                "see why its process could not be looked at, and run the stage again",
            ));
            continue;
        };
        let what = match (&process.artifact, process.expected) {
            (Some(_), Some(expected)) if expected == running => continue,
            (Some(artifact), Some(expected)) => {
                format!(
                    "it runs {}, and artifact `{artifact}` is {}",
                    digest(running),
                    digest(expected)
                )
            }
            _ => format!("it runs {}, which is no artifact of this attempt", digest(running)),
        };
        judged.add(about(asked, seen, process, Outcome::Fail, what, WATCH.fix));
    }
    if judged.outcome() == Outcome::Pass {
        let services = count(processes.len() as u64, "service runs", "services run");
        judged.note(format!("{services} what was built"));
    }
    Some(judged)
}

/// Whether what runs was built in this attempt.
fn joined(asked: &Asked, seen: &Seen) -> Judged {
    let mut judged = Judged::pass();
    if seen.statement.predicate_type != RUNTIME {
        return judged;
    }
    for process in processes(seen).unwrap_or_default() {
        let (Some(artifact), Some(expected)) = (&process.artifact, process.expected) else {
            continue;
        };
        let check = format!("provenance:{artifact}");
        if !asked
            .history
            .products()
            .any(|(from, subject)| from == check && subject.sha256() == Some(expected))
        {
            let what = format!(
                "{} is no product of artifact `{artifact}` in this attempt",
                digest(expected)
            );
            judged.add(about(asked, seen, &process, Outcome::Fail, what, WATCH.fix));
        }
    }
    judged
}

fn about(asked: &Asked, seen: &Seen, process: &Process, outcome: Outcome, what: String, fix: &str) -> evidence::Reason {
    let asks = "each service to run what this attempt built";
    let mut reason = asked.reason_at(
        seen,
        outcome,
        format!("service `{}`: {what}", process.service),
        asks,
        fix,
    );
    reason.r#where = format!("service `{}`", process.service);
    reason
}

fn processes(seen: &Seen) -> Option<Vec<Process>> {
    let observed = observed(seen.statement, RUNTIME)?;
    let listed = observed.facts.get("processes")?.as_array()?;
    listed
        .iter()
        .map(|process| {
            let text = |name: &str| process.get(name).and_then(Value::as_str);
            let digest = |name: &str| {
                let text = text(name)?;
                text.strip_prefix("sha256:").unwrap_or(text).parse().ok()
            };
            Some(Process {
                service: text("service")?.to_owned(),
                artifact: text("artifact").map(str::to_owned),
                expected: digest("expected"),
                running: digest("running"),
            })
        })
        .collect()
}
