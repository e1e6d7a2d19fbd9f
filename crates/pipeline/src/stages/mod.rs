//! The five stages, one file each: what runs, and what is recorded of it. Deciding is the gate's.

pub mod build;
pub mod commit;
pub mod integration;
pub mod production;
pub mod staging;

use evidence::{Gap, Stage};

use crate::Error;
use crate::run::Run;

/// Runs the checks of a stage and records what they saw.
pub fn run(stage: Stage, run: &mut Run) -> Result<(), Error> {
    match stage {
        Stage::Commit => commit::run(run),
        Stage::Build => build::run(run),
        Stage::Integration => integration::run(run),
        Stage::Staging => staging::run(run),
        Stage::Production => production::run(run),
    }
}

/// The checks a configuration leads one to expect, as (stage, check): the denominator of attestation coverage.
pub fn expected(config: &crate::config::Config) -> Vec<(Stage, String)> {
    let mut checks = vec![
        (Stage::Commit, "secrets".to_owned()),
        (Stage::Commit, "dependencies".to_owned()),
        (Stage::Build, "sbom".to_owned()),
        (Stage::Build, "vulnerabilities".to_owned()),
        (Stage::Build, "licences".to_owned()),
        (Stage::Integration, "dynamic-test".to_owned()),
        (Stage::Integration, "runtime".to_owned()),
        (Stage::Production, "canary".to_owned()),
    ];
    checks.extend(
        config
            .commit
            .step
            .iter()
            .map(|step| (Stage::Commit, format!("step:{}", step.name))),
    );
    let artifacts = config.build.iter().flat_map(|build| &build.artifact);
    checks.extend(artifacts.map(|artifact| (Stage::Build, format!("provenance:{}", artifact.name))));
    match &config.staging {
        Some(staging) => {
            checks.extend(
                staging
                    .experiments
                    .iter()
                    .map(|path| (Stage::Staging, format!("experiment:{path}"))),
            );
        }
        None => checks.push((Stage::Staging, "experiment:none".to_owned())),
    }
    checks.sort();
    checks
}

/// A check that can't be done because the configuration doesn't say how: a gap that blocks.
fn not_configured(check: &str, table: &str) -> Gap {
    Gap {
        id: "pipeline/not-configured".to_owned(),
        what: check.to_owned(),
        reason: format!("`{table}` is missing from proofmark.toml"),
        blocks: true,
    }
}
