//! # stage/production
//! Does the new version behave?
//!
//! ## What it does
//! Starts the last promoted version beside the new one behind a weighted router, sends real traffic, and compares
//! errors and latency with a test that is valid whenever it is looked at. It promotes, halts or stays undecided; after
//! a halt the weight goes back to zero, and that is read back; then the playbook of `production.playbook` runs, and what
//! it did is recorded as an incident. It changes no verdict.
//!
//! ## Why it matters
//! Some faults show only under load and beside the version they replace.
//!
//! ## Example
//! `[production] service = "storefront", weights = [10, 50], error_margin = 0.01, playbook = "playbooks/halt.json"`
//!
//! ## What to do instead
//! Look at the errors of the new arm first: the service's log names them. When traffic was too little to decide, raise
//! `requests_max`.
//!
//! ## References
//! Wasserman, Ramdas, Balakrishnan: Universal inference (2020); Google SRE workbook, canarying releases.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use canary::{Action, ArmName, Comparator, Limits, Rollout};
use evidence::predicates::{self, CanaryRun, Incident, VerificationSummary};
use evidence::{Digest, Observation, Outcome, Stage, Subject};
use net::http::Request;
use net::load::{self, Plan};
use net::router::{Arm, Router, RouterLimits};
use serde_json::json;

use crate::config::Production;
use crate::environment::Running;
use crate::playbooks::incident::{self, Cause};
use crate::run::Run;
use crate::stages::build::build_artifact;
use crate::stages::commit::observed;
use crate::stages::not_configured;
use crate::{Error, inventory};

const ALPHA: f64 = 0.05;
const BASELINE_SECONDS: u64 = 1800;
/// Requests sent between two looks at the comparator, and how many at once.
const BATCH: u64 = 200;
const CONCURRENCY: usize = 4;
/// Requests each weight must have seen before the next.
const REQUESTS_PER_WEIGHT: u64 = 200;
const OLD: &str = "old";
const NEW: &str = "new";

pub fn run(run: &mut Run) -> Result<(), Error> {
    let Some(spec) = run.loaded.config.production.clone() else {
        let gap = Observation {
            gaps: vec![not_configured("canary", "[production]")],
            ..Observation::default()
        };
        let subjects = vec![run.tree_subject()];
        run.record(
            Stage::Production,
            "canary",
            predicates::CANARY,
            subjects,
            &observed(gap, []),
            &json!(null),
        )?;
        return Ok(());
    };
    run.started(Stage::Production)?;
    let new = new_digest(run, &spec)?;
    let old = old_version(run, &spec, new)?;
    let (result, incident) = match &old {
        Some(old) => compare(run, &spec, new, old)?,
        None => (without_old(new), None),
    };
    let config = json!({
        "check": "canary", "alpha": ALPHA, "errorMargin": spec.error_margin, "slowMargin": spec.slow_margin,
        "slowMs": spec.slow_ms, "weights": spec.weights, "requestsMax": spec.requests_max,
    });
    let mut subjects = vec![run.tree_subject(), Subject::new(NEW, new)];
    subjects.extend(old.map(|old| Subject::new(OLD, old.digest)));
    run.record(
        Stage::Production,
        "canary",
        predicates::CANARY,
        subjects,
        &result,
        &config,
    )?;
    if let Some(incident) = incident {
        incident::record(run, Stage::Production, &incident)?;
    }
    Ok(())
}

/// The version that is replaced.
struct Old {
    digest: Digest,
    source: String,
}

fn new_digest(run: &Run, spec: &Production) -> Result<Digest, Error> {
    let environment = run
        .environment
        .as_ref()
        .and_then(|environment| environment.services.get(&spec.service));
    let artifact = environment.and_then(|running| running.artifact.clone());
    let built = run.artifacts();
    let digest = built
        .iter()
        .find(|built| Some(&built.name) == artifact.as_ref())
        .map(|built| built.digest);
    digest.ok_or_else(|| {
        Error::usage(
            format!("service `{}` doesn't run an artifact of this release", spec.service),
            "begin its command with `{artifact.NAME}`",
        )
    })
}

/// The last promoted artifact whose digest differs from the new one, else the baseline of the configuration.
fn old_version(run: &mut Run, spec: &Production, new: Digest) -> Result<Option<Old>, Error> {
    let promoted = run.log.statements().rev().find_map(|(index, statement)| {
        let canary: CanaryRun = statement.predicate_as(predicates::CANARY)?;
        let context = statement.context()?;
        let usable = canary.decision == "promote" && canary.new != new && passed(run, context.attempt);
        usable.then_some((index, canary.new))
    });
    if let Some((index, digest)) = promoted
        && run.store.blob(&digest)?.is_some()
    {
        return Ok(Some(Old {
            digest,
            source: format!("promoted (log index {index})"),
        }));
    }
    let Some(baseline) = spec.baseline.clone() else {
        return Ok(None);
    };
    if let Some(digest) = built_before(run)? {
        return Ok(Some(Old {
            digest,
            source: format!("baseline {}", baseline.version),
        }));
    }
    let inventory = inventory::of_tree(&run.tree)?;
    let seconds = baseline.timeout_seconds.unwrap_or(BASELINE_SECONDS);
    let name = format!("{}-baseline", spec.service);
    let built = build_artifact(
        run,
        Stage::Production,
        "baseline",
        &name,
        &baseline.run,
        &baseline.path,
        seconds,
        &inventory,
    )?;
    Ok(built.filter(|digest| *digest != new).map(|digest| Old {
        digest,
        source: format!("baseline {}", baseline.version),
    }))
}

/// Whether the gate of production let an attempt pass: a promotion that it blocked promoted nothing.
fn passed(run: &Run, attempt: Digest) -> bool {
    run.log.statements().any(|(_, statement)| {
        let own = statement
            .context()
            .is_some_and(|c| c.attempt == attempt && c.stage == Stage::Production);
        let summary = statement
            .predicate_as::<VerificationSummary>(predicates::VSA)
            .filter(|_| own);
        summary.is_some_and(|summary| summary.verdict.outcome == Outcome::Pass)
    })
}

/// A baseline that an earlier attempt built from the very same tree.
fn built_before(run: &Run) -> Result<Option<Digest>, Error> {
    for (_, statement) in run.log.statements().rev() {
        let baseline = statement.context().is_some_and(|context| context.check == "baseline");
        let tree = &statement.predicate["buildDefinition"]["resolvedDependencies"][0]["digest"]["sha256"];
        if !baseline || tree.as_str() != Some(&run.tree_digest.hex()) {
            continue;
        }
        if let Some(digest) = statement.examined().next().and_then(Subject::sha256)
            && run.store.blob(&digest)?.is_some()
        {
            return Ok(Some(digest));
        }
    }
    Ok(None)
}

fn without_old(new: Digest) -> CanaryRun {
    CanaryRun {
        old: None,
        old_source: "none".to_owned(),
        new,
        decision: "undecided".to_owned(),
        reason: "there is no older version to compare with".to_owned(),
        arms: Default::default(),
        worse: Default::default(),
        not_worse: Default::default(),
        alpha: ALPHA,
        limits: Default::default(),
        final_weight: 0,
    }
}

fn compare(run: &Run, spec: &Production, new: Digest, old: &Old) -> Result<(CanaryRun, Option<Incident>), Error> {
    let environment = run
        .environment
        .as_ref()
        .ok_or_else(|| Error::failed("compare versions", "no environment"))?;
    let beside: Running = environment.start_beside(run, &spec.service, &old.digest)?;
    is_running(&beside, OLD, old.digest)?;
    is_running(&environment.services[&spec.service], NEW, new)?;
    let plan = requests(run, spec)?;
    let arms = vec![
        Arm {
            name: OLD.to_owned(),
            address: beside.address,
        },
        Arm {
            name: NEW.to_owned(),
            address: environment.services[&spec.service].address,
        },
    ];
    let listener = net::loopback_listener().map_err(|error| Error::failed("open a port on loopback", error))?;
    let guard = run.runtime.enter();
    let router = Router::start(listener, arms, 1, RouterLimits::default());
    drop(guard);
    let traffic = Traffic {
        run,
        spec,
        router: &router,
        plan,
        beside: &beside,
        old: old.digest,
    };
    let result = traffic.roll_out(new, old).and_then(|result| {
        let incident = respond(&traffic, &result)?;
        Ok((result, incident))
    });
    run.runtime.block_on(router.stop());
    drop(beside);
    result
}

/// What the playbook does about a halt, while both versions still stand. What was compared is decided by then.
fn respond(traffic: &Traffic<'_>, result: &CanaryRun) -> Result<Option<Incident>, Error> {
    let Some(playbook) = traffic.spec.playbook.as_ref().filter(|_| result.decision == "halt") else {
        return Ok(None);
    };
    let cause = Cause {
        stage: Stage::Production,
        checks: vec!["canary".to_owned()],
        reason: result.reason.clone(),
        rollout: Some((traffic.spec.service.clone(), result.new, traffic.old)),
    };
    incident::respond(traffic.run, playbook, &cause, Some(traffic)).map(Some)
}

/// An arm counts only when its process really runs the bytes it stands for.
fn is_running(running: &Running, arm: &str, digest: Digest) -> Result<(), Error> {
    let executable = running
        .child()
        .executable_digest()
        .map_err(|error| Error::failed("read what runs", error))?;
    if executable == digest {
        return Ok(());
    }
    Err(Error::refused(
        format!("the {arm} version runs sha256:{executable} instead of sha256:{digest}"),
        "begin the service's command with `{artifact.NAME}`, and let nothing replace it",
    ))
}

fn requests(run: &Run, spec: &Production) -> Result<Vec<Request>, Error> {
    let environment = run
        .environment
        .as_ref()
        .ok_or_else(|| Error::failed("send traffic", "no environment"))?;
    let roles = &run.loaded.config.broker.roles;
    spec.request
        .iter()
        .map(|request| {
            let mut headers = Vec::new();
            if let Some(role) = &request.identity {
                let token = environment.token(role, &roles[role].policies)?;
                headers.push(("authorization".to_owned(), format!("Bearer {}", token.expose())));
            }
            if request.body.is_some() {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            Ok(Request {
                method: request.method.clone(),
                path: request.path.clone(),
                headers,
                body: request.body.clone().unwrap_or_default().into_bytes(),
            })
        })
        .collect()
}

struct Traffic<'a> {
    run: &'a Run,
    spec: &'a Production,
    router: &'a Router,
    plan: Vec<Request>,
    beside: &'a Running,
    old: Digest,
}

impl incident::Rollout for Traffic<'_> {
    fn service(&self) -> &str {
        &self.spec.service
    }

    fn address(&self) -> SocketAddr {
        self.router.address()
    }

    fn weigh(&self, new: u32) -> Result<(), Error> {
        Traffic::weigh(self, new)
    }

    fn weight(&self) -> u32 {
        Traffic::weight(self)
    }

    fn old_stands(&self) -> Result<(), Error> {
        is_running(self.beside, OLD, self.old)
    }
}

impl Traffic<'_> {
    fn roll_out(&self, new: Digest, old: &Old) -> Result<CanaryRun, Error> {
        let limits = Limits {
            alpha: ALPHA,
            error_margin: self.spec.error_margin,
            slow_margin: self.spec.slow_margin,
            requests_max: self.spec.requests_max,
        };
        let mut comparator = Comparator::new(limits);
        let mut rollout = Rollout::new(self.spec.weights.clone(), REQUESTS_PER_WEIGHT).map_err(|error| {
            Error::usage(
                format!("`production.weights`: {error}"),
                "give rising weights from 1 to 99",
            )
        })?;
        let mut at_weight = 0;
        let mut sent = 0;
        let outcome = loop {
            if self.run.cancel.is_cancelled() {
                self.weigh(0)?;
                return Err(Error::Cancelled);
            }
            match rollout.next(&comparator.decision(), at_weight) {
                Action::SetWeight(weight) => {
                    self.weigh(weight)?;
                    at_weight = 0;
                }
                Action::Wait => {
                    let seen = self.batch(&mut comparator)?;
                    at_weight += seen;
                    sent += seen;
                    self.run
                        .progress
                        .doing(Stage::Production, "comparing old and new", sent, self.spec.requests_max);
                }
                Action::ReadBack(_) => match rollout.read_back(self.weight()) {
                    Action::Done(outcome) => break outcome,
                    Action::SetWeight(weight) => self.weigh(weight)?,
                    Action::Wait | Action::ReadBack(_) => {}
                },
                Action::Done(outcome) => break outcome,
            }
        };
        let decision = comparator.decision();
        let (worse, not_worse) = comparator.evidence();
        Ok(CanaryRun {
            old: Some(old.digest),
            old_source: old.source.clone(),
            new,
            decision: outcome.name().to_owned(),
            reason: decision.reason().to_owned(),
            arms: comparator.arms(),
            worse,
            not_worse,
            alpha: ALPHA,
            limits: BTreeMap::from([
                ("error_margin".to_owned(), self.spec.error_margin),
                ("slow_margin".to_owned(), self.spec.slow_margin),
                ("slow_ms".to_owned(), self.spec.slow_ms as f64),
            ]),
            final_weight: self.weight(),
        })
    }

    fn weigh(&self, new: u32) -> Result<(), Error> {
        let weights = [(OLD.to_owned(), 100 - new), (NEW.to_owned(), new)];
        self.router
            .set_weights(&weights)
            .map_err(|error| Error::failed("set the router's weights", error))
    }

    fn weight(&self) -> u32 {
        self.router
            .weights()
            .into_iter()
            .find(|(name, _)| name == NEW)
            .map_or(0, |(_, weight)| weight)
    }

    /// Sends a batch through the router and shows the comparator what each arm answered.
    fn batch(&self, comparator: &mut Comparator) -> Result<u64, Error> {
        let plan = Plan {
            requests: self.plan.clone(),
            rate_per_second: None,
            concurrency: CONCURRENCY,
            requests_max: BATCH,
        };
        let cancel = self.run.cancel.clone();
        let stop = move || cancel.is_cancelled();
        self.run
            .runtime
            .block_on(load::drive(self.router.address(), plan, &stop, &|_| {}));
        let slow_us = self.spec.slow_ms * 1_000;
        let samples = self.router.drain();
        for sample in &samples {
            let arm = if sample.arm == NEW { ArmName::New } else { ArmName::Old };
            comparator.observe(arm, sample.error, sample.elapsed_us > slow_us, sample.elapsed_us);
        }
        if samples.is_empty() && !self.run.cancel.is_cancelled() {
            // Traffic that reaches nobody decides nothing: don't wait for it for ever.
            return Err(Error::failed("send traffic", "no request reached the router"));
        }
        Ok(samples.len() as u64)
    }
}
