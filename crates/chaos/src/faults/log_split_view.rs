//! # chaos/log-split-view
//! The log shows another history than the one that everybody else has seen.
//!
//! ## What it does
//! Puts another checkpoint in the place of the log's own below the target's `root`: the note in `from`, a file
//! below the root (an earlier checkpoint, say, that is signed and true), or without it the own one with another
//! root, whose signature doesn't fit. The original stays beside it under a name of Proofmark's. The probe reads the
//! file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1036 (masquerading). CWE: CWE-345 (insufficient verification of
//!   data authenticity), CWE-347 (improper verification of cryptographic signature).
//! - Expected effect: confidentiality kept; integrity lost, unless the view is refused; availability kept where the
//!   view is refused, as it should.
//!
//! ## Why it matters
//! A log that can show two histories lets one of them pass the gate and the other the audit. Each alone looks
//! whole.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "log-split-view"
//! target = "store"
//! from = ".proofmark/bundles/ATTEMPT/checkpoint"
//! ```
//!
//! ## What to do instead
//! Compare each checkpoint with the last one seen, by a proof of consistency, and have witnesses sign it.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1036/>
//! - <https://cwe.mitre.org/data/definitions/345.html>
//! - <https://cwe.mitre.org/data/definitions/347.html>
//! - <https://c2sp.org/tlog-checkpoint>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files;
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "log-split-view",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1036"],
    cwe: &["CWE-345", "CWE-347"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the view is refused",
        availability: "kept where the view is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target", "from"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let from = match section.has("from") {
        true => Some(files::read_path(section, "from")?),
        false => None,
    };
    let other = from.clone();
    let how = How::Rewritten(Box::new(move |target, old| match &other {
        Some(other) => files::contents(target, other),
        None => other_root(old),
    }));
    let find = Box::new(|_: &_| Ok(own_store::CHECKPOINT.to_owned()));
    let change = FileChange::found(section, find, how, "show another checkpoint of the log")?;
    match from {
        Some(from) => change.with("from", from),
        None => change,
    }
    .boxed(const { &ENTRY })
}

/// The same note with another root: its third line, base64 (C2SP tlog-checkpoint).
fn other_root(note: &[u8]) -> Result<Vec<u8>, String> {
    let note = String::from_utf8(note.to_vec()).map_err(|_| "the checkpoint is no text")?;
    let mut lines: Vec<String> = note.split('\n').map(str::to_owned).collect();
    let root = lines.get_mut(2).filter(|root| root.is_ascii() && !root.is_empty());
    let root = root.ok_or("the checkpoint has no root")?;
    let first = if root.starts_with('A') { "B" } else { "A" };
    root.replace_range(..1, first);
    Ok(lines.join("\n").into_bytes())
}
