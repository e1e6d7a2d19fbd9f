//! `chaos report` as people run it: an experiment on a small folder, its report, and every command that is printed.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const CONFIG: &str = r#"[release]
name = "small"
version = "1"

[chaos.target.app]
kind = "files"
opted_in = true
rung = "isolated"
tenancy = "dedicated"
criticality = 1
root = "data"
"#;

const EXPERIMENT: &str = r#"title = "one bit of a file is another one"
deadline_seconds = 30
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
path = "a.txt"
hold_ms = 50
"#;

struct Small {
    folder: tempfile::TempDir,
    tree: PathBuf,
}

impl Small {
    fn new() -> Small {
        let (folder, tree) = common::small(&[
            ("proofmark.toml", CONFIG),
            ("one file.toml", EXPERIMENT),
            ("data/a.txt", "hello\n"),
        ]);
        Small { folder, tree }
    }

    /// A command as it stands on a screen, in the folder of the log.
    fn shell(&self, command: &str) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_proofmark"));
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.tree)
            .env(
                "PATH",
                format!("{}:{path}", program.parent().expect("a folder").display()),
            )
            .env("PROOFMARK_HOME", self.folder.path().join("home"))
            .output()
            .expect("a shell")
    }

    #[track_caller]
    fn expect(&self, command: &str, code: i32, says: &str) -> String {
        let out = self.shell(command);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(code), "{command}: {said}");
        assert!(said.contains(says), "{command}: {said}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    fn json(&self, command: &str) -> Value {
        serde_json::from_str(&self.expect(command, 0, "")).expect("JSON")
    }
}

#[test]
fn every_command_that_is_printed_runs_and_prints_the_same_figure() {
    let small = Small::new();
    small.expect("proofmark chaos report", 2, "neither a log nor a bundle");
    for _ in 0..2 {
        small.expect("proofmark chaos run 'one file.toml'", 0, "PASS");
    }
    small.expect("proofmark chaos report", 0, "2 runs in the log");
    let whole = small.json("proofmark chaos report --json");
    assert_eq!(
        whole,
        small.json("proofmark chaos report --json"),
        "told again, it is the same"
    );
    let narrow = small.json("proofmark chaos report --json --experiment 'one file.toml' --as-of 2100-01-01");
    let mut told = 0;
    for report in [&whole, &narrow] {
        let figures = report["figures"].as_array().expect("a list").iter();
        // A process each: one of each kind of figure, and every run.
        let some = figures.filter(|figure| figure["n"] != 0).step_by(9);
        for figure in some.chain(report["runs"].as_array().expect("a list")) {
            let query = figure["query"].as_str().expect("a command");
            assert_eq!(small.json(query)["figure"], *figure, "{query}");
            told += 1;
        }
    }
    assert!(told >= 8, "{told}");
    small.expect(
        "proofmark chaos report --json --figure all/runz",
        2,
        "did you mean `all/runs`?",
    );
    small.expect(
        "proofmark chaos report --experiment other.toml",
        2,
        "it has: one file.toml",
    );
    small.expect("proofmark chaos report --since 2100-01-01", 0, "0 runs in the log");
}

#[test]
fn pages_are_written_into_a_folder_of_their_own() {
    let small = Small::new();
    small.expect("proofmark chaos run 'one file.toml'", 0, "PASS");
    small.expect("proofmark chaos report --html out/report", 0, "out/report/index.html");
    let folder = small.tree.join("out/report");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let before = (read("index.html"), read("layer.json"), read("report.json"));
    let printed = small.expect("proofmark chaos report --json", 0, "");
    assert_eq!(printed.as_bytes(), before.2, "what is written is what is printed");
    small.expect("proofmark chaos report --html out/report", 0, "");
    assert!(before == (read("index.html"), read("layer.json"), read("report.json")));
    small.expect(
        "proofmark chaos report --html data",
        2,
        "`a.txt`, which is no part of a report",
    );
    small.expect("proofmark explain chaos/report", 0, "Kaplan-Meier");
}
