//! # chaos/attestation-replayed
//! A statement of another release stands for this one.
//!
//! ## What it does
//! Puts another envelope of the store of Proofmark below the target's `root`, signed and logged as it should be, in
//! the place of one: the first by name. It takes one of the same predicate for other subjects where there is one.
//! The original stays beside it under a name of Proofmark's. The probe reads the file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1550 (use alternate authentication material). CWE: CWE-294
//!   (authentication bypass by capture-replay), CWE-345 (insufficient verification of data authenticity).
//! - Expected effect: confidentiality kept; integrity lost, unless the statement is refused for what it is not
//!   about; availability kept where the statement is refused, as it should.
//!
//! ## Why it matters
//! A pass of last month is as well signed as one of today. Only what it is about tells them apart.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "attestation-replayed"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Let each statement name what it is about and which attempt it belongs to, by digest, and log it where it stands.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1550/>
//! - <https://cwe.mitre.org/data/definitions/294.html>
//! - <https://cwe.mitre.org/data/definitions/345.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "attestation-replayed",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1550"],
    cwe: &["CWE-294", "CWE-345"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the statement is refused for what it is not about",
        availability: "kept where the statement is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(Box::new(own_store::another_envelope));
    let find = own_store::envelope("envelope", |_| true);
    FileChange::found(section, find, how, "replay an attestation")?.boxed(const { &ENTRY })
}
