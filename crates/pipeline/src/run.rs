//! A release attempt on its way: what every stage is handed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::predicates::{self, Attempt};
use evidence::{Context, Digest, Now, Stage, Statement, Subject};
use host::process::Cancel;
use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::config::Loaded;
use crate::environment::Environment;
use crate::evidence_log::EvidenceLog;
use crate::progress::Progress;
use crate::store::Store;

/// Reads the clocks; `--as-of` states the wall clock.
pub type Clock = Arc<dyn Fn() -> Now + Send + Sync>;
/// 32 fresh random bytes.
pub type Random = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// What every stage is handed.
pub struct Run {
    pub tree: source::Tree,
    pub tree_digest: Digest,
    pub root: PathBuf,
    /// Root of the git repository, when the tree is in one.
    pub repository: Option<PathBuf>,
    pub loaded: Loaded,
    pub attempt: Attempt,
    pub attempt_digest: Digest,
    pub log: EvidenceLog,
    pub store: Store,
    /// Folder of keys, hidden from every step.
    pub home: PathBuf,
    /// Where this program can be started again as worker and warden.
    pub program: PathBuf,
    pub clock: Clock,
    pub random: Random,
    pub progress: Arc<dyn Progress>,
    pub cancel: Cancel,
    pub scratch: PathBuf,
    /// Temporary files of steps: outside the store, which they don't see.
    pub temporary: PathBuf,
    pub journal: Arc<chaos::UndoJournal>,
    pub runtime: tokio::runtime::Runtime,
    /// A step changed the tree: its failing statement is logged, and the gate blocks for it.
    pub changed_by_step: bool,
    /// Started by the first stage that needs it.
    pub environment: Option<Environment>,
}

/// An artifact of this attempt, as its provenance names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    pub name: String,
    pub digest: Digest,
}

impl Run {
    pub fn now(&self) -> Now {
        (self.clock)()
    }

    /// Signs and logs what a check saw. `examined` names what was looked at beside the tree.
    pub fn record<P: Serialize>(
        &mut self,
        stage: Stage,
        check: &str,
        predicate_type: &str,
        examined: Vec<Subject>,
        predicate: &P,
        config: &Value,
    ) -> Result<u64, Error> {
        let now = self.now();
        let context = Context {
            attempt: self.attempt_digest,
            stage,
            check: check.to_owned(),
            config: Digest::of(&evidence::to_canonical(config)),
            at: now.utc,
        };
        let statement = Statement::new(predicate_type, examined, predicate, &context);
        self.log.record(&statement, now)
    }

    /// The tree's digest as it stands now.
    pub fn digest_now(&self) -> Result<Digest, Error> {
        let failed = |error: source::SourceError| Error::failed("read the tree", error);
        let tree = source::walk(&self.root, &source::WalkOptions::default()).map_err(failed)?;
        source::tree_digest(&tree).map_err(failed)
    }

    /// What is judged must be what was digested: a tree that changed meanwhile ends the attempt without a verdict.
    pub fn tree_unchanged(&self) -> Result<(), Error> {
        if self.changed_by_step || self.digest_now()? == self.tree_digest {
            return Ok(());
        }
        Err(Error::usage(
            "the tree changed while it was being judged",
            "let nobody, and no step, change it meanwhile; then start the release again: it is a new attempt",
        ))
    }

    /// The tree as a subject.
    pub fn tree_subject(&self) -> Subject {
        Subject::new("tree", self.tree_digest)
    }

    /// Folders that steps and services must not see.
    pub fn hidden(&self) -> Vec<PathBuf> {
        vec![self.home.clone(), self.store.path.clone()]
    }

    /// What a step may write: the tree (never the store in it, which is hidden) and the folder for temporary files.
    /// Caches of package managers are read-only: fetch dependencies before a release.
    pub fn writable(&self) -> Vec<PathBuf> {
        vec![self.root.clone(), self.temporary.clone()]
    }

    /// The artifacts of this attempt, from its logged provenance; the last statement of a name counts.
    pub fn artifacts(&self) -> Vec<Built> {
        let mut built: Vec<Built> = Vec::new();
        for (_, statement) in self.log.statements() {
            let Some(context) = statement.context() else { continue };
            let Some(name) = context.check.strip_prefix("provenance:") else {
                continue;
            };
            if context.attempt != self.attempt_digest || statement.predicate_type != predicates::PROVENANCE {
                continue;
            }
            let Some(digest) = statement.examined().next().and_then(Subject::sha256) else {
                continue;
            };
            built.retain(|other| other.name != name);
            built.push(Built {
                name: name.to_owned(),
                digest,
            });
        }
        built
    }

    /// Puts an artifact's bytes, checked against its digest, where it can be run.
    pub fn materialise(&self, name: &str, digest: &Digest) -> Result<PathBuf, Error> {
        let bytes = self.store.blob(digest)?.ok_or_else(|| {
            Error::refused(
                format!("artifact `{name}` (sha256:{digest}) is not in the store any more"),
                "build again: start a new release after any change, or remove `.proofmark/bundles` of this attempt",
            )
        })?;
        let folder = self.scratch.join("artifacts").join(digest.short());
        let path = folder.join(name);
        // A file that stands there already is only trusted as far as its bytes go.
        if std::fs::read(&path).ok().map(|have| Digest::of(&have)) != Some(*digest) {
            std::fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, &error))?;
            let _ = std::fs::remove_file(&path);
            write_executable(&path, &bytes)?;
        }
        Ok(path)
    }

    /// The environment, started if it isn't.
    pub fn started(&mut self, stage: Stage) -> Result<&mut Environment, Error> {
        if self.environment.is_none() {
            self.progress.doing(stage, "starting the services", 0, 0);
            let environment = Environment::start(self)?;
            self.environment = Some(environment);
        }
        self.environment
            .as_mut()
            .ok_or_else(|| Error::failed("start the services", "no environment"))
    }

    /// Removes the scratch folder and says so in the undo journal.
    pub fn clear_scratch(&self) -> Result<(), Error> {
        self.store.clear_scratch()?;
        remove_folder(&self.temporary)?;
        self.journal
            .scratch_removed(&self.temporary)
            .map_err(|error| Error::failed("close the undo journal", error))?;
        self.journal
            .scratch_removed(&self.scratch)
            .map_err(|error| Error::failed("close the undo journal", error))
    }
}

/// Removes a folder and all in it; that it isn't there is no error.
pub fn remove_folder(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
        _ => Ok(()),
    }
}

fn write_executable(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error: std::io::Error| Error::io("write", path, &error);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o755)
        .open(path)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}
