//! `detection-proven`: how often an attack was noticed, by runs in the log, and every way to a better figure than it is.

mod common;

use std::time::Duration;

use common::{Release, digest, now};
use evidence::predicates::CHAOS;
use evidence::{Context, ControlSpec, Outcome, Role, Stage, Statement, Subject};
use serde_json::{Value, json};

use Outcome::{Fail, Indeterminate, Pass};

const CONTROL: &str = "control/detection-proven";
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// A run in the log: what stands in it, and how many days old it is.
#[derive(Clone)]
struct Logged {
    run: Value,
    days: u64,
}

/// Noticed after so many milliseconds, or not at all; each a moment younger than the last, as runs are.
fn noticed(ms: impl Into<Option<u64>>) -> Logged {
    let us = ms.into().map(|ms| ms * 1_000);
    let run = json!({
        "experiment": "experiments/secret.toml",
        "title": "a secret can't be read",
        "digest": digest("experiment").hex(),
        "faults": [{
            "fault": "secret-unreadable",
            "parameters": {},
            "undoClass": "journaled",
            "bit": true,
            "undone": true,
            "undoUs": 10,
        }],
        "steadyBefore": true,
        "steadyAfter": true,
        "detectors": [{
            "id": "denied",
            "kind": "sigma",
            "selfTest": true,
            "falseAlarm": false,
            "detectedUs": us,
        }],
        "detectedUs": us,
        "containedUs": null,
        "recoveredUs": 5,
        "windowUs": 30_000_000,
        "workload": {},
        "recoveredByItself": true,
        "rung": "isolated",
        "targets": ["secrets"],
    });
    Logged { run, days: 1 }
}

impl Logged {
    fn with(mut self, pointer: &str, value: impl Into<Value>) -> Logged {
        match self.run.pointer_mut(pointer) {
            Some(place) => *place = value.into(),
            None => self.run[pointer.trim_start_matches('/')] = value.into(),
        }
        self
    }

    fn days(mut self, days: u64) -> Logged {
        self.days = days;
        self
    }
}

fn runs(n: usize, run: Logged) -> Vec<Logged> {
    vec![run; n]
}

/// What the gate of a stage says where these runs are in the log.
fn ask_at(stage: Stage, runs: &[Logged], parameters: Value) -> (Outcome, String) {
    let mut release = Release::clean();
    release.attempt.controls = vec![ControlSpec {
        id: "detection-proven".to_owned(),
        stage,
        parameters: serde_json::from_value(parameters).unwrap(),
    }];
    for (number, logged) in runs.iter().enumerate() {
        let context = Context {
            attempt: digest("experiment"),
            stage: Stage::Staging,
            check: "chaos:experiments/secret.toml".to_owned(),
            config: digest("chaos"),
            at: now() - Duration::from_secs(number as u64 + logged.days * DAY_SECONDS),
        };
        let subject = Subject::new("experiments/secret.toml", digest("experiment"));
        let statement = Statement::new(CHAOS, vec![subject], &logged.run, &context);
        release.log.push((Role::Step, statement));
    }
    let verdict = release.decide(stage);
    let reasons = verdict.reasons.iter().filter(|reason| reason.control == CONTROL);
    let said = reasons.map(|reason| format!("{} ({})", reason.what, reason.fix));
    (verdict.outcome, said.collect::<Vec<_>>().join("\n"))
}

fn secret() -> Value {
    json!({"faults": ["secret-unreadable"]})
}

#[track_caller]
fn check(runs: &[Logged], parameters: Value, outcome: Outcome, says: &str) {
    let (got, said) = ask_at(Stage::Production, runs, parameters);
    assert!(
        got == outcome && said.contains(says),
        "{got:?}, {outcome:?} is right: {said}"
    );
}

#[test]
fn the_bound_decides_and_both_figures_are_said() {
    // One-sided 95 % Wilson bounds: n / (n + 1.6449²) where none was missed.
    check(&runs(25, noticed(140)), secret(), Pass, "");
    check(
        &runs(24, noticed(140)),
        secret(),
        Indeterminate,
        "24 of 24 runs (share 1.000, lower bound 0.899)",
    );
    check(&runs(24, noticed(140)), secret(), Indeterminate, "run it 1 time more");
    check(
        &runs(4, noticed(140)),
        secret(),
        Indeterminate,
        "4 runs are known in the last 30 days, 5 are the least",
    );
    check(&[], secret(), Indeterminate, "0 runs are known");
    let missed = |of: usize, missed: usize| [runs(of - missed, noticed(140)), runs(missed, noticed(None))].concat();
    check(&missed(50, 1), secret(), Pass, "");
    check(
        &missed(25, 1),
        secret(),
        Indeterminate,
        "24 of 25 runs (share 0.960, lower bound 0.8",
    );
    check(&missed(10, 2), secret(), Fail, "8 of 10 runs (share 0.800");
    check(
        &runs(30, noticed(None)),
        secret(),
        Fail,
        "0 of 30 runs (share 0.000, lower bound 0.000)",
    );
    let lower = json!({"faults": ["chaos/secret-unreadable"], "probability": 0.8});
    check(&runs(11, noticed(140)), lower, Pass, "");
}

#[test]
fn it_can_be_asked_at_any_gate() {
    for stage in Stage::ALL {
        assert_eq!(ask_at(stage, &runs(25, noticed(140)), secret()).0, Pass, "{stage}");
        assert_eq!(ask_at(stage, &runs(25, noticed(None)), secret()).0, Fail, "{stage}");
    }
    check(
        &runs(25, noticed(140)),
        json!({}),
        Indeterminate,
        "neither a fault nor a technique",
    );
}

#[test]
fn a_technique_is_whatever_fault_does_it() {
    let technique = |name: &str| json!({"techniques": [name]});
    check(&runs(25, noticed(140)), technique("T1552"), Pass, "");
    check(&runs(25, noticed(140)), technique("T1552.001"), Pass, "");
    check(
        &runs(25, noticed(140)),
        technique("T155"),
        Indeterminate,
        "0 runs are known",
    );
    check(
        &runs(25, noticed(140)),
        technique("T1552.004"),
        Indeterminate,
        "0 runs are known",
    );
    let both = json!({"techniques": ["T1552"], "faults": ["process-killed"]});
    check(
        &runs(25, noticed(140)),
        both,
        Indeterminate,
        "`process-killed`: 0 runs are known",
    );
}

#[test]
fn late_is_missed() {
    let late = |ms: u64| [runs(25, noticed(140)), runs(3, noticed(ms))].concat();
    check(&late(30_000), secret(), Pass, "");
    check(&late(30_001), secret(), Fail, "25 of 28 runs");
    let sooner = json!({"faults": ["secret-unreadable"], "within_seconds": 1, "probability": 0.5});
    check(&late(1_001), sooner, Pass, "");
}

#[test]
fn running_until_it_is_green_does_not_help() {
    // Ten misses, and then only what was noticed: the misses stay in the denominator.
    let reran = [runs(10, noticed(None)), runs(25, noticed(140))].concat();
    check(&reran, secret(), Fail, "25 of 35 runs");
}

#[test]
fn a_statement_logged_twice_is_one_run() {
    let mut release = Release::clean();
    release.attempt.controls = vec![ControlSpec {
        id: "detection-proven".to_owned(),
        stage: Stage::Build,
        parameters: serde_json::from_value(secret()).unwrap(),
    }];
    let context = Context {
        attempt: digest("experiment"),
        stage: Stage::Staging,
        check: "chaos:experiments/secret.toml".to_owned(),
        config: digest("chaos"),
        at: now(),
    };
    let statement = Statement::new(CHAOS, vec![], &noticed(140).run, &context);
    for _ in 0..30 {
        release.log.push((Role::Step, statement.clone()));
    }
    let verdict = release.decide(Stage::Build);
    assert_eq!(verdict.outcome, Indeterminate);
    assert!(
        verdict.reasons[0].what.contains("1 run is known"),
        "{:?}",
        verdict.reasons
    );
}

#[test]
fn stale_evidence_counts_no_more() {
    check(&runs(25, noticed(140).days(29)), secret(), Pass, "");
    check(
        &runs(25, noticed(140).days(31)),
        secret(),
        Indeterminate,
        "0 runs are known",
    );
    let week = json!({"faults": ["secret-unreadable"], "evidence_days": 7});
    check(
        &runs(25, noticed(140).days(8)),
        week,
        Indeterminate,
        "in the last 7 days",
    );
    // Old misses are over too.
    let mended = [runs(25, noticed(140)), runs(40, noticed(None).days(45))].concat();
    check(&mended, secret(), Pass, "");
}

#[test]
fn other_experiments_do_not_thin_out_this_one() {
    // Easy runs on another target, or another rung, each have to hold by themselves.
    let toy = |n| runs(n, noticed(140).with("/targets/0", "toy"));
    let hard = |n| runs(n, noticed(None));
    check(
        &[toy(200), hard(10)].concat(),
        secret(),
        Fail,
        "of `secrets` (isolated): noticed within 30 s in 0 of 10",
    );
    check(
        &[toy(200), runs(3, noticed(140))].concat(),
        secret(),
        Indeterminate,
        "3 runs are known",
    );
    let canary = runs(200, noticed(140).with("/rung", "canary"));
    check(&[canary, hard(10)].concat(), secret(), Fail, "(isolated)");
    // A file with another comment is another digest and the same attack: its runs are added up.
    let renamed = runs(
        25,
        noticed(140)
            .with("/digest", digest("comment").hex())
            .with("/title", "new"),
    );
    check(&[hard(10), renamed.clone()].concat(), secret(), Fail, "25 of 35 runs");
    // A digest that is asked for has to hold by its own runs.
    let pinned = json!({"faults": ["secret-unreadable"], "experiments": [digest("experiment").hex()]});
    check(
        &renamed,
        pinned.clone(),
        Indeterminate,
        &format!("experiment {}: 0 runs", digest("experiment")),
    );
    check(&[renamed, runs(25, noticed(140))].concat(), pinned, Pass, "");
    // Another fault's runs are not this one's.
    let other = runs(30, noticed(140).with("/faults/0/fault", "link-slowed"));
    check(&other, secret(), Indeterminate, "0 runs are known");
}

#[test]
fn what_can_not_be_judged_neither_counts_nor_helps() {
    let unknown = |n| runs(n, noticed(None).with("/unknown", json!(["stopped by a person"])));
    check(
        &[runs(25, noticed(140)), unknown(1)].concat(),
        secret(),
        Indeterminate,
        "1 run could not be judged; with these",
    );
    check(&[runs(60, noticed(140)), unknown(1)].concat(), secret(), Pass, "");
    check(
        &unknown(30),
        secret(),
        Indeterminate,
        "0 runs are known in the last 30 days, 5 are the least; 30 runs could",
    );
    // Stopping each run that looks bad is no way to a better figure.
    check(
        &[runs(25, noticed(140)), unknown(25)].concat(),
        secret(),
        Indeterminate,
        "25 runs could not be judged",
    );
    for (pointer, value) in [
        ("/detectors/0/selfTest", json!(false)),
        ("/faults/0/bit", json!(false)),
        ("/steadyBefore", json!(false)),
    ] {
        let odd = runs(25, noticed(140).with(pointer, value));
        check(&odd, secret(), Indeterminate, "0 runs are known");
    }
    // A loud fault beside it: what was noticed may have been that one.
    let fault = noticed(140).run["faults"][0].clone();
    let mut loud = fault.clone();
    loud["fault"] = "process-killed".into();
    let beside = |ms: Option<u64>| noticed(ms).with("/faults", json!([fault, loud]));
    check(
        &runs(25, beside(Some(140))),
        secret(),
        Indeterminate,
        "25 runs could not be judged",
    );
    check(&runs(25, beside(None)), secret(), Fail, "0 of 25 runs");
}

#[test]
fn only_a_detector_that_proves_something_is_credited() {
    let alarm = noticed(140).with("/detectors/0/falseAlarm", true);
    check(&runs(25, alarm), secret(), Fail, "0 of 25 runs");
    let uncredited = noticed(140).with("/detectors/0/detectedUs", Value::Null);
    check(&runs(25, uncredited), secret(), Fail, "0 of 25 runs");
    let claimed = noticed(140).with("/detectedUs", Value::Null);
    check(&runs(25, claimed), secret(), Fail, "0 of 25 runs");
}
