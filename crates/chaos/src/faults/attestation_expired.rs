//! # chaos/attestation-expired
//! A statement that holds no more stands for one that does.
//!
//! ## What it does
//! Takes the approval or waiver of the store of Proofmark below the target's `root` that holds longest, and puts another
//! one of the same kind in its place that ends earlier: signed and logged as it should be, for the same thing where
//! there is one. Where the store has no other, the end of the same one is set to the moment it was signed, and its
//! signatures are left as they were. In a store without approvals and waivers the evidence of a check, the first by
//! name, becomes ten years older. The original stays beside it under a name of Proofmark's. The probe reads the file
//! again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1550 (use alternate authentication material). CWE: CWE-613
//!   (insufficient session expiration), CWE-672 (operation on a resource after expiration or release).
//! - Expected effect: confidentiality kept; integrity lost, unless the statement is refused for its age; availability
//!   kept where the statement is refused, as it should.
//!
//! ## Why it matters
//! A waiver that was given until Friday is as well signed on Monday. Whoever verifies the signature and not the day lets
//! an exception become the rule, and last year's scan stand for this one's.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "attestation-expired"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Let each exception end, hold the end against the time of the decision whenever it is used, and sign the end with the
//! rest.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1550/>
//! - <https://cwe.mitre.org/data/definitions/613.html>
//! - <https://cwe.mitre.org/data/definitions/672.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "attestation-expired",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1550"],
    cwe: &["CWE-613", "CWE-672"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the statement is refused for its age",
        availability: "kept where the statement is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(Box::new(own_store::expired));
    let find = Box::new(own_store::longest_valid);
    FileChange::found(section, find, how, "let an attestation run out")?.boxed(const { &ENTRY })
}
