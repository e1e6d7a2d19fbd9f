//! # chaos/store-unavailable
//! The gate has no log to decide from.
//!
//! ## What it does
//! Renames the folder of the log in the store of Proofmark below the target's `root` to a hidden name beside it.
//! The probe looks for its name.
//!
//! - Undo class: `journaled`. It is renamed back, unless something else has its name by then: a log begun anew
//!   there stays, and so does the old one beside it.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1499.004 (application or system exploitation), T1485 (data destruction). CWE: CWE-636 (not failing
//!   securely), CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity at risk where a gate without a log passes; availability lost
//!   for the gate, which should fail closed.
//!
//! ## Why it matters
//! A gate whose store is down has to say no. One that says yes, or begins a new history, opens whenever somebody
//! pulls the plug.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "store-unavailable"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Fail closed: no store, no verdict; never begin a new log where there was one.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://attack.mitre.org/techniques/T1485/>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://cwe.mitre.org/data/definitions/703.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "store-unavailable",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1499.004", "T1485"],
    cwe: &["CWE-636", "CWE-703"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a gate without a log passes",
        availability: "lost for the gate, which should fail closed",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let find = Box::new(|_: &_| Ok(own_store::LOG.to_owned()));
    FileChange::found(section, find, How::Withdrawn, "take the log away")?.boxed(const { &ENTRY })
}
