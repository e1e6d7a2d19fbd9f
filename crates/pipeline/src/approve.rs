//! `approve`: a person lets something pass that no rule may, signed with the approver's keys, until a day.
//!
//! This is the only way a demand ever gets smaller: scoped, with a reason, expiring, and in the log.

use std::path::PathBuf;

use evidence::predicates::{self, Approval, Observed, Vulns, Waiver};
use evidence::{Context, Digest, Envelope, Finding, Role, Stage, Statement, Subject, Timestamp};
use serde_json::json;

use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::run::{Clock, Random};
use crate::store::Store;
use crate::{Error, release};

/// What is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A release without any older version to compare with.
    FirstRelease,
    /// A configuration that loosens or drops a control of the last promoted release.
    LoosenedControls,
    /// A check that failed and then passed on the same bytes.
    Rerun,
    /// One finding, by the id a gate prints, or its first eight characters or more.
    Finding(String),
}

/// Who approves what, until when.
pub struct Options {
    pub tree: PathBuf,
    pub home: PathBuf,
    pub what: What,
    pub reason: String,
    pub expires: Timestamp,
    pub clock: Clock,
    pub random: Random,
}

/// Signs and logs the approval; the answer says in one line what was approved and where it stands.
pub fn approve(options: &Options) -> Result<String, Error> {
    let (root, loaded) = release::load_config(&options.tree)?;
    let home = Home::at(options.home.clone(), Some(&root))?;
    let now = (options.clock)();
    if options.expires <= now.utc {
        return Err(Error::usage(
            "the approval would have expired already",
            "give `--expires` a day to come",
        ));
    }
    let trust_root = home.trust_root()?.ok_or_else(|| {
        Error::usage(
            "there is no trust root yet",
            "run `proofmark init` or a first `proofmark release`",
        )
    })?;
    let store = Store::open(&root, &mut || (options.random)())?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, now)?;
    let tree = source::walk(&root, &source::WalkOptions::default()).map_err(|e| Error::failed("read the tree", e))?;
    let tree_digest = source::tree_digest(&tree).map_err(|error| Error::failed("read the tree", error))?;
    let approval = |what: &str, subject: Digest| {
        let predicate = Approval {
            what: what.to_owned(),
            subject,
            reason: options.reason.clone(),
            expires: options.expires,
        };
        (
            predicates::APPROVAL,
            serde_json::to_value(predicate),
            format!("{what} of sha256:{}", subject.short()),
        )
    };
    let (kind, predicate, words) = match &options.what {
        What::FirstRelease => approval("first-release", tree_digest),
        What::LoosenedControls => approval("loosened-controls", loaded.digest),
        What::Rerun => approval("rerun", tree_digest),
        What::Finding(id) => {
            let finding = find(&log, id)?;
            let words = format!("{} ({})", finding.rule, finding.id);
            let waiver = Waiver {
                finding: finding.id,
                rule: finding.rule,
                reason: options.reason.clone(),
                expires: options.expires,
            };
            (predicates::WAIVER, serde_json::to_value(waiver), words)
        }
    };
    let predicate = predicate.map_err(|error| Error::failed("write the approval", error))?;
    let context = Context {
        attempt: tree_digest,
        stage: Stage::Commit,
        check: "approval".to_owned(),
        config: Digest::of(&evidence::to_canonical(&json!({"check": "approval"}))),
        at: now.utc,
    };
    let statement = Statement::new(kind, vec![Subject::new("tree", tree_digest)], &predicate, &context);
    let keys = home.pair(Role::Approver)?;
    let envelope = Envelope::sign_statement(&statement, &keys.signers())
        .map_err(|error| Error::failed("sign the approval", error))?;
    let index = log.append(&envelope, now)?;
    let day: String = options.expires.to_string().chars().take(10).collect();
    Ok(format!("approved {words} until {day}: log index {index}"))
}

/// The finding of the log whose id begins with `id`.
fn find(log: &EvidenceLog, id: &str) -> Result<Finding, Error> {
    const CHARACTERS_MIN: usize = 8;
    if id.len() < CHARACTERS_MIN {
        return Err(Error::usage(
            format!("`{id}` is too short"),
            format!("give at least {CHARACTERS_MIN} characters of the finding's id"),
        ));
    }
    let mut found: Vec<Finding> = log
        .statements()
        .flat_map(|(_, statement)| findings(statement))
        .filter(|finding| finding.id.0.starts_with(id))
        .collect();
    found.sort_by(|a, b| a.id.cmp(&b.id));
    found.dedup_by(|a, b| a.id == b.id);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Error::usage(
            format!("no finding `{id}` is in the log"),
            "copy the id that the blocked release prints",
        )),
        n => Err(Error::usage(
            format!("`{id}` begins {n} findings"),
            "give more characters",
        )),
    }
}

/// Every finding a statement holds.
fn findings(statement: &Statement) -> Vec<Finding> {
    if let Some(vulns) = statement.predicate_as::<Vulns>(predicates::VULNS) {
        return vulns.observation.findings;
    }
    let observed = statement.predicate_as::<Observed>(&statement.predicate_type);
    observed
        .map(|observed| observed.observation.findings)
        .unwrap_or_default()
}
