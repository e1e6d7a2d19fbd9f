//! # chaos/secret-half-rotated
//! Of two files that belong together only one was rotated.
//!
//! ## What it does
//! Puts the contents of `next` in the place of `path` and leaves `partner` as it is: a new key beside the old
//! certificate, a new password beside the old user name. `next` and `partner` are files below the target's `root`,
//! too. The original stays beside it under a name of Proofmark's, readable by its owner alone; only digests stand
//! in the journal. The probe reads both again and compares digests.
//!
//! - Undo class: `journaled`. The original file comes back, unless somebody has changed what stands there, or
//!   rotated the rest in the meantime.
//! - Rights: writing in the folder of the file.
//! - Targets: `files`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-362 (concurrent execution with improper synchronization),
//!   CWE-703 (improper handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for whoever reads both halves, until
//!   they fit again.
//!
//! ## Why it matters
//! A rotation writes several files, and is killed between two of them. A service that reads them at that moment has
//! a pair that never existed.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "secret-half-rotated"
//! target = "secrets"
//! path = "tls.key"
//! next = "next/tls.key"
//! partner = "tls.crt"
//! ```
//!
//! ## What to do instead
//! Rotate by one rename of one folder or one file; check that the halves fit before they are used, and keep the
//! last pair that did.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/362.html>
//! - <https://cwe.mitre.org/data/definitions/703.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "secret-half-rotated",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the file",
    attack: &["T1531"],
    cwe: &["CWE-362", "CWE-703"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for whoever reads both halves, until they fit again",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "next", "partner"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let (next, partner) = (files::read_path(section, "next"), files::read_path(section, "partner"));
    let (next, partner) = (next?, partner?);
    let new = next.clone();
    let how = How::Rewritten(Box::new(move |target, _| files::contents(target, &new)));
    FileChange::named(section, how, "rotate nothing but")?
        .with("next", next)
        .beside(partner)
        .boxed(const { &ENTRY })
}
