//! # chaos/process-frozen
//! A process stands still, and everybody believes that it runs.
//!
//! ## What it does
//! Sends SIGSTOP to the process that `pid_file` of the target names: that very process, told by its number and
//! start time. It keeps its connections, locks and leases and answers nothing. The probe asks the kernel for its
//! state.
//!
//! - Undo class: `journaled`. SIGCONT lets it go on; a process that has ended meanwhile, or that somebody has let
//!   go on, is left alone.
//! - Rights: same user as the process, or root.
//! - Targets: `process`.
//! - ATT&CK: T1499 (endpoint denial of service), T1489 (service stop). CWE: CWE-1088 (synchronous access of remote
//!   resource without timeout), CWE-667 (improper locking).
//! - Expected effect: confidentiality kept; integrity at risk: what it held is given to another, and it goes on
//!   later as if nothing had been; availability lost for whoever waits for it without a time limit.
//!
//! ## Why it matters
//! A dead process is noticed at once. A frozen one holds its lock until its lease ends, and wakes up in the belief
//! that it still has it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "process-frozen"
//! target = "ledger"
//! ```
//!
//! ## What to do instead
//! Give every call a time limit and every lock a lease with a fencing token; let a watchdog ask for an answer, not
//! for a process.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://attack.mitre.org/techniques/T1489/>
//! - <https://cwe.mitre.org/data/definitions/1088.html>
//! - <https://cwe.mitre.org/data/definitions/667.html>

use rustix::process::Signal;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::processes_linux::{OnProcess, Process, ProcessChange, Stat};
use crate::read::Section;
use crate::strike::{Record, Undone};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "process-frozen",
    undo_class: UndoClass::Journaled,
    rights: "same user as the process, or root",
    attack: &["T1499", "T1489"],
    cwe: &["CWE-1088", "CWE-667"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: what it held is given to another, and it goes on later as if nothing had been",
        availability: "lost for whoever waits for it without a time limit",
    },
    targets: &[TargetKind::Process],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct Frozen;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    ProcessChange::read(section, Frozen, "freeze the process of", "let it go on")?.boxed(const { &ENTRY })
}

impl OnProcess for Frozen {
    fn look(&self, process: Process) -> Result<Record, String> {
        match process.stat().is_some_and(Stat::is_stopped) {
            true => Err("it stands still already".to_owned()),
            false => Ok(Record::new()),
        }
    }

    fn apply(&self, process: Process, _: &Record) -> Result<(), String> {
        process.signal(Signal::STOP)?;
        process.wait_until(|stat| stat.is_none_or(Stat::is_stopped))
    }

    fn is_applied(&self, process: Process, _: &Record) -> Result<bool, String> {
        Ok(process.stat().is_some_and(Stat::is_stopped))
    }

    fn take_back(&self, process: Process, _: &Record) -> Result<Undone, String> {
        if process.stat().is_some_and(Stat::is_stopped) {
            process.signal(Signal::CONT)?;
            process.wait_until(|stat| !stat.is_some_and(Stat::is_stopped))?;
        }
        Ok(Undone::Restored)
    }
}
