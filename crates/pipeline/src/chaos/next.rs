//! `chaos next`: which experiment of a tree to run next, from what its log says of earlier runs. What is chosen by
//! stands in [`chaos::choice`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chaos::Settings;
use chaos::choice::{self, Candidate, Choice, Traits, Trial};
use evidence::predicates::{self, Attempt, ChaosExperiment};
use evidence::{Digest, Outcome, Statement, Timestamp};

pub use chaos::choice::{Factors, Pick, Reason, Share};

use super::{Known, Opened, canonical, read_experiment, settings};
use crate::evidence_log::EvidenceLog;
use crate::release::{Options, keys_and_store};
use crate::store::Store;
use crate::{Error, config};

/// The folder whose experiments are looked at where none is named.
const FOLDER: &str = "experiments";
/// More files than that are not looked at: the folder is a wrong one.
const FILES_MAX: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Default: made of the statements that are read.
    pub seed: Option<u64>,
    /// How many are chosen; default: `runs` of `[chaos.choice]`.
    pub count: Option<usize>,
    /// Folder of experiments; default [`FOLDER`] of the tree, where it is there.
    pub folder: Option<PathBuf>,
    /// Only the first so many entries of the log are read.
    pub log_size: Option<u64>,
}

/// The answer.
#[derive(Debug)]
pub struct Next {
    pub choice: Choice,
    /// The settings that it was chosen by.
    pub settings: choice::ChoiceSettings,
    /// When objections were looked at.
    pub at: Timestamp,
    /// Entries of the log that were read.
    pub log_size: u64,
    /// Runs among them.
    pub runs: u64,
    /// Files that are no experiment: path, and why.
    pub unread: Vec<(String, String)>,
}

/// Chooses. Nothing is run and nothing logged.
pub fn next(options: &Options, asked: &Asked) -> Result<Next, Error> {
    let root = canonical(&options.tree)?;
    let declared = settings(&root)?;
    let settings = declared.clone().below(&root);
    let log = log(options, &root)?;
    let (mut candidates, mut unread) = (Vec::new(), Vec::new());
    for (shown, file) in files(&options.tree, &root, asked)? {
        match read_experiment(&shown, &file) {
            Ok(experiment) => {
                let opened = Opened {
                    root: root.clone(),
                    settings: settings.clone(),
                    approved: declared.approved(&experiment),
                    experiment,
                };
                let known = log.as_ref().map_or_else(Known::default, |log| Known::of(log, &opened));
                let objections = known.objections(&opened, options);
                candidates.push(Candidate::of(&opened.experiment, &settings, objections));
            }
            Err(error) => unread.push((shown, error.to_string())),
        }
    }
    let size = log.as_ref().map_or(0, EvidenceLog::size);
    let size = asked.log_size.map_or(size, |asked| asked.min(size));
    let history = History::of(log.as_ref(), size, &settings);
    let count = asked
        .count
        .unwrap_or(usize::try_from(settings.choice.runs).unwrap_or(usize::MAX));
    let choice = choice::choose(
        &candidates,
        &history.trials,
        history.release,
        &settings.choice,
        asked.seed.unwrap_or(history.seed),
        count,
    );
    Ok(Next {
        choice,
        settings: settings.choice,
        at: (options.clock)().utc,
        log_size: size,
        runs: history.trials.len() as u64,
        unread,
    })
}

/// The tree's log, where it has one: to look something up, not to decide.
fn log(options: &Options, root: &Path) -> Result<Option<EvidenceLog>, Error> {
    if !Store::exists(root) {
        return Ok(None);
    }
    let (home, store, trust_root) = keys_and_store(options, root)?;
    EvidenceLog::open(&store, &home, trust_root, (options.clock)()).map(Some)
}

/// What the log says of earlier runs.
struct History {
    trials: Vec<Trial>,
    /// Trees that attempts were begun for, the one at hand left out.
    release: u64,
    /// Of the statements that were read.
    seed: u64,
}

impl History {
    fn of(log: Option<&EvidenceLog>, size: u64, settings: &Settings) -> History {
        let mut history = History {
            trials: Vec::new(),
            release: 0,
            seed: 0,
        };
        let mut trees: BTreeSet<Digest> = BTreeSet::new();
        let mut read = Digest::hasher();
        let statements = log.into_iter().flat_map(EvidenceLog::statements);
        for (index, statement) in statements.take_while(|(index, _)| *index < size) {
            if let Some(attempt) = statement.predicate_as::<Attempt>(predicates::ATTEMPT) {
                trees.insert(attempt.tree);
                history.release = (trees.len() as u64).saturating_sub(1);
            } else if let Some(run) = statement.predicate_as::<ChaosExperiment>(predicates::CHAOS) {
                history.trials.push(trial(&run, history.release, index, settings));
            } else {
                continue;
            }
            read.update(&evidence::to_canonical::<Statement>(statement));
        }
        let Digest(bytes) = read.finish();
        // Small enough to be typed again.
        history.seed = bytes.iter().take(4).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        history
    }
}

fn trial(run: &ChaosExperiment, release: u64, index: u64, settings: &Settings) -> Trial {
    let faults = run.faults.iter().map(|fault| fault.fault.as_str());
    let pattern = run.pattern.unwrap_or(run.digest);
    Trial {
        traits: Traits::of(faults, &run.targets, settings),
        candidate: choice::identity(pattern, &run.targets),
        failed: match chaos::outcome(run) {
            Outcome::Pass => Some(false),
            Outcome::Fail => Some(true),
            Outcome::Indeterminate => None,
        },
        release,
        index,
        seconds: run.window_us as f64 / 1e6,
    }
}

/// Experiment files, each once: as shown, and as it is opened.
fn files(tree: &Path, root: &Path, asked: &Asked) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found: Vec<PathBuf> = Vec::new();
    if asked.folder.is_none() && root.join(config::FILE).is_file() {
        // A configuration that can't be read whole has an experiments folder all the same.
        if let Ok((_, loaded)) = crate::release::load_config(tree)
            && let Some(staging) = &loaded.config.staging
        {
            found.extend(staging.experiments.iter().map(|path| root.join(path)));
        }
    }
    let folder = match &asked.folder {
        Some(folder) => std::fs::canonicalize(folder).map_err(|error| Error::io("open", folder, &error))?,
        None => root.join(FOLDER),
    };
    if folder.is_dir() {
        below(&folder, &mut found)?;
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(Error::usage(
            format!(
                "no experiment is in `staging.experiments` or below `{FOLDER}` of `{}`",
                tree.display()
            ),
            "name their folder with `--experiments FOLDER`, or begin one with `proofmark chaos new FAULT`",
        ));
    }
    let shown = |file: PathBuf| {
        let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        (shown, file)
    };
    Ok(found.into_iter().map(shown).collect())
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = std::fs::read_dir(folder).map_err(|error| Error::io("open", folder, &error))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        // Links are not followed: one may lead round in a circle.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            below(&path, found)?;
        } else if kind.is_file()
            && path.extension().is_some_and(|extension| extension == "toml")
            && entry.file_name() != config::FILE
        {
            found.push(path);
        }
        if found.len() > FILES_MAX {
            return Err(Error::usage(
                format!("more than {FILES_MAX} files lie below `{}`", folder.display()),
                "name a folder of experiments alone",
            ));
        }
    }
    Ok(())
}
