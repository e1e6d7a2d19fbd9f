//! A copy of `examples/shop` outside the repository, with a git history of its own, and the program run on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The copy and a home beside it.
pub struct Shop {
    _folder: tempfile::TempDir,
    pub tree: PathBuf,
    pub home: PathBuf,
    pub program: PathBuf,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("conformance lies in the repository")
        .to_owned()
}

fn must(command: &mut Command) -> Result<Output, String> {
    let out = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if out.status.success() {
        Ok(out)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

impl Shop {
    pub fn new(program: &str) -> Result<Shop, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let tree = folder.path().join("shop");
        let files = must(
            Command::new("git")
                .args(["ls-files", "-co", "--exclude-standard", "examples/shop"])
                .current_dir(repository()),
        )?;
        for file in String::from_utf8_lossy(&files.stdout).lines() {
            let to = tree.join(file.trim_start_matches("examples/shop/"));
            let from = repository().join(file);
            if from.is_file() {
                std::fs::create_dir_all(to.parent().unwrap_or(&tree)).map_err(|error| error.to_string())?;
                std::fs::copy(from, to).map_err(|error| error.to_string())?;
            }
        }
        std::fs::write(tree.join(".gitignore"), "/target/\n").map_err(|error| error.to_string())?;
        for args in [
            &["init", "-q"][..],
            &["add", "-A"],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "commit",
                "-qm",
                "shop",
            ],
        ] {
            must(Command::new("git").args(args).current_dir(&tree))?;
        }
        let program = std::fs::canonicalize(program).map_err(|error| format!("{program}: {error}"))?;
        Ok(Shop {
            home: folder.path().join("home"),
            tree,
            program,
            _folder: folder,
        })
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .current_dir(&self.tree)
            .env("PROOFMARK_HOME", &self.home)
            .env_remove("CARGO_TARGET_DIR");
        command.stdin(Stdio::null());
        command
    }

    /// Runs to the end: exit code, stdout, stderr.
    pub fn run(&self, args: &[&str]) -> Result<(i32, String, String), String> {
        let out = self.command(args).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr)))
    }

    /// A release to a stage that must pass; the answer is the bundle's path.
    pub fn bundle(&self, stage: &str) -> Result<PathBuf, String> {
        let (code, out, err) = self.run(&["release", "--to", stage])?;
        if code != 0 {
            return Err(format!("the release ended with {code}:\n{out}\n{err}"));
        }
        Ok(self.tree.join(out.trim_end().lines().last().unwrap_or_default()))
    }
}
