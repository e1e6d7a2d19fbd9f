//! # chaos/artifact-tampered
//! A built artifact is not what was built any more.
//!
//! ## What it does
//! Changes the lowest bit of the byte in the middle of one artifact in the store of Proofmark below the target's
//! `root`: the first by name. The original stays beside it under a name of Proofmark's. The probe reads the file
//! again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1195.002 (compromise software supply chain). CWE: CWE-353
//!   (missing support for integrity check), CWE-494 (download of code without integrity check).
//! - Expected effect: confidentiality kept; integrity lost, unless the release is refused; availability kept where
//!   the release is refused, as it should.
//!
//! ## Why it matters
//! Between the build and the deployment an artifact lies on a disk. What was attested there and what is deployed is
//! one thing only if somebody compares it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "artifact-tampered"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Name artifacts after their digest, and compute it again each time one is used.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1195/002/>
//! - <https://cwe.mitre.org/data/definitions/353.html>
//! - <https://cwe.mitre.org/data/definitions/494.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "artifact-tampered",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1195.002"],
    cwe: &["CWE-353", "CWE-494"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the release is refused",
        availability: "kept where the release is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(Box::new(|_, old| {
        let mut new = old.to_vec();
        let middle = new.len() / 2;
        *new.get_mut(middle).ok_or("the artifact is empty")? ^= 1;
        Ok(new)
    }));
    FileChange::found(
        section,
        Box::new(own_store::artifact),
        how,
        "change one bit of an artifact",
    )?
    .boxed(const { &ENTRY })
}
