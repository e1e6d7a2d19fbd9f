//! What the controls over chaos experiments share.

use evidence::predicates::{CHAOS, ChaosExperiment, FaultRun};
use evidence::{Outcome, Reason};

use crate::catalogue::Asked;
use crate::history::Seen;
use crate::words::names;

/// The experiment a statement is about.
pub(crate) enum Run {
    /// Of another predicate type.
    Other,
    /// Not of the shape its type promises.
    Malformed,
    Of(Box<ChaosExperiment>),
}

pub(crate) fn run(seen: &Seen) -> Run {
    match seen.statement.predicate_as(CHAOS) {
        Some(run) => Run::Of(Box::new(run)),
        None if seen.statement.predicate_type == CHAOS => Run::Malformed,
        None => Run::Other,
    }
}

/// `credential-revoked` of `credential-revoked` and of `chaos/credential-revoked`.
pub(crate) fn fault_name(fault: &FaultRun) -> &str {
    fault.fault.rsplit('/').next().unwrap_or(&fault.fault)
}

/// The page of a fault.
pub(crate) fn fault_page(fault: &FaultRun) -> String {
    format!("chaos/{}", fault_name(fault))
}

/// `credential revoked, link slowed`.
pub(crate) fn title(run: &ChaosExperiment) -> String {
    run.faults
        .iter()
        .map(|fault| fault_name(fault).replace('-', " "))
        .collect::<Vec<_>>()
        .join(", ")
}

/// A reason about an experiment, at its file.
pub(crate) fn reason(
    asked: &Asked,
    seen: &Seen,
    run: &ChaosExperiment,
    outcome: Outcome,
    what: impl Into<String>,
    asks: &str,
    fix: impl Into<String>,
) -> Reason {
    let mut reason = asked.reason_at(seen, outcome, what, asks, fix);
    reason.r#where.clone_from(&run.experiment);
    reason
}

/// Why the run says nothing, if so: it could not be judged, nothing was injected, or it was not steady to begin with.
pub(crate) fn unfit(asked: &Asked, seen: &Seen, run: &ChaosExperiment) -> Vec<Reason> {
    const ASKS: &str = "an experiment whose run can be judged";
    let open = |what: String, fix: &str| reason(asked, seen, run, Outcome::Indeterminate, what, ASKS, fix);
    let mut out: Vec<Reason> = run
        .unknown
        .iter()
        .map(|why| {
            open(
                format!("the run could not be judged: {why}"),
                "see why, and run the stage again",
            )
        })
        .collect();
    if run.faults.is_empty() {
        out.push(open(
            "the experiment injected no fault".to_owned(),
            "give it a `[[fault]]`",
        ));
    }
    for fault in run.faults.iter().filter(|fault| !fault.bit) {
        let mut reason = open(
            format!("fault `{}` was injected and did not bite", fault.fault),
            "check that the fault's role, policy or link is one that the services really use",
        );
        reason.id = fault_page(fault);
        out.push(reason);
    }
    if !run.steady_before {
        out.push(open(
            "the system was not steady before anything was injected".to_owned(),
            "make `[steady]` hold on an undisturbed system first",
        ));
    }
    for detector in run.detectors.iter().filter(|detector| !detector.self_test) {
        out.push(open(
            format!("detector `{}` did not pass its self-test", detector.id),
            "make its rule match the `self_test` line, or its metric exist",
        ));
    }
    out
}

/// A fault that is still there is a failure whatever else was measured.
pub(crate) fn left_behind(asked: &Asked, seen: &Seen, run: &ChaosExperiment) -> Vec<Reason> {
    let left: Vec<_> = run.faults.iter().filter(|fault| !fault.undone).collect();
    let Some(first) = left.first() else { return Vec::new() };
    let what = format!(
        "{} was not undone",
        names(left.iter().map(|fault| fault.fault.as_str()))
    );
    let fix = "start Proofmark again: what is in its journal is undone before anything else";
    let mut reason = reason(
        asked,
        seen,
        run,
        Outcome::Fail,
        what,
        "every fault undone and read back",
        fix,
    );
    reason.id = fault_page(first);
    vec![reason]
}

/// `sent 120, refused 63, served 57`.
pub(crate) fn workload(run: &ChaosExperiment) -> String {
    run.workload
        .iter()
        .map(|(name, n)| format!("{} {n}", name.replace('_', " ")))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `2 detectors armed: …`, or that none was.
pub(crate) fn armed(run: &ChaosExperiment) -> String {
    match run.detectors.len() {
        0 => "no detector armed".to_owned(),
        1 => format!(
            "1 detector armed: {}",
            names(run.detectors.iter().map(|detector| detector.id.as_str()))
        ),
        n => format!(
            "{n} detectors armed: {}",
            names(run.detectors.iter().map(|detector| detector.id.as_str()))
        ),
    }
}
