//! Experiments of Chaos Toolkit under watch: permits, interruptions, and rollbacks that another process runs.
#![cfg(unix)]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chaos::ctk::{ActivityRef, Cancel, Hooks, Journal, Loaded, Options, parse_json, rollbacks_of, run, run_rollbacks};
use serde_json::json;

/// A killed activity is gone within this time, from the answer on.
const KILL_MS_MAX: u64 = 50;
/// What a loaded machine may add to it.
const SLACK_MS: u64 = 400;

#[derive(Default)]
struct Watch {
    events: Mutex<Vec<String>>,
    refuses: bool,
    /// After this long, once.
    cancels: Option<(Instant, Cancel)>,
    cancelled: AtomicBool,
}

impl Watch {
    fn note(&self, event: String) {
        self.events.lock().expect("no test panics here").push(event);
    }
}

impl Hooks for Watch {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(0)
    }

    fn permit(&self, rollbacks: &serde_json::Value) -> Result<(), String> {
        self.note(format!(
            "permit {}",
            rollbacks["rollbacks"].as_array().map_or(0, Vec::len)
        ));
        if self.refuses {
            Err("no permit".to_owned())
        } else {
            Ok(())
        }
    }

    fn before_activity(&self, activity: &ActivityRef<'_>) {
        self.note(format!("before {}", activity.name));
    }

    fn after_activity(&self, activity: &ActivityRef<'_>, ended: bool) {
        self.note(format!("after {} {ended}", activity.name));
    }

    fn cancelled(&self) -> Option<Cancel> {
        let (when, cancel) = self.cancels?;
        (Instant::now() >= when && !self.cancelled.swap(true, Ordering::SeqCst)).then_some(cancel)
    }
}

fn options(folder: &Path) -> Options {
    let env = std::env::vars_os().collect();
    Options {
        compatible: false,
        grace: Duration::ZERO,
        ..Options::compatible(env, folder.to_owned())
    }
}

fn loaded(parts: serde_json::Value) -> Loaded {
    let mut experiment = json!({"title": "t", "description": "d", "method": []});
    for (key, value) in parts.as_object().into_iter().flatten() {
        experiment[key] = value.clone();
    }
    parse_json(&experiment.to_string()).expect("JSON")
}

fn shell(kind: &str, name: &str, line: &str) -> serde_json::Value {
    json!({"type": kind, "name": name, "provider": {"type": "process", "path": "sh", "arguments": ["-c", line]}})
}

fn statuses(journal: &Journal) -> (String, String) {
    let text: serde_json::Value = serde_json::from_str(&journal.text().expect("JSON")).expect("JSON");
    (journal.status().to_owned(), text["rollbacks"].to_string())
}

#[test]
fn the_first_action_waits_for_its_permit() {
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = loaded(json!({
        "method": [shell("probe", "look", "true"), shell("action", "act", "touch acted"), shell("action", "again", "true")],
        "rollbacks": [shell("action", "undo", "rm acted")],
    }));
    let watch = Watch::default();
    let journal = run(&experiment, &options(folder.path()), &watch).expect("runs");
    assert_eq!(journal.status(), "completed");
    let events = watch.events.into_inner().expect("no test panics here");
    let expected = [
        "before look",
        "after look true",
        "permit 1",
        "before act",
        "after act true",
        "before again",
        "after again true",
        "before undo",
        "after undo true",
    ];
    assert_eq!(events, expected);

    let watch = Watch {
        refuses: true,
        ..Watch::default()
    };
    let journal = run(&experiment, &options(folder.path()), &watch).expect("runs");
    assert_eq!(statuses(&journal), ("interrupted".to_owned(), "[]".to_owned()));
    assert!(!folder.path().join("acted").exists(), "the action ran without a permit");
}

#[test]
fn an_interruption_kills_what_runs_with_its_children() {
    let folder = tempfile::tempdir().expect("a folder");
    let python = json!({"type": "action", "name": "act", "provider": {"type": "python", "module": "subprocess",
        "func": "call", "arguments": {"args": ["sh", "-c", "sleep 1.5; touch late"]}}});
    let python = json!([{"type": "action", "name": "act", "provider": python["provider"]}]);
    let background = {
        let mut activity = shell("action", "act", "sleep 1.5; touch late");
        activity["background"] = json!(true);
        json!([activity, shell("action", "next", "sleep 1.5; touch late")])
    };
    for method in [
        json!([shell("action", "act", "sleep 1.5; touch late & wait")]),
        python,
        background,
    ] {
        let experiment = loaded(json!({"method": method, "rollbacks": [shell("action", "undo", "touch undone")]}));
        let mut given = options(folder.path());
        given.validate = false;
        given.rollback_strategy = Some("always".to_owned());
        let start = Instant::now() + Duration::from_millis(500);
        let watch = Watch {
            cancels: Some((start, Cancel::Terminate)),
            ..Watch::default()
        };
        let journal = run(&experiment, &given, &watch).expect("runs");
        assert!(
            start.elapsed() < Duration::from_millis(KILL_MS_MAX + SLACK_MS),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(journal.status(), "interrupted", "{method}");
        assert!(folder.path().join("undone").exists(), "the rollback was not played");
        std::fs::remove_file(folder.path().join("undone")).expect("it is there");
    }
    std::thread::sleep(Duration::from_millis(1_800));
    assert!(!folder.path().join("late").exists(), "a child lived on");
}

#[test]
fn rollbacks_run_later_and_hold_no_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    let undo = json!({"type": "action", "name": "undo", "provider": {"type": "process", "path": "sh",
        "arguments": ["-c", "printf '%s %s %s' \"$1\" \"$2\" \"$3\" > undone", "sh", "${name}", "${token}", "${key}"]}});
    let mut experiment = loaded(json!({
        "configuration": {"name": "ledger"},
        "secrets": {"group": {"token": "s3cret-value", "key": {"type": "env", "key": "CTK_TEST_KEY"}}},
        "rollbacks": [undo],
    }));
    let file = folder.path().join("experiment.json");
    std::fs::write(&file, chaos::ctk::json::write(&experiment.experiment).expect("JSON")).expect("written");
    experiment.source = Some("experiment.json".to_owned());
    let mut given = options(folder.path());
    given.env.push(("CTK_TEST_KEY".into(), "k3y-value".into()));
    let recorded = rollbacks_of(&experiment, &given);
    let text = recorded.to_string();
    assert!(!text.contains("s3cret-value") && !text.contains("k3y-value"), "{text}");
    run_rollbacks(&recorded, &given, &Watch::default()).expect("undone");
    let undone = std::fs::read_to_string(folder.path().join("undone")).expect("undone");
    assert_eq!(undone, "ledger s3cret-value k3y-value");

    std::fs::remove_file(&file).expect("it is there");
    let missing = run_rollbacks(&recorded, &given, &Watch::default()).expect_err("the secret is gone");
    assert!(missing.contains("experiment.json"), "{missing}");
    let failing = loaded(json!({"rollbacks": [shell("action", "no", "exit 3"), shell("action", "yes", "touch both")]}));
    let failed = run_rollbacks(&rollbacks_of(&failing, &given), &given, &Watch::default()).expect_err("one fails");
    assert!(failed.contains("1 of 2 rollbacks failed: `no`"), "{failed}");
    assert!(folder.path().join("both").exists(), "the other one was not run");
}

#[test]
fn a_journal_shows_no_secret_of_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let experiment = loaded(json!({"secrets": {"group": {"token": "s3cret-value"}}}));
    let journal = run(&experiment, &options(folder.path()), &Watch::default()).expect("runs");
    assert!(!journal.text().expect("JSON").contains("s3cret-value"));
}
