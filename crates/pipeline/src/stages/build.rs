//! # stage/build
//! Do we know what is in it and where it came from?
//!
//! ## What it does
//! Runs each artifact's build isolated and observed, and states SLSA provenance from what was seen; writes the SBOM
//! (CycloneDX 1.6) from the lock files; holds its components against the licence policy and the advisory database.
//!
//! ## Why it matters
//! Later stages run exactly these bytes: an artifact without provenance, or exchanged afterwards, is refused there.
//!
//! ## Example
//! `[[build.artifact]] name = "shop", run = ["cargo", "build", "--locked"], path = "target/debug/shop"`
//!
//! ## What to do instead
//! Raise a vulnerable dependency to the version the finding names; replace what has no fix; have an approver sign a
//! waiver that ends.
//!
//! ## References
//! SLSA v1.0 Build track; CycloneDX 1.6; OSV schema 1.6; NIST SSDF PS.3, PW.4.

use std::time::Duration;

use evidence::predicates::{self, ScanMetadata, Scanner, ScannerDatabase, Vulns};
use evidence::{Digest, Observation, Stage, Subject};
use packages::Inventory;
use serde_json::json;
use source::Redactor;

use crate::provenance::{self, Build};
use crate::run::Run;
use crate::stages::commit::observed;
use crate::stages::not_configured;
use crate::step::{self, Step};
use crate::{Error, advisories, inventory};

pub const BUILD_SECONDS: u64 = 1800;
/// A larger artifact can't be kept.
const ARTIFACT_BYTES_MAX: u64 = 2 << 30;

pub fn run(run: &mut Run) -> Result<(), Error> {
    let inventory = inventory::of_tree(&run.tree)?;
    let artifacts = run.loaded.config.build.as_ref().map_or(0, |build| build.artifact.len());
    for index in 0..artifacts {
        let spec = run
            .loaded
            .config
            .build
            .as_ref()
            .map(|build| build.artifact[index].clone());
        let Some(spec) = spec else { continue };
        let check = format!("provenance:{}", spec.name);
        // Built already, before this attempt was interrupted or by `proofmark run`: one attempt has one build.
        if run.artifacts().iter().any(|built| built.name == spec.name) {
            continue;
        }
        let seconds = spec.timeout_seconds.unwrap_or(BUILD_SECONDS);
        build_artifact(
            run,
            Stage::Build,
            &check,
            &spec.name,
            &spec.run,
            &spec.path,
            seconds,
            &inventory,
        )?;
    }
    sbom(run, &inventory)?;
    vulnerabilities(run, &inventory)?;
    licences(run, &inventory)
}

/// Runs one build, keeps the artifact and records its provenance; the answer is its digest, `None` when it failed.
#[expect(
    clippy::too_many_arguments,
    reason = "one call a kind of artifact; a struct would only repeat the names"
)]
pub fn build_artifact(
    run: &mut Run,
    stage: Stage,
    check: &str,
    name: &str,
    command: &[String],
    path: &str,
    seconds: u64,
    inventory: &Inventory,
) -> Result<Option<Digest>, Error> {
    run.progress.doing(stage, &format!("building `{name}`"), 0, 0);
    let started = run.now().utc;
    // What stands there from an earlier build must not pass for this one's.
    host::remove_beneath(&run.root, path).map_err(|error| Error::io("remove", &run.root.join(path), &error))?;
    let ran = step::run(
        &Step {
            run: command,
            folder: &run.root,
            hide: run.hidden(),
            writable: run.writable(),
            temporary: &run.temporary,
            observe: true,
            timeout: Duration::from_secs(seconds),
            log: run.scratch.join("steps").join(format!("build-{name}.log")),
            secrets: Vec::new(),
        },
        &run.cancel,
    )?;
    if ran.finished.status.code() != Some(0) {
        run.progress
            .note(&format!("`{}` failed:\n{}", command.join(" "), ran.tail(20)));
        return Ok(None);
    }
    let bytes = host::read_beneath(&run.root, path, ARTIFACT_BYTES_MAX).map_err(|error| {
        Error::usage(
            format!("`{}` made no `{path}` ({error})", command.join(" ")),
            "name the file it makes in `build.artifact.path`",
        )
    })?;
    let digest = run.store.put_blob(&bytes)?;
    let predicate = provenance::predicate(&Build {
        artifact: name,
        run: command,
        tree: &run.root,
        tree_digest: run.tree_digest,
        commit: run.attempt.commit.as_deref(),
        components: &inventory.components,
        ran: &ran,
        attempt: run.attempt_digest,
        path,
        files: &run.tree.files,
        repository: run.repository.as_deref(),
        tree_after: run.digest_now()?,
        started,
        finished: run.now().utc,
        secrets_in_artifact: Redactor::new(Vec::new()).filter(&bytes).1 as u64,
    });
    let config = json!({"check": "provenance", "run": command, "path": path});
    run.record(
        stage,
        check,
        predicates::PROVENANCE,
        vec![Subject::new(name, digest)],
        &predicate,
        &config,
    )?;
    Ok(Some(digest))
}

fn subjects(run: &Run) -> Vec<Subject> {
    let artifacts = run
        .artifacts()
        .into_iter()
        .map(|built| Subject::new(built.name, built.digest));
    std::iter::once(run.tree_subject()).chain(artifacts).collect()
}

fn sbom(run: &mut Run, inventory: &Inventory) -> Result<(), Error> {
    run.progress.doing(Stage::Build, "writing the SBOM", 0, 0);
    let subject = packages::SbomSubject {
        name: run.attempt.name.clone(),
        version: run.attempt.version.clone(),
        seed: run.tree_digest,
        timestamp: run.now().utc,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let document = packages::cyclonedx(inventory, &subject);
    let config = json!({"check": "sbom", "format": "CycloneDX 1.6"});
    let subjects = subjects(run);
    run.record(Stage::Build, "sbom", predicates::SBOM, subjects, &document, &config)?;
    Ok(())
}

fn vulnerabilities(run: &mut Run, inventory: &Inventory) -> Result<(), Error> {
    run.progress.doing(Stage::Build, "matching vulnerabilities", 0, 0);
    let started = run.now().utc;
    let database = advisories::load(&run.root, run.loaded.config.advisories.as_ref())?;
    let mut observation = database.matches(&inventory.components);
    observation.gaps.extend(inventory.gaps.iter().cloned());
    observation.sort();
    let result = observation.findings.iter().map(|finding| {
        json!({"id": finding.rule.trim_start_matches("vuln/"), "severity": [], "annotations": [{"component": finding.component}]})
    });
    let predicate = Vulns {
        scanner: Scanner {
            uri: "https://proofmark.dev/intel".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            db: ScannerDatabase {
                uri: database.uri.clone(),
                version: database.digest.hex(),
                last_update: database.last_update,
                age_days_max: database.age_days_max,
                advisories: database.records,
            },
            result: result.collect(),
        },
        metadata: ScanMetadata {
            scan_started_on: started,
            scan_finished_on: run.now().utc,
        },
        observation,
    };
    let config = json!({"check": "vulnerabilities", "database": database.digest.hex()});
    let subjects = subjects(run);
    run.record(
        Stage::Build,
        "vulnerabilities",
        predicates::VULNS,
        subjects,
        &predicate,
        &config,
    )?;
    Ok(())
}

fn licences(run: &mut Run, inventory: &Inventory) -> Result<(), Error> {
    let allow = run
        .loaded
        .config
        .licences
        .as_ref()
        .map(|licences| licences.allow.clone());
    let observation = match &allow {
        Some(allow) => packages::judge_licences(&inventory.components, allow),
        None => Observation {
            gaps: vec![not_configured("licences", "[licences]")],
            ..Observation::default()
        },
    };
    let config = json!({"check": "licences", "allow": allow});
    let subjects = subjects(run);
    let predicate = observed(observation, [("allow", allow.into())]);
    run.record(
        Stage::Build,
        "licences",
        predicates::LICENCES,
        subjects,
        &predicate,
        &config,
    )?;
    Ok(())
}
