//! # chaos/feed-stale
//! The advisory database is an older one again.
//!
//! ## What it does
//! Lets `path`, the folder or file of a feed below the target's `root`, and `older`, an older state of it, change
//! places in one step. The probe looks which of the two stands at `path`.
//!
//! - Undo class: `journaled`. They change places again, unless somebody has replaced one of them since (a fetch,
//!   say).
//! - Rights: writing in the folders of both.
//! - Targets: `files`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1562.001 (disable or modify tools). CWE: CWE-1329 (reliance on
//!   component that is not updateable), CWE-672 (operation on a resource after expiration or release).
//! - Expected effect: confidentiality kept; integrity at risk: vulnerabilities that became known since are not
//!   seen; availability kept where the gate waits for a fresh one, as it should.
//!
//! ## Why it matters
//! A mirror that stopped answers with what it had. Every component matches as clean that the missing advisories
//! name.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "feed-stale"
//! target = "tree"
//! path = "advisories"
//! older = "advisories.2025"
//! ```
//!
//! ## What to do instead
//! Bound the age of a database at the gate, and pin or sign each state of it so that an older one can't pass for
//! the newest.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1562/001/>
//! - <https://cwe.mitre.org/data/definitions/1329.html>
//! - <https://cwe.mitre.org/data/definitions/672.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "feed-stale",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folders of both",
    attack: &["T1565.001", "T1562.001"],
    cwe: &["CWE-1329", "CWE-672"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: vulnerabilities that became known since are not seen",
        availability: "kept where the gate waits for a fresh one, as it should",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "older"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let older = files::read_path(section, "older")?;
    FileChange::named(
        section,
        How::Exchanged(older.clone()),
        "give an older state back to the feed",
    )?
    .with("older", older)
    .boxed(const { &ENTRY })
}
