//! A fault that changes one file of a target: one strike for all of them, each of which is data and a function.
//!
//! It deliberately knows no format: what a file holds is the business of the fault that rewrites it.
//! Start reading at [`FileChange`]; how a change is made and taken back stands in [`crate::replaced`]
//! and [`crate::files`].

use std::collections::BTreeMap;
use std::fmt;

use evidence::Digest;
use serde_json::Value;

use crate::fault::{Entry, Fault};
use crate::files::{self, Capabilities, Exchange, Immutability, Location, ModeChange, Planting, Withdrawal};
use crate::permit::Permit;
use crate::read::Section;
use crate::record::{self, Seal};
use crate::replaced::Replacement;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::Target;

/// One file of one target, and what becomes of it.
pub(crate) struct FileChange {
    target: String,
    parameters: BTreeMap<String, Value>,
    which: Which,
    how: How,
    /// Another file below the root, without which the fault is another one: it has to stay as it was.
    partner: Option<String>,
    action: String,
    undo_action: String,
}

/// Key of the record for the partner's digest.
const PARTNER_KEY: &str = "digest_partner";

/// The file.
enum Which {
    /// As the experiment names it.
    Named(String),
    /// Looked for below the target's root.
    Found(Find),
}

/// The path of the file to change, from the target's root.
pub(crate) type Find = Box<dyn Fn(&Target) -> Result<String, String> + Send + Sync>;

/// The new contents of a file from its old ones. The same again where the old ones are the same.
pub(crate) type Rewrite = Box<dyn Fn(&Target, &[u8]) -> Result<Vec<u8>, String> + Send + Sync>;

/// What becomes of it.
pub(crate) enum How {
    Rewritten(Rewrite),
    /// Of a log that is written on meanwhile: nothing more is to be read in it.
    Silenced,
    Withdrawn,
    /// What is at another path below the root has its place.
    Exchanged(String),
    /// It was not there before, and has the contents of another file below the root now.
    Planted(String),
    /// A program without its file capabilities.
    Incapable,
    /// By the attribute where that can be set, and by its mode otherwise.
    Unwritable,
    /// New permissions from the old ones.
    Permitted(fn(u32) -> u32),
}

impl FileChange {
    /// A fault with the keys `target` and `path`.
    pub(crate) fn named(section: &Section<'_>, how: How, action: &str) -> Option<FileChange> {
        let target = section.text("target");
        let path = files::read_path(section, "path");
        let (target, path) = (target?, path?);
        let action = format!("{action} `{path}` of `{target}`");
        let mut change = FileChange::made(target, Which::Named(path.clone()), how, action);
        change.parameters.insert("path".to_owned(), path.into());
        Some(change)
    }

    /// A fault with the key `target` that finds its file.
    pub(crate) fn found(section: &Section<'_>, find: Find, how: How, action: &str) -> Option<FileChange> {
        let target = section.text("target")?;
        let action = format!("{action} of `{target}`");
        Some(FileChange::made(target, Which::Found(find), how, action))
    }

    fn made(target: String, which: Which, how: How, action: String) -> FileChange {
        let undo_action = match how {
            How::Rewritten(_) | How::Silenced => "put the original back, unless somebody has changed it since",
            How::Exchanged(_) => "give both their place back, unless somebody has replaced one since",
            How::Planted(_) => "remove it, unless somebody has changed it since",
            How::Incapable => "set them again, unless somebody has set others since",
            How::Unwritable => "let it be written again",
            How::Withdrawn => "rename it back, unless something else has its name",
            How::Permitted(_) => "put its mode back, unless somebody has changed it since",
        };
        FileChange {
            parameters: BTreeMap::from([("target".to_owned(), target.clone().into())]),
            target,
            which,
            how,
            partner: None,
            action,
            undo_action: undo_action.to_owned(),
        }
    }

    /// A parameter more.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> FileChange {
        self.parameters.insert(key.to_owned(), value.into());
        self
    }

    /// A file that the fault holds against, under its own name as a parameter.
    pub(crate) fn beside(mut self, partner: String) -> FileChange {
        self.partner = Some(partner.clone());
        self.with("partner", partner)
    }

    /// Whether the partner is as it was.
    fn is_beside(&self, target: &Target, record: &Record) -> Result<bool, String> {
        let Some(partner) = &self.partner else { return Ok(true) };
        let digest = Seal::of(record)?.digest(&files::contents(target, partner)?);
        Ok(digest == record::digest(record, PARTNER_KEY)?)
    }

    pub(crate) fn boxed(self, entry: &'static Entry) -> Option<Box<dyn Fault>> {
        boxed(entry, self, None)
    }
}

impl fmt::Debug for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileChange")
            .field("action", &self.action)
            .field("parameters", &self.parameters)
            .finish()
    }
}

impl Strike for FileChange {
    fn parameters(&self) -> BTreeMap<String, Value> {
        self.parameters.clone()
    }

    fn action(&self) -> String {
        self.action.clone()
    }

    fn undo_action(&self) -> String {
        self.undo_action.clone()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        let path = match &self.which {
            Which::Named(path) => path.clone(),
            Which::Found(find) => find(target)?,
        };
        let mut record = match &self.how {
            How::Rewritten(rewrite) => {
                let new = rewrite(target, &files::contents(target, &path)?)?;
                Replacement::to(target, &Location::Below(path.clone()), &new)?.record()
            }
            How::Silenced => Replacement::unread(target, &Location::Below(path.clone()), &[])?.record(),
            How::Withdrawn => Withdrawal::to(target, &path)?.record(),
            How::Exchanged(other) => Exchange::to(target, &path, other)?.record(),
            How::Planted(from) => Planting::to(target, &path, &files::contents(target, from)?)?.record(),
            How::Incapable => Capabilities::of_program(target, &path)?.record(),
            How::Permitted(permit) => permitted(target, &path, *permit)?,
            How::Unwritable => match Immutability::to(target, &path)? {
                Some(immutability) => immutability.record(),
                None => permitted(target, &path, |mode| mode & !0o222)?,
            },
        };
        record.insert("path".to_owned(), path.into());
        if let Some(partner) = &self.partner {
            let digest = Digest::of(&files::contents(target, partner)?);
            record.insert(PARTNER_KEY.to_owned(), digest.hex().into());
        }
        Ok(record)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        match &self.how {
            How::Rewritten(rewrite) => Replacement::of(record)?.apply(target, |old| rewrite(target, &old)),
            How::Silenced => Replacement::of(record)?.apply(target, |_| Ok(Vec::new())),
            How::Withdrawn => Withdrawal::of(record)?.apply(target),
            How::Exchanged(_) => Exchange::of(record)?.apply(target),
            How::Planted(from) => Planting::of(record)?.apply(target, &files::contents(target, from)?),
            How::Incapable => Capabilities::of(record)?.remove(target, record::text(record, "path")?),
            How::Permitted(_) | How::Unwritable => {
                let path = record::text(record, "path")?;
                match Immutability::of(record)? {
                    Some(immutability) => immutability.apply(target, path),
                    None => ModeChange::of(record)?.apply(&files::open(target, path)?),
                }
            }
        }
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let target = site.target(&self.target)?;
        match &self.how {
            How::Rewritten(_) => Ok(Replacement::of(record)?.is_applied(target)? && self.is_beside(target, record)?),
            How::Silenced => Replacement::of(record)?.is_applied(target),
            How::Withdrawn => Withdrawal::of(record)?.is_applied(target),
            How::Exchanged(_) => Exchange::of(record)?.is_applied(target),
            How::Planted(_) => Planting::of(record)?.is_applied(target),
            How::Incapable => Capabilities::are_missing(target, record::text(record, "path")?),
            How::Permitted(_) | How::Unwritable => {
                let path = record::text(record, "path")?;
                if Immutability::of(record)?.is_some() {
                    return Immutability::is_applied(target, path);
                }
                ModeChange::of(record)?.is_made(&files::open(target, path)?)
            }
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        match &self.how {
            How::Rewritten(_) | How::Silenced => {
                let replacement = Replacement::of(record)?;
                // What fits to the new contents has come since: the old ones would fit to nothing.
                if replacement.is_applied(target).unwrap_or(false) && !self.is_beside(target, record).unwrap_or(false) {
                    return Ok(replacement.left(" has a partner that"));
                }
                replacement.take_back(target)
            }
            How::Withdrawn => Withdrawal::of(record)?.take_back(target),
            How::Exchanged(_) => Exchange::of(record)?.take_back(target),
            How::Planted(_) => Planting::of(record)?.take_back(target),
            How::Incapable => Capabilities::of(record)?.take_back(target, record::text(record, "path")?),
            How::Permitted(_) | How::Unwritable => {
                let path = record::text(record, "path")?;
                if let Some(immutability) = Immutability::of(record)? {
                    return immutability.take_back(target, path);
                }
                match files::open(target, path) {
                    Ok(file) => ModeChange::of(record)?.take_back(&file),
                    Err(reason) => Ok(Undone::Foreign(reason)),
                }
            }
        }
    }
}

fn permitted(target: &Target, path: &str, permit: fn(u32) -> u32) -> Result<Record, String> {
    let file = files::open(target, path)?;
    let change = ModeChange::to(&file, permit).map_err(|reason| format!("`{path}`: {reason}"))?;
    Ok(change.record())
}
