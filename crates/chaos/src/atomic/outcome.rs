//! Running a test, and what became of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use host::process::{Cancel, Changes, Command, Discard, Finished, ProcessError, Sink, Status, run_discarded};

use super::driver::{self, MARK, Message, PROGRAMS, Reader, Step};
use super::plan::{ATOMICS, Options, Plan, plan};
use super::read::{Shell, Test};

/// The longest command, in bytes: an argument of the kernel's, with room for what quoting adds (execve(2)).
const COMMAND_BYTES_MAX: usize = 32 << 10;

/// How much of what a test writes is looked at.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// How many programs that were not found are named.
const MISSING_MAX: usize = 16;

/// The exit code of `timeout` (coreutils).
const TIMED_OUT: i32 = 124;

/// Between the end of what meets a prerequisite by the script's own clock, and by ours.
const GRACE_MS: u64 = 3_000;

/// How often deadline and cancellation are looked at.
const TURN_MS: u64 = 10;

/// Runs a test in a throwaway copy of the machine, to its end, its deadline or `cancel`.
///
/// `Err` only where the host can't make such a copy: nothing was run then.
pub fn run(test: &Test, options: &Options, cancel: &Cancel) -> Result<Outcome, ProcessError> {
    if let Some(reason) = refused(test) {
        return Ok(Outcome::NotRun(reason));
    }
    let plan = plan(test, options);
    let longest = plan
        .prerequisites
        .iter()
        .flat_map(|needed| [&needed.check, &needed.get]);
    if longest
        .chain([&plan.command])
        .any(|text| text.len() > COMMAND_BYTES_MAX)
    {
        return Ok(Outcome::NotRun(Reason::CommandTooLong));
    }
    attempt(&plan, options, cancel)
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Ran(Ran),
    NotRun(Reason),
}

/// A test whose command was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub ending: Ending,
    /// What its command changed in the copy, without what its prerequisites did.
    pub changes: Changes,
    /// How many processes it started, as far as the kernel tells.
    pub processes: u64,
    /// How many packets it wanted to send to where there is no way.
    pub unreachable: u64,
    /// Programs that it called and that this host doesn't have.
    pub missing: BTreeSet<String>,
    /// How much it wrote; what, is not kept, since it may be a secret of the host.
    pub output_bytes: usize,
    /// Files belonged to whom they belong to on the host; otherwise root inside was our own user.
    pub as_root: bool,
    pub duration: Duration,
}

/// How a test's command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Code(i32),
    /// It ended its whole copy.
    Signal(i32),
    /// It ran until its deadline, and was ended then.
    TimedOut,
    Cancelled,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

/// Why a test's command was not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// It is for these.
    OtherPlatform(Vec<String>),
    /// Its steps are for a person.
    Manual,
    /// Nothing here runs commands of this kind.
    Executor(String),
    /// Its shell is not installed.
    NoShell(String),
    Prerequisite {
        /// Of the test, from 1.
        number: usize,
        description: String,
        unmet: Unmet,
    },
    /// Files that belong to the technique and are not in the folder of techniques.
    Payload(Vec<String>),
    CommandTooLong,
    /// It was told to stop before.
    Cancelled,
    /// The copy ended before the test's command was reached, by a prerequisite.
    Ended,
}

/// Why a prerequisite doesn't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// What would meet it looked for the internet, this many times.
    Internet(u64),
    /// What would meet it ran, sent nothing, ended with this exit code, and did not.
    Failed(i32),
    /// The file has nothing that would meet it.
    Nothing,
    /// What checks or would meet it ran until its deadline.
    TimedOut,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherPlatform(platforms) => write!(f, "it is for {}", platforms.join(", ")),
            Self::Manual => f.write_str("its steps are for a person"),
            Self::Executor(name) => write!(f, "nothing here runs commands of `{name}`"),
            Self::NoShell(name) => write!(f, "`{name}` is not installed"),
            Self::Prerequisite {
                number,
                description,
                unmet,
            } => {
                write!(f, "prerequisite {number} ({}) {unmet}", description.trim())
            }
            Self::Payload(files) => write!(f, "files of the technique are not there: {}", files.join(", ")),
            Self::CommandTooLong => write!(f, "its command is longer than {COMMAND_BYTES_MAX} bytes"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Ended => f.write_str("a prerequisite ended the copy"),
        }
    }
}

impl Reason {
    /// One word for a tally.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::OtherPlatform(_) => "other platform",
            Self::Manual => "manual steps",
            Self::Executor(_) => "other executor",
            Self::NoShell(_) => "no shell",
            Self::Prerequisite { unmet, .. } => match unmet {
                Unmet::Internet(_) => "prerequisite needs the internet",
                Unmet::Failed(_) => "prerequisite can't be met here",
                Unmet::Nothing => "prerequisite not met, and nothing would meet it",
                Unmet::TimedOut => "prerequisite timed out",
            },
            Self::Payload(_) => "payload not there",
            Self::CommandTooLong => "command too long",
            Self::Cancelled => "cancelled",
            Self::Ended => "ended by a prerequisite",
        }
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internet(_) => f.write_str("needs the internet"),
            Self::Failed(0) => f.write_str("doesn't hold, nor after what would meet it"),
            Self::Failed(code) => write!(f, "doesn't hold, and what would meet it fails (exit code {code})"),
            Self::Nothing => f.write_str("doesn't hold, and the file has nothing that would meet it"),
            Self::TimedOut => f.write_str("did not end in time"),
        }
    }
}

fn refused(test: &Test) -> Option<Reason> {
    if !test.is_for_linux() {
        return Some(Reason::OtherPlatform(test.platforms.clone()));
    }
    let shells = [
        Some(&test.executor.shell),
        (!test.dependencies.is_empty()).then_some(&test.dependency_shell),
    ];
    shells.into_iter().flatten().find_map(|shell| match shell {
        Shell::Sh | Shell::Bash => None,
        Shell::Manual => Some(Reason::Manual),
        Shell::Other(name) => Some(Reason::Executor(name.clone())),
    })
}

fn attempt(plan: &Plan, options: &Options, cancel: &Cancel) -> Result<Outcome, ProcessError> {
    let shared = Arc::new(Mutex::new(Heard::new(options)));
    let ended = Cancel::new();
    let command = command(plan, options, &shared);
    let discard = Discard {
        hide: options.hide.clone(),
        provide: options
            .atomics
            .iter()
            .map(|folder| (folder.clone(), PathBuf::from(ATOMICS)))
            .collect(),
        limits: options.limits,
    };
    let over = std::sync::atomic::AtomicBool::new(false);
    let discarded = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::SeqCst) {
                if cancel.is_cancelled() || lock(&shared).is_late() {
                    ended.cancel();
                    return;
                }
                std::thread::sleep(Duration::from_millis(TURN_MS));
            }
        });
        let discarded = run_discarded(command, &discard, &ended);
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        discarded
    })?;
    let heard = lock(&shared);
    Ok(match heard.begun {
        Some(Step::Command) => Outcome::Ran(Ran {
            ending: heard.ending(&discarded.finished, cancel),
            changes: discarded.changes.after(Path::new(MARK)),
            processes: heard.processes(),
            unreachable: heard.network.0.saturating_sub(heard.network_before),
            missing: missing(&discarded.finished.stderr),
            output_bytes: discarded.finished.stderr.len(),
            as_root: discarded.owners_shown,
            duration: discarded.finished.duration,
        }),
        _ => Outcome::NotRun(heard.reason(plan, cancel, &discarded.finished)),
    })
}

fn command(plan: &Plan, options: &Options, shared: &Arc<Mutex<Heard>>) -> Command {
    let mut command = Command::new("/bin/sh", "/tmp");
    command.args = vec![
        "-c".into(),
        driver::script(plan, options.prerequisite_timeout.as_secs()).into(),
    ];
    let path = format!("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{PROGRAMS}");
    let variables = [
        ("PATH", path.as_str()),
        ("HOME", "/root"),
        ("USER", "root"),
        ("LOGNAME", "root"),
        ("SHELL", "/bin/bash"),
        ("LANG", "C"),
        ("TERM", "dumb"),
        ("TMPDIR", "/tmp"),
    ];
    command.env = variables.map(|(name, value)| (name.into(), value.into())).into();
    let mut reader = Reader::default();
    let heard = shared.clone();
    let timeouts = (options.timeout, options.prerequisite_timeout);
    command.stdout = Sink::Lines(Box::new(move |line| {
        if let Some(message) = reader.line(&String::from_utf8_lossy(line)) {
            lock(&heard).message(message, timeouts);
        }
    }));
    command.stderr = Sink::Capture {
        bytes_max: OUTPUT_BYTES_MAX,
    };
    command
}

/// What the script has told so far.
struct Heard {
    begun: Option<Step>,
    ended: Option<(Step, i32)>,
    /// The exit code of what last tried to meet a prerequisite.
    got: i32,
    /// When the step that runs has to be over.
    deadline: Instant,
    late: bool,
    /// Lost packets now, and at the last look before that.
    network: (u64, u64),
    network_before: u64,
    process_numbers: Vec<u64>,
    absent: Vec<String>,
    no_shell: Option<String>,
}

impl Heard {
    fn new(options: &Options) -> Self {
        Self {
            begun: None,
            ended: None,
            got: 0,
            deadline: Instant::now() + options.prerequisite_timeout,
            late: false,
            network: (0, 0),
            network_before: 0,
            process_numbers: Vec::new(),
            absent: Vec::new(),
            no_shell: None,
        }
    }

    fn message(&mut self, message: Message, (timeout, prerequisite_timeout): (Duration, Duration)) {
        match message {
            Message::Begin(step) => {
                self.begun = Some(step);
                let time = match step {
                    Step::Command => timeout,
                    Step::Get(_) => prerequisite_timeout + Duration::from_millis(GRACE_MS),
                    Step::Check(_) | Step::CheckAgain(_) => prerequisite_timeout,
                };
                self.network_before = self.network.0;
                self.deadline = Instant::now() + time;
            }
            Message::End(step, code) => {
                self.ended = Some((step, code));
                if matches!(step, Step::Get(_)) {
                    self.got = code;
                }
                // What the script itself does after a step is short.
                self.deadline = Instant::now() + prerequisite_timeout;
            }
            Message::Network(lost) => self.network = (lost, self.network.0),
            Message::Processes(number) => self.process_numbers.push(number),
            Message::Missing(path) => self.absent.push(path),
            Message::NoShell(shell) => self.no_shell = Some(shell),
        }
    }

    fn is_late(&mut self) -> bool {
        self.late |= Instant::now() >= self.deadline;
        self.late
    }

    fn ending(&self, finished: &Finished, cancel: &Cancel) -> Ending {
        match (self.ended, finished.status) {
            (Some((Step::Command, code)), _) => Ending::Code(code),
            _ if self.late => Ending::TimedOut,
            _ if cancel.is_cancelled() => Ending::Cancelled,
            (_, Status::Signal(signal)) => Ending::Signal(signal),
            (_, Status::Code(code)) => Ending::Code(code),
        }
    }

    fn processes(&self) -> u64 {
        match self.process_numbers.as_slice() {
            // Numbers start over when they are used up: fewer are counted than there were, then.
            [before, after, ..] => after.saturating_sub(*before),
            _ => 0,
        }
    }

    fn reason(&self, plan: &Plan, cancel: &Cancel, finished: &Finished) -> Reason {
        if let Some(shell) = &self.no_shell {
            return Reason::NoShell(shell.clone());
        }
        if !self.absent.is_empty() {
            return Reason::Payload(self.absent.clone());
        }
        let unmet = |index: usize, unmet: Unmet| Reason::Prerequisite {
            number: index + 1,
            description: plan
                .prerequisites
                .get(index)
                .map(|prerequisite| prerequisite.description.clone())
                .unwrap_or_default(),
            unmet,
        };
        let lost = self.network.0.saturating_sub(self.network.1);
        match (self.begun, self.ended) {
            _ if cancel.is_cancelled() => Reason::Cancelled,
            (Some(Step::Get(index) | Step::Check(index) | Step::CheckAgain(index)), _) if self.late => {
                unmet(index, Unmet::TimedOut)
            }
            (Some(Step::CheckAgain(_)), Some((Step::CheckAgain(index), code))) if code != 0 => match lost {
                0 if self.got == TIMED_OUT => unmet(index, Unmet::TimedOut),
                0 => unmet(index, Unmet::Failed(self.got)),
                lost => unmet(index, Unmet::Internet(lost)),
            },
            (Some(Step::Check(_)), Some((Step::Check(index), code))) if code != 0 => unmet(index, Unmet::Nothing),
            _ => {
                debug_assert!(finished.status.code() != Some(0), "the script went on");
                Reason::Ended
            }
        }
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names in `sh: 1: NAME: not found` and `bash: line 1: NAME: command not found`. Nothing else of the output
/// is kept: a name is what a program may be called, and short.
fn missing(output: &[u8]) -> BTreeSet<String> {
    const NAME_CHARS_MAX: usize = 40;
    let output = String::from_utf8_lossy(output);
    let names = output.lines().filter_map(|line| {
        let before = line
            .strip_suffix(": command not found")
            .or_else(|| line.strip_suffix(": not found"))?;
        let name = before.rsplit(": ").next()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
        (before.len() > name.len() && name.len() <= NAME_CHARS_MAX && name.chars().all(plain)).then(|| name.to_owned())
    });
    names.take(MISSING_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_were_not_found_are_named() {
        let check = |output: &str, expect: &[&str]| {
            let found = missing(output.as_bytes());
            assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), expect);
        };
        check("sh: 1: nmap: not found\n", &["nmap"]);
        check("bash: line 2: nmap: command not found\nx\n", &["nmap"]);
        check("/tmp/a.sh: 3: /opt/x y: not found\n", &[]);
        check("nmap: not found\n", &[]);
        check("nothing: here\n", &[]);
    }
}
