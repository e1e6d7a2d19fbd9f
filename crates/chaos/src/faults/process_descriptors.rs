//! # chaos/process-descriptors
//! A process can open nothing more: no file, no connection.
//!
//! ## What it does
//! Lowers the limit of open descriptors of the process that `pid_file` of the target names to the lowest number it
//! has free, and `spare` more (without it: none). What it has open stays open. The probe reads the limit from the
//! kernel.
//!
//! - Undo class: `journaled`. The limit is put back, unless somebody else has changed it since; it ends with the
//!   process.
//! - Rights: same user as the process, or root.
//! - Targets: `process`.
//! - ATT&CK: T1499.001 (OS exhaustion flood), T1499.003 (application exhaustion flood). CWE: CWE-774 (allocation of
//!   file descriptors or handles without limits), CWE-775 (missing release of file descriptor or handle).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for new connections, until the limit
//!   is back.
//!
//! ## Why it matters
//! A leak of descriptors ends the same way, only slower: the service can't accept, can't log, and often can't read
//! its own certificate.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "process-descriptors"
//! target = "ledger"
//! spare = 2
//! ```
//!
//! ## What to do instead
//! Bound connections below the limit, keep a descriptor in reserve to refuse with, and alarm on how many are open.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/001/>
//! - <https://attack.mitre.org/techniques/T1499/003/>
//! - <https://cwe.mitre.org/data/definitions/774.html>
//! - <https://cwe.mitre.org/data/definitions/775.html>

use rustix::process::Resource;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::processes_linux::{Limit, ProcessChange};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "process-descriptors",
    undo_class: UndoClass::Journaled,
    rights: "same user as the process, or root",
    attack: &["T1499.001", "T1499.003"],
    cwe: &["CWE-774", "CWE-775"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new connections, until the limit is back",
    },
    targets: &[TargetKind::Process],
    keys: &["target", "spare"],
    read,
};

/// More than that is no shortage.
const SPARE_MAX: u64 = 1 << 20;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let spare = section.optional_number("spare", 0..=SPARE_MAX).unwrap_or(0);
    let limit = Limit {
        resource: Resource::Nofile,
        line: "Max open files",
        lowered: |process, spare| Ok(process.lowest_free_descriptor()? + spare),
        spare,
    };
    ProcessChange::read(section, limit, "take the last descriptors from", "put its limit back")?
        .with("spare", spare)
        .boxed(const { &ENTRY })
}
