//! # chaos/program-capabilities-removed
//! A program has lost the one privilege that it was given.
//!
//! ## What it does
//! Removes the file capabilities (`setcap`) of one program below the target's `root`, so that its next start has
//! none of them. Those of a process that runs already can't be taken from outside: the kernel lets nobody but the
//! process itself do that. The probe asks for the attribute.
//!
//! - Undo class: `journaled`. The capabilities are set again, unless somebody has given the program others, or
//!   replaced it, since.
//! - Rights: root (`CAP_SETFCAP`).
//! - Targets: `files`.
//! - ATT&CK: T1562 (impair defenses), T1548 (abuse elevation control mechanism). CWE: CWE-272 (least privilege
//!   violation), CWE-280 (improper handling of insufficient permissions).
//! - Expected effect: confidentiality kept; integrity kept; availability lost for what the program needs the
//!   privilege for, after its next start.
//!
//! ## Why it matters
//! A package upgrade replaces a program and forgets its capabilities. What then helps itself by running as root has
//! turned a small privilege into all of them.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "program-capabilities-removed"
//! target = "app"
//! path = "bin/listener"
//! ```
//!
//! ## What to do instead
//! Set capabilities where the program is delivered, check them at its start, say which one is missing, and never
//! fall back to root.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1562/>
//! - <https://attack.mitre.org/techniques/T1548/>
//! - <https://cwe.mitre.org/data/definitions/272.html>
//! - <https://cwe.mitre.org/data/definitions/280.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "program-capabilities-removed",
    undo_class: UndoClass::Journaled,
    rights: "root (`CAP_SETFCAP`)",
    attack: &["T1562", "T1548"],
    cwe: &["CWE-272", "CWE-280"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for what the program needs the privilege for, after its next start",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Incapable, "remove the capabilities of")?.boxed(const { &ENTRY })
}
