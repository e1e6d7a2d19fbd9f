//! # chaos/secret-stale
//! A secret is its older value again, as a stale cache or a restored backup leaves it.
//!
//! ## What it does
//! Lets `path` and `older`, two files below the target's `root`, change places, in one step. Nothing is copied and
//! no value is read: the journal holds both names and inodes. The probe looks which of the two stands at `path`.
//!
//! - Undo class: `journaled`. They change places again, unless somebody has replaced one of them since.
//! - Rights: writing in the folders of both files.
//! - Targets: `files`.
//! - ATT&CK: T1552.001 (credentials in files). CWE: CWE-324 (use of a key past its expiration date), CWE-672
//!   (operation on a resource after expiration or release).
//! - Expected effect: confidentiality lost where the older value still opens a door; integrity kept; availability
//!   lost for whoever presents the older value where it was revoked.
//!
//! ## Why it matters
//! A service that reads its secret from a cache goes on with a value that was rotated because it was stolen.
//! Whether that is refused, noticed and mended shows only when it happens.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "secret-stale"
//! target = "secrets"
//! path = "db-password"
//! older = "db-password.previous"
//! ```
//!
//! ## What to do instead
//! Revoke the older value when the new one is delivered; on a refusal read the secret again; give each value a
//! version and log which one is in use.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1552/001/>
//! - <https://cwe.mitre.org/data/definitions/324.html>
//! - <https://cwe.mitre.org/data/definitions/672.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "secret-stale",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folders of both files",
    attack: &["T1552.001"],
    cwe: &["CWE-324", "CWE-672"],
    effect: Effect {
        confidentiality: "lost where the older value still opens a door",
        integrity: "kept",
        availability: "lost for whoever presents the older value where it was revoked",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "older"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let older = files::read_path(section, "older")?;
    FileChange::named(section, How::Exchanged(older.clone()), "give an older value back to")?
        .with("older", older)
        .boxed(const { &ENTRY })
}
