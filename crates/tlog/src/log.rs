//! The log itself: appending, recovery, reading. The crash order stands in the crate's page.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::{Algorithm, Checkpoint, Hash, InclusionProof, Signer, Storage, leaf_hash, sign_checkpoint};

use crate::LogError;
use crate::checkpoint;
use crate::format::{self, ENTRY_BYTES_MAX, End, Extent, Journal};
use crate::tiles::{self, Kind, Tile, WIDTH};
use crate::tree::Tree;

pub(crate) const JOURNAL_PATH: &str = "journal";

/// An append-only log (RFC 6962 Merkle tree, C2SP tlog-tiles) open for writing.
///
/// Calls may come from several threads; one append runs at a time. What is read is what the current checkpoint
/// commits to. One `Log` a store: a second writer is noticed where it can be, but it is the caller's lock that
/// keeps it out.
pub struct Log {
    storage: Arc<dyn Storage>,
    origin: String,
    signer: Arc<dyn Signer>,
    state: Mutex<State>,
}

/// What opening had to repair. All of it was either never acknowledged, or follows from the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The log did not exist and was made.
    pub created: bool,
    /// Bytes dropped from the journal's end: entries of an append that was never acknowledged.
    pub torn_bytes: u64,
    /// Entries found durable beyond the checkpoint, of an append that was never acknowledged. They are kept.
    pub entries_recovered: u64,
    /// Tiles and entry bundles that were missing or differed from the journal.
    pub tiles_rebuilt: u64,
    /// Partial tiles removed because the full one is there.
    pub partials_removed: u64,
}

struct State {
    tree: Tree,
    /// Index by leaf hash.
    indices: HashMap<Hash, u64>,
    extents: Vec<Extent>,
    /// Leaves of the last, partial entry bundle: at most 255.
    tail: Vec<Vec<u8>>,
    end: End,
    /// What the world may know, and the note that says so.
    published: Checkpoint,
    note: String,
    /// Set by the first failure: every later call errors.
    poisoned: Option<String>,
}

impl Log {
    /// Opens the log in `storage`, making it where there is none, and repairs what a crash left (crate page).
    ///
    /// `origin` is the checkpoints' first line and key name: no white space, no `+`. `signer` is Ed25519.
    ///
    /// # Errors
    /// A journal that doesn't hold all that the checkpoint commits to, a checkpoint not signed by `signer`'s key
    /// for `origin`, a file of another format or log, or storage that fails. Nothing was signed then.
    pub fn open(storage: Arc<dyn Storage>, origin: &str, signer: Arc<dyn Signer>) -> Result<(Log, Recovery), LogError> {
        checkpoint::check_origin(origin)?;
        if signer.public_key().algorithm != Algorithm::Ed25519 {
            return Err(LogError::Algorithm(signer.public_key().algorithm.name()));
        }
        let mut recovery = Recovery::default();
        let bytes = match storage.read(JOURNAL_PATH)? {
            Some(bytes) => bytes,
            None if storage.length(checkpoint::PATH)?.is_some() => {
                return Err(LogError::Missing { file: JOURNAL_PATH });
            }
            None => {
                recovery.created = true;
                let header = format::header(origin);
                storage.replace(JOURNAL_PATH, &header)?;
                header
            }
        };
        let journal = format::read(&bytes)?;
        if journal.origin != origin {
            return Err(LogError::OtherLog {
                found: journal.origin.to_owned(),
                expected: origin.to_owned(),
            });
        }
        let tree = journal.tree();
        let published = match storage.read(checkpoint::PATH)? {
            Some(note) => {
                let published = checkpoint::open(&note, origin, signer.public_key())?;
                held(&tree, &published.0)?;
                Some(published)
            }
            // The first thing a log does is to sign that it is empty: only a log that was killed before has none.
            None if bytes.len() as u64 == journal.end.bytes && journal.leaves.is_empty() => None,
            None => return Err(LogError::Missing { file: checkpoint::PATH }),
        };
        let size = tree.size();
        recovery.torn_bytes = bytes.len() as u64 - journal.end.bytes;
        recovery.entries_recovered = size - published.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size);
        if recovery.torn_bytes > 0 || recovery.entries_recovered > 0 {
            // What reads see may not be what the disk has, if a sync failed before: written anew, it is.
            let whole = usize::try_from(journal.end.bytes).unwrap_or(bytes.len());
            storage.replace(JOURNAL_PATH, &bytes[..whole])?;
        }
        recovery.tiles_rebuilt = rebuild_tiles(storage.as_ref(), &tree, &journal)?;
        let (published, note) = match published {
            Some((published, note)) if published.size == size => (published, note),
            _ => publish(storage.as_ref(), signer.as_ref(), origin, &tree)?,
        };
        recovery.partials_removed = remove_partials(storage.as_ref(), &tiles::added(0, size))?;
        let state = Mutex::new(State::new(tree, &journal, published, note));
        Ok((
            Log {
                storage,
                origin: origin.to_owned(),
                signer,
                state,
            },
            recovery,
        ))
    }

    /// Appends `leaves` as one group and answers with the index of each. A leaf the log holds already, by its hash,
    /// keeps its index and is not appended again.
    ///
    /// When this returns, the entries are durable and a signed checkpoint over them is in place.
    ///
    /// # Errors
    /// A leaf over [`ENTRY_BYTES_MAX`]: nothing was appended. Anything else poisons the log; whether the entries
    /// are in it is known after opening it again, and appending them again is safe.
    pub fn append(&self, leaves: &[&[u8]]) -> Result<Vec<u64>, LogError> {
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.len() > ENTRY_BYTES_MAX) {
            return Err(LogError::EntryTooLarge { bytes: leaf.len() });
        }
        let mut state = self.healthy()?;
        let (indices, fresh) = state.place(leaves);
        if fresh.is_empty() {
            return Ok(indices);
        }
        match self.commit(&mut state, &fresh) {
            Ok(()) => Ok(indices),
            Err(error) => {
                state.poisoned = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Entries the current checkpoint commits to. Like [`Log::root`] and [`Log::checkpoint`] it stays true of a
    /// poisoned log: what was published was durable.
    pub fn size(&self) -> u64 {
        self.state().published.size
    }

    /// The root over [`Log::size`] entries.
    pub fn root(&self) -> Hash {
        self.state().published.root
    }

    /// The signed note (C2SP tlog-checkpoint) over [`Log::size`] entries, as it lies in the store.
    pub fn checkpoint(&self) -> String {
        self.state().note.clone()
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where the leaf with this RFC 6962 leaf hash stands.
    pub fn find(&self, leaf_hash: &Hash) -> Option<u64> {
        let state = self.state();
        state
            .indices
            .get(leaf_hash)
            .copied()
            .filter(|index| *index < state.published.size)
    }

    /// The leaf at `index`, checked against the tree.
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, LogError> {
        let end = index.checked_add(1).ok_or(LogError::OutOfRange {
            asked: index,
            size: self.size(),
        })?;
        let mut leaves = self.leaves(index..end)?;
        leaves.pop().ok_or(LogError::Damaged { index })
    }

    /// The leaves of a range of indices, each checked against the tree. An empty range has none.
    pub fn leaves(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, LogError> {
        let state = self.healthy()?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        state.check_size(range.end)?;
        let span = |index: u64| {
            usize::try_from(index)
                .ok()
                .and_then(|index| state.extents.get(index))
                .copied()
        };
        let (Some(first), Some(last)) = (span(range.start), span(range.end - 1)) else {
            return Err(LogError::OutOfRange {
                asked: range.end,
                size: state.published.size,
            });
        };
        let length = usize::try_from(last.end() - first.offset).unwrap_or(usize::MAX);
        let bytes = self
            .storage
            .read_at(JOURNAL_PATH, first.offset, length)?
            .unwrap_or_default();
        range
            .map(|index| {
                state
                    .leaf_in(&bytes, first.offset, index)
                    .ok_or(LogError::Damaged { index })
            })
            .collect()
    }

    /// Proof that the entry at `index` is in the tree of the first `size` entries.
    pub fn prove(&self, index: u64, size: u64) -> Result<InclusionProof, LogError> {
        let state = self.healthy()?;
        state.check_size(size)?;
        state
            .tree
            .inclusion(index, size)
            .ok_or(LogError::OutOfRange { asked: index, size })
    }

    /// Proof that the tree of `new` entries only appends to that of `old`; empty when `old` is 0 or `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        let state = self.healthy()?;
        state.check_size(new)?;
        state
            .tree
            .consistency(old, new)
            .ok_or(LogError::OutOfRange { asked: old, size: new })
    }

    /// The order of the steps here is what a crash relies on: see the crate's page.
    fn commit(&self, state: &mut State, fresh: &[&[u8]]) -> Result<(), LogError> {
        let storage = self.storage.as_ref();
        let found = storage.length(JOURNAL_PATH)?.unwrap_or(0);
        if found != state.end.bytes {
            return Err(LogError::Changed {
                expected: state.end.bytes,
                found,
            });
        }
        let mut end = state.end;
        let mut bytes = Vec::new();
        let extents: Vec<Extent> = fresh.iter().map(|leaf| end.write(leaf, &mut bytes)).collect();
        storage.append(JOURNAL_PATH, &bytes)?;
        storage.sync(JOURNAL_PATH)?;

        let old = state.published.size;
        state.end = end;
        state.extents.extend(extents);
        for leaf in fresh {
            state.tree.push(leaf_hash(leaf));
            state.tail.push(leaf.to_vec());
        }
        let added = tiles::added(old, state.tree.size());
        let first = old - old % WIDTH;
        for tile in &added {
            let bytes = tile_bytes(*tile, &state.tree, |entry| {
                state.tail.get((entry - first) as usize).map(Vec::as_slice)
            });
            storage.replace(&tile.path(), &bytes)?;
        }
        let full = (state.tail.len() as u64 / WIDTH * WIDTH) as usize;
        state.tail.drain(..full);

        (state.published, state.note) = publish(storage, self.signer.as_ref(), &self.origin, &state.tree)?;
        remove_partials(storage, &added)?;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn healthy(&self) -> Result<MutexGuard<'_, State>, LogError> {
        if self.state.is_poisoned() {
            return Err(LogError::Poisoned("a thread panicked while appending".to_owned()));
        }
        let state = self.state();
        match &state.poisoned {
            Some(reason) => Err(LogError::Poisoned(reason.clone())),
            None => Ok(state),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Log({} {})", self.origin, self.size())
    }
}

impl Recovery {
    /// True when there was nothing to repair and nothing to make.
    pub fn is_clean(&self) -> bool {
        *self == Recovery::default()
    }
}

impl Journal<'_> {
    pub(crate) fn tree(&self) -> Tree {
        let mut tree = Tree::default();
        self.leaves.iter().for_each(|(_, leaf)| tree.push(leaf_hash(leaf)));
        tree
    }

    /// The bytes `tile` must have by this journal; `None` when the journal is too short for it.
    pub(crate) fn tile(&self, tile: Tile, tree: &Tree) -> Option<Vec<u8>> {
        let start = usize::try_from(tile.first_entry()).ok()?;
        match tile.kind {
            Kind::Hashes(_) => tile.hashes(tree),
            Kind::Entries => {
                let leaves = self
                    .leaves
                    .get(start..start.checked_add(usize::try_from(tile.width).ok()?)?)?;
                Some(tiles::bundle(leaves.iter().map(|(_, leaf)| *leaf)))
            }
        }
    }
}

impl State {
    fn new(tree: Tree, journal: &Journal<'_>, published: Checkpoint, note: String) -> Self {
        let hashes = tree.row(0, 0, tree.size()).unwrap_or_default();
        let mut indices = HashMap::with_capacity(hashes.len());
        for (index, hash) in hashes.iter().enumerate() {
            // The first one counts: it is what an append answered with.
            indices.entry(*hash).or_insert(index as u64);
        }
        let partial = journal.leaves.len() - journal.leaves.len() % WIDTH as usize;
        State {
            tail: journal.leaves[partial..]
                .iter()
                .map(|(_, leaf)| leaf.to_vec())
                .collect(),
            extents: journal.leaves.iter().map(|(extent, _)| *extent).collect(),
            end: journal.end,
            tree,
            indices,
            published,
            note,
            poisoned: None,
        }
    }

    /// The index each leaf has or gets, and the leaves that are new, in order.
    fn place<'a>(&mut self, leaves: &[&'a [u8]]) -> (Vec<u64>, Vec<&'a [u8]>) {
        let mut fresh = Vec::new();
        let size = self.tree.size();
        let indices = leaves.iter().map(|leaf| {
            *self.indices.entry(leaf_hash(leaf)).or_insert_with(|| {
                fresh.push(*leaf);
                size + fresh.len() as u64 - 1
            })
        });
        let indices = indices.collect();
        (indices, fresh)
    }

    fn check_size(&self, size: u64) -> Result<(), LogError> {
        if size > self.published.size {
            return Err(LogError::OutOfRange {
                asked: size,
                size: self.published.size,
            });
        }
        Ok(())
    }

    /// The leaf at `index` out of `bytes`, which begin at `offset` of the journal.
    fn leaf_in(&self, bytes: &[u8], offset: u64, index: u64) -> Option<Vec<u8>> {
        let extent = self.extents.get(usize::try_from(index).ok()?)?;
        let start = usize::try_from(extent.offset - offset).ok()?;
        let leaf = bytes.get(start..start.checked_add(extent.length)?)?;
        let held = self.tree.row(0, index, index + 1)?;
        (held == [leaf_hash(leaf)]).then(|| leaf.to_vec())
    }
}

/// Refuses a checkpoint that commits to what the journal doesn't hold.
pub(crate) fn held(tree: &Tree, checkpoint: &Checkpoint) -> Result<(), LogError> {
    match tree.root(checkpoint.size) {
        None => Err(LogError::RolledBack {
            checkpoint: checkpoint.size,
            journal: tree.size(),
        }),
        Some(root) if root != checkpoint.root => Err(LogError::OtherRoot {
            size: checkpoint.size,
            journal: root,
            checkpoint: checkpoint.root,
        }),
        Some(_) => Ok(()),
    }
}

/// Signs the whole tree, which is durable, and puts the checkpoint in place.
fn publish(
    storage: &dyn Storage,
    signer: &dyn Signer,
    origin: &str,
    tree: &Tree,
) -> Result<(Checkpoint, String), LogError> {
    let size = tree.size();
    let root = tree.root(size).unwrap_or_else(evidence::empty_root);
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size,
        root,
    };
    let note = sign_checkpoint(&checkpoint, signer)?;
    storage.replace(checkpoint::PATH, note.as_bytes())?;
    Ok((checkpoint, note))
}

fn rebuild_tiles(storage: &dyn Storage, tree: &Tree, journal: &Journal<'_>) -> Result<u64, LogError> {
    let mut rebuilt = 0;
    for tile in tiles::added(0, tree.size()) {
        let expected = journal.tile(tile, tree);
        if storage.read(&tile.path())? != expected {
            storage.replace(&tile.path(), &expected.unwrap_or_default())?;
            rebuilt += 1;
        }
    }
    Ok(rebuilt)
}

/// Partial tiles must stay as long as a checkpoint may need them, and may go once the full tile is there.
fn remove_partials(storage: &dyn Storage, tiles: &[Tile]) -> Result<u64, LogError> {
    let mut removed = 0;
    for tile in tiles.iter().filter(|tile| tile.is_full()) {
        let folder = tile.partials();
        for name in storage.list(&folder)? {
            storage.remove(&format!("{folder}/{name}"))?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn tile_bytes<'a>(tile: Tile, tree: &Tree, entry: impl Fn(u64) -> Option<&'a [u8]>) -> Vec<u8> {
    let start = tile.first_entry();
    match tile.kind {
        Kind::Hashes(_) => tile.hashes(tree),
        Kind::Entries => Some(tiles::bundle((start..start + tile.width).map_while(entry))),
    }
    .expect("a tile that was added has its entries in the tree")
}
