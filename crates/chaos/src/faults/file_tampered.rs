//! # chaos/file-tampered
//! One bit of a file is another one.
//!
//! ## What it does
//! Changes the lowest bit of the byte at `offset` (without it: the one in the middle) of one file below the
//! target's `root`: a file that is as long as before, of the same owner and mode, in the same place. The original
//! stays beside it under a name of Proofmark's. The probe reads the file again and compares digests.
//!
//! - Undo class: `journaled`. The original file comes back, unless somebody has changed what stands there.
//! - Rights: writing in the folder of the file.
//! - Targets: `files`.
//! - ATT&CK: T1565.001 (stored data manipulation). CWE: CWE-353 (missing support for integrity check), CWE-354
//!   (improper validation of integrity check value).
//! - Expected effect: confidentiality kept; integrity lost, unless whoever reads the file notices; availability
//!   degraded where the file is refused, as it should be.
//!
//! ## Why it matters
//! The smallest change is the one that no size, no name and no date shows. Only whoever compares a digest or a
//! signature notices it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "file-tampered"
//! target = "app"
//! path = "plugins/report.so"
//! ```
//!
//! ## What to do instead
//! Sign what is delivered, verify it where it is loaded, and watch the files of a running host for changes.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://cwe.mitre.org/data/definitions/353.html>
//! - <https://cwe.mitre.org/data/definitions/354.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files::FILE_BYTES_MAX;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "file-tampered",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the file",
    attack: &["T1565.001"],
    cwe: &["CWE-353", "CWE-354"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless whoever reads the file notices",
        availability: "degraded where the file is refused, as it should be",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "offset"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let offset = section.optional_number("offset", 0..=FILE_BYTES_MAX);
    let how = How::Rewritten(Box::new(move |_, old| {
        let at = offset.map_or(Some(old.len() / 2), |offset| usize::try_from(offset).ok());
        let mut new = old.to_vec();
        match at.and_then(|at| new.get_mut(at)) {
            Some(byte) => *byte ^= 1,
            None => return Err(format!("the file has {} bytes, too few for that", old.len())),
        }
        Ok(new)
    }));
    let change = FileChange::named(section, how, "change one bit of")?;
    match offset {
        Some(offset) => change.with("offset", offset),
        None => change,
    }
    .boxed(const { &ENTRY })
}
