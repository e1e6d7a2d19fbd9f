//! # chaos/files-read-only
//! Nothing can be written any more where something is written.
//!
//! ## What it does
//! Makes one file or folder below the target's `root` unchangeable: by the kernel's attribute `i` where the file
//! system has it and Proofmark may set it (then root can't write either), and by taking the permission to write
//! otherwise (which doesn't stop root). Which of the two it was stands in the record. The probe asks the kernel for
//! the attribute or the mode.
//!
//! - Undo class: `journaled`. The attribute is taken away, or the mode put back, unless the file was replaced, or
//!   its mode changed, since.
//! - Rights: root (`CAP_LINUX_IMMUTABLE`) for the attribute, owner of the file otherwise.
//! - Targets: `files`.
//! - ATT&CK: T1499.004 (application or system exploitation). CWE: CWE-703 (improper check or handling of
//!   exceptional conditions), CWE-778 (insufficient logging).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for whoever writes there, until it
//!   can be written again.
//!
//! ## Why it matters
//! A file system that a fault of the disk remounted read-only takes the audit log with it. What goes on without
//! writing it goes on unseen.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "files-read-only"
//! target = "app"
//! path = "log/audit.log"
//! ```
//!
//! ## What to do instead
//! Stop what has to be recorded while it can't be, say so elsewhere, and try again; never drop the record and go
//! on.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/703.html>
//! - <https://cwe.mitre.org/data/definitions/778.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "files-read-only",
    undo_class: UndoClass::Journaled,
    rights: "root (`CAP_LINUX_IMMUTABLE`) for the attribute, owner of the file otherwise",
    attack: &["T1499.004"],
    cwe: &["CWE-703", "CWE-778"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for whoever writes there, until it can be written again",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Unwritable, "let nobody write")?.boxed(const { &ENTRY })
}
