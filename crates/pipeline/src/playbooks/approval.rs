//! A person's word in a playbook, signed with the approver's keys and logged: a name in a journal proves nothing.
//!
//! What an attacker who owns the store can do: take answers away, so that a run waits again. Not give one.

use ::playbooks::Word;
use evidence::predicates::{self, Approval};
use evidence::{Context, Digest, Envelope, Role, Stage, Statement, Subject, Timestamp};
use jiff::SignedDuration;
use serde_json::json;

use crate::Error;
use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::release::{self, keys_and_store};
use crate::store::Store;

const WHAT: &str = "playbook-step";
/// An answer counts for so long: a run that is not gone on with by then asks again.
const HOURS: i64 = 24;

/// Signs and logs a word; the answer is its log index.
pub fn sign(word: &Word, home: &Home, log: &mut EvidenceLog, now: evidence::Now) -> Result<u64, Error> {
    let subject = word.digest();
    let said = if word.done { "yes" } else { "no" };
    let predicate = Approval {
        what: WHAT.to_owned(),
        subject,
        reason: format!("{} said {said} at `{}` of run `{}`", word.by, word.unit, word.run),
        expires: now.utc + SignedDuration::from_hours(HOURS),
    };
    let context = Context {
        attempt: subject,
        stage: Stage::Commit,
        check: "playbook-approval".to_owned(),
        config: Digest::of(&evidence::to_canonical(&json!({"check": "playbook-approval"}))),
        at: now.utc,
    };
    let subjects = vec![Subject::new(word.run.clone(), subject)];
    let statement = Statement::new(predicates::APPROVAL, subjects, &predicate, &context);
    let keys = home.pair(Role::Approver)?;
    let envelope = Envelope::sign_statement(&statement, &keys.signers())
        .map_err(|error| Error::failed("sign the approval", error))?;
    log.append(&envelope, now)
}

/// Whether an approver's signature stands in the log for a word. Every statement of it was verified when the log was
/// opened; who else may sign approvals under this trust root is asked here.
pub fn stands(word: &Word, log: &EvidenceLog, now: Timestamp) -> bool {
    let subject = word.digest();
    log.signed().any(|(statement, signers)| {
        let approval = statement.predicate_as::<Approval>(predicates::APPROVAL);
        let approver = |key| log.root.keys_of(Role::Approver).any(|(id, _)| id == key);
        approval.is_some_and(|a| a.what == WHAT && a.subject == subject && a.expires > now)
            && signers.iter().all(approver)
    })
}

/// The same of a tree's store, and with why it can't be said told to whoever waits.
pub fn vouched(word: &Word, options: &release::Options) -> bool {
    let tree = &options.tree;
    if !Store::exists(tree) {
        return false;
    }
    let now = (options.clock)();
    let opened = keys_and_store(options, tree)
        .and_then(|(home, store, trust_root)| EvidenceLog::open(&store, &home, trust_root, now));
    match opened {
        Ok(log) => stands(word, &log, now.utc),
        Err(error) => {
            options.progress.note(&format!("approvals can't be read: {error}"));
            false
        }
    }
}
