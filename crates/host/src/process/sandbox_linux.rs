//! Starting a tree: what is prepared before the fork, and what the parent does until the program runs.
//!
//! Three ways, strongest first: new namespaces, Landlock, bare. [`launch`] tries those that the caller allows; what
//! comes after `clone` in the child is in `child_linux`.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Signal};

use super::child_linux::{self, Message, Plan, flag, kind, stage};
use super::discard::Discard;
use super::discard_linux::{LAYERS_MAX, Throwaway};
use super::mounts_linux::{Mounts, c_path};
use super::observe_linux::Observer;
use super::{Command, Isolation, ProcessError, Wanted, filter_linux, landlock_linux};

/// Where a bare program name is sought when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A tree whose program runs.
pub(super) struct Launched {
    /// The init or guard, our child.
    pub first: Pid,
    pub program: u32,
    /// The program's folder in `/proc`: stays its own even when its number is used again.
    pub proc_folder: Option<OwnedFd>,
    pub control: OwnedFd,
    pub isolation: Isolation,
    pub observer: Option<Observer>,
    /// The open folder that holds what a throwaway copy changes.
    pub store: Option<OwnedFd>,
}

/// The program's ends of its streams.
pub(super) struct Streams {
    pub stdin: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

/// Starts the program of `command`; `streams` stay open here until the caller drops them.
pub(super) fn launch(command: &Command, streams: &Streams) -> Result<Launched, ProcessError> {
    let request = Request::prepare(command)?;
    if command.isolation == Wanted::None {
        return request.start(Way::Bare, streams).map_err(Refused::error);
    }
    let no_namespaces = match request.start(Way::Namespaces, streams) {
        Err(Refused::Host(reason)) => reason,
        other => return other.map_err(Refused::error),
    };
    let strong_enough = command.isolation == Wanted::BestEffort || landlock_linux::scopes_signals();
    let no_landlock = if strong_enough {
        match request.start(Way::Landlock, streams) {
            Err(Refused::Host(reason)) => reason,
            other => return other.map_err(Refused::error),
        }
    } else {
        "Landlock doesn't keep signals inside (Linux 6.12 does)".to_owned()
    };
    if command.isolation == Wanted::Required {
        let reason = format!("{no_namespaces}; {no_landlock}");
        return Err(ProcessError::NoIsolation { reason });
    }
    request.start(Way::Bare, streams).map_err(Refused::error)
}

/// A throwaway copy of the machine for the program of `command`, planned.
pub(super) fn plan_discard(command: &Command, discard: &Discard) -> Result<Throwaway, ProcessError> {
    if command.writable.is_some() {
        return Err(ProcessError::NoIsolation {
            reason: "a throwaway copy has no writable folders of the host".to_owned(),
        });
    }
    let mut hide = discard.hide.iter().chain(&command.hide);
    let mut hide = hide.try_fold(Vec::new(), |mut all, path| {
        all.push(hidden_folder(path)?);
        Ok::<_, ProcessError>(all)
    })?;
    hide.sort();
    hide.dedup();
    Throwaway::plan(discard, &hide)
}

/// Starts the program of `command` in a throwaway copy; there is no second way.
pub(super) fn launch_discarded(
    command: &Command,
    throwaway: &Throwaway,
    streams: &Streams,
) -> Result<Launched, ProcessError> {
    let mut request = Request::prepare(command)?;
    request.throwaway = Some(throwaway);
    request.start(Way::Discard, streams).map_err(Refused::error)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Discard,
    Namespaces,
    Landlock,
    Bare,
}

/// Why a way led nowhere.
enum Refused {
    /// The host doesn't give this isolation: the next way may.
    Host(String),
    /// Nothing about isolation: no other way would help.
    Error(ProcessError),
}

impl Refused {
    fn error(self) -> ProcessError {
        match self {
            Self::Host(reason) => ProcessError::NoIsolation { reason },
            Self::Error(error) => error,
        }
    }
}

impl From<ProcessError> for Refused {
    fn from(error: ProcessError) -> Self {
        Self::Error(error)
    }
}

/// A command as the system calls take it.
struct Request<'a> {
    command: &'a Command,
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    /// Canonical, each once.
    hide: Vec<PathBuf>,
    /// Canonical, none below another.
    writable: Option<Vec<PathBuf>>,
    filter: Option<Vec<libc::sock_filter>>,
    throwaway: Option<&'a Throwaway>,
}

impl<'a> Request<'a> {
    fn prepare(command: &'a Command) -> Result<Self, ProcessError> {
        if !command.cwd.is_absolute() {
            return Err(ProcessError::File {
                operation: "work in",
                path: command.cwd.clone(),
                reason: "it is not an absolute path".to_owned(),
            });
        }
        let text = |text: Vec<u8>| {
            CString::new(text).map_err(|_| ProcessError::CantRun {
                program: command.program.clone(),
                reason: "an argument or environment variable holds a null byte".to_owned(),
            })
        };
        let mut args = vec![text(command.program.as_bytes().to_vec())?];
        for arg in &command.args {
            args.push(text(arg.as_bytes().to_vec())?);
        }
        let mut env = Vec::new();
        for (name, value) in &command.env {
            env.push(text([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        let mut hide = command
            .hide
            .iter()
            .map(|path| hidden_folder(path))
            .collect::<Result<Vec<_>, _>>()?;
        hide.sort();
        hide.dedup();
        Ok(Self {
            command,
            program: c_path(&find_program(command)?)?,
            args,
            env,
            cwd: c_path(&command.cwd)?,
            hide,
            writable: command.writable.as_deref().map(writable_folders).transpose()?,
            filter: command.observe.then(filter_linux::program).flatten(),
            throwaway: None,
        })
    }

    fn start(&self, way: Way, streams: &Streams) -> Result<Launched, Refused> {
        let mounts = match way {
            Way::Namespaces => Some(Mounts::plan(&self.hide, self.writable.as_deref())?),
            Way::Discard | Way::Landlock | Way::Bare => None,
        };
        let ruleset = match way {
            Way::Namespaces => landlock_linux::over_namespaces(),
            Way::Landlock => {
                let made = landlock_linux::instead_of_namespaces(&self.hide, self.writable.as_deref());
                Some(made.map_err(Refused::Host)?)
            }
            Way::Discard | Way::Bare => None,
        };
        let ruleset = ruleset.map(above_streams).transpose()?;
        let (control, child_control) = control_sockets()?;
        let (exec_report, child_report) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
        let child_report = above_streams(child_report)?;
        let mut keep: Vec<RawFd> = [
            &child_control,
            &child_report,
            &streams.stdin,
            &streams.stdout,
            &streams.stderr,
        ]
        .into_iter()
        .chain(&ruleset)
        .map(AsRawFd::as_raw_fd)
        .collect();
        keep.sort_unstable();
        let program = |steps: &Vec<libc::sock_filter>| libc::sock_fprog {
            len: u16::try_from(steps.len()).unwrap_or(u16::MAX),
            filter: steps.as_ptr().cast_mut(),
        };
        let filter = self.filter.as_ref().map(program);
        let confine = self.throwaway.map(|throwaway| program(&throwaway.filter));
        let argv = pointers(&self.args);
        let envp = pointers(&self.env);
        let plan = Plan {
            control: child_control.as_raw_fd(),
            exec_report: child_report.as_raw_fd(),
            stdin: streams.stdin.as_raw_fd(),
            stdout: streams.stdout.as_raw_fd(),
            stderr: streams.stderr.as_raw_fd(),
            keep: &keep,
            program: &self.program,
            argv: &argv,
            envp: &envp,
            cwd: &self.cwd,
            mounts: mounts.as_ref(),
            discard: self.throwaway,
            confine: confine.as_ref(),
            // A throwaway copy has a root of its own, that may become others and be become.
            disarm: !matches!(way, Way::Bare | Way::Discard),
            no_new_privs: way != Way::Discard && (self.command.isolation != Wanted::None || filter.is_some()),
            landlock: ruleset.as_ref().map(AsRawFd::as_raw_fd),
            filter: filter.as_ref(),
        };
        let first = clone(&plan)?;
        // Only the child may hold these now: our seeing their end depends on it.
        drop((child_control, child_report));
        let starting = Starting {
            request: self,
            way,
            mounts: mounts.as_ref(),
            first: Some(first),
        };
        starting.until_running(control, File::from(exec_report))
    }
}

/// A child between `clone` and `exec`; killed and reaped when that fails.
struct Starting<'a> {
    request: &'a Request<'a>,
    way: Way,
    mounts: Option<&'a Mounts>,
    first: Option<Pid>,
}

impl Starting<'_> {
    fn until_running(mut self, control: OwnedFd, mut exec_report: File) -> Result<Launched, Refused> {
        let Some(first) = self.first else {
            return Err(system("start a process")(Errno::CHILD).into());
        };
        if self.way == Way::Namespaces {
            write_maps(first)
                .map_err(|reason| Refused::Host(format!("user and group ids can't be mapped ({reason})")))?;
        }
        let mut store = None;
        match self.request.throwaway {
            Some(throwaway) => {
                throwaway
                    .write_maps(first)
                    .map_err(|reason| Refused::Host(format!("user and group ids can't be mapped ({reason})")))?;
                let layers = throwaway.open_layers(first)?;
                send_layers(&control, &layers).map_err(failed("start a process"))?;
                let received = receive(&control).map_err(failed("start a process"))?;
                let Some([kind::FURNISHED, ..]) = received.message else {
                    return Err(self.refusal(received.message));
                };
                store = received.descriptor;
            }
            None => {
                rustix::net::send(&control, &[1], SendFlags::NOSIGNAL).map_err(failed("start a process"))?;
            }
        }
        let received = receive(&control).map_err(failed("start a process"))?;
        let (Some([kind::READY, flags, _]), Some(program)) = (received.message, received.sender) else {
            return Err(self.refusal(received.message));
        };
        // Before the report is waited for: the `exec` itself is watched.
        let observer = match received.descriptor {
            Some(listener) if flags & flag::LISTENER != 0 => {
                Some(Observer::start(listener).map_err(|error| ProcessError::System {
                    operation: "watch a process",
                    reason: error.to_string(),
                })?)
            }
            _ => None,
        };
        let proc_folder = rustix::fs::open(
            format!("/proc/{}", program.as_raw_nonzero()),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .ok();
        let mut errno = [0; 4];
        if exec_report.read_exact(&mut errno).is_ok() {
            // The tree has to be gone before the watcher is: its calls would fail in between.
            self.end();
            return Err(self.exec_error(i32::from_ne_bytes(errno)).into());
        }
        self.first = None;
        let namespaces = matches!(self.way, Way::Namespaces | Way::Discard);
        Ok(Launched {
            first,
            program: program.as_raw_nonzero().get().unsigned_abs(),
            proc_folder,
            control,
            isolation: Isolation {
                user_namespace: namespaces,
                mount_namespace: namespaces,
                pid_namespace: namespaces,
                landlock: flags & flag::LANDLOCK != 0,
                no_new_privs: flags & flag::NO_NEW_PRIVS != 0,
                read_only: self.request.writable.is_some()
                    && (namespaces || (self.way == Way::Landlock && landlock_linux::forbids_every_write())),
            },
            observer,
            store,
        })
    }

    fn refusal(&self, message: Option<Message>) -> Refused {
        let Some([kind::FAILED, stage, errno]) = message else {
            return ProcessError::System {
                operation: "start a process",
                reason: "it ended before its program began".to_owned(),
            }
            .into();
        };
        let reason = Errno::from_raw_os_error(errno).to_string();
        match stage {
            stage::CWD => ProcessError::File {
                operation: "work in",
                path: self.request.command.cwd.clone(),
                reason,
            }
            .into(),
            stage::FORK | stage::STREAMS | stage::WATCH => ProcessError::System {
                operation: "start a process",
                reason,
            }
            .into(),
            stage::PRIVATE_MOUNTS => Refused::Host(format!("mounts can't be changed ({reason})")),
            stage::DEVICES => Refused::Host(format!("devices can't be hidden ({reason})")),
            stage::KERNEL_SETTINGS => Refused::Host(format!("kernel settings can't be protected ({reason})")),
            stage::CAPABILITIES => Refused::Host(format!("capabilities can't be dropped ({reason})")),
            stage::LANDLOCK => Refused::Host(format!("Landlock can't be entered ({reason})")),
            stage::LIMITS => Refused::Host(format!("what it may do can't be bounded ({reason})")),
            stage::READ_ONLY => Refused::Host(format!("the file system can't be made read-only ({reason})")),
            stage if stage < stage::HIDE => {
                let index = usize::try_from(stage - stage::WRITABLE).unwrap_or(usize::MAX);
                let path = self.mounts.and_then(|mounts| mounts.writable(index));
                ProcessError::CantLeaveWritable {
                    path: path.unwrap_or_default(),
                    reason,
                }
                .into()
            }
            stage => {
                let index = usize::try_from(stage - stage::HIDE).unwrap_or(usize::MAX);
                let path = self.mounts.and_then(|mounts| mounts.hidden(index));
                let path = path.or_else(|| self.request.throwaway.and_then(|throwaway| throwaway.hidden(index)));
                ProcessError::CantHide {
                    path: path.unwrap_or_default(),
                    reason,
                }
                .into()
            }
        }
    }

    fn exec_error(&self, errno: i32) -> ProcessError {
        let program = self.request.command.program.clone();
        match Errno::from_raw_os_error(errno) {
            Errno::NOENT => ProcessError::NotFound { program },
            error => ProcessError::CantRun {
                program,
                reason: error.to_string(),
            },
        }
    }

    fn end(&mut self) {
        let Some(first) = self.first.take() else {
            return;
        };
        // Nothing but our own code has run yet, so there is no tree below a guard that could be left behind: its program
        // has asked to die with it.
        let _ = rustix::process::kill_process(first, Signal::KILL);
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(first), rustix::process::WaitOptions::empty()) {}
    }
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The child; in it this never returns.
fn clone(plan: &Plan<'_>) -> Result<Pid, Refused> {
    let mut namespaces = 0;
    if plan.mounts.is_some() || plan.discard.is_some() {
        namespaces |= libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    }
    if plan.discard.is_some() {
        namespaces |= libc::CLONE_NEWNET;
    }
    // SAFETY: the sets are initialised before use; the child gets a copy of this thread's stack and runs only what is
    // safe after a fork in a program with threads (see `child_linux`), with all signals blocked.
    let pid = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(namespaces | libc::SIGCHLD),
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        );
        if pid == 0 {
            child_linux::first_process(plan);
        }
        let errno = child_linux::errno();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        if pid < 0 { Err(errno) } else { Ok(pid) }
    };
    match pid {
        Ok(pid) => i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| system("start a process")(Errno::RANGE).into()),
        Err(errno) if namespaces != 0 => Err(Refused::Host(format!(
            "namespaces are refused ({})",
            Errno::from_raw_os_error(errno)
        ))),
        Err(errno) => Err(system("start a process")(Errno::from_raw_os_error(errno)).into()),
    }
}

/// Every user keeps its number: as root all that we have, otherwise our own.
fn write_maps(pid: Pid) -> std::io::Result<()> {
    let folder = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let setgroups = std::fs::write(folder.join("setgroups"), "deny");
    if let Err(error) = setgroups
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let user = rustix::process::geteuid();
    let group = rustix::process::getegid();
    for (name, own) in [("uid_map", user.as_raw()), ("gid_map", group.as_raw())] {
        let all = std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        let all = identity(&all);
        let file = folder.join(name);
        if user.is_root() && !all.is_empty() && std::fs::write(&file, all).is_ok() {
            continue;
        }
        std::fs::write(&file, format!("{own} {own} 1\n"))?;
    }
    Ok(())
}

/// The ranges that exist in our own namespace, each mapped to itself.
fn identity(map: &str) -> String {
    let mut identity = String::new();
    for line in map.lines() {
        let mut fields = line.split_ascii_whitespace();
        if let (Some(inside), Some(_), Some(count)) = (fields.next(), fields.next(), fields.next()) {
            identity.push_str(&format!("{inside} {inside} {count}\n"));
        }
    }
    identity
}

/// The word to go, with the file systems that the child can't copy itself.
fn send_layers(control: &OwnedFd, layers: &[OwnedFd]) -> Result<(), Errno> {
    let layers: Vec<BorrowedFd<'_>> = layers.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LAYERS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !layers.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&layers));
    }
    rustix::net::sendmsg(control, &[IoSlice::new(&[1])], &mut ancillary, SendFlags::NOSIGNAL).map(|_| ())
}

/// Ours and the child's. Messages keep their borders, and each carries its sender's process id as we see it.
fn control_sockets() -> Result<(OwnedFd, OwnedFd), ProcessError> {
    let (ours, childs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(system("make a socket"))?;
    rustix::net::sockopt::set_socket_passcred(&ours, true).map_err(system("make a socket"))?;
    Ok((ours, above_streams(childs)?))
}

/// What came over a control socket.
#[derive(Default)]
pub(super) struct Received {
    /// `None` at the other end's death.
    pub message: Option<Message>,
    pub sender: Option<Pid>,
    pub descriptor: Option<OwnedFd>,
}

/// Waits for the next message.
pub(super) fn receive(control: &OwnedFd) -> Result<Received, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; size_of::<Message>()];
    let length = loop {
        let got = rustix::net::recvmsg(
            control,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        match got {
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(Received::default()),
            other => break other?.bytes,
        }
    };
    let mut received = Received {
        message: (length == bytes.len()).then(|| {
            let number = |at: usize| i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            [number(0), number(4), number(8)]
        }),
        ..Received::default()
    };
    for part in ancillary.drain() {
        match part {
            RecvAncillaryMessage::ScmRights(descriptors) => received.descriptor = descriptors.last(),
            RecvAncillaryMessage::ScmCredentials(from) => received.sender = Some(from.pid),
            _ => {}
        }
    }
    Ok(received)
}

/// The same open file under a number that is no stream's, so that none is overwritten when streams are put in place.
pub(super) fn above_streams(fd: OwnedFd) -> Result<OwnedFd, ProcessError> {
    const FIRST_FREE: RawFd = 3;
    if fd.as_raw_fd() >= FIRST_FREE {
        return Ok(fd);
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE).map_err(system("open a file"))
}

/// Null-terminated, as `execve` wants it. Points into `texts`.
fn pointers(texts: &[CString]) -> Vec<*const libc::c_char> {
    texts
        .iter()
        .map(|text| text.as_ptr())
        .chain([std::ptr::null()])
        .collect()
}

fn hidden_folder(path: &Path) -> Result<PathBuf, ProcessError> {
    let cant = |reason: String| ProcessError::CantHide {
        path: path.to_owned(),
        reason,
    };
    let folder = path.canonicalize().map_err(|error| cant(error.to_string()))?;
    if !folder.is_dir() {
        return Err(cant("it is not a folder".to_owned()));
    }
    if folder == Path::new("/") {
        return Err(cant("nothing would be left".to_owned()));
    }
    Ok(folder)
}

/// Canonical paths; one below another is covered by that.
fn writable_folders(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ProcessError> {
    let mut folders = paths
        .iter()
        .map(|path| writable_folder(path))
        .collect::<Result<Vec<_>, _>>()?;
    folders.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for folder in folders {
        if !kept.iter().any(|above| folder.starts_with(above)) {
            kept.push(folder);
        }
    }
    Ok(kept)
}

fn writable_folder(path: &Path) -> Result<PathBuf, ProcessError> {
    /// What the kernel shows as files; writing there changes the machine.
    const KERNELS: [&str; 3] = ["/proc", "/sys", "/dev"];
    let cant = |reason: &str| ProcessError::CantLeaveWritable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let folder = path.canonicalize().map_err(|error| cant(&error.to_string()))?;
    if !folder.is_dir() {
        return Err(cant("it is not a folder"));
    }
    if folder == Path::new("/") {
        return Err(cant("nothing would be read-only"));
    }
    if !folder.starts_with("/dev/shm") && KERNELS.iter().any(|kernels| folder.starts_with(kernels)) {
        return Err(cant("it belongs to the kernel"));
    }
    Ok(folder)
}

/// What `execve` shall run; a name with a slash is resolved from `cwd`.
fn find_program(command: &Command) -> Result<PathBuf, ProcessError> {
    let name = &command.program;
    if name.as_bytes().contains(&b'/') {
        return Ok(command.cwd.join(name));
    }
    let path = command.env.get(OsStr::new("PATH"));
    let path = path.cloned().unwrap_or_else(|| DEFAULT_PATH.into());
    path.as_bytes()
        .split(|&byte| byte == b':')
        .map(|folder| {
            let folder = OsString::from_vec(folder.to_vec());
            command.cwd.join(folder).join(name)
        })
        .find(|candidate| {
            candidate.is_file()
                && rustix::fs::accessat(CWD, candidate, Access::EXEC_OK, rustix::fs::AtFlags::empty()).is_ok()
        })
        .filter(|_| !name.is_empty())
        .ok_or_else(|| ProcessError::NotFound { program: name.clone() })
}

pub(super) fn system(operation: &'static str) -> impl Fn(Errno) -> ProcessError {
    move |error| ProcessError::System {
        operation,
        reason: error.to_string(),
    }
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> Refused {
    move |error| Refused::Error(system(operation)(error))
}

/// Ends the tree, whichever way it was started; the caller still has to wait for `first`.
pub(super) fn end_tree(first: Pid, control: BorrowedFd<'_>, pid_namespace: bool) {
    if pid_namespace {
        let _ = rustix::process::kill_process(first, Signal::KILL);
    } else {
        // The guard kills all that it can find; killing the guard would set them free.
        let _ = rustix::net::shutdown(control.as_fd(), rustix::net::Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_mapped_to_itself() {
        let check = |map: &str, expect: &str| assert_eq!(identity(map), expect);
        check("         0          0 4294967295\n", "0 0 4294967295\n");
        check("0 1000 1\n1 100000 65536\n", "0 0 1\n1 1 65536\n");
        check("", "");
    }
}
