//! The git repository around a tree, read straight from its object database.
//!
//! Not here: walking history (`history.rs`). The repository is untrusted: of its configuration only the format
//! version and the hash function matter; replace refs are not followed.

use std::path::{Path, PathBuf};

use gix::bstr::ByteSlice;
use gix::objs::tree::EntryKind;

use crate::SourceError;
use crate::walk::{escape, os_bytes, unescape};

/// The commit a tree stands at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Hexadecimal commit id.
    pub commit: String,
    /// The tree's root inside the repository, `/` between parts, empty for the repository's own root.
    pub prefix: String,
}

/// Which commit to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    Head,
    /// The first parent of HEAD.
    Parent,
}

/// HEAD of the repository around `root`; `None` without repository or without commit.
pub fn head(root: &Path) -> Option<Head> {
    let found = Repository::around(root).ok()??;
    let commit = found.commit(Revision::Head).ok()??;
    Some(Head {
        commit: commit.to_string(),
        prefix: found.prefix_text(),
    })
}

/// The content of a file below `root` as the HEAD commit has it; `None` where it has no such file.
pub fn file_at_head(root: &Path, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
    file_at(root, Revision::Head, path)
}

/// The content of a file below `root` in a commit; `None` where there is no such commit or file.
pub fn file_at(root: &Path, revision: Revision, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
    let Some(found) = Repository::around(root)? else {
        return Ok(None);
    };
    let Some(tree) = found.tree(revision)? else {
        return Ok(None);
    };
    let path = unescape(path);
    let parts: Vec<&[u8]> = path
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty())
        .collect();
    let Some((kind, id)) = found.descend(tree, &parts)? else {
        return Ok(None);
    };
    match kind {
        EntryKind::Blob | EntryKind::BlobExecutable => found.object(id).map(Some),
        _ => Ok(None),
    }
}

/// The paths of all files and symlinks below `root` in a commit, as in [`crate::TreeFile`], sorted.
pub fn paths_at(root: &Path, revision: Revision) -> Result<Vec<String>, SourceError> {
    let Some(found) = Repository::around(root)? else {
        return Ok(Vec::new());
    };
    let Some(tree) = found.tree(revision)? else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    let mut pending = vec![(tree, String::new())];
    while let Some((tree, folder)) = pending.pop() {
        for (kind, name, id) in found.entries(tree)? {
            let path = format!("{folder}{}", escape(&name));
            match kind {
                EntryKind::Tree if folder.len() < FOLDER_BYTES_MAX => pending.push((id, format!("{path}/"))),
                EntryKind::Tree | EntryKind::Commit => {}
                EntryKind::Blob | EntryKind::BlobExecutable | EntryKind::Link => paths.push(path),
            }
        }
    }
    paths.sort();
    Ok(paths)
}

/// A folder's path longer than this is nothing an operating system could hold; a tree that contains itself by a
/// hash collision, or one made to be endlessly deep, stops here.
pub(crate) const FOLDER_BYTES_MAX: usize = 16 << 10;

/// The folder with `.git` around `root`.
pub(crate) fn enclosing(root: &Path) -> Option<PathBuf> {
    root.ancestors()
        .find(|folder| folder.join(".git").symlink_metadata().is_ok())
        .map(Path::to_owned)
}

/// An opened repository and where the tree's root stands in it.
pub(crate) struct Repository {
    pub git: gix::Repository,
    /// Parts of the path from the repository's root to the tree's.
    pub prefix: Vec<Vec<u8>>,
    folder: PathBuf,
}

impl Repository {
    pub fn around(root: &Path) -> Result<Option<Repository>, SourceError> {
        let io = |error: std::io::Error| SourceError::Io {
            operation: "find",
            path: root.display().to_string(),
            reason: error.to_string(),
        };
        let root = root.canonicalize().map_err(io)?;
        let Some(folder) = enclosing(&root) else {
            return Ok(None);
        };
        let options = gix::open::Options::isolated()
            .with(gix::sec::Trust::Reduced)
            .bail_if_untrusted(false)
            .strict_config(false);
        let mut git = options
            .open(&folder)
            .map_err(|error| SourceError::Git {
                path: folder.display().to_string(),
                reason: error.to_string(),
            })?
            .to_thread_local();
        git.objects.ignore_replacements = true;
        let relative = root.strip_prefix(&folder).unwrap_or(Path::new(""));
        let prefix = relative
            .components()
            .map(|part| os_bytes(Path::new(part.as_os_str())))
            .collect();
        Ok(Some(Repository { git, prefix, folder }))
    }

    pub fn prefix_text(&self) -> String {
        self.prefix
            .iter()
            .map(|part| escape(part))
            .collect::<Vec<_>>()
            .join("/")
    }

    /// The commit a revision names; `None` before the first commit, or for the parent of the first one.
    pub fn commit(&self, revision: Revision) -> Result<Option<gix::ObjectId>, SourceError> {
        let head = self.git.head().map_err(|error| self.error(&error))?;
        if head.is_unborn() {
            return Ok(None);
        }
        let id = head.into_peeled_id().map_err(|error| self.error(&error))?.detach();
        if revision == Revision::Head {
            return Ok(Some(id));
        }
        let bytes = self.object(id)?;
        let parents = gix::objs::CommitRefIter::from_bytes(&bytes, self.git.object_hash());
        Ok(parents.parent_ids().next())
    }

    /// The tree of the root below a revision; `None` where the commit has none there.
    pub fn tree(&self, revision: Revision) -> Result<Option<gix::ObjectId>, SourceError> {
        let Some(commit) = self.commit(revision)? else {
            return Ok(None);
        };
        let Some(bytes) = self.object_if_there(commit)? else {
            return Ok(None);
        };
        let tree = gix::objs::CommitRefIter::from_bytes(&bytes, self.git.object_hash())
            .tree_id()
            .map_err(|error| self.error(&error))?;
        let parts: Vec<&[u8]> = self.prefix.iter().map(Vec::as_slice).collect();
        Ok(self
            .descend(tree, &parts)?
            .filter(|(kind, _)| *kind == EntryKind::Tree)
            .map(|(_, id)| id))
    }

    /// What stands at a path below a tree.
    pub fn descend(
        &self,
        tree: gix::ObjectId,
        parts: &[&[u8]],
    ) -> Result<Option<(EntryKind, gix::ObjectId)>, SourceError> {
        let mut at = (EntryKind::Tree, tree);
        for part in parts {
            if at.0 != EntryKind::Tree {
                return Ok(None);
            }
            let Some((kind, _, id)) = self.entries(at.1)?.into_iter().find(|(_, name, _)| name == part) else {
                return Ok(None);
            };
            at = (kind, id);
        }
        Ok(Some(at))
    }

    pub fn entries(&self, tree: gix::ObjectId) -> Result<Vec<(EntryKind, Vec<u8>, gix::ObjectId)>, SourceError> {
        let bytes = self.object(tree)?;
        gix::objs::TreeRefIter::from_bytes(&bytes, self.git.object_hash())
            .map(|entry| {
                let entry = entry.map_err(|error| self.error(&error))?;
                Ok((
                    entry.mode.kind(),
                    entry.filename.as_bytes().to_vec(),
                    entry.oid.to_owned(),
                ))
            })
            .collect()
    }

    pub fn object(&self, id: gix::ObjectId) -> Result<Vec<u8>, SourceError> {
        let object = self.git.find_object(id).map_err(|error| self.error(&error))?;
        Ok(object.detach().data)
    }

    fn object_if_there(&self, id: gix::ObjectId) -> Result<Option<Vec<u8>>, SourceError> {
        let object = self.git.try_find_object(id).map_err(|error| self.error(&error))?;
        Ok(object.map(|object| object.detach().data))
    }

    pub fn error(&self, error: &dyn std::fmt::Display) -> SourceError {
        SourceError::Git {
            path: self.folder.display().to_string(),
            reason: error.to_string(),
        }
    }
}
