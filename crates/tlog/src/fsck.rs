//! Re-verifying a stored log from its bytes alone, changing nothing.

use std::collections::BTreeSet;

use evidence::{Checkpoint, Hash, PublicKey, Storage, empty_root};

use crate::format;
use crate::log::JOURNAL_PATH;
use crate::tiles::{self, Tile};
use crate::tree::Tree;
use crate::{LogError, checkpoint};

/// What a check of the whole store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// Entries the checkpoint commits to; 0 where no valid one was found.
    pub size: u64,
    /// The checkpoint's root.
    pub root: Hash,
    /// Whole entries in the journal. More than `size` means that an append was cut short: opening repairs it.
    pub entries: u64,
    /// Bytes after the journal's last whole entry.
    pub torn_bytes: u64,
    /// Tiles and entry bundles read and compared, superseded partial ones included.
    pub tiles: u64,
    /// Everything wrong, in words; each names its file.
    pub problems: Vec<String>,
}

impl FsckReport {
    /// True when every byte that the checkpoint commits to is there and right.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Checks journal, checkpoint and every tile of the log `origin` with the key `key` (a trust root has both:
/// `log.origin`, and `keys[log.key]`). What is wrong with the log is in the report.
///
/// # Errors
/// Only when the storage fails.
pub fn fsck(storage: &dyn Storage, origin: &str, key: &PublicKey) -> Result<FsckReport, LogError> {
    let mut report = FsckReport {
        size: 0,
        root: empty_root(),
        entries: 0,
        torn_bytes: 0,
        tiles: 0,
        problems: Vec::new(),
    };
    let published = report.read_checkpoint(storage, origin, key)?;
    let Some(bytes) = storage.read(JOURNAL_PATH)? else {
        report
            .problems
            .push(LogError::Missing { file: JOURNAL_PATH }.to_string());
        return Ok(report);
    };
    let journal = match format::read(&bytes) {
        Ok(journal) => journal,
        Err(error) => {
            report.problems.push(error.to_string());
            return Ok(report);
        }
    };
    if journal.origin != origin {
        let error = LogError::OtherLog {
            found: journal.origin.to_owned(),
            expected: origin.to_owned(),
        };
        report.problems.push(error.to_string());
    }
    let tree = journal.tree();
    report.entries = tree.size();
    report.torn_bytes = bytes.len() as u64 - journal.end.bytes;
    if let Some(published) = published {
        report.check_held(&tree, &published);
    }
    let mut present = BTreeSet::new();
    walk(storage, "tile", &mut present)?;
    for path in &present {
        report.check_tile(storage, path, |tile| journal.tile(tile, &tree))?;
    }
    for tile in tiles::added(0, report.size) {
        if !present.contains(&tile.path()) {
            report.problems.push(format!("`{}` is missing", tile.path()));
        }
    }
    Ok(report)
}

impl FsckReport {
    fn read_checkpoint(
        &mut self,
        storage: &dyn Storage,
        origin: &str,
        key: &PublicKey,
    ) -> Result<Option<Checkpoint>, LogError> {
        let opened = match storage.read(checkpoint::PATH)? {
            Some(note) => checkpoint::open(&note, origin, key),
            None => Err(LogError::Missing { file: checkpoint::PATH }),
        };
        match opened {
            Ok((published, _)) => {
                (self.size, self.root) = (published.size, published.root);
                Ok(Some(published))
            }
            Err(error) => {
                self.problems.push(error.to_string());
                Ok(None)
            }
        }
    }

    fn check_held(&mut self, tree: &Tree, published: &Checkpoint) {
        if let Err(error) = crate::log::held(tree, published) {
            self.problems.push(error.to_string());
        }
    }

    fn check_tile(
        &mut self,
        storage: &dyn Storage,
        path: &str,
        expected: impl Fn(Tile) -> Option<Vec<u8>>,
    ) -> Result<(), LogError> {
        let Some(tile) = Tile::parse(path) else {
            self.problems.push(format!("`{path}` is no file of a log"));
            return Ok(());
        };
        self.tiles += 1;
        match expected(tile) {
            None => self.problems.push(format!("`{path}` holds more than the journal does")),
            Some(expected) if storage.read(path)?.as_ref() != Some(&expected) => {
                self.problems.push(format!("`{path}` differs from the journal"));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Every file below `folder`. In this layout names tell folders and files apart.
fn walk(storage: &dyn Storage, folder: &str, files: &mut BTreeSet<String>) -> Result<(), LogError> {
    for name in storage.list(folder)? {
        let path = format!("{folder}/{name}");
        if folder == "tile" || name.starts_with('x') || name.ends_with(".p") {
            walk(storage, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}
