//! `verify`: everything a bundle says, checked offline with nothing but a trust root.
//!
//! Signatures and log proofs first (crate `evidence`), then that the statements belong together: one attempt under
//! this trust root, its artifacts joined by provenance, and every verdict decided again from the same evidence with
//! the same answer.

use std::path::Path;

use evidence::predicates::{self, Attempt, VerificationSummary};
use evidence::{CheckedBundle, Digest, Logged, Outcome, Stage, Statement, Timestamp, TrustRoot, Verdict, Verified};

use crate::{Error, bundle, gate};

/// What a bundle was found to say.
#[derive(Debug)]
pub struct Verification {
    pub attempt: Attempt,
    pub attempt_digest: Digest,
    pub verdicts: Vec<(Verdict, u64)>,
    /// Fail beats indeterminate beats pass; a stage without a verdict is indeterminate.
    pub outcome: Outcome,
    /// Stages no gate has decided.
    pub undecided: Vec<Stage>,
    pub statements: usize,
    pub log_size: u64,
    pub log_origin: String,
    pub artifacts: Vec<(String, Digest)>,
    pub files: usize,
}

/// Reads and checks a bundle directory.
pub fn verify(path: &Path, root: &TrustRoot, at: Timestamp) -> Result<Verification, Error> {
    let files = bundle::read(path)?;
    let checked = CheckedBundle::open(&files, root, at).map_err(|error| {
        Error::refused(
            error.to_string(),
            "the bundle was changed, or was made under another trust root",
        )
    })?;
    conclude(&checked, root, files.len())
}

fn conclude(checked: &CheckedBundle, root: &TrustRoot, files: usize) -> Result<Verification, Error> {
    let refused = |what: String| Error::refused(what, "this bundle does not hold together; don't trust its verdicts");
    let attempt_digest = checked.manifest.attempt;
    let statements = &checked.statements;
    complete(checked).map_err(refused)?;
    let attempt = statements
        .iter()
        .filter_map(|statement| statement.predicate_as::<Attempt>(predicates::ATTEMPT))
        .find(|attempt| attempt.digest() == attempt_digest)
        .ok_or_else(|| refused(format!("no statement describes attempt {attempt_digest}")))?;
    if attempt.trust_root != root.digest() {
        return Err(refused(format!(
            "the attempt was made under trust root {}, not {}",
            attempt.trust_root,
            root.digest()
        )));
    }
    if attempt.policy != root.policy_digest() {
        return Err(refused(
            "the attempt names another policy than the trust root's floor".to_owned(),
        ));
    }
    let verdicts = verdicts(statements, &attempt, attempt_digest).map_err(refused)?;
    let decided = |stage: &Stage| verdicts.iter().any(|(verdict, _)| verdict.stage == *stage);
    let undecided: Vec<Stage> = Stage::ALL.into_iter().filter(|stage| !decided(stage)).collect();
    let outcome = Outcome::all(verdicts.iter().map(|(verdict, _)| verdict.outcome));
    let outcome = if undecided.is_empty() {
        outcome
    } else {
        outcome.and(Outcome::Indeterminate)
    };
    Ok(Verification {
        artifacts: artifacts(statements, attempt_digest),
        attempt,
        attempt_digest,
        verdicts,
        outcome,
        undecided,
        statements: statements.len(),
        log_size: checked.checkpoint.value().size,
        log_origin: checked.checkpoint.value().origin.clone(),
        files,
    })
}

/// The bundle holds the whole log up to its checkpoint, so that no failing statement can have been left out.
fn complete(checked: &CheckedBundle) -> Result<(), String> {
    let size = checked.checkpoint.value().size;
    for (expected, statement) in checked.statements.iter().enumerate() {
        if statement.index() != expected as u64 {
            return Err(format!(
                "log entry {expected} is missing: the bundle must hold all {size}"
            ));
        }
    }
    if checked.statements.len() as u64 == size {
        Ok(())
    } else {
        Err(format!(
            "the log has {size} entries, the bundle {}",
            checked.statements.len()
        ))
    }
}

/// Each verdict of the attempt, decided again from what was logged before it.
fn verdicts(
    statements: &[Logged<Verified<Statement>>],
    attempt: &Attempt,
    attempt_digest: Digest,
) -> Result<Vec<(Verdict, u64)>, String> {
    let mut verdicts = Vec::new();
    for statement in statements {
        let Some(context) = statement.context().filter(|context| context.attempt == attempt_digest) else {
            continue;
        };
        let Some(summary) = statement.predicate_as::<VerificationSummary>(predicates::VSA) else {
            continue;
        };
        let before = &statements[..statement.index() as usize];
        let again = gate::verdict(context.stage, attempt, before, context.at);
        if again != summary.verdict {
            return Err(format!(
                "log entry {}: the verdict of stage {} is {}, deciding again from the same evidence gives {}",
                statement.index(),
                context.stage,
                summary.verdict.outcome.name(),
                again.outcome.name()
            ));
        }
        verdicts.retain(|(verdict, _): &(Verdict, u64)| verdict.stage != context.stage);
        verdicts.push((summary.verdict, statement.index()));
    }
    Ok(verdicts)
}

fn artifacts(statements: &[Logged<Verified<Statement>>], attempt: Digest) -> Vec<(String, Digest)> {
    statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::PROVENANCE)
        .filter(|statement| {
            statement
                .context()
                .is_some_and(|context| context.attempt == attempt && context.check != "baseline")
        })
        .filter_map(|statement| {
            statement
                .examined()
                .next()
                .and_then(|s| Some((s.name.clone(), s.sha256()?)))
        })
        .collect()
}
