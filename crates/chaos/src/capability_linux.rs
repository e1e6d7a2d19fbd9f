//! The trials and looks behind [`crate::capability`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use crate::capability::{Capability, PROBE_MS_MAX};
use crate::fault::UndoClass;
use crate::network_linux::program;
use crate::target::TargetKind;

/// Capabilities that faults ask for (capabilities(7)), with their numbers.
const CAPS: &[(&str, u32)] = &[
    ("CAP_DAC_OVERRIDE", 1),
    ("CAP_FOWNER", 3),
    ("CAP_KILL", 5),
    ("CAP_NET_ADMIN", 12),
    ("CAP_NET_RAW", 13),
    ("CAP_SYS_PTRACE", 19),
    ("CAP_SYS_ADMIN", 21),
    ("CAP_SYS_RESOURCE", 24),
    ("CAP_SYS_TIME", 25),
    ("CAP_BPF", 39),
];
const PROXY: &str = "the proxy: `link-slowed`, `link-reset`";
const SANDBOX: &str = "atomic-test";

/// Found or not, and why.
type Found = Result<String, String>;

pub(crate) fn capabilities() -> Vec<Capability> {
    let (by_rules, by_owner) = network_faults();
    let mut all = vec![
        capability("nft", nft(TIMEOUTS), by_rules.clone(), Some(PROXY)),
        capability(
            "nft element timeouts",
            nft(TIMEOUTS),
            kernel_bounded(&by_rules),
            Some(PROXY),
        ),
        capability("nft owned tables", nft(OWNER), by_owner, None),
        capability(
            "INET_DIAG_DESTROY",
            crate::connections_linux::trial().map(|()| "a connection of our own was cut".to_owned()),
            vec!["connection-killed"],
            Some("the proxy: `link-reset`, or nft: `network-reject`"),
        ),
        capability("tbf", queueing("tbf"), Vec::new(), Some("the proxy: `link-slowed`")),
        capability(
            "netem",
            queueing("netem"),
            Vec::new(),
            Some("the proxy: `link-slowed`, and `packet-loss` by nft"),
        ),
        capability("network namespaces", namespaces(&["-n"]), vec![SANDBOX], None),
        capability("user namespaces", namespaces(&["-U", "-r"]), vec![SANDBOX], None),
        capability("time namespaces", namespaces(&["-T"]), vec!["clock-skewed"], None),
        capability("overlayfs", filesystem("overlay"), vec![SANDBOX], None),
        capability("Landlock", landlock(), vec![SANDBOX], None),
        capability("seccomp", seccomp(), vec![SANDBOX], None),
    ];
    for controller in ["freezer", "cpu", "memory"] {
        let name = format!("cgroup v2 {controller}");
        let instead = (controller == "freezer").then_some("SIGSTOP and SIGCONT");
        all.push(capability(&name, cgroup(controller), Vec::new(), instead));
    }
    all.push(capability("BPF", bpf(), Vec::new(), Some("nft, and the proxy")));
    all.push(capability("ptrace", ptrace(), Vec::new(), None));
    let held = held_capabilities();
    for (name, bit) in CAPS {
        let found = match held {
            Some(held) if held >> bit & 1 == 1 => Ok("this process has it".to_owned()),
            Some(_) => Err("this process does not have it".to_owned()),
            None => Err("the kernel does not say".to_owned()),
        };
        let by = if *name == "CAP_NET_ADMIN" {
            by_rules.clone()
        } else {
            Vec::new()
        };
        all.push(capability(name, found, by, None));
    }
    for (name, package) in [
        ("nft", "nftables"),
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("unshare", "util-linux"),
        ("python3", "python3"),
    ] {
        let found = match program(name)
            .or_else(|| Some(PathBuf::from("/usr/local/bin").join(name)).filter(|path| path.is_file()))
        {
            Some(path) => Ok(format!("`{}`", path.display())),
            None => Err(format!("not installed: package `{package}`")),
        };
        let by = match name {
            "nft" => by_rules.clone(),
            "python3" => vec!["the bridge to Python providers"],
            _ => Vec::new(),
        };
        all.push(capability(&format!("program {name}"), found, by, None));
    }
    all
}

fn capability(name: &str, found: Found, needed_by: Vec<&'static str>, instead: Option<&'static str>) -> Capability {
    Capability {
        name: name.to_owned(),
        available: found.is_ok(),
        reason: found.unwrap_or_else(|missing| missing),
        needed_by,
        instead,
    }
}

/// Faults of packet rules: all, and those whose rules belong to a process.
fn network_faults() -> (Vec<&'static str>, Vec<&'static str>) {
    let by_rules = crate::faults()
        .iter()
        .filter(|entry| entry.targets.contains(&TargetKind::Network) && entry.rights.contains("`nft`"));
    let owned = |entry: &&crate::Entry| entry.undo_class == UndoClass::ProcessBounded;
    let ids = |entry: &'static crate::Entry| entry.id;
    (
        by_rules.clone().map(ids).collect(),
        by_rules.filter(owned).map(ids).collect(),
    )
}

fn kernel_bounded(ids: &[&'static str]) -> Vec<&'static str> {
    let bounded = crate::faults()
        .iter()
        .filter(|entry| ids.contains(&entry.id) && entry.undo_class == UndoClass::KernelBounded);
    bounded.map(|entry| entry.id).collect()
}

const TIMEOUTS: &str = "add table inet t\nadd set inet t s { type ipv4_addr; flags timeout; }\n\
                        add element inet t s { 192.0.2.1 timeout 1s }\n";
const OWNER: &str = "add table inet t { flags owner; }\n";

/// Whether the kernel takes these commands, in a network namespace of its own; and whether we may give any here.
fn nft(commands: &str) -> Found {
    let path = program("nft").ok_or("the program `nft` is not installed: package `nftables`")?;
    if held_capabilities().is_none_or(|held| held >> 12 & 1 == 0) {
        return Err("needs root or CAP_NET_ADMIN".to_owned());
    }
    let path = path.display().to_string();
    attempt(&["-n", &path, "-f", "-"], commands).map(|()| "tried in a namespace".to_owned())
}

fn queueing(kind: &str) -> Found {
    if let Some(found) = module(&format!("sch_{kind}")) {
        return Ok(found);
    }
    let path = program("tc").ok_or("the program `tc` is not installed: package `iproute2`")?;
    let path = path.display().to_string();
    let add = ["-n", &path, "qdisc", "add", "dev", "lo", "root", kind];
    let parameters: &[&str] = match kind {
        "tbf" => &["rate", "1mbit", "burst", "32kbit", "latency", "400ms"],
        _ => &["delay", "1ms"],
    };
    attempt(&[&add, parameters].concat(), "")
        .map(|()| "tried in a namespace".to_owned())
        .map_err(|reason| format!("this kernel has no `sch_{kind}`, or we may not use it: {reason}"))
}

fn namespaces(flags: &[&str]) -> Found {
    let path = program("true").ok_or("there is no program to try it with")?;
    let path = path.display().to_string();
    attempt(&[flags, &[&path]].concat(), "").map(|()| "one was made and thrown away".to_owned())
}

/// Runs `unshare` with these arguments and this input.
fn attempt(args: &[&str], input: &str) -> Result<(), String> {
    let path = program("unshare").ok_or("the program `unshare` is not installed: package `util-linux`")?;
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut child = Command::new(&path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ended early has said why.
        let _ = std::io::Write::write_all(&mut pipe, input.as_bytes());
    }
    let end = Instant::now() + Duration::from_millis(PROBE_MS_MAX);
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("no answer in {PROBE_MS_MAX} ms"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said
        .lines()
        .next()
        .unwrap_or("it failed without a word")
        .trim()
        .to_owned())
}

/// Where a module of this kernel is: in it, or on disk.
fn module(name: &str) -> Option<String> {
    let release = read("/proc/sys/kernel/osrelease")?;
    let folder = Path::new("/lib/modules").join(release.trim());
    let file = format!("/{name}.ko");
    let lists = |list: &str| fs::read_to_string(folder.join(list)).is_ok_and(|text| text.contains(&file));
    if lists("modules.builtin") {
        return Some("built into the kernel".to_owned());
    }
    lists("modules.dep").then(|| "a module of the kernel, loaded when needed".to_owned())
}

fn filesystem(name: &str) -> Found {
    let known = read("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some(name)) {
        return Ok("the kernel lists it".to_owned());
    }
    module(name).ok_or_else(|| "the kernel does not list it".to_owned())
}

fn landlock() -> Found {
    match host::process::landlock_version() {
        version @ 1.. => Ok(format!("version {version} of its interface")),
        _ => Err("the kernel has none, or it is switched off at boot".to_owned()),
    }
}

fn seccomp() -> Found {
    match read("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) if actions.contains("kill_process") => Ok("the kernel filters system calls".to_owned()),
        _ => Err("the kernel filters no system calls".to_owned()),
    }
}

/// A controller of the version 2 tree, where we may make groups.
fn cgroup(controller: &str) -> Found {
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let mount = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(2) == Some(&"cgroup2")).then(|| words.get(1).map(PathBuf::from))?
    });
    let mount = mount.ok_or("no cgroup v2 tree is mounted")?;
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    let own = mount.join(own);
    // Every group but the root can be frozen; the others have to be handed down by the group above.
    if controller != "freezer" {
        let listed = fs::read_to_string(own.join("cgroup.controllers")).unwrap_or_default();
        if !listed.split_whitespace().any(|word| word == controller) {
            return Err(format!("the tree at `{}` does not have it", own.display()));
        }
    }
    access(&own, Access::WRITE_OK)
        .map(|()| format!("groups can be made in `{}`", own.display()))
        .map_err(|_| format!("no groups may be made in `{}`", own.display()))
}

fn bpf() -> Found {
    // The setting is there when the system call is.
    let setting = read("/proc/sys/kernel/unprivileged_bpf_disabled").ok_or("the kernel has no bpf(2)")?;
    let held = held_capabilities().unwrap_or(0);
    if held >> 39 & 1 == 1 || held >> 21 & 1 == 1 {
        return Ok("the kernel has it, and this process may use it".to_owned());
    }
    Err(format!(
        "needs CAP_BPF (`unprivileged_bpf_disabled` is {})",
        setting.trim()
    ))
}

fn ptrace() -> Found {
    let held = held_capabilities().is_some_and(|held| held >> 19 & 1 == 1);
    match read("/proc/sys/kernel/yama/ptrace_scope").as_deref().map(str::trim) {
        Some("3") => Err("`ptrace_scope` is 3: nobody may".to_owned()),
        Some("2") if !held => Err("`ptrace_scope` is 2: needs CAP_SYS_PTRACE".to_owned()),
        Some("1") if !held => Ok("children only (`ptrace_scope` is 1)".to_owned()),
        _ => Ok("processes of the same user, or all with CAP_SYS_PTRACE".to_owned()),
    }
}

/// `CapEff` of this process.
fn held_capabilities() -> Option<u64> {
    let status = read("/proc/self/status")?;
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}
