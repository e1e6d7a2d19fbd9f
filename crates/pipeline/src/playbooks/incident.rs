//! Response within a release: a playbook of the tree, its actions bound to this release's rollout, broker, services,
//! links and artifacts; what it did is evidence.
//!
//! It deliberately changes no verdict: it runs once the checks of its stage are done, and no control reads what it
//! recorded. Its commands for bash see neither keys nor store, and write only to the release's temporary files.
//!
//! Start reading at [`respond`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use ::playbooks::{HostActuators, Inputs, Playbook, RunRecord, RunStatus, Word};
use credentials::Accessor;
use evidence::predicates::{self, Incident, IncidentAction, IncidentStep};
use evidence::{Digest, Role, Stage, Subject, TrustRoot};
use host::process::Wanted;
use net::proxy::{Applied, Direction, Toxic};
use serde_json::json;

use super::words::{Act, Acts};
use super::{Opened, approval, digest_of, failed, library_playbooks, run_on};
use crate::config::Config;
use crate::environment::Environment;
use crate::run::Run;
use crate::{Error, TOOL};

/// The toxic of a link that was cut here.
const CUT: &str = "playbook-cut";
/// What a release tells a playbook, as values of its external variables.
const TOLD: [&str; 6] = [
    "__release__",
    "__check__",
    "__incident__",
    "__service__",
    "__new__",
    "__old__",
];

/// What a playbook answers to.
pub struct Cause {
    pub stage: Stage,
    /// Checks of this attempt.
    pub checks: Vec<String>,
    pub reason: String,
    /// The service that is rolled out, and its versions.
    pub rollout: Option<(String, Digest, Digest)>,
}

/// The rollout of this release, while old and new stand side by side.
pub trait Rollout: Sync {
    fn service(&self) -> &str;
    /// Where users' requests arrive.
    fn address(&self) -> SocketAddr;
    /// Sets the new version's share of traffic, per cent.
    fn weigh(&self, new: u32) -> Result<(), Error>;
    /// The same, read back from the router.
    fn weight(&self) -> u32;
    /// Whether the old version really runs.
    fn old_stands(&self) -> Result<(), Error>;
}

/// Reads the playbooks that a configuration names, before anything is done: one that is broken is not found out by an
/// incident.
pub fn check(tree: &source::Tree, config: &Config, root: &TrustRoot) -> Result<(), Error> {
    let named = [
        (config.staging.as_ref().and_then(|stage| stage.playbook.as_ref()), false),
        (
            config.production.as_ref().and_then(|stage| stage.playbook.as_ref()),
            true,
        ),
    ];
    for (file, rollout) in named.into_iter().filter_map(|(file, rollout)| Some((file?, rollout))) {
        let playbook = load(tree, file)?;
        let told = |name: &str| TOLD[..if rollout { 6 } else { 3 }].contains(&name);
        let inputs = playbook.inputs();
        if let Some((name, ..)) = inputs.iter().find(|(name, given, _)| !given && !told(name)) {
            return Err(Error::usage(
                format!("`{file}` wants a value for `{name}`, and a release has none"),
                format!("give it one in the playbook; a release knows {}", TOLD.join(", ")),
            ));
        }
    }
    let signs = |allow: &evidence::Allowance| {
        allow.role == Role::Step && allow.predicates.iter().any(|name| name == predicates::INCIDENT)
    };
    if named.iter().any(|(file, _)| file.is_some()) && !root.allow.iter().any(signs) {
        return Err(Error::usage(
            format!(
                "a playbook is named, and the trust root lets role `step` sign no `{}`",
                predicates::INCIDENT
            ),
            "add it to the trust root's `allow`, or name no playbook",
        ));
    }
    Ok(())
}

fn load(tree: &source::Tree, file: &str) -> Result<Playbook, Error> {
    let bytes = source::read(tree, file)
        .map_err(|error| Error::failed("read a playbook", error))?
        .ok_or_else(|| Error::usage(format!("playbook `{file}` is not in the tree"), "look at `playbook`"))?;
    let refused = |what: String| Error::usage(what, format!("proofmark playbook check {file}"));
    let playbook = Playbook::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|report| refused(format!("playbook `{file}` can't be run\n{report}")))?;
    match playbook.limits().first() {
        None => Ok(playbook),
        Some(limit) => Err(refused(format!(
            "playbook `{file}`: {}: {}",
            limit.path, limit.sentence
        ))),
    }
}

/// Runs a playbook on what this release has running, and records what it did.
pub fn respond(run: &Run, file: &str, cause: &Cause, rollout: Option<&dyn Rollout>) -> Result<Incident, Error> {
    let playbook = load(&run.tree, file)?;
    run.progress
        .doing(cause.stage, &format!("responding: {}", playbook.name()), 0, 0);
    let environment = run
        .environment
        .as_ref()
        .ok_or_else(|| Error::failed("run a playbook", "no environment"))?;
    let within = Within {
        run,
        environment,
        rollout,
        revoked: Mutex::default(),
        acted: Mutex::default(),
    };
    let opened = Opened::of(&run.root)?;
    let inputs = inputs(run, &playbook, cause, &opened)?;
    let host = HostActuators {
        folder: run.root.clone(),
        environment: environment_of(run),
        hide: run.hidden(),
        writable: Some(vec![run.temporary.clone()]),
        isolation: Wanted::BestEffort,
        hosts: BTreeSet::new(),
        library: library_playbooks(),
        runtime: run.runtime.handle().clone(),
        clock: run.clock.clone(),
        cancel: run.cancel.clone(),
    };
    // That it could not be run to its end is part of what happened.
    let record = run_on(&playbook, &inputs, host, &within, &opened);
    let (outcome, notes, steps) = told(record);
    Ok(Incident {
        causes: cause.checks.clone(),
        reason: cause.reason.clone(),
        playbook: file.to_owned(),
        name: playbook.name().to_owned(),
        digest: *playbook.digest(),
        run: inputs.run,
        outcome: outcome.to_owned(),
        notes,
        steps,
        actions: within.acted.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// Signs and logs what a playbook did.
pub fn record(run: &mut Run, stage: Stage, incident: &Incident) -> Result<u64, Error> {
    let config = json!({"check": "incident", "playbook": incident.digest});
    let mut subjects = vec![
        run.tree_subject(),
        Subject::new(incident.playbook.clone(), incident.digest),
    ];
    let built = run.artifacts().into_iter();
    subjects.extend(built.map(|built| Subject::new(built.name, built.digest)));
    run.record(stage, "incident", predicates::INCIDENT, subjects, incident, &config)
}

fn environment_of(run: &Run) -> BTreeMap<String, String> {
    let path = std::env::var("PATH").unwrap_or_default();
    BTreeMap::from([
        ("PATH".to_owned(), path),
        ("TMPDIR".to_owned(), run.temporary.display().to_string()),
    ])
}

/// A run of its own each time: what an earlier process did to an earlier environment is not done in this one.
fn inputs(run: &Run, playbook: &Playbook, cause: &Cause, opened: &Opened) -> Result<Inputs, Error> {
    let prefix = format!("{}-{}-", run.attempt_digest.short(), cause.stage);
    let known = opened.store.list().map_err(failed)?;
    let number = 1 + known.iter().filter(|known| known.run.starts_with(&prefix)).count();
    let (service, new, old) = match &cause.rollout {
        Some((service, new, old)) => (Some(service.clone()), Some(new.hex()), Some(old.hex())),
        None => (None, None, None),
    };
    let values = [
        Some(run.attempt_digest.hex()),
        Some(cause.checks.join(", ")),
        Some(cause.reason.clone()),
        service,
        new,
        old,
    ];
    let told: BTreeMap<&str, Option<String>> = TOLD.into_iter().zip(values).collect();
    let wanted = playbook.inputs().into_iter();
    let variables = wanted.filter_map(|(name, ..)| Some((name.to_owned(), told.get(name)?.clone()?)));
    Ok(Inputs {
        run: format!("{prefix}{number}"),
        variables: variables.collect(),
        secrets: BTreeMap::new(),
    })
}

fn told(record: Result<RunRecord, Error>) -> (&'static str, Vec<String>, Vec<IncidentStep>) {
    let record = match record {
        Ok(record) => record,
        Err(error) => return ("failed", vec![error.to_string()], Vec::new()),
    };
    let (outcome, notes) = match record.status {
        RunStatus::Succeeded => ("succeeded", Vec::new()),
        RunStatus::Failed { reason } => ("failed", vec![reason]),
        RunStatus::Waiting(places) => ("waiting", places.into_iter().map(|place| place.instructions).collect()),
    };
    let steps = record.units.into_iter().map(|unit| IncidentStep {
        step: unit.name,
        by: unit.by.unwrap_or_else(|| TOOL.to_owned()),
        began: unit.began,
        changed: unit.changed,
        outcome: unit.state,
    });
    (outcome, notes, steps.collect())
}

/// What happened, for people: a line, and one for each thing that was done or is left.
pub fn lines(incident: &Incident, index: u64) -> Vec<String> {
    let steps = incident.steps.len();
    let head = format!(
        "incident: {} → playbook `{}` {}, {steps} step{}",
        incident.causes.join(", "),
        incident.name,
        incident.outcome,
        if steps == 1 { "" } else { "s" },
    );
    let did = incident.actions.iter().map(|action| match action.ok {
        true => format!("did: {}", action.answer),
        false => format!("failed: {}", action.answer),
    });
    let left = incident
        .notes
        .iter()
        .map(|note| format!("{}: {note}", incident.outcome));
    let proof = format!("proof: log index {index}");
    std::iter::once(head).chain(did).chain(left).chain([proof]).collect()
}

/// The actions of a playbook on what a release has running.
struct Within<'a> {
    run: &'a Run,
    environment: &'a Environment,
    rollout: Option<&'a dyn Rollout>,
    /// Leases that this playbook took away.
    revoked: Mutex<Vec<Accessor>>,
    acted: Mutex<Vec<IncidentAction>>,
}

impl Acts for Within<'_> {
    fn act(&self, act: Act<'_>) -> Result<String, String> {
        let done = self.done(act);
        let said = match &done {
            Ok(said) | Err(said) => said.clone(),
        };
        self.acted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(IncidentAction {
                at: self.run.now().utc,
                command: act.to_string(),
                ok: done.is_ok(),
                answer: said,
            });
        done
    }

    fn vouched(&self, word: &Word) -> bool {
        approval::stands(word, &self.run.log, self.run.now().utc)
    }

    /// A service by its name; the one that is rolled out where its users reach it.
    fn address(&self, host: &str) -> Option<SocketAddr> {
        match self.rollout {
            Some(rollout) if rollout.service() == host => Some(rollout.address()),
            _ => Some(self.environment.services.get(host)?.address),
        }
    }
}

impl Within<'_> {
    fn done(&self, act: Act<'_>) -> Result<String, String> {
        match act {
            Act::Freeze { release } => {
                let rollout = self.rollout_of(release)?;
                self.weigh(rollout, rollout.weight())
            }
            Act::RollBack { release } => {
                let rollout = self.rollout_of(release)?;
                rollout.old_stands().map_err(|error| error.to_string())?;
                self.weigh(rollout, 0)
            }
            Act::Resume { .. } => Err("only a gate lets a halted version on, in a new release".to_owned()),
            Act::Leases { role } => Ok(format!(
                "{} leases of `{role}` are alive",
                self.alive(role, None)?.len()
            )),
            Act::Refused { role } => {
                let alive = self.alive(role, None)?;
                Ok(self.revoked().iter().all(|gone| !alive.contains(gone)).to_string())
            }
            Act::Revoke { role, policy } => self.revoke(role, policy),
            Act::Rotate { role, policy } => self.rotate(role, policy),
            Act::Cut { of } => self.set_links(of, true),
            Act::Clear { of } => self.set_links(of, false),
            Act::Restart { service } => self
                .environment
                .restart(self.run, service)
                .map_err(|error| error.to_string()),
            Act::Restore { digest, place } => self.restore(digest, place),
            Act::Stop | Act::Undo => Err("a release undoes by itself what it injected".to_owned()),
        }
    }

    /// The rollout that a playbook means by an attempt's digest, the release's name or the service's.
    fn rollout_of(&self, release: &str) -> Result<&dyn Rollout, String> {
        let rollout = self.rollout.ok_or("nothing is rolled out in this stage")?;
        let attempt = self.run.attempt_digest;
        let names = [
            &attempt.hex(),
            &attempt.short(),
            &self.run.attempt.name,
            rollout.service(),
        ];
        if names.contains(&release) {
            Ok(rollout)
        } else {
            Err(format!(
                "`{release}` is not what is rolled out here: that is {}",
                attempt.short()
            ))
        }
    }

    fn weigh(&self, rollout: &dyn Rollout, weight: u32) -> Result<String, String> {
        let before = rollout.weight();
        rollout.weigh(weight).map_err(|error| error.to_string())?;
        let after = rollout.weight();
        let said =
            format!("weight of the new version {before} → {after} per cent, read back; the old one has the rest");
        if after == weight { Ok(said) } else { Err(said) }
    }

    fn revoked(&self) -> std::sync::MutexGuard<'_, Vec<Accessor>> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The policies of a role that are meant.
    fn policies(&self, role: &str, policy: Option<&str>) -> Result<Vec<String>, String> {
        let roles = &self.run.loaded.config.broker.roles;
        let known = roles
            .get(role)
            .ok_or_else(|| format!("the broker has no role `{role}`"))?;
        match policy {
            None => Ok(known.policies.clone()),
            Some(policy) if known.policies.iter().any(|own| own == policy) => Ok(vec![policy.to_owned()]),
            Some(policy) => Err(format!("role `{role}` has no policy `{policy}`")),
        }
    }

    fn alive(&self, role: &str, policy: Option<&str>) -> Result<BTreeSet<Accessor>, String> {
        let now = self.run.now();
        let broker = &self.environment.broker;
        let policies = self.policies(role, policy)?;
        Ok(policies
            .iter()
            .flat_map(|policy| broker.active(role, policy, now))
            .collect())
    }

    fn revoke(&self, role: &str, policy: Option<&str>) -> Result<String, String> {
        let broker = &self.environment.broker;
        let policies = self.policies(role, policy)?;
        let gone = policies
            .iter()
            .flat_map(|policy| broker.revoke(role, policy, self.run.now()));
        let gone: BTreeSet<Accessor> = gone.collect();
        self.revoked().extend(gone.iter().cloned());
        // A service may have leased anew by now: what was taken away is what must be gone.
        let alive = self.alive(role, policy)?;
        match gone.intersection(&alive).count() {
            0 => Ok(format!(
                "{} leases of `{role}` revoked, none of them alive, read back",
                gone.len()
            )),
            left => Err(format!("{left} of {} revoked leases of `{role}` are alive", gone.len())),
        }
    }

    fn rotate(&self, role: &str, policy: Option<&str>) -> Result<String, String> {
        let said = self.revoke(role, policy)?;
        for policy in self.policies(role, policy)? {
            let leased = self.environment.token(role, &[policy]);
            leased.map_err(|error| error.to_string())?;
        }
        let alive = self.alive(role, policy)?;
        let fresh = alive.difference(&self.revoked().iter().cloned().collect()).count();
        match fresh {
            0 => Err(format!("{said}; nothing was leased anew")),
            _ => Ok(format!("{said}; leased anew")),
        }
    }

    /// The links that a name means: one of that name, or all to and from a service.
    fn links(&self, of: &str) -> Result<Vec<String>, String> {
        let environment = self.run.loaded.config.environment.iter();
        let services = environment.flat_map(|environment| &environment.local.services);
        let links = services.flat_map(|(from, spec)| spec.links.iter().map(move |to| (from, to)));
        let meant = links.map(|(from, to)| (format!("{from}-{to}"), from, to));
        let meant: Vec<String> = meant
            .filter(|(link, from, to)| [link.as_str(), from.as_str(), to.as_str()].contains(&of))
            .map(|(link, ..)| link)
            .collect();
        if meant.is_empty() {
            return Err(format!("`{of}` is neither a link nor a service with links"));
        }
        Ok(meant)
    }

    fn set_links(&self, of: &str, cut: bool) -> Result<String, String> {
        let toxics = || match cut {
            true => vec![Applied::new(CUT, Toxic::Reset { after_ms: 0 }, Direction::Up)],
            false => Vec::new(),
        };
        let (links, worker) = (self.links(of)?, &self.environment.worker);
        for link in &links {
            let set = async {
                worker.set(link, toxics()).await?;
                worker.get(link).await
            };
            let back = self.run.runtime.block_on(set).map_err(|error| error.to_string())?;
            if back != toxics() {
                return Err(format!("link `{link}` has other faults than were set"));
            }
        }
        let state = if cut { "cut" } else { "clear" };
        Ok(format!("links {state}, read back: {}", links.join(", ")))
    }

    /// Puts an artifact's bytes back where services are started from.
    fn restore(&self, digest: &str, name: &str) -> Result<String, String> {
        let artifacts = self.run.artifacts();
        let built = artifacts.iter().find(|built| built.name == name);
        let built = built.ok_or_else(|| format!("this release has no artifact `{name}`"))?;
        // A playbook of the tree can't know what will be built of the tree.
        let digest = if digest == "built" {
            built.digest
        } else {
            digest_of(digest)?
        };
        let path = self.run.materialise(name, &digest).map_err(|error| error.to_string())?;
        let back = std::fs::read(&path).map_err(|error| error.to_string())?;
        if Digest::of(&back) == digest {
            Ok(format!("artifact `{name}` is sha256:{digest}, read back"))
        } else {
            Err(format!("artifact `{name}` was written and is not sha256:{digest}"))
        }
    }
}
