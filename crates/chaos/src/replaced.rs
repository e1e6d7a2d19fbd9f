//! The contents of a file replaced by others. The file itself is kept beside, under a name that stands in the record,
//! and comes back with everything that it was: contents, owner, mode, times, links, open descriptors.
//!
//! Order: the new contents are durable under the kept name; then the two names are exchanged in one step. So at every
//! moment one of them is the original, which its inode tells, and the path always names a whole file. Where the file
//! system can't exchange names, a hard link keeps the original, and a rename puts the new contents in its place. No
//! copy of the original is made, and meanwhile only its owner may read it. A file that is neither the original nor
//! what replaced it is somebody else's, and stays.
//!
//! It deliberately doesn't know what reads the file: having a service read it again is [`crate::reload`]'s.
//! Who owns the folder can take the original away; it is where the file itself already lay.
//! Start reading at [`Replacement::apply`], then [`Replacement::take_back`].

use evidence::Digest;
use rustix::fs::{FileType, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use crate::files::{KEPT_MODE, Location, Place, kept_name, recorded_kept, set_mode, told};
use crate::record::{self, Seal};
use crate::strike::{Record, Undone};
use crate::target::Target;

/// Which file is replaced, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replacement {
    location: Location,
    /// Name of the original meanwhile, in the same folder.
    kept: String,
    inode: u64,
    mode: u32,
    /// Absent where others may write on meanwhile, so that their lines come back with the original; and where the
    /// contents are so few that they could be guessed from it.
    before: Option<Digest>,
    after: Digest,
    /// What both are sealed with.
    seal: Seal,
}

impl Replacement {
    /// The replacement of a file as it is now.
    pub(crate) fn to(target: &Target, location: &Location, new: &[u8]) -> Result<Replacement, String> {
        let before = Digest::of(&location.read(target)?);
        Replacement::planned(target, location, Some(before), Digest::of(new))
    }

    /// The same of a file that is written on all the time, or whose digest is to stand nowhere.
    pub(crate) fn unread(target: &Target, location: &Location, new: &[u8]) -> Result<Replacement, String> {
        Replacement::planned(target, location, None, Digest::of(new))
    }

    fn planned(
        target: &Target,
        location: &Location,
        before: Option<Digest>,
        after: Digest,
    ) -> Result<Replacement, String> {
        let place = location.place(target)?;
        let stat = place
            .stat(&place.name)?
            .ok_or_else(|| format!("`{location}` is missing"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(format!("`{location}` is not a regular file"));
        }
        if before == Some(after) {
            return Err(format!("it would leave `{location}` as it is"));
        }
        let kept = kept_name(&location.to_string(), &after.0);
        if place.stat(&kept)?.is_some() {
            return Err(format!(
                "`{kept}` lies beside `{location}`: the original of an earlier fault, which somebody has to look at first"
            ));
        }
        Ok(Replacement {
            location: location.clone(),
            kept,
            inode: stat.st_ino,
            mode: stat.st_mode & 0o7777,
            before,
            after,
            seal: Seal::NONE,
        })
    }

    /// Paths, numbers and digests: never a byte of what the file held.
    pub(crate) fn record(&self) -> Record {
        let (key, path) = self.location.record();
        let mut record = Record::from([
            (key.to_owned(), path),
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

    pub(crate) fn of(record: &Record) -> Result<Replacement, String> {
        Ok(Replacement {
            location: Location::of(record)?,
            kept: recorded_kept(record)?,
            inode: record::number(record, "inode")?,
            mode: u32::try_from(record::number(record, "mode")?).map_err(|_| "`mode` is no mode")?,
            before: match record.contains_key("digest_before") {
                true => Some(record::digest(record, "digest_before")?),
                false => None,
            },
            after: record::digest(record, "digest_after")?,
            seal: Seal::of(record)?,
        })
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Whether the new contents stand there.
    pub(crate) fn is_applied(&self, target: &Target) -> Result<bool, String> {
        let place = self.location.place(target)?;
        let Some(stat) = place.stat(&place.name)? else {
            return Ok(false);
        };
        Ok(stat.st_ino != self.inode && self.digest(&place, &place.name)? == self.after)
    }

    /// Puts the new contents in place. `make` gets the old ones, or none where they were not read, and gives the ones
    /// that the replacement was planned for. A second call does nothing.
    pub(crate) fn apply(
        &self,
        target: &Target,
        make: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        if self.is_applied(target)? {
            return Ok(());
        }
        let changed = || format!("`{}` was changed since it was looked at", self.location);
        let place = self.location.place(target)?;
        let stat = place.stat(&place.name)?.ok_or_else(changed)?;
        let old = match self.before {
            Some(before) => Some(place.read(&place.name)?).filter(|old| self.seal.digest(old) == before),
            None => Some(Vec::new()),
        };
        let old = old.filter(|_| stat.st_ino == self.inode).ok_or_else(changed)?;
        let new = make(old)?;
        if self.seal.digest(&new) != self.after {
            return Err(changed());
        }
        place.write(&self.kept, &new, &stat)?;
        match self.exchange(&place) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => self.link_and_rename(&place)?,
            Err(error) => return Err(format!("`{}` can't be replaced: {}", self.location, told(error))),
        }
        if !self.is_original(place.stat(&self.kept)?) {
            // Somebody replaced the file between the look and the exchange: theirs goes back.
            self.exchange(&place).map_err(told)?;
            place.remove(&self.kept)?;
            return Err(changed());
        }
        self.set_kept_mode(&place, KEPT_MODE)
    }

    /// Puts the original back where its path still holds what this replacement put there.
    pub(crate) fn take_back(&self, target: &Target) -> Result<Undone, String> {
        let place = match self.location.place(target) {
            Ok(place) => place,
            Err(reason) => return Ok(Undone::Foreign(reason)),
        };
        let (there, kept) = (place.stat(&place.name)?, place.stat(&self.kept)?);
        if self.is_original(there) {
            // Cut short before it was replaced, or undone: only what we have made beside it may be left.
            place.remove(&self.fresh())?;
            place.remove(&self.kept)?;
            return Ok(Undone::Restored);
        }
        let there_digest = there.and_then(|_| self.digest(&place, &place.name).ok());
        if !self.is_original(kept) {
            return Ok(match there_digest {
                Some(digest) if self.before == Some(digest) => Undone::Restored,
                Some(digest) if digest == self.after => Undone::Foreign(format!(
                    "the original of `{}`, kept beside it as `{}`, is gone",
                    self.location, self.kept
                )),
                Some(_) => Undone::Foreign(format!("`{}` was replaced", self.location)),
                None => Undone::Foreign(format!("`{}` was removed", self.location)),
            });
        }
        // Somebody put the same contents there, so that the original is of no more use.
        if self.before.is_some() && there_digest == self.before && self.digest(&place, &self.kept).ok() == self.before {
            place.remove(&self.kept)?;
            return Ok(Undone::Restored);
        }
        let is_like = |(there, kept): (Stat, Stat)| {
            (there.st_uid, there.st_gid) == (kept.st_uid, kept.st_gid) && there.st_mode & 0o7777 == self.mode
        };
        if there_digest != Some(self.after) || !there.zip(kept).is_some_and(is_like) {
            return Ok(self.left(""));
        }
        self.put_back(&place)
    }

    fn put_back(&self, place: &Place) -> Result<Undone, String> {
        self.set_kept_mode(place, self.mode)?;
        match self.exchange(place) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                // One step all the same: ours, which was looked at just now, goes with it.
                place.rename(&self.kept, &place.name, RenameFlags::empty())?;
                return Ok(Undone::Restored);
            }
            Err(error) => return Err(format!("`{}` can't be put back: {}", self.location, told(error))),
        }
        if self.digest(place, &self.kept)? != self.after {
            // Changed between the look and the exchange: theirs goes back.
            self.exchange(place).map_err(told)?;
            self.set_kept_mode(place, KEPT_MODE)?;
            return Ok(self.left(""));
        }
        place.remove(&self.kept)?;
        Ok(Undone::Restored)
    }

    /// Left as it is, with the original beside it. `what` stands behind the path.
    pub(crate) fn left(&self, what: &str) -> Undone {
        Undone::Foreign(format!(
            "`{}`{what} was changed; what it was before is kept beside it as `{}`",
            self.location, self.kept
        ))
    }

    /// The contents of a file beside or in the place, as the record knows them.
    fn digest(&self, place: &Place, name: &str) -> Result<Digest, String> {
        place.read(name).map(|contents| self.seal.digest(&contents))
    }

    fn is_original(&self, stat: Option<Stat>) -> bool {
        stat.is_some_and(|stat| stat.st_ino == self.inode)
    }

    fn exchange(&self, place: &Place) -> Result<(), Errno> {
        place.try_rename(&self.kept, &place.name, RenameFlags::EXCHANGE)
    }

    /// What an exchange comes to in steps, from the new contents under the kept name.
    fn link_and_rename(&self, place: &Place) -> Result<(), String> {
        let fresh = self.fresh();
        place.rename(&self.kept, &fresh, RenameFlags::empty())?;
        place.link(&place.name, &self.kept)?;
        if !self.is_original(place.stat(&self.kept)?) {
            place.remove(&self.kept)?;
            place.remove(&fresh)?;
            return Err(format!("`{}` was changed since it was looked at", self.location));
        }
        place.rename(&fresh, &place.name, RenameFlags::empty())
    }

    /// Where the new contents lie while the original has two names.
    fn fresh(&self) -> String {
        format!("{}-new", self.kept)
    }

    fn set_kept_mode(&self, place: &Place, mode: u32) -> Result<(), String> {
        set_mode(&place.open(&self.kept, OFlags::PATH)?, mode)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::files::tests::{NEW, OLD, PATH, state, target};
    use crate::target::Targets;

    fn file() -> Location {
        Location::Below(PATH.to_owned())
    }

    /// Where a replacement, and its undo, may be killed.
    #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
    enum Cut {
        Nowhere,
        HalfWritten,
        Written,
        /// Where names can't be exchanged.
        Moved,
        Linked,
        Exchanged,
        Applied,
        UndoneMode,
        UndoneExchange,
    }

    /// What is left when it is killed there.
    fn cut(replacement: &Replacement, target: &Target, cut: Cut) {
        let place = Place::of(target, PATH).unwrap();
        let stat = place.stat(&place.name).unwrap().unwrap();
        if cut == Cut::HalfWritten {
            place.write(&replacement.kept, &NEW[..4], &stat).unwrap();
        }
        if cut >= Cut::Written {
            place.write(&replacement.kept, NEW, &stat).unwrap();
        }
        if matches!(cut, Cut::Moved | Cut::Linked) {
            let fresh = replacement.fresh();
            place.rename(&replacement.kept, &fresh, RenameFlags::empty()).unwrap();
        }
        if cut == Cut::Linked {
            place.link(&place.name, &replacement.kept).unwrap();
        }
        if cut >= Cut::Exchanged {
            replacement.exchange(&place).unwrap();
        }
        if cut >= Cut::Applied {
            replacement.set_kept_mode(&place, KEPT_MODE).unwrap();
        }
        if cut >= Cut::UndoneMode {
            replacement.set_kept_mode(&place, replacement.mode).unwrap();
        }
        if cut >= Cut::UndoneExchange {
            replacement.exchange(&place).unwrap();
        }
    }

    #[test]
    fn a_replacement_that_is_killed_anywhere_is_undone_to_the_last_bit() {
        use Cut::{Applied, Exchanged, HalfWritten, Linked, Moved, Nowhere, UndoneExchange, UndoneMode, Written};
        for at in [
            Nowhere,
            HalfWritten,
            Written,
            Moved,
            Linked,
            Exchanged,
            Applied,
            UndoneMode,
            UndoneExchange,
        ] {
            let folder = tempfile::tempdir().unwrap();
            let target = target(folder.path());
            let before = state(folder.path());
            let replacement = Replacement::to(&target, &file(), NEW).unwrap();
            let replacement = Replacement::of(&replacement.record()).unwrap();
            cut(&replacement, &target, at);
            assert_eq!(
                replacement.is_applied(&target),
                Ok(matches!(at, Exchanged | Applied | UndoneMode)),
                "{at:?}"
            );
            for _ in 0..2 {
                assert_eq!(replacement.take_back(&target), Ok(Undone::Restored), "{at:?}");
                assert_eq!(state(folder.path()), before, "{at:?}");
            }
            // And it can be done again, and be begun anew after a cut.
            cut(&replacement, &target, if at == Nowhere { HalfWritten } else { Nowhere });
            replacement.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
            assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), NEW);
            assert_eq!(replacement.take_back(&target), Ok(Undone::Restored));
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
            let replacement = Replacement::to(&target, &file(), NEW).unwrap();
            replacement.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
            meddle(&folder.path().join(PATH));
            let before = state(folder.path());
            for _ in 0..2 {
                assert!(matches!(replacement.take_back(&target), Ok(Undone::Foreign(_))));
                assert_eq!(state(folder.path()), before);
            }
            let kept = fs::read(folder.path().join("conf").join(&replacement.kept)).unwrap();
            assert_eq!(kept, OLD);
            // Another fault would lose it.
            assert!(Replacement::to(&target, &file(), NEW).is_err());
        }
    }

    #[test]
    fn names_that_cannot_be_exchanged_are_given_in_steps() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let before = state(folder.path());
        let replacement = Replacement::to(&target, &file(), NEW).unwrap();
        let place = file().place(&target).unwrap();
        let stat = place.stat(&place.name).unwrap().unwrap();
        place.write(&replacement.kept, NEW, &stat).unwrap();
        replacement.link_and_rename(&place).unwrap();
        assert_eq!(replacement.is_applied(&target), Ok(true));
        assert_eq!(replacement.take_back(&target), Ok(Undone::Restored));
        assert_eq!(state(folder.path()), before);
    }

    #[test]
    fn a_file_that_the_declaration_names_is_replaced_behind_its_link() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        target(&root);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(root.join(PATH), &link).unwrap();
        let text = format!(
            "[chaos.target.t]\nkind = \"http\"\nconfig = {:?}\n",
            link.display().to_string()
        );
        let target = Targets::parse("x", &text).unwrap().named("t").unwrap().clone();
        let before = state(&root);
        let file = Location::declared(&target, "config").unwrap();
        let replacement = Replacement::to(&target, &file, NEW).unwrap();
        assert_eq!(Replacement::of(&replacement.record()), Ok(replacement.clone()));
        for _ in 0..2 {
            replacement.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
            assert_eq!(fs::read(&link).unwrap(), NEW);
            let kept = fs::metadata(root.join("conf").join(&replacement.kept)).unwrap();
            assert_eq!(kept.permissions().mode() & 0o7777, KEPT_MODE);
        }
        for _ in 0..2 {
            assert_eq!(replacement.take_back(&target), Ok(Undone::Restored));
            assert_eq!(state(&root), before);
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn an_original_that_is_gone_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let replacement = Replacement::unread(&target, &file(), NEW).unwrap();
        assert!(!replacement.record().contains_key("digest_before"));
        replacement.apply(&target, |_| Ok(NEW.to_vec())).unwrap();
        fs::remove_file(folder.path().join("conf").join(&replacement.kept)).unwrap();
        assert!(matches!(replacement.take_back(&target), Ok(Undone::Foreign(said)) if said.ends_with("is gone")));
        fs::remove_file(folder.path().join(PATH)).unwrap();
        assert!(matches!(replacement.take_back(&target), Ok(Undone::Foreign(said)) if said.contains("removed")));
    }

    #[test]
    fn a_log_comes_back_with_what_was_written_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let target = target(folder.path());
        let mut log = fs::OpenOptions::new()
            .append(true)
            .open(folder.path().join(PATH))
            .unwrap();
        let replacement = Replacement::unread(&target, &file(), &[]).unwrap();
        log.write_all(b" one").unwrap();
        replacement.apply(&target, |_| Ok(Vec::new())).unwrap();
        log.write_all(b" two").unwrap();
        assert_eq!(fs::read(folder.path().join(PATH)).unwrap(), b"");
        assert_eq!(replacement.take_back(&target), Ok(Undone::Restored));
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
            assert!(
                Replacement::to(&target, &Location::Below(path.to_owned()), NEW).is_err(),
                "{path}"
            );
        }
        // A link is no file to replace, even inside.
        std::os::unix::fs::symlink("secret", root.join("conf/inner")).unwrap();
        assert!(Replacement::to(&target, &Location::Below("conf/inner".to_owned()), NEW).is_err());
        let mut record = Replacement::to(&target, &file(), NEW).unwrap().record();
        record.insert("kept".to_owned(), ".proofmark-kept-/../../outside".into());
        assert!(Replacement::of(&record).is_err());
    }
}
