//! `chaos drill`, as people use it: announced, answered by two of them, killed and gone on with, closed.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use evidence::predicates::{self, Drill};

/// Nothing here takes longer.
const TIME_MAX: Duration = Duration::from_secs(60);

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
    command
        .args(args)
        .current_dir(folder)
        .env("PROOFMARK_HOME", folder.with_extension("home"));
    command
}

fn said(out: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&out.stdout) + &text(&out.stderr)
}

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, expect: &str) -> String {
    let out = command(folder, args).output().unwrap();
    let text = said(&out);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    assert!(text.contains(expect), "{args:?}: {text}");
    text
}

/// A tree with a playbook: somebody looks, a machine cuts a link off, somebody tells the customers within `timeout_ms`.
fn tree(timeout_ms: u64) -> tempfile::TempDir {
    let id = |kind: &str, n| format!("{kind}--00000000-0000-4000-8000-00000000000{n}");
    let (start, end) = (id("start", 1), id("end", 2));
    let (look, cut, tell) = (id("action", 3), id("action", 4), id("action", 5));
    let (person, machine) = (id("individual", 6), id("linux", 7));
    let manual = |text: &str| serde_json::json!([{"type": "manual", "command": text}]);
    let playbook = serde_json::json!({
        "type": "playbook", "spec_version": "cacao-2.0", "id": id("playbook", 8), "name": "Contain",
        "created_by": id("identity", 9), "created": "2026-11-24T00:00:00.000Z",
        "modified": "2026-11-24T00:00:00.000Z", "workflow_start": start,
        "workflow": {
            &start: {"type": "start", "on_completion": look},
            &look: {"type": "action", "name": "Look", "agent": person, "on_completion": cut,
                "commands": manual("Look at the dashboard.")},
            &cut: {"type": "action", "name": "Cut off", "agent": machine, "on_completion": tell,
                "commands": [{"type": "bash", "command": "touch cut-off"}]},
            &tell: {"type": "action", "name": "Tell", "agent": person, "on_completion": end, "timeout": timeout_ms,
                "commands": manual("Tell the customers.")},
            &end: {"type": "end"},
        },
        "agent_definitions": {
            &person: {"type": "individual", "name": "on call"},
            &machine: {"type": "linux", "name": "here", "address": {"dname": ["localhost"]}},
        },
    });
    let scratch = tempfile::tempdir().unwrap();
    std::fs::create_dir(scratch.path().join("tree")).unwrap();
    std::fs::write(scratch.path().join("tree/contain.json"), playbook.to_string()).unwrap();
    scratch
}

const LOOK: &str = "action--00000000-0000-4000-8000-000000000003";
const TELL: &str = "action--00000000-0000-4000-8000-000000000005";

/// Every record of a drill in the log of a tree, its signatures checked by `log fsck` before.
fn logged(folder: &Path) -> Vec<Drill> {
    check(folder, &["log", "fsck"], 0, "");
    let mut found = Vec::new();
    for shard in std::fs::read_dir(folder.join(".proofmark/envelopes")).unwrap() {
        for file in std::fs::read_dir(shard.unwrap().path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            let envelope = evidence::Envelope::from_bytes(&bytes).unwrap();
            let statement: serde_json::Value = serde_json::from_slice(&envelope.payload).unwrap();
            if statement["predicateType"] == predicates::DRILL {
                found.push(serde_json::from_value(statement["predicate"].clone()).unwrap());
            }
        }
    }
    found
}

fn deviations(drill: &Drill) -> Vec<(&str, &str)> {
    let found = drill.deviations.iter();
    found.map(|one| (one.kind.as_str(), one.step.as_str())).collect()
}

/// A drill that is held in the background, until the tree says what is expected of it.
fn held(folder: &Path, args: &[&str], waits_at: &str) -> Child {
    let child = command(folder, args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + TIME_MAX;
    while !said(&command(folder, &["playbook", "list"]).output().unwrap()).contains(waits_at) {
        assert!(Instant::now() < until, "it never waited at {waits_at}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

fn over(mut child: Child) -> Option<i32> {
    let until = Instant::now() + TIME_MAX;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("the drill is still held");
}

#[test]
fn a_drill_is_killed_goes_on_and_is_recorded_once() {
    let scratch = tree(600_000);
    let folder = &scratch.path().join("tree");
    let drill = ["chaos", "drill", "contain.json", "--run=d1", "--announce=game day"];
    let mut child = held(folder, &drill, "run `d1` of `Contain`");
    child.kill().unwrap();
    child.wait().unwrap();
    // Nobody has to hold it for an answer to count.
    std::thread::sleep(Duration::from_millis(300));
    let text = check(
        folder,
        &["playbook", "approve", "d1", LOOK, "--by=ann"],
        3,
        "Tell the customers.",
    );
    assert!(text.contains("Cut off: done"), "{text}");
    assert!(!folder.join("cut-off").exists(), "a rehearsed command was run");
    check(
        folder,
        &["playbook", "run", "contain.json", "--run=d1"],
        2,
        "is a drill",
    );
    let other = ["chaos", "drill", "contain.json", "--run=d1", "--live"];
    check(folder, &other, 2, "was announced as another kind");
    let child = held(folder, &drill, "playbook approve d1");
    check(folder, &["playbook", "approve", "d1", TELL, "--by=bob"], 0, "succeeded");
    assert_eq!(over(child), Some(0));
    let close = ["chaos", "drill", "--close=d1"];
    let note = [&close[..], &["--note=the link was dead", "--action=bob=mend the link"]].concat();
    let text = check(folder, &note, 0, "to do, bob: mend the link");
    assert!(
        text.contains("note: the link was dead") && !text.contains("deviation"),
        "{text}"
    );
    check(folder, &close, 0, "note: the link was dead");
    check(folder, &note, 2, "what is logged stays");
    check(folder, &drill, 2, "is closed");
    check(folder, &["playbook", "approve", "d1", TELL, "--by=eve"], 2, "is closed");

    let drills = logged(folder);
    let [drill] = drills.as_slice() else {
        panic!("{drills:#?}")
    };
    assert_eq!(
        (drill.outcome.as_str(), drill.announcement.as_str()),
        ("succeeded", "game day")
    );
    assert!(!drill.live && !drill.wall_clock);
    let time = |name: &str| drill.milestones_us[name];
    assert!(time("notified") < time("acknowledged") && time("acknowledged") <= time("over"));
    assert!(time("acknowledged") >= 300_000, "{}", time("acknowledged"));
    assert!(time("over") < time("closed"));
    let taken: Vec<(&str, &str, &str)> = drill
        .taken
        .iter()
        .map(|step| (step.name.as_str(), step.by.as_str(), step.outcome.as_str()))
        .collect();
    let us = drill.taken[1].by.as_str();
    assert_eq!(
        taken,
        [
            ("Look", "ann", "done"),
            ("Cut off", us, "rehearsed"),
            ("Tell", "bob", "done")
        ]
    );
    assert!(us.starts_with("proofmark/"));
    assert_eq!(drill.taken[0].done_us, Some(time("acknowledged")));
    let people: Vec<(&str, usize)> = drill
        .participants
        .iter()
        .map(|one| (one.name.as_str(), one.keys.len()))
        .collect();
    assert_eq!(people, [("ann", 2), ("bob", 2)]);
    assert_eq!(drill.expected.len(), 3);
    assert!(deviations(drill).is_empty());
    assert_eq!(drill.actions[0].owner, "bob");
}

#[test]
fn what_people_do_not_do_is_told() {
    // Nobody tells the customers in time.
    let scratch = tree(400);
    let folder = &scratch.path().join("tree");
    let child = held(
        folder,
        &["chaos", "drill", "contain.json", "--run=late"],
        "playbook approve late",
    );
    check(folder, &["playbook", "approve", "late", LOOK, "--by=ann"], 3, "Tell");
    assert_eq!(over(child), Some(1));
    check(folder, &["chaos", "drill", "--close=late"], 0, "deviation [timed-out]");

    // Nobody comes at all.
    check(
        folder,
        &["chaos", "drill", "contain.json", "--run=alone", "--wait=0"],
        3,
        "Look at the dashboard.",
    );
    check(folder, &["chaos", "drill", "--close=alone"], 0, "nobody answered");

    // Somebody refuses, and it is live: nothing is cut off.
    let live = ["chaos", "drill", "contain.json", "--run=no", "--wait=0", "--live"];
    check(folder, &live, 3, "Look at the dashboard.");
    check(
        folder,
        &["playbook", "approve", "no", LOOK, "--by=ann", "--no"],
        1,
        "ann said no",
    );
    assert!(!folder.join("cut-off").exists());
    check(folder, &["chaos", "drill", "--close=no"], 0, "deviation [failed]");

    // And live it is done.
    let live = ["chaos", "drill", "contain.json", "--run=yes", "--wait=0", "--live"];
    check(folder, &live, 3, "Look at the dashboard.");
    check(
        folder,
        &["playbook", "approve", "yes", LOOK, "--by=ann"],
        3,
        "Cut off: done",
    );
    assert!(folder.join("cut-off").exists());
    check(folder, &["chaos", "drill", "--close=yes"], 0, "live: stopped");

    let mut drills = logged(folder);
    drills.sort_by(|a, b| a.run.cmp(&b.run));
    let runs: Vec<_> = drills
        .iter()
        .map(|drill| (drill.run.as_str(), deviations(drill)))
        .collect();
    let cut = "action--00000000-0000-4000-8000-000000000004";
    assert_eq!(
        runs,
        [
            ("alone", vec![("unanswered", LOOK), ("skipped", cut), ("skipped", TELL)]),
            ("late", vec![("timed-out", TELL)]),
            ("no", vec![("failed", LOOK), ("skipped", cut), ("skipped", TELL)]),
            ("yes", vec![("unanswered", TELL)]),
        ]
    );
    assert!(!drills[0].milestones_us.contains_key("acknowledged"));
    assert_eq!(drills[3].taken[1].outcome, "done");
}

/// An experiment is injected at the announcement; what is answered meanwhile counts from when it was given.
#[test]
fn an_experiment_is_injected_at_the_announcement() {
    let scratch = tree(600_000);
    let folder = &scratch.path().join("tree");
    std::fs::create_dir(folder.join("secrets")).unwrap();
    std::fs::write(folder.join("secrets/db-password"), "not a secret").unwrap();
    std::fs::write(
        folder.join("proofmark.toml"),
        "[release]\nname = \"x\"\nversion = \"1\"\n[chaos.target.secrets]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\n\
         tenancy = \"dedicated\"\ncriticality = 1\nroot = \"secrets\"\n",
    )
    .unwrap();
    std::fs::write(
        folder.join("x.toml"),
        "title = \"a secret can't be read\"\ndeadline_seconds = 20\nwindow_seconds = 10\n[declares]\ndata = \"synthetic\"\n\
         paying_customers = \"none\"\ntenancy = \"dedicated\"\n[steady]\ntarget = \"secrets\"\nrequests = 1\n[[fault]]\n\
         id = \"file-withdrawn\"\ntarget = \"secrets\"\npath = \"db-password\"\nhold_ms = 1500\n",
    )
    .unwrap();
    let drill = ["chaos", "drill", "contain.json", "--run=d1", "--experiment=x.toml"];
    let child = held(folder, &drill, "playbook approve d1");
    check(folder, &["playbook", "approve", "d1", LOOK, "--by=ann"], 3, "Tell");
    check(folder, &["playbook", "approve", "d1", TELL, "--by=ann"], 0, "succeeded");
    assert_eq!(over(child), Some(0));
    assert!(folder.join("secrets/db-password").exists(), "it was not undone");
    let text = check(
        folder,
        &["chaos", "drill", "--close=d1"],
        0,
        "experiment x.toml: log index ",
    );
    let drills = logged(folder);
    let experiment = drills[0].experiment.as_ref().unwrap();
    assert_eq!(
        (experiment.file.as_str(), &experiment.problem),
        ("x.toml", &None),
        "{text}"
    );
    let index = experiment.index.unwrap();
    let listed = check(folder, &["log", "list"], 0, predicates::CHAOS);
    let line = listed.lines().find(|line| line.contains(predicates::CHAOS)).unwrap();
    assert!(line.trim_start().starts_with(&index.to_string()), "{line}");

    // One that may not run is a record too.
    let bad = [
        "chaos",
        "drill",
        "contain.json",
        "--run=d2",
        "--experiment=nowhere.toml",
        "--wait=0",
    ];
    check(folder, &bad, 3, "the experiment did not run");
    check(
        folder,
        &["chaos", "drill", "--close=d2"],
        0,
        "experiment nowhere.toml: ",
    );
}
