//! Files on this machine's disk, as [`evidence::Storage`] asks for them.
//!
//! Everything happens relative to one open folder: no working directory is used, and no path leads out of it,
//! since `..`, absolute paths and symbolic links are refused at every part. It keeps out no other process of the
//! same user: whoever needs one writer takes a lock of their own.
//!
//! Start reading at [`DiskStorage::replace`], which is where crash order matters most.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evidence::{Storage, StorageError};
use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// The files below one folder of this machine, readable by its owner alone (folders 0700, files 0600).
///
/// What an attacker who owns the folder can do: what [`Storage`] says, read, destroy and roll back. Not lead a
/// write out of the folder: symbolic links are never followed below it.
#[derive(Debug)]
pub struct DiskStorage {
    root: OwnedFd,
    known: Mutex<Known>,
}

/// Names this handle has made durable, so that each is synced once and not at every write.
#[derive(Debug, Default)]
struct Known {
    folders: BTreeSet<String>,
    files: BTreeSet<String>,
}

/// A path split into its folder (empty: the root) and its last part; both already checked.
#[derive(Clone, Copy)]
struct Place<'a> {
    folder: &'a str,
    name: &'a str,
}

impl DiskStorage {
    /// A path longer than this, or a part of it over 255 bytes, is refused.
    pub const PATH_BYTES_MAX: usize = 4096;

    /// Opens the folder `root`, creating it and its parents with mode 0700. A symbolic link in its place is refused.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let shown = root.display().to_string();
        let failed = |reason: String| StorageError {
            operation: "open",
            path: shown.clone(),
            reason,
        };
        let missing = root
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .count();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .map_err(|error| failed(error.to_string()))?;
        let folder = fs::open(root, folder_flags(), Mode::empty()).map_err(|error| failed(said(error)))?;
        sync_parents(&folder, missing).map_err(|error| failed(said(error)))?;
        Ok(DiskStorage {
            root: folder,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder, or `None` where it or one on the way is not there.
    fn folder(&self, folder: &str) -> Result<Option<OwnedFd>, Errno> {
        let mut at = self.root.as_fd().try_clone_to_owned().map_err(|error| errno(&error))?;
        for part in parts(folder) {
            at = match fs::openat(&at, part, folder_flags(), Mode::empty()) {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(error),
            };
        }
        Ok(Some(at))
    }

    /// The folder, made if it isn't there, with every name on the way durable.
    fn make_folder(&self, folder: &str) -> Result<OwnedFd, Errno> {
        let durable = self.known().folders.contains(folder);
        let mut at = self.root.as_fd().try_clone_to_owned().map_err(|error| errno(&error))?;
        for part in parts(folder) {
            let made = match fs::mkdirat(&at, part, Mode::from_raw_mode(0o700)) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error),
            };
            // One that was there already may have been made by a process that died before it synced.
            if made || !durable {
                fs::fsync(&at)?;
            }
            at = fs::openat(&at, part, folder_flags(), Mode::empty())?;
        }
        if !durable {
            self.known().folders.insert(folder.to_owned());
        }
        Ok(at)
    }

    fn open_file(&self, place: Place<'_>, flags: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let Some(folder) = self.folder(place.folder)? else {
            return Ok(None);
        };
        match fs::openat(&folder, place.name, flags | file_flags(), Mode::empty()) {
            Ok(file) => regular(file).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn try_read(&self, place: Place<'_>, offset: u64, length: Option<usize>) -> Result<Option<Vec<u8>>, Errno> {
        let Some(file) = self.open_file(place, OFlags::RDONLY)? else {
            return Ok(None);
        };
        let size = u64::try_from(fs::fstat(&file)?.st_size).unwrap_or(0);
        let there = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.map_or(there, |length| length.min(there))];
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::io::pread(&file, &mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(Some(bytes))
    }

    fn try_append(&self, place: Place<'_>, bytes: &[u8]) -> Result<(), Errno> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | file_flags();
        let file = self.in_folder(place, |folder| {
            fs::openat(folder, place.name, flags, Mode::from_raw_mode(0o600))
        })?;
        write_all(regular(file)?.as_fd(), bytes)
    }

    /// Runs `open` in the folder of `place`. [`Storage::remove`] may take an empty folder away between the making
    /// and the opening, so that case is tried again.
    fn in_folder<T>(&self, place: Place<'_>, open: impl Fn(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
        const TRIES_MAX: u32 = 8;
        let mut tries = 0;
        loop {
            match open(&self.make_folder(place.folder)?) {
                Err(Errno::NOENT) if tries < TRIES_MAX => tries += 1,
                answer => return answer,
            }
        }
    }

    fn try_replace(&self, place: Place<'_>, bytes: &[u8]) -> Result<(), Errno> {
        let (folder, temporary, name) = self.in_folder(place, |folder| {
            let (file, name) = lock_temporary(folder.as_fd(), place.name)?;
            Ok((folder.try_clone().map_err(|error| errno(&error))?, file, name))
        })?;
        let written = (|| {
            fs::ftruncate(&temporary, 0)?;
            write_all(temporary.as_fd(), bytes)?;
            fs::fdatasync(&temporary)?;
            refuse_link(folder.as_fd(), place.name)?;
            fs::renameat(&folder, &name, &folder, place.name)
        })();
        if let Err(error) = written {
            // The old file still stands; what is left of the new one is of no use to anybody.
            let _ = fs::unlinkat(&folder, &name, AtFlags::empty());
            return Err(error);
        }
        // The name is durable only once the folder is.
        fs::fsync(&folder)?;
        self.known().files.insert(full(place));
        Ok(())
    }

    fn try_sync(&self, place: Place<'_>) -> Result<(), Errno> {
        let file = self.open_file(place, OFlags::WRONLY)?.ok_or(Errno::NOENT)?;
        fs::fdatasync(&file)?;
        if !self.known().files.contains(&full(place)) {
            fs::fsync(&self.make_folder(place.folder)?)?;
            self.known().files.insert(full(place));
        }
        Ok(())
    }

    fn try_truncate(&self, place: Place<'_>, length: u64) -> Result<(), Errno> {
        let file = self.open_file(place, OFlags::WRONLY)?.ok_or(Errno::NOENT)?;
        let size = u64::try_from(fs::fstat(&file)?.st_size).unwrap_or(0);
        // Cutting never lengthens: a hole would read as zeros that nobody wrote.
        if length < size {
            fs::ftruncate(&file, length)
        } else {
            Ok(())
        }
    }

    fn try_remove(&self, place: Place<'_>) -> Result<(), Errno> {
        let Some(folder) = self.folder(place.folder)? else {
            return Ok(());
        };
        match fs::unlinkat(&folder, place.name, AtFlags::empty()) {
            Ok(()) => fs::fsync(&folder)?,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
        self.known().files.remove(&full(place));
        self.prune(place.folder);
        Ok(())
    }

    /// Takes away folders that hold nothing any more. Best effort: one that stays does no harm.
    fn prune(&self, folder: &str) {
        let mut folder = folder;
        while !folder.is_empty() {
            let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
            let gone = self
                .folder(parent)
                .ok()
                .flatten()
                .is_some_and(|parent| fs::unlinkat(&parent, name, AtFlags::REMOVEDIR).is_ok());
            if !gone {
                return;
            }
            self.known().folders.remove(folder);
            folder = parent;
        }
    }

    fn try_list(&self, folder: &str) -> Result<Vec<String>, Errno> {
        let Some(folder) = self.folder(folder)? else {
            return Ok(Vec::new());
        };
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&folder)? {
            // A name that is not UTF-8 was not put there through this storage, and no path could ask for it.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
                && !is_temporary(name)
            {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }
}

impl Storage for DiskStorage {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        at("read", path, |place| self.try_read(place, 0, None))
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StorageError> {
        at("read", path, |place| self.try_read(place, offset, Some(length)))
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        at("read the length of", path, |place| {
            let Some(file) = self.open_file(place, OFlags::RDONLY)? else {
                return Ok(None);
            };
            Ok(u64::try_from(fs::fstat(&file)?.st_size).ok())
        })
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        at("append to", path, |place| self.try_append(place, bytes))
    }

    fn truncate(&self, path: &str, length: u64) -> Result<(), StorageError> {
        at("truncate", path, |place| self.try_truncate(place, length))
    }

    /// Temporary file, fdatasync, rename, fsync of the folder, in this order. The temporary file's name follows
    /// from the path, so that one left by a crash is taken over by the next `replace`; a lock on it keeps two
    /// writers of the same path apart.
    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        at("replace", path, |place| self.try_replace(place, bytes))
    }

    fn sync(&self, path: &str) -> Result<(), StorageError> {
        at("sync", path, |place| self.try_sync(place))
    }

    /// Removes a file durably, then the folders that it leaves empty.
    fn remove(&self, path: &str) -> Result<(), StorageError> {
        at("remove", path, |place| self.try_remove(place))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        if folder.is_empty() {
            return self.try_list("").map_err(|error| failure("list", folder, said(error)));
        }
        at("list", folder, |_| self.try_list(folder))
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Makes the names of `folder` and of the new folders above it durable, `count` in all.
fn sync_parents(folder: &OwnedFd, count: usize) -> Result<(), Errno> {
    let mut at = folder.try_clone().map_err(|error| errno(&error))?;
    for _ in 0..count {
        at = fs::openat(&at, "..", folder_flags(), Mode::empty())?;
        fs::fsync(&at)?;
    }
    Ok(())
}

/// Non-blocking, so that a FIFO planted in a file's place can't hold us up before [`regular`] refuses it.
fn file_flags() -> OFlags {
    OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK
}

/// Checks `path`, runs `action` and names both in the error.
fn at<T>(
    operation: &'static str,
    path: &str,
    action: impl FnOnce(Place<'_>) -> Result<T, Errno>,
) -> Result<T, StorageError> {
    let place = check(path).map_err(|reason| failure(operation, path, reason.to_owned()))?;
    action(place).map_err(|error| failure(operation, path, said(error)))
}

fn failure(operation: &'static str, path: &str, reason: String) -> StorageError {
    StorageError {
        operation,
        path: path.to_owned(),
        reason,
    }
}

fn check(path: &str) -> Result<Place<'_>, &'static str> {
    if path.is_empty() {
        return Err("the path is empty");
    }
    if path.starts_with('/') {
        return Err("absolute paths are refused");
    }
    if path.len() > DiskStorage::PATH_BYTES_MAX {
        return Err("the path is over 4096 bytes");
    }
    if path.contains('\0') {
        return Err("the path has a zero byte");
    }
    for part in path.split('/') {
        match part {
            "" => return Err("the path has an empty part"),
            "." | ".." => return Err("`.` and `..` are refused"),
            part if is_temporary(part) => return Err("names that begin with `.replacing-` are this storage's own"),
            _ => {}
        }
    }
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    Ok(Place { folder, name })
}

fn parts(folder: &str) -> impl Iterator<Item = &str> {
    folder.split('/').filter(|part| !part.is_empty())
}

fn full(place: Place<'_>) -> String {
    if place.folder.is_empty() {
        place.name.to_owned()
    } else {
        format!("{}/{}", place.folder, place.name)
    }
}

fn is_temporary(name: &str) -> bool {
    name.starts_with(".replacing-")
}

/// Opens and locks the temporary file that will become `name`.
fn lock_temporary(folder: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, String), Errno> {
    let temporary = format!(".replacing-{name}");
    let flags = OFlags::RDWR | OFlags::CREATE | file_flags();
    loop {
        let file = regular(fs::openat(folder, &temporary, flags, Mode::from_raw_mode(0o600))?)?;
        fs::flock(&file, FlockOperation::LockExclusive)?;
        // Whoever held the lock may have renamed this file away in the meantime: then it is not ours to write.
        match fs::statat(folder, &temporary, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => {
                let held = fs::fstat(&file)?;
                if (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino) {
                    return Ok((file, temporary));
                }
            }
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Only files have content that stays: a folder, FIFO or device in a file's place is refused.
fn regular(file: OwnedFd) -> Result<OwnedFd, Errno> {
    match fs::FileType::from_raw_mode(fs::fstat(&file)?.st_mode) {
        fs::FileType::RegularFile => Ok(file),
        fs::FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// A rename would silently put the new file in a symbolic link's place; that it is there is worth an error.
fn refuse_link(folder: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink => Err(Errno::LOOP),
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// What the system said, in our words where its own would mislead.
fn said(error: Errno) -> String {
    match error {
        Errno::LOOP => "symbolic links are refused".to_owned(),
        // O_DIRECTORY with O_NOFOLLOW answers this for a link, too.
        Errno::NOTDIR => "a part of the path is no folder, or is a symbolic link".to_owned(),
        error => std::io::Error::from(error).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn storage() -> (tempfile::TempDir, DiskStorage) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let storage = DiskStorage::open(&folder.path().join("store")).expect("opens");
        (folder, storage)
    }

    #[test]
    fn keeps_what_it_is_given() {
        let (folder, storage) = storage();
        assert_eq!(storage.read("a/b"), Ok(None));
        assert_eq!(storage.length("a/b"), Ok(None));
        storage.append("a/b", b"one").expect("appends");
        storage.append("a/b", b"two").expect("appends");
        storage.sync("a/b").expect("syncs");
        assert_eq!(storage.read("a/b"), Ok(Some(b"onetwo".to_vec())));
        assert_eq!(storage.read_at("a/b", 2, 2), Ok(Some(b"et".to_vec())));
        assert_eq!(storage.read_at("a/b", 4, 9), Ok(Some(b"wo".to_vec())));
        assert_eq!(storage.read_at("a/b", 40, 9), Ok(Some(Vec::new())));
        storage.truncate("a/b", 4).expect("truncates");
        storage.truncate("a/b", 400).expect("never lengthens");
        assert_eq!(storage.length("a/b"), Ok(Some(4)));
        storage.replace("a/b", b"new").expect("replaces");
        storage.replace("a/c/d", b"deep").expect("replaces");
        storage.replace("top", b"").expect("replaces");
        assert_eq!(storage.list(""), Ok(vec!["a".to_owned(), "top".to_owned()]));
        assert_eq!(storage.list("a"), Ok(vec!["b".to_owned(), "c".to_owned()]));
        assert_eq!(storage.list("none"), Ok(Vec::new()));
        let mode = |path: &str| std::fs::metadata(folder.path().join(path)).expect("is there").mode() & 0o777;
        assert_eq!(
            (mode("store"), mode("store/a/c"), mode("store/a/b"), mode("store/top")),
            (0o700, 0o700, 0o600, 0o600)
        );
        DiskStorage::open(&folder.path().join("new/er/est")).expect("makes parents");
        assert_eq!((mode("new"), mode("new/er/est")), (0o700, 0o700));
        let again = DiskStorage::open(&folder.path().join("store")).expect("opens");
        assert_eq!(again.read("a/b"), Ok(Some(b"new".to_vec())));
    }

    #[test]
    fn removing_takes_empty_folders_along() {
        let (_folder, storage) = storage();
        storage.replace("a/b/c", b"1").expect("replaces");
        storage.replace("a/d", b"2").expect("replaces");
        storage.remove("a/b/c").expect("removes");
        storage.remove("a/b/c").expect("removing what is not there is no error");
        assert_eq!(storage.list("a"), Ok(vec!["d".to_owned()]));
        storage.replace("a/b/c", b"3").expect("replaces");
        storage.append("a/e/f", b"4").expect("appends");
        assert_eq!(storage.read("a/b/c"), Ok(Some(b"3".to_vec())));
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        let (_folder, storage) = storage();
        for path in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            ".replacing-a",
        ] {
            assert!(storage.read(path).is_err(), "{path:?}");
            assert!(storage.append(path, b"x").is_err(), "{path:?}");
            assert!(storage.replace(path, b"x").is_err(), "{path:?}");
            assert!(storage.remove(path).is_err(), "{path:?}");
        }
        assert!(storage.list("..").is_err());
        assert_eq!(storage.list(""), Ok(Vec::new()));
    }

    #[test]
    fn symbolic_links_are_refused_at_every_part() {
        let (folder, storage) = storage();
        let outside = folder.path().join("outside");
        std::fs::create_dir(&outside).expect("creates");
        std::fs::write(outside.join("file"), b"theirs").expect("writes");
        symlink(&outside, folder.path().join("store/folder")).expect("links");
        symlink(outside.join("file"), folder.path().join("store/file")).expect("links");
        symlink(outside.join("file"), folder.path().join("store/.replacing-new")).expect("links");
        for path in ["folder/file", "file"] {
            assert!(storage.read(path).is_err(), "{path}");
            assert!(storage.append(path, b"x").is_err(), "{path}");
            assert!(storage.replace(path, b"x").is_err(), "{path}");
            assert!(storage.truncate(path, 0).is_err(), "{path}");
            assert!(storage.sync(path).is_err(), "{path}");
        }
        assert!(storage.replace("new", b"x").is_err());
        assert!(storage.list("folder").is_err());
        assert!(storage.remove("folder/file").is_err());
        assert_eq!(std::fs::read(outside.join("file")).expect("reads"), b"theirs");
        symlink(&outside, folder.path().join("root")).expect("links");
        assert!(DiskStorage::open(&folder.path().join("root")).is_err());
    }

    #[test]
    fn what_a_crash_left_is_taken_over() {
        let (folder, storage) = storage();
        std::fs::write(
            folder.path().join("store/.replacing-a"),
            b"a much longer half-written thing",
        )
        .expect("writes");
        assert_eq!(storage.list(""), Ok(Vec::new()));
        storage.replace("a", b"short").expect("replaces");
        assert_eq!(storage.read("a"), Ok(Some(b"short".to_vec())));
        assert_eq!(
            std::fs::read_dir(folder.path().join("store")).expect("lists").count(),
            1
        );
    }

    #[test]
    fn two_writers_never_mix() {
        let (_folder, storage) = storage();
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c'] {
                let storage = &storage;
                scope.spawn(move || {
                    for _ in 0..50 {
                        storage.replace("shared", &[letter; 5000]).expect("replaces");
                    }
                });
            }
        });
        let bytes = storage.read("shared").expect("reads").expect("is there");
        assert_eq!(bytes.len(), 5000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }
}
