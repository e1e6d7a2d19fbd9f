//! Files as an argument.

use std::fmt;

/// The files below one root, with durability made explicit: nothing written is promised before it is synced.
///
/// Journal, undo, lease and lock stores write through this, so that simulated storage can drop, tear and reorder
/// what was not synced. Paths are relative, `/` between parts, without `.` or `..`.
///
/// What an attacker who owns the storage can do: read all of it, destroy it, and roll it back. Not forge what is
/// signed, nor change what a checkpoint held elsewhere commits to without being seen.
pub trait Storage: Send + Sync {
    /// The whole file, or `None` where there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Part of a file: up to `length` bytes from `offset`, fewer at its end; `None` where there is no file.
    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StorageError>;

    /// Length in bytes; `None` where there is no file.
    fn length(&self, path: &str) -> Result<Option<u64>, StorageError>;

    /// Appends, creating the file and its folders. Not durable before [`Storage::sync`].
    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Cuts a file to `length` bytes. Not durable before [`Storage::sync`].
    fn truncate(&self, path: &str, length: u64) -> Result<(), StorageError>;

    /// Puts the whole file in place at once and durably: temporary file, fdatasync, rename, sync of the folder.
    /// After a crash the file is the old one or the new one, never a mixture.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes everything appended to or truncated in `path` durable, its name included.
    fn sync(&self, path: &str) -> Result<(), StorageError>;

    /// Removes a file durably; that it was not there is no error.
    fn remove(&self, path: &str) -> Result<(), StorageError>;

    /// Names directly below `folder` (empty string: the root), sorted; none where it doesn't exist.
    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError>;
}

/// The storage failed. After a failed sync nothing that was not synced before may be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct StorageError {
    pub operation: &'static str,
    pub path: String,
    pub reason: String,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't {} `{}`: {}", self.operation, self.path, self.reason)
    }
}
