//! Rigs for faults on files.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("feed-poisoned", feed_poisoned),
    ("feed-stale", feed_stale),
    ("file-mode-widened", file_mode_widened),
    ("file-tampered", file_tampered),
    ("file-withdrawn", file_withdrawn),
    ("files-read-only", files_read_only),
    ("program-capabilities-removed", program_capabilities_removed),
    ("scanner-missing", scanner_missing),
    ("secret-half-rotated", secret_half_rotated),
    ("secret-leaked", secret_leaked),
    ("secret-stale", secret_stale),
    ("secret-unreadable", secret_unreadable),
    ("telemetry-blackout", telemetry_blackout),
];

fn feed_poisoned(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let record = br#"{"id": "RUSTSEC-2024-0388", "affected": [{"package": {"name": "derivative"}}]}"#;
    Folder::make(
        folder,
        "files",
        "feed-poisoned",
        "feed/RUSTSEC-2024-0388.json",
        |folder| {
            let text = String::from_utf8_lossy(&folder.read("feed/RUSTSEC-2024-0388.json")?).into_owned();
            Ok(text.contains("RUSTSEC-2024-0388") && !text.contains("derivative"))
        },
    )
    .with("feed/RUSTSEC-2024-0388.json", record, 0o644)
    .with("feed/other.json", b"{}", 0o644)
    .boxed()
}

fn feed_stale(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "feed-stale", "feed", |folder| {
        Ok(!folder.root.join("feed/newest.json").exists() && folder.root.join("feed/first.json").exists())
    })
    .fault("older = \"archive/feed\"\n")
    .with("feed/first.json", b"{}", 0o644)
    .with("feed/newest.json", b"{}", 0o644)
    .with("archive/feed/first.json", b"{}", 0o644)
    .meddled(|folder| {
        // A fetch replaces the folder.
        fs::rename(folder.root.join("feed"), folder.root.join("before"))?;
        fs::create_dir(folder.root.join("feed"))?;
        fs::write(folder.root.join("feed/fetched.json"), MEDDLED)?;
        let path = folder.root.join("feed/fetched.json");
        Ok(Box::new(move || Ok(path.exists())))
    })
    .boxed()
}

fn file_mode_widened(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "file-mode-widened", "app.toml", |folder| {
        Ok(mode(&folder.root.join("app.toml"))? & 0o006 == 0o006)
    })
    .with("app.toml", b"debug = false\n", 0o640)
    .meddled(|folder| {
        let path = folder.root.join("app.toml");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604))?;
        Ok(Box::new(move || Ok(mode(&path)? == 0o604)))
    })
    .boxed()
}

fn file_tampered(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "file-tampered", "lib/report.so", |folder| {
        Ok(folder.read("lib/report.so")? == b"\x7fELG and so on")
    })
    .fault("offset = 3\n")
    .with("lib/report.so", b"\x7fELF and so on", 0o755)
    .boxed()
}

fn file_withdrawn(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "file-withdrawn", "deny.conf", Folder::is_missing)
        .with("deny.conf", b"deny all\n", 0o644)
        .boxed()
}

fn files_read_only(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "files-read-only", "audit.log", |folder| {
        let opened = fs::OpenOptions::new().append(true).open(folder.root.join("audit.log"));
        Ok(opened.is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied))
    })
    .with("audit.log", b"first line\n", 0o640)
    .meddled(|folder| {
        let path = folder.root.join("audit.log");
        allow_writing(&path)?;
        fs::OpenOptions::new().append(true).open(&path)?.write_all(MEDDLED)?;
        Ok(Box::new(move || {
            let text = fs::read(&path).map_err(|error| error.to_string())?;
            Ok(text.ends_with(MEDDLED))
        }))
    })
    .boxed()
}

/// As an administrator would: the attribute, and the mode.
fn allow_writing(path: &Path) -> std::io::Result<()> {
    let output = std::process::Command::new("chattr").arg("-i").arg(path).output()?;
    if !output.status.success() {
        return Err(std::io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o640))
}

fn program_capabilities_removed(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(
        folder,
        "files",
        "program-capabilities-removed",
        "bin/listener",
        |folder| Ok(!capabilities(&folder.root.join("bin/listener"))?.contains("cap_net_bind_service=ep")),
    )
    .with("bin/listener", b"#!/bin/sh\n", 0o755)
    .prepared(|folder| set_capabilities(&folder.root.join("bin/listener"), "cap_net_bind_service=ep"))
    .meddled(|folder| {
        let path = folder.root.join("bin/listener");
        set_capabilities(&path, "cap_net_raw=ep")?;
        Ok(Box::new(move || Ok(capabilities(&path)?.contains("cap_net_raw"))))
    })
    .boxed()
}

/// As an administrator would, with the tools of `libcap2-bin`.
fn set_capabilities(path: &Path, capabilities: &str) -> std::io::Result<()> {
    let output = std::process::Command::new("setcap")
        .arg(capabilities)
        .arg(path)
        .output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )),
    }
}

fn capabilities(path: &Path) -> Result<String, String> {
    let output = std::process::Command::new("getcap").arg(path).output();
    let output = output.map_err(|error| format!("getcap: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn scanner_missing(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "scanner-missing", "bin/scanner", |folder| {
        let started = std::process::Command::new(folder.root.join("bin/scanner")).output();
        Ok(started.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound))
    })
    .with("bin/scanner", b"#!/bin/sh\necho 0 findings\n", 0o755)
    .boxed()
}

fn secret_half_rotated(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "secret-half-rotated", "tls.key", |folder| {
        Ok(folder.read("tls.key")? == b"key 2" && folder.read("tls.crt")? == b"certificate 1")
    })
    .fault("next = \"next/tls.key\"\npartner = \"tls.crt\"\n")
    .with("tls.key", b"key 1", 0o600)
    .with("tls.crt", b"certificate 1", 0o644)
    .with("next/tls.key", b"key 2", 0o600)
    .meddled(|folder| {
        // Somebody finishes the rotation: from now on the new key is the right one.
        fs::write(folder.root.join("tls.crt"), "certificate 2")?;
        let key = folder.root.join("tls.key");
        Ok(Box::new(
            move || Ok(fs::read(&key).is_ok_and(|bytes| bytes == b"key 2")),
        ))
    })
    .boxed()
}

fn secret_leaked(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "secret-leaked", "public/backup.env", |folder| {
        let leaked = folder.root.join("public/backup.env");
        Ok(leaked.exists() && mode(&leaked)? & 0o004 != 0 && folder.read("public/backup.env")? == b"canary-of-a-rig")
    })
    .fault("canary = \"canaries/one.env\"\n")
    .with("public/index.html", b"<p>", 0o644)
    .with("canaries/one.env", b"canary-of-a-rig", 0o600)
    .boxed()
}

fn secret_stale(folder: &Path) -> Result<Box<dyn Rig>, String> {
    Folder::make(folder, "files", "secret-stale", "db-password", |folder| {
        Ok(folder.read("db-password")? == b"first-of-a-rig\n")
    })
    .fault("older = \"old/db-password\"\n")
    .with("db-password", b"second-of-a-rig\n", 0o640)
    .with("old/db-password", b"first-of-a-rig\n", 0o600)
    .boxed()
}

fn mode(path: &Path) -> Result<u32, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    Ok(metadata.permissions().mode() & 0o7777)
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
    meddled: Meddled,
    prepared: fn(&Folder) -> std::io::Result<()>,
}

/// Whether the fault shows in the files.
pub(super) type Shows = fn(&Folder) -> Result<bool, String>;
/// Somebody else changes the same.
type Meddled = fn(&Folder) -> std::io::Result<Kept>;

/// What somebody else writes.
const MEDDLED: &[u8] = b"changed by somebody else\n";

impl Folder {
    /// The fault `id` on the file `victim`.
    pub(super) fn make(folder: &Path, kind: &'static str, id: &str, victim: &str, shows: Shows) -> Folder {
        Folder {
            root: folder.join("root"),
            kind,
            fault: format!("id = \"{id}\"\ntarget = \"{kind}\"\npath = \"{victim}\"\n"),
            victim: victim.to_owned(),
            files: Vec::new(),
            shows,
            meddled: Folder::replaced,
            prepared: |_| Ok(()),
        }
    }

    /// More keys of the fault.
    pub(super) fn fault(mut self, keys: &str) -> Folder {
        self.fault.push_str(keys);
        self
    }

    /// The fault looks for the victim itself.
    pub(super) fn finds_it(mut self) -> Folder {
        let path = format!("path = \"{}\"\n", self.victim);
        self.fault = self.fault.replace(&path, "");
        self
    }

    fn meddled(mut self, meddled: Meddled) -> Folder {
        self.meddled = meddled;
        self
    }

    /// What has to be done to the files once they are there.
    fn prepared(mut self, prepared: fn(&Folder) -> std::io::Result<()>) -> Folder {
        self.prepared = prepared;
        self
    }

    fn replaced(&self) -> std::io::Result<Kept> {
        let (path, aside) = (self.root.join(&self.victim), self.root.join("aside"));
        fs::write(&aside, MEDDLED)?;
        fs::rename(&aside, &path)?;
        Ok(Box::new(
            move || Ok(fs::read(&path).is_ok_and(|bytes| bytes == MEDDLED)),
        ))
    }

    fn is_missing(&self) -> Result<bool, String> {
        Ok(!self.root.join(&self.victim).exists())
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
        Some((self.meddled)(self).map_err(|error| error.to_string()))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        // What can't be removed at once is killed by an administrator.
        let removed = fs::remove_dir_all(&self.root)
            .or_else(|_| allow_writing(&self.root.join(&self.victim)).and_then(|()| fs::remove_dir_all(&self.root)));
        Some(removed.map_err(|error| error.to_string()))
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
            (self.prepared)(self)
        };
        remade().map_err(|error: std::io::Error| error.to_string())
    }
}

/// A service that has its log open, and somebody who reads the log by its name.
struct Log {
    root: PathBuf,
    written: u32,
    log: Option<fs::File>,
}

fn telemetry_blackout(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let root = folder.join("root");
    let mut rig = Log {
        root,
        written: 0,
        log: None,
    };
    rig.revive()?;
    Ok(Box::new(rig))
}

impl Log {
    fn path(&self) -> PathBuf {
        self.root.join("access.log")
    }

    fn lines(&self) -> Result<Vec<String>, String> {
        let text = fs::read_to_string(self.path()).map_err(|error| error.to_string())?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn begin(&mut self) -> std::io::Result<()> {
        fs::create_dir_all(&self.root)?;
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path())?;
        (self.log, self.written) = (Some(log), 0);
        Ok(())
    }
}

impl Rig for Log {
    fn targets(&self) -> String {
        let root = self.root.display();
        format!("[chaos.target.files]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = \"{root}\"\n")
    }

    fn fault(&self) -> String {
        "id = \"telemetry-blackout\"\ntarget = \"files\"\npath = \"access.log\"\n".to_owned()
    }

    /// Whether every line that was ever written stands in it.
    fn state(&mut self) -> Result<String, String> {
        let lines = self.lines()?;
        let expected: Vec<String> = (1..=self.written).map(|number| format!("request {number}")).collect();
        let beside = fs::read_dir(&self.root).map_err(|error| error.to_string())?.count();
        Ok(format!("whole: {}, {beside} files", lines == expected))
    }

    /// The service writes a line, and the reader looks for it.
    fn shows(&mut self) -> Result<bool, String> {
        self.written += 1;
        let line = format!("request {}", self.written);
        let log = self.log.as_mut().ok_or("the service is down")?;
        writeln!(log, "{line}").map_err(|error| error.to_string())?;
        Ok(!self.lines()?.contains(&line))
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let path = self.path();
        let rotated = fs::write(&path, MEDDLED).map_err(|error| error.to_string());
        let kept = move || Ok(fs::read(&path).is_ok_and(|bytes| bytes == MEDDLED));
        Some(rotated.map(|()| Box::new(kept) as Kept))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.log = None;
        Some(fs::remove_dir_all(&self.root).map_err(|error| error.to_string()))
    }

    fn revive(&mut self) -> Result<(), String> {
        let _ = fs::remove_dir_all(&self.root);
        self.begin().map_err(|error| error.to_string())
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
