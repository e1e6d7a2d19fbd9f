//! A throwaway copy of the machine: what [`run_discarded`](super::run_discarded) mounts, maps and forbids.
//!
//! Two user namespaces, one in the other. The outer one belongs to the first process, which mounts a bounded tmpfs
//! and, over it, an overlay of each of the host's file systems; its user 0 is a number that owns nothing on the host.
//! The inner one belongs to the program: everything mounted before is locked for it, so that its root can neither
//! uncover, nor remount, nor unmount, and what it changes lies in the tmpfs.
//!
//! Where we are not root the host's files can't be shown with shifted owners: user 0 inside is our own user, and the
//! overlays cover each folder that has no mount below.
//!
//! Not here: the calls of the program (`discard_filter_linux`) and what was changed (`discard_changes_linux`).
//! [`Throwaway::plan`] looks and allocates; [`Throwaway::furnish`] runs after the fork and only makes system calls.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use super::ProcessError;
use super::child_linux::{errno, stage};
use super::discard::Discard;
use super::mounts_linux::{
    DEVICES, Mount, attach, c_path, check, detach, done, mount, mount_devices, parse_mounts, protect_settings,
    set_attributes,
};

/// The host's user that user 0 inside is, and the first of [`IDS`]: above what is usually handed to containers, so that it owns nothing.
pub(super) const FIRST_ID: u32 = 0x7000_0000;

/// How many users and groups there are inside.
const IDS: u32 = 65_536;

/// How many overlays a copy may need.
pub(super) const LAYERS_MAX: usize = 64;

/// Harmless devices at the start of `DEVICES`: no virtual machines, user-space file systems or tunnels here.
const DEVICES_SHOWN: usize = 6;

/// File systems that lie on a disk, which a copy has an overlay of.
const COPIED: [&str; 9] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "overlay",
];

/// Folders of the kernel and of running programs, which a copy has its own of.
const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// What a program of the tree may still do with its own namespaces; everything else is dropped (capabilities(7)).
const CAPABILITIES: [u32; 21] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    2,  // DAC_READ_SEARCH
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    9,  // LINUX_IMMUTABLE
    10, // NET_BIND_SERVICE
    11, // NET_BROADCAST
    12, // NET_ADMIN
    13, // NET_RAW
    15, // IPC_OWNER
    18, // SYS_CHROOT
    19, // SYS_PTRACE
    21, // SYS_ADMIN
    23, // SYS_NICE
    28, // LEASE
    31, // SETFCAP
];

/// A copy to be furnished.
pub(super) struct Throwaway {
    layers: Vec<Layer>,
    /// Made on a root that is no overlay, in this order; a symbolic link where there is a target.
    made: Vec<(CString, Option<CString>)>,
    root_is_layer: bool,
    hide: Vec<CString>,
    tmpfs: CString,
    shared: CString,
    inner_map: CString,
    pub(super) filter: Vec<libc::sock_filter>,
    limits: Vec<(libc::__rlimit_resource_t, libc::rlim_t)>,
    processes: CString,
    we_are_root: bool,
}

/// One overlay.
struct Layer {
    /// A folder of the host.
    source: PathBuf,
    /// Where it appears inside.
    target: PathBuf,
    from: CString,
    lower: CString,
    upper: CString,
    work: CString,
    point: CString,
    options: CString,
    /// Folders to be made for it to be mounted on.
    make: Vec<CString>,
}

impl Layer {
    fn new(index: usize, source: &Path, target: &Path) -> Result<Self, ProcessError> {
        let staged = |kind: &str| format!("/tmp/{kind}{index}");
        let options = format!(
            "lowerdir={},upperdir={},workdir={},userxattr",
            staged("lower"),
            staged("upper"),
            staged("work")
        );
        let mut make: Vec<&Path> = target.ancestors().filter(|path| *path != Path::new("/")).collect();
        make.reverse();
        Ok(Self {
            source: source.to_owned(),
            target: target.to_owned(),
            from: c_path(source)?,
            lower: c_path(staged("lower").as_ref())?,
            upper: c_path(staged("upper").as_ref())?,
            work: c_path(staged("work").as_ref())?,
            point: c_path(&inside(target))?,
            options: c_path(options.as_ref())?,
            make: make
                .into_iter()
                .map(|path| c_path(&inside(path)))
                .collect::<Result<_, _>>()?,
        })
    }
}

/// A path of the copy before it is the root.
fn inside(path: &Path) -> PathBuf {
    match path.strip_prefix("/") {
        Ok(below) if !below.as_os_str().is_empty() => Path::new("/tmp/root").join(below),
        _ => PathBuf::from("/tmp/root"),
    }
}

/// What a layer's files are compared with.
pub(super) struct Compared {
    /// Below the tmpfs.
    pub upper: String,
    pub source: PathBuf,
    pub target: PathBuf,
}

impl Throwaway {
    /// `hide` are canonical paths of folders.
    pub(super) fn plan(discard: &Discard, hide: &[PathBuf]) -> Result<Self, ProcessError> {
        let table = std::fs::read("/proc/self/mountinfo").map_err(|reason| ProcessError::File {
            operation: "read",
            path: "/proc/self/mountinfo".into(),
            reason: reason.to_string(),
        })?;
        let table = parse_mounts(&table);
        let we_are_root = rustix::process::geteuid().is_root();
        let mut made = Vec::new();
        let mut sources = if we_are_root {
            file_systems(&table)
        } else {
            folders_without_mounts(&table, &mut made)?
        };
        let root_is_layer = sources.first().is_some_and(|(_, target)| target == Path::new("/"));
        sources.extend(discard.provide.iter().cloned());
        if sources.len() > LAYERS_MAX {
            return Err(ProcessError::NoIsolation {
                reason: format!("more than {LAYERS_MAX} file systems would have to be covered"),
            });
        }
        let layers = sources.iter().enumerate();
        let layers = layers.map(|(index, (source, target))| Layer::new(index, source, target));
        let limits = &discard.limits;
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            made,
            root_is_layer,
            hide: hide.iter().map(|path| c_path(path)).collect::<Result<_, _>>()?,
            tmpfs: c_path(
                format!(
                    "mode=0755,size={},nr_inodes={}",
                    limits.disk_bytes_max, limits.files_max
                )
                .as_ref(),
            )?,
            shared: c_path(format!("mode=1777,size={},nr_inodes=1024", limits.disk_bytes_max / 4).as_ref())?,
            inner_map: c_path(if we_are_root { "0 0 65536\n" } else { "0 0 1\n" }.as_ref())?,
            filter: super::discard_filter_linux::program().ok_or_else(|| ProcessError::NoIsolation {
                reason: "nobody has written down the calls of this architecture".to_owned(),
            })?,
            limits: vec![
                (libc::RLIMIT_NPROC, limits.processes_max.into()),
                (libc::RLIMIT_NOFILE, limits.open_files_max.into()),
                (libc::RLIMIT_FSIZE, limits.file_bytes_max),
                (libc::RLIMIT_DATA, limits.memory_bytes_max),
                (libc::RLIMIT_CORE, 0),
                (libc::RLIMIT_MEMLOCK, 1 << 20),
                (libc::RLIMIT_MSGQUEUE, 1 << 16),
                (libc::RLIMIT_RTPRIO, 0),
                (libc::RLIMIT_NICE, 0),
            ],
            processes: c_path(format!("{}", limits.processes_max.saturating_mul(4).max(1024)).as_ref())?,
            we_are_root,
        })
    }

    pub(super) fn we_are_root(&self) -> bool {
        self.we_are_root
    }

    pub(super) fn compared(&self) -> Vec<Compared> {
        let compared = |(index, layer): (usize, &Layer)| Compared {
            upper: format!("upper{index}"),
            source: layer.source.clone(),
            target: layer.target.clone(),
        };
        self.layers.iter().enumerate().map(compared).collect()
    }

    /// Gives the first process its user and group ids; it is outside of everything else still.
    pub(super) fn write_maps(&self, first: Pid) -> std::io::Result<()> {
        let folder = PathBuf::from(format!("/proc/{}", first.as_raw_nonzero()));
        // So that what runs out of memory is the copy.
        std::fs::write(folder.join("oom_score_adj"), "1000")?;
        if self.we_are_root {
            let map = format!("0 {FIRST_ID} {IDS}\n");
            std::fs::write(folder.join("uid_map"), &map)?;
            return std::fs::write(folder.join("gid_map"), &map);
        }
        std::fs::write(folder.join("setgroups"), "deny")?;
        let user = rustix::process::geteuid();
        let group = rustix::process::getegid();
        std::fs::write(folder.join("uid_map"), format!("0 {} 1\n", user.as_raw()))?;
        std::fs::write(folder.join("gid_map"), format!("0 {} 1\n", group.as_raw()))
    }

    /// Each layer's file system, read-only and with its owners shifted into the namespace of `first`; empty where only
    /// the child can make them.
    pub(super) fn open_layers(&self, first: Pid) -> Result<Vec<OwnedFd>, ProcessError> {
        if !self.we_are_root {
            return Ok(Vec::new());
        }
        let namespace = std::fs::File::open(format!("/proc/{}/ns/user", first.as_raw_nonzero()));
        let namespace = namespace.map_err(|error| ProcessError::System {
            operation: "open a namespace",
            reason: error.to_string(),
        })?;
        let open = |layer: &Layer| {
            // SAFETY: the path is a C string; the descriptor is ours alone.
            let copy = unsafe {
                match detach(&layer.from, 0) {
                    -1 => Err(std::io::Error::last_os_error()),
                    fd => Ok(OwnedFd::from_raw_fd(fd)),
                }
            };
            let copy = copy.map_err(|error| ProcessError::File {
                operation: "copy",
                path: layer.source.clone(),
                reason: error.to_string(),
            })?;
            let change = libc::mount_attr {
                attr_set: libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY,
                attr_clr: 0,
                propagation: libc::MS_PRIVATE,
                userns_fd: u64::from(namespace.as_raw_fd().unsigned_abs()),
            };
            // SAFETY: `change` has the size that is given with it. Where a file system can't shift owners, its files belong to
            // nobody inside: less can be written there, never more.
            let _ = unsafe {
                libc::syscall(
                    libc::SYS_mount_setattr,
                    copy.as_raw_fd(),
                    c"".as_ptr(),
                    libc::AT_EMPTY_PATH,
                    &raw const change,
                    size_of::<libc::mount_attr>(),
                )
            };
            Ok(copy)
        };
        self.layers.iter().map(open).collect()
    }

    /// Makes the copy and enters it; returns an open folder of the tmpfs that holds what is changed.
    ///
    /// # Safety
    ///
    /// Only in a child that is alone in new user, mount, pid and network namespaces; allocates nothing.
    pub(super) unsafe fn furnish(&self, given: &[RawFd]) -> Result<RawFd, (i32, i32)> {
        // SAFETY: the caller's promise; every pointer is to a C string that lives in `self` or for ever.
        unsafe {
            self.become_root().map_err(|errno| (stage::CAPABILITIES, errno))?;
            check(
                mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE, c""),
                stage::PRIVATE_MOUNTS,
            )?;
            libc::umask(0o022);
            let mut devices = [-1; DEVICES.len()];
            for (fd, path) in devices.iter_mut().zip(DEVICES).take(DEVICES_SHOWN) {
                *fd = detach(path, 0);
            }
            let mut copies = [-1; LAYERS_MAX];
            for (index, (copy, layer)) in copies.iter_mut().zip(&self.layers).enumerate() {
                *copy = match given.get(index) {
                    Some(fd) => *fd,
                    None => detach(&layer.from, libc::AT_RECURSIVE),
                };
            }
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            check(
                mount(c"throwaway", c"/tmp", c"tmpfs", flags, &self.tmpfs),
                stage::PRIVATE_MOUNTS,
            )?;
            let store = libc::open(c"/tmp".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC);
            check(store.into(), stage::PRIVATE_MOUNTS)?;
            self.lay(&copies)?;
            self.furnish_own().map_err(|errno| (stage::KERNEL_SETTINGS, errno))?;
            enter().map_err(|errno| (stage::PRIVATE_MOUNTS, errno))?;
            set_attributes(c"/", libc::AT_RECURSIVE, libc::MOUNT_ATTR_NODEV, 0)
                .map_err(|errno| (stage::DEVICES, errno))?;
            mount_devices(&devices, &[]).map_err(|errno| (stage::DEVICES, errno))?;
            self.hide()?;
            // The program counts its processes by user, and may have many users; this counts them all (Linux 6.14).
            let limit = libc::open(c"/proc/sys/kernel/pid_max".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            if limit >= 0 {
                let text = self.processes.to_bytes();
                libc::write(limit, text.as_ptr().cast(), text.len());
                libc::close(limit);
            }
            protect_settings().map_err(|errno| (stage::KERNEL_SETTINGS, errno))?;
            Ok(store)
        }
    }

    unsafe fn become_root(&self) -> Result<(), i32> {
        if !self.we_are_root {
            return Ok(());
        }
        // SAFETY: no pointer but an empty list. The C library would want to tell its other threads, which there are none of.
        unsafe {
            done(libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()))?;
            done(libc::syscall(libc::SYS_setresgid, 0, 0, 0))?;
            done(libc::syscall(libc::SYS_setresuid, 0, 0, 0))
        }
    }

    /// The overlays, on a root that is one of them or a folder of the tmpfs.
    unsafe fn lay(&self, copies: &[RawFd; LAYERS_MAX]) -> Result<(), (i32, i32)> {
        // SAFETY: as in `furnish`.
        unsafe {
            libc::mkdir(c"/tmp/root".as_ptr(), 0o755);
            if !self.root_is_layer {
                let bind = mount(c"/tmp/root", c"/tmp/root", c"none", libc::MS_BIND, c"");
                check(bind, stage::READ_ONLY)?;
                for (path, link) in &self.made {
                    match link {
                        Some(target) => libc::symlink(target.as_ptr(), path.as_ptr()),
                        None => libc::mkdir(path.as_ptr(), 0o755),
                    };
                }
            }
            for (index, (layer, copy)) in self.layers.iter().zip(copies).enumerate() {
                // A layer whose source is gone or can't be reached is left out: that shows less.
                if *copy < 0 {
                    continue;
                }
                for path in [&layer.lower, &layer.upper, &layer.work] {
                    libc::mkdir(path.as_ptr(), 0o755);
                }
                for path in &layer.make {
                    libc::mkdir(path.as_ptr(), 0o755);
                }
                let laid = match attach(*copy, &layer.lower) {
                    result if result < 0 => result,
                    _ => {
                        same_mode(&layer.lower, &layer.upper);
                        mount(c"throwaway", &layer.point, c"overlay", libc::MS_NODEV, &layer.options)
                    }
                };
                // Without its root there is no copy; another file system may be one that can't be covered.
                if index == 0 {
                    check(laid, stage::READ_ONLY)?;
                }
            }
        }
        Ok(())
    }

    /// Processes, kernel, devices, run-time files and temporary files of its own.
    unsafe fn furnish_own(&self) -> Result<(), i32> {
        // SAFETY: as in `furnish`.
        unsafe {
            for path in [
                c"/tmp/root/proc",
                c"/tmp/root/sys",
                c"/tmp/root/dev",
                c"/tmp/root/run",
                c"/tmp/root/tmp",
                c"/tmp/run",
                c"/tmp/run/lock",
                c"/tmp/tmp",
            ] {
                libc::mkdir(path.as_ptr(), 0o755);
            }
            libc::chmod(c"/tmp/tmp".as_ptr(), 0o1777);
            done(mount(c"/tmp/tmp", c"/tmp/root/tmp", c"none", libc::MS_BIND, c""))?;
            done(mount(c"/tmp/run", c"/tmp/root/run", c"none", libc::MS_BIND, c""))?;
            let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            // Never the host's own: it would show processes outside.
            done(mount(c"proc", c"/tmp/root/proc", c"proc", flags, c""))?;
            if mount(c"sysfs", c"/tmp/root/sys", c"sysfs", flags | libc::MS_RDONLY, c"") < 0 {
                let empty = c"mode=0555,size=4k";
                done(mount(
                    c"sysfs",
                    c"/tmp/root/sys",
                    c"tmpfs",
                    flags | libc::MS_RDONLY,
                    empty,
                ))?;
            }
            Ok(())
        }
    }

    unsafe fn hide(&self) -> Result<(), (i32, i32)> {
        for (index, folder) in self.hide.iter().enumerate() {
            let flags = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
            // SAFETY: as in `furnish`.
            let hidden = unsafe { mount(c"hidden", folder, c"tmpfs", flags, c"mode=0555,size=4k") };
            match done(hidden) {
                // It lies in no layer.
                Ok(()) | Err(libc::ENOENT) => {}
                Err(errno) => return Err((stage::nth(stage::HIDE, index), errno)),
            }
        }
        Ok(())
    }

    /// The map of the program's own namespace: the ids it was made with.
    pub(super) fn inner_map(&self) -> &CStr {
        &self.inner_map
    }

    /// Gives up, in the program, what would reach beyond its namespaces, and bounds what it takes.
    ///
    /// # Safety
    ///
    /// Only between fork and `exec`; allocates nothing.
    pub(super) unsafe fn confine(&self) -> Result<(), i32> {
        let mut kept = 0_u64;
        for capability in CAPABILITIES {
            kept |= 1 << capability;
        }
        // SAFETY: every pointer is to `self` or our stack.
        unsafe {
            // Shared memory, counted as the files are.
            let flags = libc::MS_NOSUID | libc::MS_NODEV;
            let _ = mount(c"shm", c"/dev/shm", c"tmpfs", flags, &self.shared);
            raise_loopback();
            libc::setpriority(libc::PRIO_PROCESS, 0, 10);
            for (resource, value) in &self.limits {
                let limit = libc::rlimit {
                    rlim_cur: *value,
                    rlim_max: *value,
                };
                // A limit that is lower already can't be raised, and need not be.
                let _ = libc::setrlimit(*resource, &raw const limit);
            }
            if super::child_linux::keep_capabilities(kept) {
                Ok(())
            } else {
                Err(errno())
            }
        }
    }
}

/// The upper layer's root shows as that of the copy: it has to look like the one below.
unsafe fn same_mode(lower: &CStr, upper: &CStr) {
    // SAFETY: both are C strings, and the structure is written by the kernel's answer alone.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        if libc::stat(lower.as_ptr(), &raw mut stat) == 0 {
            libc::chown(upper.as_ptr(), stat.st_uid, stat.st_gid);
            libc::chmod(upper.as_ptr(), stat.st_mode & 0o7777);
        }
    }
}

/// Makes the copy the root; the host's files are mounted nowhere after this.
unsafe fn enter() -> Result<(), i32> {
    // SAFETY: every pointer is to a C string that lives for ever.
    unsafe {
        done(libc::chdir(c"/tmp/root".as_ptr()).into())?;
        done(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        // The old root lies over the new one now.
        done(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        done(libc::chdir(c"/".as_ptr()).into())
    }
}

/// `lo` up, in the program's own network namespace.
unsafe fn raise_loopback() {
    // SAFETY: the request lives on our stack; the kernel reads a name and flags from it.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return;
        }
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request);
        libc::close(socket);
    }
}

/// Every file system on a disk, where it is mounted; the root first.
fn file_systems(table: &[Mount]) -> Vec<(PathBuf, PathBuf)> {
    let mut points: Vec<&PathBuf> = table
        .iter()
        .filter(|mount| COPIED.contains(&mount.kind.as_str()) && mount.point.is_dir())
        .map(|mount| &mount.point)
        .filter(|point| !OWN.iter().any(|own| point.starts_with(own)))
        .collect();
    points.sort();
    points.dedup();
    // Whatever the root is, it has to be covered.
    let root = PathBuf::from("/");
    let others = points.into_iter().filter(|point| **point != root).cloned();
    std::iter::once(root.clone())
        .chain(others)
        .map(|point| (point.clone(), point))
        .collect()
}

/// Every folder that can be covered by one overlay: none of the others' mounts may lie below it.
fn folders_without_mounts(
    table: &[Mount],
    made: &mut Vec<(CString, Option<CString>)>,
) -> Result<Vec<(PathBuf, PathBuf)>, ProcessError> {
    let mut folders = Vec::new();
    let mut above = vec![PathBuf::from("/")];
    while let Some(folder) = above.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if OWN.iter().any(|own| path == Path::new(own)) {
                continue;
            }
            if kind.is_symlink() {
                if let Ok(target) = std::fs::read_link(&path) {
                    made.push((c_path(&inside(&path))?, Some(c_path(&target)?)));
                }
            } else if kind.is_dir() {
                let below = table
                    .iter()
                    .any(|mount| mount.point != path && mount.point.starts_with(&path));
                let kernels = table
                    .iter()
                    .any(|mount| mount.point == path && !COPIED.contains(&mount.kind.as_str()));
                if below {
                    made.push((c_path(&inside(&path))?, None));
                    above.push(path);
                } else if !kernels {
                    folders.push((path.clone(), path));
                }
            }
        }
    }
    folders.sort();
    Ok(folders)
}

/// The mount point of a C string's path, for messages.
pub(super) fn shown(path: &CStr) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

impl Throwaway {
    /// The path hidden by step `index` of [`Throwaway::furnish`].
    pub(super) fn hidden(&self, index: usize) -> Option<PathBuf> {
        self.hide.get(index).map(|path| shown(path))
    }
}
