//! `chaos`: one experiment against declared targets, outside of a release: planned, allowed, run, undone, measured,
//! signed and logged.
//!
//! What it may touch stands in `[chaos]` of `proofmark.toml`; what it does, in the experiment. Start reading at
//! [`run`].

pub(crate) mod declared;
pub mod next;
mod stop;
mod study;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use chaos::{Circumstances, Experiment, Given, Past, PlannedAction, Rung, Settings, TargetKind, UndoClass};
use evidence::predicates::{self, Approval, ChaosExperiment, StudyPlace};
use evidence::{Context, Digest, Envelope, Outcome, Role, Stage, Statement, Subject, Timestamp};
use serde_json::json;
use statistics::{Interval, wilson};
use telemetry::SigmaRules;

use crate::evidence_log::EvidenceLog;
use crate::release::{Options, keys_and_store, read_log, recover};
use crate::store::Store;
use crate::{Error, config};

pub use ::chaos::Capability;
pub use stop::{Stopped, stop};
pub(crate) use stop::{Switch, api as stop_api};
pub use study::{Planned, Studied, plan as study_plan, study};

/// What a check of ours is called in the log: `chaos:experiments/x.toml`.
const CHECK: &str = "chaos:";
/// What still runs when everything is over is given so long, in milliseconds.
const SHUTDOWN_MS_MAX: u64 = 1_000;

/// What a run would do, and what stands against it.
#[derive(Debug)]
pub struct Plan {
    pub title: String,
    pub digest: Digest,
    pub deadline_s: u64,
    pub window_s: u64,
    pub actions: Vec<PlannedAction>,
    pub detectors: Vec<String>,
    /// Each in one line; empty when it may run.
    pub objections: Vec<String>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Ran {
    pub evidence: ChaosExperiment,
    pub outcome: Outcome,
    /// Where it stands in the log.
    pub index: u64,
}

/// What a mechanism of undoing has shown so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Rehearsed {
    pub fault: &'static str,
    pub undo_class: UndoClass,
    pub attempted: u64,
    pub succeeded: u64,
    /// 95 % Wilson interval of the share that succeeded; `None` where nothing was attempted.
    pub interval: Option<Interval>,
    /// Median time to the safe state, in microseconds.
    pub undo_us_median: Option<u64>,
}

/// A folder's experiment, settings, and what is known about them.
struct Opened {
    root: PathBuf,
    settings: Settings,
    experiment: Experiment,
    /// What approvals are for: the experiment, and the declarations of what it touches as they stand in the file.
    approved: Digest,
}

/// Reads an experiment and says what it would do. Nothing is changed, and nothing asked of the targets.
pub fn plan(options: &Options, file: &Path) -> Result<Plan, Error> {
    let opened = open(options, file)?;
    let known = Known::read(options, &opened)?;
    let experiment = &opened.experiment;
    let mut objections = known.objections(&opened, options);
    if Store::is_busy(&opened.root) {
        objections.push(
            "another `proofmark` works on this store: wait for it, or end its experiment with `proofmark chaos stop`"
                .to_owned(),
        );
    } else {
        let first = |left| format!("what an earlier run left comes first (`proofmark chaos undo`): {left}");
        objections.extend(stop::left(&opened.root).into_iter().map(first));
    }
    Ok(Plan {
        title: experiment.title.clone(),
        digest: experiment.digest,
        deadline_s: experiment.deadline.as_secs(),
        window_s: experiment.window.as_secs(),
        actions: experiment.plan(),
        detectors: experiment
            .detectors
            .iter()
            .map(|detector| detector.id.clone())
            .collect(),
        objections,
    })
}

/// Runs an experiment. What an earlier run left is undone first; everything is undone when this returns, or the
/// evidence says what isn't.
pub fn run(options: &Options, file: &Path) -> Result<Ran, Error> {
    run_opened(options, &open(options, file)?, None)
}

/// The same of one that is read; `study` is its place in a study, which its statement names.
fn run_opened(options: &Options, opened: &Opened, study: Option<StudyPlace>) -> Result<Ran, Error> {
    let (home, store, trust_root) = keys_and_store(options, &opened.root)?;
    let journal = recover(&store, options)?;
    let rules = rules(opened)?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
    let known = Known::of(&log, opened);
    let objections = known.objections(opened, options);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::failed("start", error))?;
    let switch = stop::Switch::watch(&store.path, opened.settings.kill_switch.as_deref(), &options.cancel)?;
    let environment = {
        let _runtime = runtime.enter();
        declared::Declared::start(options, &opened.settings, &opened.experiment, &store, objections)?
    };
    let doing = format!("{} (`proofmark chaos stop` ends it)", opened.experiment.path);
    options.progress.doing(Stage::Staging, &doing, 0, 0);
    let ran = runtime.block_on(chaos::run(&opened.experiment, &rules, &environment, &journal));
    environment.stop();
    drop(switch);
    // A thread that hangs in a target must not keep this process, and with it the store.
    runtime.shutdown_timeout(std::time::Duration::from_millis(SHUTDOWN_MS_MAX));
    let mut evidence = ran.map_err(|error| Error::failed(&format!("run `{}`", opened.experiment.path), error))?;
    evidence.study = study;
    evidence.rung = Some(rung(opened).name().to_owned());
    let index = record(options, &mut log, opened, &evidence)?;
    let outcome = chaos::outcome(&evidence);
    Ok(Ran {
        evidence,
        outcome,
        index,
    })
}

/// Signs and logs runs that the caller has measured on a system of its own; the answer says where each stands.
pub fn keep(options: &Options, runs: &[ChaosExperiment]) -> Result<Vec<u64>, Error> {
    let root = canonical(&options.tree)?;
    let (home, store, trust_root) = keys_and_store(options, &root)?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, (options.clock)())?;
    let keep_one = |run: &ChaosExperiment| {
        let now = (options.clock)();
        let context = context_of(run.digest, &format!("{CHECK}{}", run.experiment), now.utc);
        let subject = Subject::new(run.experiment.clone(), run.digest);
        log.record(&Statement::new(predicates::CHAOS, vec![subject], run, &context), now)
    };
    runs.iter().map(keep_one).collect()
}

/// Every run in the log of a tree, in its order, each proved to stand in it.
pub fn kept(options: &Options) -> Result<Vec<ChaosExperiment>, Error> {
    let root = canonical(&options.tree)?;
    let (home, store, trust_root) = keys_and_store(options, &root)?;
    let now = (options.clock)();
    let log = EvidenceLog::open(&store, &home, trust_root, now)?;
    let logged = log.logged(now)?;
    let runs = logged.iter().map(|logged| logged.verified().value());
    Ok(runs
        .filter_map(|statement| statement.predicate_as(predicates::CHAOS))
        .collect())
}

/// What people may let an experiment do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    Ethics,
    Legal,
    Run,
}

impl For {
    fn what(self) -> &'static str {
        match self {
            For::Ethics => "chaos-ethics",
            For::Legal => "chaos-legal",
            For::Run => "chaos-run",
        }
    }
}

/// Signs and logs an approval of one experiment, as it is now; the answer says where it stands.
pub fn approve(options: &Options, file: &Path, what: For, reason: &str, expires: Timestamp) -> Result<String, Error> {
    let opened = open(options, file)?;
    let now = (options.clock)();
    if expires <= now.utc {
        return Err(Error::usage(
            "the approval would have expired already",
            "give `--expires` a day to come",
        ));
    }
    let (home, store, trust_root) = keys_and_store(options, &opened.root)?;
    let mut log = EvidenceLog::open(&store, &home, trust_root, now)?;
    let predicate = Approval {
        what: what.what().to_owned(),
        subject: opened.approved,
        reason: reason.to_owned(),
        expires,
    };
    let context = context(&opened, "chaos-approval", now.utc);
    let statement = Statement::new(predicates::APPROVAL, vec![subject(&opened)], &predicate, &context);
    let keys = home.pair(Role::Approver)?;
    let envelope = Envelope::sign_statement(&statement, &keys.signers())
        .map_err(|error| Error::failed("sign the approval", error))?;
    let index = log.append(&envelope, now)?;
    let day: String = expires.to_string().chars().take(10).collect();
    Ok(format!(
        "approved {} of sha256:{} and of what it says it attacks, until {day}: log index {index}",
        what.what(),
        opened.experiment.digest.short()
    ))
}

/// What this host can do for faults.
pub fn capabilities() -> Vec<Capability> {
    chaos::capabilities()
}

/// An experiment to begin with, for a fault of the catalogue: from the example on its page.
pub fn new(fault: &str, target: Option<&str>) -> Result<String, Error> {
    let name = fault.strip_prefix("chaos/").unwrap_or(fault);
    let found = chaos::faults()
        .iter()
        .find(|entry| entry.id == name)
        .zip(chaos::page(name));
    let Some((entry, page)) = found else {
        let ids = chaos::faults().iter().map(|entry| entry.id);
        let near = config::nearest(name, ids.clone());
        let near = near.or_else(|| ids.into_iter().find(|id| id.contains(name)));
        let hint = near.map_or_else(
            || "`proofmark chaos list` has them all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Error::usage(format!("no fault is called `{name}`"), hint));
    };
    let example = page
        .split_once("```toml\n")
        .and_then(|(_, rest)| rest.split_once("```"))
        .map_or_else(
            || format!("[[fault]]\nid = \"{name}\"\n"),
            |(example, _)| example.to_owned(),
        );
    let named = example
        .lines()
        .find_map(|line| line.strip_prefix("target = \"")?.strip_suffix('"'));
    let (from, to) = (named.unwrap_or_default(), target.or(named).unwrap_or("TARGET"));
    let example = example.replace(&format!("target = \"{from}\""), &format!("target = \"{to}\""));
    let title = page
        .lines()
        .nth(1)
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_lowercase();
    let (declare, steady) = match entry.targets.first() {
        Some(kind) => (declaration(to, *kind, &example), format!("target = \"{to}\"         # has to be well before, and again after\n")),
        None => (
            LINK_DECLARATION.to_owned(),
            "service = \"web\"             # a target of kind `http`\nmethod = \"GET\"\npath = \"/health\"\nstatus = 200\nrequests = 3\n".to_owned(),
        ),
    };
    let hold = if example.contains("hold_ms") || entry.targets.is_empty() {
        ""
    } else {
        "hold_ms = 2000             # then it is undone, and recovery counts; without it the run ends once all is known\n"
    };
    Ok(format!(
        "{declare}title = \"{title}\"\ndeadline_seconds = 30      # everything is undone by then, whatever happens\nwindow_seconds = 10\n\n\
         [declares]                 # what is not declared counts as the worst\ndata = \"synthetic\"\npaying_customers = \"none\"\n\
         tenancy = \"dedicated\"\n\n[steady]\n{steady}\n{example}{hold}\n{NOTICED}"
    ))
}

/// How somebody should notice, for people to fill in.
const NOTICED: &str = "# Who should notice, and how soon (`[chaos.log.NAME] path` in proofmark.toml names the log):
# [[detector]]
# id = \"denied\"
# kind = \"sigma\"
# rule = \"detection/denied.yml\"
# self_test = '{\"event\":\"denied\"}'
# [expect]
# detected_within_seconds = 5
# recovered_within_seconds = 5
";

const LINK_DECLARATION: &str = "# In proofmark.toml (`proofmark explain config/chaos` has every key); the caller is given the link's address, and the
# link is there while an experiment runs:
#
# [chaos.link.storefront-ledger]
# listen = \"127.0.0.1:PORT\"
# upstream = \"127.0.0.1:PORT\"
# [chaos.target.web]
# kind = \"http\"
# opted_in = true
# rung = \"isolated\"
# tenancy = \"dedicated\"
# criticality = 1
# address = \"127.0.0.1:PORT\"

";

/// The declarations that an example needs, as comments: its targets, and the keys that targets of their kind have.
fn declaration(first: &str, kind: TargetKind, example: &str) -> String {
    let mut names = vec![first.to_owned()];
    let others = example.lines().filter_map(|line| {
        let (key, name) = line.split_once(" = \"")?;
        ["client", "neighbour", "from", "other"]
            .contains(&key)
            .then(|| name.trim_end_matches('"').to_owned())
    });
    names.extend(others);
    let keys: &[&str] = match kind {
        TargetKind::Postgresql => &[
            "address = \"127.0.0.1:5432\"",
            "user = \"USER\"",
            "password_file = \"FILE\"",
            "database = \"NAME\"",
        ],
        TargetKind::Redis => &[
            "address = \"127.0.0.1:6379\"",
            "user = \"USER\"",
            "password_file = \"FILE\"",
        ],
        TargetKind::Nats => &[
            "address = \"127.0.0.1:4222\"",
            "user = \"USER\"",
            "password_file = \"FILE\"",
            "config = \"FILE\"",
            "pid_file = \"FILE\"",
        ],
        TargetKind::Http => &[
            "address = \"127.0.0.1:80\"",
            "path = \"/\"",
            "config = \"FILE\"",
            "reload = [\"nginx\", \"-s\", \"reload\"]",
        ],
        TargetKind::Tls => &[
            "address = \"127.0.0.1:443\"",
            "server_name = \"NAME\"",
            "ca_file = \"FILE\"",
            "certificate_file = \"FILE\"",
            "key_file = \"FILE\"",
            "reload = [\"nginx\", \"-s\", \"reload\"]",
        ],
        TargetKind::Files | TargetKind::Proofmark => &["root = \"FOLDER\""],
        TargetKind::Process => &["pid_file = \"FILE\"", "command = [\"PROGRAM\", \"ARGUMENT\"]"],
        TargetKind::Network => &["address = \"127.0.0.1:PORT\""],
    };
    let mut text = "# In proofmark.toml (`proofmark explain config/chaos` has every key):\n#\n".to_owned();
    for name in names {
        text += &format!(
            "# [chaos.target.{name}]\n# kind = \"{kind}\"\n# opted_in = true\n# rung = \"isolated\"\n# tenancy = \"dedicated\"\n# criticality = 1\n"
        );
        for key in keys {
            text += &format!("# {key}\n");
        }
    }
    text + "\n"
}

/// How often each fault of the catalogue was undone here, and how fast. One that never was has no interval: it counts
/// as missing.
pub fn rehearsed(options: &Options) -> Result<Vec<Rehearsed>, Error> {
    let root = canonical(&options.tree)?;
    let mut undone: BTreeMap<String, Vec<(bool, u64)>> = BTreeMap::new();
    if Store::exists(&root) {
        let log = read_log(options, &root)?;
        for run in log
            .statements()
            .filter_map(|(_, statement)| statement.predicate_as::<ChaosExperiment>(predicates::CHAOS))
        {
            for fault in run.faults {
                undone
                    .entry(fault.fault)
                    .or_default()
                    .push((fault.undone, fault.undo_us));
            }
        }
        // A run that was killed leaves no statement: what was undone after it stands beside the journal.
        let undo = Store::read_only(&root)?.part("undo")?;
        for after in chaos::UndoJournal::rehearsals(undo.as_ref()) {
            undone
                .entry(after.fault)
                .or_default()
                .push((after.undone, after.undo_us));
        }
    }
    let of = |entry: &'static chaos::Entry| {
        let runs = undone.get(entry.id).map_or(&[][..], Vec::as_slice);
        let succeeded = runs.iter().filter(|(undone, _)| *undone).count() as u64;
        let mut times: Vec<u64> = runs.iter().filter(|(undone, _)| *undone).map(|(_, us)| *us).collect();
        times.sort_unstable();
        Rehearsed {
            fault: entry.id,
            undo_class: entry.undo_class,
            attempted: runs.len() as u64,
            succeeded,
            interval: wilson(succeeded, runs.len() as u64),
            undo_us_median: times.get(times.len() / 2).copied(),
        }
    };
    Ok(chaos::faults().iter().map(of).collect())
}

fn canonical(tree: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(tree).map_err(|error| Error::io("open", tree, &error))
}

fn open(options: &Options, file: &Path) -> Result<Opened, Error> {
    let root = canonical(&options.tree)?;
    let declared = settings(&root)?;
    let experiment = read_experiment(&file.display().to_string(), file)?;
    let approved = declared.approved(&experiment);
    Ok(Opened {
        settings: declared.below(&root),
        root,
        experiment,
        approved,
    })
}

/// Reads an experiment; `shown` is how it is named in messages and evidence.
fn read_experiment(shown: &str, file: &Path) -> Result<Experiment, Error> {
    let text = std::fs::read_to_string(file).map_err(|error| Error::io("read", file, &error))?;
    let experiment = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json" | "yaml" | "yml") => Experiment::of_toolkit(shown, &text, world()?),
        _ => Experiment::parse(shown, &text),
    };
    experiment.map_err(Error::Input)
}

/// What a Chaos Toolkit file is given of this process.
fn world() -> Result<chaos::World, Error> {
    let cwd = std::env::current_dir().map_err(|error| Error::failed("find the working directory", error))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let python = std::env::split_paths(&path)
        .map(|folder| folder.join("python3"))
        .find(|program| program.is_file());
    Ok(chaos::World {
        env: std::env::vars_os().collect(),
        cwd,
        python: python.map_or_else(|| "python3".into(), PathBuf::into_os_string),
        now_us: || crate::now().utc.as_microsecond(),
    })
}

/// `[chaos]` of the folder's configuration, paths as they stand in it; without a file nothing is declared.
fn settings(root: &Path) -> Result<Settings, Error> {
    let path = root.join(config::FILE);
    match std::fs::read_to_string(&path) {
        Ok(text) => Settings::parse(config::FILE, &text).map_err(Error::Input),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(Error::io("read", &path, &error)),
    }
}

/// The Sigma rules that its detectors name, from the folder.
fn rules(opened: &Opened) -> Result<SigmaRules, Error> {
    let read = |path: String| {
        let full = opened.root.join(&path);
        let bytes = std::fs::read(&full).map_err(|error| Error::io("read the detection rule", &full, &error))?;
        Ok((path, bytes))
    };
    let files: Vec<_> = opened
        .experiment
        .rule_paths()
        .into_iter()
        .map(read)
        .collect::<Result<_, Error>>()?;
    SigmaRules::load(&files).map_err(Error::Input)
}

/// The highest rung that it touches.
fn rung(opened: &Opened) -> Rung {
    let targets = opened.experiment.targets();
    let rungs = targets
        .iter()
        .filter_map(|name| opened.settings.targets.named(name).ok());
    rungs.map(|target| target.rung).max().unwrap_or(Rung::Isolated)
}

fn subject(opened: &Opened) -> Subject {
    Subject::new(opened.experiment.path.clone(), opened.experiment.digest)
}

fn context(opened: &Opened, check: &str, at: Timestamp) -> Context {
    context_of(opened.experiment.digest, check, at)
}

fn context_of(experiment: Digest, check: &str, at: Timestamp) -> Context {
    Context {
        attempt: experiment,
        stage: Stage::Staging,
        check: check.to_owned(),
        config: Digest::of(&evidence::to_canonical(&json!({"check": "chaos"}))),
        at,
    }
}

fn record(options: &Options, log: &mut EvidenceLog, opened: &Opened, evidence: &ChaosExperiment) -> Result<u64, Error> {
    let now = (options.clock)();
    let context = context(opened, &format!("{CHECK}{}", opened.experiment.path), now.utc);
    let statement = Statement::new(predicates::CHAOS, vec![subject(opened)], evidence, &context);
    log.record(&statement, now)
}

/// What the log says about an experiment.
#[derive(Default)]
struct Known {
    history: Vec<Past>,
    given: Vec<(Approval, Vec<evidence::KeyId>)>,
}

impl Known {
    /// From the folder's store, where it has one.
    fn read(options: &Options, opened: &Opened) -> Result<Known, Error> {
        if !Store::exists(&opened.root) {
            return Ok(Known::default());
        }
        Ok(Known::of(&read_log(options, &opened.root)?, opened))
    }

    fn of(log: &EvidenceLog, opened: &Opened) -> Known {
        let mut known = Known::default();
        for (statement, signers) in log.signed() {
            if let Some(approval) = statement.predicate_as::<Approval>(predicates::APPROVAL) {
                if approval.subject == opened.approved {
                    known.given.push((approval, signers.to_vec()));
                }
                continue;
            }
            let run = statement.predicate_as::<ChaosExperiment>(predicates::CHAOS);
            let at = statement.context().map(|context| context.at);
            if let (Some(run), Some(at)) = (run, at) {
                known.history.extend(past(&run, at));
            }
        }
        known
    }

    fn objections(&self, opened: &Opened, options: &Options) -> Vec<String> {
        let now = (options.clock)().utc;
        let valid = |what: For| {
            self.given
                .iter()
                .filter(move |(approval, _)| approval.what == what.what() && approval.expires > now)
        };
        // Different people have no key in common.
        let mut approvers: Vec<BTreeSet<&evidence::KeyId>> = Vec::new();
        for signers in valid(For::Run).map(|(_, signers)| signers.iter().collect::<BTreeSet<_>>()) {
            if approvers.iter().all(|other| other.is_disjoint(&signers)) {
                approvers.push(signers);
            }
        }
        let runbooks = opened
            .settings
            .runbooks
            .iter()
            .filter(|(_, path)| is_runbook(&opened.root.join(path)));
        let circumstances = Circumstances {
            now,
            history: &self.history,
            given: Given {
                ethics: valid(For::Ethics).next().is_some(),
                legal: valid(For::Legal).next().is_some(),
                run: approvers.len() as u64,
            },
            runbooks: runbooks.map(|(rung, _)| *rung).collect(),
        };
        let mut objections = chaos::objections(&opened.settings, &opened.experiment, &circumstances);
        let store = opened.root.join(crate::store::FOLDER);
        for target in opened
            .experiment
            .targets()
            .iter()
            .filter_map(|name| opened.settings.targets.named(name).ok())
        {
            let holds = |root: &str| {
                let root = std::fs::canonicalize(root).unwrap_or_else(|_| PathBuf::from(root));
                store.starts_with(&root) || root.starts_with(&store)
            };
            if target.optional("root").is_some_and(holds) {
                objections.push(format!(
                    "target `{}` holds the store that this experiment is undone from: run it with `--path` of another folder",
                    target.name
                ));
            }
        }
        if let Some(file) = opened
            .settings
            .kill_switch
            .as_ref()
            .filter(|file| std::fs::symlink_metadata(file).is_ok())
        {
            objections.push(format!("the kill switch is thrown: `{}` is there", file.display()));
        }
        objections
    }
}

fn past(run: &ChaosExperiment, at: Timestamp) -> Option<Past> {
    Some(Past {
        pattern: run.pattern?,
        rung: Rung::ALL
            .into_iter()
            .find(|rung| Some(rung.name()) == run.rung.as_deref())?,
        targets: run.targets.clone(),
        at,
        passed: chaos::outcome(run) == Outcome::Pass,
    })
}

/// A playbook that neither the OASIS schemas nor CACAO 2.0 object to.
fn is_runbook(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| playbooks::Playbook::parse(&text).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_runbook;

    #[test]
    fn a_runbook_is_a_playbook_that_nothing_objects_to() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("runbook.json");
        assert!(!is_runbook(&file), "nothing there");
        let (_, good) = playbooks::library()[0];
        let cut = good.replace("\"workflow_start\"", "\"workflow_begin\"");
        for (text, expect) in [("{}", false), ("[1]", false), (cut.as_str(), false), (good, true)] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(is_runbook(&file), expect, "{text}");
        }
    }
}
