//! What people get wrong, and what they are told: one line of what, a way out, the right exit code, nothing internal.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Answer, must};

/// A folder with a few files, and a home beside it.
struct Case {
    _folder: tempfile::TempDir,
    tree: PathBuf,
    home: PathBuf,
}

impl Case {
    fn new(files: Files<'_>) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("tree");
        std::fs::create_dir(&tree).expect("a folder");
        for (name, content) in files {
            let path = tree.join(name);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, content).expect("a file");
        }
        Case {
            home: folder.path().join("home"),
            tree,
            _folder: folder,
        }
    }

    fn command(&self, folder: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
        command
            .args(args)
            .current_dir(folder)
            .env("PROOFMARK_HOME", &self.home)
            .env("COLUMNS", "160");
        command
    }

    fn run(&self, args: &[&str]) -> Answer {
        self.run_in(&self.tree, args)
    }

    fn run_in(&self, folder: &Path, args: &[&str]) -> Answer {
        let out = self.command(folder, args).output().expect("the program starts");
        Answer {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }
}

/// Nothing of the inside shows: no panic, no number of the system, no Rust value, no control character, no full path.
#[track_caller]
fn fit_to_read(case: &Case, answer: &Answer) {
    let said = format!("{}{}", answer.stdout, answer.stderr);
    let tree = case.tree.display().to_string();
    for inside in [
        "panicked",
        "os error",
        "Some(",
        "Err(",
        "RUST_BACKTRACE",
        "\u{1b}",
        &tree,
    ] {
        assert!(!said.contains(inside), "{inside:?} in\n{said}");
    }
}

type Files<'r> = &'r [(&'r str, &'r [u8])];
type Row<'r> = (Files<'r>, &'r [&'r str], i32, &'r [&'r str]);

#[track_caller]
fn each(rows: &[Row<'_>]) {
    for (files, args, code, says) in rows {
        let case = Case::new(files);
        let answer = case.run(args);
        answer.expect(*code, says);
        fit_to_read(&case, &answer);
    }
}

const RELEASE: &[u8] = b"[release]\nname = \"x\"\nversion = \"1\"\n";

#[test]
fn folders() {
    each(&[
        (&[], &["check", "nowhere"], 2, &["there is no folder `nowhere`"]),
        (&[("a", b"")], &["check", "a"], 2, &["`a` is a file, not a folder"]),
        (&[("a", b"")], &["init", "a"], 2, &["`a` is a file, not a folder"]),
        (&[("a", b"")], &["sbom", "a"], 2, &["`a` is a file"]),
        (&[("a", b"")], &["hook", "a"], 2, &["`a` is a file"]),
        (&[("a", b"")], &["release", "a"], 2, &["`a` is a file"]),
        (
            &[],
            &["release"],
            2,
            &["there is no `proofmark.toml` in `.`", "hint: proofmark init ."],
        ),
        (
            &[],
            &["check"],
            3,
            &[".: 0 findings would block", "unproven", "intel/no-database"],
        ),
        (&[], &["log", "list"], 2, &["`.` has no log yet", "proofmark release"]),
        (&[], &["log", "fsck"], 2, &["`.` has no log yet"]),
        (&[], &["chaos", "undo"], 0, &["nothing that was injected is left"]),
        (&[], &["db", "digest", "."], 2, &["`.` holds no OSV record"]),
        (
            &[],
            &["check", "--advisories", "nope"],
            2,
            &["can't read `nope`", "is the path right"],
        ),
    ]);
}

#[test]
fn configurations() {
    let many = b"[release]\nnme = \"x\"\nversion = 1\n\n[comit]\n\n[[commit.step]]\nname = \"lint\"\nrun = \"lint\"\n";
    let looser: &[u8] = b"[release]\nname = \"x\"\nversion = \"1\"\n\n[[control]]\nid = \"revocation-detected\"\n\
        stage = \"staging\"\nwithin_seconds = 9000\n";
    each(&[
        (
            &[("proofmark.toml", b"[release]\nname = \"\xff\"\n")],
            &["release"],
            2,
            &["can't read `proofmark.toml`", "save the file as UTF-8"],
        ),
        (
            &[("proofmark.toml", b"[release]\nname = \"\xff\"\n")],
            &["check"],
            2,
            &["can't read `proofmark.toml`"],
        ),
        (
            &[("proofmark.toml", b"[release")],
            &["release", "--plan"],
            2,
            &["proofmark.toml:1:9: unclosed table", "1 problem in the configuration"],
        ),
        (&[("proofmark.toml", b"")], &["release"], 2, &["`release` is missing"]),
        (
            &[("proofmark.toml", many)],
            &["release"],
            2,
            &[
                "proofmark.toml:2:1: unknown key `release.nme` [config/unknown-key]\n  hint: did you mean `name`?",
                "proofmark.toml:3:11: `release.version` is an integer, a text is expected [config/wrong-type]",
                "did you mean `commit`?",
                "`commit.step.report` is missing",
                "`commit.step.run` is a string, a list of texts is expected",
                "6 problems in the configuration",
            ],
        ),
        (
            &[("proofmark.toml", looser)],
            &["release"],
            2,
            &["looser than the floor's `30`", "config/looser-than-floor"],
        ),
        (
            &[(
                "proofmark.toml",
                b"[release]\nname = \"x\"\nversion = \"1\"\n[[control]]\nid = \"nope\"\nstage = \"commit\"\n",
            )],
            &["release"],
            2,
            &["there is no control `nope`", "`no-secrets`"],
        ),
        (
            &[("proofmark.toml", RELEASE)],
            &["release", "--plan"],
            0,
            &["staging\n  nothing: proofmark.toml has no table for this stage"],
        ),
    ]);
}

/// What is wrong with an experiment is said before the first stage, not after the build.
#[test]
fn experiments() {
    let staging: &[u8] = b"[release]\nname = \"x\"\nversion = \"1\"\n[staging]\nexperiments = [\"e.toml\"]\n";
    let rows: [(Files<'_>, &[&str]); 2] = [
        (&[("proofmark.toml", staging)], &["can't read `e.toml`"]),
        (
            &[
                ("proofmark.toml", staging),
                ("e.toml", b"title = \"t\"\n[[falt]]\nid = \"link-reset\"\n"),
            ],
            &[
                "e.toml:2:3: unknown key `falt`",
                "did you mean `fault`?",
                "problems in the configuration",
            ],
        ),
    ];
    for (files, says) in rows {
        let case = Case::new(files);
        let answer = case.run(&["release"]);
        answer.expect(2, says);
        fit_to_read(&case, &answer);
        assert!(!case.tree.join(".proofmark").exists(), "nothing was begun");
    }
}

#[test]
fn arguments() {
    let toml: Files<'_> = &[("proofmark.toml", RELEASE)];
    let day = "2999-01-01";
    each(&[
        (
            toml,
            &["approve", "rerun", "--reason", " ", "--expires", day],
            2,
            &["may not be empty"],
        ),
        (
            toml,
            &["approve", "rerun", "--reason", "r", "--expires", "soon"],
            2,
            &["write it like 2027-01-31"],
        ),
        (
            toml,
            &["approve", "rerun", "--reason", "r", "--expires", "2001-01-01"],
            2,
            &["expired already"],
        ),
        (
            toml,
            &["approve", "rerun", "abc", "--reason", "r", "--expires", day],
            2,
            &["`abc` is one argument too many"],
        ),
        (
            toml,
            &["approve", "rerun", "--reason", "r", "--expires", day],
            2,
            &["no trust root yet", "proofmark init"],
        ),
        (
            toml,
            &["approve", "finding", "--reason", "r", "--expires", day],
            2,
            &["<ID>"],
        ),
        (&[], &["verify", "nope"], 2, &["trust root", "--trust-root FILE"]),
        (
            &[("root.json", b"{}")],
            &["verify", ".", "--trust-root", "root.json"],
            4,
            &["trust root"],
        ),
        (
            toml,
            &["run", "--name", "x", "--artifact", "/etc/passwd", "--", "true"],
            2,
            &["does not lie in the folder"],
        ),
        (
            toml,
            &["run", "--name", "x", "--artifact", "../x", "--", "true"],
            2,
            &["does not lie in the folder"],
        ),
        (
            &[],
            &["explain", "secret/githb-token"],
            2,
            &["did you mean `secret/github-token`?"],
        ),
        (
            &[],
            &["explain", "chaos/unknown-key"],
            0,
            &["# chaos", "Every problem of a file is printed at once"],
        ),
        (&[], &["chek"], 2, &["check"]),
        (&[], &["check", "--as-of", "yesterday"], 2, &["write it like"]),
    ]);
}

#[test]
fn findings_that_are_not_in_the_log() {
    let case = Case::new(&[("proofmark.toml", RELEASE)]);
    case.run(&["init"])
        .expect(0, &["exists  proofmark.toml", "next: `proofmark check`"]);
    for (id, says) in [
        ("12345678", "no finding `12345678` is in the log"),
        ("123", "`123` is too short"),
    ] {
        let answer = case.run(&["approve", "finding", id, "--reason", "r", "--expires", "2999-01-01"]);
        answer.expect(2, &[says]);
        fit_to_read(&case, &answer);
    }
}

#[test]
fn manifests_that_can_not_be_read_are_named() {
    each(&[(
        &[
            ("Cargo.lock", b"broken [["),
            ("package-lock.json", b"{"),
            ("go.mod", b"require (\n ???"),
            ("poetry.lock", b"\xff"),
            ("long.js", &[b'a'; 1 << 20]),
        ],
        &["check"],
        3,
        &[
            "unproven",
            "Cargo.lock",
            "package-lock.json",
            "go.mod",
            "poetry.lock",
            "5 files",
        ],
    )]);
}

#[test]
fn names_are_made_harmless_and_places_are_seen_from_here() {
    let case = Case::new(&[("a\n\u{1b}[31m.env", b"password = \"hunter2hunter2XyZ9!\"\n")]);
    let parent = case.tree.parent().expect("a folder");
    let answer = case.run_in(parent, &["check", "tree"]);
    answer.expect(
        1,
        &[
            "tree: 1 finding would block",
            "a\\x0A\\x1B[31m.env:1:",
            "would block: secrets 1",
        ],
    );
    fit_to_read(&case, &answer);

    let case = Case::new(&[("ci/test.env", b"password = \"hunter2hunter2XyZ9!\"\n")]);
    let parent = case.tree.parent().expect("a folder");
    case.run_in(parent, &["check", "tree"])
        .expect(1, &["error[secret/generic-password] tree/ci/test.env:1:"]);
    case.run(&["check"])
        .expect(1, &["error[secret/generic-password] ci/test.env:1:"]);
    case.run_in(&case.tree.join("ci"), &["check", ".."])
        .expect(1, &["error[secret/generic-password] ../ci/test.env:1:"]);
}

#[test]
fn init_finds_the_hooks_git_uses() {
    let case = Case::new(&[("sub/a", b"")]);
    case.run(&["init"]).expect(0, &["no git repository here"]);
    must("git", &["init", "-q"], &case.tree);
    let sub = case.tree.join("sub");
    case.run_in(&sub, &["init"])
        .expect(0, &["made    proofmark.toml", "hooks/pre-commit"]);
    assert!(case.tree.join(".git/hooks/pre-commit").exists());
    case.run(&["init"])
        .expect(0, &["exists  proofmark.toml", "exists  .git/hooks/pre-commit"]);

    let case = Case::new(&[]);
    must("git", &["init", "-q"], &case.tree);
    must("git", &["config", "core.hooksPath", ".githooks"], &case.tree);
    case.run(&["init"])
        .expect(0, &["`.githooks` (core.hooksPath)", "proofmark hook"]);
    assert!(!case.tree.join(".git/hooks/pre-commit").exists());
}

/// `proofmark completions bash | head` is no crash.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let case = Case::new(&[]);
    for args in [&["completions", "bash"][..], &["explain"]] {
        let mut child = case
            .command(&case.tree, args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        drop(child.stdout.take());
        let out = child.wait_with_output().expect("it ends");
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}
