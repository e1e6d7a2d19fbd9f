//! # chaos/attestation-forged
//! A statement is signed by a key that nobody knows.
//!
//! ## What it does
//! Signs the statement of one envelope in the store of Proofmark below the target's `root` anew, with a key of the
//! fault's own, and puts that in the place of the original: the first by name. The original stays beside it under a
//! name of Proofmark's. The probe reads the file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1553.002 (code signing). CWE: CWE-347 (improper verification of
//!   cryptographic signature), CWE-290 (authentication bypass by spoofing).
//! - Expected effect: confidentiality kept; integrity lost, unless the signature is refused; availability kept
//!   where the statement is refused, as it should.
//!
//! ## Why it matters
//! A signature that is valid is not one that counts. Whoever checks the one without the other believes everybody.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "attestation-forged"
//! target = "store"
//! ```
//!
//! ## What to do instead
//! Ask who may sign what, from a trust root that lies outside of what is judged, before any statement is believed.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1553/002/>
//! - <https://cwe.mitre.org/data/definitions/347.html>
//! - <https://cwe.mitre.org/data/definitions/290.html>

use evidence::{Algorithm, Digest, Envelope, MemorySigner, Signer};

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "attestation-forged",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1553.002"],
    cwe: &["CWE-347", "CWE-290"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the signature is refused",
        availability: "kept where the statement is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let how = How::Rewritten(Box::new(|_, old| {
        let (envelope, _) = own_store::read(old)?;
        let signer = unknown_key()?;
        let forged = Envelope::sign(&envelope.payload_type, envelope.payload, &[&signer as &dyn Signer]);
        forged
            .map(|forged| forged.to_bytes())
            .map_err(|error| error.to_string())
    }));
    let find = own_store::envelope("envelope", |_| true);
    FileChange::found(section, find, how, "forge an attestation")?.boxed(const { &ENTRY })
}

/// Everybody has this key, so that no trust root will ever list it.
fn unknown_key() -> Result<MemorySigner, String> {
    let seed = Digest::of(b"chaos/attestation-forged").0;
    MemorySigner::from_seed(Algorithm::Ed25519, &seed).map_err(|error| error.to_string())
}
