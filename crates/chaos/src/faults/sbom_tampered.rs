//! # chaos/sbom-tampered
//! A component is missing from the bill of materials.
//!
//! ## What it does
//! Takes the last component out of an SBOM statement in the store of Proofmark below the target's `root` and leaves
//! its signatures as they were: the first such envelope by name. The original stays beside it under a name of
//! Proofmark's. The probe reads the file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1195.001 (compromise software dependencies and development
//!   tools). CWE: CWE-345 (insufficient verification of data authenticity), CWE-354 (improper validation of
//!   integrity check value).
//! - Expected effect: confidentiality kept; integrity lost: a vulnerable component is not matched, unless the
//!   change is refused; availability kept where the release is refused, as it should.
//!
//! ## Why it matters
//! What isn't in the SBOM is matched with no advisory. Whoever wants a component overlooked takes it out there.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sbom-tampered"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Sign SBOMs, log what was signed, and verify both each time one is read.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1195/001/>
//! - <https://cwe.mitre.org/data/definitions/345.html>
//! - <https://cwe.mitre.org/data/definitions/354.html>

use evidence::predicates::SBOM;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sbom-tampered",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1195.001"],
    cwe: &["CWE-345", "CWE-354"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost: a vulnerable component is not matched, unless the change is refused",
        availability: "kept where the release is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(own_store::restated(|sbom| {
        let components = sbom
            .predicate
            .get_mut("components")
            .and_then(|found| found.as_array_mut());
        let taken = components.and_then(Vec::pop);
        taken.map(drop).ok_or_else(|| "the SBOM has no component".to_owned())
    }));
    let find = own_store::envelope("SBOM with components", |statement| {
        let components = statement.predicate.get("components").and_then(|found| found.as_array());
        statement.predicate_type == SBOM && components.is_some_and(|components| !components.is_empty())
    });
    FileChange::found(section, find, how, "take a component out of an SBOM")?.boxed(const { &ENTRY })
}
