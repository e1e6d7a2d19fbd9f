//! What runs between `clone` and `exec`: the first process of a tree, and the program until it replaces us.
//!
//! Our process may have many threads, and this is a copy of one of them: any lock, the allocator's included, may be
//! held for ever. So nothing here allocates, panics or calls what is not async-signal-safe; everything it needs was
//! prepared in a [`Plan`] before.
//!
//! In a new pid namespace the first process is its init, whose death is every descendant's death. Without one it is
//! a guard: a child subreaper to which orphans fall. Both wait for the program's end and for the other end of the control
//! socket to close, which the kernel does when our process dies. Start reading at [`first_process`].

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;

use libc::{c_char, c_int, c_long};

use super::discard_linux::{LAYERS_MAX, Throwaway};
use super::mounts_linux::Mounts;

/// Everything that the child needs, prepared before the fork.
pub(super) struct Plan<'a> {
    /// The child's end of the control socket.
    pub control: RawFd,
    /// Closed by a successful `exec`; otherwise the error number is written to it.
    pub exec_report: RawFd,
    pub stdin: RawFd,
    pub stdout: RawFd,
    pub stderr: RawFd,
    /// All of the above and `landlock`, ascending; everything else is closed at once.
    pub keep: &'a [RawFd],
    pub program: &'a CString,
    /// Ends with a null pointer, as does `envp`.
    pub argv: &'a [*const c_char],
    pub envp: &'a [*const c_char],
    pub cwd: &'a CString,
    /// `Some`: we are in new user, mount and pid namespaces, to be furnished with these.
    pub mounts: Option<&'a Mounts>,
    /// `Some`: we are in new user, mount, pid and network namespaces, to become a throwaway copy of the machine.
    pub discard: Option<&'a Throwaway>,
    /// The calls that a throwaway copy refuses.
    pub confine: Option<&'a libc::sock_fprog>,
    /// Drop all capabilities.
    pub disarm: bool,
    pub no_new_privs: bool,
    pub landlock: Option<RawFd>,
    pub filter: Option<&'a libc::sock_fprog>,
}

impl Plan<'_> {
    /// Whether the first process is the init of its own pid namespace.
    fn is_init(&self) -> bool {
        self.mounts.is_some() || self.discard.is_some()
    }
}

/// One message over the control socket: three numbers, [`Kind`] first.
pub(super) type Message = [i32; 3];

/// Message kinds.
pub(super) mod kind {
    /// `[FAILED, stage, errno]`: the tree could not be set up.
    pub const FAILED: i32 = 1;
    /// `[READY, flags, errno of the filter]`, sent by the program itself, with the listener if there is one.
    pub const READY: i32 = 2;
    /// `[ENDED, wait status, 0]`.
    pub const ENDED: i32 = 3;
    /// `[FURNISHED, 0, 0]`, with an open folder that holds what a throwaway copy changes.
    pub const FURNISHED: i32 = 4;
}

/// Flags of a ready message.
pub(super) mod flag {
    pub const NO_NEW_PRIVS: i32 = 1;
    pub const LANDLOCK: i32 = 2;
    pub const LISTENER: i32 = 4;
}

/// Where setting up failed.
pub(super) mod stage {
    pub const FORK: i32 = 1;
    pub const PRIVATE_MOUNTS: i32 = 2;
    pub const DEVICES: i32 = 3;
    pub const KERNEL_SETTINGS: i32 = 4;
    pub const CAPABILITIES: i32 = 5;
    pub const LANDLOCK: i32 = 6;
    pub const WATCH: i32 = 7;
    pub const CWD: i32 = 8;
    pub const STREAMS: i32 = 9;
    pub const READ_ONLY: i32 = 10;
    pub const LIMITS: i32 = 11;
    /// The writable folder with this index, counted from here.
    pub const WRITABLE: i32 = 1000;
    /// The hidden folder with this index, counted from here.
    pub const HIDE: i32 = 1_000_000;

    /// Step `index` of those counted from `from`.
    pub fn nth(from: i32, index: usize) -> i32 {
        from.saturating_add(i32::try_from(index).unwrap_or(0))
    }
}

/// The life of the first process of a tree; never returns.
///
/// # Safety
///
/// Only in a child that was just cloned with all signals blocked, with a plan whose pointers are valid.
pub(super) unsafe fn first_process(plan: &Plan<'_>) -> ! {
    // SAFETY: we are that child; each call is async-signal-safe and gets pointers into the plan or our stack.
    unsafe {
        close_all_but(plan.keep);
        default_signal_handlers();
        let mut given = [-1; LAYERS_MAX];
        let Some(count) = told_to_go(plan.control, &mut given) else {
            libc::_exit(1);
        };
        // From here on nobody below us in rank can look into our copy of the parent's memory. The kernel asks for rights in
        // the namespace where this memory was made, which is our parent's.
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::setsid();
        match (plan.mounts, plan.discard) {
            (Some(mounts), _) => {
                if let Err((stage, errno)) = mounts.furnish() {
                    fail(plan, stage, errno);
                }
            }
            (None, Some(throwaway)) => match throwaway.furnish(given.get(..count).unwrap_or_default()) {
                Ok(store) => {
                    send(plan.control, &[kind::FURNISHED, 0, 0], store);
                    libc::close(store);
                }
                Err((stage, errno)) => fail(plan, stage, errno),
            },
            (None, None) => {
                libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
            }
        }
        // The working directory may be one that is hidden now.
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"proofmark-init".as_ptr(), 0, 0, 0);
        let ended = child_signal();
        if ended < 0 {
            fail(plan, stage::WATCH, errno());
        }
        let own_pid = libc::getpid();
        let program_pid = match plan.discard {
            Some(throwaway) => fork_into_own_namespaces(plan, throwaway),
            None => fork(0),
        };
        match program_pid {
            0 => program(plan, own_pid),
            pid if pid > 0 => watch(plan, pid, ended),
            _ => fail(plan, stage::FORK, errno()),
        }
    }
}

/// The program, up to and including its `exec`.
unsafe fn program(plan: &Plan<'_>, parent: libc::pid_t) -> ! {
    // SAFETY: as in `first_process`.
    unsafe {
        if !plan.is_init() {
            // Our parent is a guard with one thread; without a pid namespace nothing else ties us to it.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            if libc::getppid() != parent {
                libc::_exit(1);
            }
        }
        libc::setsid();
        if libc::dup2(plan.stdin, 0) < 0 || libc::dup2(plan.stdout, 1) < 0 || libc::dup2(plan.stderr, 2) < 0 {
            fail(plan, stage::STREAMS, errno());
        }
        // Resolved only now, below what is mounted over hidden folders.
        if libc::chdir(plan.cwd.as_ptr()) < 0 {
            fail(plan, stage::CWD, errno());
        }
        if let Some(throwaway) = plan.discard
            && let Err(errno) = throwaway.confine()
        {
            fail(plan, stage::LIMITS, errno);
        }
        if plan.disarm && !keep_capabilities(0) {
            fail(plan, stage::CAPABILITIES, errno());
        }
        let mut ready: Message = [kind::READY, 0, 0];
        if plan.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
            ready[1] |= flag::NO_NEW_PRIVS;
        }
        if let Some(ruleset) = plan.landlock {
            if libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) == 0 {
                ready[1] |= flag::LANDLOCK;
            } else {
                fail(plan, stage::LANDLOCK, errno());
            }
        }
        // The watcher reads the path of our `exec` from this memory, and `exec` would set this anyway.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        if let Some(filter) = plan.confine
            && install_filter(filter, 0) < 0
        {
            fail(plan, stage::LIMITS, errno());
        }
        let mut listener = -1;
        if let Some(filter) = plan.filter {
            listener = install_observing_filter(filter);
            if listener >= 0 {
                ready[1] |= flag::LISTENER;
            } else {
                ready[2] = errno();
            }
        }
        if !send(plan.control, &ready, listener) {
            libc::_exit(1);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::execve(plan.program.as_ptr(), plan.argv.as_ptr(), plan.envp.as_ptr());
        let errno = errno();
        libc::write(plan.exec_report, (&raw const errno).cast(), 4);
        libc::_exit(127)
    }
}

/// Reaps whatever ends, until the program ends or our parent is gone; then ends the tree.
unsafe fn watch(plan: &Plan<'_>, program: libc::pid_t, ended: RawFd) -> ! {
    // SAFETY: as in `first_process`.
    unsafe {
        libc::close(plan.exec_report);
        for stream in [plan.stdin, plan.stdout, plan.stderr] {
            libc::close(stream);
        }
        if let Some(ruleset) = plan.landlock {
            libc::close(ruleset);
        }
        let mut status = None;
        while status.is_none() {
            let mut polled = [
                libc::pollfd {
                    fd: plan.control,
                    events: libc::POLLIN | libc::POLLRDHUP,
                    revents: 0,
                },
                libc::pollfd {
                    fd: ended,
                    events: libc::POLLIN,
                    revents: 0,
                },
            ];
            if libc::poll(polled.as_mut_ptr(), 2, -1) < 0 && errno() != libc::EINTR {
                break;
            }
            let mut drained = [0_u8; 128];
            libc::read(ended, drained.as_mut_ptr().cast(), drained.len());
            loop {
                let mut code: c_int = 0;
                let pid = libc::waitpid(-1, &raw mut code, libc::WNOHANG);
                if pid == program {
                    status = Some(code);
                }
                if pid <= 0 {
                    break;
                }
            }
            if polled[0].revents != 0 {
                // Nothing is ever sent to us after the start: our parent has closed its end, or is dead.
                break;
            }
        }
        if !plan.is_init() {
            kill_descendants(program);
        }
        if let Some(code) = status {
            send(plan.control, &[kind::ENDED, code, 0], -1);
        }
        // As the init of a pid namespace we take everything in it with us.
        libc::_exit(0)
    }
}

/// Kills children until there are none; orphans become our children, so that all descendants are reached.
unsafe fn kill_descendants(program: libc::pid_t) {
    // SAFETY: as in `first_process`.
    unsafe {
        let own_pid = libc::getpid();
        // The program leads a process group; it may be reaped already, but its group outlives it.
        libc::kill(-program, libc::SIGKILL);
        loop {
            kill_children(own_pid);
            loop {
                let pid = libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG);
                if pid < 0 {
                    return;
                }
                if pid == 0 {
                    break;
                }
            }
            libc::poll(std::ptr::null_mut(), 0, 1);
        }
    }
}

/// Sends SIGKILL to each process in `/proc` whose parent is `own_pid`.
unsafe fn kill_children(own_pid: libc::pid_t) {
    // SAFETY: as in `first_process`; the directory entries are read within what the kernel says it wrote.
    unsafe {
        let proc = libc::open(c"/proc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC);
        if proc < 0 {
            return;
        }
        let mut entries = [0_u8; 8192];
        loop {
            let length = libc::syscall(libc::SYS_getdents64, proc, entries.as_mut_ptr(), entries.len());
            let Ok(length) = usize::try_from(length) else {
                break;
            };
            if length == 0 {
                break;
            }
            let mut at = 0;
            // struct linux_dirent64: inode (8), offset (8), record length (2), type (1), name.
            while at + 19 < length {
                let record = usize::from(u16::from_ne_bytes([entries[at + 16], entries[at + 17]]));
                if let Some(pid) = number(&entries[at + 19..length])
                    && parent_of(proc, pid) == Some(own_pid)
                {
                    libc::kill(pid, libc::SIGKILL);
                }
                at += record.max(1);
            }
        }
        libc::close(proc);
    }
}

/// The parent of a process, from its `/proc/PID/stat`.
unsafe fn parent_of(proc: RawFd, pid: libc::pid_t) -> Option<libc::pid_t> {
    let mut path = [0_u8; 32];
    let digits = write_number(&mut path, pid);
    for (to, from) in path.iter_mut().skip(digits).zip(b"/stat\0") {
        *to = *from;
    }
    let mut text = [0_u8; 512];
    // SAFETY: the path ends with a null byte, and the length is that of the buffer.
    let length = unsafe {
        let file = libc::openat(proc, path.as_ptr().cast(), libc::O_RDONLY | libc::O_CLOEXEC);
        if file < 0 {
            return None;
        }
        let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
        libc::close(file);
        usize::try_from(length).ok()?
    };
    // `PID (name) STATE PPID …`, where the name may hold anything, parentheses included.
    let after = text.get(..length)?.iter().rposition(|&byte| byte == b')')?;
    number(text.get(after + 4..length)?)
}

/// The decimal number at the start of `text`.
fn number(text: &[u8]) -> Option<libc::pid_t> {
    let mut value: Option<libc::pid_t> = None;
    for byte in text {
        if !byte.is_ascii_digit() {
            break;
        }
        let digit = libc::pid_t::from(byte - b'0');
        value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(digit)?);
    }
    value
}

/// Writes a number in decimal; returns its length.
fn write_number(buffer: &mut [u8; 32], mut value: libc::pid_t) -> usize {
    let mut reversed = [0_u8; 12];
    let mut length = 0;
    loop {
        if let Some(digit) = reversed.get_mut(length) {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        }
        length += 1;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    for (to, from) in buffer.iter_mut().zip(reversed.iter().take(length).rev()) {
        *to = *from;
    }
    length
}

unsafe fn close_all_but(keep: &[RawFd]) {
    let mut from: libc::c_uint = 0;
    for &fd in keep {
        let Ok(fd) = libc::c_uint::try_from(fd) else {
            continue;
        };
        if fd > from {
            // SAFETY: closes numbers only; nothing in this process uses what it closes.
            unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) };
        }
        from = fd + 1;
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, from, libc::c_uint::MAX, 0) };
}

/// Our parent's handlers would run in this copy of it, and what it ignores would stay ignored after `exec`.
unsafe fn default_signal_handlers() {
    // SAFETY: a zeroed `sigaction` is the default action with no flags and an empty mask.
    unsafe {
        let default: libc::sigaction = std::mem::zeroed();
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const default, std::ptr::null_mut());
        }
    }
}

/// Waits for the parent's one byte, and takes the descriptors that come with it; how many, or `None` when the parent closed its
/// end instead.
unsafe fn told_to_go(control: RawFd, given: &mut [RawFd; LAYERS_MAX]) -> Option<usize> {
    #[repr(C, align(8))]
    struct Ancillary([u8; 64 + 4 * LAYERS_MAX]);
    let mut ancillary = Ancillary([0; 64 + 4 * LAYERS_MAX]);
    let mut byte = 0_u8;
    let mut part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    loop {
        // SAFETY: the header describes our stack; what the kernel says it wrote is read, and no more.
        unsafe {
            let mut header: libc::msghdr = std::mem::zeroed();
            header.msg_iov = &raw mut part;
            header.msg_iovlen = 1;
            header.msg_control = ancillary.0.as_mut_ptr().cast();
            header.msg_controllen = size_of::<Ancillary>() as _;
            let got = libc::recvmsg(control, &raw mut header, libc::MSG_CMSG_CLOEXEC);
            if got < 0 && errno() == libc::EINTR {
                continue;
            }
            if got != 1 {
                return None;
            }
            let mut count = 0;
            let mut next = libc::CMSG_FIRSTHDR(&raw const header);
            while !next.is_null() {
                if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_RIGHTS {
                    let bytes = ((*next).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                    let data = libc::CMSG_DATA(next).cast::<c_int>();
                    for index in 0..bytes / size_of::<c_int>() {
                        if let Some(slot) = given.get_mut(count) {
                            *slot = data.add(index).read_unaligned();
                            count += 1;
                        }
                    }
                }
                next = libc::CMSG_NXTHDR(&raw const header, next);
            }
            return Some(count);
        }
    }
}

/// A descriptor that is readable when a child has ended. SIGCHLD is blocked, as all signals are.
unsafe fn child_signal() -> RawFd {
    // SAFETY: the set is initialised before it is used.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    }
}

/// `fork` without the C library's handlers, which may wait for locks that nobody will release; the child is in the new namespaces
/// that `flags` name.
unsafe fn fork(flags: c_int) -> libc::pid_t {
    // SAFETY: no stack is given, so the child goes on with a copy of ours.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            c_long::from(libc::SIGCHLD | flags),
            0_usize,
            0_usize,
            0_usize,
            0_usize,
        )
    };
    libc::pid_t::try_from(pid).unwrap_or(-1)
}

/// The program's process in a user namespace of its own below ours: what we mounted is locked for it.
unsafe fn fork_into_own_namespaces(plan: &Plan<'_>, throwaway: &Throwaway) -> libc::pid_t {
    const OWN: c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // SAFETY: as in `first_process`.
    unsafe {
        let mut ends: [RawFd; 2] = [-1; 2];
        if libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        ) < 0
        {
            return -1;
        }
        // Its maps can be written only while it is dumpable, as it begins; nothing of the tree runs that could look.
        libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
        let pid = fork(OWN);
        if pid == 0 {
            let mut byte = 0_u8;
            libc::close(ends[0]);
            let told = libc::recv(ends[1], (&raw mut byte).cast(), 1, 0);
            libc::close(ends[1]);
            if told != 1 {
                libc::_exit(1);
            }
            return 0;
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
        libc::close(ends[1]);
        if pid > 0 {
            for file in [c"/uid_map", c"/gid_map"] {
                if let Err(errno) = write_map(pid, file, throwaway.inner_map()) {
                    fail(plan, stage::FORK, errno);
                }
            }
            libc::send(ends[0], c"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL);
        }
        libc::close(ends[0]);
        pid
    }
}

/// Writes a file of `/proc/PID`.
unsafe fn write_map(pid: libc::pid_t, file: &CStr, text: &CStr) -> Result<(), i32> {
    let mut digits = [0_u8; 32];
    let length = write_number(&mut digits, pid);
    let mut path = [0_u8; 64];
    let parts = b"/proc/"
        .iter()
        .chain(digits.iter().take(length))
        .chain(file.to_bytes_with_nul());
    for (to, from) in path.iter_mut().zip(parts) {
        *to = *from;
    }
    // SAFETY: the path ends with a null byte, and the text has the length that is given with it.
    unsafe {
        let fd = libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return Err(errno());
        }
        let text = text.to_bytes();
        let written = libc::write(fd, text.as_ptr().cast(), text.len());
        let errno = errno();
        libc::close(fd);
        if written < 0 { Err(errno) } else { Ok(()) }
    }
}

/// Gives up every capability but those of the set, for this process and for what it executes.
pub(super) unsafe fn keep_capabilities(kept: u64) -> bool {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    const VERSION_3: u32 = 0x2008_0522;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let (low, high) = ((kept & 0xffff_ffff) as u32, (kept >> 32) as u32);
    // Effective, permitted, inheritable; twice, for 64 capabilities.
    let sets = [low, low, 0, high, high, 0];
    // SAFETY: header and data have the layout of `capset(2)` for version 3.
    unsafe {
        for capability in 0..64_u64 {
            if kept & (1 << capability) == 0 {
                // Fails beyond the last capability, and where we may not (we have none to lose then).
                libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0);
            }
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) == 0
    }
}

/// Installs a filter; what the kernel answers, or -1.
unsafe fn install_filter(filter: &libc::sock_fprog, flags: libc::c_ulong) -> RawFd {
    // SAFETY: the program outlives the call, which copies it.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            std::ptr::from_ref(filter),
        )
    };
    RawFd::try_from(answer).unwrap_or(-1)
}

/// Installs the observing filter; the listener, or -1.
unsafe fn install_observing_filter(filter: &libc::sock_fprog) -> RawFd {
    let listen = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: as `install_filter` asks.
    unsafe {
        // Since Linux 5.19: a request that is being looked at is interrupted by deadly signals only, so that programs full
        // of timers (Go's scheduler) don't start over each time.
        let fd = install_filter(filter, listen | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
        if fd < 0 && errno() == libc::EINVAL {
            return install_filter(filter, listen);
        }
        fd
    }
}

/// Sends one message, with `fd` unless that is negative.
unsafe fn send(control: RawFd, message: &Message, fd: RawFd) -> bool {
    #[repr(C, align(8))]
    struct Ancillary([u8; 64]);
    let mut ancillary = Ancillary([0; 64]);
    let mut part = libc::iovec {
        iov_base: std::ptr::from_ref(message).cast_mut().cast(),
        iov_len: size_of::<Message>(),
    };
    // SAFETY: the header describes our stack; the ancillary buffer is aligned and large enough for one descriptor.
    unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        if fd >= 0 {
            header.msg_control = ancillary.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(4) as _;
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(4) as _;
            libc::CMSG_DATA(first).cast::<c_int>().write_unaligned(fd);
        }
        libc::sendmsg(control, &raw const header, libc::MSG_NOSIGNAL) >= 0
    }
}

unsafe fn fail(plan: &Plan<'_>, stage: i32, errno: i32) -> ! {
    // SAFETY: as in `first_process`.
    unsafe {
        send(plan.control, &[kind::FAILED, stage, errno], -1);
        libc::_exit(1)
    }
}

pub(super) fn errno() -> i32 {
    // SAFETY: the C library's error number of this thread is always there.
    unsafe { *libc::__errno_location() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_written_without_allocating() {
        for value in [0, 7, 10, 4_194_304, libc::pid_t::MAX] {
            let mut buffer = [0; 32];
            let length = write_number(&mut buffer, value);
            assert_eq!(&buffer[..length], value.to_string().as_bytes());
            assert_eq!(number(&buffer), Some(value));
        }
        assert_eq!(number(b"self"), None);
        assert_eq!(number(b"99999999999"), None);
    }

    #[test]
    fn the_parent_of_this_process_is_found() {
        // SAFETY: opens a directory that is closed below.
        let proc = unsafe { libc::open(c"/proc".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        let own = libc::pid_t::try_from(std::process::id()).unwrap();
        // SAFETY: `proc` is open.
        let parent = unsafe { parent_of(proc, own) };
        assert_eq!(
            parent.and_then(|pid| u32::try_from(pid).ok()),
            Some(std::os::unix::process::parent_id())
        );
        // SAFETY: closed once.
        unsafe { libc::close(proc) };
    }
}
