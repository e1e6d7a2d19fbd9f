//! # chaos/file-mode-widened
//! Everybody may read and write a file that was not meant for everybody.
//!
//! ## What it does
//! Adds the permissions to read and to write for everybody to one file below the target's `root`. The probe asks
//! for its mode.
//!
//! - Undo class: `journaled`. The mode is put back, unless somebody else has changed it, or the file, since.
//! - Rights: owner of the file, or root.
//! - Targets: `files`.
//! - ATT&CK: T1222.002 (Linux and Mac file and directory permissions modification). CWE: CWE-732 (incorrect
//!   permission assignment for critical resource), CWE-276 (incorrect default permissions).
//! - Expected effect: confidentiality lost towards every account of the host; integrity at risk: every account of
//!   the host may write it; availability kept.
//!
//! ## Why it matters
//! One `chmod 666` makes a configuration, a key or a rule everybody's, and nothing breaks, so that nobody looks.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "file-mode-widened"
//! target = "app"
//! path = "config/app.toml"
//! ```
//!
//! ## What to do instead
//! Refuse files that others may write, as ssh does; set modes where files are delivered, and compare them on
//! running hosts.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1222/002/>
//! - <https://cwe.mitre.org/data/definitions/732.html>
//! - <https://cwe.mitre.org/data/definitions/276.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "file-mode-widened",
    undo_class: UndoClass::Journaled,
    rights: "owner of the file, or root",
    attack: &["T1222.002"],
    cwe: &["CWE-732", "CWE-276"],
    effect: Effect {
        confidentiality: "lost towards every account of the host",
        integrity: "at risk: every account of the host may write it",
        availability: "kept",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(
        section,
        How::Permitted(|mode| mode | 0o666),
        "let everybody read and write",
    )?
    .boxed(const { &ENTRY })
}
