//! Transcripts in the documents: each fenced block marked `console` is run, and what it prints is compared.
//!
//! In a block, a line that begins with `$ ` is a command, the lines below it what it prints; `…` stands for any
//! text within a word, and a number for any number. Commands run one after the other in one clean copy of
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
    // Not below this repository: cargo reads the configuration of every folder above, which a release calls foreign.
    let folder = std::env::temp_dir().join(format!("proofmark-transcripts-{}", std::process::id()));
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
            .env("COLUMNS", "160")
            .env_remove("CARGO_TARGET_DIR")
            .output()
            .map_err(|error| format!("`{command}` can't be started: {error}"))?;
        ran += 1;
        let got = String::from_utf8_lossy(&out.stdout);
        if !matches(expected.trim_end(), got.trim_end()) {
            problems.push(format!("{document}: `{command}` printed\n{got}\nexpected\n{expected}"));
        }
    }
    let _ = fs::remove_dir_all(&folder);
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

/// Whether `got` is what `expected` says, word by word: `…` stands for anything within a word, and a number (with its
/// unit) for any number. Where lines break is the terminal's business.
fn matches(expected: &str, got: &str) -> bool {
    let (expected, got) = (words(expected), words(got));
    expected.len() == got.len()
        && expected
            .iter()
            .zip(&got)
            .all(|(expected, got)| line_matches(expected, got))
}

/// The words of a text, numbers as `#` and units of time left out.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 3] = ["µs", "ms", "s"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let bare = word.trim_end_matches([',', ';', ')']);
        if UNITS.contains(&bare) && words.last().is_some_and(|last| last == "#") {
            words.push(word[bare.len()..].to_owned());
            continue;
        }
        let mut out = String::new();
        for c in word.chars() {
            match c {
                '0'..='9' if out.ends_with('#') => {}
                '0'..='9' => out.push('#'),
                '.' | ',' if out.ends_with('#') && !word.ends_with(c) => {}
                c => out.push(c),
            }
        }
        words.push(out);
    }
    words.retain(|word| !word.is_empty());
    words
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
    fn numbers_and_ellipses_stand_for_others_and_nothing_else_does() {
        assert!(matches("a … c 3 ms; 1,000\n", "a b c 250 µs;\n 2"));
        assert!(matches("bundles/…", "bundles/3f9a"));
        assert!(!matches("a … c", "a b d"));
        assert!(!matches("a", "a b"));
        assert!(!matches("a 3 b", "a x b"));
    }
}
