//! The warden: a process that outlives the supervisor, undoes what it left, and exits.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use host::DiskStorage;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::ProcessError;
use super::helper::{Helper, Start, inherited};
use super::wire::{self, Answer, Ask, Request, Response, VERSION};
use super::worker::Worker;
use crate::journal::UndoJournal;

const ROLE: &str = "warden";
/// A file in the journal's folder, locked for as long as a warden lives.
const LOCK: &str = "warden.lock";
/// A supervisor that is stopped and silent for longer is taken for dead, in milliseconds.
const STOPPED_MS_MAX: u64 = 1_000;
/// So is one that is silent for longer and not stopped: it may only have had no turn on a busy machine.
const SILENT_MS_MAX: u64 = 3_000;
/// How often the silence is looked at, in milliseconds.
const LOOK_MS: u64 = 100;
/// How often, while it is armed, deadline and kill switch are.
const ARMED_LOOK_MS: u64 = 20;
/// A supervisor that has not undone everything so long after deadline or kill switch is killed, in milliseconds.
const GRACE_MS: u64 = 500;
/// What can't be undone is tried again for so long, with so many milliseconds between; shorter than the next start waits.
const RETRY_MS_MAX: u64 = 7_000;
const RETRY_PAUSE_MS: u64 = 200;
/// Until a killed process is gone, in milliseconds.
const KILL_MS_MAX: u64 = 1_000;
/// How long the next start waits for the last warden, in milliseconds.
const CLEARING_MS_MAX: u64 = 10_000;

/// The supervisor's handle of the warden. Dropping it lets the warden go without doing anything: that is for a
/// supervisor that ends in good order. One that dies drops nothing.
pub struct Warden {
    helper: Arc<Helper>,
}

impl Warden {
    /// Starts the warden of `worker`: `exe` is this program, `journal_root` the folder whose [`DiskStorage`] holds
    /// the undo journal. Scratch folders are those registered in the journal.
    ///
    /// It blocks until the warden stands: some milliseconds.
    pub fn spawn(exe: &Path, journal_root: &Path, worker: &Worker) -> Result<Warden, ProcessError> {
        let failed = |reason| ProcessError::Start { role: ROLE, reason };
        // Taken here and inherited, so that there is no moment in which a supervisor can die unwatched and the next
        // one not wait for what follows.
        let lock = lock(journal_root)?;
        let journal_root = fs::canonicalize(journal_root).map_err(failed)?;
        let Some(journal) = journal_root.to_str() else {
            return Err(failed(io::Error::other("the journal's folder is not UTF-8")));
        };
        let args = vec![
            "--lock-fd".to_owned(),
            lock.as_raw_fd().to_string(),
            "--supervisor".to_owned(),
            std::process::id().to_string(),
            "--journal".to_owned(),
            journal.to_owned(),
        ];
        let helper = Arc::new(Helper::start(Start {
            role: ROLE,
            exe,
            args,
            inherited: vec![lock.as_raw_fd()],
            dies_with_parent: false,
            farewell: Some(Ask::StandDown),
        })?);
        let warden = Warden { helper };
        warden.guard(worker.pid())?;
        worker.attach(&warden.helper);
        Ok(warden)
    }

    /// From now on, until [`Warden::disarm`]: a supervisor that is not done by `deadline` (boot time), or soon after
    /// the file `kill_switch` is there, is killed, and everything undone.
    pub fn arm(&self, deadline: Duration, kill_switch: Option<&Path>) -> Result<(), ProcessError> {
        let kill_switch = kill_switch.map(|path| path.to_string_lossy().into_owned());
        let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.done(Ask::Arm {
            deadline_ms,
            kill_switch,
        })
    }

    /// Everything is undone: there is nothing to enforce.
    pub fn disarm(&self) -> Result<(), ProcessError> {
        self.done(Ask::Disarm)
    }

    /// Has one more process killed when the supervisor dies. It must be a child of ours that is not reaped yet.
    pub fn guard(&self, pid: u32) -> Result<(), ProcessError> {
        let pid = i32::try_from(pid).unwrap_or(0);
        self.done(Ask::Guard { pid })
    }

    fn done(&self, ask: Ask) -> Result<(), ProcessError> {
        match self.helper.ask_blocking(ask)? {
            Answer::Done => Ok(()),
            Answer::Refused { reason } => Err(ProcessError::Refused { role: ROLE, reason }),
            Answer::Toxics { .. } => Err(ProcessError::Gone { role: ROLE }),
        }
    }

    /// False once it is known to be gone: at the latest a heartbeat after its end.
    pub fn is_running(&self) -> bool {
        self.helper.is_running()
    }

    pub fn pid(&self) -> u32 {
        u32::try_from(self.helper.pid()).unwrap_or(0)
    }

    /// Lets the warden go and waits for its exit.
    pub fn stop(&self) {
        self.helper.stop();
    }
}

/// Waits until no warden of an earlier supervisor clears up below `journal_root` any more. Call it at the start,
/// before the journal is opened and before scratch is made: what that warden removes must not be ours.
pub fn wait_for_last_warden(journal_root: &Path) -> Result<(), ProcessError> {
    if journal_root.join(LOCK).exists() {
        lock(journal_root)?;
    }
    Ok(())
}

/// The warden's process. `args` stand behind `__warden`; the answer is the exit code.
pub fn warden_main(args: &[String]) -> u8 {
    u8::from(watch(args).is_err())
}

fn watch(args: &[String]) -> Result<(), String> {
    let parsed = parse(args)?;
    let control = UnixStream::from(inherited(parsed.control)?);
    // Held to the very end of the process, by being open.
    let _lock = inherited(parsed.lock)?;
    let mut guarded = Vec::new();
    match listen(control, parsed.supervisor, &mut guarded) {
        End::StandDown => return Ok(()),
        End::Lost => {}
        // It still runs: before anything is undone it must not be able to inject any more.
        End::Overdue => kill_supervisor(parsed.supervisor),
    }
    for process in &guarded {
        kill(process);
    }
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let storage = DiskStorage::open(Path::new(parsed.journal)).map_err(|error| failed(&error))?;
    let journal = UndoJournal::open(Arc::new(storage)).map_err(|error| failed(&error))?;
    let begun = Instant::now();
    let mut recovered = journal.recover_at_start(&[]).map_err(|error| failed(&error))?;
    // A target that doesn't answer now may in a moment; the next start waits for us meanwhile.
    while !recovered.failed.is_empty() && begun.elapsed() < Duration::from_millis(RETRY_MS_MAX) {
        thread::sleep(Duration::from_millis(RETRY_PAUSE_MS));
        recovered = journal.recover_at_start(&[]).map_err(|error| failed(&error))?;
    }
    if recovered.failed.is_empty() {
        Ok(())
    } else {
        Err(recovered.failed.join("; "))
    }
}

struct Parsed<'a> {
    control: &'a str,
    lock: &'a str,
    supervisor: u32,
    journal: &'a str,
}

/// `--control-fd FD --lock-fd FD --supervisor PID --journal FOLDER`
fn parse(args: &[String]) -> Result<Parsed<'_>, String> {
    let (mut control, mut lock, mut supervisor, mut journal) = (None, None, None, None);
    for pair in args.chunks(2) {
        match pair {
            [key, value] if key == "--control-fd" => control = Some(value.as_str()),
            [key, value] if key == "--lock-fd" => lock = Some(value.as_str()),
            [key, value] if key == "--supervisor" => supervisor = value.parse().ok(),
            [key, value] if key == "--journal" => journal = Some(value.as_str()),
            other => return Err(format!("`{}` is not known here", other.join(" "))),
        }
    }
    Ok(Parsed {
        control: control.ok_or("`--control-fd` is missing")?,
        lock: lock.ok_or("`--lock-fd` is missing")?,
        supervisor: supervisor.ok_or("`--supervisor` is missing")?,
        journal: journal.ok_or("`--journal` is missing")?,
    })
}

/// How the watch ends.
#[derive(Debug, PartialEq)]
enum End {
    StandDown,
    Lost,
    /// It lives, and has not undone everything in time.
    Overdue,
}

/// What is enforced on a supervisor that lives.
struct Armed {
    deadline: Duration,
    kill_switch: Option<PathBuf>,
    /// When the kill switch was seen.
    thrown: Option<Duration>,
}

impl Armed {
    /// True once the supervisor has had its time. Boot time, which goes on while the machine sleeps.
    fn is_overdue(&mut self) -> bool {
        let now = host::now().boottime;
        let grace = Duration::from_millis(GRACE_MS);
        if self.thrown.is_none()
            && self
                .kill_switch
                .as_ref()
                .is_some_and(|path| fs::symlink_metadata(path).is_ok())
        {
            self.thrown = Some(now);
        }
        now > self.deadline + grace || self.thrown.is_some_and(|thrown| now > thrown + grace)
    }
}

/// Answers the supervisor until it takes its leave, or is lost.
fn listen(mut control: UnixStream, supervisor: u32, guarded: &mut Vec<OwnedFd>) -> End {
    if control.set_read_timeout(Some(Duration::from_millis(LOOK_MS))).is_err() {
        return End::Lost;
    }
    // Monotonic time stands still while the machine sleeps, so waking up is no silence.
    let mut heard = Instant::now();
    let mut armed: Option<Armed> = None;
    loop {
        if armed.as_mut().is_some_and(Armed::is_overdue) {
            return End::Overdue;
        }
        let request = match wire::read::<Request>(&mut control) {
            Ok(Some(request)) if request.v == VERSION => request,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::TimedOut => {
                let silent = heard.elapsed();
                let limit = if is_stopped(supervisor) {
                    STOPPED_MS_MAX
                } else {
                    SILENT_MS_MAX
                };
                if silent > Duration::from_millis(limit) {
                    return End::Lost;
                }
                continue;
            }
            _ => return End::Lost,
        };
        heard = Instant::now();
        let farewell = request.ask == Ask::StandDown;
        let answer = match request.ask {
            Ask::Ping | Ask::StandDown => Answer::Done,
            Ask::Guard { pid } => guard(pid, guarded),
            Ask::Arm {
                deadline_ms,
                kill_switch,
            } => {
                armed = Some(Armed {
                    deadline: Duration::from_millis(deadline_ms),
                    kill_switch: kill_switch.map(PathBuf::from),
                    thrown: None,
                });
                let _ = control.set_read_timeout(Some(Duration::from_millis(ARMED_LOOK_MS)));
                Answer::Done
            }
            Ask::Disarm => {
                armed = None;
                let _ = control.set_read_timeout(Some(Duration::from_millis(LOOK_MS)));
                Answer::Done
            }
            Ask::SetToxics { .. } | Ask::GetToxics { .. } | Ask::SetUpstream { .. } | Ask::Hold { .. } => {
                Answer::Refused {
                    reason: "a warden does not do that".to_owned(),
                }
            }
        };
        let answered = wire::write(
            &mut control,
            &Response {
                v: VERSION,
                id: request.id,
                answer,
            },
        );
        if farewell {
            return End::StandDown;
        }
        if answered.is_err() {
            return End::Lost;
        }
    }
}

/// Keeps hold of a process by a descriptor, so that its number, given to another one later, means nothing.
fn guard(pid: i32, guarded: &mut Vec<OwnedFd>) -> Answer {
    let opened = Pid::from_raw(pid)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()));
    match opened {
        Ok(fd) => {
            guarded.retain(|process| !has_exited(process, 0));
            guarded.push(fd);
            Answer::Done
        }
        Err(error) => Answer::Refused {
            reason: format!("process {pid} can't be guarded: {error}"),
        },
    }
}

/// Its number is still its own while the socket is open: it has not ended.
fn kill_supervisor(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        kill(&process);
    }
}

fn kill(process: &OwnedFd) {
    // It may be gone already, which is as good.
    let _ = pidfd_send_signal(process, Signal::KILL);
    has_exited(process, KILL_MS_MAX);
}

fn has_exited(process: &OwnedFd, wait_ms: u64) -> bool {
    let wait = Timespec {
        tv_sec: (wait_ms / 1000) as i64,
        tv_nsec: (wait_ms % 1000 * 1_000_000) as i64,
    };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&wait)).is_ok_and(|ready| ready > 0)
}

/// True when the process is stopped, by Ctrl-Z or a debugger; proc(5).
fn is_stopped(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return true;
    };
    // The state is the first letter behind the name, which stands in brackets and may hold any others.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't') | None)
}

/// The lock of the folder's warden. Whoever holds it is, or starts, the only one.
fn lock(journal_root: &Path) -> Result<File, ProcessError> {
    let failed = |reason| ProcessError::Start { role: ROLE, reason };
    let path = journal_root.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    let until = Instant::now() + Duration::from_millis(CLEARING_MS_MAX);
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < until => thread::sleep(Duration::from_millis(10)),
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(ProcessError::Clearing(journal_root.display().to_string()));
            }
            Err(error) => return Err(failed(error.into())),
        }
    }
}
