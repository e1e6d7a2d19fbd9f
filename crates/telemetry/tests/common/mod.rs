//! Archives of the shared data, for tests that use them where they are there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Unpacks an archive of the shared data; `None`, and a line that says so, where it is absent.
pub fn unpack(name: &str) -> Option<tempfile::TempDir> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let archive = std::env::var_os("PROOFMARK_DATA")
        .map_or(beside, PathBuf::from)
        .join(name);
    let folder = tempfile::tempdir().unwrap();
    let unpacked = archive.exists()
        && Command::new("tar")
            .arg("xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder.path())
            .status()
            .is_ok_and(|s| s.success());
    if !unpacked {
        println!("not run: `{name}` is not there");
    }
    unpacked.then_some(folder)
}

/// Every file with that extension below a folder, in order.
pub fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
}
