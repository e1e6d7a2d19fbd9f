//! What stands against an experiment by the owner's settings: blast radius, undo classes, freezes, the ladder from an
//! isolated environment up to production, approvals, ethics. A pure function over what is known, asked before
//! anything runs; [`crate::Permit`] refuses what it objects to.

use std::collections::BTreeSet;

use evidence::{Digest, Timestamp};

use crate::declare::{DataClass, Rung, Tenancy};
use crate::experiment::Experiment;
use crate::fault::{Fault, UndoClass};
use crate::settings::Settings;
use crate::target::Target;

const DAY_SECONDS: i64 = 86_400;
/// The fault that is a Chaos Toolkit file's method.
const UNKNOWN_ACTIONS: &str = "chaos-toolkit-actions";

/// An earlier run, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// [`Experiment::pattern`] of what was run.
    pub pattern: Digest,
    pub rung: Rung,
    /// Names of the targets that were touched.
    pub targets: Vec<String>,
    pub at: Timestamp,
    /// Everything expected happened, and everything injected was undone.
    pub passed: bool,
}

/// What people have signed for this experiment, by its digest, and not expired.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    pub ethics: bool,
    pub legal: bool,
    /// Different approvers that let it run.
    pub run: u64,
}

/// What is known when leave is asked for.
#[derive(Debug, Clone)]
pub struct Circumstances<'a> {
    pub now: Timestamp,
    pub history: &'a [Past],
    pub given: Given,
    /// Rungs whose runbook is there and valid.
    pub runbooks: BTreeSet<Rung>,
}

/// Everything that stands against running `experiment`, each in one line; nothing when it may run.
pub fn objections(settings: &Settings, experiment: &Experiment, circumstances: &Circumstances<'_>) -> Vec<String> {
    let mut against = Vec::new();
    let targets = touched(settings, experiment);
    absent(settings, experiment, &mut against);
    reach(settings, experiment, &targets, &mut against);
    if let Some(freeze) = settings.freeze_at(circumstances.now) {
        against.push(format!("`{}` is a freeze, until {}", freeze.name, freeze.to));
    }
    ethics(experiment, &targets, circumstances, &mut against);
    let rung = targets.iter().map(|target| target.rung).max().unwrap_or(Rung::Isolated);
    climb(settings, experiment, &targets, rung, circumstances, &mut against);
    against
}

/// The declared targets that it touches. One that isn't declared is refused when its fault is surveyed.
fn touched<'s>(settings: &'s Settings, experiment: &Experiment) -> Vec<&'s Target> {
    let names = experiment.targets();
    names
        .iter()
        .filter_map(|name| settings.targets.named(name).ok())
        .collect()
}

/// Targets that can't be attacked at all, and links that are not there.
fn absent(settings: &Settings, experiment: &Experiment, against: &mut Vec<String>) {
    for fault in &experiment.faults {
        let entry = fault.entry();
        let names = fault.strike().map_or_else(Vec::new, |strike| strike.targets());
        for (index, name) in names.iter().enumerate() {
            match settings.targets.named(name) {
                Err(problem) => against.push(problem),
                Ok(target) if !target.opted_in => against.push(format!(
                    "target `{name}` has not opted in: `opted_in = true` in its declaration does that"
                )),
                Ok(target) if index == 0 && !entry.targets.contains(&target.kind) => against.push(format!(
                    "`{name}` is of kind `{}`, which `{}` does not attack",
                    target.kind, entry.id
                )),
                Ok(_) => {}
            }
        }
    }
}

/// Blast radius, deadline and undo classes.
fn reach(settings: &Settings, experiment: &Experiment, targets: &[&Target], against: &mut Vec<String>) {
    if targets.len() as u64 > settings.targets_max {
        against.push(format!(
            "it touches {} targets, `targets_max` allows {}",
            targets.len(),
            settings.targets_max
        ));
    }
    if experiment.deadline.as_secs() > settings.deadline_seconds_max {
        against.push(format!(
            "its deadline is {} s, `deadline_seconds_max` allows {}",
            experiment.deadline.as_secs(),
            settings.deadline_seconds_max
        ));
    }
    let foreign = experiment.steady.hypothesis.is_some();
    if (foreign
        || experiment
            .faults
            .iter()
            .any(|fault| fault.entry().id == UNKNOWN_ACTIONS))
        && !settings.unknown_actions
    {
        against.push("it runs what a Chaos Toolkit file names, whose effect nobody knows: `unknown_actions` of `[chaos]` does not allow it".to_owned());
    }
    for fault in &experiment.faults {
        let entry = fault.entry();
        if !settings.undo_classes.contains(&entry.undo_class) {
            against.push(format!(
                "`{}` is {}, which `undo_classes` of `[chaos]` does not allow",
                entry.id, entry.undo_class
            ));
        }
    }
}

/// Customers' data, and hosts that others share, need people's leave, masked data and faults that stay where they are.
fn ethics(experiment: &Experiment, targets: &[&Target], circumstances: &Circumstances<'_>, against: &mut Vec<String>) {
    let declares = experiment.declares;
    let shared = declares.tenancy == Tenancy::Shared || targets.iter().any(|target| target.tenancy == Tenancy::Shared);
    if !declares.needs_approval() && !shared {
        return;
    }
    let why = match (declares.data, shared) {
        (DataClass::Customer, _) => "it meets customers' data, or does not say that it doesn't (`[declares]`)",
        _ => "it meets hosts that others share, or does not say that it doesn't (`[declares]`, `tenancy`)",
    };
    for (given, what) in [
        (circumstances.given.ethics, "ethics"),
        (circumstances.given.legal, "legal"),
    ] {
        if !given {
            against.push(format!(
                "{why}: the {what} approval is missing (`proofmark chaos approve FILE --for {what}`)"
            ));
        }
    }
    if declares.data == DataClass::Customer {
        against.push("customers' data has to be masked first: then `data = \"masked\"` is true".to_owned());
    }
    let loose = |fault: &dyn Fault| matches!(fault.entry().undo_class, UndoClass::Journaled | UndoClass::Irreversible);
    if shared {
        for fault in experiment.faults.iter().filter(|fault| loose(fault.as_ref())) {
            against.push(format!(
                "`{}` is {}: on shared hosts only faults that a kernel, a process or a sandbox bounds may run",
                fault.entry().id,
                fault.entry().undo_class
            ));
        }
    }
}

/// The ladder: fresh passes below, the least critical first, a runbook, approvals in production.
fn climb(
    settings: &Settings,
    experiment: &Experiment,
    targets: &[&Target],
    rung: Rung,
    circumstances: &Circumstances<'_>,
    against: &mut Vec<String>,
) {
    let pattern = experiment.pattern();
    let oldest = circumstances.now.as_second() - i64::try_from(settings.fresh_days).unwrap_or(0) * DAY_SECONDS;
    let fresh = |past: &&Past| {
        past.passed && past.pattern == pattern && past.at.as_second() >= oldest && past.at <= circumstances.now
    };
    for below in rung.below() {
        if !circumstances
            .history
            .iter()
            .filter(fresh)
            .any(|past| past.rung == below)
        {
            against.push(format!(
                "no pass of these faults on rung `{below}` within {} days: it comes before `{rung}`",
                settings.fresh_days
            ));
        }
    }
    for target in targets {
        let easier = settings.targets.all().find(|other| {
            let comparable = other.kind == target.kind && other.rung == target.rung && other.opted_in;
            let tried = circumstances
                .history
                .iter()
                .filter(fresh)
                .any(|past| past.rung == target.rung && past.targets.contains(&other.name));
            comparable && other.criticality < target.criticality && !tried
        });
        if let Some(easier) = easier {
            against.push(format!(
                "`{}` is less critical than `{}` and comes first: no fresh pass there",
                easier.name, target.name
            ));
        }
    }
    if rung > Rung::Isolated && !circumstances.runbooks.contains(&rung) {
        against.push(format!(
            "rung `{rung}` has no valid runbook (`[chaos.rung.{rung}] runbook`)"
        ));
    }
    if rung == Rung::Production && circumstances.given.run < settings.approvals {
        against.push(format!(
            "{} of {} approvals for production (`proofmark chaos approve FILE --for run`, by different approvers)",
            circumstances.given.run, settings.approvals
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"
[chaos]
targets_max = 1
[chaos.target.secrets]
kind = "files"
opted_in = true
rung = "RUNG"
tenancy = "dedicated"
criticality = 3
root = "/srv/secrets"
[chaos.target.spare]
kind = "files"
opted_in = true
rung = "RUNG"
tenancy = "dedicated"
criticality = 1
root = "/srv/spare"
[[chaos.freeze]]
name = "end of year"
from = "2026-12-20T00:00:00Z"
to = "2027-01-03T00:00:00Z"
"#;
    const EXPERIMENT: &str = r#"
title = "a secret that can't be read is noticed"
deadline_seconds = 20
window_seconds = 10
[declares]
data = "synthetic"
paying_customers = "none"
tenancy = "dedicated"
[steady]
target = "secrets"
requests = 1
[[fault]]
id = "secret-unreadable"
target = "secrets"
path = "db-password"
"#;

    fn past(experiment: &Experiment, rung: Rung, target: &str, at: &str) -> Past {
        Past {
            pattern: experiment.pattern(),
            rung,
            targets: vec![target.to_owned()],
            at: at.parse().unwrap(),
            passed: true,
        }
    }

    /// What stands against it on `rung` at `now` with these passes, each line's beginning.
    #[track_caller]
    fn check(rung: &str, edit: (&str, &str), now: &str, passes: &[(Rung, &str, &str)], given: Given, expect: &[&str]) {
        let text = EXPERIMENT.replacen(edit.0, edit.1, 1);
        let experiment = Experiment::parse("x.toml", &text).unwrap();
        let settings = Settings::parse("proofmark.toml", &SETTINGS.replace("RUNG", rung)).unwrap();
        let history: Vec<Past> = passes
            .iter()
            .map(|(rung, target, at)| past(&experiment, *rung, target, at))
            .collect();
        let circumstances = Circumstances {
            now: now.parse().unwrap(),
            history: &history,
            given,
            runbooks: Rung::ALL.into_iter().collect(),
        };
        let found = objections(&settings, &experiment, &circumstances);
        assert_eq!(found.len(), expect.len(), "{found:#?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.starts_with(expect), "{found}");
        }
    }

    const NOW: &str = "2026-11-24T12:00:00Z";
    const SPARE: (Rung, &str, &str) = (Rung::Isolated, "spare", "2026-11-20T12:00:00Z");

    #[test]
    fn the_least_critical_comes_first() {
        check("isolated", ("", ""), NOW, &[SPARE], Given::default(), &[]);
        check(
            "isolated",
            ("", ""),
            NOW,
            &[],
            Given::default(),
            &["`spare` is less critical than `secrets`"],
        );
        let stale = (Rung::Isolated, "spare", "2026-10-01T12:00:00Z");
        check(
            "isolated",
            ("", ""),
            NOW,
            &[stale],
            Given::default(),
            &["`spare` is less critical"],
        );
        let spare = ("target = \"secrets\"\npath", "target = \"spare\"\npath");
        check("isolated", spare, NOW, &[], Given::default(), &[]);
    }

    #[test]
    fn each_rung_needs_the_ones_below_it() {
        let spare = ("target = \"secrets\"\npath", "target = \"spare\"\npath");
        let isolated = (Rung::Isolated, "other", "2026-11-20T12:00:00Z");
        let mirrored = (Rung::Mirrored, "other", "2026-11-20T12:00:00Z");
        let canary = (Rung::Canary, "other", "2026-11-20T12:00:00Z");
        check(
            "mirrored",
            spare,
            NOW,
            &[],
            Given::default(),
            &["no pass of these faults on rung `isolated`"],
        );
        check("mirrored", spare, NOW, &[isolated], Given::default(), &[]);
        check(
            "canary",
            spare,
            NOW,
            &[isolated],
            Given::default(),
            &["no pass of these faults on rung `mirrored`"],
        );
        let below = [isolated, mirrored, canary];
        check(
            "production",
            spare,
            NOW,
            &below,
            Given::default(),
            &["0 of 2 approvals for production"],
        );
        let one = Given {
            run: 1,
            ..Given::default()
        };
        check(
            "production",
            spare,
            NOW,
            &below,
            one,
            &["1 of 2 approvals for production"],
        );
        let two = Given {
            run: 2,
            ..Given::default()
        };
        check("production", spare, NOW, &below, two, &[]);
    }

    #[test]
    fn a_freeze_and_what_is_not_declared_stand_against_it() {
        check(
            "isolated",
            ("", ""),
            "2026-12-24T00:00:00Z",
            &[(Rung::Isolated, "spare", "2026-12-20T00:00:00Z")],
            Given::default(),
            &["`end of year` is a freeze"],
        );
        check(
            "isolated",
            ("", ""),
            "2027-01-03T00:00:00Z",
            &[(Rung::Isolated, "spare", "2026-12-20T00:00:00Z")],
            Given::default(),
            &[],
        );
        let undeclared = ("data = \"synthetic\"", "");
        check(
            "isolated",
            undeclared,
            NOW,
            &[SPARE],
            Given::default(),
            &[
                "it meets customers' data",
                "it meets customers' data",
                "customers' data has to be masked",
            ],
        );
        let shared = ("tenancy = \"dedicated\"", "");
        let both = Given {
            ethics: true,
            legal: true,
            run: 0,
        };
        check(
            "isolated",
            shared,
            NOW,
            &[SPARE],
            both,
            &["`secret-unreadable` is journaled: on shared hosts"],
        );
    }
}
