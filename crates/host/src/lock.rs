//! One writer at a time: an advisory lock on a file, with a bounded wait.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a held lock is tried again.
const RETRY_MS: u64 = 10;

/// A lock held on a file (`flock` on Unix). Released on drop and, by the kernel, when the process dies however it dies.
///
/// Advisory: it keeps apart those who ask for it. Whoever can write the folder can replace the file and hold a
/// second lock of the same name.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock, creating the file where there is none, and waits up to `wait_ms_max` for its holder
    /// (0: one try). The file then holds our process id, for the next one's error.
    pub fn acquire(path: &Path, wait_ms_max: u64) -> Result<Self, LockError> {
        let failed = |reason: io::Error| LockError::failed(path, &reason);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        let mut file = take(file, path, wait_ms_max)?;
        file.set_len(0).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        file.write_all(format!("{}\n", std::process::id()).as_bytes())
            .map_err(failed)?;
        Ok(Self { file })
    }

    /// The same on a file that is there and can't be written: our process id does not stand in it.
    pub fn held(path: &Path, wait_ms_max: u64) -> Result<Self, LockError> {
        let file = File::open(path).map_err(|reason| LockError::failed(path, &reason))?;
        take(file, path, wait_ms_max).map(|file| Self { file })
    }
}

/// Waits for the lock.
fn take(mut file: File, path: &Path, wait_ms_max: u64) -> Result<File, LockError> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(reason)) => return Err(LockError::failed(path, &reason)),
            Err(TryLockError::WouldBlock) => {}
        }
        let left = Duration::from_millis(wait_ms_max).saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(LockError::Held {
                path: path.to_owned(),
                pid: holder(&mut file),
                waited_ms: wait_ms_max,
            });
        }
        std::thread::sleep(left.min(Duration::from_millis(RETRY_MS)));
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file releases the lock too; a failure here can't keep it held.
        let _ = self.file.unlock();
    }
}

/// Why the lock was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it; `pid` is what they wrote into the file, if they did.
    #[error("`{}` is locked by {}, waited {waited_ms} ms", path.display(), name(*pid))]
    Held {
        path: PathBuf,
        pid: Option<u32>,
        waited_ms: u64,
    },
    #[error("can't lock `{}`: {reason}", path.display())]
    Failed { path: PathBuf, reason: String },
}

impl LockError {
    fn failed(path: &Path, reason: &io::Error) -> LockError {
        LockError::Failed {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }
}

fn name(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_waits_and_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = FileLock::acquire(&path, 0).unwrap();
        let started = Instant::now();
        let refused = FileLock::acquire(&path, 50).unwrap_err();
        assert!(started.elapsed() >= Duration::from_millis(50));
        let expected = format!(
            "`{}` is locked by process {}, waited 50 ms",
            path.display(),
            std::process::id()
        );
        assert_eq!(refused.to_string(), expected);
        drop(first);
        FileLock::acquire(&path, 0).unwrap();
    }

    #[test]
    fn a_waiter_gets_it_when_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = FileLock::acquire(&path, 0).unwrap();
        let waiter = std::thread::spawn({
            let path = path.clone();
            move || FileLock::acquire(&path, 10_000).map(drop)
        });
        std::thread::sleep(Duration::from_millis(30));
        drop(first);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    }

    #[test]
    fn a_missing_folder_is_an_error_not_a_wait() {
        let folder = tempfile::tempdir().unwrap();
        let refused = FileLock::acquire(&folder.path().join("no/lock"), 10_000).unwrap_err();
        assert!(matches!(refused, LockError::Failed { .. }), "{refused}");
    }
}
