//! `chaos study`: the runs of a study, each an ordinary experiment, in the order of a plan that is logged before the
//! first of them; and what they come to, folded from the log.
//!
//! A study that was killed goes on at the first place of which no run is logged. A place that has one keeps it, whatever
//! came of it: a second look after an unwelcome first would be a choice. Start reading at [`study`].

use std::path::{Path, PathBuf};

use chaos::study::{Study, analyse};
use chaos::{Expect, Experiment};
use evidence::predicates::{self, ChaosExperiment, StudyArm, StudyPlace, StudyPlan, StudyResult};
use evidence::{Context, Digest, Stage, Statement, Subject};
use serde_json::json;

use super::{Known, Opened, canonical, open, run_opened};
use crate::Error;
use crate::evidence_log::EvidenceLog;
use crate::release::{Options, keys_and_store};
use crate::store::Store;

/// What a study is called in the log: `study:FILE`.
const CHECK: &str = "study:";
/// So many runs in a row that came to nothing end a study: what is wrong won't mend itself.
const UNKNOWN_IN_ROW_MAX: usize = 3;

/// What a study would do, and how far it has come.
#[derive(Debug)]
pub struct Planned {
    pub plan: StudyPlan,
    /// Where the plan stands in the log; `None` where it has not begun.
    pub index: Option<u64>,
    /// Places that have a run.
    pub done: u64,
    /// Why it may not run, each in one line.
    pub objections: Vec<String>,
}

/// What a study came to.
#[derive(Debug)]
pub struct Studied {
    pub plan: StudyPlan,
    pub result: StudyResult,
    /// Where the result stands in the log; `None` while places are left.
    pub index: Option<u64>,
    /// Why it has not run to its end.
    pub stopped: Option<String>,
}

/// Reads a study and says what it would do. Nothing is run, and nothing logged.
pub fn plan(options: &Options, file: &Path) -> Result<Planned, Error> {
    let files = Files::read(options, file)?;
    let root = canonical(&options.tree)?;
    let (mut plan, mut index, mut done) = (files.plan()?, None, 0);
    if Store::exists(&root) {
        let (home, store, trust_root) = keys_and_store(options, &root)?;
        let log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
        if let Some((at, logged)) = begun(&log, &plan) {
            done = analyse(&logged, at, &runs(&log)).runs.len() as u64;
            (plan, index) = (logged, Some(at));
        }
    }
    let mut objections = Vec::new();
    for arm in [StudyArm::Treatment, StudyArm::Control] {
        let opened = files.arm(options, &plan, arm)?;
        objections.extend(Known::read(options, &opened)?.objections(&opened, options));
    }
    objections.sort();
    objections.dedup();
    Ok(Planned {
        plan,
        index,
        done,
        objections,
    })
}

/// Runs what is left of a study, and logs its result once nothing is.
pub fn study(options: &Options, file: &Path) -> Result<Studied, Error> {
    let files = Files::read(options, file)?;
    let (plan_index, plan) = begin(options, &files)?;
    let places = plan.places();
    let mut result = fold(options, &plan, plan_index)?;
    let left: Vec<StudyPlace> = places
        .iter()
        .filter(|place| {
            !result
                .runs
                .iter()
                .any(|run| (run.block, run.position) == (place.block, place.position))
        })
        .copied()
        .collect();
    let (mut unknown_in_row, mut stopped) = (0, None);
    for (number, place) in left.iter().enumerate() {
        options.progress.note(&format!(
            "run {} of {}: block {} of {}, {}",
            places.len() - left.len() + number + 1,
            places.len(),
            place.block + 1,
            plan.order.len(),
            place.arm.name()
        ));
        let opened = files.arm(options, &plan, place.arm)?;
        let objections = Known::read(options, &opened)?.objections(&opened, options);
        if !objections.is_empty() {
            stopped = Some(format!("it may not run: {}", objections.join("; ")));
            break;
        }
        let ran = run_opened(options, &opened, Some(*place))?;
        let unknown = !ran.evidence.unknown.is_empty();
        unknown_in_row = if unknown { unknown_in_row + 1 } else { 0 };
        if options.cancel.is_cancelled() {
            stopped = Some("it was stopped; the run that was under way counts as unknown".to_owned());
            break;
        }
        if unknown_in_row >= UNKNOWN_IN_ROW_MAX {
            stopped = Some(format!(
                "{unknown_in_row} runs in a row came to nothing: {}",
                ran.evidence.unknown.join("; ")
            ));
            break;
        }
    }
    result = fold(options, &plan, plan_index)?;
    let index = if result.missing == 0 {
        Some(conclude(options, &files, &plan, &result)?)
    } else {
        None
    };
    Ok(Studied {
        plan,
        result,
        index,
        stopped,
    })
}

/// The study's file and what it names, which lies beside it.
struct Files {
    study: Study,
    folder: PathBuf,
    treatment: Opened,
    control: Opened,
}

impl Files {
    fn read(options: &Options, file: &Path) -> Result<Files, Error> {
        let text = std::fs::read_to_string(file).map_err(|error| Error::io("read", file, &error))?;
        let study = Study::parse(&file.display().to_string(), &text).map_err(Error::Input)?;
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let treatment = open(options, &folder.join(&study.treatment))?;
        let control = open(options, &folder.join(study.control_file()))?;
        Ok(Files {
            study,
            folder,
            treatment,
            control,
        })
    }

    fn plan(&self) -> Result<StudyPlan, Error> {
        let plan = self.study.plan(&self.treatment.experiment, &self.control.experiment);
        plan.map_err(|objections| {
            Error::usage(
                format!("`{}` can't be judged: {}", self.study.path, objections.join("; ")),
                "`proofmark explain study` says what a study needs",
            )
        })
    }

    /// What a run of an arm runs: read again for each, and refused where it is no longer what the plan names.
    fn arm(&self, options: &Options, plan: &StudyPlan, arm: StudyArm) -> Result<Opened, Error> {
        let (file, planned) = match arm {
            StudyArm::Treatment => (self.study.treatment.as_str(), &plan.treatment),
            StudyArm::Control => (self.study.control_file(), &plan.control),
        };
        let mut opened = open(options, &self.folder.join(file))?;
        if opened.experiment.digest != planned.digest {
            return Err(Error::refused(
                format!(
                    "`{}` is no longer the experiment of the logged plan",
                    opened.experiment.path
                ),
                "put it back, or begin a new study with another seed",
            ));
        }
        if planned.sham {
            nothing_injected(&mut opened.experiment);
        }
        Ok(opened)
    }
}

/// The same watch over the same steady state, with nothing to notice; nothing is expected of it.
fn nothing_injected(experiment: &mut Experiment) {
    experiment.faults.clear();
    experiment.expect = Expect::default();
}

/// The plan as it is logged, and where: logged now where it wasn't. It is found by what it was made from, so that a
/// newer version, whose power table may differ in a digit, goes on with the old plan.
fn begin(options: &Options, files: &Files) -> Result<(u64, StudyPlan), Error> {
    let plan = files.plan()?;
    let root = canonical(&options.tree)?;
    let (home, store, trust_root) = keys_and_store(options, &root)?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
    if let Some(begun) = begun(&log, &plan) {
        return Ok(begun);
    }
    // Nothing that may not run is announced.
    for arm in [StudyArm::Treatment, StudyArm::Control] {
        let opened = files.arm(options, &plan, arm)?;
        let objections = Known::of(&log, &opened).objections(&opened, options);
        if !objections.is_empty() {
            return Err(Error::refused(
                format!("`{}` may not run: {}", opened.experiment.path, objections.join("; ")),
                "`proofmark chaos study FILE --plan` shows it without running",
            ));
        }
    }
    let statement = statement(options, files, predicates::STUDY_PLAN, &plan, plan.canonical_digest());
    let index = log.record(&statement, (options.clock)())?;
    Ok((index, plan))
}

fn begun(log: &EvidenceLog, plan: &StudyPlan) -> Option<(u64, StudyPlan)> {
    log.statements().find_map(|(index, statement)| {
        let logged = statement.predicate_as::<StudyPlan>(predicates::STUDY_PLAN)?;
        let same = logged.digest == plan.digest
            && logged.treatment.digest == plan.treatment.digest
            && logged.control.digest == plan.control.digest;
        same.then_some((index, logged))
    })
}

fn runs(log: &EvidenceLog) -> Vec<(u64, ChaosExperiment)> {
    log.statements()
        .filter_map(|(index, statement)| {
            let run = statement.predicate_as::<ChaosExperiment>(predicates::CHAOS)?;
            Some((index, run))
        })
        .collect()
}

fn fold(options: &Options, plan: &StudyPlan, plan_index: u64) -> Result<StudyResult, Error> {
    let (home, store, trust_root) = keys_and_store(options, &canonical(&options.tree)?)?;
    let log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
    Ok(analyse(plan, plan_index, &runs(&log)))
}

/// Logs the result, once: a study that is asked again answers what the log has.
fn conclude(options: &Options, files: &Files, plan: &StudyPlan, result: &StudyResult) -> Result<u64, Error> {
    let (home, store, trust_root) = keys_and_store(options, &canonical(&options.tree)?)?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
    let logged = log.statements().find_map(|(index, statement)| {
        let logged = statement.predicate_as::<StudyResult>(predicates::STUDY_RESULT)?;
        (logged == *result).then_some(index)
    });
    if let Some(index) = logged {
        return Ok(index);
    }
    let statement = statement(
        options,
        files,
        predicates::STUDY_RESULT,
        result,
        plan.canonical_digest(),
    );
    log.record(&statement, (options.clock)())
}

fn statement(
    options: &Options,
    files: &Files,
    predicate: &str,
    value: &impl serde::Serialize,
    plan: Digest,
) -> Statement {
    let context = Context {
        attempt: plan,
        stage: Stage::Staging,
        check: format!("{CHECK}{}", files.study.path),
        config: Digest::of(&evidence::to_canonical(&json!({"check": "study"}))),
        at: (options.clock)().utc,
    };
    let subject = Subject::new(files.study.path.clone(), files.study.digest);
    Statement::new(predicate, vec![subject], value, &context)
}
