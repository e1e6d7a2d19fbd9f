//! What faults on files share: a path below a target's root that is reached without following links out of it, and
//! changes that are taken back only where nobody else has changed the same since.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use evidence::Digest;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, ResolveFlags, Stat, fchmod, openat2};
use rustix::io::Errno;

use crate::read::Section;
use crate::strike::{Record, Undone};
use crate::target::Target;

/// A file of ours that a fault reads whole, at most so many bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 << 20;
/// Behind a dot, what the name of a kept original or of a withdrawn file begins with.
const KEPT_PREFIX: &str = ".proofmark-kept-";
/// Only its owner may read what is kept.
const KEPT_MODE: u32 = 0o600;

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
    rustix::fs::fstat(file)
        .map(|stat| stat.st_mode & 0o7777)
        .map_err(|error| std::io::Error::from(error).to_string())
}

/// A file's contents, bounded.
pub(crate) fn contents(target: &Target, path: &str) -> Result<Vec<u8>, String> {
    let file = File::from(reach(target, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    read_whole(&file, path)
}

/// What a record says under `key`.
pub(crate) fn recorded<'r>(record: &'r Record, key: &str) -> Result<&'r str, String> {
    let text = record.get(key).and_then(serde_json::Value::as_str);
    text.ok_or_else(|| format!("the record has no `{key}`"))
}

pub(crate) fn recorded_number(record: &Record, key: &str) -> Result<u64, String> {
    let number = record.get(key).and_then(serde_json::Value::as_u64);
    number.ok_or_else(|| format!("the record has no `{key}`"))
}

fn recorded_digest(record: &Record, key: &str) -> Result<Digest, String> {
    recorded(record, key)?
        .parse()
        .map_err(|_| format!("`{key}` of the record is no digest"))
}

/// The name of what is kept: never a path, so that no record leads out of the folder.
fn recorded_kept(record: &Record) -> Result<String, String> {
    let kept = recorded(record, "kept")?;
    if !kept.starts_with(KEPT_PREFIX) || kept.contains('/') {
        return Err("`kept` of the record is no name of a kept file".to_owned());
    }
    Ok(kept.to_owned())
}

/// An error of the system in its own words.
pub(crate) fn told(error: Errno) -> String {
    std::io::Error::from(error).to_string()
}

/// The folder of a file, and the file's name in it: what a rename needs.
struct Place {
    folder: OwnedFd,
    name: String,
}

impl Place {
    fn of(target: &Target, path: &str) -> Result<Place, String> {
        let (above, name) = match path.rsplit_once('/') {
            Some((above, name)) => (above, name),
            None => (".", path),
        };
        Ok(Place {
            folder: reach(target, above, OFlags::DIRECTORY | OFlags::RDONLY)?,
            name: name.to_owned(),
        })
    }

    /// `None` where there is nothing of that name.
    fn stat(&self, name: &str) -> Result<Option<Stat>, String> {
        match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }

    fn rename(&self, from: &str, to: &str, flags: RenameFlags) -> Result<(), String> {
        rustix::fs::renameat_with(&self.folder, from, &self.folder, to, flags).map_err(told)?;
        self.sync()
    }

    fn remove(&self, name: &str) -> Result<(), String> {
        match rustix::fs::unlinkat(&self.folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => self.sync(),
            Err(error) => Err(told(error)),
        }
    }

    fn sync(&self) -> Result<(), String> {
        rustix::fs::fsync(&self.folder).map_err(told)
    }

    fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, String> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&self.folder, name, flags, Mode::from_raw_mode(KEPT_MODE)).map_err(told)
    }

    /// The contents of a regular file; a link is not followed.
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let file = File::from(self.open(name, OFlags::RDONLY | OFlags::NONBLOCK)?);
        read_whole(&file, name)
    }

    fn digest(&self, name: &str) -> Result<Digest, String> {
        self.read(name).map(|bytes| Digest::of(&bytes))
    }

    /// Writes a file durably, with the owner and mode of `like`.
    fn write(&self, name: &str, bytes: &[u8], like: &Stat) -> Result<(), String> {
        let mut file = File::from(self.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?);
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
fn kept_name(path: &str, what: &[u8]) -> String {
    let digest = Digest::of(&[path.as_bytes(), b"\0", what].concat()).hex();
    format!("{KEPT_PREFIX}{}", &digest[..16])
}

/// The contents of a file replaced by others. The file itself is kept beside, under a name that stands in the record,
/// and comes back with everything that it was: contents, owner, times, links, open descriptors.
///
/// Order: the new contents are durable under the kept name; then the two names are exchanged in one step. So at every
/// moment one of them is the original, which its inode tells, and the path always names a whole file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Swap {
    path: String,
    kept: String,
    inode: u64,
    mode: u32,
    /// Absent where others may write on meanwhile: their lines come back with the original.
    before: Option<Digest>,
    after: Digest,
}

impl Swap {
    /// The swap to make of a file as it is now.
    pub(crate) fn to(target: &Target, path: &str, new: &[u8]) -> Result<Swap, String> {
        let before = Place::of(target, path).and_then(|place| place.digest(&place.name))?;
        Swap::planned(target, path, Some(before), Digest::of(new))
    }

    /// The same of a file that is written on all the time.
    pub(crate) fn of_log(target: &Target, path: &str, new: &[u8]) -> Result<Swap, String> {
        Swap::planned(target, path, None, Digest::of(new))
    }

    fn planned(target: &Target, path: &str, before: Option<Digest>, after: Digest) -> Result<Swap, String> {
        let place = Place::of(target, path)?;
        let stat = place.stat(&place.name)?.ok_or_else(|| format!("`{path}` is missing"))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(format!("`{path}` is not a regular file"));
        }
        if before == Some(after) {
            return Err(format!("it would leave `{path}` as it is"));
        }
        let kept = kept_name(path, &after.0);
        if place.stat(&kept)?.is_some() {
            return Err(format!(
                "`{kept}` lies beside `{path}`: the original of an earlier fault, which somebody has to look at first"
            ));
        }
        Ok(Swap {
            path: path.to_owned(),
            kept,
            inode: stat.st_ino,
            mode: stat.st_mode & 0o7777,
            before,
            after,
        })
    }

    pub(crate) fn record(&self) -> Record {
        let mut record = Record::from([
            ("path".to_owned(), self.path.clone().into()),
            ("kept".to_owned(), self.kept.clone().into()),
            ("inode".to_owned(), self.inode.into()),
            ("mode".to_owned(), self.mode.into()),
            ("digest_after".to_owned(), self.after.hex().into()),
        ]);
        if let Some(before) = self.before {
            record.insert("digest_before".to_owned(), before.hex().into());
        }
        record
    }

    pub(crate) fn of(record: &Record) -> Result<Swap, String> {
        Ok(Swap {
            path: recorded(record, "path")?.to_owned(),
            kept: recorded_kept(record)?,
            inode: recorded_number(record, "inode")?,
            mode: u32::try_from(recorded_number(record, "mode")?).map_err(|_| "`mode` is no mode")?,
            before: match record.contains_key("digest_before") {
                true => Some(recorded_digest(record, "digest_before")?),
                false => None,
            },
            after: recorded_digest(record, "digest_after")?,
        })
    }

    /// Whether the path holds the new contents.
    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        let place = Place::of(target, &self.path)?;
        let Some(stat) = place.stat(&place.name)? else {
            return Ok(false);
        };
        Ok(stat.st_ino != self.inode && place.digest(&place.name)? == self.after)
    }

    /// Puts the new contents in place. `make` gets the old ones and gives the ones that the swap was made for.
    pub(crate) fn apply(
        &self,
        target: &Target,
        make: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        if self.is_applied(target)? {
            return Ok(());
        }
        let changed = || format!("`{}` was changed since it was looked at", self.path);
        let place = Place::of(target, &self.path)?;
        let stat = place.stat(&place.name)?.ok_or_else(changed)?;
        let old = match self.before {
            Some(before) => Some(place.read(&place.name)?).filter(|old| Digest::of(old) == before),
            None => Some(Vec::new()),
        };
        let old = old.filter(|_| stat.st_ino == self.inode).ok_or_else(changed)?;
        let new = make(old)?;
        if Digest::of(&new) != self.after {
            return Err(changed());
        }
        place.write(&self.kept, &new, &stat)?;
        place.rename(&self.kept, &place.name, RenameFlags::EXCHANGE)?;
        if place.stat(&self.kept)?.is_none_or(|stat| stat.st_ino != self.inode) {
            // Somebody replaced the file between the look and the exchange: theirs goes back.
            place.rename(&self.kept, &place.name, RenameFlags::EXCHANGE)?;
            place.remove(&self.kept)?;
            return Err(changed());
        }
        self.set_kept_mode(&place, KEPT_MODE)
    }

    /// Puts the original back where the path still holds what this swap put there.
    pub(crate) fn take_back(&self, target: &Target) -> Result<Undone, String> {
        let place = match Place::of(target, &self.path) {
            Ok(place) => place,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        let (there, kept) = (place.stat(&place.name)?, place.stat(&self.kept)?);
        let is_original = |stat: &Option<Stat>| stat.as_ref().is_some_and(|stat| stat.st_ino == self.inode);
        if is_original(&there) {
            // Cut short before the exchange, or undone: only a copy of ours may be left.
            place.remove(&self.kept)?;
            return Ok(Undone::Restored);
        }
        let there_digest = there.and_then(|_| place.digest(&place.name).ok());
        if !is_original(&kept) {
            return Ok(match there_digest {
                Some(digest) if self.before == Some(digest) => Undone::Restored,
                Some(digest) if digest == self.after => Undone::Foreign(format!(
                    "the original of `{}`, kept as `{}`, is gone",
                    self.path, self.kept
                )),
                _ => Undone::Foreign(format!("`{}` was replaced", self.path)),
            });
        }
        // Somebody put the same contents there, so that the original is of no more use.
        if self.before.is_some() && there_digest == self.before && place.digest(&self.kept).ok() == self.before {
            place.remove(&self.kept)?;
            return Ok(Undone::Restored);
        }
        let is_ours = there_digest == Some(self.after)
            && there.is_some_and(|there| {
                kept.is_some_and(|kept| (there.st_uid, there.st_gid) == (kept.st_uid, kept.st_gid))
                    && there.st_mode & 0o7777 == self.mode
            });
        if !is_ours {
            return Ok(self.left(""));
        }
        self.set_kept_mode(&place, self.mode)?;
        place.rename(&self.kept, &place.name, RenameFlags::EXCHANGE)?;
        if place.digest(&self.kept)? != self.after {
            // Changed between the look and the exchange: theirs goes back.
            place.rename(&self.kept, &place.name, RenameFlags::EXCHANGE)?;
            self.set_kept_mode(&place, KEPT_MODE)?;
            return Ok(self.left(""));
        }
        place.remove(&self.kept)?;
        Ok(Undone::Restored)
    }

    /// Left as it is, with the original beside it. `what` stands behind the path.
    pub(crate) fn left(&self, what: &str) -> Undone {
        Undone::Foreign(format!(
            "`{}`{what} was changed; what it was before is kept beside it as `{}`",
            self.path, self.kept
        ))
    }

    fn set_kept_mode(&self, place: &Place, mode: u32) -> Result<(), String> {
        set_mode(&place.open(&self.kept, OFlags::PATH)?, mode)
    }
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
            path: recorded(record, "path")?.to_owned(),
            kept: recorded_kept(record)?,
            inode: recorded_number(record, "inode")?,
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
            path: recorded(record, "path")?.to_owned(),
            aside: recorded_kept(record)?,
            digest: recorded_digest(record, "digest_after")?,
        })
    }

    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        let place = Place::of(target, &self.path)?;
        Ok(place.stat(&place.name)?.is_some() && place.digest(&place.name)? == self.digest)
    }

    pub(crate) fn apply(&self, target: &Target, new: &[u8]) -> Result<(), String> {
        if self.is_applied(target)? {
            return Ok(());
        }
        if Digest::of(new) != self.digest {
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
        let is_ours = |name: &str| place.digest(name).is_ok_and(|digest| digest == self.digest);
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
            path: recorded(record, "path")?.to_owned(),
            other: recorded(record, "other")?.to_owned(),
            inode: recorded_number(record, "inode")?,
            other_inode: recorded_number(record, "other_inode")?,
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
        place.sync()?;
        other.sync()
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
        let inode = rustix::fs::fstat(&file).map_err(told)?.st_ino;
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
        let flags = recorded_number(record, "attributes_before")?;
        Ok(Some(Immutability {
            inode: recorded_number(record, "inode")?,
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
        let inode = rustix::fs::fstat(&file).map_err(told)?.st_ino;
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
            inode: rustix::fs::fstat(&file).map_err(told)?.st_ino,
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
            inode: recorded_number(record, "inode")?,
            attribute: recorded(record, "capabilities")?.to_owned(),
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
        if rustix::fs::fstat(&file).map_err(told)?.st_ino != self.inode {
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

/// A change of permissions: from, to, and of which file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ModeChange {
    inode: u64,
    from: u32,
    to: u32,
}

impl ModeChange {
    /// The change to make to a file as it is now.
    pub(crate) fn to(file: &OwnedFd, to: u32) -> Result<ModeChange, String> {
        let stat = rustix::fs::fstat(file).map_err(|error| std::io::Error::from(error).to_string())?;
        Ok(ModeChange {
            inode: stat.st_ino,
            from: stat.st_mode & 0o7777,
            to,
        })
    }

    pub(crate) fn record(self) -> Record {
        Record::from([
            ("inode".to_owned(), self.inode.into()),
            ("mode_before".to_owned(), self.from.into()),
            ("mode_after".to_owned(), self.to.into()),
        ])
    }

    pub(crate) fn of(record: &Record) -> Result<ModeChange, String> {
        let mode = |key| {
            recorded_number(record, key).and_then(|mode| u32::try_from(mode).map_err(|_| format!("`{key}` is no mode")))
        };
        Ok(ModeChange {
            inode: recorded_number(record, "inode")?,
            from: mode("mode_before")?,
            to: mode("mode_after")?,
        })
    }

    pub(crate) fn apply(self, file: &OwnedFd) -> Result<(), String> {
        set_mode(file, self.to)
    }

    pub(crate) fn is_made(self, mode: u32) -> bool {
        mode == self.to
    }

    /// Puts the mode back where it is still what this change made it.
    pub(crate) fn take_back(self, file: &OwnedFd) -> Result<Undone, String> {
        let found = ModeChange::to(file, 0)?;
        if found.inode != self.inode {
            return Ok(Undone::Foreign("the file was replaced".to_owned()));
        }
        if found.from == self.to && self.from != self.to {
            set_mode(file, self.from)?;
            return Ok(Undone::Restored);
        }
        if found.from == self.from {
            return Ok(Undone::Restored);
        }
        Ok(Undone::Foreign(format!("its mode is {:o} now", found.from)))
    }
}

/// `fchmod` doesn't work on a descriptor that was opened for its path alone; its name under `/proc` does.
fn set_mode(file: &OwnedFd, mode: u32) -> Result<(), String> {
    use std::os::fd::AsRawFd;
    let set = rustix::fs::chmod(format!("/proc/self/fd/{}", file.as_raw_fd()), Mode::from_raw_mode(mode));
    set.or_else(|_| fchmod(file, Mode::from_raw_mode(mode)))
        .map_err(|error| std::io::Error::from(error).to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::target::Targets;

    const PATH: &str = "conf/secret";
    const OLD: &[u8] = b"old";
    const NEW: &[u8] = b"new and longer";

    /// A target with one file of mode 640.
    fn target(root: &Path) -> Target {
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
    fn state(root: &Path) -> Vec<(String, u64, u32, Vec<u8>)> {
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

    /// Where a swap, and its undo, may be killed.
    #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
    enum Cut {
        Nowhere,
        HalfWritten,
        Written,
        Exchanged,
        Applied,
        UndoneMode,
        UndoneExchange,
    }

    /// What is left when it is killed there.
    fn cut(swap: &Swap, target: &Target, cut: Cut) {
        let place = Place::of(target, PATH).unwrap();
        let stat = place.stat(&place.name).unwrap().unwrap();
        if cut == Cut::HalfWritten {
            place.write(&swap.kept, &NEW[..4], &stat).unwrap();
        }
        if cut >= Cut::Written {
            place.write(&swap.kept, NEW, &stat).unwrap();
        }
        if cut >= Cut::Exchanged {
            place.rename(&swap.kept, &place.name, RenameFlags::EXCHANGE).unwrap();
        }
        if cut >= Cut::Applied {
            swap.set_kept_mode(&place, KEPT_MODE).unwrap();
        }
        if cut >= Cut::UndoneMode {
            swap.set_kept_mode(&place, swap.mode).unwrap();
        }
        if cut >= Cut::UndoneExchange {
            place.rename(&swap.kept, &place.name, RenameFlags::EXCHANGE).unwrap();
        }
    }

    #[test]
    fn a_swap_that_is_killed_anywhere_is_undone_to_the_last_bit() {
        use Cut::{Applied, Exchanged, HalfWritten, Nowhere, UndoneExchange, UndoneMode, Written};
        for at in [
            Nowhere,
            HalfWritten,
            Written,
            Exchanged,
            Applied,
            UndoneMode,
            UndoneExchange,
        ] {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path());
            let before = state(folder.path());
            let swap = Swap::to(&target, PATH, NEW).unwrap();
            let swap = Swap::of(&swap.record()).unwrap();
            cut(&swap, &target, at);
            assert_eq!(
                swap.is_applied(&target),
                Ok(matches!(at, Exchanged | Applied | UndoneMode)),
                "{at:?}"
            );
            for _ in 0..2 {
                assert_eq!(swap.take_back(&target), Ok(Undone::Restored), "{at:?}");
                assert_eq!(state(folder.path()), before, "{at:?}");
            }
            // And it can be done again, and be begun anew after a cut.
            cut(&swap, &target, if at == Nowhere { HalfWritten } else { Nowhere });
            swap.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
            assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), NEW);
            assert_eq!(swap.take_back(&target), Ok(Undone::Restored));
            assert_eq!(state(folder.path()), before, "{at:?}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_stays_and_so_does_the_original() {
        type Meddle = fn(&Path);
        let meddles: [Meddle; 4] = [
            |path| fs::write(path, "theirs").unwrap(),
            |path| {
                fs::remove_file(path).unwrap();
                fs::write(path, "theirs").unwrap();
            },
            |path| fs::remove_file(path).unwrap(),
            |path| fs::set_permissions(path, fs::Permissions::from_mode(0o604)).unwrap(),
        ];
        for meddle in meddles {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path());
            let swap = Swap::to(&target, PATH, NEW).unwrap();
            swap.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
            meddle(&folder.path().join(PATH));
            let before = state(folder.path());
            for _ in 0..2 {
                assert!(matches!(swap.take_back(&target), Ok(Undone::Foreign(_))));
                assert_eq!(state(folder.path()), before);
            }
            let kept = fs::read(folder.path().join("conf").join(&swap.kept)).unwrap();
            assert_eq!(kept, OLD);
            // Another fault would lose it.
            assert!(Swap::to(&target, PATH, NEW).is_err());
        }
    }

    #[test]
    fn a_log_comes_back_with_what_was_written_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let mut log = fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(PATH))
            .unwrap();
        let swap = Swap::of_log(&target, PATH, &[]).unwrap();
        log.write_all(b" one").unwrap();
        swap.apply(&target, |_| Ok(Vec::new())).unwrap();
        log.write_all(b" two").unwrap();
        assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), b"");
        assert_eq!(swap.take_back(&target), Ok(Undone::Restored));
        assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), b"old one two");
    }

    #[test]
    fn nothing_is_reached_outside_of_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        let target = target(&root);
        fs::write(folder.path().join("outside"), "x").unwrap();
        std::os::unix::fs::symlink("../../outside", root.join("conf/link")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        for path in ["conf/link", "up/outside"] {
            assert!(Swap::to(&target, path, NEW).is_err(), "{path}");
        }
        // A link is no file to swap, even inside.
        std::os::unix::fs::symlink("secret", root.join("conf/inner")).unwrap();
        assert!(Swap::to(&target, "conf/inner", NEW).is_err());
        let mut record = Swap::to(&target, PATH, NEW).unwrap().record();
        record.insert("kept".to_owned(), ".proofmark-kept-/../../outside".into());
        assert!(Swap::of(&record).is_err());
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
