//! What has happened in each run, durable before and after every effect.
//!
//! A unit (one command of one execution of a step) is a total state machine: a record that its state doesn't allow
//! can't be written, and one that was read nevertheless is an error. Running on is replay: a unit that has finished
//! is not done again, and one that was started and did not finish is never done again silently.
//!
//! What an attacker who owns the storage can do: make us forget what was done, so that it is done again, or believe
//! that something was done or approved that wasn't. Whoever runs playbooks keeps it where only they can write.
//!
//! Start reading at [`RunStore`].

pub(crate) mod format;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::lines::Unreadable;
use evidence::{Storage, StorageError, Timestamp};

use crate::actuators::Word;
use crate::playbook::Playbook;
use format::{HEADER, Record, Values};

/// A run's name is no longer.
const RUN_CHARS_MAX: usize = 64;

/// The journals of all runs, in one storage. One process at a time may run or answer the same run: whoever calls
/// keeps others out by a lock.
#[derive(Clone)]
pub struct RunStore {
    storage: Arc<dyn Storage>,
}

/// A journal could not be read or written, or was asked for what can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the journal of run `{0}` failed before; open it again")]
    Failed(String),
    #[error("`{0}` is not the journal of a run")]
    NotAJournal(String),
    #[error("the journal of run `{0}` has the format of another version of proofmark")]
    OtherVersion(String),
    #[error("the journal of run `{run}` is damaged at line {line}, with good lines behind it")]
    Damaged { run: String, line: usize },
    #[error("`{0}` can't be the name of a run: letters, digits, `-`, `_` and `.`, 64 at most, are allowed")]
    Name(String),
    #[error("there is no run `{0}`")]
    NoRun(String),
    #[error("run `{0}` was begun with another playbook or other inputs")]
    Other(String),
    #[error("run `{run}` does not wait at `{step}`")]
    NotWaiting { run: String, step: String },
    #[error("run `{run}` waits at {units} places of `{step}`: name one of them in full")]
    Ambiguous { run: String, step: String, units: String },
    #[error("the journal of run `{run}` has `{unit}` go from {from} to {to}")]
    Illegal {
        run: String,
        unit: String,
        from: &'static str,
        to: &'static str,
    },
}

/// One run, as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    pub run: String,
    pub playbook: String,
    pub begun: Timestamp,
    /// Whether it succeeded, and why it didn't; `None` while it isn't over.
    pub ended: Option<(bool, String)>,
    /// What a person is asked for.
    pub waiting: Vec<Waiting>,
}

/// A place where a run can't go on without a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Names the place in full.
    pub unit: String,
    pub instructions: String,
    pub kind: WaitingFor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// Somebody is to do what the instructions say, or approve it: [`RunStore::answer`].
    Answer,
    /// A command was under way when the run was killed. Somebody has to see whether it happened:
    /// [`RunStore::settle`].
    Settlement,
}

/// How a person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Who answers.
    pub by: &'a str,
    pub at: Timestamp,
    /// Done or approved; otherwise the step has failed.
    pub done: bool,
    /// Values of the step's `out_args`.
    pub values: BTreeMap<String, String>,
}

impl RunStore {
    /// The runs below a storage's root.
    pub fn new(storage: Arc<dyn Storage>) -> RunStore {
        RunStore { storage }
    }

    /// All runs that were begun, by name.
    pub fn list(&self) -> Result<Vec<RunSummary>, StoreError> {
        let mut runs = Vec::new();
        for name in self.storage.list("runs")? {
            let Some(run) = name.strip_suffix(".journal") else {
                continue;
            };
            runs.extend(RunLog::read(self.storage.clone(), run)?.0.summary());
        }
        Ok(runs)
    }

    /// One run.
    pub fn summary(&self, run: &str) -> Result<RunSummary, StoreError> {
        let (log, _) = RunLog::read(self.storage.clone(), run)?;
        log.summary().ok_or_else(|| StoreError::NoRun(run.to_owned()))
    }

    /// What `answer` says at a place where the run waits, before it is recorded: for whoever signs it first.
    pub fn word(&self, run: &str, step: &str, answer: &Answer<'_>) -> Result<Word, StoreError> {
        let (log, _) = RunLog::read(self.storage.clone(), run)?;
        let settled = log.waiting_unit(step, WaitingFor::Settlement);
        let (unit, kind) = match settled {
            Ok(unit) => (unit, WaitingFor::Settlement),
            Err(_) => (log.waiting_unit(step, WaitingFor::Answer)?, WaitingFor::Answer),
        };
        log.word(&unit, kind, answer.by, answer.done, answer.values.clone())
            .ok_or_else(|| StoreError::NoRun(run.to_owned()))
    }

    /// Records what a person answers to a question; durable when this returns. `step` is a step's id, or a unit in
    /// full where the step waits more than once. The run goes on with the next [`crate::run`].
    pub fn answer(&self, run: &str, step: &str, answer: &Answer<'_>) -> Result<(), StoreError> {
        let log = self.open(run)?;
        let unit = log.waiting_unit(step, WaitingFor::Answer)?;
        log.write(Record::Answered {
            unit,
            at: answer.at,
            by: answer.by.to_owned(),
            done: answer.done,
            values: answer
                .values
                .clone()
                .into_iter()
                .map(|(name, value)| (name, Some(value)))
                .collect(),
        })
    }

    /// Records what a person found out of an interrupted command: that it happened, so that it counts as done, or
    /// that it didn't, so that it is done anew.
    pub fn settle(&self, run: &str, step: &str, happened: bool, by: &str, at: Timestamp) -> Result<(), StoreError> {
        let log = self.open(run)?;
        let unit = log.waiting_unit(step, WaitingFor::Settlement)?;
        log.write(Record::Settled {
            unit,
            at,
            by: by.to_owned(),
            happened,
        })
    }

    /// Playbook, variables and secrets of a run that was begun.
    pub fn begun(&self, run: &str) -> Result<(Playbook, crate::Inputs), StoreError> {
        let (log, _) = RunLog::read(self.storage.clone(), run)?;
        let contents = log.contents();
        let Some(Record::Begun {
            playbook,
            variables,
            secrets,
            ..
        }) = &contents.begun
        else {
            return Err(StoreError::NoRun(run.to_owned()));
        };
        let inputs = crate::Inputs {
            run: run.to_owned(),
            variables: variables.clone(),
            secrets: secrets.iter().map(|(name, file)| (name.clone(), file.into())).collect(),
        };
        Ok((self.playbook(run, playbook)?, inputs))
    }

    /// A playbook that was kept for a run, by the digest of its text.
    pub(crate) fn playbook(&self, run: &str, digest: &str) -> Result<Playbook, StoreError> {
        let bytes = self.storage.read(&playbook_path(digest))?.unwrap_or_default();
        let text = String::from_utf8(bytes).ok();
        let playbook = text.and_then(|text| Playbook::parse(&text).ok());
        let same = playbook.filter(|playbook| playbook.digest().hex() == digest);
        same.ok_or_else(|| StoreError::Other(run.to_owned()))
    }

    /// Keeps a playbook's text, durably.
    pub(crate) fn keep(&self, playbook: &Playbook) -> Result<(), StoreError> {
        let path = playbook_path(&playbook.digest().hex());
        if self.storage.read(&path)?.as_deref() != Some(playbook.text().as_bytes()) {
            self.storage.replace(&path, playbook.text().as_bytes())?;
        }
        Ok(())
    }

    pub(crate) fn open(&self, run: &str) -> Result<RunLog, StoreError> {
        RunLog::open(self.storage.clone(), run)
    }
}

fn playbook_path(digest: &str) -> String {
    format!("playbooks/{digest}.json")
}

/// The journal of one run.
pub(crate) struct RunLog {
    storage: Arc<dyn Storage>,
    run: String,
    path: String,
    contents: Mutex<Contents>,
}

#[derive(Default)]
pub(crate) struct Contents {
    pub begun: Option<Record>,
    pub units: BTreeMap<String, Unit>,
    /// Digest of the playbook that is called at a place.
    pub called: BTreeMap<String, String>,
    pub ended: Option<(bool, String)>,
    /// What the variables were at the end.
    pub values: Values,
    /// A write or sync failed: what the file holds is unknown, and nothing more is promised.
    failed: bool,
}

/// What is known of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    pub began: Timestamp,
    pub changed: Timestamp,
    pub state: UnitState,
    /// The person who answered or settled it last.
    pub by: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UnitState {
    Started,
    Asked { instructions: String },
    Answered { by: String, done: bool, values: Values },
    Settled { by: String, happened: bool },
    Finished { ok: bool, reason: String, values: Values },
}

impl UnitState {
    fn name(state: Option<&UnitState>) -> &'static str {
        match state {
            None => "nothing",
            Some(UnitState::Started) => "started",
            Some(UnitState::Asked { .. }) => "asked",
            Some(UnitState::Answered { .. }) => "answered",
            Some(UnitState::Settled { .. }) => "settled",
            Some(UnitState::Finished { .. }) => "finished",
        }
    }

    /// Whether this state may follow on another one.
    fn may_follow(&self, before: Option<&UnitState>) -> bool {
        match (before, self) {
            // Refused before it began, or done at once.
            (None, UnitState::Started | UnitState::Asked { .. } | UnitState::Finished { .. }) => true,
            // Again, for an idempotent step; or given up, taken back.
            (Some(UnitState::Started), UnitState::Started | UnitState::Settled { .. } | UnitState::Finished { .. }) => {
                true
            }
            (Some(UnitState::Asked { .. }), UnitState::Answered { .. } | UnitState::Finished { .. }) => true,
            // Back, where nobody vouches for what was said.
            (Some(UnitState::Answered { .. }), UnitState::Asked { .. } | UnitState::Finished { .. }) => true,
            (Some(UnitState::Settled { .. }), UnitState::Started | UnitState::Finished { .. }) => true,
            _ => false,
        }
    }
}

impl RunLog {
    /// Opens a journal to write it. What is read need not be durable: a sync may have failed over it. Written anew
    /// it is, and torn bytes are gone with the same stroke.
    fn open(storage: Arc<dyn Storage>, run: &str) -> Result<RunLog, StoreError> {
        let (log, good) = RunLog::read(storage, run)?;
        if !good.is_empty() {
            log.storage.replace(&log.path, &good)?;
        }
        Ok(log)
    }

    /// The journal and its good bytes; empty where there is none. Changes nothing: somebody else may be writing.
    fn read(storage: Arc<dyn Storage>, run: &str) -> Result<(RunLog, Vec<u8>), StoreError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if run.is_empty() || run.len() > RUN_CHARS_MAX || run.starts_with('.') || !run.chars().all(plain) {
            return Err(StoreError::Name(run.to_owned()));
        }
        let path = format!("runs/{run}.journal");
        let bytes = storage.read(&path)?.unwrap_or_default();
        let parsed = format::parse(&bytes).map_err(|unreadable| match unreadable {
            Unreadable::NotAJournal => StoreError::NotAJournal(run.to_owned()),
            Unreadable::OtherVersion => StoreError::OtherVersion(run.to_owned()),
            Unreadable::Damaged { line } => StoreError::Damaged {
                run: run.to_owned(),
                line,
            },
        })?;
        let mut contents = Contents::default();
        for record in parsed.records {
            contents.apply(run, record)?;
        }
        let log = RunLog {
            storage,
            run: run.to_owned(),
            path,
            contents: Mutex::new(contents),
        };
        let good = usize::try_from(parsed.good_bytes).unwrap_or(bytes.len());
        Ok((log, bytes[..good].to_vec()))
    }

    pub fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends and syncs, and only then believes the record itself.
    pub fn write(&self, record: Record) -> Result<(), StoreError> {
        let mut contents = self.contents();
        if contents.failed {
            return Err(StoreError::Failed(self.run.clone()));
        }
        contents.allow(&self.run, &record)?;
        let first = contents.begun.is_none();
        let line = format::line(&record);
        let written = if first {
            self.storage.replace(&self.path, &[HEADER.as_bytes(), &line].concat())
        } else {
            self.storage
                .append(&self.path, &line)
                .and_then(|()| self.storage.sync(&self.path))
        };
        contents.failed = written.is_err();
        written?;
        contents.apply(&self.run, record)
    }

    /// Begins the run, or goes on with it when it was begun in the same way.
    pub fn begin(&self, playbook: &Playbook, inputs: &crate::Inputs, at: Timestamp) -> Result<(), StoreError> {
        let wanted = Record::Begun {
            run: self.run.clone(),
            playbook: playbook.digest().hex(),
            name: playbook.name().to_owned(),
            at,
            variables: inputs.variables.clone(),
            secrets: inputs
                .secrets
                .iter()
                .map(|(name, file)| (name.clone(), file.display().to_string()))
                .collect(),
        };
        let begun = self.contents().begun.clone();
        match begun {
            None => self.write(wanted),
            Some(begun) if same_beginning(&begun, &wanted) => Ok(()),
            Some(_) => Err(StoreError::Other(self.run.clone())),
        }
    }

    pub fn unit(&self, unit: &str) -> Option<Unit> {
        self.contents().units.get(unit).cloned()
    }

    pub fn word(
        &self,
        unit: &str,
        kind: WaitingFor,
        by: &str,
        done: bool,
        values: BTreeMap<String, String>,
    ) -> Option<Word> {
        let contents = self.contents();
        let Some(Record::Begun { playbook, .. }) = &contents.begun else {
            return None;
        };
        Some(Word {
            run: self.run.clone(),
            playbook: playbook.clone(),
            unit: unit.to_owned(),
            kind,
            by: by.to_owned(),
            done,
            values,
        })
    }

    fn summary(&self) -> Option<RunSummary> {
        let contents = self.contents();
        let Some(Record::Begun { name, at, .. }) = &contents.begun else {
            return None;
        };
        Some(RunSummary {
            run: self.run.clone(),
            playbook: name.clone(),
            begun: *at,
            ended: contents.ended.clone(),
            waiting: if contents.ended.is_some() {
                Vec::new()
            } else {
                contents.waiting()
            },
        })
    }

    fn waiting_unit(&self, step: &str, kind: WaitingFor) -> Result<String, StoreError> {
        let contents = self.contents();
        let waiting = contents.waiting();
        let mut found = waiting
            .iter()
            .filter(|waiting| waiting.kind == kind)
            .map(|waiting| waiting.unit.as_str())
            .filter(|unit| *unit == step || unit.split('/').any(|part| part == step));
        match (found.next(), found.count()) {
            (Some(unit), 0) if contents.ended.is_none() => Ok(unit.to_owned()),
            (Some(_), more) if more > 0 => Err(StoreError::Ambiguous {
                run: self.run.clone(),
                step: step.to_owned(),
                units: (more + 1).to_string(),
            }),
            _ => Err(StoreError::NotWaiting {
                run: self.run.clone(),
                step: step.to_owned(),
            }),
        }
    }
}

fn same_beginning(one: &Record, other: &Record) -> bool {
    let parts = |record: &Record| match record {
        Record::Begun {
            playbook,
            variables,
            secrets,
            ..
        } => Some((playbook.clone(), variables.clone(), secrets.clone())),
        _ => None,
    };
    parts(one) == parts(other)
}

impl Contents {
    /// Whether a record may come now.
    fn allow(&self, run: &str, record: &Record) -> Result<(), StoreError> {
        let illegal = |unit: &str, from, to| StoreError::Illegal {
            run: run.to_owned(),
            unit: unit.to_owned(),
            from,
            to,
        };
        if self.ended.is_some() {
            return Err(illegal("the run", "ended", "more"));
        }
        match (record, self.begun.is_some()) {
            (Record::Begun { .. }, false) | (Record::Ended { .. } | Record::Called { .. }, true) => Ok(()),
            (Record::Begun { .. }, true) => Err(illegal("the run", "begun", "begun")),
            (_, false) => Err(illegal("the run", "nothing", "more")),
            (record, true) => {
                let Some((unit, state)) = unit_of(record) else {
                    return Ok(());
                };
                let before = self.units.get(unit).map(|unit| &unit.state);
                if state.may_follow(before) {
                    Ok(())
                } else {
                    Err(illegal(unit, UnitState::name(before), UnitState::name(Some(&state))))
                }
            }
        }
    }

    fn apply(&mut self, run: &str, record: Record) -> Result<(), StoreError> {
        self.allow(run, &record)?;
        if let Some((unit, state)) = unit_of(&record) {
            let at = time_of(&record);
            let before = self.units.get(unit);
            let began = before.map_or(at, |unit| unit.began);
            let by = match &state {
                UnitState::Answered { by, .. } | UnitState::Settled { by, .. } => Some(by.clone()),
                _ => before.and_then(|unit| unit.by.clone()),
            };
            self.units.insert(
                unit.to_owned(),
                Unit {
                    began,
                    changed: at,
                    state,
                    by,
                },
            );
        }
        match record {
            Record::Begun { .. } => self.begun = Some(record),
            Record::Called { unit, playbook, .. } => {
                self.called.insert(unit, playbook);
            }
            Record::Ended { ok, reason, values, .. } => {
                self.ended = Some((ok, reason));
                self.values = values;
            }
            _ => {}
        }
        Ok(())
    }

    /// Questions without an answer, and commands that were interrupted or are under way.
    fn waiting(&self) -> Vec<Waiting> {
        let places = self.units.iter().filter_map(|(unit, known)| {
            let (instructions, kind) = match &known.state {
                UnitState::Asked { instructions } => (instructions.clone(), WaitingFor::Answer),
                UnitState::Started => (INTERRUPTED.to_owned(), WaitingFor::Settlement),
                _ => return None,
            };
            Some(Waiting {
                unit: unit.clone(),
                instructions,
                kind,
            })
        });
        places.collect()
    }
}

/// What is asked of a person after an interruption.
pub(crate) const INTERRUPTED: &str = "this was under way when the run was interrupted; find out whether it happened";

fn unit_of(record: &Record) -> Option<(&str, UnitState)> {
    Some(match record {
        Record::Started { unit, .. } => (unit, UnitState::Started),
        Record::Finished {
            unit,
            ok,
            reason,
            values,
            ..
        } => (
            unit,
            UnitState::Finished {
                ok: *ok,
                reason: reason.clone(),
                values: values.clone(),
            },
        ),
        Record::Asked { unit, instructions, .. } => (
            unit,
            UnitState::Asked {
                instructions: instructions.clone(),
            },
        ),
        Record::Answered {
            unit, by, done, values, ..
        } => (
            unit,
            UnitState::Answered {
                by: by.clone(),
                done: *done,
                values: values.clone(),
            },
        ),
        Record::Settled { unit, by, happened, .. } => (
            unit,
            UnitState::Settled {
                by: by.clone(),
                happened: *happened,
            },
        ),
        Record::Begun { .. } | Record::Called { .. } | Record::Ended { .. } => return None,
    })
}

fn time_of(record: &Record) -> Timestamp {
    match record {
        Record::Begun { at, .. }
        | Record::Called { at, .. }
        | Record::Started { at, .. }
        | Record::Finished { at, .. }
        | Record::Asked { at, .. }
        | Record::Answered { at, .. }
        | Record::Settled { at, .. }
        | Record::Ended { at, .. } => *at,
    }
}
