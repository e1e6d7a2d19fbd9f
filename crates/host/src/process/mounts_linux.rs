//! What a tree's own mount namespace looks like: hidden folders empty, devices harmless, `/proc` its own, and where
//! that is asked for everything read-only but some folders.
//!
//! [`Mounts::plan`] looks at the mounts and allocates; [`Mounts::furnish`] runs after the fork and only mounts.

use std::cell::Cell;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ProcessError;
use super::child_linux::{errno, stage};

/// Devices that give a program nothing but what it could compute itself, and those that make virtual machines,
/// user-space file systems and tunnels. No disk, no memory, no terminal of ours.
pub(super) const DEVICES: [&CStr; 9] = [
    c"/dev/null",
    c"/dev/zero",
    c"/dev/full",
    c"/dev/random",
    c"/dev/urandom",
    c"/dev/tty",
    c"/dev/kvm",
    c"/dev/fuse",
    c"/dev/net/tun",
];

/// Memory and queues that processes share.
const SHARED: [&CStr; 2] = [c"/dev/shm", c"/dev/mqueue"];

const DEVICE_LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"/dev/fd"),
    (c"/proc/self/fd/0", c"/dev/stdin"),
    (c"/proc/self/fd/1", c"/dev/stdout"),
    (c"/proc/self/fd/2", c"/dev/stderr"),
    (c"pts/ptmx", c"/dev/ptmx"),
];

/// Where the kernel takes settings from user 0 without asking for a capability; some start programs outside.
const PROC_SETTINGS: [&CStr; 8] = [
    c"/proc/sys",
    c"/proc/sysrq-trigger",
    c"/proc/irq",
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/acpi",
    c"/proc/scsi",
    c"/proc/driver",
];

/// File systems that are such settings.
const SETTINGS_FILE_SYSTEMS: [&str; 13] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "debugfs",
    "tracefs",
    "securityfs",
    "selinuxfs",
    "configfs",
    "efivarfs",
    "bpf",
    "pstore",
    "fusectl",
];

/// The mounts to be made, as the C strings that the system calls take.
pub(super) struct Mounts {
    hide: Vec<CString>,
    /// Mount points to make read-only; empty unless we are user 0.
    settings: Vec<CString>,
    /// `Some`: everything else is read-only.
    writable: Option<Vec<Writable>>,
    /// Every mount point there is, for kernels that can't change a tree of mounts at once.
    points: Vec<CString>,
    we_are_root: bool,
}

/// A folder that stays as writable as it was.
struct Writable {
    path: CString,
    /// The copy that was made before everything became read-only; -1 otherwise.
    copy: Cell<RawFd>,
}

impl Mounts {
    /// `writable` are canonical paths of folders, none below another. `hide` are canonical paths of folders. Every other place where one of them, or a part of one, is mounted is hidden too.
    pub(super) fn plan(hide: &[PathBuf], writable: Option<&[PathBuf]>) -> Result<Self, ProcessError> {
        let table = std::fs::read("/proc/self/mountinfo").map_err(|reason| ProcessError::File {
            operation: "read",
            path: "/proc/self/mountinfo".into(),
            reason: reason.to_string(),
        })?;
        let table = parse_mounts(&table);
        let mut hidden = hide.to_vec();
        for folder in hide {
            hidden.extend(other_places(folder, &table)?);
        }
        hidden.sort();
        hidden.dedup();
        let we_are_root = rustix::process::geteuid().is_root();
        let settings = table
            .iter()
            .filter(|mount| we_are_root && SETTINGS_FILE_SYSTEMS.contains(&mount.kind.as_str()))
            // What is mounted at `/proc` is covered by the tree's own, and must stay usable where that can't be mounted.
            .filter(|mount| mount.point != Path::new("/proc"))
            .filter_map(|mount| c_path(&mount.point).ok())
            .collect();
        let writable = writable.map(|folders| {
            let plan = |path: &PathBuf| {
                Ok(Writable {
                    path: c_path(path)?,
                    copy: Cell::new(-1),
                })
            };
            folders.iter().map(plan).collect::<Result<_, ProcessError>>()
        });
        Ok(Self {
            hide: hidden.iter().map(|path| c_path(path)).collect::<Result<_, _>>()?,
            settings,
            writable: writable.transpose()?,
            points: table.iter().filter_map(|mount| c_path(&mount.point).ok()).collect(),
            we_are_root,
        })
    }

    /// The path hidden by step `index` of [`Mounts::furnish`].
    pub(super) fn hidden(&self, index: usize) -> Option<PathBuf> {
        let path = self.hide.get(index)?;
        Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
    }

    /// The path kept writable by step `index` of [`Mounts::furnish`].
    pub(super) fn writable(&self, index: usize) -> Option<PathBuf> {
        let folder = self.writable.as_ref()?.get(index)?;
        Some(PathBuf::from(OsStr::from_bytes(folder.path.to_bytes())))
    }

    /// Makes the mounts; on failure the stage and the error number.
    ///
    /// # Safety
    ///
    /// Only in a child that is alone in new user, mount and pid namespaces; allocates nothing.
    pub(super) unsafe fn furnish(&self) -> Result<(), (i32, i32)> {
        // SAFETY: the caller's promise; every pointer is to a C string that lives in `self` or for ever.
        unsafe {
            // Nothing that we mount may spread outside, nothing mounted outside later may uncover what we hid.
            check(
                mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c""),
                stage::PRIVATE_MOUNTS,
            )?;
            self.copy_writable()?;
            let shared = SHARED.map(|path| detach(path, libc::AT_RECURSIVE));
            if self.writable.is_some() {
                // Mounts that are covered, or that nobody can reach by a path, included.
                self.forbid_below(c"/", libc::MOUNT_ATTR_RDONLY)
                    .map_err(|errno| (stage::READ_ONLY, errno))?;
            }
            self.furnish_devices(shared).map_err(|errno| (stage::DEVICES, errno))?;
            // Before kernel settings are protected and folders hidden, so that both win.
            self.attach_writable()?;
            self.furnish_proc().map_err(|errno| (stage::KERNEL_SETTINGS, errno))?;
            for (index, folder) in self.hide.iter().enumerate() {
                let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
                check(
                    mount(c"hidden", folder, c"tmpfs", flags, c"mode=0555,size=4k"),
                    stage::nth(stage::HIDE, index),
                )?;
            }
        }
        Ok(())
    }

    /// Copies keep what each mount below allowed before: what was read-only stays so.
    unsafe fn copy_writable(&self) -> Result<(), (i32, i32)> {
        for (index, folder) in self.writable.iter().flatten().enumerate() {
            // SAFETY: as in `furnish`.
            let copy = unsafe { detach(&folder.path, libc::AT_RECURSIVE) };
            check(copy.into(), stage::nth(stage::WRITABLE, index))?;
            folder.copy.set(copy);
        }
        Ok(())
    }

    unsafe fn attach_writable(&self) -> Result<(), (i32, i32)> {
        for (index, folder) in self.writable.iter().flatten().enumerate() {
            let stage = stage::nth(stage::WRITABLE, index);
            // SAFETY: as in `furnish`; each copy is attached once.
            unsafe {
                check(attach(folder.copy.replace(-1), &folder.path), stage)?;
                self.forbid_below(&folder.path, libc::MOUNT_ATTR_NODEV)
                    .map_err(|errno| (stage, errno))?;
            }
        }
        Ok(())
    }

    /// Sets restricting attributes of a mount and of all below it.
    unsafe fn forbid_below(&self, path: &CStr, attributes: u64) -> Result<(), i32> {
        // SAFETY: as in `furnish`.
        unsafe {
            match set_attributes(path, libc::AT_RECURSIVE, attributes, 0) {
                Err(libc::ENOSYS) => {}
                other => return other,
            }
            remount(path, attributes)?;
            for point in &self.points {
                if !lies_below(point, path) {
                    continue;
                }
                match remount(point, attributes) {
                    // Another mount covers it or it is out of reach: the tree can't get there either.
                    Ok(()) | Err(libc::EINVAL | libc::ENOENT | libc::ENOTDIR | libc::EACCES) => {}
                    error => return error,
                }
            }
        }
        Ok(())
    }

    unsafe fn furnish_devices(&self, shared: [RawFd; SHARED.len()]) -> Result<(), i32> {
        // SAFETY: as in `furnish`.
        unsafe {
            let mut devices: [RawFd; DEVICES.len()] = [-1; DEVICES.len()];
            for (fd, path) in devices.iter_mut().zip(DEVICES) {
                *fd = detach(path, 0);
            }
            // From here on no other device node anywhere can be opened, a copy of /dev/sda in some chroot included.
            self.forbid_below(c"/", libc::MOUNT_ATTR_NODEV)?;
            mount_devices(&devices, &shared)
        }
    }

    unsafe fn furnish_proc(&self) -> Result<(), i32> {
        // SAFETY: as in `furnish`.
        unsafe {
            for point in &self.settings {
                // What we can't reach, or what is below another mount by now, the tree can't reach either.
                let _ = forbid(point, libc::MOUNT_ATTR_RDONLY);
            }
            // Refused where parts of the present one are covered (containers do that). The old one then stays: it shows
            // processes outside, but of them nothing that needs the right to trace them.
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            if mount(c"proc", c"/proc", c"proc", flags, c"") < 0 && self.writable.is_some() {
                // A program sets up its own namespaces there. The kernel undoes only what we did ourselves.
                let _ = set_attributes(c"/proc", 0, 0, libc::MOUNT_ATTR_RDONLY);
            }
            if !self.we_are_root {
                return Ok(());
            }
            for path in PROC_SETTINGS {
                if !own_mount(path)? {
                    continue;
                }
                self.forbid_below(path, libc::MOUNT_ATTR_RDONLY)?;
            }
        }
        Ok(())
    }
}

/// `/dev` anew, with copies of `DEVICES` and `SHARED` where there is one, and read-only.
pub(super) unsafe fn mount_devices(devices: &[RawFd], shared: &[RawFd]) -> Result<(), i32> {
    // SAFETY: as in `furnish`.
    unsafe {
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        done(mount(c"dev", c"/dev", c"tmpfs", flags, c"mode=0755,size=64k"))?;
        libc::mkdir(c"/dev/net".as_ptr(), 0o755);
        for (fd, path) in devices.iter().zip(DEVICES) {
            if *fd < 0 {
                continue;
            }
            let file = libc::open(path.as_ptr(), libc::O_CREAT | libc::O_CLOEXEC, 0o600);
            libc::close(file);
            done(attach(*fd, path))?;
        }
        for (fd, path) in shared.iter().zip(SHARED) {
            if *fd >= 0 {
                libc::mkdir(path.as_ptr(), 0o755);
                done(attach(*fd, path))?;
            }
        }
        libc::mkdir(c"/dev/pts".as_ptr(), 0o755);
        // Pseudo-terminals of its own; a tree that wants one where they can't be mounted has to do without.
        let options = c"newinstance,ptmxmode=0666,mode=0620";
        mount(c"devpts", c"/dev/pts", c"devpts", flags, options);
        for (target, link) in DEVICE_LINKS {
            libc::symlink(target.as_ptr(), link.as_ptr());
        }
        libc::mkdir(c"/dev/shm".as_ptr(), 0o1777);
        forbid(c"/dev", libc::MOUNT_ATTR_RDONLY)
    }
}

/// Kernel settings below `/proc` read-only.
pub(super) unsafe fn protect_settings() -> Result<(), i32> {
    for path in PROC_SETTINGS {
        // SAFETY: as in `furnish`.
        unsafe {
            if own_mount(path)? {
                set_attributes(path, libc::AT_RECURSIVE, libc::MOUNT_ATTR_RDONLY, 0)?;
            }
        }
    }
    Ok(())
}

/// Makes a folder a mount of its own, over itself; false where it doesn't exist.
unsafe fn own_mount(path: &CStr) -> Result<bool, i32> {
    // SAFETY: `path` is a C string.
    unsafe {
        let copy = detach(path, libc::AT_RECURSIVE);
        if copy < 0 {
            return match errno() {
                libc::ENOENT => Ok(false),
                errno => Err(errno),
            };
        }
        done(attach(copy, path))?;
    }
    Ok(true)
}

pub(super) unsafe fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong, options: &CStr) -> i64 {
    // SAFETY: all are C strings.
    i64::from(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    })
}

/// A copy of a mount that is mounted nowhere yet; negative when there is no such path.
pub(super) unsafe fn detach(path: &CStr, flags: libc::c_int) -> RawFd {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | flags.unsigned_abs();
    // SAFETY: `path` is a C string.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    RawFd::try_from(fd).unwrap_or(-1)
}

/// Mounts what [`detach`] gave, and closes it.
pub(super) unsafe fn attach(fd: RawFd, path: &CStr) -> i64 {
    // SAFETY: both are C strings; `fd` is ours to close.
    unsafe {
        let moved = libc::syscall(
            libc::SYS_move_mount,
            fd,
            c"".as_ptr(),
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        );
        // Closing may change the error number only by failing, which a mount's descriptor doesn't.
        libc::close(fd);
        moved
    }
}

/// Sets restricting attributes of one mount.
unsafe fn forbid(path: &CStr, attributes: u64) -> Result<(), i32> {
    // SAFETY: `path` is a C string.
    unsafe {
        match set_attributes(path, 0, attributes, 0) {
            Err(libc::ENOSYS) => remount(path, attributes),
            other => other,
        }
    }
}

/// What [`forbid`] does, for kernels before Linux 5.12 and filters that don't know its call.
unsafe fn remount(path: &CStr, attributes: u64) -> Result<(), i32> {
    // Bits of statvfs(3), which this call would otherwise clear; where they are locked it would be refused.
    const KEPT: [(libc::c_ulong, libc::c_ulong); 7] = [
        (libc::ST_RDONLY, libc::MS_RDONLY),
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (libc::ST_NOATIME, libc::MS_NOATIME),
        (libc::ST_NODIRATIME, libc::MS_NODIRATIME),
        (libc::ST_RELATIME, libc::MS_RELATIME),
    ];
    // SAFETY: `path` is a C string, and the structure is written by the kernel's answer alone.
    unsafe {
        let mut now: libc::statvfs = std::mem::zeroed();
        done(libc::statvfs(path.as_ptr(), &raw mut now).into())?;
        let mut flags = libc::MS_REMOUNT | libc::MS_BIND;
        for (there, flag) in KEPT {
            if now.f_flag & there != 0 {
                flags |= flag;
            }
        }
        if attributes & libc::MOUNT_ATTR_RDONLY != 0 {
            flags |= libc::MS_RDONLY;
        }
        if attributes & libc::MOUNT_ATTR_NODEV != 0 {
            flags |= libc::MS_NODEV;
        }
        done(mount(c"none", path, c"none", flags, c""))
    }
}

fn lies_below(path: &CStr, folder: &CStr) -> bool {
    let folder = folder.to_bytes();
    match path.to_bytes().strip_prefix(folder) {
        Some(rest) => folder == b"/" || rest.first().is_none_or(|&byte| byte == b'/'),
        None => false,
    }
}

/// Changes a mount's attributes (with `AT_RECURSIVE`: those of all below it too).
pub(super) unsafe fn set_attributes(path: &CStr, flags: libc::c_int, set: u64, clear: u64) -> Result<(), i32> {
    let change = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: `change` has the size that is given with it.
    done(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    })
}

pub(super) fn done(result: i64) -> Result<(), i32> {
    if result < 0 { Err(errno()) } else { Ok(()) }
}

pub(super) fn check(result: i64, stage: i32) -> Result<(), (i32, i32)> {
    done(result).map_err(|errno| (stage, errno))
}

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    device: String,
    /// The folder of the file system that is mounted.
    root: PathBuf,
    pub(super) point: PathBuf,
    pub(super) kind: String,
}

pub(super) fn parse_mounts(table: &[u8]) -> Vec<Mount> {
    table.split(|&byte| byte == b'\n').filter_map(parse_mount).collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let mut fields = line.split(|&byte| byte == b' ');
    let device = text(fields.nth(2)?);
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(Mount {
        device,
        root,
        point,
        kind,
    })
}

/// Undoes `\040` for a space and its like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// Where else `folder`, or something in it, is mounted.
fn other_places(folder: &Path, table: &[Mount]) -> Result<Vec<PathBuf>, ProcessError> {
    // The mount that holds it: of those above it the lowest, and of those at one place the last.
    let Some(holder) = table
        .iter()
        .filter(|mount| folder.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.as_os_str().len())
    else {
        return Ok(Vec::new());
    };
    let Ok(below) = folder.strip_prefix(&holder.point) else {
        return Ok(Vec::new());
    };
    let inside = join(&holder.root, below);
    let mut places = Vec::new();
    for mount in table.iter().filter(|mount| mount.device == holder.device) {
        if let Ok(below) = inside.strip_prefix(&mount.root) {
            let place = join(&mount.point, below);
            if place != folder && same_folder(&place, folder) {
                places.push(place);
            }
        } else if mount.root.starts_with(&inside) {
            if !mount.point.is_dir() {
                return Err(ProcessError::CantHide {
                    path: folder.to_owned(),
                    reason: format!("a file of it is mounted at `{}` too", mount.point.display()),
                });
            }
            places.push(mount.point.clone());
        }
    }
    Ok(places)
}

/// `join` with an empty path would add a slash.
fn join(base: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() {
        base.to_owned()
    } else {
        base.join(below)
    }
}

/// The same folder and not one of the same name below another mount.
fn same_folder(one: &Path, other: &Path) -> bool {
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

pub(super) fn c_path(path: &Path) -> Result<CString, ProcessError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| ProcessError::File {
        operation: "use",
        path: path.to_owned(),
        reason: "it holds a null byte".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_table_line_is_parsed() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let expect = Mount {
            device: "98:0".to_owned(),
            root: "/mnt1".into(),
            point: "/mnt 2".into(),
            kind: "ext3".to_owned(),
        };
        assert_eq!(parse_mounts(line), [expect]);
        assert_eq!(parse_mounts(b"\n36 35\n"), []);
    }

    #[test]
    fn a_part_mounted_elsewhere_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let mount = |root: &Path, point: &Path| Mount {
            device: "1:1".to_owned(),
            root: root.to_owned(),
            point: point.to_owned(),
            kind: "ext4".to_owned(),
        };
        let whole = mount(Path::new("/"), Path::new("/"));
        let part = mount(&folder.path().join("keys"), elsewhere.path());
        let other = mount(Path::new("/srv"), elsewhere.path());
        let places = |table: &[Mount]| other_places(folder.path(), table).unwrap();
        assert_eq!(places(&[]), Vec::<PathBuf>::new());
        let table = [whole, part, other];
        assert_eq!(places(&table), [elsewhere.path().to_owned()]);
    }
}
