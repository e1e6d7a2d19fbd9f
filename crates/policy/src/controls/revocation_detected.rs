//! # control/revocation-detected
//! A revoked credential stops working, somebody notices, and the system recovers by itself.
//!
//! ## What it does
//! Reads every experiment of the staging stage that revokes a credential (`chaos/credential-revoked`). A detector that
//! works must have fired within `within_seconds` (default 30) of the injection, the credential must have been refused
//! within `contained_within_seconds` (default 30), and the system must have found its steady state again without our
//! help. An attempt in which no experiment revokes a credential, or whose fault did not bite, leaves the answer open.
//!
//! ## Why it matters
//! Revoking is what one does when a credential has leaked. Where a service keeps on trusting what it once saw, the
//! thief keeps on working, and everyone believes that the matter is closed.
//!
//! ## Example
//! The ledger caches validity for ten minutes: it answers 57 requests that carry the revoked credential, and no
//! detector fires in 30 s.
//!
//! ## What to do instead
//! Ask the broker on each request, or cache its answer for a few seconds at most. Log each refusal, and give the
//! experiment a detector that reads it. Let clients lease again when they are refused.
//!
//! ## References
//! - NIST SP 800-63B section 6.1.4, authenticator revocation, <https://pages.nist.gov/800-63-3/sp800-63b.html>
//! - MITRE ATT&CK T1528, steal application access token, <https://attack.mitre.org/techniques/T1528/>
//! - Principles of chaos engineering, <https://principlesofchaos.org/>

use evidence::predicates::ChaosExperiment;
use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::chaos::{Run, armed, fault_name, left_behind, reason, run, title, unfit, workload};
use crate::history::Seen;
use crate::words::duration;

pub(super) const ENTRY: Entry = Entry {
    id: "revocation-detected",
    stages: &[Stage::Staging],
    in_floor: true,
    parameters: &[
        Parameter {
            name: "contained_within_seconds",
            kind: Kind::Integer,
            default: Some(Setting::Integer(30)),
            tighter: Tighter::Lower,
            doc: "seconds after injection by which the revoked credential must be refused",
        },
        Parameter {
            name: "within_seconds",
            kind: Kind::Integer,
            default: Some(Setting::Integer(30)),
            tighter: Tighter::Lower,
            doc: "seconds from the start of injection by which a detector must have fired",
        },
    ],
    judge: |asked| {
        let runs = asked
            .history
            .current(asked.spec.stage)
            .filter_map(|seen| one(asked, seen));
        runs.reduce(Judged::merge).unwrap_or_else(|| {
            Judged::because(asked.reason(
                Outcome::Indeterminate,
                "no experiment of this attempt revoked a credential",
                "an experiment with fault `credential-revoked`",
                "add one to `staging.experiments` in `proofmark.toml`",
            ))
        })
    },
    judge_one: Some(one),
    watch: None,
};

const FAULT: &str = "credential-revoked";

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    match run(seen) {
        Run::Other => None,
        Run::Malformed => Some(asked.malformed(seen)),
        Run::Of(run) => run
            .faults
            .iter()
            .any(|fault| fault_name(fault) == FAULT)
            .then(|| measured(asked, seen, &run)),
    }
}

fn measured(asked: &Asked, seen: &Seen, run: &ChaosExperiment) -> Judged {
    let mut judged = Judged::pass();
    for reason in unfit(asked, seen, run).into_iter().chain(left_behind(asked, seen, run)) {
        judged.add(reason);
    }
    let seconds = |name: &str| (asked.integer(name), asked.integer(name).saturating_mul(1_000_000));
    let (within, within_us) = seconds("within_seconds");
    let (contain, contain_us) = seconds("contained_within_seconds");
    let watched = duration(run.window_us);
    let still = format!("still worked {watched} after it was revoked");
    let unnoticed = format!("no detector fired in {watched} ({})", armed(run));
    let mut fail = |what: &str, found: String, asks: String, fix: &str| {
        let mut reason = reason(asked, seen, run, Outcome::Fail, format!("{what}: {found}"), &asks, fix);
        reason.id = format!("chaos/{FAULT}");
        judged.add(reason);
    };
    match run.contained_us {
        None => fail(
            "a revoked credential still worked",
            match workload(run) {
                counts if counts.is_empty() => still,
                counts => format!("{still} (requests: {counts})"),
            },
            format!("a revoked credential to be refused within {contain} s"),
            "let the service that is called ask the broker on each request, or cache validity for a few seconds at most",
        ),
        Some(us) if us > contain_us => fail(
            "a revoked credential worked for too long",
            format!("it was refused after {}", duration(us)),
            format!("a revoked credential to be refused within {contain} s"),
            "cache validity for less time in the service that is called",
        ),
        Some(_) => {}
    }
    let credited = run
        .detectors
        .iter()
        .filter(|d| d.self_test && !d.false_alarm)
        .filter_map(|d| d.detected_us)
        .min();
    match run.detected_us {
        None => fail(
            "nobody noticed a revoked credential in use",
            unnoticed,
            format!("detection within {within} s"),
            "log each refusal in the service that is called, and add a detector that reads it to the experiment",
        ),
        Some(us) if us > within_us => fail(
            "a revoked credential was noticed too late",
            format!("first detection after {}", duration(us)),
            format!("detection within {within} s"),
            "poll more often, or detect on the log line rather than on a sum of them",
        ),
        Some(us) if credited.is_none_or(|credited| credited > us) => {
            let what = "the detection is credited to no detector that proves anything: each failed its self-test, \
                        fired before the injection, or fired later";
            let fix = "mend the detectors, and run the stage again";
            judged.add(reason(
                asked,
                seen,
                run,
                Outcome::Indeterminate,
                what,
                "detection by a working detector",
                fix,
            ));
        }
        Some(_) => {}
    }
    let mut fail = |what: &str, fix: &str| {
        let asks = "the system to recover by itself";
        let mut reason = reason(asked, seen, run, Outcome::Fail, what, asks, fix);
        reason.id = format!("chaos/{FAULT}");
        judged.add(reason);
    };
    if run.recovered_us.is_none() || !run.recovered_by_itself {
        fail(
            "the system did not recover by itself after a credential was revoked",
            "let the client lease a new credential when its own is refused, and try again",
        );
    } else if !run.steady_after {
        fail(
            "the system was not steady after a credential was revoked",
            "see what still failed in its logs",
        );
    }
    if let (Some(detected), Some(contained), Some(recovered)) = (run.detected_us, run.contained_us, run.recovered_us) {
        judged.note(format!(
            "{}: detected {}, contained {}, recovered {}",
            title(run),
            duration(detected),
            duration(contained),
            duration(recovered)
        ));
    }
    judged
}
