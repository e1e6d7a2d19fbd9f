//! # chaos/attestation-missing
//! A signed statement has vanished.
//!
//! ## What it does
//! Renames one envelope in the store of Proofmark below the target's `root` to a hidden name beside it: the first
//! by name. The probe looks for its name.
//!
//! - Undo class: `journaled`. It is renamed back, unless something else has its name by then.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1070.004 (file deletion), T1485 (data destruction). CWE: CWE-636 (not failing securely), CWE-754
//!   (improper check for unusual or exceptional conditions).
//! - Expected effect: confidentiality kept; integrity at risk: what the statement would have blocked goes through
//!   where its absence counts as a pass; availability kept where the gate waits, as it should.
//!
//! ## Why it matters
//! The statement that says `fail` is the one worth removing. A gate that decides from what it finds, and not from
//! what it expects, lets that pass.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "attestation-missing"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! List what a release has to show, hold it against the log, and count what is missing as not passed.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1070/004/>
//! - <https://attack.mitre.org/techniques/T1485/>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://cwe.mitre.org/data/definitions/754.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "attestation-missing",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1070.004", "T1485"],
    cwe: &["CWE-636", "CWE-754"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: what the statement would have blocked goes through where its absence counts as a pass",
        availability: "kept where the gate waits, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let find = own_store::envelope("envelope", |_| true);
    FileChange::found(section, find, How::Withdrawn, "hide an attestation")?.boxed(const { &ENTRY })
}
