//! # chaos/attestation-other-subject
//! A statement is about something else than what was signed.
//!
//! ## What it does
//! Gives the first subject of one statement in the store of Proofmark below the target's `root` another digest and
//! leaves its signatures as they were: the first envelope by name. The original stays beside it under a name of
//! Proofmark's. The probe reads the file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1195.002 (compromise software supply chain). CWE: CWE-347
//!   (improper verification of cryptographic signature), CWE-345 (insufficient verification of data authenticity).
//! - Expected effect: confidentiality kept; integrity lost, unless the statement is refused; availability kept
//!   where the statement is refused, as it should.
//!
//! ## Why it matters
//! A pass for one artifact becomes a pass for any other with one line of JSON, where nobody verifies the signature
//! over that line.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "attestation-other-subject"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Verify the signature over the very bytes that are read afterwards, and take subjects from nothing else.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1195/002/>
//! - <https://cwe.mitre.org/data/definitions/347.html>
//! - <https://cwe.mitre.org/data/definitions/345.html>

use evidence::Digest;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "attestation-other-subject",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1195.002"],
    cwe: &["CWE-347", "CWE-345"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the statement is refused",
        availability: "kept where the statement is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(own_store::restated(|statement| {
        let digest = statement
            .subject
            .first_mut()
            .and_then(|subject| subject.digest.values_mut().next());
        let digest = digest.ok_or("the statement has no subject")?;
        *digest = Digest::of(digest.as_bytes()).hex();
        Ok(())
    }));
    let find = own_store::envelope("envelope", |_| true);
    FileChange::found(section, find, how, "give an attestation another subject")?.boxed(const { &ENTRY })
}
