//! Who changed a file of the machine: programs of this run, or others that go on meanwhile.
//!
//! The run goes into namespaces of its own ([`enter`]): what it starts from there has these as its host, so that a mount or an
//! interface that gets out is one of theirs, and others' are not. In its pid namespace the kernel tells of each change on the file systems, with the
//! process that made it (fanotify(7)); a process that isn't one of ours has no number there, and stands as 0. So what others
//! change is told apart for certain, whether or not they still run.

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Set while we are in namespaces of our own.
const ALONE: &str = "PROOFMARK_CONFORM_ALONE";

const TURN_MS: u64 = 20;

/// Whether we are in namespaces of our own.
pub fn alone() -> bool {
    std::env::var_os(ALONE).is_some()
}

/// Runs this program with the same arguments in namespaces of its own, where the host lets us.
pub fn enter() -> Option<ExitStatus> {
    // Mounts spread within, as they do on most machines: what must not get out is given the chance.
    const SCRIPT: &str = "mount --make-rshared / && exec \"$@\"";
    let program = std::env::current_exe().ok()?;
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args([
            "--fork",
            "--pid",
            "--mount-proc",
            "--net",
            "--uts",
            "--ipc",
            "--kill-child",
        ]);
        command.args(["--", "sh", "-c", SCRIPT, "sh"]);
        command
    };
    let possible = unshare().arg("true").stderr(Stdio::null()).status().ok()?;
    if !possible.success() {
        return None;
    }
    let args = std::env::args_os().skip(1);
    unshare().arg(program).args(args).env(ALONE, "1").status().ok()
}

/// Hears of every change on the file systems of some folders, until it is dropped.
pub struct Witness {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    events: OwnedFd,
    folders: Vec<File>,
    heard: Mutex<Heard>,
    over: AtomicBool,
}

#[derive(Default)]
struct Heard {
    ours: BTreeSet<PathBuf>,
    others: u64,
    lost: bool,
}

/// What has been heard since it was last asked.
pub struct Told {
    /// Paths that processes of this run changed, made or removed.
    pub ours: BTreeSet<PathBuf>,
    /// How many changes others made.
    pub others: u64,
}

impl Witness {
    /// `None` where the kernel doesn't tell, or we are in no namespace of our own.
    pub fn start(folders: &[&str]) -> Option<Witness> {
        if !alone() {
            return None;
        }
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_UNLIMITED_QUEUE
            | libc::FAN_UNLIMITED_MARKS
            | libc::FAN_REPORT_DFID_NAME;
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::fanotify_init(flags, libc::O_RDONLY.unsigned_abs()) };
        if fd < 0 {
            return None;
        }
        // SAFETY: the descriptor is ours alone.
        let events = unsafe { OwnedFd::from_raw_fd(fd) };
        let what = libc::FAN_CREATE
            | libc::FAN_DELETE
            | libc::FAN_MOVED_FROM
            | libc::FAN_MOVED_TO
            | libc::FAN_MODIFY
            | libc::FAN_ATTRIB
            | libc::FAN_ONDIR;
        for folder in folders {
            let path = CString::new(*folder).ok()?;
            // SAFETY: the path is a C string.
            let marked = unsafe {
                libc::fanotify_mark(
                    events.as_raw_fd(),
                    libc::FAN_MARK_ADD | libc::FAN_MARK_FILESYSTEM,
                    what,
                    libc::AT_FDCWD,
                    path.as_ptr(),
                )
            };
            if marked < 0 && Path::new(folder).exists() {
                return None;
            }
        }
        let shared = Arc::new(Shared {
            events,
            folders: folders.iter().filter_map(|folder| File::open(folder).ok()).collect(),
            heard: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || {
                while !shared.over.load(Ordering::SeqCst) {
                    shared.drain();
                    std::thread::sleep(Duration::from_millis(TURN_MS));
                }
            }
        });
        let witness = Witness {
            shared,
            thread: Some(thread),
        };
        witness.hears().then_some(witness)
    }

    /// Whether a change of our own is heard, with its place.
    fn hears(&self) -> bool {
        let Ok(file) = tempfile::NamedTempFile::new_in("/var/tmp") else {
            return false;
        };
        let path = file.path().to_owned();
        drop(file);
        self.tell().is_some_and(|told| told.ours.contains(&path))
    }

    /// Everything that was changed until now. `None` when the kernel lost some.
    pub fn tell(&self) -> Option<Told> {
        self.shared.drain();
        let mut heard = self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = std::mem::take(&mut *heard);
        (!heard.lost).then_some(Told {
            ours: heard.ours,
            others: heard.others,
        })
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn drain(&self) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = vec![0_u8; 1 << 16];
        loop {
            // SAFETY: reads at most the length of the buffer.
            let length = unsafe { libc::read(self.events.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
            let Some(mut rest) = usize::try_from(length).ok().and_then(|length| buffer.get(..length)) else {
                return;
            };
            if rest.is_empty() {
                return;
            }
            while let Some(event) = event_length(rest).and_then(|length| rest.get(..length)) {
                self.event(event, &mut heard);
                rest = &rest[event.len()..];
            }
        }
    }

    /// struct fanotify_event_metadata: length (4), version (1), reserved (1), metadata length (2), mask (8), fd (4), pid (4).
    fn event(&self, event: &[u8], heard: &mut Heard) {
        let mask = event
            .get(8..16)
            .and_then(|bytes| bytes.try_into().ok())
            .map_or(0, u64::from_ne_bytes);
        let pid = number(event, 20);
        if mask & libc::FAN_Q_OVERFLOW != 0 {
            heard.lost = true;
        } else if pid == 0 {
            heard.others += 1;
        } else {
            let info = event.get(METADATA_BYTES..).unwrap_or_default();
            // A change whose place isn't known may be anywhere.
            heard
                .ours
                .insert(self.path(info).unwrap_or_else(|| PathBuf::from("somewhere")));
        }
    }

    /// struct fanotify_event_info_fid: type (1), padding (1), length (2), file system (8), handle length (4), handle type (4),
    /// handle, name.
    fn path(&self, info: &[u8]) -> Option<PathBuf> {
        const HANDLE_AT: usize = 12;
        #[repr(C, align(8))]
        struct Handle([u8; 8 + libc::MAX_HANDLE_SZ as usize]);
        let length = usize::from(u16::from_ne_bytes([*info.get(2)?, *info.get(3)?]));
        let info = info.get(..length)?;
        let handle_bytes = usize::try_from(number(info, HANDLE_AT)).ok()? + 8;
        let handle = info.get(HANDLE_AT..HANDLE_AT + handle_bytes)?;
        let name = info.get(HANDLE_AT + handle_bytes..)?;
        let name = name.split(|byte| *byte == 0).next()?;
        self.folders.iter().find_map(|mount| {
            let mut copy = Handle([0; 8 + libc::MAX_HANDLE_SZ as usize]);
            copy.0.get_mut(..handle.len())?.copy_from_slice(handle);
            // SAFETY: the handle has the length that it says, within our buffer.
            let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), copy.0.as_mut_ptr().cast(), libc::O_PATH) };
            if fd < 0 {
                return None;
            }
            // SAFETY: the descriptor is ours alone.
            let folder = unsafe { OwnedFd::from_raw_fd(fd) };
            let folder = std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
            Some(if name == b"." {
                folder
            } else {
                folder.join(OsStr::from_bytes(name))
            })
        })
    }
}

const METADATA_BYTES: usize = 24;

fn event_length(events: &[u8]) -> Option<usize> {
    let length = usize::try_from(number(events, 0)).ok()?;
    (length >= METADATA_BYTES).then_some(length)
}

/// Four bytes; 0 beyond the end.
fn number(bytes: &[u8], at: usize) -> i32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i32::from_ne_bytes)
}
