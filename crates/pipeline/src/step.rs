//! Running a command of the team: isolated, observed, its output filtered.
//!
//! A step never sees a key or the store: `$PROOFMARK_HOME` and `.proofmark` are hidden from its view of the file
//! system, and it can't trace whoever started it. Where the host offers no isolation, the evidence says so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use host::process::{Command, Finished, Sink, Wanted};
use source::Redactor;

use crate::Error;

/// Names of the environment variables a step gets, when they are set. Everything else is withheld.
const ENVIRONMENT: [&str; 13] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TERM",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "GOPATH",
    "GOMODCACHE",
];

/// What a step left behind.
pub struct Ran {
    pub finished: Finished,
    /// Output with secrets taken out, both streams in order of arrival.
    pub log: PathBuf,
    /// Secrets that stood in the output before the filter.
    pub redacted: u64,
    /// Names of the environment variables it had; never values.
    pub environment: Vec<String>,
}

/// A command to run.
pub struct Step<'a> {
    pub run: &'a [String],
    pub folder: &'a Path,
    pub hide: Vec<PathBuf>,
    /// Folders it may write to; everything else is read-only to it.
    pub writable: Vec<PathBuf>,
    /// Its `TMPDIR`.
    pub temporary: &'a Path,
    pub observe: bool,
    pub timeout: Duration,
    /// Where its filtered output goes.
    pub log: PathBuf,
    /// Values that must not appear in its output, besides what looks like a token.
    pub secrets: Vec<Vec<u8>>,
}

/// Runs the step to its end. A command that can't be started is an error; one that fails is a result.
pub fn run(step: &Step<'_>, cancel: &host::process::Cancel) -> Result<Ran, Error> {
    let (program, args) = step
        .run
        .split_first()
        .ok_or_else(|| Error::usage("the command is empty", "give a program"))?;
    let mut environment: BTreeMap<OsString, OsString> = ENVIRONMENT
        .iter()
        .filter_map(|name| Some(((*name).into(), std::env::var_os(name)?)))
        .collect();
    environment.insert("TMPDIR".into(), step.temporary.into());
    if let Some(folder) = step.log.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, &error))?;
    }
    let output = fs::File::create(&step.log).map_err(|error| Error::io("create", &step.log, &error))?;
    let filter = Arc::new(Mutex::new(Filter {
        redactor: Redactor::new(step.secrets.clone()),
        output,
        redacted: 0,
    }));
    let lines = |filter: &Arc<Mutex<Filter>>| {
        let filter = Arc::clone(filter);
        Sink::Lines(Box::new(move |line: &[u8]| {
            if let Ok(mut filter) = filter.lock() {
                filter.line(line);
            }
        }))
    };
    let command = Command {
        program: program.into(),
        args: args.iter().map(OsString::from).collect(),
        cwd: step.folder.to_owned(),
        env: environment.clone(),
        stdout: lines(&filter),
        stderr: lines(&filter),
        hide: step.hide.clone(),
        writable: Some(step.writable.clone()),
        isolation: Wanted::BestEffort,
        observe: step.observe,
        timeout: Some(step.timeout),
    };
    let finished = host::process::run(command, cancel).map_err(|error| {
        Error::usage(
            format!("`{}` can't be started: {error}", step.run.join(" ")),
            "is the program installed and on PATH?",
        )
    })?;
    if finished.cancelled {
        return Err(Error::Cancelled);
    }
    let redacted = filter.lock().map_or(0, |filter| filter.redacted);
    let names = environment
        .keys()
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    Ok(Ran {
        finished,
        log: step.log.clone(),
        redacted,
        environment: names,
    })
}

impl Ran {
    /// The last lines of the filtered output, for people.
    pub fn tail(&self, lines_max: usize) -> String {
        let text = fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(lines_max)..].join("\n")
    }
}

struct Filter {
    redactor: Redactor,
    output: fs::File,
    redacted: u64,
}

impl Filter {
    fn line(&mut self, line: &[u8]) {
        use std::io::Write;
        let (mut clean, count) = self.redactor.filter(line);
        self.redacted += count as u64;
        if clean.last() != Some(&b'\n') {
            clean.push(b'\n');
        }
        // A full disk loses the log of a step, not its result.
        let _ = self.output.write_all(&clean);
    }
}
