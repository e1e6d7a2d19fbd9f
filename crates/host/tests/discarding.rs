//! Attacks from inside a throwaway copy, as a table of rows: what they do to the copy, and that the host never notices.
//!
//! Each row runs as the user who runs the tests and, if that is root, as `nobody` too. The folder that is attacked first is a
//! canary of ours; only when that has stood is anything worse tried.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{becomes, running, shell, text};
use host::process::{Cancel, Command, Discard, Discarded, Limits, ProcessError, Status, Wanted, run_discarded};

const NOBODY: u32 = 65_534;

/// Name, script with `CANARY`, and what the copy must have shown: a part of its output. `THROUGH` in the output is a way out.
type Row = (&'static str, &'static str, Shown);

#[derive(Clone, Copy)]
enum Shown {
    /// Whoever runs it.
    Everybody(&'static str),
    /// Only where the host's root does: others can't change what lies below folders of other users, not even in a copy.
    Root(&'static str),
    Nothing,
}
use Shown::{Everybody, Nothing, Root};

/// Against a folder of ours.
const CANARY: &[Row] = &[
    ("read it", "cat CANARY/file", Everybody("singing")),
    ("remove it", "rm -rf CANARY; test -e CANARY || echo gone", Root("gone")),
    ("remove what is in it", "rm -rf CANARY/*; ls CANARY | wc -l", Root("0")),
    ("write to it", "echo x >CANARY/file; cat CANARY/file", Root("x")),
    ("add to it", "echo x >CANARY/new; cat CANARY/new", Root("x")),
    (
        "write through a link",
        "echo x >CANARY/link; cat CANARY/file",
        Root("x"),
    ),
    (
        "rename in it",
        "mv CANARY/file CANARY/other; cat CANARY/other",
        Root("singing"),
    ),
    (
        "change its mode",
        "chmod 000 CANARY/file; stat -c %a CANARY/file",
        Root("0"),
    ),
    (
        "change its owner",
        "chown 1:1 CANARY/file; stat -c %u CANARY/file",
        Root("1"),
    ),
    (
        "change its times",
        "touch -d 2001-02-03 CANARY/file; stat -c %y CANARY/file",
        Root("2001-02-03"),
    ),
    (
        "cut it short",
        "truncate -s 1 CANARY/file; stat -c %s CANARY/file",
        Root("1"),
    ),
    (
        "write by a second name",
        "ln CANARY/file CANARY/two; echo x >CANARY/two; cat CANARY/two",
        Root("x"),
    ),
    (
        "write by one's own root",
        "echo x >/proc/self/root/CANARY/file; echo x >/proc/self/cwd/../CANARY/file",
        Nothing,
    ),
    (
        "write by the init's root",
        "echo x >/proc/1/root/CANARY/file && echo THROUGH",
        Nothing,
    ),
    ("write with a new root", "chroot / sh -c 'echo x >CANARY/file'", Nothing),
    (
        "write from a namespace of one's own",
        "unshare -Urm sh -c 'umount -a; echo x >CANARY/file'",
        Nothing,
    ),
    (
        "uncover by unmounting",
        "umount -l / /proc /sys /dev /tmp /run; umount -R /; echo x >CANARY/file",
        Nothing,
    ),
    (
        "bind it elsewhere",
        "mkdir -p /tmp/b; mount --bind CANARY /tmp/b; echo x >/tmp/b/file",
        Nothing,
    ),
];

/// Against the machine.
const MACHINE: &[Row] = &[
    (
        "empty the list of users",
        ": >/etc/passwd; wc -c </etc/passwd",
        Root("0"),
    ),
    (
        "replace the list of users",
        "rm -f /etc/passwd; echo x >/etc/passwd; cat /etc/passwd",
        Root("x"),
    ),
    ("add a user", "useradd -m atomic; id -u atomic", Root("1")),
    (
        "write kernel settings",
        "for f in /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/sysrq \
        /proc/sys/vm/drop_caches /proc/sys/kernel/hostname /proc/sys/kernel/randomize_va_space /sys/power/state \
        /proc/sys/kernel/modprobe /sys/kernel/uevent_helper /proc/1/oom_score_adj; do (echo x >$f) && echo THROUGH; done",
        Nothing,
    ),
    (
        "make the settings writable",
        "mount -o remount,rw /proc/sys; mount -o remount,rw,bind /proc/sys; umount /proc/sys; \
        (echo x >/proc/sys/kernel/core_pattern) && echo THROUGH",
        Nothing,
    ),
    (
        "mount the settings anew",
        "mount -t proc p /mnt && echo THROUGH; mount -t sysfs s /mnt && echo THROUGH",
        Nothing,
    ),
    (
        "mount memory without a bound",
        "mount -t tmpfs t /mnt && echo THROUGH; mount -t ramfs t /mnt && echo THROUGH",
        Nothing,
    ),
    (
        "mount a disk",
        "for d in /dev/vda /dev/sda /dev/nvme0n1 /dev/loop0; do mount $d /mnt && echo THROUGH; done",
        Nothing,
    ),
    (
        "make the node of a disk",
        "mknod /tmp/d b 254 0 && head -c 1 /tmp/d && echo THROUGH; mknod CANARY/d b 8 0 && echo THROUGH",
        Nothing,
    ),
    (
        "open memory",
        "head -c 1 /dev/mem && echo THROUGH; head -c 1 /dev/kmsg && echo THROUGH; head -c 1 /proc/kcore && echo THROUGH",
        Nothing,
    ),
    (
        "kill everything",
        "(sleep 100; echo THROUGH) & kill -9 -1; kill -9 1; echo alive",
        Everybody("alive"),
    ),
    (
        "enter the init",
        "nsenter -t 1 -a true && echo THROUGH; nsenter -t 1 -U true && echo THROUGH; cat /proc/1/environ && echo THROUGH",
        Nothing,
    ),
    (
        "see processes outside",
        "test -d /proc/OUTSIDE && echo THROUGH; ls /proc | grep -c '^[0-9]'",
        Nothing,
    ),
    (
        "load a module",
        "insmod /tmp/x.ko && echo THROUGH; modprobe dummy && echo THROUGH",
        Nothing,
    ),
    (
        "restart, set the clock",
        "reboot -f && echo THROUGH; halt -f && echo THROUGH; date -s 2001-01-01 || echo no",
        Everybody("no"),
    ),
    ("rename the host", "hostname evil; hostname", Everybody("evil")),
    (
        "reach the host's network",
        "bash -c 'echo >/dev/tcp/127.0.0.1/PORT' && echo THROUGH",
        Nothing,
    ),
    (
        "reach a host's socket",
        "perl -MIO::Socket::UNIX -e 'exit !IO::Socket::UNIX->new(Peer => \"CANARY/socket\")' && echo THROUGH",
        Nothing,
    ),
    (
        "reach a container engine",
        "for s in /run/docker.sock /var/run/docker.sock /run/containerd/containerd.sock \
        /run/dbus/system_bus_socket /run/systemd/private; do test -e $s && echo THROUGH; done",
        Nothing,
    ),
    (
        "bomb with processes",
        "b() { b | b & }; b 2>/dev/null; sleep 1; ls /proc | grep -c '^[0-9]'",
        Nothing,
    ),
    (
        "fill the disk",
        "cat /dev/zero >/tmp/zero; cat /dev/zero >/var/tmp/zero; cat /dev/zero >/dev/shm/zero; df -m --output=avail /tmp",
        Everybody("0"),
    ),
    ("fill the memory", "head -c 3G /dev/zero | tail | wc -c", Nothing),
    (
        "leave a daemon",
        "setsid sh -c 'trap \"\" HUP TERM INT; while :; do sleep 1; : MARKER; done' >/dev/null 2>&1 & echo left",
        Everybody("left"),
    ),
];

/// The worst, when all else has stood.
const ALL: &[Row] = &[(
    "remove everything",
    "rm -rf --no-preserve-root /etc /usr /boot /opt 2>/dev/null; rm -rf --no-preserve-root / 2>/dev/null",
    Nothing,
)];

#[test]
fn the_host_never_notices() {
    as_each_user("rows");
}

/// What `the_host_never_notices` runs as each user.
#[test]
fn rows() {
    if std::env::var_os("DISCARDING_TEST").is_none() {
        return;
    }
    let scene = Scene::new();
    if let Err(ProcessError::NoIsolation { reason }) = scene.run("true") {
        println!("not run: throwaway copies ({reason})");
        return;
    }
    for row in CANARY.iter().chain(MACHINE).chain(ALL) {
        scene.check(row);
    }
    println!("{} rows", CANARY.len() + MACHINE.len() + ALL.len());
}

/// A canary, and the host as it was.
struct Scene {
    folder: tempfile::TempDir,
    port: u16,
    _tcp: TcpListener,
    _socket: UnixListener,
    outside: u32,
    marker: String,
}

impl Scene {
    fn new() -> Self {
        // Not below `/tmp`, which the copy doesn't show, and where everybody may write.
        let folder = tempfile::Builder::new()
            .prefix("canary")
            .tempdir_in("/var/tmp")
            .unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.path().join("file"), "singing\n").unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("below/file"), "singing too\n").unwrap();
        std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            port: tcp.local_addr().unwrap().port(),
            _tcp: tcp,
            _socket: UnixListener::bind(folder.path().join("socket")).unwrap(),
            // A number that no process of a copy reaches by itself.
            outside: std::process::id(),
            marker: format!("left-by-{}", std::process::id()),
            folder,
        }
    }

    fn run(&self, script: &str) -> Result<Discarded, ProcessError> {
        let script = script
            .replace("CANARY", self.folder.path().to_str().unwrap())
            .replace("PORT", &self.port.to_string())
            .replace("OUTSIDE", &self.outside.to_string())
            .replace("MARKER", &self.marker);
        let mut command = shell(&script, Path::new("/var/tmp"), Wanted::Required);
        command.timeout = Some(Duration::from_secs(5));
        let discard = Discard {
            limits: Limits {
                disk_bytes_max: 32 << 20,
                ..Limits::default()
            },
            ..Discard::default()
        };
        run_discarded(command, &discard, &Cancel::new())
    }

    fn check(&self, (name, script, shown): &Row) {
        let before = self.host();
        let done = self.run(script).unwrap_or_else(|error| panic!("{name}: {error}"));
        let output = text(&done.finished.stdout);
        let errors = text(&done.finished.stderr);
        assert!(!output.contains("THROUGH"), "{name}: {output}\n{errors}");
        let expected = match shown {
            Everybody(part) => Some(part),
            Root(part) if done.owners_shown => Some(part),
            Root(_) | Nothing => None,
        };
        if let Some(part) = expected {
            assert!(output.contains(part), "{name}: {output:?}\n{errors}");
        }
        let after = self.host();
        for (what, was) in &before {
            assert_eq!(after.get(what), Some(was), "{name} changed {what}");
        }
        assert_eq!(before.len(), after.len(), "{name}");
        assert!(
            becomes(Duration::from_secs(2), || running(&self.marker) == 0),
            "{name} left processes"
        );
    }

    /// What must stay as it is, by name.
    fn host(&self) -> BTreeMap<String, String> {
        let mut state = BTreeMap::new();
        let mut paths = vec![
            PathBuf::from("/"),
            PathBuf::from("/etc"),
            PathBuf::from("/etc/passwd"),
            PathBuf::from("/etc/shadow"),
            PathBuf::from("/usr/bin"),
            PathBuf::from("/usr/bin/env"),
            PathBuf::from("/home"),
            PathBuf::from("/root"),
        ];
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
                paths.push(entry.path());
            }
            paths.push(folder);
        }
        for path in paths {
            let Ok(found) = path.symlink_metadata() else { continue };
            let content = found.is_file().then(|| fs::read(&path).ok()).flatten();
            let seen = (
                (found.mode(), found.uid(), found.gid(), found.ino(), found.nlink()),
                (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()),
                content,
            );
            state.insert(path.display().to_string(), format!("{seen:?}"));
        }
        for path in [
            "/proc/self/mountinfo",
            "/proc/sys/kernel/hostname",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/kernel/randomize_va_space",
            "/proc/sys/kernel/pid_max",
            "/proc/net/route",
        ] {
            state.insert(path.to_owned(), fs::read_to_string(path).unwrap_or_default());
        }
        let devices = fs::read_to_string("/proc/net/dev").unwrap();
        let devices: Vec<&str> = devices.lines().filter_map(|line| line.split(':').next()).collect();
        state.insert("network interfaces".to_owned(), devices.join(" "));
        state
    }
}

#[test]
fn an_attack_on_the_canary_bites_outside_of_a_copy() {
    let scene = Scene::new();
    let before = scene.host();
    let script = CANARY.iter().find(|(name, ..)| *name == "write to it").unwrap().1;
    let script = script.replace("CANARY", scene.folder.path().to_str().unwrap());
    common::run_it(shell(&script, Path::new("/var/tmp"), Wanted::BestEffort));
    assert_ne!(scene.host(), before);
}

#[test]
fn what_was_changed_is_told() {
    let scene = Scene::new();
    let script = "cd CANARY && rm -r below && echo x >file && echo x >new && mkdir -p deep/er && mkdir below && \
                  touch /tmp/t /run/r && ln -s x l";
    let Some(done) = unless_refused(scene.run(script)).filter(shows_owners) else {
        return;
    };
    let canary = scene.folder.path();
    let below = |names: &[&str]| names.iter().map(|name| canary.join(name)).collect::<Vec<_>>();
    let mut added = below(&["deep", "deep/er", "l", "new"]);
    added.extend(["/run/r", "/tmp/t"].map(PathBuf::from));
    added.sort();
    assert_eq!(
        Vec::from_iter(done.changes.added),
        added,
        "{}",
        text(&done.finished.stderr)
    );
    // A folder that was removed and made again shows nothing of the one before.
    assert_eq!(Vec::from_iter(done.changes.changed), below(&["below", "file"]));
    assert_eq!(Vec::from_iter(done.changes.removed), below(&[]));
    assert!(!done.changes.cut);
    let Some(done) = unless_refused(scene.run("rm -r CANARY/below")) else {
        return;
    };
    assert_eq!(Vec::from_iter(done.changes.removed), below(&["below"]));
    let Some(done) = unless_refused(scene.run("cat CANARY/below/file; ls /; find /etc >/dev/null")) else {
        return;
    };
    assert!(done.changes.is_empty(), "{:?}", done.changes);
}

#[test]
fn only_what_came_after_a_mark_is_told() {
    let scene = Scene::new();
    let script = "mkdir /run/m; echo x >CANARY/before; sleep 0.1; : >/run/m/mark; sleep 0.1; echo x >CANARY/after";
    let Some(done) = unless_refused(scene.run(script)).filter(shows_owners) else {
        return;
    };
    let changes = done.changes.after(Path::new("/run/m/mark"));
    assert_eq!(Vec::from_iter(changes.added), [scene.folder.path().join("after")]);
}

#[test]
fn hidden_folders_are_empty_and_provided_ones_are_copies() {
    let scene = Scene::new();
    let provided = tempfile::tempdir().unwrap();
    fs::write(provided.path().join("payload"), "brought along\n").unwrap();
    let script = "ls -A HIDDEN | wc -l; umount HIDDEN; (echo x >HIDDEN/x) || echo shut; cat /given/here/payload; \
                  echo x >/given/here/payload; rm -rf /given; ls -A HIDDEN | wc -l";
    let script = script.replace("HIDDEN", scene.folder.path().join("below").to_str().unwrap());
    let command = shell(&script, Path::new("/"), Wanted::Required);
    let discard = Discard {
        hide: vec![scene.folder.path().join("below")],
        provide: vec![(provided.path().to_owned(), PathBuf::from("/given/here"))],
        ..Discard::default()
    };
    let Some(done) = unless_refused(run_discarded(command, &discard, &Cancel::new())) else {
        return;
    };
    assert_eq!(text(&done.finished.stdout), "0\nshut\nbrought along\n0\n");
    let payload = fs::read_to_string(provided.path().join("payload")).unwrap();
    assert_eq!(payload, "brought along\n");
}

#[test]
fn a_copy_ends_by_its_deadline_and_when_it_is_cancelled() {
    let command = |timeout| {
        let mut command = shell("trap '' TERM; sleep 100 & sleep 100", Path::new("/"), Wanted::Required);
        command.timeout = Some(timeout);
        command
    };
    let started = Instant::now();
    let late = run_discarded(command(Duration::from_millis(300)), &Discard::default(), &Cancel::new());
    let Some(late) = unless_refused(late) else { return };
    assert!(late.finished.timed_out && late.finished.status == Status::Signal(9));
    let cancel = Cancel::new();
    let cancelled = std::thread::scope(|scope| {
        let cancel = &cancel;
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            cancel.cancel();
        });
        run_discarded(command(Duration::from_secs(60)), &Discard::default(), cancel).unwrap()
    });
    assert!(cancelled.finished.cancelled);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn nothing_outlives_a_supervisor_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let mut supervisor = std::process::Command::new(own)
        .args(["--exact", "supervisor", "--nocapture"])
        .env("DISCARDING_SUPERVISOR", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(supervisor.stdout.take().unwrap()).lines();
    let Some(heard) = lines.find_map(|line| line.ok().filter(|line| line.contains("copy"))) else {
        panic!("the supervisor said nothing");
    };
    let marker = format!("orphan-of-{}", supervisor.id());
    if heard.contains("no copy") {
        println!("not run: {heard}");
        supervisor.wait().unwrap();
        return;
    }
    assert!(running(&marker) > 0);
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    assert!(becomes(Duration::from_secs(5), || running(&marker) == 0));
}

/// What is killed by `nothing_outlives_a_supervisor_that_was_killed`.
#[test]
fn supervisor() {
    if std::env::var_os("DISCARDING_SUPERVISOR").is_none() {
        return;
    }
    let marker = format!("orphan-of-{}", std::process::id());
    let script = format!("echo copy; setsid sh -c 'sleep 100; : {marker}' & sleep 100; : {marker}");
    let mut command: Command = shell(&script, Path::new("/"), Wanted::Required);
    command.stdout = host::process::Sink::Lines(Box::new(|line| println!("{}", text(line))));
    if let Err(error) = run_discarded(command, &Discard::default(), &Cancel::new()) {
        println!("no copy: {error}");
    }
}

/// `None` where the host can't make copies, which is said.
fn unless_refused(result: Result<Discarded, ProcessError>) -> Option<Discarded> {
    match result {
        Err(ProcessError::NoIsolation { reason }) => {
            println!("not run: throwaway copies ({reason})");
            None
        }
        other => Some(other.unwrap()),
    }
}

fn shows_owners(done: &Discarded) -> bool {
    if !done.owners_shown {
        println!("not run: changes below other users' folders (we are not root)");
    }
    done.owners_shown
}

/// Runs a test of this program as the present user and, if that is root, as `nobody`.
fn as_each_user(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("discarding");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for user in [None, Some(NOBODY)] {
        if user.is_some() && !rustix::process::getuid().is_root() {
            println!("not run: as another ordinary user (we are not root)");
            continue;
        }
        let mut builder = std::process::Command::new(&program);
        builder
            .args(["--exact", test, "--nocapture"])
            .env("DISCARDING_TEST", "1")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/");
        if let Some(user) = user {
            builder.uid(user).gid(user);
        }
        let output = builder.output().unwrap();
        println!("user {user:?}:\n{}", text(&output.stdout));
        assert!(
            output.status.success(),
            "{}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
    }
}
