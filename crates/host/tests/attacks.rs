//! Attacks from inside a tree, as a table of rows: each is a real attempt, made by this same program in the tree.
//!
//! Each row is run three ways: in namespaces (with the kernel's newer mount calls and without), under Landlock alone (this program first forbids itself user namespaces),
//! and with no isolation, where the rows that say so must succeed, or the attempt would prove nothing. All of that
//! as the user who runs the tests and, if that is root, as `nobody` too.
#![cfg(target_os = "linux")]

mod common;

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{run_it, text, this_test};
use host::process::{Cancel, Command, ProcessError, Status, Wanted, run};

/// What an attempt came to.
enum Came {
    /// The tree got what it must not have.
    Through(String),
    Refused(String),
}
use Came::{Refused, Through};

/// Who comes through without isolation: what shows that the attempt is a real one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Genuine {
    Everybody,
    Root,
    /// Depends on the host, or is refused to everybody.
    Unknown,
}
use Genuine::{Everybody, Root, Unknown};

struct Row(&'static str, Genuine, fn(&Scene) -> Came);

/// The rows that Landlock alone doesn't refuse: names stay visible, and modes can be changed.
const NAMESPACES_ONLY: [&str; 3] = [
    "list the hidden folder",
    "change the mode of a file outside",
    "change the mode of /dev/null",
];

const ROWS: &[Row] = &[
    Row("read the key", Everybody, |scene| came(fs::read(&scene.key))),
    Row("read the key by a link", Everybody, |scene| came(fs::read(&scene.link))),
    Row(NAMESPACES_ONLY[0], Everybody, |scene| {
        match fs::read_dir(scene.hidden()).map(Iterator::count) {
            Ok(0) => Refused("empty".to_owned()),
            other => came(other),
        }
    }),
    Row("write into the hidden folder", Everybody, |scene| {
        came(fs::write(scene.hidden().join("new"), "x"))
    }),
    Row("make a folder in the hidden folder", Everybody, |scene| {
        came(fs::create_dir(scene.hidden().join("folder")))
    }),
    Row("move the hidden folder away", Everybody, |scene| {
        let away = scene.scratch.join("away");
        let moved = fs::rename(scene.hidden(), &away);
        let read = moved.and_then(|()| fs::read(away.join("key")));
        let _ = fs::rename(&away, scene.hidden());
        came(read)
    }),
    Row("move the folder above away", Everybody, |scene| {
        let above = scene.hidden().parent().unwrap().to_owned();
        let away = scene.scratch.join("away");
        let moved = fs::rename(&above, &away);
        let read = moved.and_then(|()| fs::read(away.join("hidden/key")));
        let _ = fs::rename(&away, &above);
        came(read)
    }),
    Row("read the key through one's own root", Everybody, |scene| {
        came(fs::read(scene.below(Path::new("/proc/self/root"))))
    }),
    Row("read the key through the parent's root", Root, |scene| {
        came(fs::read(scene.below(&parent("root"))))
    }),
    Row("read the key through process 1's root", Unknown, |scene| {
        came(fs::read(scene.below(Path::new("/proc/1/root"))))
    }),
    Row("read the key through the wrapper's root", Everybody, |scene| {
        came(fs::read(scene.below(&scene.wrapper("root"))))
    }),
    Row("use the wrapper's working directory", Everybody, |scene| {
        came(fs::read_dir(scene.wrapper("cwd")))
    }),
    Row("read the wrapper's environment", Everybody, |scene| {
        came(fs::read(scene.wrapper("environ")))
    }),
    Row("open the wrapper's memory", Everybody, |scene| {
        came(fs::File::open(scene.wrapper("mem")))
    }),
    Row("open the wrapper's descriptors", Everybody, |scene| {
        open_descriptors(&scene.wrapper("fd"))
    }),
    Row("open process 1's memory", Unknown, |_| {
        came(fs::File::open("/proc/1/mem"))
    }),
    Row("open the parent's memory", Root, |_| {
        came(fs::File::open(parent("mem")))
    }),
    Row("read the parent's environment", Root, |_| {
        came(fs::read(parent("environ")))
    }),
    Row("open the parent's descriptors", Unknown, |_| {
        open_descriptors(&parent("fd"))
    }),
    Row("trace the wrapper", Everybody, |scene| seize(scene.pid)),
    Row("trace process 1", Unknown, |_| seize(1)),
    Row("trace the parent", Root, |_| seize(own_parent())),
    Row("read the wrapper's memory", Everybody, |scene| {
        vm_read(scene, scene.pid)
    }),
    // The first process of a tree is a fork of the wrapper: the secret is at the same address.
    Row("read the parent's memory", Root, |scene| vm_read(scene, own_parent())),
    Row("read process 1's memory", Unknown, |scene| vm_read(scene, 1)),
    Row("signal the wrapper", Everybody, |scene| {
        // SAFETY: no pointers; signal 0 only asks whether one might.
        call(unsafe { libc::kill(scene.pid, 0) })
    }),
    Row("kill the parent", Root, kill_parent),
    Row("take a descriptor of process 1", Unknown, |_| take_descriptor(1)),
    Row("take a descriptor of the parent", Root, |_| {
        take_descriptor(own_parent())
    }),
    Row("take a descriptor of the wrapper", Everybody, |scene| {
        take_descriptor(scene.pid)
    }),
    Row("use a descriptor that the wrapper left open", Unknown, |scene| {
        came(fs::read(format!("/proc/self/fd/{}", scene.descriptor)))
    }),
    Row("unmount the hidden folder", Unknown, |scene| unmount(&scene.hidden())),
    Row("unmount it in a namespace of one's own", Unknown, |scene| {
        nested(|| unmount(&scene.hidden()))
    }),
    Row("unmount /proc in a namespace of one's own", Unknown, |_| {
        nested(|| unmount(Path::new("/proc")))
    }),
    Row("unmount /dev in a namespace of one's own", Unknown, |_| {
        nested(|| unmount(Path::new("/dev")))
    }),
    Row(
        "copy the folder above in a namespace of one's own",
        Everybody,
        |scene| nested(|| bind_above(scene, libc::MS_BIND)),
    ),
    Row("copy all of it in a namespace of one's own", Everybody, |scene| {
        nested(|| bind_above(scene, libc::MS_BIND | libc::MS_REC))
    }),
    Row("copy the root in a namespace of one's own", Unknown, |scene| {
        nested(|| copy_root(scene))
    }),
    Row("make it writable in a namespace of one's own", Unknown, |scene| {
        nested(|| remount(scene))
    }),
    Row("enter the mounts of process 1", Unknown, |_| enter_mounts(1)),
    Row("enter the mounts of the wrapper", Root, |scene| enter_mounts(scene.pid)),
    Row("open the key by its handle", Root, open_handle),
    Row(
        "open the key by its handle in a namespace of one's own",
        Unknown,
        |scene| nested(|| open_handle(scene)),
    ),
    Row("read a disk", Unknown, |_| read_disk()),
    Row("make a node for the disk", Unknown, make_node),
    Row("set the program that gets core dumps", Root, |_| {
        let path = "/proc/sys/kernel/core_pattern";
        came(fs::OpenOptions::new().write(true).open(path))
    }),
    Row("change the kernel's objects", Unknown, |_| {
        let path = "/sys/kernel/rcu_normal";
        came(fs::OpenOptions::new().write(true).open(path))
    }),
    Row("open the wrapper's terminal", Unknown, |_| {
        came(fs::File::open("/dev/tty"))
    }),
    Row("have a capability", Root, |_| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("CapPrm:")).unwrap();
        if line.ends_with("\t0000000000000000") {
            Refused(line.to_owned())
        } else {
            Through(line.to_owned())
        }
    }),
    Row("gain privileges by exec", Unknown, |_| {
        // SAFETY: no pointers.
        match unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } {
            1 => Refused("no_new_privs".to_owned()),
            other => Through(other.to_string()),
        }
    }),
];

/// Against a tree that may write in its working directory and one folder beside it only.
const WRITES: &[Row] = &[
    Row("write outside", Everybody, |scene| {
        came(fs::write(scene.outside("new"), "x"))
    }),
    Row("write in the home above", Everybody, |scene| {
        came(fs::write(scene.base().join(".profile"), "x"))
    }),
    Row("make a folder outside", Everybody, |scene| {
        came(fs::create_dir(scene.outside("folder")))
    }),
    Row("overwrite a program", Everybody, |scene| {
        came(fs::write(scene.outside("program"), "x"))
    }),
    Row("replace a program", Everybody, |scene| {
        let new = scene.outside("program.new");
        came(fs::write(&new, "x").and_then(|()| fs::rename(&new, scene.outside("program"))))
    }),
    Row("move a program of one's own there", Everybody, |scene| {
        let own = scene.scratch.join("own");
        fs::write(&own, "x").unwrap();
        came(fs::rename(&own, scene.outside("program")))
    }),
    Row("append to a start-up file", Everybody, |scene| {
        came(fs::OpenOptions::new().append(true).open(scene.outside("profile")))
    }),
    Row("cut a file outside short", Everybody, |scene| {
        // SAFETY: a C string.
        call(unsafe { libc::truncate(c(&scene.outside("profile")).as_ptr(), 0) })
    }),
    Row(NAMESPACES_ONLY[1], Everybody, |scene| {
        came(fs::set_permissions(
            scene.outside("profile"),
            fs::Permissions::from_mode(0o644),
        ))
    }),
    Row(NAMESPACES_ONLY[2], Root, |_| {
        // The mode that it has: nobody is harmed where this comes through.
        came(fs::set_permissions("/dev/null", fs::Permissions::from_mode(0o666)))
    }),
    Row("write through a link to outside", Everybody, |scene| {
        let link = scene.scratch.join("to-program");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(scene.outside("program"), &link).unwrap();
        came(fs::write(&link, "x"))
    }),
    Row("write through a second name", Everybody, |scene| {
        let second = scene.scratch.join("second");
        let _ = fs::remove_file(&second);
        came(fs::hard_link(scene.outside("program"), &second).and_then(|()| fs::write(&second, "x")))
    }),
    Row("write outside through one's own root", Everybody, |scene| {
        let below = scene.outside("new");
        came(fs::write(
            Path::new("/proc/self/root").join(below.strip_prefix("/").unwrap()),
            "x",
        ))
    }),
    Row("write outside through the working directory", Everybody, |_| {
        came(fs::write("/proc/self/cwd/../outside/new", "x"))
    }),
    Row("write outside through the wrapper's root", Everybody, |scene| {
        let below = scene.outside("new");
        came(fs::write(
            scene.wrapper("root").join(below.strip_prefix("/").unwrap()),
            "x",
        ))
    }),
    Row("rename the tree", Everybody, |scene| {
        there_and_back(&scene.scratch, &scene.base().join("away"))
    }),
    Row("rename the parent of the tree", Everybody, |scene| {
        there_and_back(&scene.base(), &scene.base().with_extension("away"))
    }),
    Row("put a folder in place of the writable one", Everybody, |scene| {
        there_and_back(&scene.base().join("other"), &scene.base().join("away"))
    }),
    Row("remove a file outside", Everybody, |scene| {
        came(fs::remove_file(scene.outside("profile")))
    }),
    Row("remount the root", Unknown, |scene| {
        remount_and_write(scene, Path::new("/"))
    }),
    Row("unmount the tree", Unknown, |scene| {
        unmount_and_write(scene, &scene.scratch)
    }),
    Row("remount the root in a namespace of one's own", Unknown, |scene| {
        nested(|| remount_and_write(scene, Path::new("/")))
    }),
    Row("set its attributes in a namespace of one's own", Unknown, |scene| {
        nested(|| clear_read_only(scene))
    }),
    Row("unmount the tree in a namespace of one's own", Unknown, |scene| {
        nested(|| unmount_and_write(scene, &scene.scratch))
    }),
    Row("write to a copy in a namespace of one's own", Unknown, |scene| {
        nested(|| copy_and_write(scene))
    }),
    Row("remount a copy in a namespace of one's own", Unknown, |scene| {
        nested(|| match copy_and_write(scene) {
            Refused(_) => remount_and_write(scene, &scene.scratch.join("copy")),
            through => through,
        })
    }),
    Row("enter the mounts of the wrapper and write", Unknown, |scene| {
        enter_mounts(scene.pid)
    }),
];

/// What a tree with a list of writable folders must still be able to do.
const ALLOWED: &str = "set -e; echo x > own; mkdir folder; mv own folder/moved; ln folder/moved second; rm -r folder second; \
    echo x > ../other/file; chmod 600 ../other/file; rm ../other/file; \
    echo x > /dev/null; : >> /dev/null; head -c 1 /dev/urandom > /dev/zero; \
    echo x > /dev/shm/host-test-$$; rm /dev/shm/host-test-$$; \
    cat ../outside/program > /dev/null; ../outside/program; echo allowed";

/// What the attacker knows.
struct Scene {
    key: PathBuf,
    /// A symbolic link to the key, elsewhere.
    link: PathBuf,
    scratch: PathBuf,
    pid: i32,
    /// Where the wrapper's memory holds the secret.
    address: usize,
    descriptor: i32,
    handle: Vec<u8>,
}

const SECRET: &[u8; 16] = b"a wrapper's key!";

impl Scene {
    fn base(&self) -> PathBuf {
        self.scratch.parent().unwrap().to_owned()
    }

    /// A file that the tree may only read.
    fn outside(&self, name: &str) -> PathBuf {
        self.base().join("outside").join(name)
    }

    fn furnish_outside(&self) {
        let _ = fs::remove_dir_all(self.outside(""));
        fs::create_dir(self.outside("")).unwrap();
        fs::write(self.outside("profile"), "umask 077\n").unwrap();
        fs::write(self.outside("program"), "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(self.outside("program"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn hidden(&self) -> PathBuf {
        self.key.parent().unwrap().to_owned()
    }

    fn below(&self, root: &Path) -> PathBuf {
        root.join(self.key.strip_prefix("/").unwrap())
    }

    fn wrapper(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid))
    }

    fn to_environment(&self, command: &mut Command) {
        let handle: Vec<String> = self.handle.iter().map(u8::to_string).collect();
        let mut set = |name: &str, value: OsString| {
            command.env.insert(format!("HOST_TEST_{name}").into(), value);
        };
        set("KEY", self.key.clone().into());
        set("LINK", self.link.clone().into());
        set("SCRATCH", self.scratch.clone().into());
        set("PID", self.pid.to_string().into());
        set("ADDRESS", self.address.to_string().into());
        set("DESCRIPTOR", self.descriptor.to_string().into());
        set("HANDLE", handle.join(",").into());
    }

    fn from_environment() -> Option<Self> {
        let var = |name: &str| std::env::var(format!("HOST_TEST_{name}")).ok();
        Some(Self {
            key: var("KEY")?.into(),
            link: var("LINK")?.into(),
            scratch: var("SCRATCH")?.into(),
            pid: var("PID")?.parse().unwrap(),
            address: var("ADDRESS")?.parse().unwrap(),
            descriptor: var("DESCRIPTOR")?.parse().unwrap(),
            handle: var("HANDLE")?.split(',').filter_map(|byte| byte.parse().ok()).collect(),
        })
    }
}

fn came<T>(result: io::Result<T>) -> Came {
    match result {
        Ok(_) => Through("done".to_owned()),
        Err(error) => Refused(error.to_string()),
    }
}

fn call(result: impl Into<i64>) -> Came {
    let result = result.into();
    came(if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    })
}

/// Their numbers may be listed; what they lead to must stay closed.
fn open_descriptors(folder: &Path) -> Came {
    let mut last = match fs::read_dir(folder) {
        Ok(_) => Refused("there are none".to_owned()),
        Err(error) => return Refused(error.to_string()),
    };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        last = came(fs::read_link(entry.path()).and_then(|_| fs::File::open(entry.path())));
        if matches!(last, Through(_)) {
            break;
        }
    }
    last
}

fn own_parent() -> i32 {
    i32::try_from(std::os::unix::process::parent_id()).unwrap()
}

fn parent(file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{}/{file}", own_parent()))
}

fn c(path: &Path) -> CString {
    CString::new(path.to_str().unwrap()).unwrap()
}

fn seize(pid: i32) -> Came {
    // SAFETY: this request takes no pointer that is read; the process is let go at our exit.
    call(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) })
}

fn vm_read(scene: &Scene, pid: i32) -> Came {
    let mut bytes = [0_u8; SECRET.len()];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(scene.address),
        iov_len: bytes.len(),
    };
    // SAFETY: the local part describes `bytes`.
    let got = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    match call(i64::try_from(got).unwrap()) {
        Through(_) if bytes != *SECRET => Refused("something else lies there".to_owned()),
        other => other,
    }
}

/// The init of a namespace isn't killed from inside though the call succeeds: only living on tells.
fn kill_parent(_: &Scene) -> Came {
    let before = own_parent();
    // SAFETY: no pointers.
    let sent = unsafe { libc::kill(before, libc::SIGKILL) };
    let error = io::Error::last_os_error();
    std::thread::sleep(Duration::from_millis(100));
    if own_parent() != before {
        return Through("the parent died".to_owned());
    }
    Refused(if sent < 0 {
        error.to_string()
    } else {
        "sent, without effect".to_owned()
    })
}

fn take_descriptor(pid: i32) -> Came {
    // SAFETY: no pointers.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        if process < 0 {
            return call(process);
        }
        call(libc::syscall(libc::SYS_pidfd_getfd, process, 0, 0))
    }
}

fn unmount(path: &Path) -> Came {
    // SAFETY: a C string.
    call(unsafe { libc::umount2(c(path).as_ptr(), libc::MNT_DETACH) })
}

fn mount(from: Option<&Path>, to: &Path, flags: libc::c_ulong) -> Came {
    let from = from.map(c);
    let source = from.as_ref().map_or(std::ptr::null(), |from| from.as_ptr());
    // SAFETY: C strings or null, as mount(2) allows for these flags.
    call(unsafe { libc::mount(source, c(to).as_ptr(), std::ptr::null(), flags, std::ptr::null()) })
}

fn bind_above(scene: &Scene, flags: libc::c_ulong) -> Came {
    let copy = scene.scratch.join("copy");
    let _ = fs::create_dir(&copy);
    // Otherwise the copy can't be made at all where mounts spread.
    mount(Some(Path::new("none")), Path::new("/"), libc::MS_REC | libc::MS_PRIVATE);
    match mount(scene.hidden().parent(), &copy, flags) {
        Through(_) => came(fs::read(copy.join("hidden/key"))),
        refused => refused,
    }
}

fn remount(scene: &Scene) -> Came {
    match mount(None, &scene.hidden(), libc::MS_REMOUNT | libc::MS_BIND) {
        Through(_) => came(fs::write(scene.hidden().join("new"), "x")),
        refused => refused,
    }
}

fn there_and_back(from: &Path, to: &Path) -> Came {
    let moved = fs::rename(from, to);
    let _ = fs::rename(to, from);
    came(moved)
}

fn remount_and_write(scene: &Scene, path: &Path) -> Came {
    match mount(None, path, libc::MS_REMOUNT | libc::MS_BIND) {
        Through(_) => came(fs::write(scene.outside("new"), "x")),
        refused => refused,
    }
}

fn unmount_and_write(scene: &Scene, path: &Path) -> Came {
    match unmount(path) {
        Through(_) => came(fs::write(scene.outside("new"), "x")),
        refused => refused,
    }
}

fn clear_read_only(scene: &Scene) -> Came {
    let change = libc::mount_attr {
        attr_set: 0,
        attr_clr: libc::MOUNT_ATTR_RDONLY,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: `change` has the size that is given with it.
    let changed = call(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::AT_RECURSIVE,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    });
    match changed {
        Through(_) => came(fs::write(scene.outside("new"), "x")),
        refused => refused,
    }
}

fn copy_and_write(scene: &Scene) -> Came {
    let copy = scene.scratch.join("copy");
    let _ = fs::create_dir(&copy);
    mount(Some(Path::new("none")), Path::new("/"), libc::MS_REC | libc::MS_PRIVATE);
    match mount(Some(&scene.outside("")), &copy, libc::MS_BIND | libc::MS_REC) {
        Through(_) => came(fs::write(copy.join("new"), "x")),
        refused => refused,
    }
}

fn copy_root(scene: &Scene) -> Came {
    // SAFETY: C strings; the descriptor is left to our exit.
    unsafe {
        let flags = libc::OPEN_TREE_CLONE;
        let root = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), flags);
        if root < 0 {
            return call(root);
        }
        let key = c(scene.key.strip_prefix("/").unwrap());
        call(libc::openat(root as i32, key.as_ptr(), libc::O_RDONLY))
    }
}

fn enter_mounts(pid: i32) -> Came {
    let namespace = match fs::File::open(format!("/proc/{pid}/ns/mnt")) {
        Ok(namespace) => namespace,
        Err(error) => return Refused(error.to_string()),
    };
    let enter = || {
        // SAFETY: the descriptor is open.
        call(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNS) })
    };
    // A process that shares its file system view with other threads can't: a fork doesn't.
    forked(enter)
}

/// All of what wrapper and attacker may hold as the mount's root is tried.
fn open_handle(scene: &Scene) -> Came {
    let mut last = Refused("nothing was tried".to_owned());
    for folder in [Path::new("/"), Path::new("/tmp"), &scene.scratch] {
        let Ok(root) = fs::File::open(folder) else {
            continue;
        };
        let mut handle = scene.handle.clone();
        // SAFETY: the handle is a `struct file_handle` as the wrapper got it.
        last = call(unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                root.as_raw_fd(),
                handle.as_mut_ptr(),
                libc::O_RDONLY,
            )
        });
        if matches!(last, Through(_)) {
            break;
        }
    }
    last
}

fn handle_of(path: &Path) -> Vec<u8> {
    const ROOM: u32 = 128;
    let mut handle = vec![0_u8; 8 + ROOM as usize];
    handle[..4].copy_from_slice(&ROOM.to_ne_bytes());
    let mut mount = 0_i32;
    // SAFETY: the handle begins with the room that follows its header of 8 bytes.
    let made = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            c(path).as_ptr(),
            handle.as_mut_ptr(),
            &raw mut mount,
            0,
        )
    };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    handle
}

fn read_disk() -> Came {
    let mut folders = vec![PathBuf::from("/dev")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_block_device() || entry.file_name() == "mem" {
                let read = fs::File::open(entry.path()).and_then(|mut disk| disk.read(&mut [0; 512]));
                if read.is_ok() {
                    return Through(entry.path().display().to_string());
                }
            }
        }
    }
    Refused("no disk could be read".to_owned())
}

fn make_node(scene: &Scene) -> Came {
    let node = scene.scratch.join("node");
    let device = fs::metadata(&scene.scratch).unwrap().dev();
    // SAFETY: a C string.
    match call(unsafe { libc::mknod(c(&node).as_ptr(), libc::S_IFBLK | 0o600, device) }) {
        Through(_) => {
            let opened = came(fs::File::open(&node));
            let _ = fs::remove_file(&node);
            opened
        }
        refused => refused,
    }
}

/// The attempt in user and mount namespaces of its own, in which it has every capability.
fn nested(attempt: impl FnOnce() -> Came) -> Came {
    forked(|| {
        // SAFETY: no pointers; a fork has one thread, as a new user namespace needs.
        match call(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) }) {
            Through(_) => attempt(),
            refused => refused,
        }
    })
}

fn forked(attempt: impl FnOnce() -> Came) -> Came {
    let mut pipe = [0; 2];
    // SAFETY: the pipe's numbers are written into the array; the child ends without returning from here.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let child = libc::fork();
        if child == 0 {
            let (code, said) = match attempt() {
                Through(said) => (0, said),
                Refused(said) => (1, said),
            };
            libc::write(pipe[1], said.as_ptr().cast(), said.len());
            libc::_exit(code);
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        let mut said = [0_u8; 256];
        let length = libc::read(pipe[0], said.as_mut_ptr().cast(), said.len());
        let said = text(&said[..usize::try_from(length).unwrap()]);
        match libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)) {
            Some(0) => Through(said),
            Some(1) => Refused(said),
            other => panic!("the attempt broke: {other:?} {said}"),
        }
    }
}

const CAME_THROUGH: i32 = 10;
const WAS_REFUSED: i32 = 11;

/// In the tree: one row.
#[test]
fn attacker() {
    let (Some(scene), Ok(name)) = (Scene::from_environment(), std::env::var("HOST_TEST_ROW")) else {
        return;
    };
    let Row(_, _, attempt) = ROWS
        .iter()
        .chain(WRITES)
        .find(|Row(candidate, ..)| *candidate == name)
        .unwrap();
    let (code, said) = match attempt(&scene) {
        Through(said) => (CAME_THROUGH, said),
        Refused(said) => (WAS_REFUSED, said),
    };
    println!("said: {said}");
    std::process::exit(code);
}

/// What the host of a wrapper refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    Willing,
    /// As before Linux 5.12.
    NoMountAttributes,
    NoUserNamespaces,
    NoLandlockEither,
}

/// Around the trees, as a process of its own: user and host are chosen by who starts it.
#[test]
fn wrapper() {
    let host = match std::env::var("HOST_TEST_HOST").as_deref() {
        Ok("Willing") => Host::Willing,
        Ok("NoMountAttributes") => Host::NoMountAttributes,
        Ok("NoUserNamespaces") => Host::NoUserNamespaces,
        Ok("NoLandlockEither") => Host::NoLandlockEither,
        _ => return,
    };
    if host != Host::Willing {
        refuse_ourselves(host);
    }
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().canonicalize().unwrap();
    let hidden = base.join("above/hidden");
    let scratch = base.join("scratch");
    fs::create_dir_all(&hidden).unwrap();
    fs::create_dir(&scratch).unwrap();
    let key = hidden.join("key");
    fs::write(&key, SECRET).unwrap();
    let link = scratch.join("link");
    std::os::unix::fs::symlink(&key, &link).unwrap();
    let secret: &'static [u8] = Box::leak(SECRET.to_vec().into_boxed_slice());
    // Left open across exec, as careless code would.
    let open = fs::File::open(&key).unwrap();
    // SAFETY: the descriptor is open.
    unsafe { libc::fcntl(open.as_raw_fd(), libc::F_SETFD, 0) };
    let scene = Scene {
        handle: handle_of(&key),
        key,
        link,
        scratch,
        pid: i32::try_from(std::process::id()).unwrap(),
        address: secret.as_ptr().addr(),
        descriptor: open.as_raw_fd(),
    };
    scene.furnish_outside();
    let other = base.join("other");
    fs::create_dir(&other).unwrap();
    // Once more with hidden folders below a writable one: that must open nothing.
    let above = scene.hidden().parent().unwrap().to_owned();
    let lists: [(&[Row], Option<Vec<PathBuf>>); 3] = [
        (ROWS, None),
        (
            ROWS,
            Some(vec![scene.scratch.clone(), above, base.join("above/hidden")]),
        ),
        (WRITES, Some(vec![scene.scratch.clone(), other])),
    ];
    let is_root = rustix::process::getuid().is_root();
    let mut wrong = Vec::new();
    let rows = lists
        .iter()
        .enumerate()
        // Without isolation a list changes nothing, and what the first round made is in the way of a second.
        .filter(|(round, _)| host != Host::NoLandlockEither || *round != 1)
        .flat_map(|(_, (rows, writable))| rows.iter().map(move |row| (row, writable)));
    for (Row(name, genuine, _), writable) in rows {
        let attack = |isolation: Wanted| {
            let mut command = this_test("attacker", &scene.scratch, isolation);
            command.hide = vec![scene.hidden()];
            command.writable.clone_from(writable);
            command.env.insert("HOST_TEST_ROW".into(), name.into());
            scene.to_environment(&mut command);
            let finished = run_it(command);
            let said = text(&finished.stdout);
            let said = said.lines().find_map(|line| Some(line.split_once("said: ")?.1));
            let said = said.unwrap_or("nothing").to_owned();
            match finished.status {
                Status::Code(CAME_THROUGH) | Status::Signal(_) => (true, said, finished.isolation),
                Status::Code(WAS_REFUSED) => (false, said, finished.isolation),
                other => panic!("{name}: {other} {}", text(&finished.stderr)),
            }
        };
        if host != Host::NoLandlockEither {
            let (through, said, isolation) = attack(Wanted::Required);
            let expect = match host {
                Host::Willing | Host::NoMountAttributes => "user+mount+pid namespaces, no_new_privs",
                _ => "no_new_privs, landlock",
            };
            assert!(isolation.name().starts_with(expect), "{}", isolation.name());
            let read_only = isolation.name().ends_with(", read-only world");
            assert_eq!(read_only, writable.is_some(), "{}", isolation.name());
            let expected =
                host == Host::NoUserNamespaces && NAMESPACES_ONLY.contains(name) && (is_root || *genuine == Everybody);
            println!("{name}: {} ({said})", if through { "came through" } else { "refused" });
            if through != expected {
                wrong.push(format!("{name}: came through: {through}, {said}"));
            }
        } else if *genuine != Unknown && host == Host::NoLandlockEither {
            // Nothing stands between: the attempt must come through, or it proves nothing.
            let nested = name.contains("namespace of one's own");
            let (through, said, isolation) = attack(Wanted::None);
            assert_eq!(isolation.name(), "none");
            scene.furnish_outside();
            if !through && !nested && (is_root || *genuine == Everybody) {
                wrong.push(format!("{name}: refused without isolation, {said}"));
            }
        }
    }
    if host != Host::NoLandlockEither {
        let mut command = common::shell(ALLOWED, &scene.scratch, Wanted::Required);
        command.hide = vec![scene.hidden()];
        command.writable.clone_from(&lists[2].1);
        let finished = run_it(command);
        let said = text(&finished.stdout);
        assert_eq!(said, "allowed\n", "{}", text(&finished.stderr));
    }
    if host == Host::NoLandlockEither {
        let mut command = this_test("attacker", &scene.scratch, Wanted::Required);
        command.hide = vec![scene.hidden()];
        let refused = run(command, &Cancel::new()).unwrap_err();
        assert!(matches!(refused, ProcessError::NoIsolation { .. }), "{refused}");
        println!("{refused}");
        let finished = run_it(this_test("attacker", &scene.scratch, Wanted::BestEffort));
        assert_eq!(finished.isolation.name(), "none");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What containers and hardened hosts do: these calls fail for this process and its children.
fn refuse_ourselves(host: Host) {
    let step = |code: u32, value: u32, yes: u8, no: u8| libc::sock_filter {
        code: u16::try_from(code).unwrap(),
        jt: yes,
        jf: no,
        k: value,
    };
    let load = |offset| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset, 0, 0);
    let equal = |call: libc::c_long, yes, no| {
        let call = u32::try_from(call).unwrap();
        step(libc::BPF_JMP | libc::BPF_JEQ, call, yes, no)
    };
    let answer = |value| step(libc::BPF_RET, value, 0, 0);
    let no_call = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS).unwrap();
    let landlock = match host {
        Host::NoLandlockEither => no_call,
        _ => libc::SECCOMP_RET_ALLOW,
    };
    let (attributes, namespaces) = match host {
        Host::NoMountAttributes => (no_call, libc::SECCOMP_RET_ALLOW),
        _ => (
            libc::SECCOMP_RET_ALLOW,
            libc::SECCOMP_RET_ERRNO | u32::try_from(libc::EPERM).unwrap(),
        ),
    };
    let new_user = u32::try_from(libc::CLONE_NEWUSER).unwrap();
    let mut steps = [
        load(0),
        equal(libc::SYS_landlock_create_ruleset, 0, 1),
        answer(landlock),
        equal(libc::SYS_mount_setattr, 0, 1),
        answer(attributes),
        equal(libc::SYS_clone, 1, 0),
        equal(libc::SYS_unshare, 0, 3),
        load(16),
        step(libc::BPF_JMP | libc::BPF_JSET, new_user, 0, 1),
        answer(namespaces),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).unwrap(),
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call; all threads get the filter.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let installed = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        );
        assert_eq!(installed, 0, "{}", io::Error::last_os_error());
    }
}

const NOBODY: u32 = 65_534;

/// Starts a wrapper as the present user and, if that is root, as `nobody`.
fn with_each_user(host: Host) {
    let folder = tempfile::tempdir().unwrap();
    // Where `nobody` can execute it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("attacks");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let is_root = rustix::process::getuid().is_root();
    for user in [None, Some(NOBODY)] {
        if user.is_some() && !is_root {
            println!("not run: as another ordinary user (we are not root)");
            continue;
        }
        let mut builder = std::process::Command::new(&program);
        builder
            .args(["--exact", "wrapper", "--nocapture"])
            .env("HOST_TEST_HOST", format!("{host:?}"))
            .current_dir("/");
        if let Some(user) = user {
            builder.uid(user).gid(user);
        }
        let output = builder.output().unwrap();
        println!("{host:?}, user {user:?}:\n{}", text(&output.stdout));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
}

#[test]
fn namespaces_hold() {
    with_each_user(Host::Willing);
}

#[test]
fn namespaces_hold_on_an_older_kernel() {
    with_each_user(Host::NoMountAttributes);
}

#[test]
fn landlock_alone_holds() {
    with_each_user(Host::NoUserNamespaces);
}

#[test]
fn without_either_the_attacks_are_genuine_and_we_say_so() {
    with_each_user(Host::NoLandlockEither);
}
