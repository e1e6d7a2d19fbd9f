//! The team's checks: `shop-ci lint` writes what clippy says as SARIF, `shop-ci test` what the tests say as JUnit XML.
//!
//! Both write below `target/reports`, and exit with 1 when something is wrong.

mod junit;
mod sarif;

use std::io::Read;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const REPORTS: &str = "target/reports";
const TEST_SECONDS_MAX: u64 = 120;

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let done = match task.as_deref() {
        Some("lint") => lint(),
        Some("test") => test(),
        _ => Err("say `lint` or `test`".to_owned()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// Runs clippy over everything; true when it has nothing to say.
fn lint() -> Result<bool, String> {
    let arguments = [
        "clippy",
        "--quiet",
        "--offline",
        "--locked",
        "--workspace",
        "--all-targets",
        "--message-format=json",
    ];
    let (built, messages) = cargo(&arguments)?;
    let version = Command::new("cargo")
        .args(["clippy", "--version"])
        .output()
        .map_err(|error| error.to_string())?;
    let version = String::from_utf8_lossy(&version.stdout).trim().replace("clippy ", "");
    let results = sarif::results(&messages);
    write("lint.sarif", &sarif::document(&version, &results).to_string())?;
    for result in &results {
        eprintln!("{}: {}", result.place(), result.message);
    }
    // A build that fails without a message of its own must not look clean.
    Ok(built && results.is_empty())
}

/// Builds the tests, then runs each program of them; true when all pass.
fn test() -> Result<bool, String> {
    let (built, messages) = cargo(&[
        "test",
        "--quiet",
        "--offline",
        "--locked",
        "--workspace",
        "--no-run",
        "--message-format=json",
    ])?;
    let mut suites = Vec::new();
    for (name, program, folder) in messages.iter().filter_map(test_program) {
        let started = Instant::now();
        let (success, text) = run(program, folder).map_err(|error| format!("can't run `{program}`: {error}"))?;
        suites.push(junit::Suite::read(name, &text, success, started.elapsed()));
    }
    // Cargo names them as it builds them, which differs from run to run.
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    write("tests.xml", &junit::document(&suites))?;
    for suite in &suites {
        eprintln!(
            "{}: {} tests, {} failed",
            suite.name,
            suite.cases.len(),
            suite.failures()
        );
    }
    Ok(built && !suites.is_empty() && suites.iter().all(|suite| suite.failures() == 0))
}

/// Runs a program of tests: whether it succeeded, and what it wrote. One that hangs is ended.
fn run(program: &str, folder: &Path) -> std::io::Result<(bool, String)> {
    let mut child = Command::new(program)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was written before an error still counts; the exit code says the rest.
        let _ = stdout.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    let started = Instant::now();
    let success = loop {
        if let Some(status) = child.try_wait()? {
            break status.success();
        }
        if started.elapsed().as_secs() > TEST_SECONDS_MAX {
            child.kill()?;
            child.wait()?;
            break false;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok((success, reader.join().unwrap_or_default()))
}

/// Runs the `cargo` on PATH; whether it succeeded, and its JSON messages.
fn cargo(arguments: &[&str]) -> Result<(bool, Vec<Value>), String> {
    let output = Command::new("cargo")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("can't run `cargo {}`: {error}", arguments[0]))?;
    let lines = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{"));
    Ok((
        output.status.success(),
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect(),
    ))
}

/// Name, path and folder of a program of tests, when the message is about one.
fn test_program(message: &Value) -> Option<(&str, &str, &Path)> {
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?;
    Some((
        message["target"]["name"].as_str()?,
        message["executable"].as_str()?,
        folder,
    ))
}

fn write(name: &str, content: &str) -> Result<(), String> {
    let path = Path::new(REPORTS).join(name);
    std::fs::create_dir_all(REPORTS)
        .and_then(|()| std::fs::write(&path, content))
        .map_err(|error| format!("can't write `{}`: {error}", path.display()))
}
