//! `check` on trees made for it: deterministic, complete, honest about what it did not look at.

mod common;

use common::must;

fn check(folder: &std::path::Path, args: &[&str]) -> (i32, String) {
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .args([&["check"], args].concat())
        .current_dir(folder)
        .env("PROOFMARK_HOME", folder.join("../home"))
        .output()
        .expect("the program starts");
    (
        out.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&out.stdout).into_owned(),
    )
}

/// Odd names, links, a history, a lock file.
fn tree() -> tempfile::TempDir {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    std::fs::create_dir_all(tree.join("a/b")).expect("a folder");
    std::fs::write(tree.join("a/b/x.txt"), "hello\n").expect("a file");
    std::fs::write(tree.join(std::ffi::OsStr::from_bytes(b"not-\xff-utf8")), "x").expect("a file");
    std::os::unix::fs::symlink("../a", tree.join("a/loop")).expect("a link");
    std::os::unix::fs::symlink("/etc/passwd", tree.join("outside")).expect("a link");
    let lock = "version = 4\n\n[[package]]\nname = \"mine\"\nversion = \"0.1.0\"\n";
    std::fs::write(tree.join("Cargo.lock"), lock).expect("a file");
    must("git", &["init", "-q"], &tree);
    must("git", &["add", "-A"], &tree);
    must(
        "git",
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "-qm",
            "x",
        ],
        &tree,
    );
    folder
}

#[test]
fn two_runs_give_identical_bytes() {
    let folder = tree();
    let tree = folder.path().join("tree");
    let first = check(&tree, &["--json"]);
    let second = check(&tree, &["--json"]);
    assert_eq!(first, second);
    assert!(first.1.contains("\"schema\""), "{}", first.1);
    assert_eq!(check(&tree, &["--sarif"]), check(&tree, &["--sarif"]));
}

#[test]
fn without_advisory_data_the_answer_is_indeterminate_never_clean() {
    let folder = tree();
    let (code, out) = check(&folder.path().join("tree"), &["--json"]);
    assert_eq!(code, 3, "{out}");
    assert!(out.contains("intel/no-database"), "{out}");
}

#[test]
fn check_stores_nothing() {
    let folder = tree();
    let tree = folder.path().join("tree");
    check(&tree, &[]);
    assert!(!tree.join(".proofmark").exists());
    assert!(!folder.path().join("home").exists());
}

#[test]
fn a_broken_configuration_is_said_with_its_place_and_the_look_goes_on() {
    let folder = tree();
    let tree = folder.path().join("tree");
    std::fs::write(tree.join("proofmark.toml"), "[release]\nname = \"x\"\nverson = \"1\"\n").expect("a file");
    let out = std::process::Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .arg("check")
        .current_dir(&tree)
        .output();
    let out = out.expect("the program starts");
    let words = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{words}");
    assert!(
        words.contains("proofmark.toml:3:1") && words.contains("did you mean `version`?"),
        "{words}"
    );
    assert!(String::from_utf8_lossy(&out.stdout).contains("secrets 0"), "{words}");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_of_ours() {
    let folder = tree();
    assert_eq!(check(folder.path(), &["nowhere"]).0, 2);
}
