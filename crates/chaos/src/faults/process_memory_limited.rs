//! # chaos/process-memory-limited
//! A process gets no more memory than it has.
//!
//! ## What it does
//! Lowers the limit of the address space of the process that `pid_file` of the target names to what it uses now and
//! `headroom_bytes` more (without it: none). What it has stays its own; the next request fails. The probe reads the
//! limit from the kernel.
//!
//! - Undo class: `journaled`. The limit is put back, unless somebody else has changed it since; it ends with the
//!   process.
//! - Rights: same user as the process, or root.
//! - Targets: `process`.
//! - ATT&CK: T1499.001 (OS exhaustion flood), T1499.004 (application or system exploitation). CWE: CWE-770
//!   (allocation of resources without limits or throttling), CWE-252 (unchecked return value).
//! - Expected effect: confidentiality kept; integrity at risk where a failed allocation is not checked;
//!   availability lost where the process ends, degraded where it refuses.
//!
//! ## Why it matters
//! One request that asks for too much memory ends a process that has no answer to a no. Whoever finds such a
//! request can repeat it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "process-memory-limited"
//! target = "ledger"
//! headroom_bytes = 1048576
//! ```
//!
//! ## What to do instead
//! Bound what a request may allocate, refuse beyond it, and start again quickly where an allocation has failed for
//! good.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/001/>
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/770.html>
//! - <https://cwe.mitre.org/data/definitions/252.html>

use rustix::process::Resource;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::processes_linux::{Limit, ProcessChange};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "process-memory-limited",
    undo_class: UndoClass::Journaled,
    rights: "same user as the process, or root",
    attack: &["T1499.001", "T1499.004"],
    cwe: &["CWE-770", "CWE-252"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a failed allocation is not checked",
        availability: "lost where the process ends, degraded where it refuses",
    },
    targets: &[TargetKind::Process],
    keys: &["target", "headroom_bytes"],
    read,
};

/// More than that is no shortage.
const HEADROOM_BYTES_MAX: u64 = 1 << 40;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let headroom = section
        .optional_number("headroom_bytes", 0..=HEADROOM_BYTES_MAX)
        .unwrap_or(0);
    let limit = Limit {
        resource: Resource::As,
        line: "Max address space",
        lowered: |process, headroom| Ok(process.address_space()? + headroom),
        spare: headroom,
    };
    ProcessChange::read(section, limit, "give no more memory to", "put its limit back")?
        .with("headroom_bytes", headroom)
        .boxed(const { &ENTRY })
}
