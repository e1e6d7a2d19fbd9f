//! The supervisor's side of worker and warden alike: one thread that starts the process, beats, asks and waits.
//!
//! The thread is the process's parent for as long as it lives. That matters: `PR_SET_PDEATHSIG` is about the thread
//! that started a child, not about its process, so a thread of the runtime's pool would kill the worker by resting.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::process::Signal;
use tokio::sync::watch;

use super::ProcessError;
use super::wire::{self, Answer, Ask, Request, Response, VERSION};

/// Between two heartbeats.
pub(super) const HEARTBEAT_MS: u64 = 200;
/// An answer that takes longer never comes.
const ANSWER_MS_MAX: u64 = 2_000;
/// Until a new process has answered for the first time.
const START_MS_MAX: u64 = 10_000;
/// Until a process whose socket was closed has exited; then it is killed.
const EXIT_MS_MAX: u64 = 1_000;

/// A process to start.
pub(super) struct Start<'a> {
    pub(super) role: &'static str,
    pub(super) exe: &'a Path,
    /// Behind `__worker --control-fd FD` or the like.
    pub(super) args: Vec<String>,
    /// Open in the child under the same numbers.
    pub(super) inherited: Vec<RawFd>,
    /// Killed by the kernel when the supervisor dies.
    pub(super) dies_with_parent: bool,
    /// Asked before the socket is closed.
    pub(super) farewell: Option<Ask>,
}

/// A running worker or warden. Dropping it closes its socket and waits for its exit.
pub(super) struct Helper {
    role: &'static str,
    pid: i32,
    commands: Mutex<Option<Sender<Question>>>,
    ended: watch::Receiver<bool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Something to ask, and where the answer goes.
struct Question {
    ask: Ask,
    reply: Box<dyn FnOnce(Result<Answer, ProcessError>) + Send>,
}

impl Helper {
    /// Starts the process and waits until it has answered once. `inherited` must stay open until this returns.
    pub(super) fn start(start: Start<'_>) -> Result<Helper, ProcessError> {
        let role = start.role;
        let failed = |reason| ProcessError::Start { role, reason };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let command = command(&start, &theirs);
        let (commands, receiver) = mpsc::channel();
        let (end, ended) = watch::channel(false);
        let (started, starting) = mpsc::sync_channel(1);
        let keeper = Keeper {
            role,
            stream: ours,
            commands: receiver,
            next_id: 0,
            farewell: start.farewell,
        };
        let thread = thread::Builder::new()
            .name(format!("proofmark-{role}"))
            .spawn(move || {
                keeper.run(command, theirs, &started);
                end.send_replace(true);
            })
            .map_err(failed)?;
        let gone = || Err(io::Error::other("it ended at once"));
        match starting.recv().unwrap_or_else(|_| gone()) {
            Ok(pid) => Ok(Helper {
                role,
                pid,
                commands: Mutex::new(Some(commands)),
                ended,
                thread: Mutex::new(Some(thread)),
            }),
            Err(reason) => {
                let _ = thread.join();
                Err(failed(reason))
            }
        }
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// False once it is known to be gone: at the latest a heartbeat after its end.
    pub(super) fn is_running(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Waits for its end.
    pub(super) async fn ended(&self) {
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    pub(super) async fn ask(&self, ask: Ask) -> Result<Answer, ProcessError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.send(ask, Box::new(move |answered| drop(reply.send(answered))))?;
        answer.await.unwrap_or(Err(ProcessError::Gone { role: self.role }))
    }

    /// The same for callers that don't wait on a runtime.
    pub(super) fn ask_blocking(&self, ask: Ask) -> Result<Answer, ProcessError> {
        let (reply, answer) = mpsc::channel();
        self.send(ask, Box::new(move |answered| drop(reply.send(answered))))?;
        answer.recv().unwrap_or(Err(ProcessError::Gone { role: self.role }))
    }

    /// Ends it in good order and waits for its exit. The second call does nothing.
    pub(super) fn stop(&self) {
        // The thread ends with the last sender.
        drop(self.commands.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn send(&self, ask: Ask, reply: Box<dyn FnOnce(Result<Answer, ProcessError>) + Send>) -> Result<(), ProcessError> {
        let gone = ProcessError::Gone { role: self.role };
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        match commands.as_ref() {
            Some(commands) => commands.send(Question { ask, reply }).map_err(|_| gone),
            None => Err(gone),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The thread.
struct Keeper {
    role: &'static str,
    stream: UnixStream,
    commands: Receiver<Question>,
    next_id: u64,
    farewell: Option<Ask>,
}

impl Keeper {
    fn run(mut self, mut command: Command, theirs: UnixStream, started: &SyncSender<io::Result<i32>>) {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return drop(started.send(Err(error))),
        };
        // Only the child's copy is left, so that its end is seen as the end of the stream.
        drop(theirs);
        let ready = self
            .exchange(Ask::Ping, START_MS_MAX)
            .map(|_| i32::try_from(child.id()).unwrap_or(0));
        let is_ready = ready.is_ok();
        let _ = started.send(ready);
        if is_ready {
            self.serve();
        }
        drop(self.stream);
        reap(&mut child);
    }

    /// Asks and beats, until nobody asks any more or nobody answers.
    fn serve(&mut self) {
        let mut beat = Instant::now() + Duration::from_millis(HEARTBEAT_MS);
        loop {
            match self
                .commands
                .recv_timeout(beat.saturating_duration_since(Instant::now()))
            {
                Ok(Question { ask, reply }) => match self.exchange(ask, ANSWER_MS_MAX) {
                    Ok(answer) => reply(Ok(answer)),
                    Err(_) => {
                        reply(Err(ProcessError::Gone { role: self.role }));
                        return;
                    }
                },
                Err(RecvTimeoutError::Timeout) => {
                    if self.exchange(Ask::Ping, ANSWER_MS_MAX).is_err() {
                        return;
                    }
                    beat = Instant::now() + Duration::from_millis(HEARTBEAT_MS);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    if let Some(farewell) = self.farewell.take() {
                        let _ = self.exchange(farewell, ANSWER_MS_MAX);
                    }
                    return;
                }
            }
        }
    }

    fn exchange(&mut self, ask: Ask, wait_ms: u64) -> io::Result<Answer> {
        self.next_id += 1;
        let id = self.next_id;
        self.stream.set_read_timeout(Some(Duration::from_millis(wait_ms)))?;
        self.stream.set_write_timeout(Some(Duration::from_millis(wait_ms)))?;
        wire::write(&mut self.stream, &Request { v: VERSION, id, ask })?;
        match wire::read::<Response>(&mut self.stream)? {
            Some(Response {
                v: VERSION,
                id: answered,
                answer,
            }) if answered == id => Ok(answer),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "an answer to something else",
            )),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Waits for the exit of a child whose socket is closed, and kills it when it takes too long.
fn reap(child: &mut Child) {
    let until = Instant::now() + Duration::from_millis(EXIT_MS_MAX);
    while Instant::now() < until {
        match child.try_wait() {
            Ok(None) => thread::sleep(Duration::from_millis(2)),
            Ok(Some(_)) | Err(_) => return,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn command(start: &Start<'_>, control: &UnixStream) -> Command {
    let mut command = Command::new(start.exe);
    command
        .arg(format!("__{}", start.role))
        .args(["--control-fd".to_owned(), control.as_raw_fd().to_string()])
        .args(&start.args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut inherited = start.inherited.clone();
    inherited.push(control.as_raw_fd());
    let dies_with_parent = start.dies_with_parent;
    let prepare = move || {
        rustix::process::setsid()?;
        if dies_with_parent {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        }
        for fd in &inherited {
            // SAFETY: the caller keeps these descriptors open until the child has answered, and a fork has them all.
            let fd = unsafe { rustix::fd::BorrowedFd::borrow_raw(*fd) };
            rustix::io::fcntl_setfd(fd, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only; it allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
    command
}

/// A descriptor that this process was started with, named on its command line.
pub(super) fn inherited(number: &str) -> Result<OwnedFd, String> {
    let number: RawFd = number
        .parse()
        .map_err(|_| format!("`{number}` is not a file descriptor"))?;
    // Checked before it is owned: a number that is not open must not become ours to close.
    let open = std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_ok();
    if number <= 2 || !open {
        return Err(format!("file descriptor {number} is not open"));
    }
    // SAFETY: it is open, the supervisor opened it for us, and the command line names each descriptor once.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    rustix::io::fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(|error| error.to_string())?;
    Ok(fd)
}
