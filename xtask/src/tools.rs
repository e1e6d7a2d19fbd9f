//! Running programs and finding them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
        .to_owned()
}

/// Runs a program at the root, its output as it comes; anything but success is an error that names it.
pub fn run(program: &str, args: &[&str]) -> Result<(), String> {
    run_with(program, args, &[])
}

/// As [`run`], with environment variables beside the inherited ones.
pub fn run_with(program: &str, args: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
    let status = Command::new(program)
        .args(args)
        .envs(env.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("`{program}` can't be started: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{program} {}` failed", args.join(" ")))
    }
}

pub fn cargo(args: &[&str]) -> Result<(), String> {
    run(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), args)
}

/// The output of a program that must succeed.
pub fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let out = Command::new(program)
        .args(args)
        .current_dir(root())
        .output()
        .map_err(|error| format!("`{program}` can't be started: {error}"))?;
    if out.status.success() {
        String::from_utf8(out.stdout).map_err(|_| format!("`{program}` printed what is not UTF-8"))
    } else {
        Err(format!(
            "`{program} {}` failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&out.stderr)
        ))
    }
}

/// A program on `PATH` or among the installed peers.
pub fn find(program: &str) -> Option<PathBuf> {
    let peers = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/proofmark-peers/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(peers)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    let root = root();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}
