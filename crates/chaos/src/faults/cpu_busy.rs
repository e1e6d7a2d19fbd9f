//! # chaos/cpu-busy
//! Something else computes on the cores of a service.
//!
//! ## What it does
//! Lets `threads` threads compute without end, on the cores that the target's process may use. They live in a
//! process of Proofmark's own. The probe asks the kernel whether each of them runs, or waits for a core.
//!
//! - Undo class: `process-bounded`. They end with their process, whatever happens.
//! - Rights: none beyond a process of its own.
//! - Targets: `process`.
//! - ATT&CK: T1496 (resource hijacking), T1499 (endpoint denial of service). CWE: CWE-400 (uncontrolled resource
//!   consumption).
//! - Expected effect: confidentiality kept; integrity kept; availability degraded: answers come late.
//!
//! ## Why it matters
//! A miner, or a neighbour on the same host, is first of all load. Whoever measures its own latency only notices
//! that something is wrong, not what.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "cpu-busy"
//! target = "ledger"
//! threads = 4
//! ```
//!
//! ## What to do instead
//! Bound what each service of a host may use, and look for processes that nobody has deployed.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1496/>
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/400.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::told;
use crate::held_linux;
use crate::permit::Permit;
use crate::processes_linux::Process;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "cpu-busy",
    undo_class: UndoClass::ProcessBounded,
    rights: "none beyond a process of its own",
    attack: &["T1496", "T1499"],
    cwe: &["CWE-400"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "degraded: answers come late",
    },
    targets: &[TargetKind::Process],
    keys: &["target", "threads"],
    read,
};

/// More threads than any machine has cores.
const THREADS_MAX: u64 = 1024;

/// Every thread of ours has had a turn within so many milliseconds; looked at so often.
const TURN_MS_MAX: u64 = 1_000;
const LOOK_MS: u64 = 10;

#[derive(Debug)]
struct CpuBusy {
    target: String,
    threads: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let threads = section.number("threads", 1..=THREADS_MAX);
    let strike = CpuBusy {
        target: target?,
        threads: threads?,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl Strike for CpuBusy {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("threads".to_owned(), self.threads.into()),
        ])
    }

    fn action(&self) -> String {
        format!("compute with {} threads beside `{}`", self.threads, self.target)
    }

    fn undo_action(&self) -> String {
        "end the threads".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        Ok(Process::of(site.target(&self.target)?)?.record())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("a process of its own holds this fault".to_owned())
    }

    fn hold(&self, _: &Site, record: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let process = Process::recorded(record)?;
        let cores = rustix::thread::sched_getaffinity(Some(process.pid)).map_err(told)?;
        let mut threads = Vec::new();
        for _ in 0..self.threads {
            threads.push(held_linux::thread(record, move || {
                rustix::thread::sched_setaffinity(None, &cores).map_err(told)?;
                loop {
                    std::hint::spin_loop();
                }
            })?);
        }
        ready();
        for thread in threads {
            thread.join().map_err(|_| "a thread broke")??;
        }
        Ok(())
    }

    fn bites(&self, _: &Site, record: &Record) -> Result<bool, String> {
        // A thread that was just started may have to wait for its first turn on a host that is busy already.
        let begun = Instant::now();
        while held_linux::is_held(record) && begun.elapsed() < Duration::from_millis(TURN_MS_MAX) {
            if held_linux::running_threads(record) as u64 >= self.threads {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(false)
    }

    /// It has ended with its process.
    fn undo(&self, _: &Site, _: &Record) -> Result<Undone, String> {
        Ok(Undone::Restored)
    }
}
