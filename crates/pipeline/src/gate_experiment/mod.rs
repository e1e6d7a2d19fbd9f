//! `chaos gates`: plants known-bad commits, dependencies and artifacts in a throwaway branch, runs the real gates on
//! each, and counts what they miss: false negatives with a denominator.
//!
//! The tree, its repository and the user's keys are only read; what the experiment came to is logged in the tree's own
//! store as one statement. Each plant is judged alone: the clone and its log are back in the clean state before the
//! next. It deliberately knows no gate: it calls `release` as a user does, and reads the verdict.
//!
//! Start reading at [`run`]; what is planted stands in `plants/`, one file each.

pub(crate) mod ground;
mod throwaway;

use std::path::Path;
use std::sync::Arc;

use evidence::predicates::{self, GateExperiment, NotPlanted, PlantResult, PlantRun};
use evidence::{Context, Digest, Outcome, Reason, Role, Stage, Statement, Subject};
use serde_json::json;

pub use ground::{Blocks, Entry};

use crate::evidence_log::EvidenceLog;
use crate::progress::Progress;
use crate::release::keys_and_store;
use crate::release::{Options, fresh_folder, load_config, recover, release, temporary_path};
use crate::report::Report;
use crate::run::remove_folder;
use crate::{Error, plants};
use ground::{Ground, Plan, Planting};
use throwaway::Throwaway;

/// What is asked for beside the usual.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Plants by id, with or without `plant/`; empty: all of them.
    pub only: Vec<String>,
    pub seed: u64,
}

/// What an experiment came to.
#[derive(Debug)]
pub struct Ran {
    pub name: String,
    pub version: String,
    /// Why the clean tree did not pass, and where: then nothing was planted.
    pub unclean: Option<Unclean>,
    /// How long the clean tree took.
    pub clean_seconds: f64,
    /// How long each plant took, in the order of `evidence.plants`.
    pub seconds: Vec<f64>,
    pub evidence: GateExperiment,
    /// 95 % Wilson interval of the share that was missed; `None` where nothing was planted.
    pub interval: Option<statistics::Interval>,
    /// Where it stands in the log.
    pub index: Option<u64>,
    /// Why it does not stand there.
    pub unlogged: Option<String>,
}

/// The clean tree did not pass.
#[derive(Debug)]
pub struct Unclean {
    pub stage: Stage,
    pub reasons: Vec<Reason>,
}

impl Ran {
    /// Pass when nothing was missed; a plant that no gate decided on, and nothing planted at all, prove nothing.
    pub fn outcome(&self) -> Outcome {
        let open = self.unclean.is_some()
            || self.evidence.planted() == 0
            || self.evidence.planted() < self.evidence.plants.len() as u64;
        match (self.evidence.missed() > 0, open) {
            (true, _) => Outcome::Fail,
            (false, true) => Outcome::Indeterminate,
            (false, false) => Outcome::Pass,
        }
    }
}

/// Every plant there is, in order of id.
pub fn plants() -> &'static [Entry] {
    plants::ALL
}

/// The plant of an id, with or without `plant/`.
pub fn plant(id: &str) -> Option<&'static Entry> {
    let id = id.strip_prefix("plant/").unwrap_or(id);
    plants::ALL.iter().find(|entry| entry.id == id)
}

/// The page of a plant, as `explain` prints it.
pub fn page(id: &str) -> Option<&'static str> {
    plants::PAGES
        .iter()
        .find(|(known, _)| *known == id)
        .map(|(_, page)| *page)
}

/// Runs the experiment. Nothing of it is left when this returns but the statement in the log.
pub fn run(options: &Options, asked: &Asked) -> Result<Ran, Error> {
    let chosen = chosen(&asked.only)?;
    let (root, loaded) = load_config(&options.tree)?;
    let (home, store, trust_root) = keys_and_store(options, &root)?;
    let journal = recover(&store, options)?;
    let folder = temporary_path(&format!("gates-{}", store.id))?;
    fresh_folder(&journal, &folder)?;
    let ran = experiment(options, asked, &chosen, &root, &trust_root, &journal, &folder);
    let removed = remove_folder(&folder).and_then(|()| {
        journal
            .scratch_removed(&folder)
            .map_err(|error| Error::failed("close the undo journal", error))
    });
    let mut ran = ran?;
    removed?;
    ran.name = loaded.config.release.name;
    ran.version = loaded.config.release.version;
    if ran.unclean.is_none() && !ran.evidence.plants.is_empty() {
        let allowed = trust_root
            .allow
            .iter()
            .any(|allow| allow.role == Role::Step && allow.predicates.iter().any(|name| name == predicates::GATES));
        if allowed {
            let mut log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
            ran.index = Some(record(options, &mut log, &ran.evidence)?);
        } else {
            ran.unlogged = Some(format!(
                "the trust root lets the role `step` sign no `{}`: it was made before there was one",
                predicates::GATES
            ));
        }
    }
    Ok(ran)
}

fn chosen(only: &[String]) -> Result<Vec<&'static Entry>, Error> {
    if only.is_empty() {
        return Ok(plants::ALL.iter().collect());
    }
    let mut chosen: Vec<&'static Entry> = Vec::new();
    for id in only {
        let entry = plant(id).ok_or_else(|| {
            let meant = crate::config::nearest(id, plants::ALL.iter().map(|entry| entry.id));
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!(
                    "known are {}",
                    plants::ALL.iter().map(|entry| entry.id).collect::<Vec<_>>().join(", ")
                ),
            };
            Error::usage(format!("no plant is called `{id}`"), hint)
        })?;
        if chosen.iter().all(|other| other.id != entry.id) {
            chosen.push(entry);
        }
    }
    Ok(chosen)
}

fn experiment(
    options: &Options,
    asked: &Asked,
    chosen: &[&'static Entry],
    root: &Path,
    trust_root: &evidence::TrustRoot,
    journal: &chaos::UndoJournal,
    folder: &Path,
) -> Result<Ran, Error> {
    options.progress.doing(Stage::Commit, "cloning the repository", 0, 0);
    let throwaway = Throwaway::make(folder, root, &options.cancel)?;
    let digest = throwaway.digest()?;
    let (_, loaded) = load_config(&throwaway.tree)?;
    let (plantings, not_applicable) = plan(chosen, &throwaway.tree, &loaded, asked.seed)?;
    let id = throwaway.make_keys(&trust_root.floor, &mut || (options.random)())?;
    // A release of the clone makes this folder, and knows only its own journal: a kill must not leave it.
    let temporary = temporary_path(&id)?;
    journal
        .register_scratch(&temporary)
        .map_err(|error| Error::failed("open the undo journal", error))?;
    let upto = plantings.iter().map(|(entry, _)| entry.stage).max();
    let mut ran = Ran {
        name: String::new(),
        version: String::new(),
        unclean: None,
        clean_seconds: 0.0,
        seconds: Vec::new(),
        evidence: GateExperiment {
            tree: digest,
            configuration: loaded.digest,
            policy: trust_root.policy_digest(),
            seed: asked.seed.to_string(),
            clean: upto.unwrap_or(Stage::Commit),
            plants: Vec::new(),
            not_applicable,
        },
        interval: None,
        index: None,
        unlogged: None,
    };
    if let Some(upto) = upto {
        let begun = (options.clock)().boottime;
        let clean = release(throwaway.options(options, upto, relay(options, "nothing planted", 0, plantings.len())))?;
        ran.clean_seconds = (options.clock)().boottime.saturating_sub(begun).as_secs_f64();
        if clean.0.outcome == Outcome::Pass {
            throwaway.keep()?;
            for (number, (entry, planting)) in plantings.iter().enumerate() {
                let begun = (options.clock)().boottime;
                let said = relay(options, entry.id, number, plantings.len());
                ran.evidence
                    .plants
                    .push(one(options, &throwaway, entry, planting, number, &said)?);
                ran.seconds
                    .push((options.clock)().boottime.saturating_sub(begun).as_secs_f64());
            }
            ran.interval = statistics::wilson(ran.evidence.missed(), ran.evidence.planted());
        } else {
            ran.unclean = Some(Unclean {
                stage: clean.0.lines.last().map_or(Stage::Commit, |line| line.stage),
                reasons: clean.0.reasons_shown(),
            });
        }
    }
    remove_folder(&temporary)?;
    journal
        .scratch_removed(&temporary)
        .map_err(|error| Error::failed("close the undo journal", error))?;
    Ok(ran)
}

type Planned = (Vec<(&'static Entry, Planting)>, Vec<NotPlanted>);

/// What there is to plant in a tree, in the order of stages so that the cheap ones come first.
fn plan(chosen: &[&'static Entry], tree: &Path, loaded: &crate::config::Loaded, seed: u64) -> Result<Planned, Error> {
    let failed = |error: source::SourceError| Error::failed("read the tree", error);
    let walked = source::walk(tree, &source::WalkOptions::default()).map_err(failed)?;
    let text = source::read(&walked, crate::config::FILE)
        .map_err(failed)?
        .unwrap_or_default();
    let paths: Vec<String> = walked.files.iter().map(|file| file.path.clone()).collect();
    let ground = Ground {
        paths: &paths,
        read: &|path| source::read(&walked, path).ok().flatten(),
        config: &loaded.config,
        text: &String::from_utf8_lossy(&text),
        seed,
    };
    let (mut plantings, mut not_applicable) = (Vec::new(), Vec::new());
    for entry in chosen {
        for plan in (entry.plan)(&ground) {
            match plan {
                Plan::Plant(planting) => plantings.push((*entry, planting)),
                Plan::NotHere { variant, reason } => not_applicable.push(NotPlanted {
                    plant: entry.id.to_owned(),
                    variant,
                    reason,
                }),
            }
        }
    }
    plantings.sort_by_key(|(entry, _)| entry.stage);
    Ok((plantings, not_applicable))
}

/// Plants one, and asks the gates.
fn one(
    options: &Options,
    throwaway: &Throwaway,
    entry: &Entry,
    planting: &Planting,
    number: usize,
    said: &Arc<dyn Progress>,
) -> Result<PlantRun, Error> {
    throwaway.reset()?;
    throwaway.plant(&format!("{}-{number}", entry.id), &planting.commits)?;
    let upto = |stage| throwaway.options(options, stage, Arc::clone(said));
    let answer = match planting.tamper {
        None => release(upto(entry.stage)),
        Some(tamper) => {
            let before = Stage::ALL.into_iter().rfind(|stage| *stage < entry.stage);
            let (report, _) = release(upto(before.unwrap_or(Stage::Commit)))?;
            if report.outcome != Outcome::Pass {
                return Err(Error::failed(
                    &format!("plant `{}`", entry.id),
                    "the clean tree passed a moment ago, and doesn't now",
                ));
            }
            throwaway.tamper(tamper)?;
            release(upto(entry.stage))
        }
    };
    let answered = answer_of(answer.map(|(report, _)| report), entry.blocks)?;
    Ok(PlantRun {
        plant: entry.id.to_owned(),
        variant: planting.variant.clone(),
        what: planting.what.clone(),
        stage: entry.stage,
        expected: entry.blocks.name().to_owned(),
        result: answered.result,
        by: answered.by,
        stopped: answered.stopped,
        undecided: answered.undecided,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Answered {
    result: PlantResult,
    by: Vec<String>,
    stopped: Option<Stage>,
    undecided: bool,
}

/// Reads a release's end as the answer to a plant. An error of the tool is no answer.
fn answer_of(answer: Result<Report, Error>, blocks: Blocks) -> Result<Answered, Error> {
    let without = |result, by: Vec<String>| Answered {
        result,
        by,
        stopped: None,
        undecided: false,
    };
    Ok(match answer {
        Ok(report) if report.outcome == Outcome::Pass => without(PlantResult::Missed, Vec::new()),
        Ok(report) => {
            let mut by: Vec<String> = report
                .reasons()
                .map(|reason| {
                    reason
                        .control
                        .strip_prefix("control/")
                        .unwrap_or(&reason.control)
                        .to_owned()
                })
                .collect();
            by.sort();
            by.dedup();
            let expected = by.iter().any(|control| control == blocks.name());
            Answered {
                result: if expected {
                    PlantResult::Caught
                } else {
                    PlantResult::CaughtElsewhere
                },
                by,
                stopped: report.lines.last().map(|line| line.stage),
                undecided: report.outcome == Outcome::Indeterminate,
            }
        }
        Err(Error::Cancelled) => return Err(Error::Cancelled),
        Err(error @ Error::Refused { .. }) => {
            let result = match blocks {
                Blocks::Refusal => PlantResult::Caught,
                Blocks::Control(_) => PlantResult::CaughtElsewhere,
            };
            without(result, vec!["refusal".to_owned(), error.to_string()])
        }
        Err(Error::Input(problems)) => {
            let mut by: Vec<String> = problems.into_iter().map(|problem| problem.code).collect();
            by.sort();
            by.dedup();
            without(PlantResult::CaughtElsewhere, by)
        }
        Err(error @ Error::Failed { .. }) => without(PlantResult::NotJudged, vec![error.to_string()]),
    })
}

fn record(options: &Options, log: &mut EvidenceLog, evidence: &GateExperiment) -> Result<u64, Error> {
    let now = (options.clock)();
    let context = Context {
        attempt: evidence.tree,
        stage: Stage::Commit,
        check: "chaos:gates".to_owned(),
        config: Digest::of(&evidence::to_canonical(&json!({"check": "chaos-gates"}))),
        at: now.utc,
    };
    let subject = vec![Subject::new("tree", evidence.tree)];
    log.record(&Statement::new(predicates::GATES, subject, evidence, &context), now)
}

/// Says what is planted beside what is being done; the releases of the clone say nothing of their own.
struct Relay {
    to: Arc<dyn Progress>,
    plant: String,
    number: u64,
    of: u64,
}

fn relay(options: &Options, plant: &str, number: usize, of: usize) -> Arc<dyn Progress> {
    Arc::new(Relay {
        to: Arc::clone(&options.progress),
        plant: plant.to_owned(),
        number: number as u64,
        of: of as u64,
    })
}

impl Progress for Relay {
    fn header(&self, _: &str) {}

    fn doing(&self, stage: Stage, what: &str, _: u64, _: u64) {
        self.to
            .doing(stage, &format!("{}: {what}", self.plant), self.number, self.of);
    }

    fn decided(&self, _: &crate::report::StageLine) {}

    fn note(&self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_plant_is_found_by_its_id_and_expects_a_control_that_exists() {
        let ids: BTreeSet<&str> = plants().iter().map(|entry| entry.id).collect();
        assert_eq!(ids.len(), plants().len());
        for entry in plants() {
            assert!(page(&format!("plant/{}", entry.id)).is_some(), "{}", entry.id);
            assert!(!entry.fix.is_empty(), "{}", entry.id);
            if let Blocks::Control(id) = entry.blocks {
                let control = policy::controls().iter().find(|control| control.id == id);
                assert!(
                    control.is_some_and(|control| control.stages.contains(&entry.stage)),
                    "{}",
                    entry.id
                );
            }
        }
    }

    #[test]
    fn only_names_plants_that_exist() {
        assert_eq!(
            chosen(&["plant/secret-token".to_owned(), "secret-token".to_owned()])
                .unwrap()
                .len(),
            1
        );
        assert!(chosen(&["secret-tokn".to_owned()]).is_err());
        assert_eq!(chosen(&[]).unwrap().len(), plants().len());
    }

    #[test]
    fn how_a_release_ended_is_the_answer() {
        let answer = |error, blocks| answer_of(Err(error), blocks).map(|answered| answered.result);
        let refused = || Error::refused("changed", "");
        assert_eq!(answer(refused(), Blocks::Refusal).unwrap(), PlantResult::Caught);
        assert_eq!(
            answer(refused(), Blocks::Control("no-secrets")).unwrap(),
            PlantResult::CaughtElsewhere
        );
        // An error of the tool is no block that anybody could rely on.
        let failed = Error::failed("write", "no space left");
        assert_eq!(answer(failed, Blocks::Refusal).unwrap(), PlantResult::NotJudged);
        assert!(answer(Error::Cancelled, Blocks::Refusal).is_err());
    }
}
