//! A copy of `examples/shop` with a git history of its own, and the real program to run on it.

#![allow(dead_code, reason = "each test file uses the part it needs")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock};

/// Releases use both cores: one at a time measures what it means to measure.
pub fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A copy of the example, and a home beside it.
pub struct Shop {
    _folder: tempfile::TempDir,
    pub tree: PathBuf,
    pub home: PathBuf,
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository")
}

/// Runs a program that must succeed.
pub fn must(program: &str, args: &[&str], folder: &Path) -> Output {
    let out = Command::new(program)
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        out.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    out
}

/// A small tree of these files (path and text) in a folder of its own, with room for a home beside it.
pub fn small(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let tree = folder.path().join("tree");
    for (name, text) in files {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    (folder, tree)
}

/// The example's dependencies, compiled once: copies start from there.
fn warm_target() -> &'static Path {
    static WARM: OnceLock<PathBuf> = OnceLock::new();
    WARM.get_or_init(|| {
        let warm = Path::new(env!("CARGO_TARGET_TMPDIR")).join("shop-warm");
        let marker = warm.join("target/warm");
        if !marker.exists() {
            let _ = std::fs::remove_dir_all(&warm);
            copy_tracked(&warm);
            for args in [
                &["build", "--offline", "--locked"][..],
                &["test", "--offline", "--locked", "--no-run"],
                &["clippy", "--offline", "--locked", "--all-targets"],
                &[
                    "build",
                    "--offline",
                    "--locked",
                    "--manifest-path",
                    "previous/Cargo.toml",
                    "--target-dir",
                    "target/previous",
                ],
            ] {
                let out = Command::new(cargo())
                    .args(args)
                    .current_dir(&warm)
                    .env_remove("CARGO_TARGET_DIR")
                    .output();
                let out = out.expect("cargo starts");
                assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            }
            std::fs::write(&marker, "").expect("a marker");
        }
        warm.join("target")
    })
}

fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

fn copy_tracked(to: &Path) {
    let root = repository();
    let out = must(
        "git",
        &["ls-files", "-co", "--exclude-standard", "examples/shop"],
        &root,
    );
    for file in String::from_utf8(out.stdout).expect("names are UTF-8").lines() {
        let target = to.join(file.trim_start_matches("examples/shop/"));
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        if root.join(file).is_file() {
            std::fs::copy(root.join(file), target).expect("a copy");
        }
    }
}

impl Shop {
    /// A clean copy, committed.
    pub fn new() -> Shop {
        let warm = warm_target();
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("shop");
        copy_tracked(&tree);
        std::fs::write(tree.join(".gitignore"), "/target/\n").expect("a file");
        must(
            "cp",
            &[
                "-a",
                &warm.display().to_string(),
                &tree.join("target").display().to_string(),
            ],
            folder.path(),
        );
        let home = folder.path().join("home");
        let shop = Shop {
            tree,
            home,
            _folder: folder,
        };
        shop.git(&["init", "-q", "-b", "main"]);
        shop.commit("shop");
        shop
    }

    pub fn git(&self, args: &[&str]) {
        let identity = [
            "-c",
            "user.name=tester",
            "-c",
            "user.email=tester@example.com",
            "-c",
            "commit.gpgsign=false",
        ];
        must("git", &[&identity[..], args].concat(), &self.tree);
    }

    pub fn commit(&self, message: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", message, "--allow-empty"]);
    }

    /// Applies one of the example's switches and commits it.
    pub fn switch(&self, name: &str) {
        let folder = repository().join("examples/shop/switches");
        let plain = folder.join(format!("{name}.patch"));
        let patch = if plain.exists() {
            plain
        } else {
            self.decoded(&folder.join(format!("{name}.patch.b64")))
        };
        must("git", &["apply", &patch.display().to_string()], &self.tree);
        self.commit(name);
    }

    fn decoded(&self, path: &Path) -> PathBuf {
        let out = must("base64", &["-d", &path.display().to_string()], &self.tree);
        let patch = self.tree.parent().expect("a folder").join("switch.patch");
        std::fs::write(&patch, out.stdout).expect("a file");
        patch
    }

    pub fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.tree.join(file);
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} does not hold {from:?}");
        std::fs::write(&path, text.replace(from, to)).expect("a file");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proofmark"));
        command
            .args(args)
            .current_dir(&self.tree)
            .env("PROOFMARK_HOME", &self.home)
            .env_remove("CARGO_TARGET_DIR");
        command.env("COLUMNS", "100");
        command
    }

    pub fn run(&self, args: &[&str]) -> Answer {
        let out = self.command(args).output().expect("the program starts");
        Answer {
            code: out.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        }
    }

    /// The one incident that the log of this shop holds.
    pub fn incident(&self) -> serde_json::Value {
        let envelopes = must("find", &[".proofmark/envelopes", "-name", "*.json"], &self.tree);
        let files = String::from_utf8(envelopes.stdout).expect("names are UTF-8");
        let mut found = files.lines().filter_map(|file| {
            let bytes = std::fs::read(self.tree.join(file)).expect("an envelope");
            let envelope = evidence::Envelope::from_bytes(&bytes).expect("an envelope");
            let statement: serde_json::Value = serde_json::from_slice(&envelope.payload).expect("a statement");
            let ours = statement["predicateType"] == evidence::predicates::INCIDENT;
            ours.then(|| statement["predicate"].clone())
        });
        let incident = found.next().expect("an incident");
        assert!(found.next().is_none(), "two incidents");
        incident
    }

    pub fn release(&self) -> Answer {
        self.run(&["release"])
    }
}

/// What the program answered.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// Path of the bundle: the last line of stdout.
    pub fn bundle(&self) -> String {
        self.stdout.trim_end().lines().last().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn say_nothing_of(&self, text: &str) {
        assert!(!self.stdout.contains(text) && !self.stderr.contains(text), "{self:?}");
    }

    #[track_caller]
    pub fn expect(&self, code: i32, says: &[&str]) -> &Answer {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        for text in says {
            assert!(
                self.stdout.contains(text) || self.stderr.contains(text),
                "no {text:?} in\n{}\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }
}
