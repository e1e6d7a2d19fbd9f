//! `chaos drill`: a playbook rehearsed with people, and the after-action record of it.
//!
//! The clock starts at the announcement. The playbook runs as any does, but what it has machines do is only said,
//! unless it is live; people answer with `playbook approve`, signed with the approver's keys. Who answered when
//! stands in a journal of the drill's own (`format.rs`), everything else in the playbook run's: a drill that is killed
//! goes on like a playbook. Closing it signs and logs the record (`record.rs`).
//!
//! Times are of boot time: the drill's own clock says UTC as it was at the announcement and the boot time gone by
//! since, so that nobody who sets the machine's clock changes a measurement.
//!
//! What an attacker who owns the store can do: take a drill away, or say that answers were given at other times. Not
//! give an answer, nor change a record that is logged.
//!
//! Start reading at [`hold`], then [`answer`] and [`close`].

mod format;
mod record;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::playbooks::{Actuators, Answer, HttpCall, Inputs, Output, Playbook, RunRecord, RunStatus, Shell, Waiting, Word};
use evidence::predicates::{self, Drill, DrillAction};
use evidence::{KeyId, Now, Role, Storage, Timestamp};
use host::{DiskStorage, FileLock};

use super::{Opened, Options, approval, failed, library_playbooks, run_outside, words};
use crate::evidence_log::EvidenceLog;
use crate::release::{self, keys_and_store};
use crate::{Clock, Error, chaos};
use format::{HEADER, Record};

/// Journals of drills, below the store of the tree.
pub(super) const FOLDER: &str = "drills";
/// How often a drill that is held looks whether the run can go on, in milliseconds.
const LOOK_MS: u64 = 200;
/// How long a second writer of a journal waits for the first, in milliseconds.
const LOCK_WAIT_MS_MAX: u64 = 5_000;
/// How long an answer waits for the experiment of its drill, which has the store to itself: longer than any deadline.
const EXPERIMENT_MS_MAX: u64 = 360_000;
/// Names this boot, where the host has such a name.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// A file, or a name of the library.
    pub playbook: String,
    pub inputs: Inputs,
    /// What people are told.
    pub announcement: String,
    /// Whether machine actions are really done.
    pub live: bool,
    /// Is injected at the announcement.
    pub experiment: Option<PathBuf>,
    /// How long is waited for people; `None`: until the run is over.
    pub wait: Option<Duration>,
}

/// The after-action record, and where it stands in the log.
#[derive(Debug)]
pub struct Closed {
    pub drill: Drill,
    pub index: u64,
}

/// Announces a drill, or goes on with the one of that name, until the run is over, the wait is, or somebody stops it.
/// `tell` is called once it is announced, and recorded.
pub fn hold(asked: &Asked, options: &Options, tell: impl FnOnce() -> Result<(), Error>) -> Result<RunRecord, Error> {
    let text = super::text(&asked.playbook)?;
    let playbook = Playbook::parse(&text).map_err(|report| {
        Error::usage(
            format!("this playbook can't be run\n{report}"),
            "`playbook check` says the same, and more",
        )
    })?;
    let run = &asked.inputs.run;
    may_be_recorded(&options.release)?;
    let journal = match Journal::find(&options.release.tree, run)? {
        Some(journal) => journal.resumed(asked, options)?,
        None => Journal::announce(asked, options)?,
    };
    tell()?;
    let experiment = journal.experiment_due().map(|file| {
        let options = copied(&options.release);
        std::thread::spawn(move || chaos::run(&options, Path::new(&file)).map(|ran| ran.index))
    });
    let first = go_on(&playbook, &asked.inputs, options, &journal)?;
    let release = &options.release;
    let mut shown = Vec::new();
    show(release, run, &first, &mut shown);
    journal.experiment_is_over(experiment, release)?;
    let begun = (release.clock)().boottime;
    let mut record = first;
    loop {
        let over = !matches!(record.status, RunStatus::Waiting(_));
        let waited = (release.clock)().boottime.saturating_sub(begun);
        if over || asked.wait.is_some_and(|wait| waited >= wait) {
            return Ok(record);
        }
        if release.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(Duration::from_millis(LOOK_MS));
        record = go_on(&playbook, &asked.inputs, options, &journal)?;
        show(release, run, &record, &mut shown);
    }
}

/// A person's answer in a drill: it counts from now, is signed, logged and recorded, and the run goes on.
pub(super) fn answer(
    journal: &Journal,
    run: &str,
    step: &str,
    answer: &Answer<'_>,
    options: &Options,
) -> Result<RunRecord, Error> {
    journal.refuse_closed(run)?;
    let clock = journal.clock(&options.release.clock)?;
    let answer = Answer {
        at: clock().utc,
        ..answer.clone()
    };
    journal.wait_for_experiment(&options.release)?;
    let opened = Opened::of(&options.release.tree)?;
    let (unit, keys) = super::signed_answer(run, step, &answer, options, &opened)?;
    journal.append(&Record::Answered {
        unit,
        by: answer.by.to_owned(),
        keys,
        at: answer.at,
    })?;
    let (playbook, inputs) = opened.store.begun(run).map_err(failed)?;
    rehearse(&playbook, &inputs, options, journal, &opened)
}

/// Signs and logs the after-action record. One that was closed before is told again, and nothing is recorded twice.
pub fn close(run: &str, notes: &[String], actions: &[DrillAction], options: &Options) -> Result<Closed, Error> {
    let release = &options.release;
    let Some(journal) = Journal::find(&release.tree, run)? else {
        return Err(Error::usage(
            format!("no drill is called `{run}`"),
            "`proofmark playbook list` has the runs of this tree",
        ));
    };
    let opened = Opened::of(&release.tree)?;
    let (playbook, _) = opened.store.begun(run).map_err(failed)?;
    let walked = ::playbooks::so_far(run, &opened.store).map_err(|error| Error::failed("read the run", error))?;
    let (home, store, trust_root) = keys_and_store(release, &release.tree)?;
    let now = (release.clock)();
    let mut log = EvidenceLog::open(&store, &home, trust_root, now)?;
    let known = log.statements().find_map(|(index, statement)| {
        let drill: Drill = statement.predicate_as(predicates::DRILL)?;
        (drill.run == run).then_some((index, drill))
    });
    if let Some((index, drill)) = known {
        // Killed between log and journal, or asked twice.
        if journal.closed().is_none() {
            journal.append(&Record::Closed { index })?;
        }
        if !notes.is_empty() || !actions.is_empty() {
            return Err(Error::usage(
                format!("drill `{run}` is closed: its record stands at log index {index}, and what is logged stays"),
                "close it without `--note` and `--action` to see it again",
            ));
        }
        return Ok(Closed { drill, index });
    }
    let closed = journal.clock(&release.clock)?().utc;
    let mut drill = record::of(&journal, &playbook, &walked, closed)?;
    drill.notes = notes.to_vec();
    drill.actions = actions.to_vec();
    let index = log.record(&record::statement(&drill, now.utc), now)?;
    journal.append(&Record::Closed { index })?;
    Ok(Closed { drill, index })
}

/// The drill of a run, where it is one.
pub(super) fn of(tree: &Path, run: &str) -> Result<Option<Journal>, Error> {
    Journal::find(tree, run)
}

/// Nothing is announced that can't be recorded.
fn may_be_recorded(options: &release::Options) -> Result<(), Error> {
    let (_, _, root) = keys_and_store(options, &options.tree)?;
    let signs = |allow: &evidence::Allowance| {
        allow.role == Role::Step && allow.predicates.iter().any(|name| name == predicates::DRILL)
    };
    if root.allow.iter().any(signs) {
        return Ok(());
    }
    Err(Error::usage(
        format!("the trust root lets role `step` sign no `{}`", predicates::DRILL),
        "add it to the trust root's `allow`; `proofmark explain trust-root` says how",
    ))
}

fn go_on(playbook: &Playbook, inputs: &Inputs, options: &Options, journal: &Journal) -> Result<RunRecord, Error> {
    let opened = Opened::of(&options.release.tree)?;
    rehearse(playbook, inputs, options, journal, &opened)
}

/// Goes on with the run, on the drill's clock.
fn rehearse(
    playbook: &Playbook,
    inputs: &Inputs,
    options: &Options,
    journal: &Journal,
    opened: &Opened,
) -> Result<RunRecord, Error> {
    let clock = journal.clock(&options.release.clock)?;
    if journal.announced()?.live {
        let mut release = copied(&options.release);
        release.clock = clock;
        let live = Options {
            release,
            path: options.path.clone(),
            hosts: options.hosts.clone(),
        };
        return run_outside(playbook, inputs, &live, opened);
    }
    let rehearsal = Rehearsal {
        clock,
        options: &options.release,
    };
    ::playbooks::run(playbook, inputs, &rehearsal, &opened.store)
        .map_err(|error| Error::failed("go on with the drill", error))
}

/// Tells what people are asked for, each once.
fn show(options: &release::Options, run: &str, record: &RunRecord, shown: &mut Vec<String>) {
    let RunStatus::Waiting(places) = &record.status else {
        return;
    };
    for place in places {
        if !shown.contains(&place.unit) {
            let line = super::asked(run, place);
            options.progress.note(&line);
            shown.push(place.unit.clone());
        }
    }
}

fn copied(options: &release::Options) -> release::Options {
    release::Options {
        tree: options.tree.clone(),
        upto: options.upto,
        home: options.home.clone(),
        clock: options.clock.clone(),
        random: options.random.clone(),
        progress: options.progress.clone(),
        cancel: options.cancel.clone(),
        program: options.program.clone(),
    }
}

/// A world in which nothing happens: what a machine would do succeeds, and prints nothing.
struct Rehearsal<'a> {
    clock: Clock,
    options: &'a release::Options,
}

impl Actuators for Rehearsal<'_> {
    fn now(&self) -> Now {
        (self.clock)()
    }

    fn wait(&self, _: Duration) {}

    fn shell(&self, _: &Shell<'_>) -> Result<Output, String> {
        Ok(Output {
            ok: true,
            ..Output::default()
        })
    }

    fn http(&self, _: &HttpCall) -> Result<net::http::Response, String> {
        Ok(net::http::Response {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
        })
    }

    /// No secret is read for what isn't done.
    fn secret(&self, _: &Path) -> Result<String, String> {
        Ok(String::new())
    }

    fn action(&self, words: &[String]) -> Option<Result<String, String>> {
        words::parse(words).map(|read| read.map(|act| format!("rehearsed: {act}")))
    }

    fn playbook(&self, id: &str, version: Option<&str>) -> Option<Playbook> {
        let library = library_playbooks().into_iter().filter(|playbook| playbook.id() == id);
        let wanted = library.filter(|playbook| version.is_none_or(|version| version == playbook.modified()));
        wanted.max_by_key(|playbook| playbook.modified().to_owned())
    }

    fn vouched(&self, word: &Word) -> bool {
        approval::vouched(word, self.options)
    }

    fn asked(&self, _: &Waiting) {}
}

/// What a drill was announced with.
#[derive(Debug, Clone)]
struct Announced {
    playbook: String,
    announcement: String,
    live: bool,
    experiment: Option<String>,
    at: Timestamp,
    boot: Duration,
    boot_id: Option<String>,
}

/// What somebody said, signed.
#[derive(Debug, Clone)]
struct Answered {
    unit: String,
    by: String,
    keys: Vec<KeyId>,
    at: Timestamp,
}

/// The journal of one drill.
pub(super) struct Journal {
    folder: PathBuf,
    storage: DiskStorage,
    file: String,
}

impl Journal {
    fn of(tree: &Path, run: &str) -> Result<Journal, Error> {
        if !is_name(run) {
            return Err(Error::usage(
                format!("`{run}` can't be the name of a drill"),
                "letters, digits, `-`, `_` and `.` are allowed",
            ));
        }
        let folder = tree.join(crate::store::FOLDER).join(FOLDER);
        let storage = DiskStorage::open(&folder)?;
        Ok(Journal {
            folder,
            storage,
            file: format!("{run}.journal"),
        })
    }

    fn find(tree: &Path, run: &str) -> Result<Option<Journal>, Error> {
        if !is_name(run) || !tree.join(crate::store::FOLDER).join(FOLDER).is_dir() {
            return Ok(None);
        }
        let journal = Journal::of(tree, run)?;
        let there = !journal.records()?.is_empty();
        Ok(there.then_some(journal))
    }

    fn announce(asked: &Asked, options: &Options) -> Result<Journal, Error> {
        let run = &asked.inputs.run;
        let known = Opened::of(&options.release.tree)?.store.list().map_err(failed)?;
        if known.iter().any(|known| known.run == *run) {
            return Err(Error::usage(
                format!("run `{run}` of this tree is no drill"),
                "give `--run` another name",
            ));
        }
        let journal = Journal::of(&options.release.tree, run)?;
        let now = (options.release.clock)();
        journal.append(&Record::Announced {
            playbook: asked.playbook.clone(),
            announcement: asked.announcement.clone(),
            live: asked.live,
            experiment: asked.experiment.as_ref().map(|file| file.display().to_string()),
            at: now.utc,
            boot_us: u64::try_from(now.boottime.as_micros()).unwrap_or(u64::MAX),
            boot: boot_id(),
        })?;
        Ok(journal)
    }

    /// The same drill again: one that was killed. Its experiment is not begun a second time.
    fn resumed(self, asked: &Asked, options: &Options) -> Result<Journal, Error> {
        self.refuse_closed(&asked.inputs.run)?;
        let announced = self.announced()?;
        if announced.live != asked.live {
            return Err(Error::usage(
                format!("drill `{}` was announced as another kind", asked.inputs.run),
                "go on with it with `--live` if it was begun so, and without it if not",
            ));
        }
        if self.experiment_due().is_some() {
            release::undo(&options.release)?;
            self.append(&Record::Experiment {
                index: None,
                problem: Some("the drill was killed while it ran; what it had injected is undone".to_owned()),
            })?;
        }
        Ok(self)
    }

    fn append(&self, record: &Record) -> Result<(), Error> {
        // Who answers is another process than who holds the drill.
        let _lock = FileLock::acquire(&self.folder.join("lock"), LOCK_WAIT_MS_MAX)
            .map_err(|error| Error::failed("write the drill's journal", error))?;
        let bytes = self.storage.read(&self.file)?.unwrap_or_default();
        let (_, good) = self.parse(&bytes)?;
        if good == 0 {
            self.storage.replace(&self.file, HEADER.as_bytes())?;
        } else if good < bytes.len() as u64 {
            self.storage.truncate(&self.file, good)?;
        }
        self.storage.append(&self.file, &format::line(record))?;
        self.storage.sync(&self.file)?;
        Ok(())
    }

    fn records(&self) -> Result<Vec<Record>, Error> {
        let bytes = self.storage.read(&self.file)?.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.parse(&bytes)?.0)
    }

    fn parse(&self, bytes: &[u8]) -> Result<(Vec<Record>, u64), Error> {
        if bytes.is_empty() {
            return Ok((Vec::new(), 0));
        }
        format::parse(bytes).map_err(|why| {
            Error::refused(
                format!("`{}` of the drills is no journal that can be read: {why:?}", self.file),
                "restore `.proofmark/drills` from a backup, or begin another drill",
            )
        })
    }

    fn announced(&self) -> Result<Announced, Error> {
        let found = self.records()?.into_iter().find_map(|record| match record {
            Record::Announced {
                playbook,
                announcement,
                live,
                experiment,
                at,
                boot_us,
                boot,
            } => Some(Announced {
                playbook,
                announcement,
                live,
                experiment,
                at,
                boot: Duration::from_micros(boot_us),
                boot_id: boot,
            }),
            _ => None,
        });
        found.ok_or_else(|| Error::failed("read the drill's journal", "it was never announced"))
    }

    /// What was answered, in order.
    fn answers(&self) -> Result<Vec<Answered>, Error> {
        let records = self.records()?.into_iter();
        Ok(records
            .filter_map(|record| match record {
                Record::Answered { unit, by, keys, at } => Some(Answered { unit, by, keys, at }),
                _ => None,
            })
            .collect())
    }

    fn closed(&self) -> Option<u64> {
        self.records().ok()?.into_iter().find_map(|record| match record {
            Record::Closed { index } => Some(index),
            _ => None,
        })
    }

    fn refuse_closed(&self, run: &str) -> Result<(), Error> {
        match self.closed() {
            None => Ok(()),
            Some(index) => Err(Error::usage(
                format!("drill `{run}` is closed: its record stands at log index {index}"),
                "begin another one",
            )),
        }
    }

    /// Whether the machine was restarted since the announcement: boot time has begun anew.
    fn restarted(&self, now: Now) -> Result<bool, Error> {
        let announced = self.announced()?;
        Ok(announced.boot_id != boot_id() || now.boottime < announced.boot)
    }

    /// The drill's clock: UTC at the announcement, and boot time since. After a restart, the machine's.
    fn clock(&self, machine: &Clock) -> Result<Clock, Error> {
        let announced = self.announced()?;
        let machine = machine.clone();
        if self.restarted(machine())? {
            return Ok(machine);
        }
        Ok(Arc::new(move || {
            let now = machine();
            Now {
                utc: announced.at + now.boottime.saturating_sub(announced.boot),
                ..now
            }
        }))
    }

    /// The experiment that was announced and has come to nothing yet.
    fn experiment_due(&self) -> Option<String> {
        let records = self.records().ok()?;
        let over = records.iter().any(|record| matches!(record, Record::Experiment { .. }));
        let file = records.into_iter().find_map(|record| match record {
            Record::Announced { experiment, .. } => experiment,
            _ => None,
        });
        file.filter(|_| !over)
    }

    /// Waits for the experiment, and records what came of it. It has the store to itself: nobody's answer can be signed
    /// before, but counts from when it was given.
    fn experiment_is_over(
        &self,
        experiment: Option<std::thread::JoinHandle<Result<u64, Error>>>,
        options: &release::Options,
    ) -> Result<(), Error> {
        let Some(experiment) = experiment else { return Ok(()) };
        let ran = experiment
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (index, problem) = match ran {
            Ok(index) => (Some(index), None),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(problem) = &problem {
            options.progress.note(&format!("the experiment did not run: {problem}"));
        }
        self.append(&Record::Experiment { index, problem })
    }

    fn wait_for_experiment(&self, options: &release::Options) -> Result<(), Error> {
        let begun = (options.clock)().boottime;
        while self.experiment_due().is_some() {
            let waited = (options.clock)().boottime.saturating_sub(begun);
            if waited >= Duration::from_millis(EXPERIMENT_MS_MAX) {
                return Err(Error::usage(
                    "the drill's experiment came to no end",
                    "was the drill killed? The same `proofmark chaos drill … --run` goes on with it",
                ));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(())
    }
}

/// As the playbooks' runs are named.
fn is_name(run: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !run.is_empty() && !run.starts_with('.') && run.chars().all(plain)
}

fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned())
}
