//! `chaos study` for real: a file that is changed, a watcher that says so, and the same runs with nothing changed. A
//! study that is killed goes on, its plan is logged before its first run, and it answers the same when asked again.

#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

const CONFIG: &str = r#"[chaos.target.app]
kind = "files"
opted_in = true
rung = "isolated"
tenancy = "dedicated"
criticality = 1
root = "data"

[chaos.log.watcher]
path = "watcher.json"
"#;
const RULE: &str = "title: a file was changed
id: 7f4b5a66-2b0c-4d0a-8e0e-9d6a0a4c1d84
status: test
logsource:
  product: shop
detection:
  selection:
    event: changed
  condition: selection
level: low
";
const EXPERIMENT: &str = r#"title = "a changed file is noticed"
deadline_seconds = 10
window_seconds = 1

[declares]
data = "synthetic"
paying_customers = "none"
tenancy = "dedicated"

[steady]
target = "app"

[[fault]]
id = "file-tampered"
target = "app"
path = "file"

[[detector]]
id = "changed"
kind = "sigma"
rule = "changed.yml"
self_test = '{"event":"changed"}'
"#;
const STUDY: &str = r#"title = "a change is noticed, and nothing else is"
treatment = "changed.toml"
control = "sham"
outcome = "detected"
blocks = 2
block_size = 6
seed = 7
"#;
/// However slow the machine is.
const SECONDS_MAX: u64 = 120;

#[test]
fn a_study_is_planned_killed_resumed_and_answered() {
    let _turn = common::turn();
    let (_folder, tree) = common::small(&[
        ("proofmark.toml", CONFIG),
        ("changed.yml", RULE),
        ("changed.toml", EXPERIMENT),
        ("study.toml", STUDY),
        ("watcher.json", ""),
        ("data/file", "what stands here is changed and put back\n"),
    ]);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = std::thread::spawn({
        let (tree, stop) = (tree.clone(), stop.clone());
        move || watch(&tree, &stop)
    });

    let planned = json(&proofmark(&tree, &["--plan", "--json"]));
    assert_eq!(
        (&planned["logIndex"], &planned["objections"]),
        (&Value::Null, &serde_json::json!([]))
    );
    let order: Vec<&Value> = planned["plan"]["order"].as_array().expect("blocks").iter().collect();
    assert_eq!(order.len(), 2);

    // Killed in its third run or so: what is logged by then stays.
    let mut killed = command(&tree, &["--json"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let begun = Instant::now();
    while done(&tree) < 2 && begun.elapsed() < Duration::from_secs(SECONDS_MAX) {
        std::thread::sleep(Duration::from_millis(100));
    }
    killed.kill().expect("killed");
    killed.wait().expect("awaited");

    let answer = json(&proofmark(&tree, &["--json"]));
    let result = &answer["result"];
    assert_eq!(
        (&result["planned"], &result["missing"], &result["planIndex"]),
        (&12.into(), &0.into(), &0.into())
    );
    assert_eq!(result["deviations"], Value::Null, "{result}");
    let places: Vec<(u64, u64)> = result["runs"]
        .as_array()
        .expect("runs")
        .iter()
        .map(|run| {
            (
                run["block"].as_u64().expect("a block"),
                run["position"].as_u64().expect("a position"),
            )
        })
        .collect();
    assert!(places.is_sorted() && places.len() == 12, "{places:?}");
    let (treatment, control) = (&result["arms"]["treatment"], &result["arms"]["control"]);
    assert_eq!(
        (&treatment["events"], &treatment["n"]),
        (&6.into(), &6.into()),
        "{result}"
    );
    assert_eq!(
        (&control["events"], &control["n"], &control["median"]["value"]),
        (&0.into(), &6.into(), &Value::Null)
    );
    // The most extreme of 20 times 20 orders, and its mirror: half of the two.
    assert_eq!(result["test"]["p"], 0.0025);
    assert_eq!(result["test"]["differs"], true);

    let again = json(&proofmark(&tree, &["--json"]));
    assert_eq!(again, answer, "nothing is run or logged twice");
    let shown = proofmark(&tree, &[]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        text.contains("DIFFERS: the treatment is faster, p = 0.0025 (exact)"),
        "{text}"
    );
    let file = std::fs::read_to_string(tree.join("data/file")).expect("the file");
    assert_eq!(file, "what stands here is changed and put back\n");
    stop.store(true, Ordering::Relaxed);
    watcher.join().expect("the watcher ends");
}

#[test]
fn a_study_that_could_find_nothing_is_refused() {
    let (_folder, tree) = common::small(&[
        ("proofmark.toml", CONFIG),
        ("changed.toml", EXPERIMENT),
        ("study.toml", &STUDY.replace("block_size = 6", "block_size = 2")),
    ]);
    let refused = proofmark(&tree, &["--plan"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("no result could differ at alpha 0.05"), "{said}");
}

/// Says within a few milliseconds that the file is another one.
fn watch(tree: &Path, stop: &AtomicBool) {
    let good = std::fs::read(tree.join("data/file")).expect("the file");
    let mut told = false;
    while !stop.load(Ordering::Relaxed) {
        // In the middle of a change there may be none.
        let changed = std::fs::read(tree.join("data/file")).is_ok_and(|now| now != good);
        if changed && !told {
            use std::io::Write;
            let mut log = std::fs::OpenOptions::new()
                .append(true)
                .open(tree.join("watcher.json"))
                .expect("the log");
            log.write_all(b"{\"event\":\"changed\"}\n").expect("written");
        }
        told = changed;
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs of the study that are logged.
fn done(tree: &Path) -> usize {
    let entries = |folder: &Path| -> Vec<std::path::PathBuf> {
        let found = std::fs::read_dir(folder).into_iter().flatten();
        found.filter_map(|entry| Some(entry.ok()?.path())).collect()
    };
    let envelopes = entries(&tree.join(".proofmark/envelopes"));
    let count: usize = envelopes.iter().map(|shard| entries(shard).len()).sum();
    // One of them is the plan.
    count.saturating_sub(1)
}

fn command(tree: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
    command
        .args(["chaos", "study", "study.toml"])
        .args(args)
        .current_dir(tree)
        .env("PROOFMARK_HOME", tree.with_file_name("home"));
    command
}

fn proofmark(tree: &Path, args: &[&str]) -> Output {
    command(tree, args).output().expect("it runs")
}

#[track_caller]
fn json(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
