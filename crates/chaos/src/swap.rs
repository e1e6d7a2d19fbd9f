//! A file that is replaced whole, its original kept beside it under another name: not a byte of it is copied or
//! journaled, and it comes back with its owner, mode and times.
//!
//! Who owns the folder can take the original away; it is where the file itself already lay.
//! Start reading at [`Swap::put`], then [`Swap::take_back`].

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use evidence::Digest;
use serde_json::Value;

use crate::compare::text;
use crate::strike::{Record, Undone};

/// Files that are replaced are at most so large.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A file, which one it is now, and what it becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    path: PathBuf,
    /// Inode of the original.
    inode: u64,
    /// Digest of what replaces it.
    after: Digest,
}

impl Swap {
    /// The swap of a file as it is now.
    pub(crate) fn of_file(path: &Path, after: &[u8]) -> Result<Swap, String> {
        let metadata = fs::symlink_metadata(path).map_err(|error| about(path, error))?;
        if !metadata.is_file() {
            return Err(format!("`{}` is no regular file", path.display()));
        }
        Ok(Swap {
            path: path.to_owned(),
            inode: metadata.ino(),
            after: Digest::of(after),
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record::from([
            ("file".to_owned(), self.path.display().to_string().into()),
            ("inode".to_owned(), self.inode.into()),
            ("digest_after".to_owned(), self.after.to_string().into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Swap, String> {
        let inode = record.get("inode").and_then(Value::as_u64);
        let after = text(record, "digest_after")?;
        Ok(Swap {
            path: PathBuf::from(text(record, "file")?),
            inode: inode.ok_or("the record has no `inode`")?,
            after: after.parse().map_err(|_| format!("`{after}` is no digest"))?,
        })
    }

    /// Where the original lies meanwhile.
    pub(crate) fn aside(&self) -> PathBuf {
        self.beside("before")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".proofmark-{suffix}"));
        self.path.with_file_name(name)
    }

    /// True where the file is what the swap has made of it.
    pub(crate) fn is_in_place(&self) -> Result<bool, String> {
        Ok(Digest::of(&read(&self.path)?) == self.after)
    }

    /// Replaces the file. At every moment there is one under its name.
    pub(crate) fn put(&self, content: &[u8]) -> Result<(), String> {
        let failed = |error| about(&self.path, error);
        if Digest::of(content) != self.after {
            return Err(format!("`{}` has changed since it was looked at", self.path.display()));
        }
        let original = fs::symlink_metadata(&self.path).map_err(failed)?;
        if original.ino() != self.inode {
            return if self.is_in_place()? {
                Ok(())
            } else {
                Err(format!("`{}` was replaced since it was looked at", self.path.display()))
            };
        }
        let new = self.beside("new");
        // A file of ours alone: nobody who has made one under that name reads what is written.
        remove_if_there(&new)?;
        let options = File::options().write(true).create_new(true).mode(0o600).open(&new);
        let mut file = options.map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        // Only root may give a file away; anybody else's is their own already.
        let _ = fchown(&file, Some(original.uid()), Some(original.gid()));
        file.set_permissions(Permissions::from_mode(original.mode() & 0o7777))
            .map_err(failed)?;
        file.sync_all().map_err(failed)?;
        match fs::hard_link(&self.path, self.aside()) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && self.has_aside() => {}
            Err(error) => return Err(about(&self.aside(), error)),
        }
        fs::rename(&new, &self.path).map_err(failed)?;
        self.sync_folder().map_err(failed)
    }

    /// Puts the original back where the file is still ours.
    pub(crate) fn take_back(&self) -> Result<Undone, String> {
        let failed = |error| about(&self.path, error);
        match fs::symlink_metadata(&self.path) {
            Ok(found) if found.ino() == self.inode => self.clear().map(|()| Undone::Restored),
            Ok(_) if self.is_in_place()? => {
                if !self.has_aside() {
                    let aside = self.aside();
                    return Err(format!("the original is not at `{}` any more", aside.display()));
                }
                fs::rename(self.aside(), &self.path).map_err(failed)?;
                self.clear()?;
                self.sync_folder().map_err(failed)?;
                Ok(Undone::Restored)
            }
            Ok(_) => Ok(self.foreign("changed")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.foreign("removed")),
            Err(error) => Err(failed(error)),
        }
    }

    fn foreign(&self, what: &str) -> Undone {
        let mut said = format!("somebody has {what} `{}` since", self.path.display());
        if self.has_aside() {
            said.push_str(&format!("; what was there before lies at `{}`", self.aside().display()));
        }
        Undone::Foreign(said)
    }

    fn has_aside(&self) -> bool {
        fs::symlink_metadata(self.aside()).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// Removes what we made beside the file, when the original stands under its own name.
    fn clear(&self) -> Result<(), String> {
        if self.has_aside() {
            fs::remove_file(self.aside()).map_err(|error| about(&self.path, error))?;
        }
        remove_if_there(&self.beside("new"))
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        File::open(folder)?.sync_all()
    }
}

/// A file's contents, bounded.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| about(path, error))?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| about(path, error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

fn about(path: &Path, error: std::io::Error) -> String {
    format!("`{}`: {error}", path.display())
}

fn remove_if_there(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(about(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with one file, and the swap of it.
    fn one(folder: &Path) -> (PathBuf, Swap) {
        let path = folder.join("config");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let swap = Swap::of_file(&path, b"after").unwrap();
        assert_eq!(Swap::of(&swap.record()), Ok(swap.clone()));
        (path, swap)
    }

    #[test]
    fn the_original_comes_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, swap) = one(folder.path());
        for _ in 0..2 {
            swap.put(b"after").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "after");
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        }
        for _ in 0..2 {
            assert_eq!(swap.take_back(), Ok(Undone::Restored));
            assert_eq!(fs::read_to_string(&path).unwrap(), "before");
            assert_eq!(fs::metadata(&path).unwrap().ino(), swap.inode);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn cut_short_at_each_point_it_is_taken_back() {
        for step in 0..3 {
            let folder = tempfile::tempdir().unwrap();
            let (path, swap) = one(folder.path());
            if step >= 1 {
                fs::write(swap.beside("new"), "aft").unwrap();
            }
            if step >= 2 {
                fs::hard_link(&path, swap.aside()).unwrap();
            }
            assert_eq!(swap.take_back(), Ok(Undone::Restored));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn what_somebody_else_wrote_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (path, swap) = one(folder.path());
        swap.put(b"after").unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(swap.take_back(), Ok(Undone::Foreign(said)) if said.contains("config.proofmark-before")));
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        fs::remove_file(&path).unwrap();
        assert!(matches!(swap.take_back(), Ok(Undone::Foreign(said)) if said.contains("removed")));
        assert!(swap.put(b"other").is_err());
    }
}
