//! # chaos/memory-busy
//! Something else needs the memory of a host.
//!
//! ## What it does
//! Holds `bytes` of memory, each page of it written, in a process of Proofmark's own: at most half of what the
//! kernel calls available. The probe asks the kernel for the memory of that process.
//!
//! - Undo class: `process-bounded`. It is given back when its process ends, whatever happens.
//! - Rights: none beyond a process of its own.
//! - Targets: `process`.
//! - ATT&CK: T1499.001 (OS exhaustion flood), T1496 (resource hijacking). CWE: CWE-400 (uncontrolled resource
//!   consumption), CWE-770 (allocation of resources without limits or throttling).
//! - Expected effect: confidentiality kept; integrity kept; availability degraded: caches shrink, and what is over
//!   its limit is killed.
//!
//! ## Why it matters
//! Memory that a neighbour takes is missing where nobody counted on it: the cache first, then whoever the kernel
//! chooses to kill.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "memory-busy"
//! target = "ledger"
//! bytes = 268435456
//! ```
//!
//! ## What to do instead
//! Reserve memory for what must not die, bound the rest, and alarm before the kernel chooses.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/001/>
//! - <https://attack.mitre.org/techniques/T1496/>
//! - <https://cwe.mitre.org/data/definitions/400.html>
//! - <https://cwe.mitre.org/data/definitions/770.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::held_linux;
use crate::permit::Permit;
use crate::processes_linux::Process;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "memory-busy",
    undo_class: UndoClass::ProcessBounded,
    rights: "none beyond a process of its own",
    attack: &["T1499.001", "T1496"],
    cwe: &["CWE-400", "CWE-770"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "degraded: caches shrink, and what is over its limit is killed",
    },
    targets: &[TargetKind::Process],
    keys: &["target", "bytes"],
    read,
};

/// Less is no more than what any process has.
const BYTES_MIN: u64 = 16 << 20;
/// More could not be written in the time that an injection has.
const BYTES_MAX: u64 = 2 << 30;

#[derive(Debug)]
struct MemoryBusy {
    target: String,
    bytes: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let bytes = section.number("bytes", BYTES_MIN..=BYTES_MAX);
    let strike = MemoryBusy {
        target: target?,
        bytes: bytes?,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl Strike for MemoryBusy {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("bytes".to_owned(), self.bytes.into()),
        ])
    }

    fn action(&self) -> String {
        format!("hold {} bytes of memory beside `{}`", self.bytes, self.target)
    }

    fn undo_action(&self) -> String {
        "give the memory back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let record = Process::of(site.target(&self.target)?)?.record();
        let available = available_bytes()?;
        if self.bytes > available / 2 {
            return Err(format!(
                "{} bytes are more than half of the {available} that are available",
                self.bytes
            ));
        }
        Ok(record)
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("a process of its own holds this fault".to_owned())
    }

    fn hold(&self, _: &Site, record: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let bytes = usize::try_from(self.bytes).map_err(|_| "more than this machine can count")?;
        let (held, holding) = std::sync::mpsc::channel();
        let thread = held_linux::thread(record, move || {
            let mut memory = Vec::new();
            memory.try_reserve_exact(bytes).map_err(|error| error.to_string())?;
            // Every page is written, so that the kernel has to give it.
            memory.resize(bytes, 1_u8);
            let _ = held.send(());
            loop {
                std::hint::black_box(&memory);
                std::thread::park();
            }
        })?;
        if holding.recv().is_ok() {
            ready();
        }
        thread.join().map_err(|_| "the thread broke")?
    }

    fn bites(&self, _: &Site, record: &Record) -> Result<bool, String> {
        Ok(held_linux::resident_bytes(record) >= self.bytes)
    }

    /// It has ended with its process.
    fn undo(&self, _: &Site, _: &Record) -> Result<Undone, String> {
        Ok(Undone::Restored)
    }
}

/// What could be given out without swapping (proc_meminfo(5)).
fn available_bytes() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(|error| error.to_string())?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| "the kernel doesn't tell what is available".to_owned())
}
