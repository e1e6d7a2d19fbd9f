//! # chaos/process-killed
//! A process is killed and gets no chance to say goodbye.
//!
//! ## What it does
//! Sends SIGKILL to the process that `pid_file` of the target names: that very process, told by its number and
//! start time, and no other that was given its number since. The probe asks the kernel whether it has ended and
//! nobody has taken its place in the `pid_file`.
//!
//! - Undo class: `irreversible`. The way forward: where nobody has started it again (its `pid_file` names no
//!   running process), the target's `command` is started in a session of its own. It has to write its own
//!   `pid_file`.
//! - Rights: same user as the process, or root; its `command` runs as whoever runs Proofmark.
//! - Targets: `process`.
//! - ATT&CK: T1489 (service stop), T1499 (endpoint denial of service). CWE: CWE-460 (improper cleanup on thrown
//!   exception), CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity at risk for what it had not yet made durable; availability
//!   lost until it runs again.
//!
//! ## Why it matters
//! A process that is killed releases no lock, flushes no file and answers no request that it has taken. What it
//! leaves is what its next start has to cope with.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "process-killed"
//! target = "ledger"
//! ```
//!
//! ## What to do instead
//! Have a supervisor start it again, make each state durable before it is acknowledged, and let the next start
//! recover it.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1489/>
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/460.html>
//! - <https://cwe.mitre.org/data/definitions/703.html>

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::processes_linux::Process;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "process-killed",
    undo_class: UndoClass::Irreversible,
    rights: "same user as the process, or root; its `command` runs as whoever runs Proofmark",
    attack: &["T1489", "T1499"],
    cwe: &["CWE-460", "CWE-703"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk for what it had not yet made durable",
        availability: "lost until it runs again",
    },
    targets: &[TargetKind::Process],
    keys: &["target"],
    read,
};

/// Until a command that was started has written its `pid_file`.
const START_MS_MAX: u64 = 1_800;
/// Between two looks at it.
const LOOK_MS: u64 = 5;

#[derive(Debug)]
struct ProcessKilled {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    boxed(const { &ENTRY }, ProcessKilled { target }, None)
}

impl Strike for ProcessKilled {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!("kill the process of `{}`", self.target)
    }

    fn undo_action(&self) -> String {
        "start its command where nobody has started it again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        target.command("command")?;
        Ok(Process::of(target)?.record())
    }

    fn inject(&self, _: &Permit, _: &Site, record: &Record) -> Result<(), String> {
        let process = Process::recorded(record)?;
        process.signal(Signal::KILL)?;
        process.wait_until(|stat| stat.is_none())
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let is_gone = !Process::recorded(record)?.is_alive();
        Ok(is_gone && Process::of(site.target(&self.target)?).is_err())
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        if Process::recorded(record)?.is_alive() || Process::of(target).is_ok() {
            return Ok(Undone::Restored);
        }
        start(target.command("command")?)?;
        let until = Instant::now() + Duration::from_millis(START_MS_MAX);
        while let Err(reason) = Process::of(target) {
            if Instant::now() > until {
                return Err(format!("its command was started, and after {START_MS_MAX} ms {reason}"));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(Undone::Restored)
    }
}

/// Starts a service that outlives this process: a session of its own, nothing of ours open.
fn start(command: &[String]) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("its command is empty".to_owned());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let own_session = || rustix::process::setsid().map(drop).map_err(Into::into);
    // SAFETY: between fork and exec it makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(own_session) };
    let mut child = command
        .spawn()
        .map_err(|error| format!("`{program}` can't be started: {error}"))?;
    // Whoever ends first: the kernel hands the service to init, or this thread takes note of its end.
    std::thread::spawn(move || child.wait());
    Ok(())
}
