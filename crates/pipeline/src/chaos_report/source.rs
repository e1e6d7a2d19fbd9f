//! Where a report's statements come from: the log of a folder, or a bundle. Both are verified whole before anything is
//! told of them.

use std::path::Path;

use evidence::{CheckedBundle, Logged, MANIFEST_PATH, Statement, TrustRoot, Verified};

use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::run::{Clock, Random};
use crate::store::Store;
use crate::{Error, bundle};

/// Verified statements, each proved to stand in a log, and which log that is.
#[derive(Debug)]
pub struct Source {
    pub origin: String,
    pub size: u64,
    pub statements: Vec<Logged<Verified<Statement>>>,
}

/// Reads a bundle where `path` holds one, and otherwise the log of the folder `path`. `trust_root` is the one of `home`
/// where none is given.
pub fn read(
    path: &Path,
    home: &Path,
    trust_root: Option<TrustRoot>,
    clock: &Clock,
    random: &Random,
) -> Result<Source, Error> {
    let root = std::fs::canonicalize(path).map_err(|error| Error::io("open", path, &error))?;
    let is_bundle = root.join(MANIFEST_PATH).exists();
    if !is_bundle && !Store::exists(&root) {
        return Err(Error::usage(
            format!("`{}` has neither a log nor a bundle", path.display()),
            "give the folder of proofmark.toml, or a bundle's; `proofmark chaos run` or a first `proofmark release` makes a log",
        ));
    }
    // A bundle lies where it may: below the tree, and so beside keys that are no part of it.
    let home = Home::at(home.to_owned(), (!is_bundle).then_some(root.as_path()))?;
    let trust_root = match trust_root {
        Some(given) => Some(given),
        None => home.trust_root()?,
    };
    let trust_root = trust_root.ok_or_else(|| {
        Error::usage(
            "there is no trust root",
            "what was logged can't be checked without the one it was made under: `--trust-root FILE`",
        )
    })?;
    if is_bundle {
        return of_bundle(&root, &trust_root, clock);
    }
    let store = Store::open(&root, &mut || random())?;
    let log = EvidenceLog::open(&store, &home, trust_root, clock())?;
    Source::of_log(&log, &store.id, clock)
}

fn of_bundle(path: &Path, root: &TrustRoot, clock: &Clock) -> Result<Source, Error> {
    let files = bundle::read(path)?;
    let checked = CheckedBundle::open(&files, root, clock().utc).map_err(|error| {
        Error::refused(
            error.to_string(),
            "the bundle was changed, or was made under another trust root",
        )
    })?;
    let checkpoint = checked.checkpoint.value();
    let (origin, size) = (checkpoint.origin.clone(), checkpoint.size);
    // A statement that was left out would change every figure, and nobody would see it.
    let whole = checked.statements.iter().map(Logged::index).eq(0..size);
    if !whole {
        return Err(Error::refused(
            format!("the bundle does not hold all {size} entries of its log"),
            "take the bundle again from whoever made it",
        ));
    }
    Ok(Source {
        origin,
        size,
        statements: checked.statements,
    })
}

impl Source {
    /// The statements of an opened log.
    pub(crate) fn of_log(log: &EvidenceLog, store: &str, clock: &Clock) -> Result<Source, Error> {
        Ok(Source {
            origin: format!("{}/{store}", log.root.log.origin),
            size: log.size(),
            statements: log.logged(clock())?,
        })
    }
}
