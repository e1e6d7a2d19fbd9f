//! Playbooks of a tree: runs are kept in `.proofmark/playbooks`, and one process at a time goes on with them.
//!
//! What a command `proofmark …` of a playbook means stands in [`words`]; within a release [`incident`] does it, outside
//! of one there is neither rollout nor broker, and only what a tree and its store are enough for is done. A person's
//! answer counts once an approver's signature for it stands in the log ([`approval`]).
//!
//! Start reading at [`run`].

mod approval;
pub mod drill;
pub(crate) mod incident;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use ::playbooks::{Actuators, HostActuators, HttpCall, Output, Playbook, RunStore, Shell, StoreError, Word};
use evidence::{Digest, KeyId, Now};
use host::process::Wanted;
use host::{DiskStorage, FileLock};

pub use ::playbooks::{
    Answer, Flaw, Inputs, Report, RunRecord, RunStatus, RunSummary, UnitRecord, Waiting, WaitingFor,
};

use crate::evidence_log::EvidenceLog;
use crate::release::{self, keys_and_store};
use crate::store::Store;
use crate::{Clock, Error};
use words::{Act, Acts};

/// Below the store of the tree.
const FOLDER: &str = "playbooks";
/// How long a second process waits for the first.
const LOCK_WAIT_MS_MAX: u64 = 2_000;

/// What a run needs from outside.
pub struct Options {
    /// Tree, keys, clock and so on, as for a release.
    pub release: release::Options,
    /// `PATH` of the commands.
    pub path: String,
    /// Hosts beside this machine that may be sent requests.
    pub hosts: BTreeSet<String>,
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
    if drill::of(&options.release.tree, &inputs.run)?.is_some() {
        return Err(Error::usage(
            format!("run `{}` is a drill: what its machines do is rehearsed", inputs.run),
            "go on with it by `proofmark chaos drill`, with the same `--run`",
        ));
    }
    let opened = Opened::of(&options.release.tree)?;
    run_outside(&playbook, inputs, options, &opened)
}

/// Signs a person's answer with the approver's keys, logs and records it, and goes on with the run.
pub fn approve(run: &str, step: &str, answer: &Answer<'_>, options: &Options) -> Result<RunRecord, Error> {
    if let Some(drill) = drill::of(&options.release.tree, run)? {
        return drill::answer(&drill, run, step, answer, options);
    }
    let opened = Opened::of(&options.release.tree)?;
    signed_answer(run, step, answer, options, &opened)?;
    let (playbook, inputs) = opened.store.begun(run).map_err(failed)?;
    run_outside(&playbook, &inputs, options, &opened)
}

/// Signs a person's answer with the approver's keys, logs and records it: the place it was given at, and the keys.
fn signed_answer(
    run: &str,
    step: &str,
    answer: &Answer<'_>,
    options: &Options,
    opened: &Opened,
) -> Result<(String, Vec<KeyId>), Error> {
    let word = opened.store.word(run, step, answer).map_err(failed)?;
    let keys = {
        let (home, store, trust_root) = keys_and_store(&options.release, &options.release.tree)?;
        let now = (options.release.clock)();
        let mut log = EvidenceLog::open(&store, &home, trust_root, now)?;
        let index = approval::sign(&word, &home, &mut log, now)?;
        let signed = usize::try_from(index).ok().and_then(|index| log.signed().nth(index));
        signed.map_or_else(Vec::new, |(_, keys)| keys.to_vec())
    };
    let recorded = match word.kind {
        WaitingFor::Answer => opened.store.answer(run, &word.unit, answer),
        WaitingFor::Settlement => opened.store.settle(run, &word.unit, answer.done, answer.by, answer.at),
    };
    recorded.map_err(failed)?;
    Ok((word.unit, keys))
}

/// What a run waits for at a place, and how it is answered: two lines.
pub fn asked(run: &str, place: &Waiting) -> String {
    // The step is the part before the command's number.
    let step = place.unit.rsplit('/').nth(1).unwrap_or(&place.unit);
    let no = match place.kind {
        WaitingFor::Answer => "`--no` to refuse",
        WaitingFor::Settlement => "`--no` if it didn't happen",
    };
    format!(
        "{}\nhint: `proofmark playbook approve {run} {step} --by NAME`, with {no}",
        place.instructions
    )
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

fn run_outside(playbook: &Playbook, inputs: &Inputs, options: &Options, opened: &Opened) -> Result<RunRecord, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime", error))?;
    let release = &options.release;
    let host = HostActuators {
        folder: release.tree.clone(),
        environment: BTreeMap::from([("PATH".to_owned(), options.path.clone())]),
        // Its own journal is not a command's to write.
        hide: std::iter::once(opened.folder.clone()).chain(opened.drills()).collect(),
        writable: None,
        isolation: Wanted::None,
        hosts: options.hosts.clone(),
        library: library_playbooks(),
        runtime: runtime.handle().clone(),
        clock: release.clock.clone(),
        cancel: release.cancel.clone(),
    };
    let acts = Outside { options: release };
    run_on(playbook, inputs, host, &acts, opened)
}

fn run_on(
    playbook: &Playbook,
    inputs: &Inputs,
    host: HostActuators,
    acts: &dyn Acts,
    opened: &Opened,
) -> Result<RunRecord, Error> {
    let here = Here {
        clock: host.clock.clone(),
        host,
        acts,
    };
    ::playbooks::run(playbook, inputs, &here, &opened.store).map_err(|error| Error::Failed {
        what: error.to_string(),
        hint: None,
    })
}

/// Playbooks that others may call.
fn library_playbooks() -> Vec<Playbook> {
    let shipped = ::playbooks::library().iter();
    shipped.filter_map(|(_, text)| Playbook::parse(text).ok()).collect()
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

    /// The folder of drills, where there is one.
    fn drills(&self) -> Option<PathBuf> {
        let folder = self.folder.parent()?.join(drill::FOLDER);
        folder.is_dir().then_some(folder)
    }
}

fn failed(error: StoreError) -> Error {
    Error::Failed {
        what: error.to_string(),
        hint: None,
    }
}

/// This machine, with the pipeline's own actions.
struct Here<'a> {
    host: HostActuators,
    clock: Clock,
    acts: &'a dyn Acts,
}

impl Actuators for Here<'_> {
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
        let Some(address) = self.acts.address(&call.host) else {
            return self.host.http(call);
        };
        let mut call = call.clone();
        (call.host, call.port) = (address.ip().to_string(), address.port());
        self.host.http(&call)
    }

    fn secret(&self, file: &Path) -> Result<String, String> {
        self.host.secret(file)
    }

    fn action(&self, words: &[String]) -> Option<Result<String, String>> {
        words::parse(words).map(|read| read.and_then(|act| self.acts.act(act)))
    }

    fn playbook(&self, id: &str, version: Option<&str>) -> Option<Playbook> {
        self.host.playbook(id, version)
    }

    fn vouched(&self, word: &Word) -> bool {
        self.acts.vouched(word)
    }
}

/// A tree and its store, and no release that runs.
struct Outside<'a> {
    options: &'a release::Options,
}

impl Acts for Outside<'_> {
    fn act(&self, act: Act<'_>) -> Result<String, String> {
        let tree = &self.options.tree;
        match act {
            Act::Restore { digest, place } => self.restore(digest, place),
            Act::Stop => match crate::chaos::stop(tree) {
                Ok(stopped) if !stopped.left.is_empty() => Err(format!("not undone: {}", stopped.left.join("; "))),
                Ok(stopped) if stopped.ran => Ok("stopped, and everything is undone".to_owned()),
                Ok(_) => Ok("no experiment runs here".to_owned()),
                Err(error) => Err(error.to_string()),
            },
            Act::Undo => release::undo(self.options)
                .map(|()| "nothing of a killed run is left".to_owned())
                .map_err(|error| error.to_string()),
            _ => Err("this acts within a release, and none runs this playbook\n\
                hint: name it in `[production] playbook` or `[staging] playbook` of proofmark.toml"
                .to_owned()),
        }
    }

    fn vouched(&self, word: &Word) -> bool {
        approval::vouched(word, self.options)
    }
}

impl Outside<'_> {
    /// Puts bytes of the store in the place of a file of the tree, and reads them back.
    fn restore(&self, digest: &str, file: &str) -> Result<String, String> {
        let digest = digest_of(digest)?;
        let tree = &self.options.tree;
        if !Store::exists(tree) {
            return Err("this tree has no store to restore from".to_owned());
        }
        let bytes = keys_and_store(self.options, tree)
            .and_then(|(_, store, _)| store.blob(&digest))
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("sha256:{digest} is not in the store"))?;
        put(tree, file, &bytes).map_err(|error| format!("`{file}` can't be restored: {error}"))?;
        let back = host::read_beneath(tree, file, bytes.len() as u64).map_err(|error| error.to_string())?;
        if Digest::of(&back) == digest {
            Ok(format!("`{file}` is sha256:{digest} again, read back"))
        } else {
            Err(format!("`{file}` was written and is not sha256:{digest}"))
        }
    }
}

/// `sha256:HEX` or `HEX`.
fn digest_of(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    hex.parse().map_err(|_| format!("`{text}` is no SHA-256"))
}

/// Replaces a file of the tree at once; its mode stays, and a new one can be executed.
fn put(tree: &Path, file: &str, bytes: &[u8]) -> std::io::Result<()> {
    let refused = |what: &str| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, what));
    let path = Path::new(file);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let (Some(name), true) = (path.file_name(), plain) else {
        return refused("name a file below the tree, relative to it");
    };
    let tree = tree.canonicalize()?;
    let folder = tree.join(path.parent().unwrap_or(Path::new(""))).canonicalize()?;
    if !folder.starts_with(&tree) || folder.starts_with(tree.join(crate::store::FOLDER)) {
        return refused("it does not lie in the tree");
    }
    let target = folder.join(name);
    let mode = std::fs::symlink_metadata(&target).map_or(0o755, |meta| meta.permissions().mode() & 0o777);
    let temporary = folder.join(format!(".{}.restoring", name.to_string_lossy()));
    let _ = std::fs::remove_file(&temporary);
    let mut opened = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    opened.write_all(bytes)?;
    opened.set_permissions(std::fs::Permissions::from_mode(mode))?;
    opened.sync_all()?;
    std::fs::rename(&temporary, &target)
}
