//! What a throwaway copy changed: its overlays' upper layers, compared with the host.
//!
//! The layer was written by a program that may be hostile: links are never followed, and depth and count are bounded.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

use super::discard::{CHANGES_MAX, Changes};
use super::discard_linux::{Compared, FIRST_ID};

/// How deep folders are looked into.
const DEPTH_MAX: usize = 64;

/// `store` is the folder of the tmpfs that holds the upper layers.
pub(super) fn read(store: &OwnedFd, layers: &[Compared], ids_shifted: bool) -> Changes {
    let mut reading = Reading {
        changes: Changes::default(),
        ids_shifted,
        points: layers.iter().map(|layer| layer.target.as_path()).collect(),
    };
    for layer in layers {
        let host = open_folder(CWD, layer.source.as_os_str());
        if let Some(upper) = open_folder(store.as_fd(), OsStr::new(&layer.upper)) {
            reading.folder(&upper, host.as_ref(), &layer.target, 0);
        }
    }
    for name in ["tmp", "run"] {
        if let Some(own) = open_folder(store.as_fd(), OsStr::new(name)) {
            reading.folder(&own, None, &Path::new("/").join(name), 0);
        }
    }
    // Made by us.
    reading.changes.added.remove(Path::new("/run/lock"));
    reading.changes
}

struct Reading<'a> {
    changes: Changes,
    ids_shifted: bool,
    /// Where layers are mounted: folders made for that are ours.
    points: Vec<&'a Path>,
}

impl Reading<'_> {
    /// `host` is the same folder below, if there is one that shows through.
    fn folder(&mut self, upper: &OwnedFd, host: Option<&OwnedFd>, path: &Path, depth: usize) {
        let Ok(entries) = Dir::read_from(upper) else {
            self.changes.cut = true;
            return;
        };
        for entry in entries {
            let Ok(entry) = entry else {
                self.changes.cut = true;
                return;
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            if self.changes.len() >= CHANGES_MAX || depth > DEPTH_MAX {
                self.changes.cut = true;
                return;
            }
            self.entry(upper, host, name, &path.join(name), depth);
        }
    }

    fn entry(&mut self, upper: &OwnedFd, host: Option<&OwnedFd>, name: &OsStr, path: &Path, depth: usize) {
        let Ok(now) = rustix::fs::statat(upper, name, AtFlags::SYMLINK_NOFOLLOW) else {
            self.changes.cut = true;
            return;
        };
        let changed_at = (now.st_ctime, now.st_ctime_nsec);
        self.changes.times.insert(path.to_owned(), changed_at);
        let before = host.and_then(|host| rustix::fs::statat(host, name, AtFlags::SYMLINK_NOFOLLOW).ok());
        let kind = FileType::from_raw_mode(now.st_mode);
        if kind == FileType::CharacterDevice && now.st_rdev == 0 {
            self.changes.removed.insert(path.to_owned());
            return;
        }
        if kind != FileType::Directory {
            let list = match before {
                Some(_) => &mut self.changes.changed,
                None => &mut self.changes.added,
            };
            list.insert(path.to_owned());
            return;
        }
        let Some(folder) = open_folder(upper.as_fd(), name) else {
            self.changes.cut = true;
            return;
        };
        let was_folder = before.filter(|before| FileType::from_raw_mode(before.st_mode) == FileType::Directory);
        let shows_through = was_folder.is_some() && !is_opaque(&folder);
        match (&before, &was_folder) {
            (_, Some(before)) => {
                if !shows_through || self.differs(before, &now) {
                    self.changes.changed.insert(path.to_owned());
                }
            }
            (Some(_), None) => {
                self.changes.changed.insert(path.to_owned());
            }
            (None, None) if !self.points.iter().any(|point| point.starts_with(path)) => {
                self.changes.added.insert(path.to_owned());
            }
            (None, None) => {}
        }
        let below = match (host, shows_through) {
            (Some(host), true) => open_folder(host.as_fd(), name),
            _ => None,
        };
        self.folder(&folder, below.as_ref(), path, depth + 1);
    }

    /// A folder that something below was changed in is copied as it was; one that differs was changed itself.
    fn differs(&self, before: &Stat, now: &Stat) -> bool {
        let shift = if self.ids_shifted { FIRST_ID } else { 0 };
        let shifted = |id: u32| id.saturating_add(shift);
        let owner = self.ids_shifted && (shifted(before.st_uid), shifted(before.st_gid)) != (now.st_uid, now.st_gid);
        owner || before.st_mode != now.st_mode
    }
}

/// Whether overlay hides what lies below (kernel documentation, filesystems/overlayfs, "userxattr").
fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0_u8; 4];
    rustix::fs::fgetxattr(folder, c"user.overlay.opaque", &mut value).is_ok()
}

fn open_folder(at: BorrowedFd<'_>, name: &OsStr) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty()).ok()
}
