//! # stage/integration
//! Does it stand up to hostile input?
//!
//! ## What it does
//! Starts the services, drives one of them from its OpenAPI document as every identity, and compares the executable
//! each process really runs, by digest, with the artifact of the build stage.
//!
//! ## Why it matters
//! A document says what an interface promises; only requests show what it does. And what was tested counts only when
//! it is what was built.
//!
//! ## Example
//! `[integration] service = "storefront", openapi = "storefront/openapi.json", identities = ["shopper"]`
//!
//! ## What to do instead
//! Mend the route the finding names: check the identity before anything else, validate input, document every answer.
//!
//! ## References
//! OpenAPI 3.1; OWASP API Security Top 10 (2023); NIST SSDF PW.8.

use evidence::predicates;
use evidence::{Digest, Finding, FindingId, Observation, Severity, Stage, Subject};
use serde_json::{Value, json};

use crate::config::Integration;
use crate::run::Run;
use crate::stages::commit::observed;
use crate::stages::not_configured;
use crate::{Error, inventory};

const REQUESTS_MAX: u64 = 2_000;
/// Fixed, so that the same service is asked the same questions.
const SEED: u64 = 1;

pub fn run(run: &mut Run) -> Result<(), Error> {
    let Some(spec) = run.loaded.config.integration.clone() else {
        let gap = Observation {
            gaps: vec![not_configured("dynamic-test", "[integration]")],
            ..Observation::default()
        };
        let subjects = vec![run.tree_subject()];
        run.record(
            Stage::Integration,
            "dynamic-test",
            predicates::DYNAMIC_TEST,
            subjects,
            &observed(gap, []),
            &json!(null),
        )?;
        return Ok(());
    };
    run.started(Stage::Integration)?;
    composition(run)?;
    drive(run, &spec)
}

/// What really runs, held against what was built.
fn composition(run: &mut Run) -> Result<(), Error> {
    let built = run.artifacts();
    let mut observation = Observation::default();
    let mut processes = Vec::new();
    let mut subjects = vec![run.tree_subject()];
    for (name, running) in &run.started(Stage::Integration)?.services {
        let executable = running
            .child()
            .executable_digest()
            .map_err(|error| Error::failed("read what runs", error))?;
        let expected = running
            .artifact
            .as_ref()
            .and_then(|a| built.iter().find(|built| built.name == *a));
        observation.coverage.add("processes", 1, 1);
        subjects.push(Subject::new(name.clone(), executable));
        if expected.map(|built| built.digest) != Some(executable) {
            observation
                .findings
                .push(stranger(name, &executable, expected.map(|built| &built.digest)));
        }
        processes.push(json!({
            "service": name, "artifact": running.artifact, "expected": expected.map(|built| built.digest.hex()),
            "running": executable.hex(), "isolation": running.child().isolation().name(),
        }));
    }
    let predicate = observed(observation, [("processes", Value::from(processes))]);
    let config = json!({"check": "runtime"});
    run.record(
        Stage::Integration,
        "runtime",
        predicates::RUNTIME,
        subjects,
        &predicate,
        &config,
    )?;
    Ok(())
}

fn stranger(service: &str, running: &Digest, expected: Option<&Digest>) -> Finding {
    let rule = "runtime/other-executable";
    let expected = expected.map_or_else(
        || "no artifact of this attempt".to_owned(),
        |digest| format!("sha256:{digest}"),
    );
    Finding {
        id: FindingId::new(rule, service, "", 0),
        rule: rule.to_owned(),
        severity: Severity::Critical,
        message: format!("service `{service}` runs sha256:{running}, the build stage made {expected}"),
        span: None,
        route: None,
        component: None,
        fix: "start the service from `{artifact.NAME}`".to_owned(),
        suppressed: false,
        properties: Default::default(),
    }
}

fn drive(run: &mut Run, spec: &Integration) -> Result<(), Error> {
    let bytes = source::read(&run.tree, &spec.openapi)
        .map_err(|error| Error::failed("read the OpenAPI document", error))?
        .ok_or_else(|| {
            Error::usage(
                format!("`{}` is not in the tree", spec.openapi),
                "name the OpenAPI document in `integration.openapi`",
            )
        })?;
    let api = dast::load(&bytes, &spec.openapi).map_err(Error::Input)?;
    let components = inventory::of_tree(&run.tree)?.components;
    let requests_max = spec.requests_max.unwrap_or(REQUESTS_MAX);
    let roles = run.loaded.config.broker.roles.clone();
    let progress = run.progress.clone();
    let environment = run.started(Stage::Integration)?;
    let address = environment.services[&spec.service].address;
    let mut identities = vec![dast::Identity {
        name: "anonymous".to_owned(),
        headers: Vec::new(),
    }];
    for role in &spec.identities {
        let token = environment.token(role, &roles[role].policies)?;
        let header = ("authorization".to_owned(), format!("Bearer {}", token.expose()));
        identities.push(dast::Identity {
            name: role.clone(),
            headers: vec![header],
        });
    }
    let target = dast::Target {
        address,
        scope: dast::Scope::default(),
    };
    let options = dast::Options {
        seed: SEED,
        requests_max,
        timeout_ms: 10_000,
        components,
    };
    let tell = move |done: u64, total: u64| progress.doing(Stage::Integration, "driving the API", done, total);
    let report = run
        .runtime
        .block_on(dast::test(&api, &target, &identities, &options, Some(&tell)))
        .map_err(|error| Error::failed("test the running service", error))?;
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let digest = Digest::of(&bytes);
    let config = json!({"check": "dynamic-test", "openapi": digest, "requestsMax": requests_max, "seed": SEED, "identities": spec.identities});
    let mut subjects = vec![run.tree_subject()];
    subjects.extend(
        run.artifacts()
            .into_iter()
            .map(|built| Subject::new(built.name, built.digest)),
    );
    let facts = [
        ("requests", report.requests.into()),
        ("identities", (spec.identities.len() + 1).into()),
    ];
    let predicate = observed(report.observation, facts);
    run.record(
        Stage::Integration,
        "dynamic-test",
        predicates::DYNAMIC_TEST,
        subjects,
        &predicate,
        &config,
    )?;
    Ok(())
}
