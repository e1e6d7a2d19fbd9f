//! Chaos Toolkit experiments, run as Chaos Toolkit runs them: the same answers, the same journal.
//!
//! The providers `process` and `http` run here, `python` through one process that can be killed ([`bridge`]). Nothing here
//! judges whether an experiment is safe: [`Hooks`] does, which is asked before the first action, is handed the rollbacks
//! first, and can end everything at any time.
//!
//! It deliberately doesn't fetch Python packages, read Vault, or write files; the environment, the working directory and
//! the time are arguments. An experiment is a program: whoever wrote the file runs commands with the rights of whoever
//! runs it, sees its environment, and the journal shows what they printed.
//!
//! Start reading at [`run()`], then `run.rs` for the course of an experiment, `activity.rs` for one activity.

mod activity;
mod bridge;
mod control;
mod decimal;
mod engine;
#[cfg(target_os = "linux")]
mod exit_linux;
mod http;
pub mod json;
mod jsonpath;
mod load;
mod notify;
mod plan;
mod process;
mod raise;
mod rollback;
mod run;
mod settings;
mod substitute;
mod time;
mod tolerance;
mod valid;
mod value;
mod yaml;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use load::{Loaded, parse_json, parse_yaml};
pub use plan::{Planned, extension, plan};
pub use raise::Raise;
pub use rollback::{rollbacks_of, run_rollbacks};
pub use settings::{Variables, variable, variables_of_file};
pub use value::{Dict, Value};

use engine::Engine;

/// The version of the original's library whose answers these are; the journal names it.
pub const COMPATIBLE_WITH: &str = "1.45.1";

/// What a run is given.
#[derive(Debug, Clone)]
pub struct Options {
    /// `default`, `before-method-only`, `after-method-only`, `during-method-only`, `continuously` or `skip`; `None` takes
    /// the experiment's, then the settings'.
    pub hypothesis_strategy: Option<String>,
    /// `default`, `always`, `never` or `deviated`; `None` takes the experiment's, then the settings'.
    pub rollback_strategy: Option<String>,
    /// Between two looks at a hypothesis that runs beside the method.
    pub hypothesis_frequency: Duration,
    /// A hypothesis beside the method ends it as soon as it isn't met …
    pub fail_fast: bool,
    /// … in this many percent of its looks.
    pub fail_fast_ratio: f64,
    /// What isn't really done.
    pub dry: Option<Dry>,
    /// Checks the experiment before it runs.
    pub validate: bool,
    pub variables: Variables,
    /// Files that secrets of `variables` came from: rollbacks that run later read them again.
    pub variable_files: Vec<PathBuf>,
    /// The settings file; `None` without one.
    pub settings: Value,
    /// Mappings of name and control, for all experiments.
    pub controls: Vec<Value>,
    /// Checks certificates when the experiment itself is fetched.
    pub verify_tls: bool,
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// The Python interpreter.
    pub python: OsString,
    /// It was named by a person, who answers for the packages in it: `runtime.python` of an experiment is passed over.
    pub python_is_given: bool,
    /// Name of this host and of its system, for the journal.
    pub node: String,
    pub platform: String,
    /// How long a Python function may take to end after an interruption; then it is killed.
    pub grace: Duration,
    /// The original's answers where they serve nobody: guessed encodings, coroutines that nobody awaits, pauses and
    /// background activities that outlast an interruption.
    pub compatible: bool,
    /// False answers like an installation of the original without its extra for JSON paths: such a tolerance is invalid.
    pub json_path: bool,
}

impl Options {
    /// Everything as the original's command line has it, in this environment.
    pub fn compatible(env: Vec<(OsString, OsString)>, cwd: PathBuf) -> Options {
        Options {
            hypothesis_strategy: None,
            rollback_strategy: None,
            hypothesis_frequency: Duration::from_secs(1),
            fail_fast: false,
            fail_fast_ratio: 0.0,
            dry: None,
            validate: true,
            variables: Variables::default(),
            variable_files: Vec::new(),
            settings: Value::None,
            controls: Vec::new(),
            verify_tls: true,
            env,
            cwd,
            python: "python3".into(),
            python_is_given: false,
            node: String::new(),
            platform: String::new(),
            grace: Duration::from_secs(1),
            compatible: true,
            json_path: true,
        }
    }
}

/// What isn't really done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dry {
    Probes,
    Actions,
    Activities,
    Pause,
}

impl Dry {
    pub fn name(self) -> &'static str {
        match self {
            Dry::Probes => "probes",
            Dry::Actions => "actions",
            Dry::Activities => "activities",
            Dry::Pause => "pause",
        }
    }
}

/// Why a run should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// SIGTERM.
    Terminate,
    /// SIGINT, Ctrl-C.
    Keyboard,
    /// SIGUSR1: rollbacks are played if the strategy says so.
    Leave,
    /// SIGUSR2: at once, without rollbacks.
    LeaveAtOnce,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

/// An activity that is about to run, or has run.
#[derive(Debug, Clone, Copy)]
pub struct ActivityRef<'a> {
    pub name: &'a str,
    pub is_action: bool,
    /// It isn't really done.
    pub is_dry: bool,
}

/// Who watches over a run. Called from several threads at once.
pub trait Hooks: Sync {
    /// Microseconds since 1970, UTC.
    fn now_us(&self) -> i64;

    /// Asked before the first action, with what [`rollbacks_of`] gives: durable somewhere once this returns.
    ///
    /// # Errors
    /// The reason of a refusal: the run ends as interrupted, before the action.
    fn permit(&self, rollbacks: &serde_json::Value) -> Result<(), String> {
        let _ = rollbacks;
        Ok(())
    }

    fn before_activity(&self, activity: &ActivityRef<'_>) {
        let _ = activity;
    }

    /// `ended` is false when the activity was interrupted or broke the run.
    fn after_activity(&self, activity: &ActivityRef<'_>, ended: bool) {
        let _ = (activity, ended);
    }

    /// Asked every few milliseconds: what runs is killed within 50 ms of an answer, or after [`Options::grace`] where that
    /// is longer. Each interruption is answered once; a second one interrupts the rollbacks.
    fn cancelled(&self) -> Option<Cancel> {
        None
    }

    /// A line for people. It may hold text of the experiment, never a secret's value.
    fn line(&self, level: Level, text: &str) {
        let _ = (level, text);
    }
}

/// The record of a run.
#[derive(Debug, Clone)]
pub struct Journal(pub Value);

impl Journal {
    /// `completed`, `failed`, `aborted` or `interrupted`.
    pub fn status(&self) -> &str {
        self.0.find("status").and_then(Value::as_str).unwrap_or_default()
    }

    pub fn deviated(&self) -> bool {
        self.0.find("deviated").is_some_and(Value::truthy)
    }

    /// The exit code of the original's command line: 1 unless it completed and nothing deviated.
    pub fn exit_code(&self) -> u8 {
        u8::from(self.status() != "completed" || self.deviated())
    }

    /// The journal as it is written to a file.
    ///
    /// # Errors
    /// `TypeError` for an output that JSON can't hold.
    pub fn text(&self) -> Result<String, Raise> {
        json::write(&self.0)
    }
}

/// Loads the experiment at a path or URL, and runs it.
///
/// # Errors
/// What ends the original without a journal: an experiment that can't be read or isn't valid, and what breaks a run outside
/// of its method. Its exit code is 1.
pub fn run_source(source: &str, options: &Options, hooks: &dyn Hooks) -> Result<(Loaded, Journal), Raise> {
    let engine = Engine::new(options, hooks, Value::None);
    let loaded = engine.load(source)?;
    let journal = engine.run_loaded(&loaded)?;
    Ok((loaded, journal))
}

/// Runs an experiment.
///
/// # Errors
/// As [`run_source`].
pub fn run(loaded: &Loaded, options: &Options, hooks: &dyn Hooks) -> Result<Journal, Raise> {
    let engine = Engine::new(options, hooks, Value::None);
    engine.load_global_controls()?;
    engine.run_loaded(loaded)
}

/// Loads the experiment at a path or URL.
///
/// # Errors
/// As [`run_source`].
pub fn load(source: &str, options: &Options, hooks: &dyn Hooks) -> Result<Loaded, Raise> {
    Engine::new(options, hooks, Value::None).load(source)
}

/// Checks an experiment without running it. Python modules are imported for it.
///
/// # Errors
/// What is wrong with it.
pub fn validate(loaded: &Loaded, options: &Options, hooks: &dyn Hooks) -> Result<(), Raise> {
    Engine::new(options, hooks, loaded.experiment.clone()).validate()
}

/// Looks whether an experiment is valid; nothing of it is run.
///
/// # Errors
/// The first thing that is wrong, as the original says it.
pub fn check(loaded: &Loaded, options: &Options, hooks: &dyn Hooks) -> Result<(), Raise> {
    let engine = Engine::new(options, hooks, Value::None);
    {
        let mut world = engine.world();
        world.experiment = loaded.experiment.clone();
        world.source.clone_from(&loaded.source);
    }
    let valid = engine.validate();
    engine.bridge.kill();
    valid
}

impl Engine<'_> {
    fn run_loaded(&self, loaded: &Loaded) -> Result<Journal, Raise> {
        loaded.check_runtime(self.options)?;
        {
            let mut world = self.world();
            world.experiment = loaded.experiment.clone();
            world.source.clone_from(&loaded.source);
        }
        self.notify("run-started", loaded.experiment.clone());
        if self.options.validate {
            self.validate()?;
        }
        let journal = Journal(self.run()?);
        if journal.status() == "completed" {
            self.notify("run-completed", journal.0.clone());
        } else {
            self.notify("run-failed", journal.0.clone());
        }
        if journal.deviated() {
            self.notify("run-deviated", journal.0.clone());
        }
        self.bridge.kill();
        Ok(journal)
    }
}
