//! # chaos/log-entry-tampered
//! An entry of the append-only log is another one.
//!
//! ## What it does
//! Changes the lowest bit of the last byte but one of entry `index` (without it: the first) in the journal of the
//! log below the target's `root`. The original stays beside it under a name of Proofmark's. The probe reads the
//! file again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there. While
//!   something is written to the log nothing should be injected: what it added would stay in the changed journal,
//!   beside the original.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1070 (indicator removal). CWE: CWE-354 (improper validation of
//!   integrity check value).
//! - Expected effect: confidentiality kept; integrity lost, unless the log is refused; availability kept where the
//!   log is refused, as it should.
//!
//! ## Why it matters
//! A log that somebody can edit proves nothing. The signed root over all entries has to show each change of each
//! bit.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "log-entry-tampered"
//! target = "store"
//! index = 3
//! ```
//!
//! ## What to do instead
//! Check the whole log against its signed checkpoint when it is opened, and let others keep checkpoints, too.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1070/>
//! - <https://cwe.mitre.org/data/definitions/354.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "log-entry-tampered",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1565.001", "T1070"],
    cwe: &["CWE-354"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the log is refused",
        availability: "kept where the log is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target", "index"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let index = section.optional_number("index", 0..=u64::from(u32::MAX)).unwrap_or(0);
    let how = How::Rewritten(Box::new(move |_, old| {
        let leaves = own_store::leaves(old)?;
        let leaf = usize::try_from(index).ok().and_then(|index| leaves.get(index));
        let at = leaf.filter(|leaf| leaf.len() > 1).map(|leaf| leaf.end - 2);
        let mut new = old.to_vec();
        match at.and_then(|at| new.get_mut(at)) {
            Some(byte) => *byte ^= 1,
            None => return Err(format!("the log has {} entries, and no {index}", leaves.len())),
        }
        Ok(new)
    }));
    let find = Box::new(|_: &_| Ok(own_store::JOURNAL.to_owned()));
    FileChange::found(section, find, how, "change an entry of the log")?
        .with("index", index)
        .boxed(const { &ENTRY })
}
