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

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::{Digest, Storage};
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
    storage: Arc<DiskStorage>,
    _lock: Option<FileLock>,
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
        })
    }

    /// Whether a tree has a store.
    pub fn exists(tree: &Path) -> bool {
        tree.join(FOLDER).join("FORMAT").exists()
    }

    /// The storage below one of the store's folders.
    pub fn part(&self, folder: &str) -> Result<Arc<dyn Storage>, Error> {
        Ok(Arc::new(DiskStorage::open(&self.path.join(folder))?))
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
