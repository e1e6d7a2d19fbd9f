//! What faults on files share: where a file is ([`Location`]), which for a path below a target's root is reached
//! without following links out of it; and changes that are taken back only where nobody else has changed the same
//! since. The contents of a file are [`crate::replaced`]'s.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use evidence::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fchmod, openat2};
use rustix::io::Errno;
use serde_json::Value;

use crate::compare::Change;
use crate::read::Section;
use crate::record::{self, Seal};
use crate::strike::{Record, Undone};
use crate::target::Target;

/// A file of ours that a fault reads whole, at most so many bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Behind a dot, what the name of a kept original or of a withdrawn file begins with.
const KEPT_PREFIX: &str = ".proofmark-kept-";
/// Only its owner may read what is kept.
pub(crate) const KEPT_MODE: u32 = 0o600;

/// A path below a target's root: relative, no `..`.
pub(crate) fn read_path(section: &Section<'_>, key: &str) -> Option<String> {
    let path = section.text(key)?;
    if is_inside(&path) {
        return Some(path);
    }
    let message = format!("`{path}` is not a path below the target's `root`");
    section.problem(
        key,
        "chaos/bad-path",
        message,
        "write it from `root`, `/` between parts",
    );
    None
}

fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Opens a path below the target's `root` without following a link out of it. Only its metadata can be reached by
/// what is returned, so that its own mode doesn't matter.
pub(crate) fn open(target: &Target, path: &str) -> Result<OwnedFd, String> {
    reach(target, path, OFlags::PATH | OFlags::NOFOLLOW)
}

/// The same, with its contents.
pub(crate) fn reach(target: &Target, path: &str, flags: OFlags) -> Result<OwnedFd, String> {
    let root = target.text("root")?;
    let failed = |error: rustix::io::Errno| format!("`{path}` below `{root}`: {}", std::io::Error::from(error));
    let folder = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, root, folder, Mode::empty()).map_err(failed)?;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    openat2(&folder, path, flags | OFlags::CLOEXEC, Mode::empty(), within).map_err(failed)
}

/// The permissions of a file.
pub(crate) fn mode(file: &OwnedFd) -> Result<u32, String> {
    rustix::fs::fstat(file).map(|stat| stat.st_mode & 0o7777).map_err(told)
}

/// A file's contents, bounded.
pub(crate) fn contents(target: &Target, path: &str) -> Result<Vec<u8>, String> {
    let file = File::from(reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    read_whole(&file, path)
}

/// The same of an absolute path, whose links are followed.
pub(crate) fn contents_at(path: &Path) -> Result<Vec<u8>, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|error| format!("`{}`: {}", path.display(), told(error)))?;
    read_whole(&File::from(file), &path.display().to_string())
}

/// The name of what is kept: never a path, so that no record leads out of the folder.
pub(crate) fn recorded_kept(record: &Record) -> Result<String, String> {
    let kept = record::text(record, "kept")?;
    if !kept.starts_with(KEPT_PREFIX) || kept.contains('/') {
        return Err("`kept` of the record is no name of a kept file".to_owned());
    }
    Ok(kept.to_owned())
}

/// An error of the system in its own words.
pub(crate) fn told(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}

/// A file of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A path below the target's `root`.
    Below(String),
    /// An absolute path, no link, that the target's declaration leads to.
    At(String),
}

impl Location {
    /// The file that a key of the target's declaration names: `config`, `certificate_file`. A link is followed to it.
    pub(crate) fn declared(target: &Target, key: &str) -> Result<Location, String> {
        let path = target.text(key)?;
        let found = std::fs::canonicalize(path).map_err(|error| format!("`{path}`: {error}"))?;
        let found = found.into_os_string().into_string();
        Ok(Location::At(found.map_err(|_| format!("`{path}` is not UTF-8"))?))
    }

    pub(crate) fn of(record: &Record) -> Result<Location, String> {
        if record.contains_key("file") {
            return Ok(Location::At(record::text(record, "file")?.to_owned()));
        }
        Ok(Location::Below(record::text(record, "path")?.to_owned()))
    }

    /// Key and value of a record.
    pub(crate) fn record(&self) -> (&'static str, Value) {
        match self {
            Location::Below(path) => ("path", path.clone().into()),
            Location::At(path) => ("file", path.clone().into()),
        }
    }

    pub(crate) fn place(&self, target: &Target) -> Result<Place, String> {
        match self {
            Location::Below(path) => Place::of(target, path),
            Location::At(path) => Place::at(Path::new(path)),
        }
    }

    /// A file's contents, bounded.
    pub(crate) fn read(&self, target: &Target) -> Result<Vec<u8>, String> {
        match self {
            Location::Below(path) => contents(target, path),
            Location::At(path) => contents_at(Path::new(path)),
        }
    }

    /// The same of a file of text.
    pub(crate) fn text(&self, target: &Target) -> Result<String, String> {
        self.utf8(self.read(target)?)
    }

    pub(crate) fn utf8(&self, bytes: Vec<u8>) -> Result<String, String> {
        String::from_utf8(bytes).map_err(|_| format!("`{self}` is not text"))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Location::Below(path) | Location::At(path)) = self;
        f.write_str(path)
    }
}

/// The folder of a file, and the file's name in it: what a rename needs.
pub(crate) struct Place {
    folder: OwnedFd,
    pub name: String,
}

impl Place {
    pub(crate) fn of(target: &Target, path: &str) -> Result<Place, String> {
        let (above, name) = match path.rsplit_once('/') {
            Some((above, name)) => (above, name),
            None => (".", path),
        };
        Ok(Place {
            folder: reach(target, above, OFlags::DIRECTORY | OFlags::RDONLY)?,
            name: name.to_owned(),
        })
    }

    fn at(path: &Path) -> Result<Place, String> {
        let (folder, name) = path
            .parent()
            .zip(path.file_name().and_then(|name| name.to_str()))
            .ok_or_else(|| format!("`{}` is no path of a file", path.display()))?;
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(Place {
            folder: rustix::fs::openat(CWD, folder, flags, Mode::empty())
                .map_err(|error| format!("`{}`: {}", folder.display(), told(error)))?,
            name: name.to_owned(),
        })
    }

    /// `None` where there is nothing of that name.
    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stat>, String> {
        match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> Result<(), String> {
        self.try_rename(from, to, flags).map_err(told)
    }

    pub(crate) fn try_rename(&self, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
        rustix::fs::renameat_with(&self.folder, from, &self.folder, to, flags)?;
        self.sync()
    }

    /// Another name of the same file.
    pub(crate) fn link(&self, from: &str, to: &str) -> Result<(), String> {
        rustix::fs::linkat(&self.folder, from, &self.folder, to, AtFlags::empty()).map_err(told)?;
        self.sync().map_err(told)
    }

    pub(crate) fn remove(&self, name: &str) -> Result<(), String> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) => self.sync().map_err(told),
            Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(told(error)),
        }
    }

    /// Makes its names durable, where the file system has that.
    fn sync(&self) -> Result<(), Errno> {
        match rustix::fs::fsync(&self.folder) {
            Err(Errno::INVAL) => Ok(()),
            done => done,
        }
    }

    pub(crate) fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, String> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, name, flags, Mode::from_raw_mode(KEPT_MODE)).map_err(told)
    }

    /// The contents of a regular file; a link is not followed.
    pub(crate) fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let file = File::from(self.open(name, OFlags::RDONLY | OFlags::NONBLOCK)?);
        read_whole(&file, name)
    }

    /// A file that was not there: nobody's link or pipe of that name is written through. One that an injection of ours
    /// left half written, a plain file of our own with no other name, is made anew.
    fn create(&self, name: &str) -> Result<OwnedFd, String> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NONBLOCK;
        if let Ok(found) = self
            .open(name, OFlags::PATH)
            .and_then(|file| rustix::fs::fstat(&file).map_err(told))
        {
            let plain = rustix::fs::FileType::from_raw_mode(found.st_mode) == rustix::fs::FileType::RegularFile;
            let ours = plain
                && found.st_nlink == 1
                && (found.st_uid == rustix::process::geteuid().as_raw() || rustix::process::geteuid().is_root());
            if !ours {
                return Err(format!(
                    "`{name}` is there already, and is not a file that an injection left"
                ));
            }
            rustix::fs::unlinkat(&self.folder, name, rustix::fs::AtFlags::empty()).map_err(told)?;
        }
        self.open(name, flags)
    }

    /// Writes a file durably, with the owner and mode of `like`.
    pub(crate) fn write(&self, name: &str, bytes: &[u8], like: &Stat) -> Result<(), String> {
        let mut file = File::from(self.create(name)?);
        file.write_all(bytes).map_err(|error| error.to_string())?;
        let (user, group) = (
            rustix::fs::Uid::from_raw(like.st_uid),
            rustix::fs::Gid::from_raw(like.st_gid),
        );
        rustix::fs::fchown(&file, Some(user), Some(group)).map_err(told)?;
        fchmod(&file, Mode::from_raw_mode(like.st_mode & 0o7777)).map_err(told)?;
        file.sync_all().map_err(|error| error.to_string())
    }
}

fn read_whole(file: &File, name: &str) -> Result<Vec<u8>, String> {
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err(format!("`{name}` is not a regular file"));
    }
    let size = metadata.size();
    if size > FILE_BYTES_MAX {
        return Err(format!("`{name}` has {size} bytes, more than {FILE_BYTES_MAX}"));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// A name beside `path` that only this change of it has.
pub(crate) fn kept_name(path: &str, what: &[u8]) -> String {
    let digest = Digest::of(&[path.as_bytes(), b"\0", what].concat()).hex();
    format!("{KEPT_PREFIX}{}", &digest[..16])
}

/// A file or folder renamed away, beside where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Withdrawal {
    path: String,
    kept: String,
    inode: u64,
}

impl Withdrawal {
    pub(crate) fn to(target: &Target, path: &str) -> Result<Withdrawal, String> {
        let place = Place::of(target, path)?;
        let stat = place.stat(&place.name)?.ok_or_else(|| format!("`{path}` is missing"))?;
        let kept = kept_name(path, b"withdrawn");
        if place.stat(&kept)?.is_some() {
            return Err(format!(
                "`{kept}` lies beside `{path}`: an earlier fault withdrew it, which somebody has to look at first"
            ));
        }
        Ok(Withdrawal {
            path: path.to_owned(),
            kept,
            inode: stat.st_ino,
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record::from([
            ("path".to_owned(), self.path.clone().into()),
            ("kept".to_owned(), self.kept.clone().into()),
            ("inode".to_owned(), self.inode.into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Withdrawal, String> {
        Ok(Withdrawal {
            path: record::text(record, "path")?.to_owned(),
            kept: recorded_kept(record)?,
            inode: record::number(record, "inode")?,
        })
    }

    /// Whether nothing of that name is there.
    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        let place = Place::of(target, &self.path)?;
        Ok(place.stat(&place.name)?.is_none())
    }

    pub(crate) fn apply(&self, target: &Target) -> Result<(), String> {
        let place = Place::of(target, &self.path)?;
        match place.stat(&place.name)? {
            None if place.stat(&self.kept)?.is_some_and(|kept| kept.st_ino == self.inode) => Ok(()),
            Some(stat) if stat.st_ino == self.inode => place.rename(&place.name, &self.kept, RenameFlags::NOREPLACE),
            _ => Err(format!("`{}` was changed since it was looked at", self.path)),
        }
    }

    /// Puts it back where nobody else has put something there.
    pub(crate) fn take_back(&self, target: &Target) -> Result<Undone, String> {
        let place = match Place::of(target, &self.path) {
            Ok(place) => place,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        let (there, kept) = (place.stat(&place.name)?, place.stat(&self.kept)?);
        let is_kept = kept.is_some_and(|kept| kept.st_ino == self.inode);
        match there {
            Some(stat) if stat.st_ino == self.inode => Ok(Undone::Restored),
            None if is_kept => {
                place.rename(&self.kept, &place.name, RenameFlags::NOREPLACE)?;
                Ok(Undone::Restored)
            }
            Some(_) if is_kept => Ok(Undone::Foreign(format!(
                "something else is `{}` now; what it was before is kept beside it as `{}`",
                self.path, self.kept
            ))),
            Some(_) => Ok(Undone::Foreign(format!("`{}` was replaced", self.path))),
            None => Ok(Undone::Foreign(format!(
                "`{}` was removed, and so was what was kept of it",
                self.path
            ))),
        }
    }
}

/// A file of ours where there was none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planting {
    path: String,
    aside: String,
    digest: Digest,
    /// What it is sealed with.
    seal: Seal,
}

/// What is planted is there to be found.
const PLANTED_MODE: u32 = 0o644;

impl Planting {
    pub(crate) fn to(target: &Target, path: &str, new: &[u8]) -> Result<Planting, String> {
        let place = Place::of(target, path)?;
        if place.stat(&place.name)?.is_some() {
            return Err(format!("`{path}` is there already"));
        }
        let digest = Digest::of(new);
        Ok(Planting {
            path: path.to_owned(),
            aside: kept_name(path, &digest.0),
            digest,
            seal: Seal::NONE,
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record::from([
            ("path".to_owned(), self.path.clone().into()),
            ("kept".to_owned(), self.aside.clone().into()),
            ("digest_after".to_owned(), self.digest.hex().into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Planting, String> {
        Ok(Planting {
            path: record::text(record, "path")?.to_owned(),
            aside: recorded_kept(record)?,
            digest: record::digest(record, "digest_after")?,
            seal: Seal::of(record)?,
        })
    }

    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        let place = Place::of(target, &self.path)?;
        Ok(place.stat(&place.name)?.is_some() && self.seal.digest(&place.read(&place.name)?) == self.digest)
    }

    pub(crate) fn apply(&self, target: &Target, new: &[u8]) -> Result<(), String> {
        if self.is_applied(target)? {
            return Ok(());
        }
        if self.seal.digest(new) != self.digest {
            return Err("what is to be planted was changed since it was looked at".to_owned());
        }
        let place = Place::of(target, &self.path)?;
        let mut like = rustix::fs::fstat(&place.folder).map_err(told)?;
        like.st_mode = PLANTED_MODE;
        place.write(&self.aside, new, &like)?;
        place.rename(&self.aside, &place.name, RenameFlags::NOREPLACE)
    }

    /// Removes it where it is still what was planted.
    pub(crate) fn take_back(&self, target: &Target) -> Result<Undone, String> {
        let place = match Place::of(target, &self.path) {
            Ok(place) => place,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        let is_ours = |name: &str| {
            let contents = place.read(name);
            contents.is_ok_and(|contents| self.seal.digest(&contents) == self.digest)
        };
        if place.stat(&place.name)?.is_some() && is_ours(&place.name) {
            // Moved away before it is looked at for the last time, so that nothing of anybody else is removed.
            place.remove(&self.aside)?;
            place.rename(&place.name, &self.aside, RenameFlags::NOREPLACE)?;
            if !is_ours(&self.aside) {
                place.rename(&self.aside, &place.name, RenameFlags::NOREPLACE)?;
            }
        }
        if place.stat(&self.aside)?.is_some() {
            place.remove(&self.aside)?;
        }
        match place.stat(&place.name)? {
            None => Ok(Undone::Restored),
            Some(_) => Ok(Undone::Foreign(format!("`{}` was changed", self.path))),
        }
    }
}

/// Two files, or two folders, that have each other's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    path: String,
    other: String,
    inode: u64,
    other_inode: u64,
}

impl Exchange {
    pub(crate) fn to(target: &Target, path: &str, other: &str) -> Result<Exchange, String> {
        let inode = |path: &str| {
            rustix::fs::fstat(open(target, path)?)
                .map(|stat| stat.st_ino)
                .map_err(told)
        };
        let (inode, other_inode) = (inode(path)?, inode(other)?);
        if inode == other_inode {
            return Err(format!("`{path}` and `{other}` are the same"));
        }
        Ok(Exchange {
            path: path.to_owned(),
            other: other.to_owned(),
            inode,
            other_inode,
        })
    }

    pub(crate) fn record(&self) -> Record {
        Record::from([
            ("path".to_owned(), self.path.clone().into()),
            ("other".to_owned(), self.other.clone().into()),
            ("inode".to_owned(), self.inode.into()),
            ("other_inode".to_owned(), self.other_inode.into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Exchange, String> {
        Ok(Exchange {
            path: record::text(record, "path")?.to_owned(),
            other: record::text(record, "other")?.to_owned(),
            inode: record::number(record, "inode")?,
            other_inode: record::number(record, "other_inode")?,
        })
    }

    /// Whether the path has what was at the other one.
    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        Ok(self.inodes(target)?.0 == Some(self.other_inode))
    }

    pub(crate) fn apply(&self, target: &Target) -> Result<(), String> {
        match self.inodes(target)? {
            (Some(there), Some(other)) if (there, other) == (self.inode, self.other_inode) => self.exchange(target),
            (Some(there), Some(other)) if (there, other) == (self.other_inode, self.inode) => Ok(()),
            _ => Err(format!("`{}` was changed since it was looked at", self.path)),
        }
    }

    /// Gives both their place back where both are where this exchange put them.
    pub(crate) fn take_back(&self, target: &Target) -> Result<Undone, String> {
        let (there, other) = match self.inodes(target) {
            Ok(inodes) => inodes,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        if there == Some(self.inode) {
            return Ok(Undone::Restored);
        }
        if (there, other) == (Some(self.other_inode), Some(self.inode)) {
            self.exchange(target)?;
            return Ok(Undone::Restored);
        }
        let kept = match other == Some(self.inode) {
            true => format!("; what it was before is `{}`", self.other),
            false => String::new(),
        };
        Ok(Undone::Foreign(format!("`{}` was replaced{kept}", self.path)))
    }

    fn inodes(&self, target: &Target) -> Result<(Option<u64>, Option<u64>), String> {
        let inode = |path: &str| {
            let place = Place::of(target, path)?;
            Ok::<_, String>(place.stat(&place.name)?.map(|stat| stat.st_ino))
        };
        Ok((inode(&self.path)?, inode(&self.other)?))
    }

    fn exchange(&self, target: &Target) -> Result<(), String> {
        let (place, other) = (Place::of(target, &self.path)?, Place::of(target, &self.other)?);
        let (from, to) = (&place.folder, &other.folder);
        rustix::fs::renameat_with(from, &place.name, to, &other.name, RenameFlags::EXCHANGE).map_err(told)?;
        place.sync().map_err(told)?;
        other.sync().map_err(told)
    }
}

/// A file or folder that nobody can change, its owner and root included: the kernel's attribute `i` (`chattr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Immutability {
    inode: u64,
    flags: u32,
}

impl Immutability {
    /// `None` where the file system has no such attribute, or this process may not set it.
    pub(crate) fn to(target: &Target, path: &str) -> Result<Option<Immutability>, String> {
        let sets = rustix::thread::capabilities(None).map_err(told)?;
        if !sets.effective.contains(rustix::thread::CapabilitySet::LINUX_IMMUTABLE) {
            return Ok(None);
        }
        let file = reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let Ok(flags) = rustix::fs::ioctl_getflags(&file) else {
            return Ok(None);
        };
        if flags.contains(rustix::fs::IFlags::IMMUTABLE) {
            return Err(format!("`{path}` is immutable already"));
        }
        let inode = inode(&file)?;
        let flags = flags.bits();
        Ok(Some(Immutability { inode, flags }))
    }

    pub(crate) fn record(self) -> Record {
        Record::from([
            ("inode".to_owned(), self.inode.into()),
            ("attributes_before".to_owned(), self.flags.into()),
        ])
    }

    /// `None` where the record is of another change.
    pub(crate) fn of(record: &Record) -> Result<Option<Immutability>, String> {
        if !record.contains_key("attributes_before") {
            return Ok(None);
        }
        let flags = record::number(record, "attributes_before")?;
        Ok(Some(Immutability {
            inode: record::number(record, "inode")?,
            flags: u32::try_from(flags).map_err(|_| "`attributes_before` is too large")?,
        }))
    }

    pub(crate) fn is_applied(target: &Target, path: &str) -> Result<bool, String> {
        let file = reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let flags = rustix::fs::ioctl_getflags(&file).map_err(told)?;
        Ok(flags.contains(rustix::fs::IFlags::IMMUTABLE))
    }

    pub(crate) fn apply(self, target: &Target, path: &str) -> Result<(), String> {
        let file = self
            .file(target, path)?
            .ok_or_else(|| format!("`{path}` was replaced"))?;
        let flags = rustix::fs::ioctl_getflags(&file).map_err(told)?;
        rustix::fs::ioctl_setflags(&file, flags | rustix::fs::IFlags::IMMUTABLE).map_err(told)
    }

    pub(crate) fn take_back(self, target: &Target, path: &str) -> Result<Undone, String> {
        let file = match self.file(target, path) {
            Ok(Some(file)) => file,
            Ok(None) => return Ok(Undone::Foreign(format!("`{path}` was replaced"))),
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        let flags = rustix::fs::ioctl_getflags(&file).map_err(told)?;
        if flags.contains(rustix::fs::IFlags::IMMUTABLE) {
            rustix::fs::ioctl_setflags(&file, flags - rustix::fs::IFlags::IMMUTABLE).map_err(told)?;
        }
        Ok(Undone::Restored)
    }

    fn file(self, target: &Target, path: &str) -> Result<Option<OwnedFd>, String> {
        let file = reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        let inode = inode(&file)?;
        Ok((inode == self.inode).then_some(file))
    }
}

/// The file capabilities of a program, as the kernel keeps them (capabilities(7)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capabilities {
    inode: u64,
    /// Its attribute, in hexadecimal.
    attribute: String,
}

const CAPABILITY_ATTRIBUTE: &str = "security.capability";
/// The kernel's structure has 24 bytes at most.
const CAPABILITY_BYTES_MAX: usize = 64;

impl Capabilities {
    pub(crate) fn of_program(target: &Target, path: &str) -> Result<Capabilities, String> {
        let sets = rustix::thread::capabilities(None).map_err(told)?;
        if !sets.effective.contains(rustix::thread::CapabilitySet::SETFCAP) {
            return Err("without `CAP_SETFCAP` they could not be set again".to_owned());
        }
        let file = program(target, path)?;
        let attribute = capabilities(&file)?.ok_or_else(|| format!("`{path}` has no capabilities"))?;
        Ok(Capabilities {
            inode: inode(&file)?,
            attribute: attribute.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    pub(crate) fn record(self) -> Record {
        Record::from([
            ("inode".to_owned(), self.inode.into()),
            ("capabilities".to_owned(), self.attribute.into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<Capabilities, String> {
        Ok(Capabilities {
            inode: record::number(record, "inode")?,
            attribute: record::text(record, "capabilities")?.to_owned(),
        })
    }

    pub(crate) fn are_missing(target: &Target, path: &str) -> Result<bool, String> {
        Ok(capabilities(&program(target, path)?)?.is_none())
    }

    pub(crate) fn remove(&self, target: &Target, path: &str) -> Result<(), String> {
        let file = program(target, path)?;
        match capabilities(&file)? {
            None => Ok(()),
            Some(found) if found == self.bytes()? => {
                rustix::fs::fremovexattr(&file, CAPABILITY_ATTRIBUTE).map_err(told)
            }
            Some(_) => Err(format!("`{path}` was changed since it was looked at")),
        }
    }

    pub(crate) fn take_back(&self, target: &Target, path: &str) -> Result<Undone, String> {
        let file = match program(target, path) {
            Ok(file) => file,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        if inode(&file)? != self.inode {
            return Ok(Undone::Foreign(format!("`{path}` was replaced")));
        }
        let attribute = self.bytes()?;
        match capabilities(&file)? {
            Some(found) if found == attribute => Ok(Undone::Restored),
            Some(_) => Ok(Undone::Foreign(format!("`{path}` has other capabilities now"))),
            None => {
                // Nobody else's is overwritten: where one has appeared, this fails.
                let flags = rustix::fs::XattrFlags::CREATE;
                rustix::fs::fsetxattr(&file, CAPABILITY_ATTRIBUTE, &attribute, flags).map_err(told)?;
                Ok(Undone::Restored)
            }
        }
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        let digits = self.attribute.as_bytes().chunks(2);
        let byte = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.map(byte).collect();
        bytes.ok_or_else(|| "`capabilities` of the record are none".to_owned())
    }
}

fn program(target: &Target, path: &str) -> Result<OwnedFd, String> {
    reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW)
}

fn capabilities(file: &OwnedFd) -> Result<Option<Vec<u8>>, String> {
    let mut attribute = vec![0; CAPABILITY_BYTES_MAX];
    match rustix::fs::fgetxattr(file, CAPABILITY_ATTRIBUTE, &mut attribute) {
        Ok(length) => {
            attribute.truncate(length);
            Ok(Some(attribute))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(told(error)),
    }
}

/// A change of permissions, and of which file. Modes are texts of octal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ModeChange {
    inode: u64,
    change: Change,
}

impl ModeChange {
    /// The change to make to a file as it is now. `permit` makes the new permissions of the old ones.
    pub(crate) fn to(file: &OwnedFd, permit: impl Fn(u32) -> u32) -> Result<ModeChange, String> {
        let before = mode(file)?;
        let stat = rustix::fs::fstat(file).map_err(told)?;
        let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile;
        if regular && stat.st_nlink > 1 {
            return Err("the file has other names (hard links), which may lie outside of the target".to_owned());
        }
        Ok(ModeChange {
            inode: inode(file)?,
            change: Change::new(octal(before), octal(permit(before)))?,
        })
    }

    pub(crate) fn record(self) -> Record {
        self.change.record([("inode", self.inode.into())])
    }

    pub(crate) fn of(record: &Record) -> Result<ModeChange, String> {
        Ok(ModeChange {
            inode: record::number(record, "inode")?,
            change: Change::of(record)?,
        })
    }

    /// Only the file that was looked at, and only where its mode is still what it was then, or ours already.
    pub(crate) fn apply(&self, file: &OwnedFd) -> Result<(), String> {
        let now = octal(mode(file)?);
        if inode(file)? != self.inode {
            return Err("the file was replaced since it was looked at".to_owned());
        }
        if self.change.before != now.as_str() && self.change.after != now.as_str() {
            return Err(format!("somebody has made its mode {now} since it was looked at"));
        }
        set_octal(file, &self.change.after)
    }

    pub(crate) fn is_made(&self, file: &OwnedFd) -> Result<bool, String> {
        Ok(octal(mode(file)?) == self.change.after)
    }

    /// Puts the mode back where it is still what this change made it.
    pub(crate) fn take_back(&self, file: &OwnedFd) -> Result<Undone, String> {
        if inode(file)? != self.inode {
            return Ok(Undone::Foreign("the file was replaced".to_owned()));
        }
        let read = || mode(file).map(|mode| octal(mode).into());
        self.change.undo(read, || set_octal(file, &self.change.before))
    }
}

fn inode(file: &OwnedFd) -> Result<u64, String> {
    rustix::fs::fstat(file).map(|stat| stat.st_ino).map_err(told)
}

fn octal(mode: u32) -> String {
    format!("{mode:o}")
}

fn set_octal(file: &OwnedFd, mode: &Value) -> Result<(), String> {
    let mode = mode.as_str().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    set_mode(file, mode.ok_or("a mode of the record is none")?)
}

/// `fchmod` doesn't work on a descriptor that was opened for its path alone; its name under `/proc` does.
pub(crate) fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), String> {
    use std::os::fd::AsRawFd;
    let set = rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::from_raw_mode(mode));
    set.or_else(|_| fchmod(file, Mode::from_raw_mode(mode))).map_err(told)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::target::Targets;

    pub(crate) const PATH: &str = "conf/secret";
    pub(crate) const OLD: &[u8] = b"old";
    pub(crate) const NEW: &[u8] = b"new and longer";

    /// A target with one file of mode 640.
    pub(crate) fn target(root: &Path) -> Target {
        fs::create_dir_all(root.join("conf")).unwrap();
        fs::write(root.join(PATH), OLD).unwrap();
        fs::set_permissions(root.join(PATH), fs::Permissions::from_mode(0o640)).unwrap();
        let text = format!(
            "[chaos.target.t]\nkind = \"files\"\nroot = {:?}\n",
            root.display().to_string()
        );
        Targets::parse("x", &text).unwrap().named("t").unwrap().clone()
    }

    /// Name, inode, mode and contents of everything in the folder.
    pub(crate) fn state(root: &Path) -> Vec<(String, u64, u32, Vec<u8>)> {
        let mut state: Vec<_> = fs::read_dir(root.join("conf"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let metadata = entry.metadata().unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, metadata.ino(), metadata.mode(), fs::read(entry.path()).unwrap())
            })
            .collect();
        state.sort();
        state
    }

    #[test]
    fn a_withdrawn_file_is_given_its_name_back_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let before = state(folder.path());
        let withdrawal = Withdrawal::to(&target, PATH).unwrap();
        for _ in 0..2 {
            withdrawal.apply(&target).unwrap();
            assert_eq!(withdrawal.is_applied(&target), Ok(true));
        }
        fs::write(folder.path().join(PATH), "theirs").unwrap();
        for _ in 0..2 {
            assert!(matches!(withdrawal.take_back(&target), Ok(Undone::Foreign(_))));
            assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), b"theirs");
        }
        fs::remove_file(folder.path().join(PATH)).unwrap();
        for _ in 0..2 {
            assert_eq!(withdrawal.take_back(&target), Ok(Undone::Restored));
            assert_eq!(state(folder.path()), before);
        }
    }

    #[test]
    fn what_was_planted_is_removed_and_nothing_else() {
        const PLANT: &str = "conf/leak";
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let before = state(folder.path());
        assert!(Planting::to(&target, PATH, NEW).is_err());
        let planting = Planting::to(&target, PLANT, NEW).unwrap();
        let place = Place::of(&target, PLANT).unwrap();
        let like = rustix::fs::fstat(&place.folder).unwrap();
        // Killed before it had its name.
        place.write(&planting.aside, &NEW[..2], &like).unwrap();
        assert_eq!(planting.take_back(&target), Ok(Undone::Restored));
        assert_eq!(state(folder.path()), before);
        planting.apply(&target, NEW).unwrap();
        assert_eq!(planting.is_applied(&target), Ok(true));
        // Killed when it had lost it again.
        place
            .rename(&place.name, &planting.aside, RenameFlags::NOREPLACE)
            .unwrap();
        assert_eq!(planting.take_back(&target), Ok(Undone::Restored));
        assert_eq!(state(folder.path()), before);
        planting.apply(&target, NEW).unwrap();
        fs::write(folder.path().join(PLANT), "theirs").unwrap();
        assert!(matches!(planting.take_back(&target), Ok(Undone::Foreign(_))));
        assert_eq!(fs::read(folder.path().join(PLANT)).unwrap(), b"theirs");
    }
}
