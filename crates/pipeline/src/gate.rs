//! The gate: asks the policy engine what the logged evidence of an attempt amounts to, and logs the answer as a
//! SLSA verification summary (VSA v1).

use evidence::predicates::{self, Attempt, VerificationSummary};
use evidence::{ControlSpec, Digest, Logged, Now, Outcome, Stage, Statement, Timestamp, TrustRoot, Verdict, Verified};
use policy::{Evidence, Facts};
use serde_json::json;

use crate::Error;
use crate::run::Run;

/// Decides a stage of the running attempt, logs the decision and answers it with its log index.
pub fn decide(run: &mut Run, stage: Stage) -> Result<(Verdict, u64), Error> {
    let now = run.now();
    let statements = run.log.logged(now)?;
    let verdict = verdict(stage, &run.attempt, &statements, now.utc);
    let config = json!({"check": "gate", "policy": run.attempt.policy, "stage": stage});
    let summary = summary(run, &verdict, &statements, now);
    let context = evidence::Context {
        attempt: run.attempt_digest,
        stage,
        check: "gate".to_owned(),
        config: Digest::of(&evidence::to_canonical(&config)),
        at: now.utc,
    };
    let statement = Statement::new(predicates::VSA, subjects(run), &summary, &context);
    let index = run.log.record_verdict(&statement, now)?;
    Ok((verdict, index))
}

/// What policy says of a stage, from logged evidence alone: the gate and `verify` both ask here.
pub fn verdict(stage: Stage, attempt: &Attempt, statements: &[Logged<Verified<Statement>>], now: Timestamp) -> Verdict {
    let facts = Facts {
        now,
        previous_controls: previous_controls(attempt, statements),
        techniques: chaos::faults()
            .iter()
            .map(|fault| {
                (
                    fault.id.to_owned(),
                    fault.attack.iter().map(|tag| (*tag).to_owned()).collect(),
                )
            })
            .collect(),
    };
    policy::decide(stage, &Evidence { attempt, statements }, &facts)
}

/// The controls of the attempt that was last promoted before this one.
fn previous_controls(attempt: &Attempt, statements: &[Logged<Verified<Statement>>]) -> Option<Vec<ControlSpec>> {
    let previous = attempt.previous?;
    statements
        .iter()
        .filter_map(|statement| statement.predicate_as::<Attempt>(predicates::ATTEMPT))
        .find(|other| other.digest() == previous)
        .map(|other| other.controls)
}

fn subjects(run: &Run) -> Vec<evidence::Subject> {
    let built = run
        .artifacts()
        .into_iter()
        .map(|built| evidence::Subject::new(built.name, built.digest));
    std::iter::once(run.tree_subject()).chain(built).collect()
}

fn summary(run: &Run, verdict: &Verdict, statements: &[Logged<Verified<Statement>>], now: Now) -> VerificationSummary {
    let inputs = statements
        .iter()
        .filter(|statement| statement.context().is_some_and(|context| context.attempt == run.attempt_digest))
        .map(|statement| {
            json!({"uri": format!("proofmark-log:{}", statement.index()), "digest": {"sha256": statement.verified().digest().hex()}})
        });
    let passed = verdict.outcome == Outcome::Pass;
    VerificationSummary {
        verifier: json!({"id": crate::provenance::BUILDER, "version": {"proofmark": env!("CARGO_PKG_VERSION")}}),
        time_verified: now.utc,
        resource_uri: format!("pkg:generic/{}@{}", run.attempt.name, run.attempt.version),
        policy: json!({"uri": "https://proofmark.dev/policy/floor", "digest": {"sha256": run.attempt.policy.hex()}}),
        input_attestations: inputs.collect(),
        verification_result: if passed { "PASSED" } else { "FAILED" }.to_owned(),
        verified_levels: levels(passed, statements, run.attempt_digest),
        slsa_version: "1.0".to_owned(),
        verdict: verdict.clone(),
    }
}

/// The level of the weakest artifact, once there is one.
fn levels(passed: bool, statements: &[Logged<Verified<Statement>>], attempt: Digest) -> Vec<String> {
    let level = statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::PROVENANCE)
        .filter(|statement| statement.context().is_some_and(|context| context.attempt == attempt))
        .map(|statement| crate::provenance::claimed_level(&statement.predicate))
        .min();
    match level {
        Some(level) if passed => vec![format!("SLSA_BUILD_LEVEL_{level}")],
        _ => Vec::new(),
    }
}

/// The digest that names the policy: the trust root's floor.
pub fn policy_digest(root: &TrustRoot) -> Digest {
    root.policy_digest()
}
