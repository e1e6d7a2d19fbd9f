//! What is written: the files of a tree, their digest, their git history, and the secrets in both.
//!
//! It deliberately has no network, runs no code of the tree and obeys no configuration of it: git objects are
//! read straight from the object database, so hooks, filters, `fsmonitor`, external diffs, includes, replace
//! refs and the environment's `GIT_*` play no part. The tree and its repository are untrusted input: whoever
//! owns them can hide nothing by ignoring a committed file, only make us report a [`evidence::Gap`].
//!
//! Start reading at [`walk`], then [`scan_secrets`]; the rules are one file each under `rules/`, and the
//! engine that finds them is `matcher.rs`.

mod checks;
mod decode;
mod generic;
mod history;
mod matcher;
mod redact;
mod repository;
mod rule;
mod rules;
mod scan;
mod suppress;
#[cfg(test)]
mod tests;
mod walk;

pub use checks::{base62_6, crc32};
pub use redact::{Redactor, VALUE_BYTES_MIN};
pub use repository::{Head, Revision, file_at, file_at_head, head, paths_at};
pub use rule::{Candidate, Find, Rule, Validation, page, rules, rules_digest};
pub use scan::{Progress, ScanOptions, scan_secrets};
pub use walk::{FILE_BYTES_MAX, Tree, TreeFile, WalkOptions, read, tree_digest, walk};

// The catalogue's generated list names its entries so.
use rule::Rule as Entry;

/// The world failed: a folder that can't be read, a broken repository. What is merely not looked at is a
/// [`evidence::Gap`] instead.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("can't {operation} `{path}`: {reason}")]
    Io {
        operation: &'static str,
        path: String,
        reason: String,
    },
    #[error("can't read the git repository at `{path}`: {reason}")]
    Git { path: String, reason: String },
    #[error("`{path}` has {bytes} bytes, at most {bytes_max} are read")]
    TooLarge { path: String, bytes: u64, bytes_max: u64 },
    #[error("can't start {threads} threads: {reason}")]
    Threads { threads: usize, reason: String },
}
