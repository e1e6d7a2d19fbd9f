//! A file replaced as a whole, and put back: what faults on certificates and configurations share.
//!
//! The original stays on disk beside its replacement, under a second name of the same inode, so that putting it back
//! restores owner, mode, times and attributes along with the contents, and no copy of a secret is ever made. The
//! record holds paths and digests only. A file that is neither the original nor the replacement is somebody else's: it is left.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use evidence::Digest;

use crate::files::FILE_BYTES_MAX;
use crate::strike::{Record, Undone};

/// Which file is replaced, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// The file itself: no link.
    path: PathBuf,
    before: Digest,
    after: Digest,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TakenBack {
    /// The original stood there still, or again.
    Untouched,
    Restored,
    Foreign(String),
}

impl From<TakenBack> for Undone {
    fn from(taken_back: TakenBack) -> Undone {
        match taken_back {
            TakenBack::Untouched | TakenBack::Restored => Undone::Restored,
            TakenBack::Foreign(what) => Undone::Foreign(what),
        }
    }
}

impl Replacement {
    /// What is there now, to be replaced by `after`. A link is followed to the file that it names.
    pub(crate) fn survey(path: &Path, before: &[u8], after: &[u8]) -> Result<Replacement, String> {
        let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
        let path = fs::canonicalize(path).map_err(failed)?;
        let replacement = Replacement {
            path,
            before: Digest::of(before),
            after: Digest::of(after),
        };
        if replacement.before == replacement.after {
            return Err(format!(
                "`{}` is already what it would become",
                replacement.path.display()
            ));
        }
        Ok(replacement)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn record(&self) -> Record {
        Record::from([
            ("file".to_owned(), self.path.display().to_string().into()),
            ("digest_before".to_owned(), self.before.to_string().into()),
            ("digest_after".to_owned(), self.after.to_string().into()),
            (
                "original_kept_as".to_owned(),
                self.beside("kept").display().to_string().into(),
            ),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Replacement, String> {
        let text = |key: &str| {
            let value = record.get(key).and_then(serde_json::Value::as_str);
            value.ok_or_else(|| format!("the record has no `{key}`"))
        };
        let digest = |key: &str| text(key)?.parse().map_err(|_| format!("`{key}` is no digest"));
        Ok(Replacement {
            path: PathBuf::from(text("file")?),
            before: digest("digest_before")?,
            after: digest("digest_after")?,
        })
    }

    /// True when the replacement stands there.
    pub(crate) fn stands(&self) -> Result<bool, String> {
        Ok(digest(&self.path)?.as_ref() == Some(&self.after))
    }

    /// Puts `after` in the file's place. It is not in the way of a second call.
    pub(crate) fn apply(&self, after: &[u8]) -> Result<(), String> {
        if Digest::of(after) != self.after {
            return Err("what would be written is not what was planned".to_owned());
        }
        match digest(&self.path)? {
            Some(found) if found == self.after => return Ok(()),
            Some(found) if found == self.before => {}
            _ => return Err(format!("`{}` was changed since it was looked at", self.path.display())),
        }
        self.keep_original()?;
        let new = self.beside("new");
        let written = self.write_like_original(&new, after);
        let placed = written.and_then(|()| fs::rename(&new, &self.path));
        placed.map_err(|error| {
            let _ = fs::remove_file(&new);
            format!("`{}` can't be replaced: {error}", self.path.display())
        })?;
        sync_folder(&self.path);
        Ok(())
    }

    /// Puts the original back where the replacement still stands.
    pub(crate) fn take_back(&self) -> Result<TakenBack, String> {
        let kept = self.beside("kept");
        let _ = fs::remove_file(self.beside("new"));
        match digest(&self.path)? {
            Some(found) if found == self.after => {
                if digest(&kept)?.as_ref() != Some(&self.before) {
                    return Err(format!(
                        "the original of `{}` is not kept as `{}` any more",
                        self.path.display(),
                        kept.display()
                    ));
                }
                fs::rename(&kept, &self.path)
                    .map_err(|error| format!("`{}` can't be put back: {error}", self.path.display()))?;
                sync_folder(&self.path);
                Ok(TakenBack::Restored)
            }
            Some(found) if found == self.before => {
                // Cut short after the second name and before the replacement.
                if digest(&kept)?.as_ref() == Some(&self.before) {
                    let _ = fs::remove_file(&kept);
                }
                Ok(TakenBack::Untouched)
            }
            _ => {
                let mut what = format!("`{}` was changed by somebody else since", self.path.display());
                if kept.exists() {
                    what.push_str(&format!("; the original is kept as `{}`", kept.display()));
                }
                Ok(TakenBack::Foreign(what))
            }
        }
    }

    fn keep_original(&self) -> Result<(), String> {
        let kept = self.beside("kept");
        match fs::hard_link(&self.path, &kept) {
            Ok(()) => {
                sync_folder(&kept);
                Ok(())
            }
            Err(_) if digest(&kept)?.as_ref() == Some(&self.before) => Ok(()),
            Err(error) => Err(format!(
                "the original of `{}` can't be kept as `{}`: {error}",
                self.path.display(),
                kept.display()
            )),
        }
    }

    /// A new file with the owner and mode of the one it replaces.
    fn write_like_original(&self, new: &Path, bytes: &[u8]) -> std::io::Result<()> {
        let original = fs::symlink_metadata(&self.path)?;
        let _ = fs::remove_file(new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(new)?;
        let owner = file.metadata()?;
        if (owner.uid(), owner.gid()) != (original.uid(), original.gid()) {
            fchown(&file, Some(original.uid()), Some(original.gid()))?;
        }
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(original.mode() & 0o7777))?;
        file.sync_all()
    }

    /// A hidden name in the same folder, of this replacement alone.
    fn beside(&self, role: &str) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let mark: String = self.before.hex().chars().take(12).collect();
        self.path.with_file_name(format!(".{name}.{role}-{mark}"))
    }
}

/// What stands in a file of the target's, bounded.
pub(crate) fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("`{}`: {error}", path.display());
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

/// The digest of a file; `None` where there is none.
fn digest(path: &Path) -> Result<Option<Digest>, String> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(Digest::of(&contents(path)?)))
}

/// Makes the names in a file's folder durable, where the file system can.
fn sync_folder(path: &Path) {
    if let Some(folder) = path.parent().and_then(|folder| File::open(folder).ok()) {
        let _ = folder.sync_all();
    }
}
