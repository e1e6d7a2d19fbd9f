//! Playbooks of a tree: runs are kept in `.proofmark/playbooks`, and one process at a time goes on with them.
//!
//! It deliberately starts no environment: `proofmark rollout …` and `proofmark broker …` in a playbook are answered
//! by [`Options::actions`], which whoever has a rollout or a broker provides; without one they are refused.
//!
//! Start reading at [`run`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::playbooks::{Actuators, HostActuators, HttpCall, Output, Playbook, RunStore, Shell, StoreError};
use evidence::Now;
use host::process::{Cancel, Wanted};
use host::{DiskStorage, FileLock};

pub use ::playbooks::{
    Answer, Flaw, Inputs, Report, RunRecord, RunStatus, RunSummary, UnitRecord, Waiting, WaitingFor,
};

use crate::{Clock, Error};

/// Below the store of the tree.
const FOLDER: &str = "playbooks";
/// How long a second process waits for the first.
const LOCK_WAIT_MS_MAX: u64 = 2_000;

/// Answers the words behind `proofmark` in a playbook's command; `None`: not one of its words.
pub type Actions = Arc<dyn Fn(&[String]) -> Option<Result<String, String>> + Send + Sync>;

/// What a run needs from outside.
pub struct Options {
    pub tree: PathBuf,
    /// `PATH` of the commands.
    pub path: String,
    /// Hosts beside this machine that may be sent requests.
    pub hosts: BTreeSet<String>,
    pub clock: Clock,
    pub actions: Option<Actions>,
    pub cancel: Cancel,
}

/// The playbooks that come with the program: name and what it is for.
pub fn library() -> Vec<(&'static str, String)> {
    let known = ::playbooks::library().iter();
    known
        .map(|(name, text)| {
            let about = Playbook::parse(text).map_or_else(|_| String::new(), |known| known.description().to_owned());
            (*name, about)
        })
        .collect()
}

/// The text of a playbook: a file, or one of the library by its name.
pub fn text(named: &str) -> Result<String, Error> {
    let path = Path::new(named);
    if let Some((_, text)) = ::playbooks::library().iter().find(|(name, _)| *name == named)
        && !path.exists()
    {
        return Ok((*text).to_owned());
    }
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            format!("there is no playbook `{named}`"),
            "give a file, or a name that `playbook list` prints",
        ),
        _ => Error::io("read", path, &error),
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > ::playbooks::PLAYBOOK_BYTES_MAX as u64 {
        return Err(Error::usage(
            format!("`{named}` is longer than {} bytes", ::playbooks::PLAYBOOK_BYTES_MAX),
            "a playbook is smaller than that",
        ));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// What is wrong with a playbook, and what of it can't be run here.
pub fn check(text: &str) -> Report {
    ::playbooks::report(text)
}

/// Begins a run, or goes on with the one of that name.
pub fn run(text: &str, inputs: &Inputs, options: &Options) -> Result<RunRecord, Error> {
    let playbook = Playbook::parse(text).map_err(|report| {
        Error::usage(
            format!("this playbook can't be run\n{report}"),
            "`playbook check` says the same, and more",
        )
    })?;
    let opened = Opened::of(&options.tree)?;
    go_on(&playbook, inputs, options, &opened)
}

/// Records a person's answer, and goes on with the run.
pub fn approve(run: &str, step: &str, answer: &Answer<'_>, options: &Options) -> Result<RunRecord, Error> {
    let opened = Opened::of(&options.tree)?;
    let asked = opened.store.summary(run).map_err(failed)?.waiting;
    let settles = asked.iter().any(|place| {
        place.kind == WaitingFor::Settlement && (place.unit == step || place.unit.split('/').any(|part| part == step))
    });
    if settles {
        let settled = opened.store.settle(run, step, answer.done, answer.by, answer.at);
        settled.map_err(failed)?;
    } else {
        opened.store.answer(run, step, answer).map_err(failed)?;
    }
    let (playbook, inputs) = opened.store.begun(run).map_err(failed)?;
    go_on(&playbook, &inputs, options, &opened)
}

/// All runs of a tree.
pub fn runs(tree: &Path) -> Result<Vec<RunSummary>, Error> {
    let folder = tree.join(crate::store::FOLDER).join(FOLDER);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let storage = DiskStorage::open(&folder)?;
    RunStore::new(Arc::new(storage)).list().map_err(failed)
}

fn go_on(playbook: &Playbook, inputs: &Inputs, options: &Options, opened: &Opened) -> Result<RunRecord, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime", error))?;
    let shipped = ::playbooks::library().iter();
    let here = Here {
        clock: options.clock.clone(),
        actions: options.actions.clone(),
        host: HostActuators {
            folder: options.tree.clone(),
            environment: BTreeMap::from([("PATH".to_owned(), options.path.clone())]),
            // Its own journal is not a command's to write.
            hide: vec![opened.folder.clone()],
            isolation: Wanted::None,
            hosts: options.hosts.clone(),
            library: shipped.filter_map(|(_, text)| Playbook::parse(text).ok()).collect(),
            runtime: runtime.handle().clone(),
            clock: options.clock.clone(),
            cancel: options.cancel.clone(),
        },
    };
    ::playbooks::run(playbook, inputs, &here, &opened.store).map_err(|error| Error::Failed {
        what: error.to_string(),
        hint: None,
    })
}

/// The runs of a tree, with nobody else at them.
struct Opened {
    folder: PathBuf,
    store: RunStore,
    _lock: FileLock,
}

impl Opened {
    fn of(tree: &Path) -> Result<Opened, Error> {
        let folder = tree.join(crate::store::FOLDER).join(FOLDER);
        let storage = DiskStorage::open(&folder)?;
        let lock = FileLock::acquire(&folder.join("lock"), LOCK_WAIT_MS_MAX)
            .map_err(|error| Error::usage(error.to_string(), "wait for the other `proofmark playbook` to end"))?;
        let folder = folder
            .canonicalize()
            .map_err(|error| Error::io("open", &folder, &error))?;
        Ok(Opened {
            folder,
            store: RunStore::new(Arc::new(storage)),
            _lock: lock,
        })
    }
}

fn failed(error: StoreError) -> Error {
    Error::Failed {
        what: error.to_string(),
        hint: None,
    }
}

/// This machine, with the pipeline's own actions.
struct Here {
    host: HostActuators,
    clock: Clock,
    actions: Option<Actions>,
}

impl Actuators for Here {
    fn now(&self) -> Now {
        (self.clock)()
    }

    fn wait(&self, time: std::time::Duration) {
        self.host.wait(time);
    }

    fn shell(&self, shell: &Shell<'_>) -> Result<Output, String> {
        self.host.shell(shell)
    }

    fn http(&self, call: &HttpCall) -> Result<net::http::Response, String> {
        self.host.http(call)
    }

    fn secret(&self, file: &Path) -> Result<String, String> {
        self.host.secret(file)
    }

    fn action(&self, words: &[String]) -> Option<Result<String, String>> {
        const OURS: [&str; 4] = ["broker", "link", "rollout", "service"];
        if let Some(done) = self.actions.as_ref().and_then(|actions| actions(words)) {
            return Some(done);
        }
        let first = words.first().map(String::as_str).unwrap_or_default();
        OURS.contains(&first).then(|| {
            Err(format!(
                "`proofmark {}` acts within a release, and none runs this playbook",
                words.join(" ")
            ))
        })
    }

    fn playbook(&self, id: &str, version: Option<&str>) -> Option<Playbook> {
        self.host.playbook(id, version)
    }
}
