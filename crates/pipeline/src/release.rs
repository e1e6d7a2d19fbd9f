//! `release`: takes one attempt through its stages, each decided by the gate before the next begins.
//!
//! This process is the supervisor: it holds keys, log and broker. A release that was killed goes on with the same
//! attempt where its last logged verdict left it; what was injected then is undone before anything else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chaos::UndoJournal;
use evidence::predicates::{self, Attempt, Incident, VerificationSummary};
use evidence::{ControlSpec, Digest, Now, Outcome, Stage, TrustRoot, Verdict};
use host::process::Cancel;
use serde_json::json;

use crate::config::{self, Loaded};
use crate::evidence_log::EvidenceLog;
use crate::home::Home;
use crate::playbooks::incident;
use crate::progress::Progress;
use crate::report::{Report, StageLine};
use crate::run::{Clock, Random, Run, remove_folder};
use crate::store::{self, Store};
use crate::{Error, bundle, gate, metrics, stages};

/// What a release is told from outside.
pub struct Options {
    /// Folder of `proofmark.toml`.
    pub tree: PathBuf,
    /// The last stage to take it to.
    pub upto: Stage,
    /// `$PROOFMARK_HOME`.
    pub home: PathBuf,
    pub clock: Clock,
    pub random: Random,
    pub progress: Arc<dyn Progress>,
    pub cancel: Cancel,
    /// This program, to be started again as worker and warden.
    pub program: PathBuf,
}

/// Runs a release to its verdict. The answer is the report and the path of the bundle.
pub fn release(options: Options) -> Result<(Report, PathBuf), Error> {
    let upto = options.upto;
    let mut run = begin(options)?;
    let outcome = stages_of(&mut run, upto);
    let stopped = run.environment.take();
    if let Some(environment) = stopped {
        environment.stop(&run.runtime);
    }
    let finished = outcome.and_then(|(lines, verdicts)| conclude(&run, upto, lines, verdicts));
    run.clear_scratch()?;
    finished
}

/// Reads the configuration of a tree.
pub fn load_config(tree: &Path) -> Result<(PathBuf, Loaded), Error> {
    let root = std::fs::canonicalize(tree).map_err(|error| Error::io("open", tree, &error))?;
    let path = root.join(config::FILE);
    let text = std::fs::read_to_string(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::usage(
            format!("there is no `{}` in `{}`", config::FILE, tree.display()),
            format!("proofmark init {}", tree.display()),
        ),
        _ => Error::io("read", &path, &error),
    })?;
    let shown = tree.join(config::FILE).display().to_string();
    let mut loaded = config::parse(shown.trim_start_matches("./"), &text).map_err(Error::Input)?;
    loaded.chaos = loaded.chaos.below(&root);
    Ok((root, loaded))
}

pub(crate) fn begin(options: Options) -> Result<Run, Error> {
    let (root, loaded) = load_config(&options.tree)?;
    let (home, store, trust_root) = keys_and_store(&options, &root)?;
    let now = (options.clock)();
    let journal = recover(&store, &options)?;
    let log = EvidenceLog::open(&store, &home, trust_root, now)?;
    for note in &log.recovered {
        options.progress.note(note);
    }
    journal
        .register_scratch(&store.scratch_path())
        .map_err(|error| Error::failed("open the undo journal", error))?;
    let temporary = temporary_folder(&store, &journal)?;
    let scratch = store.scratch()?;
    options.progress.doing(Stage::Commit, "reading the tree", 0, 0);
    let tree = source::walk(&root, &source::WalkOptions::default()).map_err(|e| Error::failed("read the tree", e))?;
    let tree_digest = source::tree_digest(&tree).map_err(|error| Error::failed("read the tree", error))?;
    refuse_past(&log, now)?;
    incident::check(&tree, &loaded.config, &log.root)?;
    let head = source::head(&root);
    refuse_committed_store(&root)?;
    let mut added = loaded.controls.clone();
    added.push(judges(&tree, &loaded)?);
    let controls = policy::effective(&log.root.floor, &added).map_err(Error::Input)?;
    let wanted = Attempt {
        name: loaded.config.release.name.clone(),
        version: loaded.config.release.version.clone(),
        commit: head.as_ref().map(|head| head.commit.clone()),
        tree: tree_digest,
        configuration: loaded.digest,
        policy: gate::policy_digest(&log.root),
        trust_root: log.root.digest(),
        previous: last_promoted(&log),
        number: 1 + attempts(&log).count() as u64,
        controls,
        expected: stages::expected(&loaded.config),
    };
    let unfinished = unfinished(&log, &store, &wanted);
    let resumed = unfinished.is_some();
    let attempt = unfinished.unwrap_or(wanted);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start the runtime", error))?;
    let mut run = Run {
        tree_digest,
        tree,
        attempt_digest: attempt.digest(),
        attempt,
        repository: head.map(|head| repository_root(&root, &head.prefix)),
        root,
        loaded,
        log,
        store,
        home: home.path,
        program: options.program,
        clock: options.clock,
        random: options.random,
        progress: options.progress,
        cancel: options.cancel,
        scratch,
        temporary,
        journal,
        runtime,
        changed_by_step: false,
        environment: None,
    };
    announce(&mut run, resumed)?;
    Ok(run)
}

/// Keys, store and trust root of a tree, made where there are none.
pub(crate) fn keys_and_store(options: &Options, root: &Path) -> Result<(Home, Store, TrustRoot), Error> {
    let (home, trust_root) = keys(options, root)?;
    let store = Store::open(root, &mut || (options.random)())?;
    Ok((home, store, trust_root))
}

/// The log of a store, to look something up beside whoever writes it: without its lock, and without a change.
pub(crate) fn read_log(options: &Options, root: &Path) -> Result<EvidenceLog, Error> {
    let (home, trust_root) = keys(options, root)?;
    EvidenceLog::read(&Store::read_only(root)?, &home, trust_root, (options.clock)())
}

fn keys(options: &Options, root: &Path) -> Result<(Home, TrustRoot), Error> {
    let home = Home::at(options.home.clone(), Some(root))?;
    let mut random = || (options.random)();
    let (trust_root, made) = home.ensure(&mut random)?;
    if made {
        options.progress.note(&format!(
            "made keys and a self-signed trust root in {}",
            home.path.display()
        ));
    }
    Ok((home, trust_root))
}

/// Undoes what a killed release left in a tree, and nothing more. The answer says line by line what was done.
pub fn undo(options: &Options) -> Result<(), Error> {
    let root = std::fs::canonicalize(&options.tree).map_err(|error| Error::io("open", &options.tree, &error))?;
    if !Store::exists(&root) {
        options
            .progress
            .note("nothing was ever injected here: there is no store");
        return Ok(());
    }
    if let Some(store) = Store::unwritable(&root)? {
        return undo_unrecorded(&store, options);
    }
    let store = Store::open(&root, &mut || (options.random)())?;
    recover(&store, options).map(|_| ())
}

/// Undoes what can be undone although the store can't be written, and says that it stays open there.
fn undo_unrecorded(store: &Store, options: &Options) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed("undo what an earlier release left", error);
    let undo = store.path.join("undo");
    chaos::process::wait_for_last_warden(&undo).map_err(|error| failed(&error))?;
    let journal = UndoJournal::open(store.part("undo")?).map_err(|error| failed(&error))?;
    let open = journal.pending().len();
    let recovered = journal
        .recover_at_start(&std::env::vars_os().collect::<Vec<_>>())
        .map_err(|error| failed(&error))?;
    for note in recovered.notes() {
        options.progress.note(&format!("left by an earlier run: {note}"));
    }
    if open == 0 {
        options
            .progress
            .note("the store can't be written, and nothing stands open in it");
        return Ok(());
    }
    let done = recovered.undone.len() + recovered.left.len();
    Err(Error::usage(
        format!(
            "`{}` can't be written: {done} of {open} undone, and that is not recorded",
            store.path.display()
        ),
        "make it writable and run `proofmark chaos undo` again: what is undone is looked at once more, which does no harm",
    ))
}

/// Closes an entry of the undo journal that a person answers for.
pub fn leave(options: &Options, entry: u64) -> Result<String, Error> {
    let root = std::fs::canonicalize(&options.tree).map_err(|error| Error::io("open", &options.tree, &error))?;
    let store = Store::open(&root, &mut || (options.random)())?;
    let failed = |error: &dyn std::fmt::Display| Error::failed("leave an entry of the undo journal", error);
    chaos::process::wait_for_last_warden(&store.path.join("undo")).map_err(|error| failed(&error))?;
    let journal = UndoJournal::open(store.part("undo")?).map_err(|error| failed(&error))?;
    let left = journal.leave(chaos::EntryId(entry)).map_err(|error| failed(&error))?;
    Ok(format!(
        "entry {entry}, `{}` of {}, is left as it is: {} was not done",
        left.fault, left.experiment, left.undo
    ))
}

/// Undoes what a killed release left, before anything else.
pub(crate) fn recover(store: &Store, options: &Options) -> Result<Arc<UndoJournal>, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::failed("undo what an earlier release left", error);
    // What the warden of a killed release still removes must not be ours.
    chaos::process::wait_for_last_warden(&store.path.join("undo")).map_err(|error| failed(&error))?;
    let journal = UndoJournal::open(store.part("undo")?).map_err(|error| failed(&error))?;
    let recovered = journal
        .recover_at_start(&std::env::vars_os().collect::<Vec<_>>())
        .map_err(|error| failed(&error))?;
    for note in recovered.notes() {
        options.progress.note(&format!("left by an earlier run: {note}"));
    }
    if let Some(problem) = recovered.failed.first() {
        return Err(Error::usage(
            problem.clone(),
            "make its target answer and run `proofmark chaos undo`; where it is gone for good or you have put it right by hand: `proofmark chaos undo --leave ENTRY`",
        ));
    }
    journal.compact().map_err(|error| failed(&error))?;
    store.clear_scratch()?;
    store.sweep()?;
    let random = Arc::clone(&options.random);
    let now = (options.clock)();
    let (_, closed) = credentials::Broker::open(store.part("leases")?, Vec::new(), now, Box::new(move || random()))
        .map_err(|error| failed(&error))?;
    if !closed.closed.is_empty() {
        options.progress.note(&format!(
            "closed {} leases of a release that was killed",
            closed.closed.len()
        ));
    }
    Ok(Arc::new(journal))
}

/// A folder for the temporary files of steps, made anew; it doesn't outlive the release.
fn temporary_folder(store: &Store, journal: &UndoJournal) -> Result<PathBuf, Error> {
    let path = temporary_path(&store.id)?;
    fresh_folder(journal, &path)?;
    Ok(path)
}

/// Where temporary files of `name` lie: in `TMPDIR`, outside every tree.
pub(crate) fn temporary_path(name: &str) -> Result<PathBuf, Error> {
    let base = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    let base = std::fs::canonicalize(&base).map_err(|error| Error::io("open", &base, &error))?;
    Ok(base.join(format!("proofmark-{name}")))
}

/// Makes a folder anew that only this user may enter. It stands in the undo journal first: whoever starts next
/// removes it, should this process be killed.
pub(crate) fn fresh_folder(journal: &UndoJournal, path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    journal
        .register_scratch(path)
        .map_err(|error| Error::failed("open the undo journal", error))?;
    remove_folder(path)?;
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| Error::io("create", path, &error))
}

/// What judges this release besides controls and their limits, one text each, for `controls-not-loosened`: whoever
/// takes one away, or exchanges it, makes a demand smaller.
fn judges(tree: &source::Tree, loaded: &Loaded) -> Result<ControlSpec, Error> {
    let config = &loaded.config;
    let digest = |path: &str| -> Result<String, Error> {
        let bytes = source::read(tree, path).map_err(|error| Error::failed("read the tree", error))?;
        Ok(bytes.map_or_else(|| "absent".to_owned(), |bytes| Digest::of(&bytes).hex()))
    };
    let mut judges = Vec::new();
    for step in &config.commit.step {
        let command = Digest::of(&evidence::to_canonical(&json!([step.run, step.report])));
        judges.push(format!("step {} {command}", step.name));
    }
    for path in config.staging.iter().flat_map(|staging| &staging.experiments) {
        judges.push(format!("experiment {path} {}", &digest(path)?));
        let text = source::read(tree, path)
            .map_err(|error| Error::failed("read the tree", error))?
            .unwrap_or_default();
        if let Ok(experiment) = chaos::Experiment::parse(path, &String::from_utf8_lossy(&text)) {
            for rule in experiment.rule_paths() {
                judges.push(format!("detection {rule} {}", digest(&rule)?));
            }
        }
    }
    if let Some(integration) = &config.integration {
        judges.extend(
            integration
                .identities
                .iter()
                .map(|identity| format!("identity {identity}")),
        );
        let document = source::read(tree, &integration.openapi).map_err(|e| Error::failed("read the tree", e))?;
        let api = document.and_then(|bytes| dast::load(&bytes, &integration.openapi).ok());
        for route in api.iter().flat_map(dast::Api::secured_routes) {
            judges.push(format!("secured {route}"));
        }
    }
    for request in config.production.iter().flat_map(|production| &production.request) {
        judges.push(format!("traffic {} {}", request.method, request.path));
    }
    if let Some(advisories) = &config.advisories {
        let prefix = format!("{}/", advisories.path);
        let records = tree
            .files
            .iter()
            .filter_map(|file| file.path.strip_prefix(&prefix)?.strip_suffix(".json"));
        judges.extend(records.map(|record| format!("advisory {record}")));
    }
    judges.sort();
    judges.dedup();
    Ok(ControlSpec {
        id: "controls-not-loosened".to_owned(),
        stage: Stage::Commit,
        parameters: [("judges".to_owned(), judges.into())].into(),
    })
}

/// A release that is judged in the past would find waivers and databases alive that have ended since.
fn refuse_past(log: &EvidenceLog, now: Now) -> Result<(), Error> {
    const SECONDS_MAX: i64 = 60;
    let newest = log
        .statements()
        .filter_map(|(_, statement)| Some(statement.context()?.at))
        .max();
    match newest {
        Some(newest) if newest.as_second() - now.utc.as_second() > SECONDS_MAX => Err(Error::usage(
            format!(
                "the log holds evidence of {newest}, which is later than now ({})",
                now.utc
            ),
            "give no `--as-of`, or a later one; or set the clock right",
        )),
        _ => Ok(()),
    }
}

/// A store in git is somebody else's: their log would speak for this tree.
fn refuse_committed_store(root: &Path) -> Result<(), Error> {
    let format = format!("{}/FORMAT", store::FOLDER);
    let committed = source::file_at_head(root, &format).map_err(|error| Error::failed("read the repository", error))?;
    match committed {
        None => Ok(()),
        Some(_) => Err(Error::usage(
            format!("`{}` is committed to git", store::FOLDER),
            format!("git rm -r --cached {} && git commit", store::FOLDER),
        )),
    }
}

fn repository_root(root: &Path, prefix: &str) -> PathBuf {
    let up = prefix.split('/').filter(|part| !part.is_empty()).count();
    root.ancestors().nth(up).unwrap_or(root).to_owned()
}

fn attempts(log: &EvidenceLog) -> impl DoubleEndedIterator<Item = Attempt> {
    log.statements()
        .filter_map(|(_, statement)| statement.predicate_as(predicates::ATTEMPT))
}

/// The attempt of the last verdict that let a release into production for good.
fn last_promoted(log: &EvidenceLog) -> Option<Digest> {
    log.statements().rev().find_map(|(_, statement)| {
        let context = statement.context()?;
        let summary: VerificationSummary = statement.predicate_as(predicates::VSA)?;
        let promoted = context.stage == Stage::Production && summary.verdict.outcome == Outcome::Pass;
        promoted.then_some(context.attempt)
    })
}

/// The last attempt, when it is of exactly these inputs and was never brought to its end.
fn unfinished(log: &EvidenceLog, store: &Store, wanted: &Attempt) -> Option<Attempt> {
    let last = attempts(log).next_back()?;
    let same = Attempt {
        previous: last.previous,
        number: last.number,
        ..wanted.clone()
    };
    // By digest: two spellings of one number are one number in canonical JSON.
    (same.digest() == last.digest() && !bundle::concluded(&store.path, &last.digest())).then_some(last)
}

fn announce(run: &mut Run, resumed: bool) -> Result<(), Error> {
    let digest = run.attempt_digest.hex();
    let trust = if run.log.root.self_signed {
        "self-signed (this machine)"
    } else {
        "given"
    };
    run.progress.header(&format!(
        "{} {} · attempt {}…{} · trust root: {trust}",
        run.attempt.name,
        run.attempt.version,
        &digest[..4],
        &digest[60..]
    ));
    if resumed {
        run.progress.note("resuming the attempt that was interrupted");
        return Ok(());
    }
    let attempt = run.attempt.clone();
    let subject = vec![run.tree_subject()];
    run.record(
        Stage::Commit,
        "attempt",
        predicates::ATTEMPT,
        subject,
        &attempt,
        &json!({"check": "attempt"}),
    )?;
    Ok(())
}

type Decided = (Vec<StageLine>, Vec<(Verdict, u64)>);

fn stages_of(run: &mut Run, upto: Stage) -> Result<Decided, Error> {
    let mut lines = Vec::new();
    let mut verdicts = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage <= upto) {
        let begun = run.now().boottime;
        let earlier = decided_before(run, stage);
        let resumed = earlier.is_some();
        let (verdict, index) = match earlier {
            Some(decided) => decided,
            None => {
                stages::run(stage, run)?;
                run.tree_unchanged()?;
                gate::decide(run, stage)?
            }
        };
        let line = StageLine {
            stage,
            outcome: verdict.outcome,
            seconds: run.now().boottime.saturating_sub(begun).as_secs_f64(),
            notes: verdict.notes.clone(),
            resumed,
        };
        run.progress.decided(&line);
        lines.push(line);
        let passed = verdict.outcome == Outcome::Pass;
        verdicts.push((verdict, index));
        if !passed {
            break;
        }
    }
    Ok((lines, verdicts))
}

/// The verdict this attempt already has for a stage.
fn decided_before(run: &Run, stage: Stage) -> Option<(Verdict, u64)> {
    run.log.statements().rev().find_map(|(index, statement)| {
        let context = statement.context()?;
        let own = context.attempt == run.attempt_digest && context.stage == stage;
        let summary: VerificationSummary = statement.predicate_as(predicates::VSA).filter(|_| own)?;
        Some((summary.verdict, index))
    })
}

fn conclude(
    run: &Run,
    upto: Stage,
    lines: Vec<StageLine>,
    verdicts: Vec<(Verdict, u64)>,
) -> Result<(Report, PathBuf), Error> {
    let statements = run.log.logged(run.now())?;
    let own = statements
        .iter()
        .filter(|s| s.context().is_some_and(|c| c.attempt == run.attempt_digest))
        .count();
    let report = Report {
        name: run.attempt.name.clone(),
        version: run.attempt.version.clone(),
        attempt: run.attempt_digest,
        self_signed: run.log.root.self_signed,
        outcome: Outcome::all(verdicts.iter().map(|(verdict, _)| verdict.outcome)),
        metrics: metrics::fold(&run.attempt, &statements),
        lines,
        verdicts,
        incidents: incidents(run),
        statements: own as u64,
        log_size: run.log.size(),
        upto,
    };
    let path = bundle::write(run, &report)?;
    Ok((report, path))
}

/// What playbooks did in this attempt, each with its log index.
fn incidents(run: &Run) -> Vec<(Incident, u64)> {
    let own = run.log.statements().filter_map(|(index, statement)| {
        let context = statement
            .context()
            .filter(|context| context.attempt == run.attempt_digest);
        context.and(Some((statement.predicate_as(predicates::INCIDENT)?, index)))
    });
    own.collect()
}

/// What a release would do, without doing any of it.
pub fn plan(tree: &Path, upto: Stage) -> Result<Vec<(Stage, Vec<String>)>, Error> {
    let (root, loaded) = load_config(tree)?;
    let mut plan = Vec::new();
    for stage in Stage::ALL.into_iter().filter(|stage| *stage <= upto) {
        plan.push((stage, planned(stage, &root, &loaded)?));
    }
    if store::Store::exists(&root) {
        plan[0]
            .1
            .push("the store exists: an interrupted attempt of the same tree would be resumed".to_owned());
    }
    Ok(plan)
}

fn planned(stage: Stage, root: &Path, loaded: &Loaded) -> Result<Vec<String>, Error> {
    let config = &loaded.config;
    let mut actions = Vec::new();
    match stage {
        Stage::Commit => {
            actions.push("scan tree and history for secrets".to_owned());
            actions.extend(config.commit.step.iter().map(|step| {
                let most = step.timeout_seconds.unwrap_or(stages::commit::STEP_SECONDS);
                format!("run `{}`, read {}; at most {most} s", step.run.join(" "), step.report)
            }));
            actions.push("hold changed manifests against the dependency policy".to_owned());
        }
        Stage::Build => {
            let artifacts = config.build.iter().flat_map(|build| &build.artifact);
            actions.extend(artifacts.map(|artifact| {
                let most = artifact.timeout_seconds.unwrap_or(stages::build::BUILD_SECONDS);
                format!(
                    "run `{}`, keep {}; at most {most} s",
                    artifact.run.join(" "),
                    artifact.path
                )
            }));
            actions.push("write the SBOM, match vulnerabilities, judge licences".to_owned());
        }
        Stage::Integration => {
            let services = config
                .environment
                .iter()
                .flat_map(|environment| environment.local.services.keys());
            actions.extend(services.map(|name| {
                format!("start service `{name}` on loopback; undo: it dies with the release; at most 30 s")
            }));
            let driven = config.integration.iter();
            actions.extend(driven.map(|i| {
                format!(
                    "drive `{}` from {} ({} requests at most)",
                    i.service,
                    i.openapi,
                    i.requests_max.unwrap_or(2_000)
                )
            }));
        }
        Stage::Staging => {
            for path in config.staging.iter().flat_map(|staging| &staging.experiments) {
                let file = root.join(path);
                let text = std::fs::read_to_string(&file).map_err(|error| Error::io("read", &file, &error))?;
                let experiment = chaos::Experiment::parse(path, &text).map_err(Error::Input)?;
                for action in experiment.plan() {
                    actions.push(format!(
                        "{path}: {}; undo ({}): {}; at most {} s",
                        action.action, action.undo_class, action.undo, action.deadline_s
                    ));
                }
            }
            let playbook = config.staging.iter().filter_map(|staging| staging.playbook.as_ref());
            actions.extend(playbook.map(|file| format!("after experiments that failed: run the playbook {file}")));
        }
        Stage::Production => {
            if let Some(production) = &config.production {
                if let Some(baseline) = &production.baseline {
                    let most = baseline.timeout_seconds.unwrap_or(stages::build::BUILD_SECONDS);
                    let run = baseline.run.join(" ");
                    actions.push(format!(
                        "unless one was promoted: run `{run}` for the old version; at most {most} s"
                    ));
                }
                let weights: Vec<String> = production.weights.iter().map(u32::to_string).collect();
                actions.push(format!(
                    "run old and new `{}` side by side at {} per cent; undo: weight 0, read back; {} requests at most",
                    production.service,
                    weights.join(", then "),
                    production.requests_max
                ));
                let playbook = production.playbook.iter();
                actions.extend(playbook.map(|file| format!("when it was halted: run the playbook {file}")));
            }
        }
    }
    Ok(actions)
}
