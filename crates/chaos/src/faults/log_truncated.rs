//! # chaos/log-truncated
//! The last entries of the append-only log are gone.
//!
//! ## What it does
//! Cuts the last `entries` (without it: one) off the journal of the log below the target's `root`, cleanly, as if
//! they had never been written. The original stays beside it under a name of Proofmark's. The probe reads the file
//! again and compares digests.
//!
//! - Undo class: `journaled`. The original comes back, unless somebody has changed what stands there. While
//!   something is written to the log nothing should be injected: what it added would stay in the shorter journal,
//!   beside the original.
//! - Rights: writing in the store.
//! - Targets: `proofmark`.
//! - ATT&CK: T1070 (indicator removal), T1485 (data destruction). CWE: CWE-354 (improper validation of integrity
//!   check value), CWE-778 (insufficient logging).
//! - Expected effect: confidentiality kept; integrity lost, unless the log is refused; availability kept where the
//!   log is refused, as it should.
//!
//! ## Why it matters
//! The entry that somebody wants gone is mostly the last one: the failed check, the verdict that blocked.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "log-truncated"
//! target = "store"
//! entries = 2
//! ```
//!
//! ## What to do instead
//! Sign the size of the log with its root, and remember both where whoever can cut the log can't write.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1070/>
//! - <https://attack.mitre.org/techniques/T1485/>
//! - <https://cwe.mitre.org/data/definitions/354.html>
//! - <https://cwe.mitre.org/data/definitions/778.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::own_store;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "log-truncated",
    undo_class: UndoClass::Journaled,
    rights: "writing in the store",
    attack: &["T1070", "T1485"],
    cwe: &["CWE-354", "CWE-778"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost, unless the log is refused",
        availability: "kept where the log is refused, as it should",
    },
    targets: &[TargetKind::Proofmark],
    keys: &["target", "entries"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let entries = section.optional_number("entries", 1..=u64::from(u32::MAX)).unwrap_or(1);
    let how = How::Rewritten(Box::new(move |_, old| {
        let leaves = own_store::leaves(old)?;
        let kept = usize::try_from(entries)
            .ok()
            .and_then(|entries| leaves.len().checked_sub(entries));
        let first = kept.and_then(|kept| leaves.get(kept));
        let first = first.ok_or_else(|| format!("the log has {} entries, fewer than {entries}", leaves.len()))?;
        // An entry begins with the length of its leaf.
        Ok(old.get(..first.start - 4).unwrap_or(old).to_vec())
    }));
    let find = Box::new(|_: &_| Ok(own_store::JOURNAL.to_owned()));
    FileChange::found(section, find, how, "cut the log")?
        .with("entries", entries)
        .boxed(const { &ENTRY })
}
