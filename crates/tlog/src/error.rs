//! What can go wrong with a log.

use evidence::{Hash, KeyError, StorageError, VerifyError};

use crate::format::ENTRY_BYTES_MAX;

/// Why the log refuses or stopped. After any error of [`Log::append`](crate::Log::append) but
/// [`EntryTooLarge`](LogError::EntryTooLarge) the log has to be opened again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("log storage: {0}")]
    Storage(#[from] StorageError),
    #[error("log key: {0}")]
    Key(#[from] KeyError),
    #[error("the log's key is {0}, checkpoints are signed with ed25519")]
    Algorithm(&'static str),
    #[error("log origin `{0}` is empty, over 1024 bytes, or has white space or `+` in it")]
    Origin(String),
    #[error("entry has {bytes} bytes, the log takes up to {ENTRY_BYTES_MAX}")]
    EntryTooLarge { bytes: usize },
    #[error("the log stopped after a failure and must be opened again: {0}")]
    Poisoned(String),
    #[error("`journal` was written by somebody else meanwhile: it has {found} bytes where {expected} are expected")]
    Changed { expected: u64, found: u64 },
    #[error("`journal` is not a log journal: {0}")]
    NotAJournal(&'static str),
    #[error("`journal` has format version {0}, this program reads version 1: update Proofmark")]
    Version(u32),
    #[error("`journal` belongs to the log `{found}`, not to `{expected}`")]
    OtherLog { found: String, expected: String },
    #[error("`checkpoint`: {0}")]
    Checkpoint(#[from] VerifyError),
    #[error("`checkpoint` is not UTF-8")]
    CheckpointText,
    #[error("`{file}` is missing although the log has entries: it was removed, or the store was rolled back")]
    Missing { file: &'static str },
    #[error(
        "`journal` was rolled back or damaged: `checkpoint` commits to {checkpoint} entries, \
         the journal holds {journal} whole ones"
    )]
    RolledBack { checkpoint: u64, journal: u64 },
    #[error(
        "`journal` was changed: its first {size} entries have root {journal}, `checkpoint` commits to {checkpoint}"
    )]
    OtherRoot { size: u64, journal: Hash, checkpoint: Hash },
    #[error("entry {index} in `journal` is no longer what the log holds")]
    Damaged { index: u64 },
    #[error("{asked} is beyond the log's {size} entries")]
    OutOfRange { asked: u64, size: u64 },
}
