//! Transcripts in the documents: each fenced block marked `console` is run, and what it prints is compared.
//!
//! In a block, a line that begins with `$ ` is a command, the lines below it what it prints; `…` stands for any
//! text within a line, and a line of `…` alone for any lines. Commands run one after the other in one clean copy of
//! the repository's tracked files, with a home of their own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tools;

const DOCUMENTS: [&str; 1] = ["README.md"];

pub fn run() -> Result<(), String> {
    let mut problems = Vec::new();
    let mut commands = 0;
    for document in DOCUMENTS {
        let text = fs::read_to_string(tools::root().join(document)).map_err(|error| format!("{document}: {error}"))?;
        for block in blocks(&text) {
            let (ran, found) = play(document, &block)?;
            commands += ran;
            problems.extend(found);
        }
    }
    if commands == 0 {
        return Err("no transcript was run".to_owned());
    }
    println!("{commands} commands of transcripts ran");
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems.join("\n"))
    }
}

fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("```console\n") {
        let body = &rest[start + "```console\n".len()..];
        let end = body.find("```").unwrap_or(body.len());
        blocks.push(body[..end].to_owned());
        rest = &body[end..];
    }
    blocks
}

fn play(document: &str, block: &str) -> Result<(usize, Vec<String>), String> {
    let folder = tools::target().join("transcripts");
    let _ = fs::remove_dir_all(&folder);
    let copy = folder.join("copy");
    fs::create_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    copy_tracked(&copy)?;
    let mut problems = Vec::new();
    let mut ran = 0;
    for part in block.split("$ ").skip(1) {
        let (command, expected) = part.split_once('\n').unwrap_or((part, ""));
        let program = tools::target().join("debug");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let out = Command::new("sh")
            .args(["-c", &format!("{command} 2>&1")])
            .current_dir(&copy)
            .env("PATH", path)
            .env("PROOFMARK_HOME", folder.join("home"))
            .env("COLUMNS", "100")
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .map_err(|error| format!("`{command}` can't be started: {error}"))?;
        ran += 1;
        let got = String::from_utf8_lossy(&out.stdout);
        if !matches(expected.trim_end(), got.trim_end()) {
            problems.push(format!("{document}: `{command}` printed\n{got}\nexpected\n{expected}"));
        }
    }
    Ok((ran, problems))
}

fn copy_tracked(copy: &Path) -> Result<(), String> {
    let files = tools::output("git", &["ls-files", "-co", "--exclude-standard", "examples"])?;
    for file in files.lines() {
        let from = tools::root().join(file);
        let to = copy.join(file);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        if from.is_file() {
            fs::copy(&from, &to).map_err(|error| format!("{file}: {error}"))?;
        }
    }
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
            "copy",
        ],
    ] {
        let status = Command::new("git")
            .args(args)
            .current_dir(copy)
            .status()
            .map_err(|error| format!("git: {error}"))?;
        if !status.success() {
            return Err(format!("git {} failed in the copy", args.join(" ")));
        }
    }
    Ok(())
}

/// Whether `got` is what `expected` says, `…` standing for anything.
fn matches(expected: &str, got: &str) -> bool {
    let expected: Vec<&str> = expected.lines().map(str::trim_end).collect();
    let got: Vec<&str> = got.lines().map(str::trim_end).collect();
    lines_match(&expected, &got)
}

fn lines_match(expected: &[&str], got: &[&str]) -> bool {
    match (expected.split_first(), got.split_first()) {
        (None, None) => true,
        (Some((&"…", rest)), _) => (0..=got.len()).any(|skip| lines_match(rest, &got[skip..])),
        (Some((line, rest)), Some((have, more))) => line_matches(line, have) && lines_match(rest, more),
        _ => false,
    }
}

fn line_matches(expected: &str, got: &str) -> bool {
    match expected.split_once('…') {
        None => expected == got,
        Some((before, after)) => got.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len())
                .filter(|at| rest.is_char_boundary(*at))
                .any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn an_ellipsis_stands_for_anything_and_nothing_else_does() {
        assert!(matches("a … c\n…\nz", "a b c\nx\ny\nz"));
        assert!(matches("a…", "a"));
        assert!(!matches("a … c", "a b d"));
        assert!(!matches("a", "a\nb"));
    }
}
