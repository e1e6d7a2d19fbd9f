//! # control/degradation-recovered
//! The system finds its steady state again after a link was slow or broken.
//!
//! ## What it does
//! Reads every experiment of the staging stage with a fault on a link (`chaos/link-slowed`, `chaos/link-reset`…). The
//! system must have recovered within `within_seconds` (default 30) after injection, be steady afterwards, and the
//! fault must be undone and read back. An attempt in which no experiment touches a link leaves the answer open.
//!
//! ## Why it matters
//! Networks are slow and break. A service that never gives up waiting, or never tries again, turns one bad second
//! into an outage that somebody must end by hand.
//!
//! ## Example
//! The link to the ledger is slowed by 400 ms for 1.5 s and then reset: the storefront answers as before 0.9 s later.
//!
//! ## What to do instead
//! Give every call a timeout, try again a bounded number of times, and open a new connection after a reset.
//!
//! ## References
//! - Nygard, "Release It!", 2nd edition, chapters 4 and 5, Pragmatic Bookshelf 2018
//! - Principles of chaos engineering, <https://principlesofchaos.org/>

use evidence::predicates::ChaosExperiment;
use evidence::{Outcome, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::chaos::{Run, fault_name, fault_page, left_behind, reason, run, title, unfit};
use crate::history::Seen;
use crate::words::duration;

pub(super) const ENTRY: Entry = Entry {
    id: "degradation-recovered",
    stages: &[Stage::Staging],
    in_floor: true,
    parameters: &[Parameter {
        name: "within_seconds",
        kind: Kind::Integer,
        default: Some(Setting::Integer(30)),
        tighter: Tighter::Lower,
        doc: "seconds after injection by which the steady state must be back",
    }],
    judge: |asked| {
        let runs = asked
            .history
            .current(asked.spec.stage)
            .filter_map(|seen| one(asked, seen));
        runs.reduce(Judged::merge).unwrap_or_else(|| {
            Judged::because(asked.reason(
                Outcome::Indeterminate,
                "no experiment of this attempt slowed or broke a link",
                "an experiment with a fault on a link",
                "add one to `staging.experiments` in `proofmark.toml`",
            ))
        })
    },
    judge_one: Some(one),
    watch: None,
};

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    match run(seen) {
        Run::Other => None,
        Run::Malformed => Some(asked.malformed(seen)),
        Run::Of(run) => {
            let touches_link = run.faults.iter().any(|fault| fault_name(fault).starts_with("link-"));
            touches_link.then(|| measured(asked, seen, &run))
        }
    }
}

fn measured(asked: &Asked, seen: &Seen, run: &ChaosExperiment) -> Judged {
    let mut judged = Judged::pass();
    for reason in unfit(asked, seen, run).into_iter().chain(left_behind(asked, seen, run)) {
        judged.add(reason);
    }
    let within = asked.integer("within_seconds");
    let what = match run.recovered_us {
        None => Some(format!(
            "the system did not recover in the {} it was watched",
            duration(run.window_us)
        )),
        Some(us) if us > within.saturating_mul(1_000_000) => {
            Some(format!("the system recovered after {}", duration(us)))
        }
        Some(_) if !run.steady_after => Some("the system was not steady afterwards".to_owned()),
        Some(us) => {
            judged.note(format!("{}: recovered {}", title(run), duration(us)));
            None
        }
    };
    if let Some(what) = what {
        let asks = format!("recovery within {within} s of a link fault");
        let fix = "give calls over the link a timeout, try again a bounded number of times, reconnect after a reset";
        let mut reason = reason(
            asked,
            seen,
            run,
            Outcome::Fail,
            format!("{}: {what}", title(run)),
            &asks,
            fix,
        );
        if let Some(fault) = run.faults.iter().find(|fault| fault_name(fault).starts_with("link-")) {
            reason.id = fault_page(fault);
        }
        judged.add(reason);
    }
    judged
}
