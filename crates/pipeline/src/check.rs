//! `check`: look and tell. Stores nothing, runs no code of the tree, needs no configuration.

use std::path::{Path, PathBuf};

use evidence::{Observation, Outcome, Preview, Stage, Verdict, predicates};

use crate::config;
use crate::{Error, advisories, inventory, release};

/// What to look at.
pub struct Options {
    pub path: PathBuf,
    /// Scan git history too.
    pub history: bool,
    /// Advisory folder given on the command line; beats the configuration's.
    pub advisories: Option<PathBuf>,
    /// When the database's age is judged.
    pub now: evidence::Timestamp,
}

/// What was seen.
#[derive(Debug)]
pub struct Checked {
    pub secrets: Observation,
    pub vulnerabilities: Observation,
    pub licences: Observation,
    pub sbom: serde_json::Value,
    pub components: usize,
    pub files: u64,
    /// What the floor's controls would say.
    pub preview: Preview<Verdict>,
    /// What the vulnerabilities were matched against, in words.
    pub database: String,
    /// Problems of the configuration; the checks ran all the same.
    pub problems: Vec<evidence::Diagnostic>,
}

impl Checked {
    pub fn outcome(&self) -> Outcome {
        self.preview.0.outcome
    }

    /// Every observation with the name of its check.
    pub fn observations(&self) -> [(&'static str, &Observation); 3] {
        [
            ("secrets", &self.secrets),
            ("vulnerabilities", &self.vulnerabilities),
            ("licences", &self.licences),
        ]
    }
}

/// Hears what is being done, how much of it is done, and of how much (0: nobody knows).
pub type Tell<'a> = dyn Fn(&str, u64, u64) + Sync + 'a;

/// Looks at a tree.
pub fn check(options: &Options, progress: Option<&Tell<'_>>) -> Result<Checked, Error> {
    let root = std::fs::canonicalize(&options.path).map_err(|error| Error::io("open", &options.path, &error))?;
    let (loaded, problems) = match release::load_config(&options.path) {
        Ok((_, loaded)) => (Some(loaded), Vec::new()),
        Err(Error::Input(problems)) => (None, problems),
        Err(_) => (None, Vec::new()),
    };
    let configured = loaded.as_ref().map(|loaded| &loaded.config);
    let tell = |what: &str, done, total| {
        if let Some(progress) = progress {
            progress(what, done, total);
        }
    };
    tell("reading the tree", 0, 0);
    let tree = source::walk(&root, &source::WalkOptions::default()).map_err(|e| Error::failed("read the tree", e))?;
    let seen = |p: source::Progress| tell("looking for secrets", p.done, p.total);
    let secrets = scan(&tree, options.history, Some(&seen))?;
    tell("reading manifests", 0, 0);
    let inventory = inventory::of_tree(&tree)?;
    let database = database(&root, options, configured)?;
    let mut vulnerabilities = database.matches(&inventory.components);
    vulnerabilities.gaps.extend(inventory.gaps.iter().cloned());
    vulnerabilities.sort();
    let licences = match configured.and_then(|config| config.licences.as_ref()) {
        Some(licences) => packages::judge_licences(&inventory.components, &licences.allow),
        None => Observation::default(),
    };
    let sbom = packages::cyclonedx(&inventory, &subject(&tree, &root, configured, options)?);
    let mut observations = vec![
        (Stage::Commit, predicates::SECRET_SCAN, &secrets),
        (Stage::Build, predicates::VULNS, &vulnerabilities),
    ];
    if configured.is_some_and(|config| config.licences.is_some()) {
        observations.push((Stage::Build, predicates::LICENCES, &licences));
    }
    let preview = policy::preview(&observations, &policy::floor());
    let words = if database.present() {
        format!("database of {}", day(database.last_update))
    } else {
        "no database".to_owned()
    };
    Ok(Checked {
        files: tree.files.len() as u64,
        components: inventory.components.len(),
        preview,
        secrets,
        vulnerabilities,
        licences,
        sbom,
        database: words,
        problems,
    })
}

/// Scans a tree, and its history when asked.
pub fn scan(
    tree: &source::Tree,
    history: bool,
    progress: Option<&(dyn Fn(source::Progress) + Sync)>,
) -> Result<Observation, Error> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let options = source::ScanOptions {
        history,
        threads,
        progress,
        ..source::ScanOptions::default()
    };
    source::scan_secrets(tree, &options).map_err(|error| Error::failed("look for secrets", error))
}

fn subject(
    tree: &source::Tree,
    root: &Path,
    config: Option<&config::Config>,
    options: &Options,
) -> Result<packages::SbomSubject, Error> {
    let name = root
        .file_name()
        .map_or_else(|| "tree".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(packages::SbomSubject {
        name: config.map_or(name, |config| config.release.name.clone()),
        version: config.map_or_else(String::new, |config| config.release.version.clone()),
        // A file that can't be read is a gap of the scan; it names no other SBOM.
        seed: source::tree_digest(tree).unwrap_or_else(|error| evidence::Digest::of(error.to_string().as_bytes())),
        timestamp: options.now,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn database(root: &Path, options: &Options, config: Option<&config::Config>) -> Result<advisories::Loaded, Error> {
    match (
        &options.advisories,
        config.and_then(|config| config.advisories.as_ref()),
    ) {
        (Some(folder), _) => advisories::from_files(&advisories::read_folder(folder)?, &folder.display().to_string()),
        (None, Some(configured)) => advisories::load(root, Some(configured)),
        (None, None) => Ok(advisories::Loaded::none(
            "no advisory database: give one with `--advisories FOLDER`, or name it in proofmark.toml",
        )),
    }
}

fn day(timestamp: evidence::Timestamp) -> String {
    timestamp.to_string().chars().take(10).collect()
}

/// Secrets of the working tree alone, without history: what the pre-commit hook runs.
pub fn secrets_only(path: &Path) -> Result<Observation, Error> {
    let root = std::fs::canonicalize(path).map_err(|error| Error::io("open", path, &error))?;
    let tree = source::walk(&root, &source::WalkOptions::default()).map_err(|e| Error::failed("read the tree", e))?;
    scan(&tree, false, None)
}

/// The SBOM of a tree.
pub fn sbom(path: &Path, now: evidence::Timestamp) -> Result<serde_json::Value, Error> {
    let root = std::fs::canonicalize(path).map_err(|error| Error::io("open", path, &error))?;
    let tree = source::walk(&root, &source::WalkOptions::default()).map_err(|e| Error::failed("read the tree", e))?;
    let loaded = release::load_config(path).ok().map(|(_, loaded)| loaded);
    let options = Options {
        path: path.to_owned(),
        history: false,
        advisories: None,
        now,
    };
    let subject = subject(&tree, &root, loaded.as_ref().map(|loaded| &loaded.config), &options)?;
    Ok(packages::cyclonedx(&inventory::of_tree(&tree)?, &subject))
}

/// The digest that `advisories.digest` pins, and the number of records.
pub fn database_digest(folder: &Path) -> Result<(evidence::Digest, usize), Error> {
    let files = advisories::read_folder(folder)?;
    Ok((intel::digest_of(&files), files.len()))
}
