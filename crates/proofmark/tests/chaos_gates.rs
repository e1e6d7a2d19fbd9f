//! `chaos gates` on a small tree: what is planted at the commit stage is caught, a blind gate is seen to be blind, and
//! nothing of the user's is touched.

mod common;

use std::path::{Path, PathBuf};

use common::must;
use serde_json::Value;

const CONFIG: &str = r#"[release]
name = "small"
version = "1"

[dependencies]
deny = ["pkg:npm/event-stream"]

[[commit.step]]
name = "tests"
run = ["sh", "tests.sh"]
report = "out/tests.xml"
"#;

const TESTS: &str = "mkdir -p out && echo '<testsuite><testcase name=\"t\"/></testsuite>' > out/tests.xml\n";

struct Small {
    folder: tempfile::TempDir,
    tree: PathBuf,
}

impl Small {
    fn new() -> Small {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("repository/small");
        std::fs::create_dir_all(&tree).expect("a folder");
        std::fs::create_dir_all(folder.path().join("tmp")).expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(tree.join(name), text).expect("a file");
        write("proofmark.toml", CONFIG);
        write("tests.sh", TESTS);
        write(".gitignore", "/out/\n");
        write(
            "Cargo.lock",
            "version = 4\n\n[[package]]\nname = \"mine\"\nversion = \"0.1.0\"\n",
        );
        Small { folder, tree }
    }

    fn committed() -> Small {
        let small = Small::new();
        let git = |args: &[&str]| {
            let identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"];
            must(
                "git",
                &[&identity[..], args].concat(),
                &small.folder.path().join("repository"),
            );
        };
        git(&["init", "-q", "-b", "main"]);
        git(&["add", "-A"]);
        git(&["commit", "-qm", "small"]);
        // What is not committed yet is judged too.
        std::fs::write(small.tree.join("notes.txt"), "dirty\n").expect("a file");
        small
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_proofmark"));
        command
            .args(args)
            .current_dir(&self.tree)
            .env("PROOFMARK_HOME", self.folder.path().join("home"))
            .env("TMPDIR", self.temporary());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let out = self.command(args).output().expect("the program starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
    }

    #[track_caller]
    fn gates(&self, more: &[&str]) -> (i32, Value) {
        let args = [&["chaos", "gates", "--json", "--seed", "1"], more].concat();
        let (code, stdout, stderr) = self.run(&args);
        let document = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
        (code, document)
    }
}

/// Every file of a folder with its bytes, `.proofmark` and what steps write aside.
fn content(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next)
            .expect("a folder")
            .map(|entry| entry.expect("an entry"))
        {
            let path = entry.path();
            match path.is_dir() {
                true if entry.file_name() == ".proofmark" => {}
                true => folders.push(path),
                false => found.push((path.clone(), std::fs::read(&path).expect("a file"))),
            }
        }
    }
    found.sort();
    found
}

fn results(document: &Value) -> Vec<(String, String, String)> {
    let plants = document["evidence"]["plants"].as_array().expect("plants");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    plants
        .iter()
        .map(|run| (text(&run["plant"]), text(&run["variant"]), text(&run["result"])))
        .collect()
}

#[test]
fn what_is_planted_is_caught_and_nothing_of_the_user_s_is_touched() {
    let small = Small::committed();
    let before = content(&small.folder.path().join("repository"));
    let (code, document) = small.gates(&[]);
    let results = results(&document);
    let caught = |plant: &str| results.iter().any(|(id, _, result)| id == plant && result == "caught");
    for plant in [
        "denied-dependency",
        "foreign-source",
        "history-not-scanned",
        "policy-relaxed",
        "secret-allowed-inline",
        "secret-cloud-key",
        "secret-in-history",
        "secret-password",
        "secret-private-key",
        "secret-token",
        "step-failing",
        "step-faked",
        "step-removed",
        "step-silenced",
    ] {
        assert!(caught(plant), "{plant}: {results:#?}");
    }
    // Known: an archive that isn't encrypted is named by the scan, and blocks nothing.
    let missed: Vec<_> = results.iter().filter(|(_, _, result)| result == "missed").collect();
    let known = ("secret-hidden".to_owned(), "archive".to_owned(), "missed".to_owned());
    assert_eq!((missed, code), (vec![&known], 1));
    assert_eq!(document["planted"].as_u64(), Some(results.len() as u64));
    // What has no place in this tree is said, and counted nowhere.
    let without = document["evidence"]["notApplicable"].as_array().expect("a list");
    for plant in ["artifact-exchanged", "experiment-removed", "vulnerable-dependency"] {
        assert!(without.iter().any(|entry| entry["plant"] == plant), "{without:#?}");
    }
    assert_eq!(content(&small.folder.path().join("repository")), before);
    assert_eq!(
        std::fs::read_dir(small.temporary()).expect("a folder").count(),
        0,
        "scratch is left"
    );
    // The metric has its denominator now, in the next release's figures.
    let (code, stdout, stderr) = small.run(&["release", "--to", "commit", "--json"]);
    assert_eq!(code, 0, "{stderr}");
    let release: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(release["metrics"]["falseNegatives"]["planted"], document["planted"]);
    assert_eq!(release["metrics"]["falseNegatives"]["missed"], 1);
}

#[test]
fn a_gate_that_asks_for_nothing_is_seen_to_miss() {
    let small = Small::committed();
    // Keys first, then a trust root whose floor forgets secrets and the dependency policy.
    assert_eq!(small.run(&["release", "--to", "commit"]).0, 0);
    let path = small.folder.path().join("home/trust-root.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).expect("a trust root")).expect("JSON");
    let floor = root["floor"].as_array_mut().expect("a floor");
    floor.retain(|control| control["id"] != "no-secrets");
    std::fs::write(&path, evidence::to_canonical(&root)).expect("a trust root");
    let _ = std::fs::remove_dir_all(small.tree.join(".proofmark"));
    let _ = std::fs::remove_dir_all(small.folder.path().join("home/logs"));
    let only = [
        "--only",
        "secret-token",
        "--only",
        "plant/secret-private-key",
        "--only",
        "denied-dependency",
    ];
    let (code, document) = small.gates(&only);
    assert_eq!(code, 1, "{document:#}");
    let missed: Vec<_> = results(&document)
        .into_iter()
        .filter(|(_, _, result)| result == "missed")
        .collect();
    assert_eq!(missed.len(), 2, "{document:#}");
    assert_eq!(
        (document["missed"].as_u64(), document["planted"].as_u64()),
        (Some(2), Some(3))
    );
    let (code, stdout, _) = small.run(&["chaos", "gates", "--only", "secret-token"]);
    assert_eq!(code, 1);
    for part in ["MISSED", "1 of 1", "to do:", "explain plant/secret-token"] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    // Each plant counts as it was last planted.
    let (_, stdout, _) = small.run(&["release", "--to", "commit", "--json"]);
    let release: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(
        release["metrics"]["falseNegatives"],
        serde_json::json!({"missed": 2, "planted": 3})
    );
}

#[test]
fn a_tree_that_does_not_pass_by_itself_proves_nothing() {
    let small = Small::committed();
    std::fs::write(small.tree.join("tests.sh"), "exit 1\n").expect("a file");
    let (code, document) = small.gates(&["--only", "secret-token"]);
    assert_eq!(code, 3);
    assert_eq!(document["unclean"]["stage"], "commit");
    assert_eq!(document["planted"], 0);
    assert_eq!(document["logIndex"], Value::Null);
}

/// Keys that were made before there was such a statement: the answer stands, and that it isn't logged is said.
#[test]
fn an_older_trust_root_lets_it_run_unlogged() {
    let small = Small::committed();
    assert_eq!(small.run(&["release", "--to", "commit"]).0, 0);
    let path = small.folder.path().join("home/trust-root.json");
    let mut root: Value = serde_json::from_slice(&std::fs::read(&path).expect("a trust root")).expect("JSON");
    for allowance in root["allow"].as_array_mut().expect("a list") {
        let predicates = allowance["predicates"].as_array_mut().expect("a list");
        predicates.retain(|name| name != evidence::predicates::GATES);
    }
    std::fs::write(&path, evidence::to_canonical(&root)).expect("a trust root");
    let _ = std::fs::remove_dir_all(small.tree.join(".proofmark"));
    let _ = std::fs::remove_dir_all(small.folder.path().join("home/logs"));
    let (code, document) = small.gates(&["--only", "secret-token"]);
    assert_eq!((code, &document["logIndex"]), (0, &Value::Null));
    assert!(
        document["unlogged"]
            .as_str()
            .is_some_and(|reason| reason.contains("gate-experiment"))
    );
}

#[test]
fn a_tree_without_git_is_copied() {
    let small = Small::new();
    let (code, document) = small.gates(&["--only", "secret-token", "--only", "step-removed"]);
    assert_eq!(code, 0, "{document:#}");
    assert_eq!(document["planted"], 2);
    assert!(!small.tree.join(".git").exists());
}

#[test]
fn an_unknown_plant_is_named() {
    let small = Small::new();
    let (code, _, stderr) = small.run(&["chaos", "gates", "--only", "secret-tokn"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("did you mean `secret-token`?"), "{stderr}");
}

#[test]
fn what_a_killed_experiment_left_is_gone_at_the_next_start() {
    let small = Small::committed();
    // A step that waits until it is killed.
    std::fs::write(small.tree.join("tests.sh"), format!("{TESTS}: > out/here; sleep 60\n")).expect("a file");
    let mut child = small
        .command(&["chaos", "gates", "--only", "secret-token"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let left = || {
        let entries = std::fs::read_dir(small.temporary()).expect("a folder");
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let here = |path: &PathBuf| path.join("clone/small/out/here").exists();
    for _ in 0..600 {
        if left().iter().any(here) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(left().iter().any(here), "{:?}", left());
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(!left().is_empty());
    let (code, _, stderr) = small.run(&["chaos", "undo"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(left(), Vec::<PathBuf>::new());
}
