//! Process trees on systems other than Linux: no isolation, no observation, and endings as good as the standard library's.
//!
//! On Unix a process group is killed as one; a descendant that leaves the group, or our own death by force, is beyond
//! this module. Nothing here claims otherwise: [`Isolation`] is empty. It is compiled and tested on Linux too.

use std::fs::OpenOptions;
use std::io::Read;
use std::process::{ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use evidence::Digest;

use super::discard::{Discard, Discarded};
use super::output::Receiver;
use super::{Cancel, Command, Finished, Isolation, Observed, ProcessError, Sink, Status, Wanted};

/// How often flags and clock are looked at.
const TURN_MS: u64 = 10;

/// How long output is awaited after the end: somebody outside the group may hold the pipe.
const DRAIN_MS_MAX: u64 = 500;

pub(super) fn run(command: Command, cancel: &Cancel) -> Result<Finished, ProcessError> {
    Ok(Tree::start(command, cancel.clone())?.until_ended(|_| ()))
}

pub(super) fn run_discarded(_: Command, _: &Discard, _: &Cancel) -> Result<Discarded, ProcessError> {
    Err(ProcessError::NoIsolation {
        reason: "a throwaway copy of the machine needs Linux".to_owned(),
    })
}

pub(super) fn spawn(command: Command) -> Result<Running, ProcessError> {
    let killer = Cancel::new();
    let tree = Tree::start(command, killer.clone())?;
    let pid = tree.child.id();
    let shared = Arc::new((Mutex::new(None), Condvar::new()));
    let thread = std::thread::spawn({
        let shared = shared.clone();
        move || {
            tree.until_ended(|status| {
                *shared.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
                shared.1.notify_all();
            })
        }
    });
    Ok(Running {
        pid,
        killer,
        shared,
        thread: Some(thread),
        finished: None,
    })
}

/// A service; see [`Child`](super::Child).
pub(super) struct Running {
    pid: u32,
    killer: Cancel,
    shared: Arc<(Mutex<Option<Status>>, Condvar)>,
    thread: Option<JoinHandle<Finished>>,
    finished: Option<Finished>,
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn isolation(&self) -> Isolation {
        Isolation::default()
    }

    pub(super) fn executable_digest(&self) -> Result<Digest, ProcessError> {
        Err(ProcessError::System {
            operation: "read a running program",
            reason: "this system doesn't show which file a process executes".to_owned(),
        })
    }

    pub(super) fn status(&self) -> Option<Status> {
        *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait(&self, timeout: Duration) -> Option<Status> {
        let (status, told) = &*self.shared;
        let status = status.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, _) = told
            .wait_timeout_while(status, timeout, |status| status.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        *status
    }

    pub(super) fn observed(&self) -> Option<Observed> {
        None
    }

    pub(super) fn kill(&mut self) {
        self.killer.cancel();
        if let Some(thread) = self.thread.take() {
            self.finished = thread.join().ok();
        }
    }

    pub(super) fn finish(&mut self) -> Finished {
        self.kill();
        let finished = self.finished.take();
        // A service is ended by killing it: that was not a cancelled run.
        finished.map_or_else(
            || finished_with(Status::Signal(9), Duration::ZERO),
            |finished| Finished {
                cancelled: false,
                ..finished
            },
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
            .field("pid", &self.pid)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

struct Tree {
    child: std::process::Child,
    stdout: Option<Piped>,
    stderr: Option<Piped>,
    cancel: Cancel,
    started: Instant,
    timeout: Option<Duration>,
}

impl Tree {
    fn start(command: Command, cancel: Cancel) -> Result<Self, ProcessError> {
        if command.isolation == Wanted::Required {
            return Err(ProcessError::NoIsolation {
                reason: "only Linux can".to_owned(),
            });
        }
        let mut builder = std::process::Command::new(&command.program);
        builder
            .args(&command.args)
            .env_clear()
            .envs(&command.env)
            .current_dir(&command.cwd)
            .stdin(Stdio::null())
            .stdout(stdio(&command.stdout)?)
            .stderr(stdio(&command.stderr)?);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut builder, 0);
        let started = Instant::now();
        let mut child = builder.spawn().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ProcessError::NotFound {
                program: command.program.clone(),
            },
            _ => ProcessError::CantRun {
                program: command.program.clone(),
                reason: error.to_string(),
            },
        })?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        Ok(Self {
            child,
            stdout: Piped::start(stdout, command.stdout),
            stderr: Piped::start(stderr, command.stderr),
            cancel,
            started,
            timeout: command.timeout,
        })
    }

    fn until_ended(mut self, on_end: impl FnOnce(Status)) -> Finished {
        let (mut timed_out, mut cancelled) = (false, false);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status_of(status),
                Ok(None) => {}
                Err(_) => break Status::Signal(9),
            }
            if !timed_out && !cancelled {
                cancelled = self.cancel.is_cancelled();
                timed_out = !cancelled && self.timeout.is_some_and(|timeout| self.started.elapsed() >= timeout);
                if timed_out || cancelled {
                    kill_group(&mut self.child);
                    continue;
                }
            }
            std::thread::sleep(Duration::from_millis(TURN_MS));
        };
        kill_group(&mut self.child);
        on_end(status);
        let (stdout, stdout_cut) = self.stdout.take().map_or_else(Default::default, Piped::end);
        let (stderr, stderr_cut) = self.stderr.take().map_or_else(Default::default, Piped::end);
        Finished {
            timed_out,
            cancelled,
            stdout,
            stderr,
            truncated: stdout_cut || stderr_cut,
            ..finished_with(status, self.started.elapsed())
        }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        kill_group(&mut self.child);
        let _ = self.child.wait();
    }
}

fn finished_with(status: Status, duration: Duration) -> Finished {
    Finished {
        status,
        timed_out: false,
        cancelled: false,
        stdout: Vec::new(),
        stderr: Vec::new(),
        truncated: false,
        isolation: Isolation::default(),
        observed: None,
        duration,
    }
}

fn stdio(sink: &Sink) -> Result<Stdio, ProcessError> {
    match sink {
        Sink::Null => Ok(Stdio::null()),
        Sink::Capture { .. } | Sink::Lines(_) => Ok(Stdio::piped()),
        Sink::File(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(Stdio::from)
            .map_err(|error| ProcessError::File {
                operation: "append to",
                path: path.clone(),
                reason: error.to_string(),
            }),
    }
}

/// A thread that reads a pipe.
struct Piped {
    receiver: Arc<Mutex<Option<Receiver>>>,
    ended: mpsc::Receiver<()>,
}

impl Piped {
    fn start(pipe: Option<impl Read + Send + 'static>, sink: Sink) -> Option<Self> {
        let mut pipe = pipe?;
        let receiver = Arc::new(Mutex::new(Receiver::of(sink)));
        let (end, ended) = mpsc::channel();
        std::thread::spawn({
            let receiver = receiver.clone();
            move || {
                let _end: mpsc::Sender<()> = end;
                let mut piece = vec![0; 1 << 15];
                while let Ok(length @ 1..) = pipe.read(&mut piece) {
                    let mut receiver = receiver.lock().unwrap_or_else(PoisonError::into_inner);
                    match receiver.as_mut() {
                        Some(receiver) => receiver.push(&piece[..length]),
                        None => return,
                    }
                }
            }
        });
        Some(Self { receiver, ended })
    }

    /// What was captured by the pipe's end, or after a while without one.
    fn end(self) -> (Vec<u8>, bool) {
        let waited = self.ended.recv_timeout(Duration::from_millis(DRAIN_MS_MAX));
        let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (kept, cut) = receiver.map_or_else(Default::default, Receiver::finish);
        (kept, cut || waited == Err(RecvTimeoutError::Timeout))
    }
}

fn kill_group(child: &mut std::process::Child) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
}

fn status_of(status: ExitStatus) -> Status {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Status::Signal(signal);
    }
    Status::Code(status.code().unwrap_or(-1))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh", "/");
        command.args = vec!["-c".into(), script.into()];
        command.stdout = Sink::Capture { bytes_max: 100 };
        command
    }

    #[test]
    fn a_program_runs_and_says_that_it_was_not_isolated() {
        let finished = run(shell("echo here; exit 3"), &Cancel::new()).unwrap();
        assert_eq!(finished.status, Status::Code(3));
        assert_eq!(finished.stdout, b"here\n");
        assert_eq!(finished.isolation.name(), "none");
        let mut required = shell("true");
        required.isolation = Wanted::Required;
        let refused = run(required, &Cancel::new()).unwrap_err();
        assert!(matches!(refused, ProcessError::NoIsolation { .. }));
    }

    #[test]
    fn a_timeout_kills_the_group() {
        let mut command = shell("sleep 60 & sleep 60");
        command.timeout = Some(Duration::from_millis(50));
        let finished = run(command, &Cancel::new()).unwrap();
        assert!(finished.timed_out && !finished.cancelled);
        assert_eq!(finished.status, Status::Signal(9));
        assert!(finished.duration < Duration::from_secs(30));
    }

    #[test]
    fn there_are_no_throwaway_copies() {
        let refused = run_discarded(Command::new("true", "/"), &Discard::default(), &Cancel::new());
        assert!(matches!(refused, Err(ProcessError::NoIsolation { .. })));
    }

    #[test]
    fn a_service_is_killed() {
        let mut child = spawn(shell("sleep 60")).unwrap();
        assert_eq!(child.status(), None);
        assert_eq!(child.wait(Duration::from_millis(1)), None);
        child.kill();
        assert_eq!(child.status(), Some(Status::Signal(9)));
        assert!(child.pid() > 0 && child.observed().is_none());
        assert_eq!(child.isolation(), Isolation::default());
        assert!(child.executable_digest().is_err());
        assert!(!child.finish().cancelled);
    }
}
