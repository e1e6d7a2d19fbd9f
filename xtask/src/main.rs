//! `cargo xtask`: the checks of this repository, as programs.
//!
//! - `test`: everything a change has to pass; installs what it needs
//! - `codegen [--check]`: rewrites the lists of the catalogues and the generated files, or says which are stale
//! - `conform SUITE [DIR]`: a suite of other people's cases, one line for each that differs
//! - `bench WORK [INPUT]`: ours and the peer on the same input in one run
//! - `soak NAME [--runs N] [--seed S]`: crash, kill and mutation campaigns
//!
//! Each exits non-zero when its claim does not hold, and none counts what it did not run.

mod bench;
mod codegen;
mod layers;
mod soak;
mod test;
mod tools;
mod transcripts;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", rest @ ..] => test::run(rest),
        ["codegen"] => codegen::run(false),
        ["codegen", "--check"] => codegen::run(true),
        ["layers"] => layers::run(),
        ["transcripts"] => transcripts::run(),
        // This suite puts its cases to the program itself, which lies beside the suite's.
        ["conform", "chaos-experiments", ..] => conform_program(&words[1..]),
        ["conform", rest @ ..] => tools::cargo(&[&["run", "--quiet", "--release", "-p", "conformance", "--"], rest].concat()),
        ["bench", rest @ ..] => bench::run(rest),
        ["soak", rest @ ..] => soak::run(rest),
        _ => Err("usage: cargo xtask test | codegen [--check] | layers | transcripts | conform SUITE [DIR] | bench WORK [INPUT] | soak NAME [--runs N] [--seed S]".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("xtask: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn conform_program(words: &[&str]) -> Result<(), String> {
    tools::cargo(&["build", "--quiet", "--release", "-p", "proofmark"])?;
    tools::cargo(&[&["run", "--quiet", "--release", "-p", "conformance", "--"], words].concat())
}
