//! The undo journal: what has to be undone, durable before it is done.
//!
//! Each entry is a total state machine ([`State::next`]): a step that it doesn't allow can't be recorded, and a
//! recorded one that it doesn't allow, as when the warden and a supervisor it took for dead both wrote, is passed
//! over when read again.
//!
//! What an attacker who owns the storage can do: make us forget a fault (what a process or the kernel bounds ends all
//! the same), have a folder removed, and have a record carried out: a file's mode or bytes put back, rollbacks of a
//! Chaos Toolkit file run, a recorded target started or reloaded, with the rights of whoever starts next. Checksums are no
//! signatures. So whoever opens a store refuses one that others may write, and only folders below a `.proofmark`, or in
//! one that is called `proofmark-…`, are ever registered, or removed.

mod format;
mod rehearsed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use evidence::lines::Unreadable;
use evidence::{Storage, StorageError};
use serde_json::Value;

use crate::fault::UndoClass;
use crate::strike::{self, Undone};
use format::{Class, HEADER, Record, Step};

pub use rehearsed::PastUndo;

/// The journal's file in its storage.
pub const PATH: &str = "undo.journal";
/// A scratch folder's path may be as long as the system's longest.
const SCRATCH_BYTES_MAX: usize = 4096;
/// An undo that fails is tried again for so long, with so many milliseconds between: a service that was just started
/// or whose clients are on their way back may need a moment.
const UNDO_TRIES_MS_MAX: u64 = 1_200;
const UNDO_PAUSE_MS: u64 = 50;
/// A folder that can't be removed is tried so often again, with so many milliseconds between.
const REMOVE_TRIES_MAX: u32 = 20;
const REMOVE_PAUSE_MS: u64 = 25;

/// A handle of the journal; clones share it. One supervisor at a time writes, and its warden once that is dead.
#[derive(Clone)]
pub struct UndoJournal {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Arc<dyn Storage>,
    contents: Mutex<Contents>,
    running: AtomicBool,
}

/// What is still open.
#[derive(Default)]
struct Contents {
    entries: BTreeMap<u64, JournalEntry>,
    scratch: BTreeSet<String>,
    next: u64,
    /// A write or sync failed: what the file holds is unknown, and nothing more is promised.
    failed: bool,
}

/// Number of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// A fault that is not closed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct JournalEntry {
    pub id: EntryId,
    /// File of the experiment.
    pub experiment: String,
    /// Catalogue name: `link-slowed`.
    pub fault: String,
    pub undo_class: UndoClass,
    /// What takes it back, or the way forward.
    pub undo: String,
    pub parameters: BTreeMap<String, Value>,
    /// What the fault needs to undo, as it was before the injection.
    pub record: BTreeMap<String, Value>,
    pub state: State,
}

/// How far a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Its undo or way forward is durable.
    Planned,
    /// It may or may not be in force.
    Injecting,
    Injected,
    /// It may or may not be in force still.
    Undoing,
    /// Taken back, and read back.
    Undone,
    /// The way forward is taken, and read back.
    WayForwardTaken,
    /// Somebody else has changed what was to be put back; it is left as they made it.
    LeftToOwner,
}

impl State {
    pub const ALL: [State; 7] = [
        State::Planned,
        State::Injecting,
        State::Injected,
        State::Undoing,
        State::Undone,
        State::WayForwardTaken,
        State::LeftToOwner,
    ];

    /// The states that may follow this one, for a fault of that class.
    pub fn next(self, class: UndoClass) -> &'static [State] {
        match (self, class) {
            (State::Planned, _) => &[State::Injecting, State::Undoing],
            (State::Injecting, _) => &[State::Injected, State::Undoing],
            (State::Injected, _) => &[State::Undoing],
            (State::Undoing, UndoClass::Irreversible) => &[State::WayForwardTaken, State::LeftToOwner],
            (State::Undoing, _) => &[State::Undone, State::LeftToOwner],
            (State::Undone | State::WayForwardTaken | State::LeftToOwner, _) => &[],
        }
    }

    /// Nothing follows it.
    pub fn is_last(self) -> bool {
        matches!(self, State::Undone | State::WayForwardTaken | State::LeftToOwner)
    }

    /// The state in which a fault of that class is over, once its undo ended like that. Only what is journaled or has
    /// a way forward can meet somebody else's change.
    pub fn last(class: UndoClass, undone: &Undone) -> State {
        match (class, undone) {
            (UndoClass::Journaled | UndoClass::Irreversible, Undone::Foreign(_)) => State::LeftToOwner,
            (UndoClass::Irreversible, Undone::Restored) => State::WayForwardTaken,
            _ => State::Undone,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            State::Planned => "planned",
            State::Injecting => "injecting",
            State::Injected => "injected",
            State::Undoing => "undoing",
            State::Undone => "undone",
            State::WayForwardTaken => "way-forward-taken",
            State::LeftToOwner => "left-to-owner",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The journal could not be read or written, or was asked for what can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the undo journal failed before; open it again")]
    Failed,
    #[error("`{PATH}` is not an undo journal")]
    NotAJournal,
    #[error("`{PATH}` has the format of another version of proofmark")]
    OtherVersion,
    #[error("`{PATH}` is damaged at line {line}, with good lines behind it")]
    Damaged { line: usize },
    #[error("entry {} of the undo journal can't go from {from} to {to}", .id.0)]
    Illegal { id: EntryId, from: State, to: State },
    #[error("what undoes it takes {0} bytes, more than a record of the undo journal may have ({max})", max = format::RECORD_BYTES_MAX)]
    TooLong(usize),
    #[error("the undo journal has no open entry {}", .0.0)]
    NoEntry(EntryId),
    #[error("`{path}` can't be a scratch folder: {reason}")]
    Scratch { path: String, reason: &'static str },
}

/// Undoes what a dead supervisor left.
pub trait Recovery {
    /// Takes a fault back, or its way forward, and reads that back. May be called more than once for one entry.
    fn undo(&mut self, entry: &JournalEntry) -> Result<Undone, String>;

    /// Removes a folder with all it holds. That it is not there is no error.
    fn remove_scratch(&mut self, path: &Path) -> Result<(), String>;
}

/// What [`UndoJournal::recover`] did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recovered {
    pub undone: Vec<JournalEntry>,
    /// What somebody else has changed since and was left to them, each with what was met.
    pub left: Vec<(JournalEntry, String)>,
    pub scratch_removed: Vec<PathBuf>,
    /// What is still open, each with the reason.
    pub failed: Vec<String>,
}

impl Recovered {
    /// What was done, and what wasn't, in words for people; nothing when there was nothing to do.
    pub fn notes(&self) -> Vec<String> {
        let undone = self.undone.iter().map(|entry| match entry.undo_class {
            UndoClass::KernelBounded => format!("`{}` of {} is over", entry.fault, entry.experiment),
            UndoClass::ProcessBounded | UndoClass::SandboxDiscard => {
                format!("`{}` of {} has ended with its process", entry.fault, entry.experiment)
            }
            UndoClass::Journaled => format!("`{}` of {} is undone: {}", entry.fault, entry.experiment, entry.undo),
            UndoClass::Irreversible => format!("`{}` of {} is closed, {}", entry.fault, entry.experiment, entry.undo),
        });
        let left = self.left.iter().map(|(entry, reason)| {
            format!(
                "`{}` of {} is left to whoever changed it since: {reason}",
                entry.fault, entry.experiment
            )
        });
        let removed = self
            .scratch_removed
            .iter()
            .map(|path| format!("removed `{}`", path.display()));
        undone
            .chain(left)
            .chain(removed)
            .chain(self.failed.iter().cloned())
            .collect()
    }
}

/// What is left to do once the supervisor that wrote the journal is dead, and with it its worker, its broker and
/// its services: faults in the worker are over, and whoever starts the services next leases anew. What was done to
/// declared targets is taken back from the record.
struct AfterDeath<'a> {
    /// Environment variables that recorded commands may refer to.
    env: &'a [(std::ffi::OsString, std::ffi::OsString)],
}

impl Recovery for AfterDeath<'_> {
    fn undo(&mut self, entry: &JournalEntry) -> Result<Undone, String> {
        if let Some(played) = crate::toolkit::play_rollbacks(&entry.record, self.env) {
            return played;
        }
        match strike::from_journal(&entry.fault, &entry.parameters, &entry.record)? {
            None => Ok(Undone::Restored),
            Some((strike, site)) => {
                let begun = Instant::now();
                loop {
                    let taken = strike::take_back(strike.as_ref(), &site, &entry.record);
                    if taken.is_ok() || begun.elapsed() > Duration::from_millis(UNDO_TRIES_MS_MAX) {
                        return taken;
                    }
                    thread::sleep(Duration::from_millis(UNDO_PAUSE_MS));
                }
            }
        }
    }

    fn remove_scratch(&mut self, path: &Path) -> Result<(), String> {
        remove_folder(path)
    }
}

/// While it lives, no other experiment runs on this journal.
pub(crate) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

impl UndoJournal {
    /// Opens the journal, creating it where there is none. A last record that was torn by a crash is dropped: it was
    /// never promised. What is open is made durable again, and what is closed is forgotten.
    pub fn open(storage: Arc<dyn Storage>) -> Result<UndoJournal, JournalError> {
        let bytes = storage.read(PATH)?.unwrap_or_default();
        let parsed = format::parse(&bytes).map_err(|unreadable| match unreadable {
            Unreadable::NotAJournal => JournalError::NotAJournal,
            Unreadable::OtherVersion => JournalError::OtherVersion,
            Unreadable::Damaged { line } => JournalError::Damaged { line },
        })?;
        let mut contents = Contents {
            next: 1,
            ..Contents::default()
        };
        for record in parsed.records {
            contents.apply(record);
        }
        let journal = UndoJournal {
            shared: Arc::new(Shared {
                storage,
                contents: Mutex::new(contents),
                running: AtomicBool::new(false),
            }),
        };
        // What is read need not be durable: a sync may have failed over it. Written anew it is, and torn bytes and
        // closed entries are gone with the same stroke.
        // On a disk that is full or read-only nothing new is promised, but what is open can still be undone.
        if bytes != HEADER.as_bytes() {
            let _ = journal.compact();
        }
        Ok(journal)
    }

    /// Records a fault and how it ends; durable when this returns.
    pub fn plan(
        &self,
        experiment: &str,
        fault: &str,
        undo_class: UndoClass,
        undo: &str,
        parameters: &BTreeMap<String, Value>,
        record: &BTreeMap<String, Value>,
    ) -> Result<EntryId, JournalError> {
        let mut contents = self.contents();
        let entry = contents.next;
        self.write(
            &mut contents,
            Record::Plan {
                entry,
                experiment: experiment.to_owned(),
                fault: fault.to_owned(),
                undo_class: undo_class.into(),
                undo: undo.to_owned(),
                parameters: parameters.clone(),
                before: record.clone(),
            },
        )?;
        Ok(EntryId(entry))
    }

    /// Records that an entry has come to the state `to`; durable when this returns.
    pub fn advance(&self, id: EntryId, to: State) -> Result<(), JournalError> {
        let mut contents = self.contents();
        let entry = contents.entries.get(&id.0).ok_or(JournalError::NoEntry(id))?;
        if !entry.state.next(entry.undo_class).contains(&to) {
            return Err(JournalError::Illegal {
                id,
                from: entry.state,
                to,
            });
        }
        self.write(
            &mut contents,
            Record::State {
                entry: id.0,
                to: to.into(),
            },
        )
    }

    /// What is not closed in a journal that somebody else may have open, oldest first; nothing is written. A file that
    /// can't be read as a journal has nothing open.
    pub fn peek(storage: &dyn Storage) -> Vec<JournalEntry> {
        let bytes = storage.read(PATH).ok().flatten().unwrap_or_default();
        let mut contents = Contents::default();
        for record in format::parse(&bytes).map(|parsed| parsed.records).unwrap_or_default() {
            contents.apply(record);
        }
        contents.entries.into_values().collect()
    }

    /// How faults were undone after their supervisor's death, as far as this journal's folder has kept it.
    pub fn rehearsals(storage: &dyn Storage) -> Vec<PastUndo> {
        rehearsed::read(storage)
    }

    /// Closes an entry whose undo can't be had any more, because a person says so: its target is gone for good, or was
    /// put right by hand.
    pub fn leave(&self, id: EntryId) -> Result<JournalEntry, JournalError> {
        let entry = self.pending().into_iter().find(|entry| entry.id == id);
        let entry = entry.ok_or(JournalError::NoEntry(id))?;
        if entry.state != State::Undoing {
            self.advance(id, State::Undoing)?;
        }
        self.advance(id, State::LeftToOwner)?;
        Ok(entry)
    }

    /// What is not closed, oldest first.
    pub fn pending(&self) -> Vec<JournalEntry> {
        self.contents().entries.values().cloned().collect()
    }

    /// Records a folder that must not outlive the supervisor; durable when this returns. Register it before it is
    /// made. It must be absolute, and lie below a folder `.proofmark`, or in or be one whose name begins with
    /// `proofmark-` or `.proofmark-`.
    pub fn register_scratch(&self, path: &Path) -> Result<(), JournalError> {
        let path = check_scratch(path)?.to_owned();
        let mut contents = self.contents();
        if contents.scratch.contains(&path) {
            return Ok(());
        }
        self.write(&mut contents, Record::Scratch { path })
    }

    /// Records that a registered folder is gone.
    pub fn scratch_removed(&self, path: &Path) -> Result<(), JournalError> {
        let path = check_scratch(path)?.to_owned();
        let mut contents = self.contents();
        if !contents.scratch.contains(&path) {
            return Ok(());
        }
        self.write(&mut contents, Record::ScratchRemoved { path })
    }

    /// The registered folders.
    pub fn scratch(&self) -> Vec<PathBuf> {
        self.contents().scratch.iter().map(PathBuf::from).collect()
    }

    /// Undoes what is pending, the latest first, then removes the registered folders. What fails stays pending.
    ///
    /// # Errors
    /// When the journal can't be written; what was undone until then is undone.
    pub fn recover(&self, recovery: &mut dyn Recovery) -> Result<Recovered, JournalError> {
        let mut recovered = Recovered::default();
        for entry in self.pending().into_iter().rev() {
            // Undoing comes first and recording second: an entry that stays open is undone once more, which does no
            // harm, and a fault that stays because a disk is full does.
            let mut recorded = Ok(());
            if entry.state != State::Undoing {
                recorded = self.advance(entry.id, State::Undoing);
            }
            let begun = Instant::now();
            let answer = recovery.undo(&entry);
            // What was planned only was never in force: taking it back shows nothing.
            if entry.state != State::Planned {
                rehearsed::note(self.shared.storage.as_ref(), &entry, answer.is_ok(), begun.elapsed());
            }
            match answer {
                Ok(undone) => {
                    let closed = recorded.and_then(|()| self.advance(entry.id, State::last(entry.undo_class, &undone)));
                    if let Err(error) = closed {
                        recovered.failed.push(format!(
                            "entry {}: `{}` of {} is undone, and that could not be recorded: {error}",
                            entry.id.0, entry.fault, entry.experiment
                        ));
                    }
                    match undone {
                        Undone::Restored => recovered.undone.push(entry),
                        Undone::Foreign(reason) => recovered.left.push((entry, reason)),
                    }
                }
                Err(reason) => recovered.failed.push(format!(
                    "entry {}: `{}` of {} is not undone ({}): {reason}",
                    entry.id.0, entry.fault, entry.experiment, entry.undo
                )),
            }
        }
        for path in self.scratch() {
            match recovery.remove_scratch(&path) {
                Ok(()) => {
                    self.scratch_removed(&path)?;
                    recovered.scratch_removed.push(path);
                }
                Err(reason) => recovered
                    .failed
                    .push(format!("`{}` is not removed: {reason}", path.display())),
            }
        }
        Ok(recovered)
    }

    /// [`UndoJournal::recover`] for when the supervisor that wrote the journal is dead, and with it its worker, its
    /// broker and its services: at the next start, before anything else.
    /// `env` is looked into where a recorded command refers to it.
    pub fn recover_at_start(
        &self,
        env: &[(std::ffi::OsString, std::ffi::OsString)],
    ) -> Result<Recovered, JournalError> {
        self.recover(&mut AfterDeath { env })
    }

    /// Removes the registered folders. One that can't be removed stays registered, for the next start.
    pub fn clear_scratch(&self) -> Result<(), JournalError> {
        for path in self.scratch() {
            if remove_folder(&path).is_ok() {
                self.scratch_removed(&path)?;
            }
        }
        Ok(())
    }

    /// Writes the journal anew with only what is open in it.
    pub fn compact(&self) -> Result<(), JournalError> {
        let mut contents = self.contents();
        if contents.failed {
            return Err(JournalError::Failed);
        }
        let mut bytes = HEADER.as_bytes().to_vec();
        for record in contents.records() {
            bytes.extend(format::line(&record));
        }
        let replaced = self.shared.storage.replace(PATH, &bytes);
        contents.failed = replaced.is_err();
        Ok(replaced?)
    }

    /// Claims the journal for one experiment; `None` while another one runs.
    pub(crate) fn claim(&self) -> Option<Running> {
        let claimed = self.shared.running.swap(true, Ordering::Acquire);
        (!claimed).then(|| Running(self.shared.clone()))
    }

    /// Appends and syncs, and only then believes the record itself.
    fn write(&self, contents: &mut Contents, record: Record) -> Result<(), JournalError> {
        if contents.failed {
            return Err(JournalError::Failed);
        }
        let line = format::line(&record);
        // What can't be read again must not be written: nothing would be undone any more.
        if line.len() > format::RECORD_BYTES_MAX {
            return Err(JournalError::TooLong(line.len()));
        }
        let storage = &self.shared.storage;
        let written = storage.append(PATH, &line).and_then(|()| storage.sync(PATH));
        contents.failed = written.is_err();
        written?;
        contents.apply(record);
        Ok(())
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.shared.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Takes in a record. What doesn't follow from the ones before is passed over.
    fn apply(&mut self, record: Record) {
        match record {
            Record::Begin { next } => self.next = self.next.max(next.min(u64::MAX - 1)),
            Record::Plan {
                entry,
                experiment,
                fault,
                undo_class,
                undo,
                parameters,
                before,
            } => {
                if entry < self.next || entry == u64::MAX {
                    return;
                }
                self.next = entry + 1;
                let undo_class = undo_class.into();
                let (id, state) = (EntryId(entry), State::Planned);
                self.entries.insert(
                    entry,
                    JournalEntry {
                        id,
                        experiment,
                        fault,
                        undo_class,
                        undo,
                        parameters,
                        record: before,
                        state,
                    },
                );
            }
            Record::State { entry, to } => {
                let Some(open) = self.entries.get_mut(&entry) else {
                    return;
                };
                let to = State::from(to);
                if open.state.next(open.undo_class).contains(&to) {
                    open.state = to;
                }
                if open.state.is_last() {
                    self.entries.remove(&entry);
                }
            }
            Record::Scratch { path } => {
                // INVARIANT: nothing is in the set that `check_scratch` refuses, whoever wrote the file.
                if check_scratch(Path::new(&path)).is_ok() {
                    self.scratch.insert(path);
                }
            }
            Record::ScratchRemoved { path } => {
                self.scratch.remove(&path);
            }
        }
    }

    /// The shortest records that say the same.
    fn records(&self) -> Vec<Record> {
        // The plans of open entries carry numbers below `next`, so the mark stands behind them.
        let mut records = Vec::new();
        for entry in self.entries.values() {
            records.push(Record::Plan {
                entry: entry.id.0,
                experiment: entry.experiment.clone(),
                fault: entry.fault.clone(),
                undo_class: entry.undo_class.into(),
                undo: entry.undo.clone(),
                parameters: entry.parameters.clone(),
                before: entry.record.clone(),
            });
            records.extend(path_to(entry.state).iter().map(|to| Record::State {
                entry: entry.id.0,
                to: (*to).into(),
            }));
        }
        if self.next > 1 {
            records.push(Record::Begin { next: self.next });
        }
        records.extend(self.scratch.iter().map(|path| Record::Scratch { path: path.clone() }));
        records
    }
}

/// The steps from planned to an open state.
fn path_to(state: State) -> &'static [State] {
    match state {
        State::Injecting => &[State::Injecting],
        State::Injected => &[State::Injecting, State::Injected],
        State::Undoing => &[State::Undoing],
        State::Planned | State::Undone | State::WayForwardTaken | State::LeftToOwner => &[],
    }
}

/// Removes a folder with all it holds; symbolic links in it are removed, never followed. Processes that are dying may
/// still write into it, so it is tried for a while.
fn remove_folder(path: &Path) -> Result<(), String> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.exists() => return Ok(()),
            Err(error) if tries == REMOVE_TRIES_MAX => return Err(error.to_string()),
            Err(_) => {
                tries += 1;
                thread::sleep(Duration::from_millis(REMOVE_PAUSE_MS));
            }
        }
    }
}

/// The path as text, when it is one that may be removed with all it holds.
fn check_scratch(path: &Path) -> Result<&str, JournalError> {
    let refuse = |reason| {
        Err(JournalError::Scratch {
            path: path.display().to_string(),
            reason,
        })
    };
    let Some(text) = path.to_str().filter(|text| text.len() <= SCRATCH_BYTES_MAX) else {
        return refuse("it is not UTF-8, or too long");
    };
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return refuse("it is not an absolute path without `..`");
    }
    let named = |path: &Path| {
        let names = path
            .components()
            .map(|part| part.as_os_str().to_string_lossy().into_owned());
        names.collect::<Vec<_>>()
    };
    let temporary = |name: &String| name.starts_with("proofmark-") || name.starts_with(".proofmark-");
    // `.proofmark` is a store: what lies in it may be scratch, it itself is not.
    let in_store = path
        .parent()
        .is_some_and(|parent| named(parent).iter().any(|name| name == ".proofmark"));
    if !in_store && !named(path).iter().any(temporary) {
        return refuse("it is neither below `.proofmark` nor in a folder called `proofmark-…`");
    }
    Ok(text)
}

impl From<UndoClass> for Class {
    fn from(class: UndoClass) -> Self {
        match class {
            UndoClass::KernelBounded => Class::KernelBounded,
            UndoClass::ProcessBounded => Class::ProcessBounded,
            UndoClass::SandboxDiscard => Class::SandboxDiscard,
            UndoClass::Journaled => Class::Journaled,
            UndoClass::Irreversible => Class::Irreversible,
        }
    }
}

impl From<Class> for UndoClass {
    fn from(class: Class) -> Self {
        match class {
            Class::KernelBounded => UndoClass::KernelBounded,
            Class::ProcessBounded => UndoClass::ProcessBounded,
            Class::SandboxDiscard => UndoClass::SandboxDiscard,
            Class::Journaled => UndoClass::Journaled,
            Class::Irreversible => UndoClass::Irreversible,
        }
    }
}

impl From<State> for Step {
    fn from(state: State) -> Self {
        match state {
            State::Planned => Step::Planned,
            State::Injecting => Step::Injecting,
            State::Injected => Step::Injected,
            State::Undoing => Step::Undoing,
            State::Undone => Step::Undone,
            State::WayForwardTaken => Step::WayForwardTaken,
            State::LeftToOwner => Step::LeftToOwner,
        }
    }
}

impl From<Step> for State {
    fn from(step: Step) -> Self {
        match step {
            Step::Planned => State::Planned,
            Step::Injecting => State::Injecting,
            Step::Injected => State::Injected,
            Step::Undoing => State::Undoing,
            Step::Undone => State::Undone,
            Step::WayForwardTaken => State::WayForwardTaken,
            Step::LeftToOwner => State::LeftToOwner,
        }
    }
}

#[cfg(test)]
mod tests {
    use testkit::{Rng, SimStorage};

    use super::*;

    fn open(storage: &Arc<SimStorage>) -> UndoJournal {
        UndoJournal::open(storage.clone()).unwrap()
    }

    fn plan(journal: &UndoJournal, class: UndoClass) -> Result<EntryId, JournalError> {
        journal.plan(
            "experiments/x.toml",
            "fault",
            class,
            "take it back",
            &BTreeMap::new(),
            &BTreeMap::new(),
        )
    }

    #[test]
    fn an_undo_after_death_is_kept_for_the_figures() {
        let storage = Arc::new(SimStorage::new(1));
        let journal = open(&storage);
        let steps = [State::Injecting, State::Injected];
        let injected = |class| {
            let id = plan(&journal, class).unwrap();
            steps.iter().for_each(|step| journal.advance(id, *step).unwrap());
        };
        plan(&journal, UndoClass::Journaled).unwrap();
        injected(UndoClass::Journaled);
        injected(UndoClass::Irreversible);
        let kept = || UndoJournal::rehearsals(storage.as_ref());
        assert_eq!(kept(), []);
        struct Fails;
        impl Recovery for Fails {
            fn undo(&mut self, _: &JournalEntry) -> Result<Undone, String> {
                Err("it does not answer".to_owned())
            }
            fn remove_scratch(&mut self, _: &Path) -> Result<(), String> {
                Ok(())
            }
        }
        for _ in 0..3 {
            journal.recover(&mut Fails).unwrap();
        }
        let undone = |kept: &[PastUndo]| kept.iter().map(|each| each.undone).collect::<Vec<_>>();
        // What was only planned counts once it was tried again: by then it may have been in force.
        assert!(!undone(&kept()).contains(&true));
        journal.recover(&mut Obedient::default()).unwrap();
        journal.compact().unwrap();
        assert!(!undone(&kept()).contains(&false));
        assert!(kept().iter().all(|each| each.fault == "fault"));
        storage.append("rehearsed", b"{\"entry\":9").unwrap();
        assert_eq!(kept().len(), undone(&kept()).len());
    }

    /// From every state, exactly the steps that [`State::next`] allows can be recorded.
    #[test]
    fn only_legal_steps_are_recorded() {
        for class in UndoClass::ALL {
            for (state, path) in [
                (State::Planned, &[][..]),
                (State::Injecting, &[State::Injecting][..]),
                (State::Injected, &[State::Injecting, State::Injected]),
                (State::Undoing, &[State::Undoing]),
            ] {
                for to in State::ALL {
                    let storage = Arc::new(SimStorage::new(1));
                    let journal = open(&storage);
                    let id = plan(&journal, class).unwrap();
                    for step in path {
                        journal.advance(id, *step).unwrap();
                    }
                    let before = storage.read(PATH).unwrap();
                    let advanced = journal.advance(id, to);
                    if state.next(class).contains(&to) {
                        advanced.unwrap();
                        let open_state = journal.pending().first().map(|entry| entry.state);
                        assert_eq!(open_state, (!to.is_last()).then_some(to));
                        assert_eq!(open(&storage).pending(), journal.pending());
                    } else {
                        assert_eq!(advanced, Err(JournalError::Illegal { id, from: state, to }));
                        assert_eq!(storage.read(PATH).unwrap(), before);
                    }
                }
            }
        }
        let journal = open(&Arc::new(SimStorage::new(1)));
        assert_eq!(
            journal.advance(EntryId(1), State::Undoing),
            Err(JournalError::NoEntry(EntryId(1)))
        );
    }

    /// The warden closed what a supervisor that it took for dead goes on with: what was closed stays closed.
    #[test]
    fn two_writers_can_not_reopen_an_entry() {
        let storage = Arc::new(SimStorage::new(1));
        let supervisor = open(&storage);
        let id = plan(&supervisor, UndoClass::ProcessBounded).unwrap();
        supervisor.advance(id, State::Injecting).unwrap();
        let warden = open(&storage);
        warden.recover(&mut Obedient::default()).unwrap();
        supervisor.advance(id, State::Injected).unwrap();
        supervisor.advance(id, State::Undoing).unwrap();
        assert_eq!(open(&storage).pending(), []);
        // Nor does a new entry get the number of an old one.
        assert_eq!(plan(&open(&storage), UndoClass::ProcessBounded), Ok(EntryId(2)));
    }

    #[derive(Default)]
    struct Obedient {
        undone: Vec<u64>,
        removed: Vec<PathBuf>,
        refuses: bool,
    }

    impl Recovery for Obedient {
        fn undo(&mut self, entry: &JournalEntry) -> Result<Undone, String> {
            if self.refuses {
                return Err("not now".to_owned());
            }
            self.undone.push(entry.id.0);
            Ok(Undone::Restored)
        }

        fn remove_scratch(&mut self, path: &Path) -> Result<(), String> {
            self.removed.push(path.to_owned());
            Ok(())
        }
    }

    #[test]
    fn recovery_undoes_the_latest_first_and_is_done_once() {
        let storage = Arc::new(SimStorage::new(1));
        let journal = open(&storage);
        for class in [
            UndoClass::ProcessBounded,
            UndoClass::Irreversible,
            UndoClass::ProcessBounded,
        ] {
            plan(&journal, class).unwrap();
        }
        journal.advance(EntryId(2), State::Injecting).unwrap();
        journal.register_scratch(Path::new("/scratch/proofmark-a")).unwrap();
        let journal = open(&storage);
        let mut refusing = Obedient {
            refuses: true,
            ..Obedient::default()
        };
        let recovered = journal.recover(&mut refusing).unwrap();
        assert_eq!((recovered.undone.len(), recovered.failed.len()), (0, 3));
        let journal = open(&storage);
        assert!(journal.pending().iter().all(|entry| entry.state == State::Undoing));
        let mut recovery = Obedient::default();
        assert_eq!(journal.recover(&mut recovery).unwrap().failed, Vec::<String>::new());
        assert_eq!(recovery.undone, [3, 2, 1]);
        assert_eq!(refusing.removed, [Path::new("/scratch/proofmark-a")]);
        assert_eq!(recovery.removed, [] as [&Path; 0]);
        assert_eq!(
            open(&storage).recover(&mut Obedient::default()).unwrap(),
            Recovered::default()
        );
    }

    #[test]
    fn only_our_own_folders_are_scratch() {
        let storage = Arc::new(SimStorage::new(1));
        let journal = open(&storage);
        for good in [
            "/scratch/proofmark-1",
            "/home/a/tree/.proofmark/scratch/1",
            "/x/proofmark-2/b",
        ] {
            journal.register_scratch(Path::new(good)).unwrap();
        }
        for bad in [
            "/",
            "/home/a",
            "proofmark-1",
            "/scratch/proofmark-1/../..",
            "/home/a/.proofmark",
            "/home/proofmark/x",
        ] {
            let refused = journal.register_scratch(Path::new(bad));
            assert!(matches!(refused, Err(JournalError::Scratch { .. })), "{bad}");
            // Nor when somebody else wrote it into the file.
            storage
                .append(PATH, &format::line(&Record::Scratch { path: bad.to_owned() }))
                .unwrap();
        }
        assert_eq!(open(&storage).scratch().len(), 3);
        let journal = open(&storage);
        journal.scratch_removed(Path::new("/scratch/proofmark-1")).unwrap();
        assert_eq!(open(&storage).scratch(), journal.scratch());
        assert_eq!(journal.scratch().len(), 2);
    }

    #[test]
    fn a_start_removes_what_was_left_but_follows_no_link() {
        let outside = tempfile::tempdir().unwrap();
        let kept = outside.path().join("kept");
        fs::write(&kept, "x").unwrap();
        let folder = tempfile::Builder::new().prefix("proofmark-").tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        fs::create_dir_all(scratch.join("a/b")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path(), scratch.join("a/link")).unwrap();
        let storage = Arc::new(SimStorage::new(1));
        let journal = open(&storage);
        journal.register_scratch(&scratch).unwrap();
        journal.register_scratch(&folder.path().join("never-made")).unwrap();
        plan(&journal, UndoClass::Irreversible).unwrap();
        let recovered = open(&storage).recover_at_start(&[]).unwrap();
        assert_eq!(recovered.failed, Vec::<String>::new());
        assert_eq!(recovered.notes().len(), 3, "{:?}", recovered.notes());
        assert!(!scratch.exists() && kept.exists() && folder.path().exists());
        assert_eq!(
            open(&storage).recover_at_start(&[]).unwrap().notes(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn files_of_others_are_refused() {
        for (bytes, expect) in [
            (&b"proofmark undo journal v3\nx"[..], JournalError::OtherVersion),
            (b"#!/bin/sh\n", JournalError::NotAJournal),
        ] {
            let storage = Arc::new(SimStorage::new(1));
            storage.append(PATH, bytes).unwrap();
            assert_eq!(UndoJournal::open(storage).err(), Some(expect));
        }
    }

    #[test]
    fn compaction_keeps_what_is_open() {
        let storage = Arc::new(SimStorage::new(1));
        let journal = open(&storage);
        for round in 0..50 {
            let id = plan(&journal, UndoClass::Irreversible).unwrap();
            journal.advance(id, State::Injecting).unwrap();
            if round % 10 > 0 {
                journal.advance(id, State::Undoing).unwrap();
                journal.advance(id, State::WayForwardTaken).unwrap();
            }
        }
        journal.register_scratch(Path::new("/scratch/proofmark-1")).unwrap();
        let (before, length) = (journal.pending(), storage.length(PATH).unwrap());
        journal.compact().unwrap();
        assert!(storage.length(PATH).unwrap() < length);
        assert_eq!(journal.pending(), before);
        let again = open(&storage);
        assert_eq!((again.pending(), again.scratch()), (before, journal.scratch()));
        assert_eq!(plan(&again, UndoClass::Irreversible), Ok(EntryId(51)));
    }

    /// Random histories, crashed within every write in turn: what was acknowledged is there, and at most the step
    /// that was under way besides.
    #[test]
    fn a_crash_at_any_write_loses_nothing_acknowledged() {
        for seed in 0..40 {
            for at in 1.. {
                let storage = Arc::new(SimStorage::new(seed));
                let journal = open(&storage);
                storage.crash_at(at);
                let mut history = History::new(seed);
                history.play(&journal);
                if !storage.crashed() {
                    break;
                }
                for remains in 0..4 {
                    let survived = Arc::new(storage.after_crash(seed * 4 + remains));
                    let journal = UndoJournal::open(survived.clone()).unwrap();
                    history.check(&journal, &format!("seed {seed}, write {at}, remains {remains}"));
                    let mut recovery = Obedient::default();
                    journal.recover(&mut recovery).unwrap();
                    assert_eq!(open(&survived).pending(), []);
                    assert_eq!(open(&survived).scratch(), [] as [PathBuf; 0]);
                }
            }
        }
    }

    /// A failed sync, then a restart without a crash, then a crash: the record that was read in between is believed,
    /// so it has to be there.
    #[test]
    fn what_was_read_after_a_failed_sync_survives() {
        for seed in 0..50 {
            let storage = Arc::new(SimStorage::new(seed));
            let journal = open(&storage);
            plan(&journal, UndoClass::ProcessBounded).unwrap();
            storage.fail_sync_at(1);
            assert!(plan(&journal, UndoClass::ProcessBounded).is_err());
            assert_eq!(plan(&journal, UndoClass::ProcessBounded), Err(JournalError::Failed));
            let journal = open(&storage);
            let read = journal.pending();
            journal.advance(EntryId(1), State::Undoing).unwrap();
            let survived = Arc::new(storage.after_crash(seed));
            let pending = open(&survived).pending();
            assert_eq!(pending.len(), read.len(), "seed {seed}");
            assert_eq!(pending[0].state, State::Undoing);
        }
    }

    /// What a journal was asked, and what it acknowledged.
    struct History {
        rng: Rng,
        acknowledged: BTreeMap<u64, State>,
        scratch: BTreeSet<PathBuf>,
        /// The step that failed: it may or may not be there.
        doubtful: Option<(u64, State)>,
        doubtful_scratch: Option<PathBuf>,
    }

    impl History {
        fn new(seed: u64) -> Self {
            let (acknowledged, scratch) = Default::default();
            History {
                rng: Rng::new(seed),
                acknowledged,
                scratch,
                doubtful: None,
                doubtful_scratch: None,
            }
        }

        fn play(&mut self, journal: &UndoJournal) {
            for step in 0..12 {
                let class = UndoClass::ALL[self.rng.index(2)];
                let open: Vec<JournalEntry> = journal.pending();
                let failed = match self.rng.below(4) {
                    0 => {
                        let path = PathBuf::from(format!("/scratch/proofmark-{step}"));
                        let failed = journal.register_scratch(&path).is_err();
                        if failed {
                            self.doubtful_scratch = Some(path);
                        } else {
                            self.scratch.insert(path);
                        }
                        failed
                    }
                    1 if self.rng.percent(20) => journal.compact().is_err(),
                    2.. if !open.is_empty() => {
                        let entry = &open[self.rng.index(open.len())];
                        let next = entry.state.next(entry.undo_class);
                        let to = next[self.rng.index(next.len())];
                        let failed = journal.advance(entry.id, to).is_err();
                        if failed {
                            self.doubtful = Some((entry.id.0, to));
                        } else {
                            self.acknowledged.insert(entry.id.0, to);
                        }
                        failed
                    }
                    _ => match plan(journal, class) {
                        Ok(id) => self.acknowledged.insert(id.0, State::Planned).is_some(),
                        Err(_) => true,
                    },
                };
                if failed {
                    return;
                }
            }
        }

        #[track_caller]
        fn check(&self, journal: &UndoJournal, context: &str) {
            let found: BTreeMap<u64, State> = journal
                .pending()
                .into_iter()
                .map(|entry| (entry.id.0, entry.state))
                .collect();
            for (id, state) in &self.acknowledged {
                let closed = state.is_last();
                let doubtful = self.doubtful.filter(|(doubtful, _)| doubtful == id).map(|(_, to)| to);
                match found.get(id) {
                    Some(found) => assert!(!closed && (found == state || Some(*found) == doubtful), "{context}"),
                    None => assert!(
                        closed || doubtful.is_some_and(State::is_last),
                        "{context}: entry {id} is lost"
                    ),
                }
            }
            let scratch: BTreeSet<PathBuf> = journal.scratch().into_iter().collect();
            assert!(self.scratch.is_subset(&scratch), "{context}");
            let more: Vec<_> = scratch.difference(&self.scratch).collect();
            assert!(
                more.iter().all(|path| self.doubtful_scratch.as_ref() == Some(path)),
                "{context}"
            );
        }
    }
}
