//! A Chaos Toolkit file as an experiment of ours: its hypothesis is the steady state, its method one fault, its
//! rollbacks what undoes that, whatever its own rollback strategy says. What the file can't say in its own words stands
//! in its `extensions`, under the name `proofmark`, by the keys of an experiment file of ours.
//!
//! What its actions do to the world nobody knows, so the owner has to allow them (`unknown_actions`). Running a file as
//! the original would is [`crate::ctk`]'s, and knows nothing of this.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::Value;

use crate::ctk::{self, Cancel, Hooks, Loaded, Options};
use crate::environment::{BoxFuture, Environment};
use crate::fault::{Entry, Fault, Injected, Met, Probe, UndoClass};
use crate::permit::Permit;
use crate::strike::{Record, Undone};
use crate::turns::{Turns, blocking};

/// The name of our extension.
pub(crate) const EXTENSION: &str = "proofmark";
/// The catalogue's entry, and the same for a file without rollbacks.
static WITH_ROLLBACKS: LazyLock<Entry> = LazyLock::new(|| {
    let mut all = crate::faults().iter();
    *all.find(|entry| entry.id == "chaos-toolkit-actions")
        .expect("the catalogue has it")
});
static WITHOUT_ROLLBACKS: LazyLock<Entry> = LazyLock::new(|| Entry {
    undo_class: UndoClass::Irreversible,
    ..*WITH_ROLLBACKS
});
/// Keys of the undo record.
const ROLLBACKS: &str = "rollbacks";
const PYTHON: &str = "python";
const PATH: &str = "path";

/// What the world gives such a file: environment variables, working directory, interpreter.
#[derive(Debug, Clone)]
pub struct World {
    pub env: Vec<(OsString, OsString)>,
    pub cwd: PathBuf,
    /// An absolute path, so that somebody else can run the rollbacks later.
    pub python: OsString,
    /// Microseconds since 1970.
    pub now_us: fn() -> i64,
}

/// A file that was read.
pub(crate) struct Toolkit {
    loaded: Loaded,
    world: World,
    /// Method and rollbacks take turns, so that no action comes after its rollback.
    turns: Turns,
}

impl fmt::Debug for Toolkit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Toolkit")
    }
}

impl Toolkit {
    /// Reads a file; nothing of it is run, looked up or imported.
    pub(crate) fn read(path: &str, text: &str, world: World) -> Result<Toolkit, String> {
        let json = path.ends_with(".json");
        let loaded = if json {
            ctk::parse_json(text)
        } else {
            ctk::parse_yaml(text)
        };
        let mut loaded = loaded.map_err(|error| error.to_string())?;
        // Whoever plays the rollbacks later reads literal secrets from there again.
        loaded.source = Some(world.cwd.join(path).to_string_lossy().into_owned());
        let looks = ctk::plan(&loaded).into_iter().filter(|step| step.phase == "before");
        if let Some(action) = looks.into_iter().find(|step| step.is_action) {
            return Err(format!(
                "`{}` of its hypothesis is an action: a hypothesis only looks",
                action.name
            ));
        }
        Ok(Toolkit {
            loaded,
            world,
            turns: Turns::default(),
        })
    }

    /// Looks whether it is valid. Python modules that it names are imported for that, so it is not done for a plan.
    fn check(&self, stop: &AtomicBool) -> Result<(), String> {
        ctk::check(&self.loaded, &self.options(), &self.hooks(stop)).map_err(|error| error.to_string())
    }

    pub(crate) fn title(&self) -> String {
        let title = self.loaded.experiment.find("title").and_then(ctk::Value::as_str);
        title.unwrap_or_default().to_owned()
    }

    /// Our extension's value, where the file has one.
    pub(crate) fn extension(&self) -> Option<Value> {
        ctk::extension(&self.loaded, EXTENSION)
    }

    /// What it calls in one phase, a line each.
    fn lines(&self, phase: &str) -> Vec<String> {
        let planned = ctk::plan(&self.loaded).into_iter();
        planned
            .filter(|step| step.phase == phase)
            .map(|step| format!("{}: {}", step.name, step.call))
            .collect()
    }

    /// Whether its method does anything but look.
    pub(crate) fn has_method(&self) -> bool {
        ctk::plan(&self.loaded).iter().any(|step| step.phase == "method")
    }

    fn has_rollbacks(&self) -> bool {
        !self.lines("rollback").is_empty()
    }

    fn options(&self) -> Options {
        let mut options = Options::compatible(self.world.env.clone(), self.world.cwd.clone());
        options.python.clone_from(&self.world.python);
        options.python_is_given = true;
        options.compatible = false;
        options
    }

    fn hooks<'a>(&self, stop: &'a AtomicBool) -> Watched<'a> {
        Watched {
            stop,
            told: AtomicBool::new(false),
            now_us: self.world.now_us,
        }
    }

    /// Asks the hypothesis once. `Err` says what was not met. It blocks.
    pub(crate) fn hypothesis(&self, stop: &AtomicBool) -> Result<(), String> {
        self.check(stop)?;
        let mut alone = self.loaded.clone();
        if let Some(experiment) = alone.experiment.as_dict_mut() {
            experiment.set("method", ctk::Value::List(Vec::new()));
        }
        let mut options = self.options();
        options.validate = false;
        options.hypothesis_strategy = Some("before-method-only".to_owned());
        options.rollback_strategy = Some("never".to_owned());
        let journal = ctk::run(&alone, &options, &self.hooks(stop)).map_err(|error| error.to_string())?;
        if journal.status() == "completed" && !journal.deviated() {
            return Ok(());
        }
        Err(format!(
            "the hypothesis of `{}` is not met ({})",
            self.title(),
            journal.status()
        ))
    }

    /// Runs the method, and nothing of the rest. It blocks.
    fn method(&self, stop: &AtomicBool) -> Result<(), String> {
        if stop.load(Ordering::Acquire) {
            return Err("stopped before its method began".to_owned());
        }
        let mut options = self.options();
        options.validate = false;
        options.hypothesis_strategy = Some("skip".to_owned());
        options.rollback_strategy = Some("never".to_owned());
        let journal = ctk::run(&self.loaded, &options, &self.hooks(stop)).map_err(|error| error.to_string())?;
        match journal.status() {
            "completed" => Ok(()),
            status => Err(format!("its method ended as `{status}`")),
        }
    }
}

/// Plays rollbacks of a record. `env` is this process's: what the record refers to is looked up there. It blocks.
pub(crate) fn play_rollbacks(record: &Record, env: &[(OsString, OsString)]) -> Option<Result<Undone, String>> {
    let rollbacks = record.get(ROLLBACKS)?;
    let text = |key: &str| record.get(key).and_then(Value::as_str).map(OsString::from);
    let mut env = env.to_vec();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.extend(text(PATH).map(|path| ("PATH".into(), path)));
    }
    // The record names the folder to run in.
    let mut options = Options::compatible(env, PathBuf::from("/"));
    options.compatible = false;
    options.python = text(PYTHON).unwrap_or_else(|| "python3".into());
    options.python_is_given = true;
    let never = AtomicBool::new(false);
    let hooks = Watched {
        stop: &never,
        told: AtomicBool::new(false),
        now_us: || 0,
    };
    Some(ctk::run_rollbacks(rollbacks, &options, &hooks).map(|()| Undone::Restored))
}

struct Watched<'a> {
    stop: &'a AtomicBool,
    /// An interruption is answered once.
    told: AtomicBool,
    now_us: fn() -> i64,
}

impl Hooks for Watched<'_> {
    fn now_us(&self) -> i64 {
        (self.now_us)()
    }

    fn cancelled(&self) -> Option<Cancel> {
        let stop = self.stop.load(Ordering::Acquire) && !self.told.swap(true, Ordering::AcqRel);
        stop.then_some(Cancel::LeaveAtOnce)
    }
}

/// The method of a file, as a fault.
#[derive(Debug)]
pub(crate) struct Method {
    toolkit: Arc<Toolkit>,
    time_max: Duration,
}

impl Method {
    pub(crate) fn of(toolkit: Arc<Toolkit>, time_max: Duration) -> Method {
        Method { toolkit, time_max }
    }
}

/// Asks a file's hypothesis without holding up whoever waits.
pub(crate) async fn hypothesis(toolkit: &Arc<Toolkit>) -> Result<(), String> {
    let toolkit = toolkit.clone();
    blocking(move |stop| toolkit.hypothesis(stop)).await
}

impl Fault for Method {
    fn entry(&self) -> &'static Entry {
        if self.toolkit.has_rollbacks() {
            &WITH_ROLLBACKS
        } else {
            &WITHOUT_ROLLBACKS
        }
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("method".to_owned(), self.toolkit.lines("method").into())])
    }

    fn action(&self) -> String {
        self.toolkit.lines("method").join("\n          ")
    }

    fn undo_action(&self) -> String {
        match self.toolkit.lines("rollback") {
            lines if lines.is_empty() => "nothing: the file has no rollbacks".to_owned(),
            lines => lines.join("\n          "),
        }
    }

    fn hold(&self) -> Option<Duration> {
        None
    }

    fn time_max(&self) -> Option<Duration> {
        Some(self.time_max)
    }

    fn probe(&self) -> Option<&Probe> {
        None
    }

    fn prepare<'a>(&'a self, _: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>> {
        Box::pin(async move {
            let world = &self.toolkit.world;
            let path = world.env.iter().find(|(name, _)| name == "PATH");
            let text = |text: &OsString| text.to_string_lossy().into_owned().into();
            let mut record = Record::from([
                (
                    ROLLBACKS.to_owned(),
                    ctk::rollbacks_of(&self.toolkit.loaded, &self.toolkit.options()),
                ),
                (PYTHON.to_owned(), text(&world.python)),
            ]);
            record.extend(path.map(|(_, path)| (PATH.to_owned(), text(path))));
            Ok(record)
        })
    }

    fn inject<'a>(
        &'a self,
        _: &'a Permit,
        _: &'a dyn Environment,
        _: &'a Record,
    ) -> BoxFuture<'a, Result<Injected, String>> {
        let toolkit = self.toolkit.clone();
        Box::pin(async move {
            self.toolkit.turns.take(move |stop| toolkit.method(stop)).await?;
            Ok(Injected::default())
        })
    }

    /// The method has ended; whether it bit is for its own probes to say.
    fn in_force<'a>(
        &'a self,
        _: &'a dyn Environment,
        _: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn felt(&self, _: &Met<'_>) -> bool {
        true
    }

    fn undo<'a>(
        &'a self,
        _: &'a dyn Environment,
        record: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<Undone, String>> {
        if !self.toolkit.has_rollbacks() {
            return Box::pin(async { Ok(Undone::Restored) });
        }
        let (toolkit, record) = (self.toolkit.clone(), record.clone());
        Box::pin(async move {
            self.toolkit
                .turns
                .take(move |_| play_rollbacks(&record, &toolkit.world.env).unwrap_or(Ok(Undone::Restored)))
                .await
        })
    }
}
