//! What a throwaway copy of the machine is asked for, and what it says when it is gone.
//!
//! Start reading at [`Discard`]; how it is made is in `discard_linux`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Finished;

/// How many changed paths are named at most.
pub const CHANGES_MAX: usize = 4_096;

/// A throwaway copy of the machine: every file of the host can be read and changed there, and no change is kept.
///
/// An attacker who owns the program inside is root over nothing but the copy. It has its own users, mounts, processes, network (a
/// loopback only), host name, shared memory and devices (null, zero, random, terminals); kernel settings are read-only.
/// What it writes lies in memory up to [`Limits::disk_bytes_max`]. It can read what our user can read, and
/// what it prints is handed over: hide keys and stores.
#[derive(Debug, Clone, Default)]
pub struct Discard {
    /// Folders that are empty inside, beside those of the command. Each must exist.
    pub hide: Vec<PathBuf>,
    /// Folders of the host, and where each appears inside, in copies as all else. For what lies below `/tmp` or `/run`,
    /// which are empty inside.
    pub provide: Vec<(PathBuf, PathBuf)>,
    pub limits: Limits,
}

/// How much a copy may take of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of all files together, in memory.
    pub disk_bytes_max: u64,
    pub files_max: u64,
    pub file_bytes_max: u64,
    /// Of private memory, for each process. Where the host runs short, processes of the copy are the first to be killed.
    pub memory_bytes_max: u64,
    /// Of one user; all of the copy's users together have four times as many, 1,024 at least, where the kernel counts
    /// that (Linux 6.14).
    pub processes_max: u32,
    pub open_files_max: u32,
}

impl Default for Limits {
    /// 256 MiB of files, 1 GiB of memory for each of 256 processes.
    fn default() -> Self {
        Self {
            disk_bytes_max: 256 << 20,
            files_max: 65_536,
            file_bytes_max: 128 << 20,
            memory_bytes_max: 1 << 30,
            processes_max: 256,
            open_files_max: 1_024,
        }
    }
}

/// What became of a program in a throwaway copy. The copy is gone.
#[derive(Debug)]
pub struct Discarded {
    pub finished: Finished,
    pub changes: Changes,
    /// Files belonged to the users they belong to on the host, root among them; otherwise all but our own user's belonged to nobody,
    /// and nothing below a folder of others could be changed, root's `/etc` for one. Needs root.
    pub owners_shown: bool,
}

/// What a program changed in its copy. Paths are as it saw them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Files, folders and links that the host doesn't have.
    pub added: BTreeSet<PathBuf>,
    /// Files whose content, owner, mode or times were changed, or that were replaced.
    pub changed: BTreeSet<PathBuf>,
    /// A folder stands for all in it.
    pub removed: BTreeSet<PathBuf>,
    /// There was more, or something could not be read.
    pub cut: bool,
    /// When each path was last changed, by the kernel's clock: seconds and nanoseconds.
    pub(super) times: BTreeMap<PathBuf, (i64, u64)>,
}

impl Changes {
    /// Only what was changed when `mark`, a file that the program made, was there already, without `mark` and its folder; everything
    /// where it was not made.
    #[must_use]
    pub fn after(mut self, mark: &Path) -> Self {
        let Some(from) = self.times.get(mark).copied() else {
            return self;
        };
        let times = &self.times;
        for list in [&mut self.added, &mut self.changed, &mut self.removed] {
            list.retain(|path| {
                // What lies beside the mark is its maker's own.
                !mark.parent().is_some_and(|folder| path.starts_with(folder))
                    && times.get(path).is_none_or(|time| *time >= from)
            });
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.added.len() + self.changed.len() + self.removed.len()
    }
}
