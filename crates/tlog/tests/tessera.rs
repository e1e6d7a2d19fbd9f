//! An independent reader accepts what we write: Tessera's fsck, where it is installed.

mod common;

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{ORIGIN, append, key, numbered, open};
use evidence::note_key_id;
use host::DiskStorage;

const PROGRAM: &str = "tessera-fsck";
const TIMEOUT_MAX: Duration = Duration::from_secs(60);

#[test]
fn tessera_fsck_accepts_our_logs() {
    let Some(program) = found() else {
        println!("not run: {PROGRAM} not found");
        return;
    };
    for size in [1, 2, 255, 256, 257, 1000, 70_000] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), size);
        let (accepted, said) = judge(&program, folder.path());
        assert!(accepted, "{size} entries: {said}");
        println!("{PROGRAM} accepts {size} entries");
    }
}

/// Without this the test above could not tell a judge who looks from one who nods.
#[test]
fn tessera_fsck_refuses_a_changed_log() {
    let Some(program) = found() else {
        println!("not run: {PROGRAM} not found");
        return;
    };
    for file in [
        "tile/0/000",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/000",
        "tile/entries/001.p/44",
        "checkpoint",
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), 300);
        let path = folder.path().join("log").join(file);
        let mut bytes = std::fs::read(&path).expect("reads");
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).expect("writes");
        let (accepted, said) = judge(&program, folder.path());
        assert!(!accepted && said.contains("fsck failed"), "{file}: {said}");
    }
}

/// Grows a log of `size` entries below `folder`, in groups that cross tiles.
fn write(folder: &Path, size: u64) {
    let storage = DiskStorage::open(&folder.join("log")).expect("opens");
    let log = open(Arc::new(storage)).expect("opens").0;
    let mut at = 0;
    for group in [1, 200, 300].into_iter().chain(std::iter::repeat(20_000)) {
        let end = size.min(at + group);
        append(&log, &numbered(at..end)).expect("appends");
        at = end;
        if at == size {
            break;
        }
    }
    // The key in the form of a signed note's verifier: name, key id, algorithm 1 (Ed25519) with the key.
    let id: String = note_key_id(ORIGIN, &key())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let verifier = format!("{ORIGIN}+{id}+{}", STANDARD.encode([&[1], &key().bytes[..]].concat()));
    std::fs::write(folder.join("key"), verifier).expect("writes");
}

/// Runs fsck over the files. It exits with 0 whatever it finds; what counts is the line it ends with. Several
/// workers, because with one it waits for ever once that one has found a tile it doesn't like.
fn judge(program: &Path, folder: &Path) -> (bool, String) {
    let said = folder.join("said");
    let mut child = Command::new(program)
        .args(["--ui=false", "--logtostderr", "-N=8"])
        .arg(format!("--storage_url=file://{}", folder.join("log").display()))
        .arg(format!("--public_key={}", folder.join("key").display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&said).expect("creates"))
        .spawn()
        .expect("runs");
    let deadline = Instant::now() + TIMEOUT_MAX;
    while child.try_wait().expect("waits").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("kills");
            child.wait().expect("waits");
            return (false, format!("no answer in {TIMEOUT_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let said = std::fs::read_to_string(said).expect("reads");
    (
        said.contains("Successfully fsck'd log with size") && !said.contains("fsck failed"),
        said,
    )
}

/// On `PATH`, else where `peers/install.sh` puts it.
fn found() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let peers = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/proofmark-peers/bin"));
    std::env::split_paths(&path)
        .chain(peers)
        .map(|folder| folder.join(PROGRAM))
        .find(|program| {
            std::fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}
