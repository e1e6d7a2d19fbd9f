//! # stage/staging
//! Is an attack noticed, contained and recovered from?
//!
//! ## What it does
//! Runs the chaos experiments of the configuration against the running services, one after the other: steady state,
//! fault, detection, containment, recovery, each measured; the undo, or the declared way forward, is durable before
//! anything is injected. After experiments that failed the playbook of `staging.playbook` runs, and what it did is
//! recorded as an incident. It changes no verdict.
//!
//! ## Why it matters
//! A control that was never seen to work is a hope. Detection that nobody measured is one too.
//!
//! ## Example
//! `[staging] experiments = ["experiments/revoke-ledger.toml"], playbook = "playbooks/contain.json"`
//!
//! ## What to do instead
//! Make the service refuse what was revoked at once, log that it did, and lease again by itself.
//!
//! ## References
//! NIST CSF 2.0 DE.CM, RS.MI, RC.RP; MITRE ATT&CK T1078 (valid accounts).

use std::sync::Arc;
use std::time::Duration;

use chaos::{BoxFuture, CredentialRef, Experiment, Observing, ServiceAnswer, ServiceRequest};
use credentials::Accessor;
use evidence::predicates::{self, ChaosExperiment};
use evidence::{Digest, Now, Observation, Outcome, Stage, Subject};
use host::process::Cancel;
use net::http::Request;
use net::proxy::Applied;
use serde_json::json;
use telemetry::SigmaRules;

use crate::Error;
use crate::chaos::Switch;
use crate::chaos::declared::{planted, run_id};
use crate::config::Role;
use crate::environment::{Environment, ask};
use crate::observers::Observers;
use crate::playbooks::incident::{self, Cause};
use crate::run::{Clock, Random, Run};
use crate::stages::commit::observed;
use crate::stages::not_configured;

pub fn run(run: &mut Run) -> Result<(), Error> {
    let Some(spec) = run.loaded.config.staging.clone() else {
        let gap = Observation {
            gaps: vec![not_configured("experiments", "[staging]")],
            ..Observation::default()
        };
        let subjects = vec![run.tree_subject()];
        run.record(
            Stage::Staging,
            "experiment:none",
            predicates::CHAOS,
            subjects,
            &observed(gap, []),
            &json!(null),
        )?;
        return Ok(());
    };
    run.started(Stage::Staging)?;
    let mut failed = Vec::new();
    for (index, path) in spec.experiments.iter().enumerate() {
        let total = spec.experiments.len() as u64;
        let experiment = load(run, path)?;
        run.progress
            .doing(Stage::Staging, &experiment.title, index as u64, total);
        let rules = rules(run, &experiment)?;
        let result = perform(run, path, &experiment, &rules)?;
        if chaos::outcome(&result) == Outcome::Fail {
            failed.push((path.clone(), result));
        }
    }
    match &spec.playbook {
        Some(playbook) if !failed.is_empty() => respond(run, playbook, &failed),
        _ => Ok(()),
    }
}

/// Once, and after the last experiment: none is measured on a system that was helped.
fn respond(run: &mut Run, playbook: &str, failed: &[(String, ChaosExperiment)]) -> Result<(), Error> {
    let notes = failed.iter().flat_map(|(_, result)| result.notes.iter().cloned());
    let cause = Cause {
        stage: Stage::Staging,
        checks: failed.iter().map(|(path, _)| format!("experiment:{path}")).collect(),
        reason: notes.collect::<Vec<_>>().join("; "),
        rollout: None,
    };
    let incident = incident::respond(run, playbook, &cause, None)?;
    incident::record(run, Stage::Staging, &incident)?;
    Ok(())
}

/// Reads an experiment file of the tree.
pub fn load(run: &Run, path: &str) -> Result<Experiment, Error> {
    let bytes = source::read(&run.tree, path)
        .map_err(|error| Error::failed("read an experiment", error))?
        .ok_or_else(|| {
            Error::usage(
                format!("experiment `{path}` is not in the tree"),
                "look at `staging.experiments`",
            )
        })?;
    Experiment::parse(path, &String::from_utf8_lossy(&bytes)).map_err(Error::Input)
}

/// The Sigma rules an experiment's detectors name.
fn rules(run: &Run, experiment: &Experiment) -> Result<SigmaRules, Error> {
    let mut files = Vec::new();
    for path in experiment.rule_paths() {
        let bytes = source::read(&run.tree, &path)
            .map_err(|error| Error::failed("read a detection rule", error))?
            .ok_or_else(|| {
                Error::usage(
                    format!("detection rule `{path}` is not in the tree"),
                    "look at the experiment's detectors",
                )
            })?;
        files.push((path, bytes));
    }
    SigmaRules::load(&files).map_err(Error::Input)
}

fn perform(run: &mut Run, path: &str, experiment: &Experiment, rules: &SigmaRules) -> Result<ChaosExperiment, Error> {
    let journal = Arc::clone(&run.journal);
    let environment = run
        .environment
        .as_ref()
        .ok_or_else(|| Error::failed("run an experiment", "no environment"))?;
    environment.ready_to_attack()?;
    let attacked = Attacked {
        environment,
        roles: &run.loaded.config.broker.roles,
        settings: &run.loaded.chaos,
        clock: Arc::clone(&run.clock),
        random: Arc::clone(&run.random),
        cancel: run.cancel.clone(),
        observers: {
            let _runtime = run.runtime.enter();
            Observers::start(&run.loaded.chaos.observers, &run.clock, &run.random)?
        },
    };
    let switch = Switch::watch(&run.store.path, run.loaded.chaos.kill_switch.as_deref(), &run.cancel)?;
    let result = run.runtime.block_on(chaos::run(experiment, rules, &attacked, &journal));
    drop(switch);
    let result = match result {
        Ok(result) => result,
        Err(_) if run.cancel.is_cancelled() => return Err(Error::Cancelled),
        Err(error) => return Err(Error::failed(&format!("run `{path}`"), error)),
    };
    if run.cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    let config = json!({"check": "experiment", "digest": result.digest, "rules": rules_digest(run, experiment)?});
    let mut subjects = vec![run.tree_subject()];
    subjects.extend(
        run.artifacts()
            .into_iter()
            .map(|built| Subject::new(built.name, built.digest)),
    );
    run.record(
        Stage::Staging,
        &format!("experiment:{path}"),
        predicates::CHAOS,
        subjects,
        &result,
        &config,
    )?;
    Ok(result)
}

fn rules_digest(run: &Run, experiment: &Experiment) -> Result<Digest, Error> {
    let mut hasher = Digest::hasher();
    for path in experiment.rule_paths() {
        let bytes = source::read(&run.tree, &path).map_err(|error| Error::failed("read a detection rule", error))?;
        hasher.update(&Digest::of(&bytes.unwrap_or_default()).0);
    }
    Ok(hasher.finish())
}

/// Our environment as an experiment sees it. Revoked values stay in the broker's memory; only handles leave it.
struct Attacked<'a> {
    environment: &'a Environment,
    roles: &'a std::collections::BTreeMap<String, Role>,
    settings: &'a chaos::Settings,
    clock: Clock,
    random: Random,
    cancel: Cancel,
    observers: Observers,
}

impl Attacked<'_> {
    fn bearer(&self, request: &ServiceRequest) -> Result<Option<String>, String> {
        if let Some(CredentialRef(accessor)) = &request.credential {
            let secret = self.environment.broker.value_of(&Accessor(accessor.clone()));
            let secret = secret.ok_or("the credential is not known any more")?;
            return Ok(Some(secret.expose().to_owned()));
        }
        let Some(role) = &request.identity else { return Ok(None) };
        let policies = &self
            .roles
            .get(role)
            .ok_or_else(|| format!("no broker role `{role}`"))?
            .policies;
        let secret = self
            .environment
            .token(role, policies)
            .map_err(|error| error.to_string())?;
        Ok(Some(secret.expose().to_owned()))
    }
}

impl chaos::Environment for Attacked<'_> {
    fn opted_in(&self) -> bool {
        // It was started for this, on loopback, and dies with the release.
        true
    }

    /// The lowest rung: nothing comes before it.
    fn objections(&self, experiment: &Experiment) -> Vec<String> {
        let circumstances = chaos::Circumstances {
            now: self.now().utc,
            history: &[],
            given: chaos::Given::default(),
            runbooks: std::collections::BTreeSet::new(),
        };
        chaos::objections(self.settings, experiment, &circumstances)
    }

    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let running = self.environment.services.get(&request.service);
            let address = running
                .ok_or_else(|| format!("no service `{}`", request.service))?
                .address;
            let mut headers: Vec<_> = request.run.iter().map(|run| planted(run)).collect();
            if let Some(token) = self.bearer(request)? {
                headers.push(("authorization".to_owned(), format!("Bearer {token}")));
            }
            if !request.body.is_empty() {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            let sent = Request {
                method: request.method.clone(),
                path: request.path.clone(),
                headers,
                body: request.body.clone(),
            };
            let (answer, elapsed) = ask(address, sent).await?;
            Ok(ServiceAnswer {
                status: answer.status,
                body: answer.body,
                elapsed,
            })
        })
    }

    fn revoke<'a>(&'a self, role: &'a str, policy: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async move { Ok(handles(self.environment.broker.revoke(role, policy, self.now()))) })
    }

    fn active<'a>(&'a self, role: &'a str, policy: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async move { handles(self.environment.broker.active(role, policy, self.now())) })
    }

    fn toxics<'a>(&'a self, link: &'a str, toxics: Vec<Applied>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            self.environment
                .worker
                .set(link, toxics)
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn read_toxics<'a>(&'a self, link: &'a str) -> BoxFuture<'a, Result<Vec<Applied>, String>> {
        Box::pin(async move {
            self.environment
                .worker
                .get(link)
                .await
                .map_err(|error| error.to_string())
        })
    }

    fn arm<'a>(&'a self, deadline: Duration) -> BoxFuture<'a, Result<(), String>> {
        let warden = &self.environment.warden;
        let armed = warden.arm(deadline, self.settings.kill_switch.as_deref());
        Box::pin(async move { armed.map_err(|error| error.to_string()) })
    }

    fn disarm<'a>(&'a self) -> BoxFuture<'a, ()> {
        // A warden that is gone enforces nothing.
        let _ = self.environment.warden.disarm();
        Box::pin(async {})
    }

    fn poll_logs(&self, now: Duration) -> Vec<telemetry::Event> {
        self.environment
            .tail
            .lock()
            .map(|mut tail| tail.poll(now))
            .unwrap_or_default()
    }

    fn observing(&self) -> Option<&dyn Observing> {
        Some(&self.observers)
    }

    fn entities(&self) -> Vec<String> {
        let services = self.environment.services.keys();
        services.chain(self.roles.keys()).cloned().collect()
    }

    fn run_id(&self) -> [u8; 16] {
        run_id(&self.random)
    }

    fn now(&self) -> Now {
        (self.clock)()
    }

    fn cancelled(&self) -> bool {
        self.cancel.is_cancelled() || self.settings.freeze_at(self.now().utc).is_some()
    }

    fn why_cancelled(&self) -> String {
        match self.settings.freeze_at(self.now().utc) {
            Some(freeze) => format!("stopped: the freeze `{}` has begun", freeze.name),
            None => "stopped before everything was known".to_owned(),
        }
    }
}

fn handles(accessors: Vec<Accessor>) -> Vec<CredentialRef> {
    accessors
        .into_iter()
        .map(|accessor| CredentialRef(accessor.0))
        .collect()
}
