//! `verify FILE`: what a file of attestations says, on the screen and as JSON. The checks are `pipeline::attestation`'s.

use std::path::Path;

use evidence::sigstore::{Passed, Refusal, Signer, TimeSource, VerifiedBundle};
use evidence::{Outcome, Reason, Timestamp};
use pipeline::attestation::{Asked, Verification, Wanted, verify};
use pipeline::{Error, report};
use serde_json::{Value, json};

use crate::cli;
use crate::commands::{out, out_json};
use crate::render::Terminal;

const SCHEMA: &str = "https://proofmark.dev/schema/attestation-verification/v0.1";
/// Characters of a digest shown to people.
const SHORT: usize = 12;

pub fn run(
    file: &Path,
    args: &cli::VerifyAttestation,
    as_json: bool,
    at: Timestamp,
    terminal: &Terminal,
) -> Result<u8, Error> {
    let asked = Asked {
        trusted_root: args.trusted_root.as_deref(),
        artifact: args.artifact.as_deref(),
        digest: args.digest.as_deref(),
        any_subject: args.any_subject,
        identity: wanted(&args.certificate_identity, &args.certificate_identity_regexp),
        issuer: wanted(&args.certificate_oidc_issuer, &args.certificate_oidc_issuer_regexp),
        any_identity: args.any_identity,
        key: args.key.as_deref(),
        predicate_type: args.predicate_type.as_deref(),
        log_entries_min: args.log_entries_min,
        scts_min: args.scts_min,
    };
    let found = verify(file, &asked, at)?;
    let code = match found.outcome {
        // Evidence that is wrong is more than a block.
        Outcome::Fail => 4,
        outcome => report::exit_code(outcome),
    };
    if as_json {
        out_json(&document(file, &found))?;
    } else {
        screen(file, &found, terminal)?;
    }
    Ok(code)
}

/// clap sees to it that only one of the two is given.
fn wanted<'a>(exact: &'a Option<String>, pattern: &'a Option<String>) -> Option<Wanted<'a>> {
    let exact = exact.as_deref().map(Wanted::Exact);
    exact.or_else(|| pattern.as_deref().map(Wanted::Pattern))
}

fn screen(file: &Path, found: &Verification, terminal: &Terminal) -> Result<(), Error> {
    let root = found.trusted_root.short();
    terminal.say(&format!(
        "{} · {} · trusted root {root}",
        file.display(),
        counted(found.attestations.len(), "attestation")
    ));
    if found.passed_over > 0 {
        terminal.say(&format!(
            "  {} of another predicate type passed over",
            found.passed_over
        ));
    }
    for (_, answer) in &found.attestations {
        match answer {
            Ok(verified) => {
                terminal.say(&format!("  {}", said(verified)));
                trace(terminal, verified.passed());
            }
            Err(refusal) => {
                trace(terminal, &refusal.passed);
                terminal.reason(&reason(file, refusal));
            }
        }
    }
    let verified = found.attestations.iter().filter(|(_, answer)| answer.is_ok()).count();
    let all = counted(found.attestations.len(), "attestation");
    out(&match found.outcome {
        Outcome::Pass => format!("VERIFIED: {all}, every check holds"),
        Outcome::Fail => format!("REFUSED: {verified} of {all} verified"),
        Outcome::Indeterminate => format!("UNPROVEN: {verified} of {all} verified"),
    })
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The checks that held, for who asks for more.
fn trace(terminal: &Terminal, passed: &[Passed]) {
    for one in passed.iter().filter(|_| terminal.verbose()) {
        terminal.say(&format!("    {:<12} {}", one.check.name(), one.what));
    }
}

fn said(verified: &VerifiedBundle) -> String {
    let what = verified.statement().map_or("signature over the artifact", |statement| {
        statement.predicate_type.as_str()
    });
    let who = match verified.signer() {
        Signer::Certificate { name, issuer, .. } => format!("{name} (says {issuer})"),
        Signer::Key(id) => format!("key {}", &id[..SHORT]),
    };
    let when = verified
        .times()
        .first()
        .map_or(String::new(), |time| format!(" at {}", time.at));
    let logs = verified.entries().iter().map(|entry| {
        let how = if entry.included { "in" } else { "promised by" };
        format!("; {how} {} at {}", entry.log, entry.index)
    });
    format!("{what} · signed by {who}{when}{}", logs.collect::<String>())
}

fn reason(file: &Path, refusal: &Refusal) -> Reason {
    let key = refusal
        .key
        .as_deref()
        .map(|key| format!("; key {key}"))
        .unwrap_or_default();
    Reason {
        control: String::new(),
        outcome: refusal.outcome,
        id: format!("attestation/{}", refusal.check.name()),
        what: refusal.what.clone(),
        r#where: file.display().to_string(),
        why: format!(
            "it is the first check that does not hold, after {}{key}",
            counted(refusal.passed.len(), "other")
        ),
        fix: refusal.fix.to_owned(),
        finding: None,
        log_index: None,
    }
}

fn document(file: &Path, found: &Verification) -> Value {
    let attestations = found.attestations.iter().map(|(form, answer)| match answer {
        Ok(verified) => with(verified_json(verified), form, Outcome::Pass, verified.passed()),
        Err(refusal) => with(
            json!({"check": refusal.check.name(), "what": refusal.what, "key": refusal.key, "fix": refusal.fix}),
            form,
            refusal.outcome,
            &refusal.passed,
        ),
    });
    json!({
        "schema": SCHEMA,
        "file": file.display().to_string(),
        "outcome": found.outcome,
        "trustedRoot": found.trusted_root,
        "passedOver": found.passed_over,
        "attestations": attestations.collect::<Vec<_>>(),
    })
}

fn with(mut answer: Value, form: &str, outcome: Outcome, passed: &[Passed]) -> Value {
    answer["form"] = form.into();
    answer["outcome"] = outcome.name().into();
    let passed = passed
        .iter()
        .map(|one| json!({"check": one.check.name(), "what": one.what}));
    answer["passed"] = passed.collect();
    answer
}

fn verified_json(verified: &VerifiedBundle) -> Value {
    let signer = match verified.signer() {
        Signer::Certificate {
            name,
            issuer,
            claims,
            fingerprint,
        } => json!({"name": name, "issuer": issuer, "claims": claims, "certificate": fingerprint}),
        Signer::Key(id) => json!({"key": id}),
    };
    let times = verified.times().iter().map(|time| match &time.source {
        TimeSource::Authority(uri) => json!({"at": time.at, "authority": uri}),
        TimeSource::Log(log) => json!({"at": time.at, "log": log}),
    });
    let entries = verified.entries().iter();
    let entries = entries.map(|entry| json!({"log": entry.log, "index": entry.index, "included": entry.included}));
    json!({
        "statement": verified.statement(),
        "signer": signer,
        "times": times.collect::<Vec<_>>(),
        "log": entries.collect::<Vec<_>>(),
        "checkedAt": verified.at(),
    })
}
