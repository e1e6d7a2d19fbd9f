//! How a run is stopped from outside: a file, a socket, a signal.
//!
//! Whoever may write the store, or the kill switch's file, may stop a run; nobody can do more with either.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use host::process::Cancel;

use crate::Error;

/// The socket, below the store. Whoever connects to it stops the run.
const SOCKET: &str = "undo/stop.sock";
/// How often file and socket are looked at, in milliseconds.
const LOOK_MS: u64 = 5;
/// How long `chaos stop` waits until everything is undone, in milliseconds.
const UNDONE_MS_MAX: u64 = 30_000;

/// A thread that watches for the duration of a run. Dropping it removes the socket.
pub struct Switch {
    socket: PathBuf,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Raises `cancel` once the kill switch's file is there, or somebody connects to the socket.
    pub fn watch(store: &Path, kill_switch: Option<&Path>, cancel: &Cancel) -> Result<Switch, Error> {
        let socket = store.join(SOCKET);
        let failed = |error: io::Error| Error::io("listen on", &socket, &error);
        // The store has one writer, so a socket that is there belongs to nobody who lives.
        if std::fs::symlink_metadata(&socket).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(&socket).map_err(failed)?;
        }
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let done = Arc::new(AtomicBool::new(false));
        let (finished, cancel, file) = (Arc::clone(&done), cancel.clone(), kill_switch.map(Path::to_owned));
        let thread = std::thread::spawn(move || {
            // Connections stay open until everything is undone: that is how the other end knows.
            let mut asked = Vec::new();
            while !finished.load(Ordering::Acquire) {
                if let Ok((stream, _)) = listener.accept() {
                    asked.push(stream);
                    cancel.cancel();
                }
                if file
                    .as_ref()
                    .is_some_and(|file| std::fs::symlink_metadata(file).is_ok())
                {
                    cancel.cancel();
                }
                std::thread::sleep(Duration::from_millis(LOOK_MS));
            }
        });
        Ok(Switch {
            socket,
            done,
            thread: Some(thread),
        })
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// What came of stopping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// An experiment ran.
    pub ran: bool,
    /// Faults that are not undone, each in one line.
    pub left: Vec<String>,
}

/// Faults of a folder that are not undone; read beside whoever has the journal open.
pub fn left(tree: &Path) -> Vec<String> {
    let Ok(storage) = host::DiskStorage::open(&tree.join(crate::store::FOLDER).join("undo")) else {
        return Vec::new();
    };
    let line = |entry: chaos::JournalEntry| format!("`{}` of {}: {}", entry.fault, entry.experiment, entry.undo);
    chaos::UndoJournal::peek(&storage).into_iter().map(line).collect()
}

/// Stops the experiment that runs in a folder, waits until it has ended, and says what it left.
pub fn stop(tree: &Path) -> Result<Stopped, Error> {
    let ran = ask(tree)?;
    let there = tree.join(crate::store::FOLDER).join("undo").exists();
    Ok(Stopped {
        ran,
        left: if there { left(tree) } else { Vec::new() },
    })
}

/// `false` when none runs.
fn ask(tree: &Path) -> Result<bool, Error> {
    let socket = tree.join(crate::store::FOLDER).join(SOCKET);
    let mut stream = match UnixStream::connect(&socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(false);
        }
        Err(error) => return Err(Error::io("connect to", &socket, &error)),
    };
    let waited = stream
        .set_read_timeout(Some(Duration::from_millis(UNDONE_MS_MAX)))
        .and_then(|()| io::copy(&mut stream, &mut io::sink()));
    match waited {
        Ok(_) => Ok(true),
        Err(error) => Err(Error::usage(
            format!("the experiment was told to stop and is not done after {UNDONE_MS_MAX} ms: {error}"),
            "look at what it prints; `proofmark chaos undo` once it has ended",
        )),
    }
}
