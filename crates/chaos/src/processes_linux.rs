//! Processes that faults attack: who they are, what the kernel says of them, and how they are reached without ever
//! reaching another one.
//!
//! A number alone is nobody: it is given to the next process once its own is gone. So a process is a number and its
//! start time, and it is signalled through a descriptor that was opened before both were compared.
//! Start reading at [`Process`]; [`ProcessChange`] is the strike that most faults on processes are.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use serde_json::Value;

use crate::fault::{Entry, Fault};
use crate::files::told;
use crate::permit::Permit;
use crate::read::Section;
use crate::record;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::Target;

/// Until the kernel has done what a signal asks for.
const SIGNAL_MS_MAX: u64 = 1_000;
/// Between two looks.
const LOOK_MS: u64 = 2;
/// What is read of one file below `/proc`.
const PID_FILE_BYTES_MAX: usize = 64;

/// A process, and no other one that is given its number later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: Pid,
    /// In clock ticks since the system started.
    started: u64,
}

impl Process {
    /// The one that `pid_file` of a target names: the number in its first line.
    pub(crate) fn of(target: &Target) -> Result<Process, String> {
        let path = target.path("pid_file")?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("`pid_file` of target `{}` can't be read: {error}", target.name))?;
        let first = text.lines().next().unwrap_or("").trim();
        let pid = Some(first)
            .filter(|first| first.len() < PID_FILE_BYTES_MAX)
            .and_then(|first| first.parse().ok());
        let pid = pid.and_then(Pid::from_raw).filter(|pid| pid.as_raw_nonzero().get() > 1);
        let pid = pid.ok_or_else(|| format!("`pid_file` of target `{}` holds no process number", target.name))?;
        if u32::try_from(pid.as_raw_nonzero().get()) == Ok(std::process::id()) {
            return Err(format!("target `{}` is this very process", target.name));
        }
        let gone = || {
            format!(
                "target `{}` does not run: there is no process {}",
                target.name,
                number(pid)
            )
        };
        let stat = Stat::read(&format!("/proc/{}/stat", number(pid))).ok_or_else(gone)?;
        if !stat.is_alive() {
            return Err(gone());
        }
        Ok(Process {
            pid,
            started: stat.started,
        })
    }

    pub(crate) fn record(self) -> Record {
        Record::from([
            ("pid".to_owned(), number(self.pid).into()),
            ("started".to_owned(), self.started.into()),
        ])
    }

    pub(crate) fn recorded(record: &Record) -> Result<Process, String> {
        let pid = i32::try_from(record::number(record, "pid")?)
            .ok()
            .and_then(Pid::from_raw);
        Ok(Process {
            pid: pid.ok_or("`pid` of the record is no process number")?,
            started: record::number(record, "started")?,
        })
    }

    /// What the kernel says of it; `None` once it has ended.
    pub(crate) fn stat(self) -> Option<Stat> {
        let stat = Stat::read(&format!("/proc/{}/stat", number(self.pid)))?;
        (stat.started == self.started && stat.is_alive()).then_some(stat)
    }

    pub(crate) fn is_alive(self) -> bool {
        self.stat().is_some()
    }

    /// True when it was sent; false when the process has ended.
    pub(crate) fn signal(self, signal: Signal) -> Result<bool, String> {
        let Some(fd) = self.open()? else { return Ok(false) };
        match rustix::process::pidfd_send_signal(&fd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(told(error)),
        }
    }

    /// Waits until the kernel says so.
    pub(crate) fn wait_until(self, so: impl Fn(Option<Stat>) -> bool) -> Result<(), String> {
        let until = Instant::now() + Duration::from_millis(SIGNAL_MS_MAX);
        while !so(self.stat()) {
            if Instant::now() > until {
                return Err(format!(
                    "process {} did not do as it was told in {SIGNAL_MS_MAX} ms",
                    number(self.pid)
                ));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(())
    }

    /// Opened before it is compared: from then on the number can't be given to another.
    fn open(self) -> Result<Option<OwnedFd>, String> {
        match rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) {
            Ok(fd) => Ok(self.is_alive().then_some(fd)),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    /// Its threads.
    pub(crate) fn tasks(self) -> Result<Vec<Pid>, String> {
        let mut tasks: Vec<Pid> = self.numbers("task")?.into_iter().filter_map(Pid::from_raw).collect();
        tasks.sort_by_key(|task| number(*task));
        Ok(tasks)
    }

    /// The lowest descriptor that it has not open: what the next `open` gets.
    pub(crate) fn lowest_free_descriptor(self) -> Result<u64, String> {
        let open = self.numbers("fd")?;
        Ok((0..)
            .find(|fd| !i32::try_from(*fd).is_ok_and(|fd| open.contains(&fd)))
            .unwrap_or(0))
    }

    fn numbers(self, folder: &str) -> Result<Vec<i32>, String> {
        let folder = format!("/proc/{}/{folder}", number(self.pid));
        let entries = std::fs::read_dir(&folder).map_err(|error| format!("`{folder}`: {error}"))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .collect())
    }

    /// Bytes of its address space.
    pub(crate) fn address_space(self) -> Result<u64, String> {
        status_bytes(number(self.pid), "VmSize:").ok_or_else(|| "the kernel doesn't tell its size".to_owned())
    }
}

/// A line of `/proc/PID/status` that is in kB, in bytes.
pub(crate) fn status_bytes(pid: i32, line: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|found| found.strip_prefix(line))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

/// A number as it is written.
pub(crate) fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    state: u8,
    pub(crate) nice: i32,
    started: u64,
}

impl Stat {
    pub(crate) fn read(path: &str) -> Option<Stat> {
        let text = std::fs::read_to_string(path).ok()?;
        // The name, in brackets, may hold anything.
        let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
        Some(Stat {
            state: *fields.first()?.as_bytes().first()?,
            nice: fields.get(16)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    fn is_alive(self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    pub(crate) fn is_stopped(self) -> bool {
        self.state == b'T'
    }

    pub(crate) fn is_running(self) -> bool {
        self.state == b'R'
    }
}

/// What a fault does to a process. The process is alive whenever one of these is called.
pub(crate) trait OnProcess: Send + Sync + fmt::Debug {
    /// What is there now, which is enough to put it back.
    fn look(&self, process: Process) -> Result<Record, String>;

    fn apply(&self, process: Process, record: &Record) -> Result<(), String>;

    fn is_applied(&self, process: Process, record: &Record) -> Result<bool, String>;

    fn take_back(&self, process: Process, record: &Record) -> Result<Undone, String>;
}

/// A fault that changes one running process, and with whose end it is over.
#[derive(Debug)]
pub(crate) struct ProcessChange<C> {
    pub(crate) target: String,
    pub(crate) parameters: BTreeMap<String, Value>,
    pub(crate) change: C,
    pub(crate) action: &'static str,
    pub(crate) undo_action: &'static str,
}

impl<C: OnProcess + 'static> ProcessChange<C> {
    /// A fault with the key `target`.
    pub(crate) fn read(
        section: &Section<'_>,
        change: C,
        action: &'static str,
        undo_action: &'static str,
    ) -> Option<ProcessChange<C>> {
        let target = section.text("target")?;
        Some(ProcessChange {
            parameters: BTreeMap::from([("target".to_owned(), target.clone().into())]),
            target,
            change,
            action,
            undo_action,
        })
    }

    /// A parameter more.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    pub(crate) fn boxed(self, entry: &'static Entry) -> Option<Box<dyn Fault>> {
        boxed(entry, self, None)
    }
}

impl<C: OnProcess> Strike for ProcessChange<C> {
    fn parameters(&self) -> BTreeMap<String, Value> {
        self.parameters.clone()
    }

    fn action(&self) -> String {
        format!("{} `{}`", self.action, self.target)
    }

    fn undo_action(&self) -> String {
        self.undo_action.to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let process = Process::of(site.target(&self.target)?)?;
        let mut record = self.change.look(process)?;
        record.extend(process.record());
        Ok(record)
    }

    fn inject(&self, _: &Permit, _: &Site, record: &Record) -> Result<(), String> {
        let process = Process::recorded(record)?;
        if !process.is_alive() {
            return Err(format!("process {} has ended", number(process.pid)));
        }
        self.change.apply(process, record)
    }

    fn bites(&self, _: &Site, record: &Record) -> Result<bool, String> {
        let process = Process::recorded(record)?;
        Ok(process.is_alive() && self.change.is_applied(process, record)?)
    }

    fn undo(&self, _: &Site, record: &Record) -> Result<Undone, String> {
        let process = Process::recorded(record)?;
        if !process.is_alive() {
            // What was changed of it has ended with it.
            return Ok(Undone::Restored);
        }
        match self.change.take_back(process, record) {
            Err(_) if !process.is_alive() => Ok(Undone::Restored),
            undone => undone,
        }
    }
}

/// A soft resource limit of a process, lowered.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) resource: Resource,
    /// Its line in `/proc/PID/limits`.
    pub(crate) line: &'static str,
    /// The new limit of a process as it is now.
    pub(crate) lowered: fn(Process, u64) -> Result<u64, String>,
    /// What is let over beyond what the process has.
    pub(crate) spare: u64,
}

impl Limit {
    /// Soft and hard; `None` is unlimited.
    fn read(&self, process: Process) -> Result<Rlimit, String> {
        let path = format!("/proc/{}/limits", number(process.pid));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("`{path}`: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(self.line));
        let mut words = line
            .ok_or("the kernel doesn't tell that limit")?
            .split_ascii_whitespace();
        let mut limit = || match words.next() {
            Some("unlimited") => Ok(None),
            Some(number) => number.parse().map(Some).map_err(|_| format!("`{number}` is no limit")),
            None => Err("the kernel doesn't tell that limit".to_owned()),
        };
        Ok(Rlimit {
            current: limit()?,
            maximum: limit()?,
        })
    }

    /// Sets the soft limit where it is `from`, and says whether it was.
    fn set(&self, process: Process, from: Option<u64>, to: Option<u64>) -> Result<bool, String> {
        let found = self.read(process)?;
        if found.current != from {
            return Ok(false);
        }
        let new = Rlimit {
            current: to,
            maximum: found.maximum,
        };
        // Held open, so that the number stays its own.
        let Some(_fd) = process.open()? else { return Ok(false) };
        let old = rustix::process::prlimit(Some(process.pid), self.resource, new).map_err(told)?;
        if old.current == from {
            return Ok(true);
        }
        rustix::process::prlimit(Some(process.pid), self.resource, old).map_err(told)?;
        Ok(false)
    }

    fn before(record: &Record) -> Result<Option<u64>, String> {
        match record::text(record, "limit_before") {
            Ok("unlimited") => Ok(None),
            _ => record::number(record, "limit_before").map(Some),
        }
    }
}

impl OnProcess for Limit {
    fn look(&self, process: Process) -> Result<Record, String> {
        let before = self.read(process)?.current;
        let after = (self.lowered)(process, self.spare)?;
        if before.is_some_and(|before| before <= after) {
            return Err(format!("its limit is no more than {after} already"));
        }
        let before = before.map_or_else(|| Value::from("unlimited"), Value::from);
        Ok(Record::from([
            ("limit_before".to_owned(), before),
            ("limit_after".to_owned(), after.into()),
        ]))
    }

    fn apply(&self, process: Process, record: &Record) -> Result<(), String> {
        let after = record::number(record, "limit_after")?;
        let set = self.set(process, Limit::before(record)?, Some(after))?;
        if set || self.is_applied(process, record)? {
            return Ok(());
        }
        Err("its limit was changed since it was looked at".to_owned())
    }

    fn is_applied(&self, process: Process, record: &Record) -> Result<bool, String> {
        Ok(self.read(process)?.current == Some(record::number(record, "limit_after")?))
    }

    fn take_back(&self, process: Process, record: &Record) -> Result<Undone, String> {
        let (before, after) = (Limit::before(record)?, record::number(record, "limit_after")?);
        if self.set(process, Some(after), before)? || self.read(process)?.current == before {
            return Ok(Undone::Restored);
        }
        Ok(Undone::Foreign("somebody else has changed its limit".to_owned()))
    }
}
