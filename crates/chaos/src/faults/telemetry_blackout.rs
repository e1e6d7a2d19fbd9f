//! # chaos/telemetry-blackout
//! The log that everybody watches stays silent.
//!
//! ## What it does
//! Puts an empty file in the place of one log below the target's `root`, with the same owner and mode. Whoever has
//! the log open writes on into the original, which nobody watches. The original stays beside it under a name of
//! Proofmark's, readable by its owner alone. The probe looks whether the empty file still stands there, and is
//! still empty.
//!
//! - Undo class: `journaled`. The original comes back with every line written meanwhile, unless somebody has begun
//!   another log there, which stays; then both do.
//! - Rights: writing in the folder of the log.
//! - Targets: `files`.
//! - ATT&CK: T1562.006 (indicator blocking), T1070 (indicator removal). CWE: CWE-778 (insufficient logging),
//!   CWE-223 (omission of security-relevant information).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for detection: nothing is seen while
//!   it holds.
//!
//! ## Why it matters
//! Nothing to read looks like nothing to report. Whoever watches a log has to notice that it stopped.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "telemetry-blackout"
//! target = "app"
//! path = "log/access.log"
//! ```
//!
//! ## What to do instead
//! Write a heartbeat into every log and alarm when it is missing; follow logs by inode and notice when the file
//! behind a name is another one.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1562/006/>
//! - <https://attack.mitre.org/techniques/T1070/>
//! - <https://cwe.mitre.org/data/definitions/778.html>
//! - <https://cwe.mitre.org/data/definitions/223.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "telemetry-blackout",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the log",
    attack: &["T1562.006", "T1070"],
    cwe: &["CWE-778", "CWE-223"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for detection: nothing is seen while it holds",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Silenced, "silence")?.boxed(const { &ENTRY })
}
