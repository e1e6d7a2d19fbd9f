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
    forge(folder, step, "critical");
    check(
        folder,
        &run,
        3,
        "no approver's signature stands for what `mallory` said",
    );
    let approve = ["approve", "r1", step, "--by=ann", "--var=severity=high"];
    let text = check(folder, &approve, 3, "Keep the logs: done");
    assert!(evidence.join("triage.tar.gz").is_file());
    let hint = text.split("approve r1 ").nth(1).unwrap();
    let step = hint.split(' ').next().unwrap();
    check(folder, &["approve", "r1", step, "--by=ann"], 0, "succeeded");
    check(folder, &run, 0, "succeeded");
}

/// Writes an answer into a run's journal, as whoever owns the store can.
fn forge(folder: &Path, step: &str, severity: &str) {
    use std::io::Write;
    let path = folder.join(".proofmark/playbooks/runs/r1.journal");
    let json = format!(
        r#"{{"record":"answered","unit":"{step}/0","at":"2026-11-24T00:00:00Z","by":"mallory","done":true,"values":{{"__severity__":"{severity}"}}}}"#
    );
    let sum = evidence::Digest::of(json.as_bytes()).hex();
    let mut journal = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    writeln!(journal, "{} {json}", &sum[..16]).unwrap();
}

#[test]
fn a_tree_and_its_store_are_enough_for_some_actions() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = &scratch.path().join("tree");
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("app"), "tampered").unwrap();
    let act = |run: &str, command: &str, code, expect: &str| {
        std::fs::write(folder.join("p.json"), acting(command)).unwrap();
        check(folder, &["run", "p.json", &format!("--run={run}")], code, expect);
    };
    let good = evidence::Digest::of(b"good").hex();
    let restore = |file: &str| format!("artifact restore sha256:{good} {file}");
    act("r0", &restore("app"), 1, "no store to restore from");
    let blob = folder.join(format!(".proofmark/blobs/{}/{}", &good[..2], &good[2..]));
    act("r1", "chaos undo", 0, "succeeded");
    std::fs::write(
        folder.join(".proofmark/FORMAT"),
        "proofmark-store 1\nid 0123456789abcdef\n",
    )
    .unwrap();
    act("r2", &restore("app"), 1, "is not in the store");
    std::fs::create_dir_all(blob.parent().unwrap()).unwrap();
    std::fs::write(&blob, "good").unwrap();
    for (run, file) in [("r3", "../app"), ("r4", ".proofmark/FORMAT"), ("r5", "/app")] {
        act(run, &restore(file), 1, "can't be restored");
    }
    act("r6", &restore("app"), 0, "succeeded");
    assert_eq!(std::fs::read_to_string(folder.join("app")).unwrap(), "good");
    std::fs::write(&blob, "evil").unwrap();
    act("r7", &restore("app"), 1, "has been changed");
    act("r8", "chaos stop", 0, "succeeded");
    act("r9", "chaos undo", 0, "succeeded");
    act(
        "r10",
        "broker revoke ledger",
        1,
        "hint: name it in `[production] playbook`",
    );
    act(
        "r11",
        "rollout roll back",
        1,
        "`rollout freeze|rollback|resume RELEASE` are",
    );
}

/// A playbook of one command `proofmark …`.
fn acting(command: &str) -> String {
    let id = |kind: &str, n| format!("{kind}--00000000-0000-4000-8000-00000000000{n}");
    let (start, act, end, agent) = (id("start", 1), id("action", 2), id("end", 3), id("linux", 4));
    serde_json::json!({
        "type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 5), "name": "one act",
        "created_by": id("identity", 6), "created": "2026-11-24T00:00:00.000Z",
        "modified": "2026-11-24T00:00:00.000Z", "workflow_start": start,
        "workflow": {
            &start: {"type": "start", "on_completion": act},
            &act: {"type": "action", "agent": agent, "on_completion": end,
                "commands": [{"type": "bash", "command": format!("proofmark {command}")}]},
            &end: {"type": "end"},
        },
        "agent_definitions": {&agent: {"type": "linux", "name": "here", "address": {"dname": ["localhost"]}}},
    })
    .to_string()
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
