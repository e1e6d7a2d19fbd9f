//! What a run shares between its threads: the experiment and its names, the environment, the bridge, and who asks for
//! an end.
//!
//! The experiment is shared and may change while it runs: a control may add to it, and what it adds is seen by all that
//! follows. Activities are therefore named by their path and read anew.
//!
//! Start reading at [`Engine`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bridge::{self, Bridge, Start, Stop};
use super::process::Surroundings;
use super::raise::Raise;
use super::substitute::Names;
use super::value::{Dict, Step, Value};
use super::{Cancel, Hooks, Level, Options};

/// How long a pause lasts before interruption is looked at again.
const SLICE_MS: u64 = 10;

/// A value that controls may change: a run, a hypothesis' state, a journal.
pub(super) type Shared = Arc<Mutex<Value>>;

/// Where something runs: interruptions reach the foreground alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Foreground,
    Background,
}

/// The parts of a run that all its threads see.
pub(super) struct World {
    pub(super) experiment: Value,
    pub(super) configuration: Value,
    pub(super) secrets: Value,
    pub(super) settings: Value,
    /// Where the experiment came from, if anywhere.
    pub(super) source: Option<String>,
    /// Controls of the settings and of control files.
    pub(super) controls: Vec<Value>,
    /// Activities by name, for `ref`.
    pub(super) names: Vec<(Value, Vec<Step>)>,
}

/// A run, or what comes before it.
pub(super) struct Engine<'a> {
    pub(super) options: &'a Options,
    pub(super) hooks: &'a dyn Hooks,
    pub(super) world: Mutex<World>,
    pub(super) bridge: Bridge,
    env: Mutex<Vec<(OsString, OsString)>>,
    cwd: Mutex<PathBuf>,
    /// Background activities are no longer waited for.
    pub(super) abandoned: AtomicBool,
    /// The first action was let through.
    pub(super) permitted: AtomicBool,
    /// Entries of the journal, and where their activities stand.
    pub(super) entries: Mutex<Vec<(Shared, Vec<Step>)>>,
    /// Signals that modules of the bridge sent, not yet taken.
    sent: Mutex<Vec<Cancel>>,
    /// The first interruption from outside.
    first: Mutex<Option<Cancel>>,
}

impl<'a> Engine<'a> {
    pub(super) fn new(options: &'a Options, hooks: &'a dyn Hooks, experiment: Value) -> Engine<'a> {
        Engine {
            options,
            hooks,
            world: Mutex::new(World {
                experiment,
                configuration: Value::dict([]),
                secrets: Value::dict([]),
                settings: options.settings.clone(),
                source: None,
                controls: Vec::new(),
                names: Vec::new(),
            }),
            bridge: Bridge::new(options.python.clone(), !options.compatible),
            env: Mutex::new(options.env.clone()),
            cwd: Mutex::new(options.cwd.clone()),
            abandoned: AtomicBool::new(false),
            permitted: AtomicBool::new(false),
            entries: Mutex::new(Vec::new()),
            sent: Mutex::new(Vec::new()),
            first: Mutex::new(None),
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(super) fn say(&self, level: Level, text: &str) {
        self.hooks.line(level, text);
    }

    /// An environment variable, as the run sees it now.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let env = lock(&self.env);
        let found = env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.to_string_lossy().into_owned())
    }

    pub(super) fn around<T>(&self, work: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        // Copied, so that no program runs under the lock.
        let (env, cwd) = (lock(&self.env).clone(), lock(&self.cwd).clone());
        work(&Surroundings { env: &env, cwd: &cwd })
    }

    /// Replaces names in `value` by configuration and secrets.
    pub(super) fn substitute(&self, value: &Value) -> Result<Value, Raise> {
        self.with_names(|names| names.substitute(value))
    }

    pub(super) fn with_names<T>(&self, work: impl FnOnce(Names<'_>) -> T) -> T {
        let world = self.world();
        work(Names {
            configuration: &world.configuration,
            secrets: &world.secrets,
        })
    }

    /// What ends the work of this lane now, if anything does. Each interruption is answered once.
    pub(super) fn stop(&self, lane: Lane) -> Option<Raise> {
        self.stop_with_signal(lane).map(|stop| stop.raise)
    }

    fn stop_with_signal(&self, lane: Lane) -> Option<Stop> {
        use rustix::process::Signal;
        if lane == Lane::Background {
            return self.abandoned.load(Ordering::Relaxed).then(|| Stop {
                raise: Raise::error("ExperimentExitedException", "left at once"),
                signal: Signal::KILL,
                grace: Duration::ZERO,
            });
        }
        let from_outside = self.hooks.cancelled();
        if let Some(cancel) = from_outside {
            lock(&self.first).get_or_insert(cancel);
        }
        let cancel = from_outside.or_else(|| {
            let mut sent = lock(&self.sent);
            (!sent.is_empty()).then(|| sent.remove(0))
        })?;
        let (raise, signal) = match cancel {
            Cancel::Terminate => (Raise::Interrupt("SIGTERM signal received".to_owned()), Signal::TERM),
            Cancel::Keyboard => (Raise::Keyboard, Signal::INT),
            Cancel::Leave => (Raise::Exit(20), Signal::USR1),
            Cancel::LeaveAtOnce => (Raise::Exit(30), Signal::USR2),
        };
        Some(Stop {
            raise,
            signal,
            grace: self.options.grace,
        })
    }

    /// Puts a question to the bridge and takes over what changed there.
    pub(super) fn ask(&self, operation: &str, question: Dict, lane: Lane) -> (Result<Value, Raise>, Dict) {
        let start = || Start {
            env: lock(&self.env).clone(),
            cwd: lock(&self.cwd).clone(),
        };
        let foreground = lane == Lane::Foreground;
        let stop = || {
            self.take_signals();
            self.stop_with_signal(lane)
        };
        let answer = self.bridge.ask(operation, question, foreground, &start, &stop);
        self.take_signals();
        let mut env = lock(&self.env);
        for (key, value) in answer.env.0 {
            let key = OsString::from(key.text());
            env.retain(|(name, _)| *name != key);
            if let Value::Str(value) = value {
                env.push((key, value.into()));
            }
        }
        drop(env);
        if let Some(folder) = answer.cwd {
            *lock(&self.cwd) = folder.into();
        }
        (answer.result, answer.changes)
    }

    fn take_signals(&self) {
        for signal in self.bridge.signals() {
            let cancel = if signal == i64::from(rustix::process::Signal::USR2.as_raw()) {
                Cancel::LeaveAtOnce
            } else {
                Cancel::Leave
            };
            lock(&self.sent).push(cancel);
        }
    }

    /// The first interruption from outside, if there was one.
    pub(super) fn first_cancel(&self) -> Option<Cancel> {
        *lock(&self.first)
    }

    /// Sleeps, unless it is interrupted.
    pub(super) fn sleep(&self, duration: Duration, lane: Lane) -> Result<(), Raise> {
        let start = Instant::now();
        loop {
            if let Some(raise) = self.stop(lane) {
                return Err(raise);
            }
            let rest = duration.saturating_sub(start.elapsed());
            if rest.is_zero() {
                return Ok(());
            }
            std::thread::sleep(rest.min(Duration::from_millis(SLICE_MS)));
        }
    }

    /// Remembers activities by name, as they are looked up by `ref`.
    pub(super) fn remember_names(&self) -> Result<(), Raise> {
        let mut world = self.world();
        let experiment = &world.experiment;
        let empty = Value::List(Vec::new());
        let method = experiment.get("method")?.unwrap_or(&empty);
        let probes = match experiment.get("steady-state-hypothesis")? {
            Some(hypothesis) => hypothesis.get("probes")?.unwrap_or(&empty),
            None => &empty,
        };
        let (Value::List(activities), Value::List(more)) = (method, probes) else {
            return Err(Raise::error("TypeError", "the method and the probes are lists"));
        };
        let mut names: Vec<(Value, Vec<Step>)> = Vec::new();
        let method = (0..activities.len()).map(|index| vec![Step::Key("method"), Step::Index(index)]);
        let probes = (0..more.len()).map(|index| {
            vec![
                Step::Key("steady-state-hypothesis"),
                Step::Key("probes"),
                Step::Index(index),
            ]
        });
        for (activity, path) in activities.iter().chain(more).zip(method.chain(probes)) {
            let Some(name) = activity.get("name")?.filter(|name| name.truthy()) else {
                continue;
            };
            if matches!(name, Value::List(_) | Value::Dict(_)) {
                return Err(Raise::error("TypeError", "unhashable type"));
            }
            names.retain(|(known, _)| !known.equals(name));
            names.push((name.clone(), path));
        }
        world.names = names;
        Ok(())
    }

    pub(super) fn named(&self, name: &Value) -> Option<Vec<Step>> {
        let world = self.world();
        let found = world.names.iter().find(|(known, _)| known.equals(name));
        found.map(|(_, path)| path.clone())
    }

    /// A part of the experiment as it is now.
    pub(super) fn part(&self, path: &[Step]) -> Result<Value, Raise> {
        let world = self.world();
        let part = world.experiment.at(path).cloned();
        part.ok_or_else(|| Raise::error("IndexError", "a control took away what was about to run"))
    }

    pub(super) fn encoded_names(&self, question: &mut Dict) {
        let world = self.world();
        question.set("configuration", bridge::encoded(&world.configuration));
        question.set("secrets", bridge::encoded(&world.secrets));
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
