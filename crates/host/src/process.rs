//! Process trees: started with an exact environment, kept from keys and store, watched, and ended as a whole.
//!
//! What an isolated tree is kept from, where [`Isolation`] says user, mount and pid namespaces:
//!
//! - The folders in [`Command::hide`] are shown empty and can't be written, at every place where they are mounted.
//!   The tree has no capability, can't get one (`no_new_privs`), and a namespace it makes itself can't uncover them.
//! - It can't see, signal, trace or read the memory of any process outside, its own init included.
//! - It sees only harmless devices (`/dev/null` and its like), so it can't read a disk beneath its files.
//!   Where we are root, `/sys` and the settings in `/proc` are read-only: they could start programs outside.
//! - It has no terminal, no standard input, and no open file of ours.
//!
//! - With [`Command::writable`] it can change no file, name, mode or time elsewhere: everything but these folders is
//!   mounted read-only. What was read-only in them stays so, and what is hidden in them stays hidden.
//!
//! What it is not kept from: everything else that its user may do. Without a list of writable folders it can change
//! the user's other files (a shell start-up file, say). It can ask a daemon that it reaches by socket to act outside;
//! hide such a socket's folder too. Working directory, temporary files and network stay as they are.
//!
//! Where user namespaces are refused, Landlock stands in: hidden folders can't be opened or written, though their
//! names can be listed, and only what lay beside them at the start can be opened or written at all, so that a
//! new file directly in a folder above a hidden one is refused. With writable folders nothing else can be written,
//! though mode and times of the user's files can be changed everywhere. Where there is neither, [`Isolation::name`] says `none`.
//!
//! Namespaces need our own process to be dumpable (the default): the kernel gives the files that name a
//! namespace's users to root otherwise.
//!
//! Ending: a tree ends with its first program, by time, by [`Cancel`], by [`Child::kill`] or with our process,
//! even if that is killed. In a pid namespace no descendant can outlive that. Elsewhere a guard process, to
//! which orphans fall, kills until none is left; a tree without isolation that kills its guard first can get away.
//!
//! What is meant to do harm runs in a throwaway copy of the machine instead: [`run_discarded`], told in [`Discard`].
//!
//! Start reading at [`run`] and [`spawn`].

mod cancel;
#[cfg(target_os = "linux")]
mod child_linux;
mod discard;
#[cfg(target_os = "linux")]
mod discard_changes_linux;
#[cfg(target_os = "linux")]
mod discard_filter_linux;
#[cfg(target_os = "linux")]
mod discard_linux;
#[cfg(any(not(target_os = "linux"), test))]
mod fallback;
#[cfg(target_os = "linux")]
mod filter_linux;
#[cfg(target_os = "linux")]
mod landlock_linux;
#[cfg(target_os = "linux")]
mod mounts_linux;
#[cfg(target_os = "linux")]
mod observe_linux;
mod output;
#[cfg(target_os = "linux")]
mod sandbox_linux;
#[cfg(target_os = "linux")]
mod spawn_linux;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use evidence::Digest;

pub use cancel::Cancel;
pub use discard::{CHANGES_MAX, Changes, Discard, Discarded, Limits};
#[cfg(target_os = "linux")]
pub use landlock_linux::version as landlock_version;

#[cfg(not(target_os = "linux"))]
use fallback as system;
#[cfg(target_os = "linux")]
use spawn_linux as system;

/// How many paths (or addresses) one set of [`Observed`] holds at most.
pub const OBSERVED_PATHS_MAX: usize = 65_536;

/// The longest line handed to [`Sink::Lines`], in bytes; a longer one comes in pieces of this length.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Runs `command` to its end. A timeout or `cancel` kills the whole tree, and is a [`Finished`], not an error.
///
/// When the program ends, what it left running is killed. Standard input is empty.
pub fn run(command: Command, cancel: &Cancel) -> Result<Finished, ProcessError> {
    system::run(command, cancel)
}

/// Starts `command` as a service; returns once the program itself has replaced ours.
///
/// [`Command::timeout`] bounds its life too. Dropping the [`Child`] kills the whole tree.
pub fn spawn(command: Command) -> Result<Child, ProcessError> {
    system::spawn(command).map(|inner| Child { inner })
}

/// Runs `command` to its end in a throwaway copy of the machine, and says what it changed there.
///
/// There is no second way: where the host can't make the copy, [`ProcessError::NoIsolation`] says why. The command's
/// [`isolation`](Command::isolation) is not looked at, and there are no writable folders.
pub fn run_discarded(command: Command, discard: &Discard, cancel: &Cancel) -> Result<Discarded, ProcessError> {
    system::run_discarded(command, discard, cancel)
}

/// A program to start, and what it may see.
#[derive(Debug)]
pub struct Command {
    /// A path, relative ones from `cwd`; or a bare name, sought in `env`'s `PATH`.
    pub program: OsString,
    /// Without the program's own name.
    pub args: Vec<OsString>,
    pub cwd: PathBuf,
    /// The exact environment; nothing is inherited.
    pub env: BTreeMap<OsString, OsString>,
    pub stdout: Sink,
    pub stderr: Sink,
    /// Folders that the tree must not see. Each must exist (make it first), and may be a symbolic link to a folder.
    /// Neither it nor a folder above it may be replaced while the tree runs: what comes in its place is not hidden.
    pub hide: Vec<PathBuf>,
    /// `None`: the tree writes wherever its user may. `Some`: only in these folders and below, harmless devices and
    /// shared memory (`/dev/shm`) aside; an output file of ours is written wherever it is. Each must exist, must not
    /// be `/` or of the kernel, and may be a symbolic link to a folder, which is followed now: no link of an earlier
    /// tree may lie on the way. `hide` wins. Two folders of the list are two mounts: files are not moved between
    /// them by name (`EXDEV`). Where the host can't do that, [`Isolation::read_only`] is false.
    pub writable: Option<Vec<PathBuf>>,
    pub isolation: Wanted,
    /// Watch which files the tree reads, writes and executes and where it connects.
    pub observe: bool,
    /// The tree is killed when it runs longer; `None`: no bound but `cancel`.
    pub timeout: Option<Duration>,
}

impl Command {
    /// `program` in `cwd` with an empty environment, output thrown away, isolated as well as the host can.
    pub fn new(program: impl Into<OsString>, cwd: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            cwd: cwd.into(),
            env: BTreeMap::new(),
            stdout: Sink::Null,
            stderr: Sink::Null,
            hide: Vec::new(),
            writable: None,
            isolation: Wanted::BestEffort,
            observe: false,
            timeout: None,
        }
    }
}

/// Receives lines, on a thread of ours.
pub type OnLine = Box<dyn FnMut(&[u8]) + Send>;

/// Where an output stream goes.
pub enum Sink {
    /// Thrown away.
    Null,
    /// Appended to a file, made where there is none.
    File(PathBuf),
    /// Kept in memory up to `bytes_max`; the rest is thrown away and [`Finished::truncated`] says so.
    Capture { bytes_max: usize },
    /// Handed over line by line, without the line feed, in pieces of at most [`LINE_BYTES_MAX`] bytes. A slow
    /// receiver slows the program down.
    Lines(OnLine),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Capture { bytes_max } => f.debug_tuple("Capture").field(bytes_max).finish(),
            Self::Lines(_) => f.write_str("Lines"),
        }
    }
}

/// How much isolation the caller insists on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Namespaces, or a Landlock that scopes signals (ABI 6, Linux 6.12); otherwise [`ProcessError::NoIsolation`].
    Required,
    /// As much as the host can; [`Isolation`] says how much that was.
    BestEffort,
    /// None: the tree can do whatever we can.
    None,
}

/// What really stands between the tree and us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Isolation {
    pub user_namespace: bool,
    pub mount_namespace: bool,
    pub pid_namespace: bool,
    pub landlock: bool,
    pub no_new_privs: bool,
    /// Nothing but the folders in [`Command::writable`] can be written; false where there was no such list.
    pub read_only: bool,
}

impl Isolation {
    /// `user+mount+pid namespaces, no_new_privs, landlock, read-only world`, or what there is of it; `none` where neither namespaces
    /// nor Landlock keep the tree from anything.
    pub fn name(&self) -> String {
        let namespaces: Vec<&str> = [
            (self.user_namespace, "user"),
            (self.mount_namespace, "mount"),
            (self.pid_namespace, "pid"),
        ]
        .into_iter()
        .filter_map(|(there, name)| there.then_some(name))
        .collect();
        if namespaces.is_empty() && !self.landlock {
            return "none".to_owned();
        }
        let mut parts = Vec::new();
        if !namespaces.is_empty() {
            parts.push(format!("{} namespaces", namespaces.join("+")));
        }
        if self.no_new_privs {
            parts.push("no_new_privs".to_owned());
        }
        if self.landlock {
            parts.push("landlock".to_owned());
        }
        if self.read_only {
            parts.push("read-only world".to_owned());
        }
        parts.join(", ")
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Status {
    /// Exited with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }

    /// The exit code, if it exited.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A tree that has ended; nothing of it runs any more.
#[derive(Debug)]
pub struct Finished {
    pub status: Status,
    pub timed_out: bool,
    pub cancelled: bool,
    /// What [`Sink::Capture`] kept; empty for other sinks.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// A captured stream was longer than its bound.
    pub truncated: bool,
    pub isolation: Isolation,
    /// `None` where it was not asked for or the kernel refused.
    pub observed: Option<Observed>,
    pub duration: Duration,
}

/// What a process tree asked the kernel for.
///
/// A record, not a barrier: a program that wants to deceive can change a path in memory between our reading it and
/// the kernel's. Paths are as the tree sees them, symbolic links resolved; `/proc`, `/sys` and `/dev` are left out.
/// Not seen: files received open from another process, and datagrams sent with `sendmsg` without connecting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// `seccomp-user-notification`.
    pub method: &'static str,
    /// Regular files that were there and were opened for reading, or loaded by the kernel to run a program.
    pub read: BTreeSet<PathBuf>,
    /// Files opened for writing or made, renamed (both names), linked or removed; some attempts may have failed.
    pub written: BTreeSet<PathBuf>,
    /// Program files, interpreters of scripts included.
    pub executed: BTreeSet<PathBuf>,
    /// `127.0.0.1:443`, `[::1]:443`, `unix:/path`, `unix:@abstract`; attempts, whether or not they succeeded.
    pub connected: BTreeSet<String>,
    /// Nothing was missed and no set reached its bound.
    pub complete: bool,
    /// How many requests could not be read or did not fit.
    pub missed: u64,
}

/// A running service. Dropping it kills the whole tree.
#[derive(Debug)]
pub struct Child {
    inner: system::Running,
}

impl Child {
    /// The program's process id as seen from outside; after its end the number may belong to another process.
    pub fn pid(&self) -> u32 {
        self.inner.pid()
    }

    /// The digest of the file that the process really executes, whatever lies at its path by now.
    ///
    /// For a script that is its interpreter. Fails when the process has ended.
    pub fn executable_digest(&self) -> Result<Digest, ProcessError> {
        self.inner.executable_digest()
    }

    pub fn is_running(&self) -> bool {
        self.inner.status().is_none()
    }

    /// How the program ended; `None` while it runs.
    pub fn status(&self) -> Option<Status> {
        self.inner.status()
    }

    /// Waits up to `timeout` for the program's end; `None` when it still runs.
    pub fn wait(&self, timeout: Duration) -> Option<Status> {
        self.inner.wait(timeout)
    }

    /// Kills the whole tree and waits until nothing of it runs. Doing it again does nothing.
    pub fn kill(&mut self) {
        self.inner.kill();
    }

    /// Kills the whole tree and hands over what it left: captured output, observations.
    pub fn finish(mut self) -> Finished {
        self.inner.finish()
    }

    pub fn isolation(&self) -> Isolation {
        self.inner.isolation()
    }

    /// What has been observed so far; `None` where it was not asked for or the kernel refused.
    pub fn observed(&self) -> Option<Observed> {
        self.inner.observed()
    }
}

/// Why a tree was not started. Holds no argument and no environment: those may be secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    #[error("program `{}` was not found", program.display())]
    NotFound { program: OsString },
    #[error("can't run `{}`: {reason}", program.display())]
    CantRun { program: OsString, reason: String },
    #[error("can't hide `{}`: {reason}", path.display())]
    CantHide { path: PathBuf, reason: String },
    #[error("can't leave `{}` writable: {reason}", path.display())]
    CantLeaveWritable { path: PathBuf, reason: String },
    #[error("the host can't isolate a process: {reason}")]
    NoIsolation { reason: String },
    #[error("can't {operation} `{}`: {reason}", path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("can't {operation}: {reason}")]
    System { operation: &'static str, reason: String },
    #[error("the process has ended")]
    Ended,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolation_is_named_by_what_there_is() {
        let check = |user, mount, pid, landlock, no_new_privs, read_only, expect: &str| {
            let isolation = Isolation {
                user_namespace: user,
                mount_namespace: mount,
                pid_namespace: pid,
                landlock,
                no_new_privs,
                read_only,
            };
            assert_eq!(isolation.name(), expect);
        };
        check(
            true,
            true,
            true,
            true,
            true,
            true,
            "user+mount+pid namespaces, no_new_privs, landlock, read-only world",
        );
        check(false, false, false, true, true, false, "no_new_privs, landlock");
        check(false, false, false, false, true, false, "none");
        check(false, false, false, false, false, false, "none");
    }
}
