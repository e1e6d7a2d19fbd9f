//! `playbook check | run | approve | list`, as a person uses them.

use std::path::Path;
use std::process::{Command, Output};

fn proofmark(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .arg("playbook")
        .args(args)
        .current_dir(folder)
        .env("PROOFMARK_HOME", folder.with_extension("home"))
        .output()
        .unwrap()
}

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, expect: &str) -> String {
    let out = proofmark(folder, args);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(expect), "{args:?}: {text}");
    text
}

#[test]
fn a_run_waits_for_a_person_and_goes_on_with_the_answer() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path();
    std::fs::create_dir(folder.join("logs")).unwrap();
    std::fs::write(folder.join("broken.json"), "{\"type\": \"playbook\"}").unwrap();
    check(folder, &["check", "triage-incident"], 0, "triage-incident: valid");
    check(
        folder,
        &["check", "broken.json"],
        1,
        "`workflow_start` is missing [schema]",
    );
    check(folder, &["run", "nothing"], 2, "there is no playbook `nothing`");
    check(folder, &["run", "triage-incident"], 2, "wants a value for");
    let (logs, evidence) = (folder.join("logs"), folder.join("evidence"));
    let run = [
        "run",
        "triage-incident",
        "--run=r1",
        "--var=incident=odd",
        "--var=service=web",
        &format!("--var=logs={}", logs.display()),
        &format!("--var=evidence={}", evidence.display()),
    ];
    let asked = check(folder, &run, 3, "Answer with `__severity__`");
    let hint = asked.split("approve r1 ").nth(1).unwrap();
    let step = hint.split(' ').next().unwrap();
    check(folder, &["list"], 0, "run `r1` of `Triage an incident`");
    check(
        folder,
        &["approve", "r1", "nowhere", "--by=ann"],
        2,
        "does not wait at `nowhere`",
    );
    let approve = ["approve", "r1", step, "--by=ann", "--var=severity=high"];
    let text = check(folder, &approve, 3, "Keep the logs: done");
    assert!(evidence.join("triage.tar.gz").is_file());
    let hint = text.split("approve r1 ").nth(1).unwrap();
    let step = hint.split(' ').next().unwrap();
    check(folder, &["approve", "r1", step, "--by=ann"], 0, "succeeded");
    check(folder, &run, 0, "succeeded");
}

#[test]
fn what_acts_within_a_release_is_refused_outside_of_one() {
    let scratch = tempfile::tempdir().unwrap();
    let run = ["run", "roll-back-release", "--run=r1", "--var=release=x"];
    check(
        scratch.path(),
        &run,
        3,
        "acts within a release, and none runs this playbook",
    );
}
