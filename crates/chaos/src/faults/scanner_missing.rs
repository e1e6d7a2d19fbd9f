//! # chaos/scanner-missing
//! The program that looks for problems is not there.
//!
//! ## What it does
//! Renames one program below the target's `root` to a hidden name beside it, so that whoever starts it finds
//! nothing. The probe looks for its name.
//!
//! - Undo class: `journaled`. It is renamed back, unless something else has its name by then.
//! - Rights: writing in the folder of the program.
//! - Targets: `files`.
//! - ATT&CK: T1562.001 (disable or modify tools). CWE: CWE-636 (not failing securely), CWE-693 (protection
//!   mechanism failure).
//! - Expected effect: confidentiality kept; integrity at risk: what the scanner would have stopped goes through
//!   where its absence counts as clean; availability kept where the gate waits, as it should.
//!
//! ## Why it matters
//! A scanner that can't be started finds nothing. A gate that counts findings and not scans lets everything through
//! from that day on.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "scanner-missing"
//! target = "tools"
//! path = "bin/scanner"
//! ```
//!
//! ## What to do instead
//! Count what was looked at, not only what was found: a check that did not run is no pass.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1562/001/>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://cwe.mitre.org/data/definitions/693.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "scanner-missing",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the program",
    attack: &["T1562.001"],
    cwe: &["CWE-636", "CWE-693"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: what the scanner would have stopped goes through where its absence counts as clean",
        availability: "kept where the gate waits, as it should",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Withdrawn, "withdraw the scanner")?.boxed(const { &ENTRY })
}
