//! Running trees: their output pumped, their end awaited, their death made sure.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evidence::Digest;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions};

use super::child_linux::kind;
use super::discard::{Changes, Discard, Discarded};
use super::observe_linux::Observer;
use super::output::Receiver;
use super::sandbox_linux::{self, Launched, Streams, above_streams, system};
use super::{Cancel, Command, Finished, Isolation, Observed, ProcessError, Sink, Status, discard_changes_linux};

/// How long a wait lasts at most before flags and clock are looked at again.
const WAIT_MS_MAX: u64 = 1_000;

pub(super) fn run(command: Command, cancel: &Cancel) -> Result<Finished, ProcessError> {
    let started = Instant::now();
    let Started {
        tree, pump, observer, ..
    } = start(command, started, Some(cancel.clone()))?;
    let ended = pump.run(|_| ());
    Ok(ended.into_finished(tree.isolation, observer.map(Observer::finish), started))
}

pub(super) fn run_discarded(command: Command, discard: &Discard, cancel: &Cancel) -> Result<Discarded, ProcessError> {
    let started = Instant::now();
    let throwaway = sandbox_linux::plan_discard(&command, discard)?;
    let launch = |command: &Command, streams: &Streams| sandbox_linux::launch_discarded(command, &throwaway, streams);
    let Started {
        tree,
        pump,
        observer,
        store,
    } = start_by(command, started, Some(cancel.clone()), launch)?;
    let ended = pump.run(|_| ());
    // Nothing of the tree runs any more: what it left can be read in peace, and goes with the last descriptor.
    let changes = match &store {
        Some(store) => discard_changes_linux::read(store, &throwaway.compared(), throwaway.we_are_root()),
        None => Changes::default(),
    };
    Ok(Discarded {
        finished: ended.into_finished(tree.isolation, observer.map(Observer::finish), started),
        changes,
        owners_shown: throwaway.we_are_root(),
    })
}

pub(super) fn spawn(command: Command) -> Result<Running, ProcessError> {
    let started = Instant::now();
    let Started {
        tree, pump, observer, ..
    } = start(command, started, None)?;
    let shared = Arc::new(Shared::default());
    let thread = std::thread::Builder::new()
        .name("pump".to_owned())
        .spawn({
            let shared = shared.clone();
            move || {
                // Also when a receiver of lines panics: the pump then kills the tree on its way out.
                let _told = TellOnDrop(&shared);
                pump.run(|status| shared.tell(status))
            }
        })
        .map_err(|error| ProcessError::System {
            operation: "start a thread",
            reason: error.to_string(),
        })?;
    Ok(Running {
        tree,
        shared,
        thread: Some(thread),
        observer: Mutex::new(observer),
        started,
        ended: None,
    })
}

/// A service; see [`Child`](super::Child).
pub(super) struct Running {
    tree: Arc<Tree>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Ended>>,
    observer: Mutex<Option<Observer>>,
    started: Instant,
    ended: Option<Ended>,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.tree.program
    }

    pub(super) fn isolation(&self) -> Isolation {
        self.tree.isolation
    }

    pub(super) fn executable_digest(&self) -> Result<Digest, ProcessError> {
        let folder = self.tree.proc_folder.as_ref().ok_or(ProcessError::Ended)?;
        let file = match rustix::fs::openat(folder, "exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::SRCH | Errno::NOENT) => return Err(ProcessError::Ended),
            Err(error) => return Err(system("read a running program")(error)),
        };
        let mut file = File::from(file);
        let mut hasher = Digest::hasher();
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.read(&mut piece) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(length) => hasher.update(&piece[..length]),
                Err(error) => {
                    return Err(ProcessError::System {
                        operation: "read a running program",
                        reason: error.to_string(),
                    });
                }
            }
        }
    }

    pub(super) fn status(&self) -> Option<Status> {
        *self.shared.status()
    }

    pub(super) fn wait(&self, timeout: Duration) -> Option<Status> {
        let status = self.shared.status();
        let (status, _) = self
            .shared
            .told
            .wait_timeout_while(status, timeout, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *status
    }

    pub(super) fn observed(&self) -> Option<Observed> {
        let observer = self.observer.lock().unwrap_or_else(PoisonError::into_inner);
        observer.as_ref().map(Observer::so_far)
    }

    pub(super) fn kill(&mut self) {
        self.tree.kill();
        if let Some(thread) = self.thread.take() {
            // A receiver of lines that panicked has had its say on stderr already; the tree is gone all the same.
            self.ended = thread.join().ok();
        }
    }

    pub(super) fn finish(&mut self) -> Finished {
        self.kill();
        let observer = self.observer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        self.ended.take().unwrap_or_default().into_finished(
            self.tree.isolation,
            observer.map(Observer::finish),
            self.started,
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running")
            .field("pid", &self.pid())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

/// What the pump's thread tells.
#[derive(Default)]
struct Shared {
    status: Mutex<Option<Status>>,
    told: Condvar,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Option<Status>> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, status: Status) {
        self.status().get_or_insert(status);
        self.told.notify_all();
    }
}

struct TellOnDrop<'a>(&'a Shared);

impl Drop for TellOnDrop<'_> {
    fn drop(&mut self) {
        self.0.tell(KILLED);
    }
}

/// What a tree that we killed died of.
const KILLED: Status = Status::Signal(libc::SIGKILL);

struct Started {
    tree: Arc<Tree>,
    pump: Pump,
    observer: Option<Observer>,
    store: Option<OwnedFd>,
}

fn start(command: Command, started: Instant, cancel: Option<Cancel>) -> Result<Started, ProcessError> {
    start_by(command, started, cancel, sandbox_linux::launch)
}

fn start_by(
    mut command: Command,
    started: Instant,
    cancel: Option<Cancel>,
    launch: impl FnOnce(&Command, &Streams) -> Result<Launched, ProcessError>,
) -> Result<Started, ProcessError> {
    let stdout = std::mem::replace(&mut command.stdout, Sink::Null);
    let stderr = std::mem::replace(&mut command.stderr, Sink::Null);
    let stdin = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(system("open `/dev/null`"))?;
    let (child_stdout, stdout) = open_sink(stdout)?;
    let (child_stderr, stderr) = open_sink(stderr)?;
    let streams = Streams {
        stdin: above_streams(stdin)?,
        stdout: child_stdout,
        stderr: child_stderr,
    };
    let Launched {
        first,
        program,
        proc_folder,
        control,
        isolation,
        observer,
        store,
    } = launch(&command, &streams)?;
    let tree = Arc::new(Tree {
        first,
        program,
        proc_folder,
        control,
        isolation,
        reaped: Mutex::new(false),
    });
    let pump = Pump {
        tree: tree.clone(),
        stdout,
        stderr,
        // A timeout beyond what the clock can say is none.
        deadline: command.timeout.and_then(|timeout| started.checked_add(timeout)),
        cancel,
    };
    Ok(Started {
        tree,
        pump,
        observer,
        store,
    })
}

/// A pipe that we read, until its end.
struct Piped {
    end: Option<OwnedFd>,
    receiver: Receiver,
}

/// The program's end, and ours where there is a pipe.
fn open_sink(sink: Sink) -> Result<(OwnedFd, Option<Piped>), ProcessError> {
    if let Sink::File(path) = &sink {
        return Ok((above_streams(open_append(path)?)?, None));
    }
    let Some(receiver) = Receiver::of(sink) else {
        let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(system("open `/dev/null`"))?;
        return Ok((above_streams(null)?, None));
    };
    let (end, childs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"))?;
    rustix::io::ioctl_fionbio(&end, true).map_err(system("make a pipe"))?;
    let piped = Piped {
        end: Some(end),
        receiver,
    };
    Ok((above_streams(childs)?, Some(piped)))
}

fn open_append(path: &Path) -> Result<OwnedFd, ProcessError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| ProcessError::File {
            operation: "append to",
            path: path.to_owned(),
            reason: error.to_string(),
        })
}

/// The processes, and what ends them.
struct Tree {
    first: Pid,
    program: u32,
    proc_folder: Option<OwnedFd>,
    control: OwnedFd,
    isolation: Isolation,
    /// Once the first process is reaped its number may be another's: no signal may be sent after.
    reaped: Mutex<bool>,
}

impl Tree {
    fn kill(&self) {
        let reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            sandbox_linux::end_tree(self.first, self.control.as_fd(), self.isolation.pid_namespace);
        }
    }

    /// Kills what is left, and waits until the first process, and with it every other, is gone.
    fn end(&self) {
        if *self.reaped.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        self.kill();
        // Looks first and reaps under the lock, so that `kill` is never locked out for long.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = rustix::process::waitid(WaitId::Pid(self.first), options) {}
        let mut reaped = self.reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*reaped {
            while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.first), WaitOptions::empty()) {}
            *reaped = true;
        }
    }
}

impl Drop for Tree {
    /// No way out, a panic of a receiver included, leaves a tree running.
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads what the tree writes until it has ended.
struct Pump {
    tree: Arc<Tree>,
    stdout: Option<Piped>,
    stderr: Option<Piped>,
    deadline: Option<Instant>,
    cancel: Option<Cancel>,
}

/// What the pump has seen.
#[derive(Default)]
struct Ended {
    status: Option<Status>,
    timed_out: bool,
    cancelled: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Ended {
    fn into_finished(self, isolation: Isolation, observed: Option<Observed>, started: Instant) -> Finished {
        Finished {
            // No status arrived: the first process was killed, and all others with it.
            status: self.status.unwrap_or(KILLED),
            timed_out: self.timed_out,
            cancelled: self.cancelled,
            stdout: self.stdout,
            stderr: self.stderr,
            truncated: self.truncated,
            isolation,
            observed,
            duration: started.elapsed(),
        }
    }
}

impl Pump {
    /// Returns when nothing of the tree runs any more; `on_end` hears of that before the last output is delivered.
    fn run(mut self, on_end: impl FnOnce(Status)) -> Ended {
        let tree = self.tree.clone();
        let mut ended = Ended::default();
        while self.turn(&mut ended) {}
        tree.end();
        on_end(ended.status.unwrap_or(KILLED));
        // What is still in the pipes. Not until their end: a process outside the tree may have been given one.
        for piped in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            while piped.read() {}
        }
        let finish = |piped: Option<Piped>| piped.map_or_else(Default::default, |piped| piped.receiver.finish());
        let (stdout, stdout_cut) = finish(self.stdout);
        let (stderr, stderr_cut) = finish(self.stderr);
        Ended {
            stdout,
            stderr,
            truncated: stdout_cut || stderr_cut,
            ..ended
        }
    }

    /// Waits for one thing to happen and does what it asks for; false when the tree has ended.
    fn turn(&mut self, ended: &mut Ended) -> bool {
        let killed = ended.timed_out || ended.cancelled;
        if !killed {
            ended.cancelled = self.cancel.as_ref().is_some_and(Cancel::is_cancelled);
            ended.timed_out = !ended.cancelled && self.deadline.is_some_and(|at| at <= Instant::now());
            if ended.cancelled || ended.timed_out {
                self.tree.kill();
                return true;
            }
        }
        let longest = Duration::from_millis(WAIT_MS_MAX);
        let wait = match self.deadline {
            Some(at) if !killed => at.saturating_duration_since(Instant::now()).min(longest),
            _ => longest,
        };
        let mut waiting = vec![PollFd::new(&self.tree.control, PollFlags::IN)];
        for piped in [&self.stdout, &self.stderr].into_iter().flatten() {
            waiting.extend(piped.end.iter().map(|end| PollFd::new(end, PollFlags::IN)));
        }
        if !killed && let Some(wake) = self.cancel.as_ref().and_then(Cancel::wake) {
            waiting.push(PollFd::from_borrowed_fd(wake, PollFlags::IN));
        }
        let wait = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(0),
            tv_nsec: wait.subsec_nanos().into(),
        };
        if poll(&mut waiting, Some(&wait)).is_err() {
            // Interrupted, or out of memory: the next turn will tell.
            return true;
        }
        let control = !waiting[0].revents().is_empty();
        for piped in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            piped.read();
        }
        !control || self.heard(ended)
    }

    /// Takes a message of the first process; false at its death.
    fn heard(&self, ended: &mut Ended) -> bool {
        match sandbox_linux::receive(&self.tree.control).map(|received| received.message) {
            Ok(Some([kind::ENDED, status, _])) => {
                if !ended.timed_out && !ended.cancelled {
                    ended.status = Some(status_of(status));
                }
                true
            }
            Ok(Some(_)) => true,
            Ok(None) | Err(_) => false,
        }
    }
}

impl Piped {
    /// Reads once, without waiting; false when there was nothing.
    fn read(&mut self) -> bool {
        let Some(end) = &self.end else {
            return false;
        };
        let mut piece = [0; 1 << 15];
        match rustix::io::read(end, &mut piece) {
            Ok(length) if length > 0 => {
                self.receiver.push(&piece[..length]);
                true
            }
            Err(Errno::INTR) => true,
            Err(Errno::AGAIN) => false,
            // A closed pipe would wake us for ever.
            Ok(_) | Err(_) => {
                self.end = None;
                false
            }
        }
    }
}

/// From wait(2).
fn status_of(status: i32) -> Status {
    if libc::WIFSIGNALED(status) {
        Status::Signal(libc::WTERMSIG(status))
    } else {
        Status::Code(libc::WEXITSTATUS(status))
    }
}
