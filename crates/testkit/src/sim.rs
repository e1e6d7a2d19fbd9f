//! Storage in memory that loses what a disk may lose.
//!
//! The model is a disk at its worst that still keeps the promises of [`evidence::Storage`]: what was not synced
//! may be there, be missing, be cut anywhere, read as zeros, and be there without what was written before it.
//! It never invents bytes: what survives was written, or is a hole of zeros before something that was.
//!
//! After a failed sync the writes it was to cover stay readable until the crash, and no later sync saves them:
//! that is how Linux behaves (pages are marked clean), and why a store must not sync again and go on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use evidence::{Storage, StorageError};

use crate::Rng;

/// Simulated storage. Every method takes `&self`: share it with `Arc` and steer it while the store uses it.
///
/// ```
/// use evidence::Storage;
/// use testkit::SimStorage;
///
/// let storage = SimStorage::new(1);
/// storage.append("journal", b"kept").unwrap();
/// storage.sync("journal").unwrap();
/// storage.crash_at(1);
/// assert!(storage.append("journal", b"perhaps").is_err());
/// assert!(storage.read("journal").is_err(), "nothing works after the crash");
///
/// let survived = storage.after_crash(7).read("journal").unwrap().unwrap();
/// assert!(survived.starts_with(b"kept"));
/// ```
#[derive(Debug)]
pub struct SimStorage(Mutex<State>);

#[derive(Debug)]
struct State {
    files: BTreeMap<String, File>,
    rng: Rng,
    /// Write operations so far, the one that crashed included.
    writes: u64,
    syncs: u64,
    crash_at: Option<u64>,
    fail_sync_at: Option<u64>,
    crashed: bool,
    /// Everything handed to `replace`, in order, finished or not: what a reader may have seen.
    replaced: Vec<(String, Vec<u8>)>,
}

#[derive(Debug, Clone, Default)]
struct File {
    /// What reads answer; `None` where the file was removed by an operation that is still in flight.
    visible: Option<Vec<u8>>,
    /// What a crash can't take away.
    durable: Option<Vec<u8>>,
    /// What was done since, in order.
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
struct Pending {
    change: Change,
    /// A sync failed over it: no later one makes it durable.
    lost: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { length: usize },
}

/// What became of an unsynced change.
enum Fate {
    Whole,
    Gone,
    Torn,
    Zeros,
}

impl SimStorage {
    pub fn new(seed: u64) -> Self {
        Self::with(BTreeMap::new(), seed)
    }

    fn with(files: BTreeMap<String, File>, seed: u64) -> Self {
        SimStorage(Mutex::new(State {
            files,
            rng: Rng::new(seed),
            writes: 0,
            syncs: 0,
            crash_at: None,
            fail_sync_at: None,
            crashed: false,
            replaced: Vec::new(),
        }))
    }

    /// Lets `writes` more write operations (append, truncate, replace, sync, remove) succeed and crashes within
    /// the next one; from then on every operation errors.
    pub fn crash_after(&self, writes: u64) {
        let mut state = self.state();
        state.crash_at = Some(state.writes + writes + 1);
    }

    /// Crashes within the `nth` write operation from now, the first being 1.
    pub fn crash_at(&self, nth: u64) {
        self.crash_after(nth.saturating_sub(1));
    }

    /// Makes the `nth` sync from now fail (the first being 1), once. What it was to make durable is lost at the
    /// next crash, though reads still see it.
    pub fn fail_sync_at(&self, nth: u64) {
        let mut state = self.state();
        state.fail_sync_at = Some(state.syncs + nth);
    }

    /// Write operations so far.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Calls of `sync` so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Every content handed to `replace` for `path`, in order, finished or not: readers may have seen each.
    pub fn replaced(&self, path: &str) -> Vec<Vec<u8>> {
        self.state()
            .replaced
            .iter()
            .filter(|(name, _)| name == path)
            .map(|(_, bytes)| bytes.clone())
            .collect()
    }

    /// What a machine that lost power now would find. The same seed gives the same remains.
    pub fn after_crash(&self, seed: u64) -> SimStorage {
        let mut rng = Rng::new(seed);
        let mut files = BTreeMap::new();
        for (path, file) in &self.state().files {
            if let Some(bytes) = remains(file, &mut rng) {
                files.insert(path.clone(), File::durable(bytes));
            }
        }
        Self::with(files, rng.bits())
    }

    /// What a process that is killed while the machine lives on would find: all that reads saw.
    pub fn after_kill(&self, seed: u64) -> SimStorage {
        let files = self
            .state()
            .files
            .iter()
            .map(|(path, file)| (path.clone(), file.clone()))
            .collect();
        Self::with(files, seed)
    }

    /// The whole of it, as readers see it, crashed or not: for comparing and for tampering.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        let visible = |(path, file): (&String, &File)| Some((path.clone(), file.visible.clone()?));
        state.files.iter().filter_map(visible).collect()
    }

    /// Storage that holds exactly `files`, all durable.
    pub fn of(files: BTreeMap<String, Vec<u8>>, seed: u64) -> SimStorage {
        Self::with(
            files
                .into_iter()
                .map(|(path, bytes)| (path, File::durable(bytes)))
                .collect(),
            seed,
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for a read operation.
    fn reading(&self, operation: &'static str, path: &str) -> Result<MutexGuard<'_, State>, StorageError> {
        check(operation, path)?;
        let state = self.state();
        if state.crashed {
            Err(crashed(operation, path))
        } else {
            Ok(state)
        }
    }

    /// Counts a write operation and runs it; `dying` is true in the one that the crash cuts short, where `action`
    /// does what may be left of it.
    fn writing(
        &self,
        operation: &'static str,
        path: &str,
        action: impl FnOnce(&mut State, bool) -> Result<(), &'static str>,
    ) -> Result<(), StorageError> {
        let mut state = self.reading(operation, path)?;
        state.writes += 1;
        let dying = state.crash_at == Some(state.writes);
        let done = action(&mut state, dying);
        if dying {
            state.crashed = true;
            return Err(crashed(operation, path));
        }
        done.map_err(|reason| failure(operation, path, reason))
    }
}

impl Storage for SimStorage {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let state = self.reading("read", path)?;
        Ok(state.files.get(path).and_then(|file| file.visible.clone()))
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StorageError> {
        let state = self.reading("read", path)?;
        let Some(bytes) = state.files.get(path).and_then(|file| file.visible.as_ref()) else {
            return Ok(None);
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(length).min(bytes.len());
        Ok(Some(bytes[start..end].to_vec()))
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        let state = self.reading("read the length of", path)?;
        Ok(state
            .files
            .get(path)
            .and_then(|file| file.visible.as_ref())
            .map(|bytes| bytes.len() as u64))
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        // A dying append is a pending one like the others: what is left of it is decided after the crash.
        self.writing("append to", path, |state, _| {
            let file = state.files.entry(path.to_owned()).or_default();
            let visible = file.visible.get_or_insert_default();
            let change = Change::Write {
                offset: visible.len(),
                bytes: bytes.to_vec(),
            };
            visible.extend_from_slice(bytes);
            file.pending.push(Pending { change, lost: false });
            Ok(())
        })
    }

    fn truncate(&self, path: &str, length: u64) -> Result<(), StorageError> {
        self.writing("truncate", path, |state, _| {
            let file = state
                .files
                .get_mut(path)
                .filter(|file| file.visible.is_some())
                .ok_or("there is no such file")?;
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            file.visible.get_or_insert_default().truncate(length);
            file.pending.push(Pending {
                change: Change::Truncate { length },
                lost: false,
            });
            Ok(())
        })
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.writing("replace", path, |state, dying| {
            state.replaced.push((path.to_owned(), bytes.to_vec()));
            if !dying || state.rng.percent(50) {
                state.files.insert(path.to_owned(), File::durable(bytes.to_vec()));
            }
            Ok(())
        })
    }

    fn sync(&self, path: &str) -> Result<(), StorageError> {
        self.writing("sync", path, |state, dying| {
            state.syncs += 1;
            let fails = state.fail_sync_at == Some(state.syncs);
            let file = state
                .files
                .get_mut(path)
                .filter(|file| file.visible.is_some())
                .ok_or("there is no such file")?;
            if dying {
                return Ok(());
            }
            if fails {
                file.pending.iter_mut().for_each(|pending| pending.lost = true);
                return Err("input/output error (simulated)");
            }
            file.make_durable();
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.writing("remove", path, |state, dying| {
            if !dying || state.rng.percent(50) {
                state.files.remove(path);
            }
            Ok(())
        })
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let state = self.reading("list", if folder.is_empty() { "root" } else { folder })?;
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let names = state
            .files
            .iter()
            .filter(|(_, file)| file.visible.is_some())
            .filter_map(|(path, _)| {
                let rest = path.strip_prefix(&prefix)?;
                Some(rest.split_once('/').map_or(rest, |(name, _)| name).to_owned())
            });
        let names: std::collections::BTreeSet<String> = names.collect();
        Ok(names.into_iter().collect())
    }
}

impl File {
    fn durable(bytes: Vec<u8>) -> Self {
        File {
            visible: Some(bytes.clone()),
            durable: Some(bytes),
            pending: Vec::new(),
        }
    }

    /// What a sync that succeeds does: all that no earlier sync failed over.
    fn make_durable(&mut self) {
        let durable = self.durable.get_or_insert_default();
        self.pending.retain(|pending| {
            if !pending.lost {
                apply(durable, &pending.change);
            }
            pending.lost
        });
    }
}

/// Writes beyond the end leave a hole of zeros, as files do.
fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate { length } => bytes.truncate(*length),
        Change::Write { offset, bytes: new } => {
            let end = offset + new.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*offset..end].copy_from_slice(new);
        }
    }
}

/// What is left of `file`: the durable content, and of the changes since then what chance leaves.
fn remains(file: &File, rng: &mut Rng) -> Option<Vec<u8>> {
    let unsynced_name = file.durable.is_none();
    if unsynced_name && rng.percent(25) {
        return None;
    }
    let mut bytes = file.durable.clone().unwrap_or_default();
    // Disks differ: some write in order and stop somewhere, some write in any order, some write all or nothing.
    let style = rng.below(4);
    let stop = rng.index(file.pending.len() + 1);
    for (position, pending) in file.pending.iter().enumerate() {
        let fate = match style {
            0 => Fate::Gone,
            1 => Fate::Whole,
            2 if position < stop => Fate::Whole,
            2 if position == stop => Fate::Torn,
            2 => Fate::Gone,
            _ => [Fate::Whole, Fate::Gone, Fate::Torn, Fate::Zeros]
                .into_iter()
                .nth(rng.index(4))
                .unwrap_or(Fate::Gone),
        };
        // A failed sync may still have written some of it.
        let fate = if pending.lost && rng.percent(75) {
            Fate::Gone
        } else {
            fate
        };
        survive(&mut bytes, &pending.change, &fate, rng);
    }
    if unsynced_name && bytes.is_empty() && rng.percent(50) {
        None
    } else {
        Some(bytes)
    }
}

fn survive(bytes: &mut Vec<u8>, change: &Change, fate: &Fate, rng: &mut Rng) {
    match (fate, change) {
        (Fate::Gone, _) => {}
        (Fate::Whole, change) => apply(bytes, change),
        (Fate::Torn | Fate::Zeros, Change::Truncate { .. }) => {}
        (Fate::Torn, Change::Write { offset, bytes: new }) => {
            let kept = rng.index(new.len() + 1);
            apply(
                bytes,
                &Change::Write {
                    offset: *offset,
                    bytes: new[..kept].to_vec(),
                },
            );
        }
        // The length was written, the content wasn't.
        (Fate::Zeros, Change::Write { offset, bytes: new }) => {
            apply(
                bytes,
                &Change::Write {
                    offset: *offset,
                    bytes: vec![0; new.len()],
                },
            );
        }
    }
}

fn check(operation: &'static str, path: &str) -> Result<(), StorageError> {
    let bad = path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if bad {
        Err(failure(operation, path, "the path is not a plain relative one"))
    } else {
        Ok(())
    }
}

fn failure(operation: &'static str, path: &str, reason: &str) -> StorageError {
    StorageError {
        operation,
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn crashed(operation: &'static str, path: &str) -> StorageError {
    failure(operation, path, "the machine crashed (simulated)")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// All remains of one history over many seeds.
    fn remains_of(storage: &SimStorage, path: &str) -> BTreeSet<Option<Vec<u8>>> {
        (0..2000)
            .map(|seed| storage.after_crash(seed).read(path).expect("reads"))
            .collect()
    }

    #[test]
    fn synced_survives_and_the_rest_may_not() {
        let storage = SimStorage::new(1);
        storage.append("a", b"kept").expect("appends");
        storage.sync("a").expect("syncs");
        storage.append("a", b"12").expect("appends");
        storage.append("a", b"34").expect("appends");
        let seen = remains_of(&storage, "a");
        for expected in [
            "kept",
            "kept1",
            "kept12",
            "kept123",
            "kept1234",
            "kept\0\x0034",
            "kept\0\0",
            "kept1\x0034",
        ] {
            assert!(
                seen.contains(&Some(expected.as_bytes().to_vec())),
                "{expected:?} in {seen:?}"
            );
        }
        assert!(
            seen.iter()
                .all(|bytes| bytes.as_ref().is_some_and(|bytes| bytes.starts_with(b"kept")))
        );
    }

    #[test]
    fn unsynced_names_may_vanish() {
        let storage = SimStorage::new(1);
        storage.append("a", b"x").expect("appends");
        let seen = remains_of(&storage, "a");
        assert!(seen.contains(&None) && seen.contains(&Some(b"x".to_vec())) && seen.contains(&Some(Vec::new())));
    }

    #[test]
    fn truncation_is_no_more_durable_than_an_append() {
        let storage = SimStorage::new(1);
        storage.replace("a", b"abcdef").expect("replaces");
        storage.truncate("a", 2).expect("truncates");
        assert_eq!(storage.read("a"), Ok(Some(b"ab".to_vec())));
        let seen = remains_of(&storage, "a");
        assert_eq!(seen, [Some(b"ab".to_vec()), Some(b"abcdef".to_vec())].into());
        storage.sync("a").expect("syncs");
        assert_eq!(remains_of(&storage, "a"), [Some(b"ab".to_vec())].into());
    }

    #[test]
    fn a_dying_replace_is_old_or_new() {
        let mut seen = BTreeSet::new();
        for seed in 0..50 {
            let storage = SimStorage::new(seed);
            storage.replace("a", b"old").expect("replaces");
            storage.crash_after(0);
            assert!(storage.replace("a", b"new").is_err());
            assert!(storage.crashed() && storage.list("").is_err());
            assert_eq!(storage.replaced("a"), [b"old".to_vec(), b"new".to_vec()]);
            seen.extend(remains_of(&storage, "a"));
        }
        assert_eq!(seen, [Some(b"old".to_vec()), Some(b"new".to_vec())].into());
    }

    #[test]
    fn a_failed_sync_is_not_mended_by_a_later_one() {
        let storage = SimStorage::new(1);
        storage.append("a", b"1").expect("appends");
        storage.sync("a").expect("syncs");
        storage.fail_sync_at(1);
        storage.append("a", b"2").expect("appends");
        assert!(storage.sync("a").is_err());
        storage.append("a", b"3").expect("appends");
        storage.sync("a").expect("the next one says it is fine");
        assert_eq!(storage.read("a"), Ok(Some(b"123".to_vec())));
        assert!(remains_of(&storage, "a").contains(&Some(b"1\x003".to_vec())));
    }

    #[test]
    fn the_same_seed_gives_the_same_remains() {
        let storage = SimStorage::new(1);
        for letter in b'a'..b'k' {
            storage.append("x", &[letter; 10]).expect("appends");
            storage.append("y/z", &[letter; 10]).expect("appends");
        }
        assert_eq!(storage.after_crash(5).files(), storage.after_crash(5).files());
        assert_eq!(storage.list(""), Ok(vec!["x".to_owned(), "y".to_owned()]));
        assert!(storage.read("../x").is_err() && storage.read("/x").is_err());
    }
}
