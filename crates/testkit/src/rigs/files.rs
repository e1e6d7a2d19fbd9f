//! Rigs for faults on files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("file-tampered", file_tampered),
    ("file-withdrawn", file_withdrawn),
    ("secret-stale", secret_stale),
    ("secret-unreadable", secret_unreadable),
];

fn file_tampered(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let fault = "id = \"file-tampered\"\ntarget = \"files\"\npath = \"lib/report.so\"\noffset = 3\n";
    Folder::make(folder, "files", fault, "lib/report.so", tampered)?
        .with("lib/report.so", b"\x7fELF and so on", 0o755)
        .boxed()
}

fn tampered(folder: &Folder) -> Result<bool, String> {
    Ok(folder.read("lib/report.so")? == b"\x7fELG and so on")
}

fn file_withdrawn(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let fault = "id = \"file-withdrawn\"\ntarget = \"files\"\npath = \"deny.conf\"\n";
    Folder::make(folder, "files", fault, "deny.conf", |folder| {
        Ok(!folder.root.join("deny.conf").exists())
    })?
    .with("deny.conf", b"deny all\n", 0o644)
    .boxed()
}

fn secret_stale(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let fault = "id = \"secret-stale\"\ntarget = \"files\"\npath = \"db-password\"\nolder = \"old/db-password\"\n";
    Folder::make(folder, "files", fault, "db-password", |folder| {
        Ok(folder.read("db-password")? == b"first-of-a-rig\n")
    })?
    .with("db-password", b"second-of-a-rig\n", 0o640)
    .with("old/db-password", b"first-of-a-rig\n", 0o600)
    .boxed()
}

/// A folder with files, one of which a fault changes.
pub(super) struct Folder {
    pub(super) root: PathBuf,
    kind: &'static str,
    fault: String,
    /// The file that the fault changes.
    pub(super) victim: String,
    files: Vec<(String, Vec<u8>, u32)>,
    shows: Shows,
}

/// Whether the fault shows in the files.
pub(super) type Shows = fn(&Folder) -> Result<bool, String>;

/// What somebody else writes.
const MEDDLED: &[u8] = b"changed by somebody else\n";

impl Folder {
    pub(super) fn make(
        folder: &Path,
        kind: &'static str,
        fault: &str,
        victim: &str,
        shows: Shows,
    ) -> Result<Folder, String> {
        let root = folder.join("root");
        fs::create_dir_all(&root).map_err(|error| error.to_string())?;
        Ok(Folder {
            root,
            kind,
            fault: fault.to_owned(),
            victim: victim.to_owned(),
            files: Vec::new(),
            shows,
        })
    }

    /// A file that the folder holds when nothing is wrong.
    pub(super) fn with(mut self, path: &str, bytes: &[u8], mode: u32) -> Folder {
        self.files.push((path.to_owned(), bytes.to_vec(), mode));
        self
    }

    pub(super) fn boxed(mut self) -> Result<Box<dyn Rig>, String> {
        self.revive()?;
        Ok(Box::new(self))
    }

    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(self.root.join(path)).map_err(|error| format!("{path}: {error}"))
    }
}

impl Rig for Folder {
    fn targets(&self) -> String {
        let (kind, root) = (self.kind, self.root.display());
        format!("[chaos.target.{kind}]\nkind = \"{kind}\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        self.fault.clone()
    }

    /// Every file with its inode, mode, time and contents: a copy that is put back is not the original.
    fn state(&mut self) -> Result<String, String> {
        let mut lines = Vec::new();
        list(&self.root, &mut lines).map_err(|error| error.to_string())?;
        lines.sort();
        Ok(lines.join("\n"))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let (path, aside) = (self.root.join(&self.victim), self.root.join("aside"));
        let changed = fs::write(&aside, MEDDLED).and_then(|()| fs::rename(&aside, &path));
        let kept = move || Ok(fs::read(&path).is_ok_and(|bytes| bytes == MEDDLED));
        Some(
            changed
                .map(|()| Box::new(kept) as Kept)
                .map_err(|error| error.to_string()),
        )
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        Some(fs::remove_dir_all(&self.root).map_err(|error| error.to_string()))
    }

    fn revive(&mut self) -> Result<(), String> {
        let remade = || {
            let _ = fs::remove_dir_all(&self.root);
            for (path, bytes, mode) in &self.files {
                let path = self.root.join(path);
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                fs::write(&path, bytes)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            }
            Ok(())
        };
        remade().map_err(|error: std::io::Error| error.to_string())
    }
}

fn list(folder: &Path, lines: &mut Vec<String>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let metadata = fs::symlink_metadata(&path)?;
        let (inode, mode) = (metadata.ino(), metadata.mode());
        if metadata.is_dir() {
            lines.push(format!("{} {inode} {mode:o}", path.display()));
            list(&path, lines)?;
        } else {
            let (bytes, modified) = (fs::read(&path)?, metadata.modified()?);
            let digest = evidence::Digest::of(&bytes);
            lines.push(format!("{} {inode} {mode:o} {modified:?} {digest}", path.display()));
        }
    }
    Ok(())
}

/// A folder with one secret in it.
struct Secret {
    root: PathBuf,
}

fn secret_unreadable(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let root = folder.join("secrets");
    fs::create_dir_all(&root).map_err(|error| error.to_string())?;
    let rig = Secret { root };
    rig.revive_file()?;
    Ok(Box::new(rig))
}

impl Secret {
    fn file(&self) -> PathBuf {
        self.root.join("db-password")
    }

    fn mode(&self) -> Result<u32, String> {
        let metadata = fs::metadata(self.file()).map_err(|error| error.to_string())?;
        Ok(metadata.permissions().mode() & 0o7777)
    }

    fn revive_file(&self) -> Result<(), String> {
        fs::write(self.file(), "s3cr3t-of-a-rig\n").map_err(|error| error.to_string())?;
        fs::set_permissions(self.file(), fs::Permissions::from_mode(0o640)).map_err(|error| error.to_string())
    }
}

impl Rig for Secret {
    fn targets(&self) -> String {
        let root = self.root.display();
        format!("[chaos.target.secrets]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        "id = \"secret-unreadable\"\ntarget = \"secrets\"\npath = \"db-password\"\n".to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        let text = fs::read_to_string(self.file()).map_err(|error| error.to_string())?;
        Ok(format!("{:o} {text}", self.mode()?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        Ok(self.mode()? & 0o444 == 0)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let file = self.file();
        let changed = fs::set_permissions(&file, fs::Permissions::from_mode(0o604));
        let kept = move || {
            let metadata = fs::metadata(&file).map_err(|error| error.to_string())?;
            Ok(metadata.permissions().mode() & 0o7777 == 0o604)
        };
        Some(
            changed
                .map(|()| Box::new(kept) as Kept)
                .map_err(|error| error.to_string()),
        )
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        Some(fs::remove_file(self.file()).map_err(|error| error.to_string()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.revive_file()
    }
}
