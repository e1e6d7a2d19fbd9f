//! `log`: what stands in the log of a repository, and whether it still holds.

use std::path::Path;

use evidence::{Digest, Stage};

use crate::Error;
use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::run::{Clock, Random};
use crate::store::Store;

/// A log that was verified from its first byte to its last.
#[derive(Debug)]
pub struct Checked {
    pub origin: String,
    pub size: u64,
    pub root: Digest,
}

/// One line an entry: index, stage, check, predicate type, subjects.
pub fn list(tree: &Path, home: &Path, clock: &Clock, random: &Random) -> Result<Vec<String>, Error> {
    let (_, log) = open(tree, home, clock, random)?;
    let line = |(index, statement): (u64, &evidence::Statement)| {
        let context = statement.context();
        let stage = context.as_ref().map_or("", |context| Stage::name(context.stage));
        let check = context.as_ref().map_or("", |context| context.check.as_str());
        let attempt = context
            .as_ref()
            .map_or_else(String::new, |context| context.attempt.short());
        format!(
            "{index:>6}  {attempt}  {stage:<12} {check:<32} {}",
            statement.predicate_type
        )
    };
    Ok(log.statements().map(line).collect())
}

/// Verifies journal, tiles and checkpoint, then every envelope's signatures and inclusion.
pub fn fsck(tree: &Path, home: &Path, clock: &Clock, random: &Random) -> Result<Checked, Error> {
    let (store, log) = open(tree, home, clock, random)?;
    let origin = format!("{}/{}", log.root.log.origin, store.id);
    let key = log
        .root
        .keys
        .get(&log.root.log.key)
        .ok_or_else(|| Error::failed("check the log", "the trust root names no log key"))?;
    let report =
        tlog::fsck(&*store.part("log")?, &origin, key).map_err(|error| Error::failed("check the log", error))?;
    if !report.problems.is_empty() {
        return Err(Error::refused(
            report.problems.join("; "),
            "restore `.proofmark/log` from a backup",
        ));
    }
    log.logged(clock())?;
    Ok(Checked {
        origin,
        size: log.size(),
        root: log.log().root(),
    })
}

fn open(tree: &Path, home: &Path, clock: &Clock, random: &Random) -> Result<(Store, EvidenceLog), Error> {
    let root = std::fs::canonicalize(tree).map_err(|error| Error::io("open", tree, &error))?;
    if !Store::exists(&root) {
        return Err(Error::usage(
            format!("`{}` has no log yet", tree.display()),
            "a first `proofmark release` makes one",
        ));
    }
    let home = Home::at(home.to_owned(), Some(&root))?;
    let trust_root = home.trust_root()?.ok_or_else(|| {
        Error::usage(
            "there is no trust root",
            "the log can't be checked without the one it was made under",
        )
    })?;
    let store = Store::open(&root, &mut || random())?;
    let log = EvidenceLog::open(&store, &home, trust_root, clock())?;
    Ok((store, log))
}
