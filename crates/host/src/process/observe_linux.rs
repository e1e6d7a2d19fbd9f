//! The watcher: a thread that answers a tree's seccomp notifications with "go on" and writes down what they were.
//!
//! It reads a path from the caller's memory and resolves it in the caller's own root folder and mounts. It decides nothing:
//! by the time that the kernel acts, another thread of the caller may have changed the path. Start reading at [`Observer`].

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use super::filter_linux::{self, Call};
use super::{OBSERVED_PATHS_MAX, Observed};

/// The longest path the kernel takes, with its null byte.
const PATH_BYTES_MAX: usize = 4096;

/// How often a path is looked up again while folders on it are being renamed.
const LOOK_UPS_MAX: usize = 32;

/// How many interpreters of interpreters are followed; the kernel follows four.
const INTERPRETERS_MAX: usize = 5;

/// A watcher of one tree. Its thread ends by itself when no process of the tree is left.
pub(super) struct Observer {
    observed: Arc<Mutex<Observed>>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    pub(super) fn start(listener: OwnedFd) -> io::Result<Self> {
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let observed = Arc::new(Mutex::new(Observed {
            method: "seccomp-user-notification",
            complete: true,
            ..Observed::default()
        }));
        let watcher = Watcher {
            listener,
            stop: stop.try_clone()?,
            observed: observed.clone(),
        };
        let thread = std::thread::Builder::new()
            .name("observe".to_owned())
            .spawn(move || watcher.watch())?;
        Ok(Self {
            observed,
            stop,
            thread: Some(thread),
        })
    }

    pub(super) fn so_far(&self) -> Observed {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the thread, after the tree's end, and takes what it saw.
    pub(super) fn finish(mut self) -> Observed {
        self.end();
        std::mem::take(&mut *self.observed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn end(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
            observed.complete = false;
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.end();
    }
}

/// What one request amounts to.
#[derive(Debug)]
enum Record {
    Read(PathBuf),
    Written(PathBuf),
    Executed(PathBuf),
    Connected(String),
}

/// A request could not be understood.
#[derive(Debug)]
struct Missed;

struct Watcher {
    listener: OwnedFd,
    stop: OwnedFd,
    observed: Arc<Mutex<Observed>>,
}

impl Watcher {
    fn watch(&self) {
        // Since Linux 6.6: caller and watcher hand the processor to each other. Only a matter of speed.
        const WAKE_ON_THIS_PROCESSOR: u64 = 1;
        // SAFETY: this request takes a number, not a pointer.
        unsafe {
            libc::ioctl(
                self.listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS,
                WAKE_ON_THIS_PROCESSOR,
            )
        };
        let mut buffers = Buffers::new();
        loop {
            let mut waiting = [
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.stop, PollFlags::IN),
            ];
            match poll(&mut waiting, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return self.miss(),
            }
            let (request, stop) = (waiting[0].revents(), waiting[1].revents());
            if request.contains(PollFlags::IN) {
                self.answer(&mut buffers);
            } else if !request.is_empty() || !stop.is_empty() {
                // Hung up: the tree is gone.
                return;
            }
        }
    }

    fn answer(&self, buffers: &mut Buffers) {
        let Some(request) = buffers.receive(&self.listener) else {
            return;
        };
        let records = inspect(&request);
        // Only now is it certain that what we looked at was the caller and not a successor with its process id.
        if is_waiting(&self.listener, request.id) {
            self.record(records);
        }
        buffers.let_go(&self.listener, request.id);
    }

    fn record(&self, records: Result<Vec<Record>, Missed>) {
        let Ok(records) = records else {
            return self.miss();
        };
        if records.is_empty() {
            return;
        }
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        let observed = &mut *observed;
        for record in records {
            let fitted = match record {
                Record::Read(path) => insert(&mut observed.read, path),
                Record::Written(path) => insert(&mut observed.written, path),
                Record::Executed(path) => insert(&mut observed.executed, path),
                Record::Connected(address) => insert(&mut observed.connected, address),
            };
            if !fitted {
                observed.complete = false;
                observed.missed += 1;
            }
        }
    }

    fn miss(&self) {
        let mut observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        observed.complete = false;
        observed.missed += 1;
    }
}

fn insert<T: Ord>(set: &mut std::collections::BTreeSet<T>, item: T) -> bool {
    if set.len() >= OBSERVED_PATHS_MAX && !set.contains(&item) {
        return false;
    }
    set.insert(item);
    true
}

/// Room for what the kernel reads and writes; a newer kernel's structures may be longer than ours.
struct Buffers {
    request: Vec<u64>,
    response: Vec<u64>,
}

impl Buffers {
    fn new() -> Self {
        let mut sizes = libc::seccomp_notif_sizes {
            seccomp_notif: 0,
            seccomp_notif_resp: 0,
            seccomp_data: 0,
        };
        // SAFETY: the kernel fills in `sizes`.
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, &raw mut sizes) };
        let words = |kernel: u16, ours: usize| vec![0; usize::from(kernel).max(ours).div_ceil(8)];
        Self {
            request: words(sizes.seccomp_notif, size_of::<libc::seccomp_notif>()),
            response: words(sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>()),
        }
    }

    /// The next request; `None` when its caller was killed meanwhile.
    fn receive(&mut self, listener: &OwnedFd) -> Option<libc::seccomp_notif> {
        // The kernel insists on zeroes.
        self.request.fill(0);
        // SAFETY: the buffer is at least as long as the kernel's structure, and ours is a prefix of it, made of integers.
        unsafe {
            let got = libc::ioctl(
                listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                self.request.as_mut_ptr(),
            );
            (got == 0).then(|| self.request.as_ptr().cast::<libc::seccomp_notif>().read())
        }
    }

    /// The kernel goes on with the call. That this fails means that the caller is gone.
    fn let_go(&mut self, listener: &OwnedFd, id: u64) {
        self.response.fill(0);
        // SAFETY: as in `receive`; the identifier is the first member, the flags the last.
        unsafe {
            let response = self.response.as_mut_ptr().cast::<libc::seccomp_notif_resp>();
            (*response).id = id;
            (*response).flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as _;
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, response);
        }
    }
}

fn is_waiting(listener: &OwnedFd, id: u64) -> bool {
    // SAFETY: the kernel reads one number.
    unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const id) == 0 }
}

fn inspect(request: &libc::seccomp_notif) -> Result<Vec<Record>, Missed> {
    let arguments = request.data.args;
    let caller = Caller { pid: request.pid };
    let here = libc::AT_FDCWD;
    // Descriptors and flags are `int`s: the upper half of the register is not looked at by the kernel.
    let int = |index: usize| arguments[index] as i32;
    let Some(call) = filter_linux::call(request.data.nr) else {
        return Err(Missed);
    };
    match call {
        Call::Open => caller.open(here, arguments[0], int(1)),
        Call::OpenAt => caller.open(int(0), arguments[1], int(2)),
        Call::OpenAt2 => {
            // `struct open_how` begins with the flags, of 64 bits.
            let how: [u8; 8] = caller.memory(arguments[2], 8)?.try_into().map_err(|_| Missed)?;
            caller.open(int(0), arguments[1], u64::from_ne_bytes(how) as i32)
        }
        Call::Create => caller.open(here, arguments[0], libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC),
        Call::Execute => caller.execute(here, arguments[0], 0),
        Call::ExecuteAt => caller.execute(int(0), arguments[1], int(4)),
        Call::Connect => caller.connect(arguments[1], arguments[2]),
        Call::SendTo => caller.connect(arguments[4], arguments[5]),
        Call::Change => caller.removed(here, arguments[0]),
        Call::ChangeAt if int(2) & libc::AT_REMOVEDIR != 0 => Ok(Vec::new()),
        Call::ChangeAt => caller.removed(int(0), arguments[1]),
        Call::ChangeBoth => both(caller.removed(here, arguments[0])?, caller.made(here, arguments[1])?),
        Call::ChangeBothAt => both(
            caller.removed(int(0), arguments[1])?,
            caller.made(int(2), arguments[3])?,
        ),
        Call::ChangeSecond => caller.made(here, arguments[1]),
        Call::ChangeThirdAt => caller.made(int(1), arguments[2]),
        Call::ChangeFourthAt => caller.made(int(2), arguments[3]),
    }
}

/// A rename of what is not there makes nothing.
fn both(mut removed: Vec<Record>, made: Vec<Record>) -> Result<Vec<Record>, Missed> {
    if !removed.is_empty() {
        removed.extend(made);
    }
    Ok(removed)
}

/// The thread that waits for our answer.
struct Caller {
    pid: u32,
}

impl Caller {
    fn open(&self, folder: i32, path: u64, flags: i32) -> Result<Vec<Record>, Missed> {
        if flags & (libc::O_PATH | libc::O_DIRECTORY) != 0 {
            return Ok(Vec::new());
        }
        let path = self.path(folder, path)?;
        let mode = flags & libc::O_ACCMODE;
        let writes = mode != libc::O_RDONLY || flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
        let reads = mode != libc::O_WRONLY;
        let mut records = Vec::new();
        match self.look_up(&path, flags & libc::O_NOFOLLOW != 0)? {
            Some(found) => {
                if let Some(path) = found.regular()? {
                    if writes {
                        records.push(Record::Written(path.clone()));
                    }
                    if reads {
                        records.push(Record::Read(path));
                    }
                }
            }
            None if flags & libc::O_CREAT != 0 => {
                records.extend(self.name_in_folder(&path)?.map(Record::Written));
            }
            None => {}
        }
        Ok(records)
    }

    fn execute(&self, folder: i32, path: u64, flags: i32) -> Result<Vec<Record>, Missed> {
        let text = self.text(path)?;
        if text.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
            return Ok(Vec::new());
        }
        let mut path = self.absolute(folder, &text)?;
        let mut records = Vec::new();
        for _ in 0..INTERPRETERS_MAX {
            let Some(found) = self.look_up(&path, false)? else {
                // A file without a name (fexecve of a memory file) is executed unseen; a search of PATH is not.
                return if text.is_empty() { Err(Missed) } else { Ok(records) };
            };
            let Some(program) = found.regular()? else {
                return Ok(records);
            };
            records.push(Record::Executed(program));
            match found.interpreter() {
                Some(Interpreter::Script(next)) => path = self.absolute(libc::AT_FDCWD, &next)?,
                Some(Interpreter::Loader(loader)) => {
                    let loader = self.absolute(libc::AT_FDCWD, &loader)?;
                    if let Some(found) = self.look_up(&loader, false)? {
                        records.extend(found.regular()?.map(Record::Read));
                    }
                    break;
                }
                None => break,
            }
        }
        Ok(records)
    }

    fn connect(&self, address: u64, length: u64) -> Result<Vec<Record>, Missed> {
        let length = usize::try_from(length as u32).map_err(|_| Missed)?;
        let bytes = self.memory(address, length.min(size_of::<libc::sockaddr_storage>()))?;
        Ok(socket_address(&bytes).map(Record::Connected).into_iter().collect())
    }

    /// A name that goes away, if it is there.
    fn removed(&self, folder: i32, path: u64) -> Result<Vec<Record>, Missed> {
        let path = self.path(folder, path)?;
        if self.look_up(&path, true)?.is_none() {
            return Ok(Vec::new());
        }
        let name = self.name_in_folder(&path)?;
        Ok(name.map(Record::Written).into_iter().collect())
    }

    /// A name that comes to be.
    fn made(&self, folder: i32, path: u64) -> Result<Vec<Record>, Missed> {
        let path = self.path(folder, path)?;
        let name = self.name_in_folder(&path)?;
        Ok(name.map(Record::Written).into_iter().collect())
    }

    /// An absolute path in the caller's root folder; `.`, `..` and links still in it.
    fn path(&self, folder: i32, address: u64) -> Result<PathBuf, Missed> {
        self.absolute(folder, &self.text(address)?)
    }

    fn absolute(&self, folder: i32, path: &[u8]) -> Result<PathBuf, Missed> {
        let path = Path::new(OsStr::from_bytes(path));
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        let link = if folder == libc::AT_FDCWD {
            format!("/proc/{}/cwd", self.pid)
        } else {
            format!("/proc/{}/fd/{folder}", self.pid)
        };
        match std::fs::read_link(link) {
            Ok(base) if path.as_os_str().is_empty() => Ok(base),
            Ok(base) => Ok(base.join(path)),
            // A descriptor that isn't open: the call will fail.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(PathBuf::new()),
            Err(_) => Err(Missed),
        }
    }

    /// What the caller would open at `path`; `None` where there is nothing, or nothing worth a record.
    fn look_up(&self, path: &Path, link_itself: bool) -> Result<Option<Found>, Missed> {
        if is_kernel_file(path) || !path.is_absolute() {
            return Ok(None);
        }
        let root_link = format!("/proc/{}/root", self.pid);
        let root = rustix::fs::open(&root_link, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|_| Missed)?;
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, link_itself);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let look = |path: &Path| {
            // Refused while somebody renames folders on the way and the path has `..` in it.
            let mut opened = Err(Errno::AGAIN);
            for _ in 0..LOOK_UPS_MAX {
                opened = openat2(&root, path, flags, Mode::empty(), resolve);
                if !matches!(opened, Err(Errno::AGAIN)) {
                    break;
                }
            }
            opened
        };
        let mut opened = look(path);
        if opened.is_err()
            && let Ok(chroot) = std::fs::read_link(&root_link)
            && chroot != Path::new("/")
            && let Ok(inside) = path.strip_prefix(chroot)
        {
            // The link to a working directory counts from our root, not from the caller's.
            opened = look(inside);
        }
        match opened {
            Ok(file) => Ok(Some(Found { file })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP | Errno::NAMETOOLONG) => Ok(None),
            Err(_) => Err(Missed),
        }
    }

    /// The last name of `path` in its folder's true path; `None` where there is no such folder.
    fn name_in_folder(&self, path: &Path) -> Result<Option<PathBuf>, Missed> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let Some(found) = self.look_up(folder, false)? else {
            return Ok(None);
        };
        let path = found.path()?.join(name);
        Ok((!is_kernel_file(&path)).then_some(path))
    }

    /// A string of the caller's, without its null byte.
    fn text(&self, address: u64) -> Result<Vec<u8>, Missed> {
        /// No page is smaller, so that a read up to such a border never fails for the page after it.
        const PAGE: u64 = 4096;
        let mut text = Vec::new();
        let mut at = address;
        while text.len() < PATH_BYTES_MAX {
            let to_border = PAGE - at % PAGE;
            // Most paths are short; copying less first is worth a second look at the rest.
            let piece = self.memory(at, usize::try_from(to_border.min(256)).map_err(|_| Missed)?)?;
            if let Some(end) = piece.iter().position(|&byte| byte == 0) {
                text.extend_from_slice(&piece[..end]);
                return Ok(text);
            }
            at = at.checked_add(piece.len() as u64).ok_or(Missed)?;
            text.extend_from_slice(&piece);
        }
        // Longer than any path: the call will fail.
        Ok(Vec::new())
    }

    fn memory(&self, address: u64, length: usize) -> Result<Vec<u8>, Missed> {
        let mut bytes = vec![0; length];
        let local = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: length,
        };
        let remote = libc::iovec {
            iov_base: std::ptr::without_provenance_mut(usize::try_from(address).map_err(|_| Missed)?),
            iov_len: length,
        };
        let pid = libc::pid_t::try_from(self.pid).map_err(|_| Missed)?;
        // SAFETY: the local part describes `bytes`; the remote one is the caller's, which the kernel checks.
        let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
        if usize::try_from(got) != Ok(length) {
            return Err(Missed);
        }
        Ok(bytes)
    }
}

/// A file found at a path, held open as a name only.
struct Found {
    file: OwnedFd,
}

enum Interpreter {
    /// Of a script's first line; runs instead of it.
    Script(Vec<u8>),
    /// The dynamic loader of an ELF file.
    Loader(Vec<u8>),
}

impl Found {
    /// The true path, if it is a regular file outside `/proc`, `/sys` and `/dev`.
    fn regular(&self) -> Result<Option<PathBuf>, Missed> {
        let stat = fstat(&self.file).map_err(|_| Missed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let path = self.path()?;
        Ok((!is_kernel_file(&path)).then_some(path))
    }

    fn path(&self) -> Result<PathBuf, Missed> {
        std::fs::read_link(self.link()).map_err(|_| Missed)
    }

    fn link(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    /// What the kernel loads beside or instead of the file, if we may read it.
    fn interpreter(&self) -> Option<Interpreter> {
        let file = File::open(self.link()).ok()?;
        let mut start = [0; 256];
        let length = file.read_at(&mut start, 0).ok()?;
        let start = &start[..length];
        if let Some(line) = start.strip_prefix(b"#!") {
            let line = line.split(|&byte| byte == b'\n').next()?.trim_ascii_start();
            let word = line.split(|byte| b" \t\0".contains(byte)).next()?;
            return Some(Interpreter::Script(word.to_owned()));
        }
        elf_loader(start, &file).map(Interpreter::Loader)
    }
}

/// The path in the `PT_INTERP` segment of a 64-bit little-endian ELF file (elf(5)).
fn elf_loader(start: &[u8], file: &File) -> Option<Vec<u8>> {
    const INTERPRETER: [u8; 4] = 3_u32.to_le_bytes();
    const SEGMENTS_MAX: u16 = 64;
    if start.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let long = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_le_bytes(start.get(at..at + 2)?.try_into().ok()?));
    let (table, entry, count) = (long(start, 32)?, short(54)?, short(56)?);
    for index in 0..count.min(SEGMENTS_MAX) {
        let mut segment = [0; 56];
        let at = table.checked_add(u64::from(entry) * u64::from(index))?;
        file.read_exact_at(&mut segment, at).ok()?;
        if segment[..4] == INTERPRETER {
            let length = usize::try_from(long(&segment, 32)?).ok()?;
            let mut path = vec![0; length.min(PATH_BYTES_MAX)];
            file.read_exact_at(&mut path, long(&segment, 8)?).ok()?;
            let end = path.iter().position(|&byte| byte == 0)?;
            path.truncate(end);
            return Some(path);
        }
    }
    None
}

/// What the kernel makes up: no material of anything.
fn is_kernel_file(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|folder| path.starts_with(folder))
}

/// An address as text; `None` for families that lead nowhere outside the machine's kernel.
fn socket_address(bytes: &[u8]) -> Option<String> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    match i32::from(family) {
        libc::AF_INET => {
            let at = offset_of!(libc::sockaddr_in, sin_addr);
            let address: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            let port = port(offset_of!(libc::sockaddr_in, sin_port))?;
            Some(SocketAddr::from((Ipv4Addr::from(address), port)).to_string())
        }
        libc::AF_INET6 => {
            let at = offset_of!(libc::sockaddr_in6, sin6_addr);
            let address: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
            let port = port(offset_of!(libc::sockaddr_in6, sin6_port))?;
            Some(SocketAddr::from((Ipv6Addr::from(address), port)).to_string())
        }
        libc::AF_UNIX => {
            let name = &bytes[offset_of!(libc::sockaddr_un, sun_path)..];
            match name.split_first() {
                None => None,
                Some((0, name)) => Some(format!("unix:@{}", String::from_utf8_lossy(name))),
                Some(_) => {
                    let name = name.split(|&byte| byte == 0).next()?;
                    Some(format!("unix:{}", String::from_utf8_lossy(name)))
                }
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_addresses_are_written_as_people_write_them() {
        let check = |family: i32, rest: &[u8], expect: Option<&str>| {
            let family = u16::try_from(family).unwrap().to_ne_bytes();
            let bytes = [&family[..], rest].concat();
            assert_eq!(socket_address(&bytes).as_deref(), expect);
        };
        let inet = [1, 187, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        check(libc::AF_INET, &inet, Some("127.0.0.1:443"));
        check(libc::AF_INET, &inet[..3], None);
        let mut inet6 = [0; 26];
        (inet6[1], inet6[21]) = (80, 1);
        check(libc::AF_INET6, &inet6, Some("[::1]:80"));
        check(libc::AF_UNIX, b"/run/s\0junk", Some("unix:/run/s"));
        check(libc::AF_UNIX, b"\0name", Some("unix:@name"));
        check(libc::AF_UNIX, b"", None);
        check(libc::AF_UNSPEC, &inet, None);
        check(libc::AF_NETLINK, &inet, None);
    }

    #[test]
    fn a_full_set_takes_what_it_has_already_and_nothing_new() {
        let mut set: std::collections::BTreeSet<usize> = (0..OBSERVED_PATHS_MAX).collect();
        assert!(insert(&mut set, 0));
        assert!(!insert(&mut set, OBSERVED_PATHS_MAX));
        assert_eq!(set.len(), OBSERVED_PATHS_MAX);
    }

    #[test]
    fn the_loader_of_this_program_is_found() {
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let mut start = [0; 256];
        file.read_exact_at(&mut start, 0).unwrap();
        let loader = elf_loader(&start, &file).map(|path| String::from_utf8(path).unwrap());
        if let Some(loader) = loader {
            assert!(loader.contains("ld"), "{loader}");
        }
        assert_eq!(elf_loader(b"#!/bin/sh", &file), None);
    }
}
