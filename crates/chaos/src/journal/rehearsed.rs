//! Undos after a death, kept for the figures of `chaos list`: a run that was killed leaves no evidence that could say how
//! it was undone. They decide nothing, and nobody signs them: permits ask the log. Who owns the store can change them.
//!
//! One JSON object a line, in a file beside the journal, which forgets what is closed:
//!
//! ```text
//! {"entry":7,"fault":"secret-unreadable","undoUs":812,"undone":true}
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::Storage;
use serde_json::{Value, json};

use super::JournalEntry;

const PATH: &str = "rehearsed";
/// Nothing is added to a longer file.
const BYTES_MAX: u64 = 4 << 20;

/// How one fault was undone after its supervisor's death.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastUndo {
    /// Catalogue name: `link-slowed`.
    pub fault: String,
    pub undone: bool,
    /// How long it took, in microseconds.
    pub undo_us: u64,
}

/// Adds one. A disk that can't take it keeps nobody from undoing.
pub(super) fn note(storage: &dyn Storage, entry: &JournalEntry, undone: bool, took: Duration) {
    let length = storage.length(PATH).ok().flatten().unwrap_or(0);
    if length > BYTES_MAX {
        return;
    }
    let undo_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let line = json!({"entry": entry.id.0, "fault": entry.fault, "undone": undone, "undoUs": undo_us});
    let _ = storage.append(PATH, format!("{line}\n").as_bytes());
}

/// All of a journal's folder, the last try of each entry. What can't be read is passed over.
pub(super) fn read(storage: &dyn Storage) -> Vec<PastUndo> {
    let bytes = storage.read(PATH).ok().flatten().unwrap_or_default();
    let mut last = BTreeMap::new();
    for line in String::from_utf8_lossy(&bytes).lines() {
        let Ok(said) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let (Some(entry), Some(fault), Some(undone), Some(undo_us)) = (
            said["entry"].as_u64(),
            said["fault"].as_str(),
            said["undone"].as_bool(),
            said["undoUs"].as_u64(),
        ) else {
            continue;
        };
        let fault = fault.to_owned();
        last.insert(entry, PastUndo { fault, undone, undo_us });
    }
    last.into_values().collect()
}
