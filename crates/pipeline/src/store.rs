//! `.proofmark/`: what a release leaves beside the code.
//!
//! ```text
//! FORMAT             version and id of the store
//! lock               one writer at a time
//! log/               the append-only log (crate `tlog`)
//! envelopes/         signed envelopes, named after the hash of their log leaf
//! blobs/             artifacts, named after their SHA-256
//! undo/              journal of what was injected and how it is undone (crate `chaos`)
//! leases/            journal of leases (crate `credentials`)
//! bundles/           what `verify` reads, one folder an attempt
//! run/               scratch of the release that runs now; removed at its end or at the next start
//! ```
//!
//! What an attacker who owns this folder can do: delete it, hide it, roll it back to an earlier state (seen on this
//! machine, which remembers the last checkpoint elsewhere), and read what services logged. Not forge evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::{Digest, Storage, StorageError};
use host::{DiskStorage, FileLock};

use crate::Error;

/// Name of the folder.
pub const FOLDER: &str = ".proofmark";
const FORMAT_VERSION: u32 = 1;
/// How long a second writer waits for the first.
const LOCK_WAIT_MS_MAX: u64 = 10_000;

/// An opened store.
pub struct Store {
    pub path: PathBuf,
    /// Random id given at creation: names the log.
    pub id: String,
    storage: Arc<dyn Storage>,
    _lock: Option<FileLock>,
    is_read_only: bool,
}

impl Store {
    /// Opens or makes the store of a tree, as its one writer.
    pub fn open(tree: &Path, random: &mut dyn FnMut() -> [u8; 32]) -> Result<Store, Error> {
        let path = tree.join(FOLDER);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| Error::io("create", &path, &e))?;
        refuse_others(&path)?;
        let lock = FileLock::acquire(&path.join("lock"), LOCK_WAIT_MS_MAX).map_err(|error| {
            Error::usage(
                error.to_string(),
                "wait for the other `proofmark` of this tree to end; `proofmark chaos stop` ends an experiment, Ctrl-C a release",
            )
        })?;
        let storage = Arc::new(DiskStorage::open(&path)?);
        let id = match storage.read("FORMAT")? {
            Some(bytes) => read_format(&path, &bytes)?,
            None => {
                let id = Digest(random()).hex()[..16].to_owned();
                storage.replace(".gitignore", b"*\n")?;
                storage.replace(
                    "FORMAT",
                    format!("proofmark-store {FORMAT_VERSION}\nid {id}\n").as_bytes(),
                )?;
                id
            }
        };
        Ok(Store {
            path,
            id,
            storage,
            _lock: Some(lock),
            is_read_only: false,
        })
    }

    /// Opens a store that is there to look something up, beside whoever writes it: nothing reaches the disk. What is
    /// being written at the moment may be missing.
    pub fn read_only(tree: &Path) -> Result<Store, Error> {
        let path = tree.join(FOLDER);
        let storage = Arc::new(Unwritten::open(&path)?);
        let format = storage.read("FORMAT")?.unwrap_or_default();
        Ok(Store {
            id: read_format(&path, &format)?,
            path,
            storage,
            _lock: None,
            is_read_only: true,
        })
    }

    /// Opens a store that can't be written as its one user, to undo what stands in it all the same. `None` where it can
    /// be written.
    pub fn unwritable(tree: &Path) -> Result<Option<Store>, Error> {
        let path = tree.join(FOLDER);
        if rustix::fs::access(&path, rustix::fs::Access::WRITE_OK).is_ok() {
            return Ok(None);
        }
        refuse_others(&path)?;
        let lock = path.join("lock");
        let held = FileLock::held(&lock, LOCK_WAIT_MS_MAX)
            .map_err(|error| Error::usage(error.to_string(), "wait for the other `proofmark` of this tree to end"))?;
        Ok(Some(Store {
            _lock: Some(held),
            ..Store::read_only(tree)?
        }))
    }

    /// Whether somebody writes it now.
    pub fn is_busy(tree: &Path) -> bool {
        let lock = fs::File::open(tree.join(FOLDER).join("lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }

    /// Whether a tree has a store.
    pub fn exists(tree: &Path) -> bool {
        tree.join(FOLDER).join("FORMAT").exists()
    }

    /// The storage below one of the store's folders.
    pub fn part(&self, folder: &str) -> Result<Arc<dyn Storage>, Error> {
        let path = self.path.join(folder);
        Ok(if self.is_read_only {
            Arc::new(Unwritten::open(&path)?)
        } else {
            Arc::new(DiskStorage::open(&path)?)
        })
    }

    /// Keeps `bytes` durably; the answer is their SHA-256.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, Error> {
        let digest = Digest::of(bytes);
        let path = blob_path(&digest);
        if self.storage.length(&path)? != Some(bytes.len() as u64) {
            self.storage.replace(&path, bytes)?;
        }
        Ok(digest)
    }

    /// What was kept under `digest`; bytes that no longer have that digest are refused.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        match self.storage.read(&blob_path(digest))? {
            Some(bytes) if Digest::of(&bytes) == *digest => Ok(Some(bytes)),
            Some(_) => Err(Error::refused(
                format!("the stored artifact sha256:{digest} has been changed"),
                "remove it below `.proofmark/blobs` and build again",
            )),
            None => Ok(None),
        }
    }

    /// Where the running release has its scratch.
    pub fn scratch_path(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Scratch of the running release: emptied first.
    pub fn scratch(&self) -> Result<PathBuf, Error> {
        let path = self.scratch_path();
        self.clear_scratch()?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|e| Error::io("create", &path, &e))?;
        Ok(path)
    }

    /// Removes the scratch folder.
    pub fn clear_scratch(&self) -> Result<(), Error> {
        let path = self.scratch_path();
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &path, &error)),
            _ => Ok(()),
        }
    }

    /// Removes what a killed writer had not yet put in place: half-written files that nothing refers to.
    pub fn sweep(&self) -> Result<(), Error> {
        let mut folders = vec![self.path.clone()];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).map_err(|error| Error::io("read", &folder, &error))?;
            for entry in entries.filter_map(Result::ok) {
                let path = entry.path();
                let kind = entry.file_type().map_err(|error| Error::io("read", &path, &error))?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let unfinished = name.starts_with(".replacing-") || name.ends_with(".tmp");
                let removed = match (unfinished, kind.is_dir()) {
                    (true, true) => fs::remove_dir_all(&path),
                    (true, false) => fs::remove_file(&path),
                    (false, true) => {
                        folders.push(path.clone());
                        Ok(())
                    }
                    (false, false) => Ok(()),
                };
                removed.map_err(|error| Error::io("remove", &path, &error))?;
            }
        }
        Ok(())
    }

    pub fn bundle_path(&self, attempt: &Digest) -> PathBuf {
        self.path.join("bundles").join(attempt.hex())
    }
}

/// A folder whose files are read from disk, and written in memory only.
struct Unwritten {
    /// `None` where the folder isn't there, which is not made.
    disk: Option<DiskStorage>,
    /// What was written: whole files, `None` for what was removed.
    written: Mutex<BTreeMap<String, Option<Vec<u8>>>>,
}

impl Unwritten {
    fn open(path: &Path) -> Result<Unwritten, Error> {
        let disk = path.is_dir().then(|| DiskStorage::open(path)).transpose()?;
        Ok(Unwritten {
            disk,
            written: Mutex::default(),
        })
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, Option<Vec<u8>>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on_disk(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.read(path))
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<(), StorageError> {
        let mut written = self.written();
        let mut bytes = match written.remove(path) {
            Some(bytes) => bytes,
            None => self.on_disk(path)?,
        }
        .unwrap_or_default();
        change(&mut bytes);
        written.insert(path.to_owned(), Some(bytes));
        Ok(())
    }
}

impl Storage for Unwritten {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let written = self.written().get(path).cloned();
        written.map_or_else(|| self.on_disk(path), Ok)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StorageError> {
        if let Some(written) = self.written().get(path) {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let part = |bytes: &Vec<u8>| {
                let end = from.saturating_add(length).min(bytes.len());
                bytes.get(from..end).unwrap_or_default().to_vec()
            };
            return Ok(written.as_ref().map(part));
        }
        let disk = self.disk.as_ref();
        disk.map_or(Ok(None), |disk| disk.read_at(path, offset, length))
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        if let Some(written) = self.written().get(path) {
            return Ok(written.as_ref().map(|bytes| bytes.len() as u64));
        }
        self.disk.as_ref().map_or(Ok(None), |disk| disk.length(path))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.change(path, |file| file.extend(bytes))
    }

    fn truncate(&self, path: &str, length: u64) -> Result<(), StorageError> {
        self.change(path, |file| {
            file.truncate(usize::try_from(length).unwrap_or(usize::MAX))
        })
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.written().insert(path.to_owned(), Some(bytes.to_vec()));
        Ok(())
    }

    fn sync(&self, _: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.written().insert(path.to_owned(), None);
        Ok(())
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let mut names: BTreeSet<String> = match &self.disk {
            Some(disk) => disk.list(folder)?.into_iter().collect(),
            None => BTreeSet::new(),
        };
        for (path, bytes) in self.written().iter() {
            let rest = if folder.is_empty() {
                Some(path.as_str())
            } else {
                path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'))
            };
            let Some(name) = rest.and_then(|rest| rest.split('/').next()) else {
                continue;
            };
            let is_file = rest == Some(name);
            match bytes {
                None if is_file => names.remove(name),
                _ => names.insert(name.to_owned()),
            };
        }
        Ok(names.into_iter().collect())
    }
}

/// The undo journal says what is done to targets at the next start: nobody but who runs it may have written it.
fn refuse_others(store: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    for path in [
        store.to_owned(),
        store.join("undo"),
        store.join("undo").join("undo.journal"),
    ] {
        let Ok(found) = fs::symlink_metadata(&path) else {
            continue;
        };
        let others_write = found.mode() & 0o022 != 0;
        if found.uid() != own || others_write || found.file_type().is_symlink() {
            return Err(Error::usage(
                format!(
                    "`{}` belongs to somebody else, or somebody else may write it",
                    path.display()
                ),
                "run proofmark as its owner, with `chmod -R go-w .proofmark`: what is undone at a start stands in there",
            ));
        }
    }
    Ok(())
}

fn blob_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}", &hex[..2], &hex[2..])
}

fn read_format(path: &Path, bytes: &[u8]) -> Result<String, Error> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let version = lines
        .next()
        .and_then(|line| line.strip_prefix("proofmark-store "))
        .and_then(|v| v.parse::<u32>().ok());
    let id = lines.next().and_then(|line| line.strip_prefix("id "));
    match (version, id) {
        (Some(FORMAT_VERSION), Some(id)) if id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(id.to_owned())
        }
        (Some(version), _) if version > FORMAT_VERSION => Err(Error::usage(
            format!(
                "`{}` has format {version}, this program reads {FORMAT_VERSION}",
                path.display()
            ),
            "use the Proofmark that wrote it, or a newer one",
        )),
        _ => Err(Error::usage(
            format!("`{}/FORMAT` can't be read", path.display()),
            "restore it from a backup, or move the folder away to start a new log",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_read_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), &mut || [7; 32]).unwrap();
        let part = store.part("log").unwrap();
        part.replace("a/x", b"hello").unwrap();
        part.replace("a/y", b"there").unwrap();
        // Beside the one who writes, at once.
        let reader = Store::read_only(folder.path()).unwrap();
        assert_eq!(reader.id, store.id);
        assert!(Store::is_busy(folder.path()));
        let read = reader.part("log").unwrap();
        read.append("a/x", b" you").unwrap();
        read.truncate("a/y", 2).unwrap();
        read.replace("b", b"new").unwrap();
        read.remove("gone").unwrap();
        assert_eq!(read.read("a/x").unwrap().unwrap(), b"hello you");
        assert_eq!(read.read_at("a/x", 6, 9).unwrap().unwrap(), b"you");
        assert_eq!(read.length("a/y").unwrap(), Some(2));
        assert_eq!(read.list("").unwrap(), ["a", "b"]);
        read.remove("a/y").unwrap();
        assert_eq!(read.list("a").unwrap(), ["x"]);
        assert_eq!(read.read("a/y").unwrap(), None);
        assert_eq!(part.read("a/x").unwrap().unwrap(), b"hello");
        assert_eq!(part.list("").unwrap(), ["a"]);
        assert!(reader.part("none").unwrap().list("").unwrap().is_empty());
        assert!(!folder.path().join(FOLDER).join("none").exists());
        drop((store, part));
        assert!(!Store::is_busy(folder.path()));
    }
}
