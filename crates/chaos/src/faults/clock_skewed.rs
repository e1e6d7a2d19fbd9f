//! # chaos/clock-skewed
//! A service lives with a clock that is not the one of its host.
//!
//! ## What it does
//! Starts the target's `command` with clocks (`CLOCK_MONOTONIC` and `CLOCK_BOOTTIME`) that are `seconds_ahead`
//! ahead, in a time namespace, as a child of a process of Proofmark's own. The clock of the wall can't be moved for
//! one process: Linux has no namespace for it, and moving it for the whole host is no fault of one target. Leases,
//! time limits and back-off are measured with the clocks that are moved; dates are not. The command has to stay in
//! the foreground and to write its own `pid_file`, and must not run already. The probe asks the kernel for the
//! offsets of the process that the `pid_file` names.
//!
//! - Undo class: `process-bounded`. The command is killed with the process that holds it, whatever happens; nothing
//!   of the host's clock was changed.
//! - Rights: root (`CAP_SYS_ADMIN`), for the namespace.
//! - Targets: `process`.
//! - ATT&CK: T1124 (system time discovery), T1070.006 (timestomp). CWE: CWE-367 (time-of-check time-of-use race
//!   condition), CWE-672 (operation on a resource after expiration or release).
//! - Expected effect: confidentiality kept; integrity at risk: two holders of one lease, each sure that it is
//!   alone; availability degraded: time limits end early.
//!
//! ## Why it matters
//! A machine that was suspended, migrated or restored from a snapshot has clocks that jump. A lease that is
//! measured with them ends too soon, or never.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "clock-skewed"
//! target = "ledger"
//! seconds_ahead = 86400
//! ```
//!
//! ## What to do instead
//! Fence what a lease protects with a token that whoever is written to checks, and treat a jump of the clock as the
//! loss of every lease.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1124/>
//! - <https://attack.mitre.org/techniques/T1070/006/>
//! - <https://cwe.mitre.org/data/definitions/367.html>
//! - <https://cwe.mitre.org/data/definitions/672.html>

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::told;
use crate::permit::Permit;
use crate::processes_linux::{Process, number};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "clock-skewed",
    undo_class: UndoClass::ProcessBounded,
    rights: "root (`CAP_SYS_ADMIN`), for the namespace",
    attack: &["T1124", "T1070.006"],
    cwe: &["CWE-367", "CWE-672"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: two holders of one lease, each sure that it is alone",
        availability: "degraded: time limits end early",
    },
    targets: &[TargetKind::Process],
    keys: &["target", "seconds_ahead"],
    read,
};

/// Ten years.
const SECONDS_MAX: u64 = 315_360_000;
/// Until a command that was started has written its `pid_file`.
const START_MS_MAX: u64 = 1_800;
/// Between two looks.
const LOOK_MS: u64 = 5;

#[derive(Debug)]
struct ClockSkewed {
    target: String,
    seconds: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let seconds = section.number("seconds_ahead", 1..=SECONDS_MAX);
    let strike = ClockSkewed {
        target: target?,
        seconds: seconds?,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl Strike for ClockSkewed {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("seconds_ahead".to_owned(), self.seconds.into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "start the command of `{}` with clocks {} s ahead",
            self.target, self.seconds
        )
    }

    fn undo_action(&self) -> String {
        "end that command".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        target.command("command")?;
        target.path("pid_file")?;
        let capabilities = rustix::thread::capabilities(None).map_err(told)?;
        if !capabilities
            .effective
            .contains(rustix::thread::CapabilitySet::SYS_ADMIN)
        {
            return Err("without `CAP_SYS_ADMIN` there is no time namespace".to_owned());
        }
        if Process::of(target).is_ok() {
            return Err(format!("`{}` runs already, and keeps its clock", self.target));
        }
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("a process of its own holds this fault".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let [program, arguments @ ..] = target.command("command")? else {
            return Err("its command is empty".to_owned());
        };
        // SAFETY: a time namespace is for children to come; this process keeps clocks, descriptors and memory.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWTIME) }.map_err(told)?;
        let offsets = format!("monotonic {0} 0\nboottime {0} 0\n", self.seconds);
        std::fs::write("/proc/self/timens_offsets", offsets).map_err(|error| error.to_string())?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let die_with_us = || rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(Into::into);
        // SAFETY: between fork and exec it makes one system call, allocates nothing and takes no lock.
        unsafe { command.pre_exec(die_with_us) };
        let mut child = command
            .spawn()
            .map_err(|error| format!("`{program}` can't be started: {error}"))?;
        let child_number = child.id();
        let until = Instant::now() + Duration::from_millis(START_MS_MAX);
        // Its own number, not that of one that dies with an earlier holder.
        let is_ours = |process: Process| u32::try_from(number(process.pid)) == Ok(child_number);
        while !(Process::of(target).is_ok_and(is_ours) && self.is_skewed(target)) {
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("its command has written no `pid_file` in {START_MS_MAX} ms"));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        ready();
        child.wait().map(drop).map_err(|error| error.to_string())
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(self.is_skewed(site.target(&self.target)?))
    }

    /// It ends with its holder; one that went into the background is ended here.
    fn undo(&self, site: &Site, _: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        if self.is_skewed(target) {
            let process = Process::of(target)?;
            process.signal(Signal::KILL)?;
            process.wait_until(|stat| stat.is_none())?;
        }
        Ok(Undone::Restored)
    }
}

impl ClockSkewed {
    /// Whether the process that the `pid_file` names has these clocks.
    fn is_skewed(&self, target: &Target) -> bool {
        let Ok(process) = Process::of(target) else { return false };
        let pid = number(process.pid);
        let offsets = std::fs::read_to_string(format!("/proc/{pid}/timens_offsets")).unwrap_or_default();
        // `boottime SECONDS NANOSECONDS` (time_namespaces(7)).
        let boottime = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
        let seconds = boottime.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok());
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).ok();
        seconds == Some(self.seconds) && namespace(&pid.to_string()) != namespace("self")
    }
}
