//! Rigs for faults on processes and resources: a small service in Perl (`perl-base`, which every Debian has) that
//! answers on a Unix socket, and what the kernel says of it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("clock-skewed", clock_skewed),
    ("cpu-busy", |folder| {
        held(folder, "cpu-busy", "threads = 2\n", |_| Ok(holder_computes()))
    }),
    ("disk-full", disk_full),
    ("memory-busy", |folder| {
        held(folder, "memory-busy", "bytes = 33554432\n", |_| {
            Ok(holders().iter().any(|pid| resident_kilobytes(*pid) >= 32 << 10))
        })
    }),
    ("process-cpu-starved", |folder| {
        Service::make(folder, "process-cpu-starved", "", Service::is_starved, |service| {
            service.tool("renice", &["-n", "5", "-p"])?;
            let pid = service.pid()?;
            Ok(Box::new(move || Ok(stat(pid, NICE)? == "5")))
        })
    }),
    ("process-descriptors", |folder| {
        let shows: Shows = |service| {
            // Who waits in `accept` has a descriptor for the next connection already.
            let _ = service.ask("ping", SILENT_MS);
            service.is_silent()
        };
        Service::make(folder, "process-descriptors", "", shows, |service| {
            service.limited_by_somebody("--nofile=123:", "Max open files", "123")
        })
    }),
    ("process-frozen", |folder| {
        Service::make(folder, "process-frozen", "", Service::is_silent, |service| {
            // Somebody lets it go on, and leaves a mark.
            service.tool("kill", &["-CONT"])?;
            service.tool("renice", &["-n", "3", "-p"])?;
            let pid = service.pid()?;
            Ok(Box::new(
                move || Ok(stat(pid, STATE)? != "T" && stat(pid, NICE)? == "3"),
            ))
        })
    }),
    ("process-killed", |folder| {
        Service::make(folder, "process-killed", "", Service::is_silent, |service| {
            // Somebody starts it before us, in another way.
            service.reap();
            let started = service.start("by-somebody-else")?;
            let pid = i32::try_from(started.id()).unwrap_or(0);
            service.child = Some(started);
            service.wait()?;
            let mut asked = service.asked();
            Ok(Box::new(move || {
                Ok(asked("ping")?.contains("by-somebody-else") && stat(pid, STATE).is_ok())
            }))
        })
    }),
    ("process-memory-limited", |folder| {
        let shows: Shows = |service| Ok(service.ask("memory", PATIENCE_MS)?.contains("no"));
        let fault = "headroom_bytes = 8388608\n";
        Service::make(folder, "process-memory-limited", fault, shows, |service| {
            service.limited_by_somebody("--as=4294967296:", "Max address space", "4294967296")
        })
    }),
];

/// It answers `ping` with its last argument, `clock` with the uptime that it sees, and `memory` with whether 64 MiB more were to be had.
const SERVICE: &str = r#"
use strict; use Socket;
my ($folder, $tag) = @ARGV;
$SIG{PIPE} = "IGNORE";
unlink "$folder/socket";
socket(my $server, PF_UNIX, SOCK_STREAM, 0) or die;
bind($server, sockaddr_un("$folder/socket")) or die;
listen($server, 64) or die;
open(my $pid, ">", "$folder/pid.new") or die;
print $pid "$$\n"; close $pid;
rename "$folder/pid.new", "$folder/pid" or die;
while (1) {
    my $client;
    accept($client, $server) or do { select(undef, undef, undef, 0.02); next };
    sysread($client, my $asked, 16);
    if ($asked =~ /memory/) {
        my $child = fork;
        if (defined $child && $child == 0) {
            open(STDERR, ">", "/dev/null"); my $x = "x" x (64 << 20); exit 0;
        }
        if (defined $child) { waitpid($child, 0); syswrite($client, $? == 0 ? "ok" : "no") }
        else { syswrite($client, "no") }
    } elsif ($asked =~ /clock/) {
        open(my $uptime, "<", "/proc/uptime") or die;
        syswrite($client, (split / /, <$uptime>)[0]);
    } else { syswrite($client, "pong $tag") }
    close $client;
}
"#;

/// An answer takes no longer on the busiest machine.
const PATIENCE_MS: u64 = 5_000;
/// What is surely wrong is not waited for as long.
const SILENT_MS: u64 = 300;
/// Fields of `/proc/PID/stat` behind the name.
const STATE: usize = 0;
const NICE: usize = 16;

type Shows = fn(&mut Service) -> Result<bool, String>;
type Meddled = fn(&mut Service) -> Result<Kept, String>;

struct Service {
    folder: PathBuf,
    fault: String,
    shows: Shows,
    meddled: Option<Meddled>,
    child: Option<Child>,
}

impl Service {
    fn make(folder: &Path, id: &str, keys: &str, shows: Shows, meddled: Meddled) -> Result<Box<dyn Rig>, String> {
        Ok(Box::new(Service::new(folder, id, keys, shows, Some(meddled))?))
    }

    fn new(folder: &Path, id: &str, keys: &str, shows: Shows, meddled: Option<Meddled>) -> Result<Service, String> {
        fs::write(folder.join("service.pl"), SERVICE).map_err(|error| error.to_string())?;
        let mut service = Service {
            folder: folder.to_owned(),
            fault: format!("id = \"{id}\"\ntarget = \"service\"\n{keys}"),
            shows,
            meddled,
            child: None,
        };
        service.revive()?;
        Ok(service)
    }

    fn command(&self, tag: &str) -> Vec<String> {
        let folder = self.folder.display().to_string();
        let script = self.folder.join("service.pl").display().to_string();
        ["perl".to_owned(), script, folder, tag.to_owned()].to_vec()
    }

    fn start(&self, tag: &str) -> Result<Child, String> {
        let _ = fs::remove_file(self.folder.join("pid"));
        let command = self.command(tag);
        Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("perl: {error}"))
    }

    fn pid(&self) -> Result<i32, String> {
        let text = fs::read_to_string(self.folder.join("pid")).map_err(|error| format!("pid: {error}"))?;
        text.trim().parse().map_err(|_| "pid: no number".to_owned())
    }

    /// Until it answers.
    fn wait(&mut self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_millis(PATIENCE_MS);
        while self.pid().is_err() || self.ask("ping", SILENT_MS).is_err() {
            if Instant::now() > until {
                return Err("the service does not come up".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn ask(&self, what: &str, wait_ms: u64) -> Result<String, String> {
        ask(&self.folder.join("socket"), what, wait_ms).map_err(|error| error.to_string())
    }

    /// The same for later.
    fn asked(&self) -> impl FnMut(&str) -> Result<String, String> + use<> {
        let socket = self.folder.join("socket");
        move |what| ask(&socket, what, PATIENCE_MS).map_err(|error| error.to_string())
    }

    /// It doesn't answer. Where the kernel knows no reason for that it is given more time, for machines are busy.
    fn is_silent(&mut self) -> Result<bool, String> {
        if self.ask("ping", SILENT_MS).is_ok() {
            return Ok(false);
        }
        let Ok(pid) = self.pid() else { return Ok(true) };
        let has_reason = match stat(pid, STATE) {
            Err(_) => true,
            Ok(state) => matches!(state.as_str(), "T" | "Z" | "X") || lowest_limit(pid),
        };
        Ok(has_reason || self.ask("ping", PATIENCE_MS).is_err())
    }

    fn is_starved(&mut self) -> Result<bool, String> {
        let pid = self.pid()?;
        let cores = line(pid, "status", "Cpus_allowed_list:")?;
        let is_one = cores.trim().parse::<u32>().is_ok();
        Ok(is_one && stat(pid, NICE)? == "19")
    }

    /// A tool of the system, with the service's number as its last argument.
    fn tool(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let output = Command::new(program)
            .args(args)
            .arg(self.pid()?.to_string())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn limited_by_somebody(&self, option: &str, name: &'static str, expect: &'static str) -> Result<Kept, String> {
        self.tool("prlimit", &[option, "--pid"])?;
        let pid = self.pid()?;
        Ok(Box::new(move || {
            Ok(line(pid, "limits", name)?.split_ascii_whitespace().next() == Some(expect))
        }))
    }

    /// Ends whoever runs, and takes note of it where that is our child.
    fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // One that was started in our place writes the same file and answers on the same socket.
        let of_this_rig =
            |pid| line(pid, "cmdline", "").is_ok_and(|line| line.contains(&*self.folder.to_string_lossy()));
        if self.pid().is_ok_and(of_this_rig) {
            let _ = self.tool("kill", &["-KILL"]);
        }
        let _ = fs::remove_file(self.folder.join("pid"));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.reap();
    }
}

impl Rig for Service {
    fn targets(&self) -> String {
        let pid_file = self.folder.join("pid");
        format!(
            "[chaos.target.service]\nkind = \"process\"\nopted_in = true\nrung = \"isolated\"\n\
             pid_file = {:?}\ncommand = {:?}\n",
            pid_file.display().to_string(),
            self.command("declared")
        )
    }

    fn fault(&self) -> String {
        self.fault.clone()
    }

    /// Its answer, priority, cores and limits.
    fn state(&mut self) -> Result<String, String> {
        let pid = self.pid()?;
        Ok([
            self.ask("ping", PATIENCE_MS)?,
            stat(pid, NICE)?,
            line(pid, "status", "Cpus_allowed_list:")?,
            line(pid, "limits", "")?,
        ]
        .join(" "))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        self.meddled.map(|meddled| meddled(self))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.reap();
        Some(Ok(()))
    }

    /// The same service, new.
    fn revive(&mut self) -> Result<(), String> {
        self.reap();
        self.child = Some(self.start("declared")?);
        self.wait()
    }
}

fn ask(socket: &Path, what: &str, wait_ms: u64) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_millis(wait_ms)))?;
    stream.write_all(what.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.is_empty() {
        true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        false => Ok(answer),
    }
}

/// A line of a file below `/proc/PID`, or all of it.
fn line(pid: i32, file: &str, name: &str) -> Result<String, String> {
    let path = format!("/proc/{pid}/{file}");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    if name.is_empty() {
        return Ok(text);
    }
    let found = text.lines().find_map(|line| line.strip_prefix(name));
    found.map(str::to_owned).ok_or_else(|| format!("{path}: no `{name}`"))
}

/// A field of `/proc/PID/stat` behind the name.
fn stat(pid: i32, field: usize) -> Result<String, String> {
    let text = line(pid, "stat", "")?;
    let behind = text.rsplit(')').next().unwrap_or("");
    let found = behind.split_ascii_whitespace().nth(field);
    found.map(str::to_owned).ok_or_else(|| "stat: too short".to_owned())
}

/// Whether it has as many descriptors open as it may.
fn lowest_limit(pid: i32) -> bool {
    let limit = line(pid, "limits", "Max open files").ok();
    let limit: Option<usize> = limit.and_then(|limit| limit.split_ascii_whitespace().next()?.parse().ok());
    let open = fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count).ok();
    limit.is_some_and(|limit| open.is_some_and(|open| open >= limit))
}

/// A rig for what a process of Proofmark's own does beside the service.
fn held(folder: &Path, id: &str, keys: &str, shows: Shows) -> Result<Box<dyn Rig>, String> {
    Ok(Box::new(Service::new(folder, id, keys, shows, None)?))
}

/// Children of this process that hold a fault.
fn holders() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id().to_string();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            line(*pid, "status", "PPid:").is_ok_and(|parent| parent.trim() == own)
                && line(*pid, "cmdline", "").is_ok_and(|command| command.contains("__holder"))
        })
        .collect()
}

/// Whether the processor time of a holder grows while it is looked at.
fn holder_computes() -> bool {
    const USER_TICKS: usize = 11;
    let ticks = || -> u64 {
        let of = |pid: &i32| stat(*pid, USER_TICKS).ok()?.parse::<u64>().ok();
        holders().iter().filter_map(of).sum()
    };
    let (before, until) = (ticks(), Instant::now() + Duration::from_millis(PATIENCE_MS));
    while !holders().is_empty() && Instant::now() < until {
        if ticks() > before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

fn resident_kilobytes(pid: i32) -> u64 {
    let line = line(pid, "status", "VmRSS:").unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// A service that is started by nobody but the fault.
struct Stopped(Service);

fn clock_skewed(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let is_ahead: Shows = |service| {
        let Ok(answer) = service.ask("clock", PATIENCE_MS) else {
            return Ok(false);
        };
        let seconds = |text: &str| text.split('.').next().and_then(|whole| whole.parse::<u64>().ok());
        let own = fs::read_to_string("/proc/uptime").map_err(|error| error.to_string())?;
        let (theirs, ours) = (seconds(&answer).ok_or("no number")?, seconds(&own).ok_or("no number")?);
        Ok(theirs >= ours + 3_000)
    };
    let mut rig = Stopped(Service::new(
        folder,
        "clock-skewed",
        "seconds_ahead = 3600\n",
        is_ahead,
        None,
    )?);
    rig.revive()?;
    Ok(Box::new(rig))
}

impl Rig for Stopped {
    fn targets(&self) -> String {
        self.0.targets()
    }

    fn fault(&self) -> String {
        self.0.fault()
    }

    fn state(&mut self) -> Result<String, String> {
        Ok(format!("answers: {}", self.0.ask("ping", PATIENCE_MS).is_ok()))
    }

    fn shows(&mut self) -> Result<bool, String> {
        self.0.shows()
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        None
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.0.kill()
    }

    fn revive(&mut self) -> Result<(), String> {
        self.0.reap();
        Ok(())
    }
}

/// A file system of its own, 2 MiB in memory.
struct Disk {
    root: PathBuf,
}

fn disk_full(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let mut disk = Disk {
        root: folder.join("disk"),
    };
    fs::create_dir_all(&disk.root).map_err(|error| error.to_string())?;
    disk.revive()?;
    Ok(Box::new(disk))
}

impl Disk {
    fn run(&self, program: &str, args: &[&str]) -> Result<(), String> {
        let output = Command::new(program)
            .args(args)
            .arg(&self.root)
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))),
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let path = self.root.join("written");
        let written = fs::write(&path, vec![1; 64 << 10]);
        let _ = fs::remove_file(&path);
        written
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.run("umount", &["--lazy"]);
    }
}

impl Rig for Disk {
    fn targets(&self) -> String {
        let root = self.root.display();
        format!("[chaos.target.data]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        "id = \"disk-full\"\ntarget = \"data\"\nleave_bytes = 4096\nbytes_max = 8388608\n".to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        let files = fs::read_dir(&self.root).map_err(|error| error.to_string())?.count();
        Ok(format!("{files} files, writable: {}", self.write().is_ok()))
    }

    fn shows(&mut self) -> Result<bool, String> {
        match self.write() {
            Ok(()) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(true),
            Err(error) => Err(error.to_string()),
        }
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        None
    }

    /// The file system goes away with everything on it.
    fn kill(&mut self) -> Option<Result<(), String>> {
        Some(self.run("umount", &["--lazy"]))
    }

    fn revive(&mut self) -> Result<(), String> {
        let _ = self.run("umount", &["--lazy"]);
        self.run("mount", &["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
    }
}
