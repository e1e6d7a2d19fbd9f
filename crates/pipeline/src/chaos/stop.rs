//! How a run is stopped from outside: a file, a socket, a signal, HTTP.
//!
//! Whoever may write the store, or the kill switch's file, or has the token of the HTTP API, may stop a run; nobody can
//! do more with any of them. The API is served by the warden ([`chaos::process::StopApi`]), so that it works while we
//! hang; here it is made ready.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ::chaos::process::StopApi;
use evidence::Digest;
use host::process::Cancel;

use crate::Error;

/// The socket, below the store. Whoever connects to it stops the run.
const SOCKET: &str = "undo/stop.sock";
/// The token of the HTTP API, below the store, where the settings name no other file.
const TOKEN: &str = "undo/stop.token";
/// A token is so long, in bytes; a shorter one could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: u64 = 4_096;
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

/// The kill switch over HTTP, where the settings want one: it listens already, and nobody answers yet.
pub fn api(store: &Path, settings: &chaos::Settings) -> Result<Option<StopApi>, Error> {
    let Some(address) = settings.kill_switch_api else {
        return Ok(None);
    };
    let token = token(store, settings.kill_switch_token_file.as_deref())?;
    let listener = TcpListener::bind(address).map_err(|error| {
        Error::usage(
            format!("the kill switch can't be served on `{address}`: {error}"),
            "write a free port under `kill_switch_api` of `[chaos]`",
        )
    })?;
    Ok(Some(StopApi {
        listener,
        token,
        stop_socket: store.join(SOCKET),
    }))
}

/// The digest of the token. Where no file is named it is the store's, made when it isn't there.
fn token(store: &Path, named: Option<&Path>) -> Result<Digest, Error> {
    let path = named.map_or_else(|| store.join(TOKEN), Path::to_owned);
    let failed = |error: &io::Error| Error::io("read the kill switch's token", &path, error);
    if named.is_none() && std::fs::symlink_metadata(&path).is_err() {
        // Hex of 32 random bytes. Made with its mode, never readable by others even for a moment.
        let text = Digest(host::random_seed()).hex();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| failed(&error))?;
        file.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    }
    // What is looked at is what is read: the file is opened once, and a link is not followed.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32 | rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(&path)
        .map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    let refused = |why: &str| {
        Error::usage(
            format!("the kill switch's token `{}` {why}", path.display()),
            "keep at least 16 random characters in a file of your own with mode 0600",
        )
    };
    if !metadata.is_file() {
        return Err(refused("is no file"));
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("belongs to somebody else"));
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(refused("may be read or written by others"));
    }
    let mut text = Vec::new();
    file.take(TOKEN_BYTES_MAX)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    let token = text.trim_ascii();
    if token.len() < TOKEN_BYTES_MIN {
        return Err(refused("is too short"));
    }
    Ok(Digest::of(token))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_token_is_ours_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("undo")).unwrap();
        let made = token(folder.path(), None).unwrap();
        let own = folder.path().join(TOKEN);
        assert_eq!(std::fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(token(folder.path(), None).unwrap(), made, "made once");
        let (file, link) = (folder.path().join("named"), folder.path().join("link"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (text, mode, expect) in [
            ("0123456789abcdef\n", 0o600, Ok(Digest::of(b"0123456789abcdef"))),
            ("0123456789abcde\n", 0o600, Err("is too short")),
            ("0123456789abcdef", 0o640, Err("may be read or written by others")),
            ("0123456789abcdef", 0o602, Err("may be read or written by others")),
        ] {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            match (token(folder.path(), Some(&file)), expect) {
                (Ok(digest), Ok(expect)) => assert_eq!(digest, expect),
                (Err(error), Err(expect)) => assert!(error.to_string().contains(expect), "{error}"),
                (other, expect) => panic!("{other:?} for {expect:?}"),
            }
        }
        assert!(token(folder.path(), Some(&link)).is_err(), "a link is not followed");
        assert!(token(folder.path(), Some(&folder.path().join("none"))).is_err());
    }
}
