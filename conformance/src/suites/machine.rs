//! What a machine is like: a look at its files, mounts, network, kernel settings and processes, and what differs from a
//! look before.
//!
//! Files are those of `/etc`, `/var`, `/home` and `/root`: owner, mode, size, times and target of each. The kernel sets a file's
//! change time whenever its content or mode changes, and no program can set it: so a look that finds it unchanged needs no
//! content. A close look ([`Machine::look_closely`]) reads contents all the same, smallest first, those of `/root` last, up to [`CONTENT_BYTES_MAX`] and [`CONTENT_FILES_MAX`].
//!
//! Other programs of the machine go on meanwhile. Where the kernel tells who changed a file ([`Witness`]), only what this run changed is
//! judged. What else changes by itself is learned beforehand, and said.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use evidence::Digest;

use super::witness::{self, Witness};

pub const FOLDERS: [&str; 4] = ["/etc", "/var", "/home", "/root"];

/// How much is read in a close look.
const CONTENT_BYTES_MAX: u64 = 256 << 20;
const CONTENT_FILES_MAX: usize = 30_000;

/// How far the clock may drift from the time since start.
const CLOCK_MS_MAX: u128 = 500;

/// A look at the machine.
pub struct Machine {
    files: HashMap<PathBuf, File>,
    facts: BTreeMap<String, String>,
    contents: HashMap<PathBuf, Digest>,
    /// The time of day when the machine started.
    started: Duration,
}

#[derive(PartialEq, Eq)]
struct File {
    mode: u32,
    owner: (u32, u32),
    device_and_number: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    target: Option<OsString>,
}

impl Machine {
    pub fn look() -> Result<Machine, String> {
        let mut files = HashMap::new();
        for folder in FOLDERS {
            let mut folders = vec![PathBuf::from(folder)];
            while let Some(next) = folders.pop() {
                let Ok(metadata) = next.symlink_metadata() else {
                    continue;
                };
                if metadata.is_dir() {
                    let entries = std::fs::read_dir(&next).into_iter().flatten().flatten();
                    folders.extend(entries.map(|entry| entry.path()));
                }
                let target = metadata
                    .is_symlink()
                    .then(|| std::fs::read_link(&next).ok().map(PathBuf::into_os_string));
                let file = File {
                    mode: metadata.mode(),
                    owner: (metadata.uid(), metadata.gid()),
                    device_and_number: (metadata.dev(), metadata.ino()),
                    size: metadata.size(),
                    modified: (metadata.mtime(), metadata.mtime_nsec()),
                    changed: (metadata.ctime(), metadata.ctime_nsec()),
                    target: target.flatten(),
                };
                files.insert(next, file);
            }
        }
        Ok(Machine {
            files,
            facts: facts(),
            contents: HashMap::new(),
            started: started(),
        })
    }

    /// Reads contents, too.
    pub fn look_closely() -> Result<Machine, String> {
        let mut machine = Machine::look()?;
        let regular = machine
            .files
            .iter()
            .filter(|(_, file)| file.mode & 0o170_000 == 0o100_000);
        let place = |path: &Path| FOLDERS.iter().position(|folder| path.starts_with(folder));
        let mut by_size: Vec<_> = regular
            .map(|(path, file)| (place(path), file.size, path.clone()))
            .collect();
        by_size.sort();
        let mut left = CONTENT_BYTES_MAX;
        for (_, size, path) in by_size.into_iter().take(CONTENT_FILES_MAX) {
            let Some(rest) = left.checked_sub(size) else {
                continue;
            };
            if let Ok(content) = std::fs::read(&path) {
                left = rest;
                machine.contents.insert(path, Digest::of(&content));
            }
        }
        Ok(machine)
    }

    /// Paths and names of facts that differ.
    fn differs(&self, other: &Machine) -> BTreeSet<String> {
        let shown = |path: &Path| path.display().to_string();
        let gone = self
            .files
            .keys()
            .filter(|path| !other.files.contains_key(*path))
            .map(|path| shown(path));
        let new_or_other = other
            .files
            .iter()
            .filter(|(path, file)| self.files.get(*path) != Some(file))
            .map(|(path, _)| shown(path));
        let facts = self.facts.keys().chain(other.facts.keys());
        let facts = facts
            .filter(|name| self.facts.get(*name) != other.facts.get(*name))
            .cloned();
        let clock = (self.started.abs_diff(other.started).as_millis() > CLOCK_MS_MAX).then(|| "fact clock".to_owned());
        gone.chain(new_or_other).chain(facts).chain(clock).collect()
    }
}

/// A machine whose habits are known.
pub struct Learned {
    first: Machine,
    before: Machine,
    /// What changed while nothing of ours ran: files, facts, and the folders of such files.
    by_itself: BTreeSet<String>,
    witness: Option<Witness>,
    /// Changes of files by others, since the start.
    others: u64,
}

impl Learned {
    /// Looks for a while.
    pub fn watch(pause: Duration) -> Result<Learned, String> {
        let witness = Witness::start(&FOLDERS);
        let first = Machine::look_closely()?;
        std::thread::sleep(pause);
        let before = Machine::look()?;
        let changed = first.differs(&before);
        Ok(Learned {
            by_itself: changed.into_iter().map(|path| busy(&path)).collect(),
            first,
            before,
            witness,
            others: 0,
        })
    }

    pub fn describe(&self) -> String {
        let read = self.first.contents.len();
        let mut text = format!(
            "{} files of {} and {} facts watched, the contents of {read} of them, the others by their change time",
            self.first.files.len(),
            FOLDERS.join(" "),
            self.first.facts.len()
        );
        text.push_str(match self.witness {
            Some(_) => "\nthe kernel tells which process changes a file: what other programs change is not judged",
            None => "\nthe kernel doesn't tell us which process changes a file: every change is judged",
        });
        for path in &self.by_itself {
            text.push_str(&format!("\nchanges by itself, and is not judged: {path}"));
        }
        text
    }

    /// How many changes of files others have made meanwhile.
    pub fn changed_by_others(&self) -> u64 {
        self.others
    }

    /// What differs from the look before, without what others changed and what changes by itself.
    pub fn changed_since(&mut self) -> Result<Vec<String>, String> {
        let now = Machine::look()?;
        let changed = self.before.differs(&now);
        self.before = now;
        Ok(self.judged(changed))
    }

    /// Contents that are others than at first, though no change was told of; a close look at the end.
    pub fn differs_closely(&mut self) -> Result<Vec<String>, String> {
        let end = Machine::look_closely()?;
        let contents = self.first.contents.iter();
        let other = contents.filter(|(path, digest)| {
            let same_times = self.first.files.get(*path) == end.files.get(*path);
            same_times && end.contents.get(*path).is_some_and(|now| now != *digest)
        });
        let other: Vec<String> = other.map(|(path, _)| path.display().to_string()).collect();
        let changed = self.before.differs(&end);
        Ok(other.into_iter().chain(self.judged(changed)).collect())
    }

    fn judged(&mut self, changed: BTreeSet<String>) -> Vec<String> {
        let quiet = |path: &String| !self.by_itself.iter().any(|busy| within(path, busy));
        let Some(told) = self.witness.as_ref().and_then(Witness::tell) else {
            return changed.into_iter().filter(quiet).collect();
        };
        self.others += told.others;
        let watched = |path: &&PathBuf| {
            let known = FOLDERS.iter().any(|folder| path.starts_with(folder));
            known || path.is_relative()
        };
        let ours = told.ours.iter().filter(watched).map(|path| path.display().to_string());
        let facts = changed
            .into_iter()
            .filter(|name| name.starts_with("fact "))
            .filter(quiet);
        ours.chain(facts).collect()
    }
}

/// The folder of a file, since files that come and go have other names each time; a fact stands for itself.
fn busy(path: &str) -> String {
    let folder = Path::new(path).parent().filter(|_| path.starts_with('/'));
    // A whole tree is never left out.
    let folder = folder.filter(|folder| {
        !FOLDERS
            .iter()
            .any(|tree| Path::new(tree) == *folder || *folder == Path::new("/"))
    });
    folder.map_or_else(|| path.to_owned(), |folder| folder.display().to_string())
}

/// The folder itself and what lies directly in it.
fn within(path: &str, busy: &str) -> bool {
    path == busy || (path.starts_with('/') && Path::new(path).parent() == Some(Path::new(busy)))
}

/// What is no file: by name and value.
fn facts() -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    for path in [
        "/proc/self/mountinfo",
        "/proc/modules",
        "/proc/swaps",
        "/proc/net/route",
        "/proc/net/ipv6_route",
        "/proc/net/ip_tables_names",
        "/proc/net/ip6_tables_names",
        "/proc/cmdline",
    ] {
        facts.insert(format!("fact {path}"), read(path));
    }
    let devices = read("/proc/net/dev");
    let devices: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    facts.insert("fact network interfaces".to_owned(), devices.join(" "));
    for (program, args) in [("nft", ["list", "ruleset"]), ("iptables-save", ["-t", "filter"])] {
        let output = std::process::Command::new(program).args(args).output();
        let rules = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        // Counters and dates are no rules.
        let rules: Vec<String> = rules
            .unwrap_or_default()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect();
        facts.insert(format!("fact rules of {program}"), rules.join("\n"));
    }
    facts.insert("fact processes left over".to_owned(), left_over());
    for (name, value) in settings() {
        facts.insert(format!("fact {name}"), value);
    }
    facts
}

/// Every setting of the kernel that can be read.
fn settings() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/proc/sys")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if entry.metadata().is_ok_and(|metadata| metadata.mode() & 0o222 != 0)
                && let Ok(value) = std::fs::read(&path)
            {
                // Only what can be set is a setting.
                found.push((path.display().to_string(), String::from_utf8_lossy(&value).into_owned()));
            }
        }
    }
    found
}

/// Processes of copies that are still there: in a pid namespace of our own all but us, elsewhere those of other namespaces.
fn left_over() -> String {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace("self");
    let own_pid = std::process::id().to_string();
    let alone = witness::alone();
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = folders.map(|folder| folder.file_name());
    let mut left: Vec<String> = pids
        .filter(|pid| pid.as_bytes().first().is_some_and(u8::is_ascii_digit))
        .filter_map(|pid| pid.into_string().ok())
        .filter(|pid| alone || namespace(pid).is_some_and(|namespace| Some(namespace) != own))
        .filter(|pid| *pid != own_pid)
        .collect();
    left.sort();
    left.join(" ")
}

/// The time of day when the machine started.
fn started() -> Duration {
    let up = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let up: f64 = up
        .split(' ')
        .next()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(0.0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default().saturating_sub(Duration::from_secs_f64(up))
}
