//! # chaos/file-withdrawn
//! A file that is needed is not there any more.
//!
//! ## What it does
//! Renames one file or folder below the target's `root` to a hidden name beside it. The probe looks for its name.
//!
//! - Undo class: `journaled`. It is renamed back, unless something else has its name by then.
//! - Rights: writing in the folder of the file.
//! - Targets: `files`.
//! - ATT&CK: T1485 (data destruction). CWE: CWE-754 (improper check for unusual or exceptional conditions), CWE-636
//!   (not failing securely).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for whoever needs the file, until it
//!   falls back.
//!
//! ## Why it matters
//! A mount that did not come up, a dependency that was taken back, a clean-up that went too far: a service that
//! then starts with defaults, without its rules or without its key, fails open.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "file-withdrawn"
//! target = "app"
//! path = "rules/deny.conf"
//! ```
//!
//! ## What to do instead
//! Refuse to start, or to go on, without what protects; say which file is missing; never fall back to a weaker
//! default.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1485/>
//! - <https://cwe.mitre.org/data/definitions/754.html>
//! - <https://cwe.mitre.org/data/definitions/636.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "file-withdrawn",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the file",
    attack: &["T1485"],
    cwe: &["CWE-754", "CWE-636"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for whoever needs the file, until it falls back",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Withdrawn, "withdraw")?.boxed(const { &ENTRY })
}
