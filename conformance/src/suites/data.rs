//! Where a suite's files come from: a folder that was given, or the archive, unpacked into a temporary folder.
//!
//! Not here: what they mean. Start reading at [`Data::of`].

use std::path::{Path, PathBuf};
use std::process::Command;

/// The files of one suite.
pub struct Data {
    pub folder: PathBuf,
    /// Where the archive lies; files beside it belong to it.
    beside: PathBuf,
    _unpacked: Option<tempfile::TempDir>,
}

impl Data {
    /// `folder` if given, else `SUITE.tar.gz` in `$PROOFMARK_DATA` or in `../shared/data` beside the repository.
    pub fn of(suite: &str, folder: Option<&str>) -> Result<Data, String> {
        if let Some(folder) = folder {
            let folder = PathBuf::from(folder)
                .canonicalize()
                .map_err(|error| format!("`{folder}`: {error}"))?;
            let beside = folder.parent().unwrap_or(&folder).to_owned();
            return Ok(Data {
                folder,
                beside,
                _unpacked: None,
            });
        }
        let beside = std::env::var_os("PROOFMARK_DATA").map_or_else(shared, PathBuf::from);
        let archive = beside.join(format!("{suite}.tar.gz"));
        let unpacked = tempfile::tempdir().map_err(|error| error.to_string())?;
        let out = Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(unpacked.path())
            .output()
            .map_err(|error| format!("`tar` is needed to unpack `{}`: {error}", archive.display()))?;
        if !out.status.success() {
            return Err(format!(
                "`{}`: {}",
                archive.display(),
                String::from_utf8_lossy(&out.stderr).trim()
            ));
        }
        Ok(Data {
            folder: unpacked.path().join(suite),
            beside,
            _unpacked: Some(unpacked),
        })
    }

    /// Paths of all files, relative to the folder and sorted, without licences and READMEs.
    pub fn files(&self) -> Result<Vec<String>, String> {
        let mut files = Vec::new();
        let mut folders = vec![self.folder.clone()];
        while let Some(next) = folders.pop() {
            let failed = |error| format!("`{}`: {error}", next.display());
            for entry in std::fs::read_dir(&next).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && name != "_licences" {
                    folders.push(path);
                } else if path.is_file() && !name.to_lowercase().starts_with("readme") {
                    let below = path.strip_prefix(&self.folder).map_err(|error| error.to_string())?;
                    files.push(below.to_string_lossy().into_owned());
                }
            }
        }
        files.sort();
        Ok(files)
    }

    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.folder.join(path)).map_err(|error| format!("`{path}`: {error}"))
    }

    pub fn text(&self, path: &str) -> Result<String, String> {
        String::from_utf8(self.bytes(path)?).map_err(|_| format!("`{path}`: is not UTF-8"))
    }

    pub fn json(&self, path: &str) -> Result<serde_json::Value, String> {
        serde_json::from_slice(&self.bytes(path)?).map_err(|error| format!("`{path}`: {error}"))
    }

    /// A file of another suite: inside of this one's folder, in an unpacked folder beside it, or in its archive.
    pub fn companion_of(&self, suite: &str, name: &str) -> Result<Vec<u8>, String> {
        let places = [self.folder.join(name), self.beside.join(suite).join(name)];
        match places.iter().find(|place| place.is_file()) {
            Some(place) => std::fs::read(place).map_err(|error| format!("`{}`: {error}", place.display())),
            None => Data::of(suite, None)?.bytes(name),
        }
    }

    /// A file that comes with the suite: inside of its folder, or beside it or its archive.
    pub fn companion(&self, name: &str) -> Result<serde_json::Value, String> {
        let places = [self.folder.join(name), self.beside.join(name)];
        let place = places.iter().find(|place| place.is_file());
        let place =
            place.ok_or_else(|| format!("`{name}` stands neither in nor beside `{}`", self.folder.display()))?;
        let bytes = std::fs::read(place).map_err(|error| format!("`{}`: {error}", place.display()))?;
        serde_json::from_slice(&bytes).map_err(|error| format!("`{}`: {error}", place.display()))
    }
}

fn shared() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data")
}
