//! What faults on files share: a path below a target's root that is reached without following links out of it, and
//! changes that are taken back only where nobody else has changed the same since.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use evidence::Digest;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fchmod, openat2};

use crate::read::Section;
use crate::strike::{Record, Undone};
use crate::target::Target;

/// A file of ours that a fault reads whole, at most so many bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 16 << 20;

/// A path below a target's root: relative, no `..`.
pub(crate) fn read_path(section: &Section<'_>, key: &str) -> Option<String> {
    let path = section.text(key)?;
    let inside = !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if inside {
        return Some(path);
    }
    let message = format!("`{path}` is not a path below the target's `root`");
    section.problem(
        key,
        "chaos/bad-path",
        message,
        "write it from `root`, `/` between parts",
    );
    None
}

/// Opens a path below the target's `root` without following a link out of it. Only its metadata can be reached by
/// what is returned, so that its own mode doesn't matter.
pub(crate) fn open(target: &Target, path: &str) -> Result<OwnedFd, String> {
    reach(target, path, OFlags::PATH | OFlags::NOFOLLOW)
}

/// The same, with its contents.
pub(crate) fn reach(target: &Target, path: &str, flags: OFlags) -> Result<OwnedFd, String> {
    let root = target.text("root")?;
    let failed = |error: rustix::io::Errno| format!("`{path}` below `{root}`: {}", std::io::Error::from(error));
    let folder = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, root, folder, Mode::empty()).map_err(failed)?;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(&folder, path, flags | OFlags::CLOEXEC, Mode::empty(), within).map_err(failed)
}

/// The permissions of a file.
pub(crate) fn mode(file: &OwnedFd) -> Result<u32, String> {
    rustix::fs::fstat(file)
        .map(|stat| stat.st_mode & 0o7777)
        .map_err(|error| std::io::Error::from(error).to_string())
}

/// The digest of a file's contents.
pub(crate) fn digest(target: &Target, path: &str) -> Result<Digest, String> {
    Ok(Digest::of(&contents(target, path)?))
}

/// A file's contents, bounded.
pub(crate) fn contents(target: &Target, path: &str) -> Result<Vec<u8>, String> {
    let file = File::from(reach(target, path, OFlags::RDONLY)?);
    let size = file.metadata().map_err(|error| error.to_string())?.size();
    if size > FILE_BYTES_MAX {
        return Err(format!("`{path}` has {size} bytes, more than {FILE_BYTES_MAX}"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A change of permissions: from, to, and of which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModeChange {
    inode: u64,
    from: u32,
    to: u32,
}

impl ModeChange {
    /// The change to make to a file as it is now.
    pub(crate) fn to(file: &OwnedFd, to: u32) -> Result<ModeChange, String> {
        let stat = rustix::fs::fstat(file).map_err(|error| std::io::Error::from(error).to_string())?;
        Ok(ModeChange {
            inode: stat.st_ino,
            from: stat.st_mode & 0o7777,
            to,
        })
    }

    pub(crate) fn record(self) -> Record {
        Record::from([
            ("inode".to_owned(), self.inode.into()),
            ("mode_before".to_owned(), self.from.into()),
            ("mode_after".to_owned(), self.to.into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<ModeChange, String> {
        let number = |key: &str| {
            record
                .get(key)
                .and_then(serde_json::Value::as_u64)
                .ok_or_else(|| format!("the record has no `{key}`"))
        };
        let mode = |key| number(key).and_then(|mode| u32::try_from(mode).map_err(|_| format!("`{key}` is no mode")));
        Ok(ModeChange {
            inode: number("inode")?,
            from: mode("mode_before")?,
            to: mode("mode_after")?,
        })
    }

    pub(crate) fn apply(self, file: &OwnedFd) -> Result<(), String> {
        set_mode(file, self.to)
    }

    /// Puts the mode back where it is still what this change made it.
    pub(crate) fn take_back(self, file: &OwnedFd) -> Result<Undone, String> {
        let found = ModeChange::to(file, 0)?;
        if found.inode != self.inode {
            return Ok(Undone::Foreign("the file was replaced".to_owned()));
        }
        if found.from == self.to && self.from != self.to {
            set_mode(file, self.from)?;
            return Ok(Undone::Restored);
        }
        if found.from == self.from {
            return Ok(Undone::Restored);
        }
        Ok(Undone::Foreign(format!("its mode is {:o} now", found.from)))
    }
}

/// `fchmod` doesn't work on a descriptor that was opened for its path alone; its name under `/proc` does.
fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), String> {
    use std::os::fd::AsRawFd;
    let set = rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::from_raw_mode(mode));
    set.or_else(|_| fchmod(file, Mode::from_raw_mode(mode)))
        .map_err(|error| std::io::Error::from(error).to_string())
}
