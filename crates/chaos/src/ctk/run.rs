//! The course of an experiment: hypothesis, method, hypothesis again, rollbacks, and the journal of it all.
//!
//! Which exception ends what is the original's: a failed activity ends nothing, anything else a method raises aborts it,
//! an interruption skips what is left. Start reading at [`Engine::run`].

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::control::{Context, State, list_of, runs_value};
use super::engine::{Engine, Lane, Shared, lock};
use super::plan::resolved;
use super::raise::Raise;
use super::value::{Dict, Step, Value};
use super::{COMPATIBLE_WITH, Cancel, Dry, Level, settings, time};

/// How long a started background activity may take to be entered in the journal before the next one starts.
const BEGIN_MS_MAX: u64 = 20;
/// How long a wait lasts before interruption is looked at again.
const SLICE_MS: u64 = 5;

/// What the threads of a run write down.
#[derive(Default)]
struct Journal {
    status: Mutex<Option<&'static str>>,
    deviated: AtomicBool,
    before: Mutex<Option<Shared>>,
    after: Mutex<Option<Shared>>,
    during: Mutex<Vec<Shared>>,
    run: Mutex<Vec<Shared>>,
    rollbacks: Mutex<Vec<Shared>>,
}

impl Journal {
    fn status(&self) -> Option<&'static str> {
        *lock(&self.status)
    }

    fn set(&self, status: &'static str) {
        *lock(&self.status) = Some(status);
    }
}

/// Ends the hypothesis that runs beside the method.
#[derive(Default)]
struct Bell(Mutex<bool>, Condvar);

impl Bell {
    fn ring(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    fn rang(&self) -> bool {
        *lock(&self.0)
    }

    fn wait(&self, duration: Duration) {
        let deadline = Instant::now() + duration;
        let mut rang = lock(&self.0);
        while !*rang {
            let rest = deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return;
            }
            rang = self
                .1
                .wait_timeout(rang, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strategy {
    Default,
    Before,
    After,
    During,
    Continuous,
    Skip,
}

impl Strategy {
    fn parse(text: &Value) -> Result<Strategy, Raise> {
        match text.as_str() {
            Some("default") => Ok(Strategy::Default),
            Some("before-method-only") => Ok(Strategy::Before),
            Some("after-method-only") => Ok(Strategy::After),
            Some("during-method-only") => Ok(Strategy::During),
            Some("continuously" | "continously") => Ok(Strategy::Continuous),
            Some("skip") => Ok(Strategy::Skip),
            _ => Err(Raise::error("ValueError", "Unknown strategy")),
        }
    }

    fn before(self) -> bool {
        matches!(self, Strategy::Before | Strategy::Default | Strategy::Continuous)
    }

    fn during(self) -> bool {
        matches!(self, Strategy::During | Strategy::Continuous)
    }

    fn after(self) -> bool {
        matches!(self, Strategy::After | Strategy::Default | Strategy::Continuous)
    }
}

impl Engine<'_> {
    /// Runs the experiment, and answers with its journal.
    ///
    /// # Errors
    /// What ends the original without a journal.
    pub(super) fn run(&self) -> Result<Value, Raise> {
        self.prepare()?;
        let (strategy, rollbacks) = self.strategies()?;
        self.remember_names()?;
        self.configure_names()?;
        let title = self.part(&[])?.item("title")?.clone();
        let title = self.substitute(&title)?;
        if let Some(experiment) = self.world().experiment.as_dict_mut() {
            experiment.set("title", title.clone());
        }
        self.say(Level::Info, &format!("Running experiment: {}", title.text()));
        let start_us = self.hooks.now_us();
        let snapshot = self.part(&[])?;
        let journal = Journal::default();
        let done = self.initialize_controls().and_then(|()| {
            self.course(strategy, &rollbacks, &journal)?;
            let end_us = self.hooks.now_us();
            if !matches!(
                journal.status(),
                Some("completed" | "failed" | "aborted" | "interrupted")
            ) {
                journal.set("completed");
            }
            let written = self.journal_value(&journal, &snapshot, start_us, Some(end_us));
            let shared = Shared::new(Mutex::new(written));
            let state = State::One(shared.clone());
            match self.apply_controls("experiment", &whole(), "after", &state, Lane::Foreground) {
                Ok(()) => {}
                // The original minds no interruption here.
                Err(Raise::Interrupt(_)) => {}
                Err(raise) => return Err(raise),
            }
            let value = lock(&shared).clone();
            Ok(value)
        });
        let cleaned = self.cleanup_controls();
        let mut value = done?;
        cleaned?;
        self.finish_journal(&mut value);
        Ok(value)
    }

    /// `dry` of the command line stands in the experiment, whatever the file says.
    fn prepare(&self) -> Result<(), Raise> {
        let mut world = self.world();
        let experiment = world
            .experiment
            .as_dict_mut()
            .ok_or_else(|| Raise::error("TypeError", "an experiment is a mapping"))?;
        let dry = self.options.dry.map_or(Value::None, |dry| Value::str(dry.name()));
        experiment.set("dry", dry);
        Ok(())
    }

    /// Strategies for hypothesis and rollbacks: of the options, else of the experiment, else of the settings.
    fn strategies(&self) -> Result<(Strategy, Value), Raise> {
        let default = || Value::str("default");
        let empty = Value::dict([]);
        let of = |runtime: &Value, key: &str| -> Result<Value, Raise> {
            let part = runtime.get(key)?.unwrap_or(&empty);
            Ok(part.get("strategy")?.cloned().unwrap_or_else(default))
        };
        let world = self.world();
        let runtime = match world.experiment.get("runtime")?.filter(|runtime| runtime.truthy()) {
            Some(runtime) => runtime.clone(),
            None if world.settings.truthy() => world.settings.get("runtime")?.cloned().unwrap_or_else(|| empty.clone()),
            None => empty.clone(),
        };
        let given = |text: &Option<String>| text.as_ref().map(Value::str);
        let hypothesis = match given(&self.options.hypothesis_strategy) {
            Some(strategy) => strategy,
            None => of(&runtime, "hypothesis")?,
        };
        let rollbacks = match given(&self.options.rollback_strategy) {
            Some(strategy) => strategy,
            None => of(&runtime, "rollbacks")?,
        };
        Ok((Strategy::parse(&hypothesis)?, rollbacks))
    }

    /// Reads configuration and secrets, then asks the probes that stand in the configuration.
    pub(super) fn configure_names(&self) -> Result<(), Raise> {
        let experiment = self.part(&[])?;
        let empty = Value::dict([]);
        let variable = |name: &str| self.variable(name);
        let declared = experiment.get("configuration")?.unwrap_or(&empty);
        let configuration = settings::configuration(declared, &self.options.variables.configuration, &variable)?;
        let declared = experiment.get("secrets")?.unwrap_or(&empty);
        let given = Value::Dict(self.options.variables.secrets.clone());
        let secrets = settings::secrets(declared, &given, &variable)?;
        let groups = secrets.iterate()?;
        {
            let mut world = self.world();
            world.secrets = secrets;
            // A probe sees what stands before it.
            world.configuration = Value::dict([]);
        }
        let Value::Dict(configuration) = configuration else {
            return Ok(());
        };
        for (key, value) in configuration.0 {
            let value = if value.find("type").and_then(Value::as_str) == Some("probe") {
                match self.configured_by_probe(value, &groups)? {
                    Some(value) => value,
                    None => continue,
                }
            } else {
                value
            };
            if let Some(configuration) = self.world().configuration.as_dict_mut() {
                configuration.insert(key, value);
            }
        }
        Ok(())
    }

    fn configured_by_probe(&self, mut probe: Value, groups: &[Value]) -> Result<Option<Value>, Raise> {
        let kind = probe.item("provider")?.item("type")?.clone();
        // The original hands it all secrets.
        if let Some(Value::Dict(provider)) = probe.as_dict_mut().and_then(|probe| probe.get_mut("provider")) {
            provider.set("secrets", Value::List(groups.to_vec()));
        }
        let output = match self.run_activity(&probe, Lane::Foreground) {
            Ok(output) => output,
            Err(raise) if raise.is_exception() => {
                self.say(
                    Level::Warning,
                    &format!("a value of the configuration could not be loaded: {raise}"),
                );
                return Ok(None);
            }
            Err(raise) => return Err(raise),
        };
        Ok(match kind.as_str() {
            Some("python") => Some(output),
            Some("process") => {
                let succeeded = output.item("status")?.equals(&Value::Int(0));
                let text = output.item("stdout")?.text();
                succeeded.then(|| Value::str(text.trim()))
            }
            Some("http") => output.get("body")?.cloned(),
            _ => None,
        })
    }

    fn course(&self, strategy: Strategy, rollbacks: &Value, journal: &Journal) -> Result<(), Raise> {
        let experiment = self.part(&[])?;
        let probes = match experiment
            .get("steady-state-hypothesis")?
            .filter(|found| found.truthy())
        {
            Some(hypothesis) => hypothesis.get("probes")?.is_some_and(Value::truthy),
            None => false,
        };
        let judged = strategy != Strategy::Skip && probes;
        let bell = Bell::default();
        let middle = thread::scope(|scope| {
            let result = self.middle(scope, strategy, judged, journal, &bell);
            // What interrupts or breaks the method ends the hypothesis beside it, too.
            if let Err(raise) = &result {
                match raise {
                    Raise::Interrupt(_) | Raise::Keyboard | Raise::Exit(_) => journal.set("interrupted"),
                    Raise::Failed(_) | Raise::Error { .. } => {}
                }
                bell.ring();
            }
            result
        });
        let mut plays_rollbacks = true;
        match middle {
            Ok(()) => {}
            Err(Raise::Interrupt(reason)) => self.say(Level::Error, &reason),
            Err(Raise::Keyboard) => self.say(Level::Warning, "interrupted from the keyboard"),
            Err(Raise::Exit(code)) => {
                self.say(Level::Warning, &format!("an exit was asked for: {code}"));
                plays_rollbacks = code != 30;
            }
            Err(raise) => return Err(raise),
        }
        if plays_rollbacks {
            self.roll_back(rollbacks, journal)?;
        }
        Ok(())
    }

    fn middle<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        strategy: Strategy,
        judged: bool,
        journal: &'env Journal,
        bell: &'env Bell,
    ) -> Result<(), Raise> {
        self.apply_controls("experiment", &whole(), "before", &State::None, Lane::Foreground)?;
        if judged && strategy.before() && !self.gate(journal)? {
            return Ok(());
        }
        let beside = (judged && strategy.during()).then(|| scope.spawn(move || self.judge_continuously(journal, bell)));
        let completed = self.method(journal)?;
        bell.ring();
        if !matches!(journal.status(), Some("interrupted" | "aborted")) && judged && completed && strategy.after() {
            self.judge_after(journal)?;
        }
        if let Some(beside) = beside {
            let _ = beside.join();
        }
        Ok(())
    }

    /// The hypothesis before the method; false when it isn't met and the experiment ends.
    fn gate(&self, journal: &Journal) -> Result<bool, Raise> {
        let Some(state) = self.judge(Lane::Foreground)? else {
            return Ok(true);
        };
        *lock(&journal.before) = Some(state.clone());
        let state = lock(&state).clone();
        if is_met(&state)? {
            return Ok(true);
        }
        journal.set(status_of(&state)?);
        self.say(
            Level::Error,
            "the steady state is not met before the method: nothing is injected",
        );
        Ok(false)
    }

    fn judge_after(&self, journal: &Journal) -> Result<(), Raise> {
        let Some(state) = self.judge(Lane::Foreground)? else {
            return Ok(());
        };
        *lock(&journal.after) = Some(state.clone());
        let state = lock(&state).clone();
        if !is_met(&state)? {
            journal.deviated.store(true, Ordering::SeqCst);
            journal.set(status_of(&state)?);
            self.say(Level::Error, "the steady state has deviated");
        }
        Ok(())
    }

    fn judge_continuously(&self, journal: &Journal, bell: &Bell) {
        let (mut iterations, mut failed) = (0_u32, 0_u32);
        while !bell.rang() && !matches!(journal.status(), Some("failed" | "interrupted" | "aborted")) {
            let state = match self.judge(Lane::Background) {
                Ok(state) => state,
                Err(raise) => {
                    journal.set(match raise {
                        Raise::Interrupt(_) => "interrupted",
                        _ => "aborted",
                    });
                    self.say(
                        Level::Error,
                        &format!("the hypothesis beside the method ended: {raise}"),
                    );
                    return;
                }
            };
            iterations += 1;
            if let Some(state) = state {
                lock(&journal.during).push(state.clone());
                let met = is_met(&lock(&state)).unwrap_or(false);
                failed += u32::from(!met);
                let ratio = f64::from(failed) * 100.0 / f64::from(iterations);
                if !met && self.options.fail_fast && ratio >= self.options.fail_fast_ratio {
                    journal.set("failed");
                    return;
                }
            }
            bell.wait(self.options.hypothesis_frequency);
        }
    }

    /// Runs the probes of the hypothesis until one is outside of its tolerance.
    fn judge(&self, lane: Lane) -> Result<Option<Shared>, Raise> {
        let experiment = self.part(&[])?;
        let Some(hypothesis) = experiment
            .get("steady-state-hypothesis")?
            .filter(|hypothesis| hypothesis.truthy())
        else {
            return Ok(None);
        };
        let title = hypothesis.get("title")?.map(Value::text).unwrap_or_default();
        self.say(Level::Info, &format!("Steady state hypothesis: {title}"));
        let path = vec![Step::Key("steady-state-hypothesis")];
        self.controlled("hypothesis", &Context::Part(path), lane, |outcome| {
            let state = Shared::new(Mutex::new(Value::dict([
                ("steady_state_met", Value::None),
                ("probes", Value::List(Vec::new())),
            ])));
            *outcome = State::One(state.clone());
            let hypothesis = self.part(&[Step::Key("steady-state-hypothesis")])?;
            let count = list_of(&hypothesis, "probes")?.len();
            let mut probes = Vec::new();
            let met = self.judge_probes(count, &mut probes, lane);
            // What was seen is kept even where the rest breaks off.
            if let Some(state) = lock(&state).as_dict_mut() {
                if let Ok(met) = &met {
                    state.set("steady_state_met", Value::Bool(*met));
                }
                state.set("probes", runs_value(&probes));
            }
            met?;
            Ok(Some(state))
        })
    }

    /// Runs probes until one is outside of its tolerance: then the answer is false.
    fn judge_probes(&self, count: usize, probes: &mut Vec<Shared>, lane: Lane) -> Result<bool, Raise> {
        for index in 0..count {
            let path = [
                Step::Key("steady-state-hypothesis"),
                Step::Key("probes"),
                Step::Index(index),
            ];
            let run = self.execute(&path, self.options.dry, None, lane, &|| {})?;
            probes.push(run.clone());
            if !self.judge_probe(&path, &run, lane)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn judge_probe(&self, path: &[Step], run: &Shared, lane: Lane) -> Result<bool, Raise> {
        let mark = |met: bool| {
            if let Some(run) = lock(run).as_dict_mut() {
                run.set("tolerance_met", Value::Bool(met));
            }
            met
        };
        let seen = lock(run).clone();
        if seen.item("status")?.as_str() == Some("failed") {
            self.say(
                Level::Warning,
                "a probe failed, so its tolerance could not be looked at",
            );
            return Ok(mark(false));
        }
        mark(true);
        if matches!(self.options.dry, Some(Dry::Probes | Dry::Activities)) {
            return Ok(true);
        }
        let tolerance = self.part(path)?.get("tolerance")?.cloned().unwrap_or(Value::None);
        let tolerance = match tolerance {
            Value::Str(_) => self.substitute(&tolerance)?,
            other => other,
        };
        let met = self.within_tolerance(path, &tolerance, seen.item("output")?, lane)?;
        Ok(mark(met))
    }

    /// Runs the method; false when it was aborted.
    fn method(&self, journal: &Journal) -> Result<bool, Raise> {
        self.say(Level::Info, "Playing your experiment's method now...");
        match self.activities("method", "method", &journal.run, Some(journal)) {
            Ok(()) => Ok(true),
            Err(raise @ (Raise::Failed(_) | Raise::Error { .. })) => {
                journal.set("aborted");
                self.say(Level::Error, &format!("the method is aborted: {raise}"));
                Ok(false)
            }
            Err(raise) => Err(raise),
        }
    }

    fn roll_back(&self, strategy: &Value, journal: &Journal) -> Result<(), Raise> {
        let plays = match strategy.as_str() {
            Some("always") => true,
            Some("default") => !matches!(journal.status(), Some("failed" | "interrupted")),
            Some("deviated") => journal.deviated.load(Ordering::SeqCst),
            _ => false,
        };
        if !plays {
            return Ok(());
        }
        self.say(Level::Info, "Let's rollback...");
        match self.activities("rollbacks", "rollback", &journal.rollbacks, None) {
            Ok(()) => Ok(()),
            Err(Raise::Interrupt(_) | Raise::Keyboard | Raise::Exit(_)) => {
                journal.set("interrupted");
                self.say(
                    Level::Warning,
                    "interrupted: the rollbacks that are left are not played",
                );
                Ok(())
            }
            Err(raise) => Err(raise),
        }
    }

    /// Runs the activities of a list, those in the background beside the others, and waits for all of them.
    fn activities(
        &self,
        key: &'static str,
        level: &str,
        runs: &Mutex<Vec<Shared>>,
        journal: Option<&Journal>,
    ) -> Result<(), Raise> {
        self.controlled(level, &whole(), Lane::Foreground, |state| {
            let list = list_of(&self.part(&[])?, key)?;
            let under_way = AtomicUsize::new(0);
            let result = thread::scope(|scope| {
                let result = self.activities_in(scope, key, &list, runs, journal, &under_way);
                self.wait_for_background(result, &under_way)
            });
            *state = State::Runs(runs);
            result
        })
    }

    fn activities_in<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        key: &'static str,
        list: &[Value],
        runs: &'env Mutex<Vec<Shared>>,
        journal: Option<&Journal>,
        under_way: &'env AtomicUsize,
    ) -> Result<(), Raise> {
        for (index, activity) in list.iter().enumerate() {
            let path = vec![Step::Key(key), Step::Index(index)];
            if activity.get("background")?.is_some_and(Value::truthy) {
                self.start_background(scope, path, runs, under_way);
            } else {
                self.execute(&path, self.options.dry, Some(runs), Lane::Foreground, &|| {})?;
            }
            let status = journal.and_then(Journal::status);
            if matches!(status, Some("aborted" | "failed" | "interrupted")) {
                break;
            }
        }
        Ok(())
    }

    fn start_background<'scope, 'env>(
        &'env self,
        scope: &'scope thread::Scope<'scope, 'env>,
        path: Vec<Step>,
        runs: &'env Mutex<Vec<Shared>>,
        under_way: &'env AtomicUsize,
    ) {
        let (begin, begins) = std::sync::mpsc::channel();
        under_way.fetch_add(1, Ordering::SeqCst);
        scope.spawn(move || {
            // Nobody waits for the second beginning, which is that of the pause's activity.
            let begun = || {
                let _ = begin.send(());
            };
            let done = self.execute(&path, self.options.dry, Some(runs), Lane::Background, &begun);
            if let Err(raise) = done {
                self.say(Level::Debug, &format!("a background activity ended: {raise}"));
            }
            under_way.fetch_sub(1, Ordering::SeqCst);
        });
        // Its entry stands in the journal before that of the next activity.
        let _ = begins.recv_timeout(Duration::from_millis(BEGIN_MS_MAX));
    }

    /// Waits, unless it is interrupted or the experiment is left at once: then what runs in the background is ended.
    fn wait_for_background(&self, result: Result<(), Raise>, under_way: &AtomicUsize) -> Result<(), Raise> {
        let leaves = |raise: &Raise| *raise == Raise::Exit(30) || (!self.options.compatible && !raise_is_plain(raise));
        let mut result = result;
        if result.as_ref().err().is_some_and(leaves) {
            self.abandon();
            return result;
        }
        while under_way.load(Ordering::SeqCst) > 0 {
            if let Some(raise) = self.stop(Lane::Foreground) {
                result = Err(raise);
                self.abandon();
                break;
            }
            thread::sleep(Duration::from_millis(SLICE_MS));
        }
        result
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::SeqCst);
        let _ = self.ask("abandon", Dict::default(), Lane::Foreground);
    }

    fn journal_value(&self, journal: &Journal, snapshot: &Value, start_us: i64, end_us: Option<i64>) -> Value {
        let now = self.world().experiment.clone();
        let state = |state: &Mutex<Option<Shared>>| {
            let state = lock(state);
            state
                .as_ref()
                .map_or(Value::None, |state| self.state_of_journal(state, &now))
        };
        let during = lock(&journal.during);
        let during = during.iter().map(|state| self.state_of_journal(state, &now)).collect();
        let status = journal.status().map_or(Value::None, Value::str);
        let mut value = Value::dict([
            ("chaoslib-version", Value::str(COMPATIBLE_WITH)),
            ("platform", Value::str(&self.options.platform)),
            ("node", Value::str(&self.options.node)),
            ("experiment", experiment_of_journal(snapshot, &now)),
            ("start", Value::Str(time::iso(start_us))),
            ("status", status),
            ("deviated", Value::Bool(journal.deviated.load(Ordering::SeqCst))),
            (
                "steady_states",
                Value::dict([
                    ("before", state(&journal.before)),
                    ("after", state(&journal.after)),
                    ("during", Value::List(during)),
                ]),
            ),
            ("run", self.runs_of_journal(&journal.run, &now)),
            ("rollbacks", self.runs_of_journal(&journal.rollbacks, &now)),
        ]);
        if let (Some(end_us), Some(dict)) = (end_us, value.as_dict_mut()) {
            dict.set("end", Value::Str(time::iso(end_us)));
            dict.set("duration", Value::Float(time::seconds_between(start_us, end_us)));
        }
        value
    }

    fn runs_of_journal(&self, runs: &Mutex<Vec<Shared>>, now: &Value) -> Value {
        let entries = lock(&self.entries);
        let runs = lock(runs);
        let runs = runs.iter().map(|run| {
            let path = entries.iter().find(|(known, _)| Shared::ptr_eq(known, run));
            let run = lock(run).clone();
            match path {
                Some((_, path)) => renewed(run, now.at(path)),
                None => run,
            }
        });
        Value::List(runs.collect())
    }

    fn state_of_journal(&self, state: &Shared, now: &Value) -> Value {
        let mut state = lock(state).clone();
        if let Some(Value::List(probes)) = state.as_dict_mut().and_then(|state| state.get_mut("probes")) {
            for (index, probe) in probes.iter_mut().enumerate() {
                let path = [
                    Step::Key("steady-state-hypothesis"),
                    Step::Key("probes"),
                    Step::Index(index),
                ];
                let activity = now.at(&path).map(|activity| resolved(now, activity));
                *probe = renewed(probe.clone(), activity);
            }
        }
        state
    }

    /// What is added once everything is cleaned up: which signal it was.
    fn finish_journal(&self, value: &mut Value) {
        let interrupted = value.find("status").and_then(Value::as_str) == Some("interrupted");
        let name = match self.first_cancel() {
            Some(Cancel::Terminate) => "SIGTERM",
            Some(Cancel::Keyboard) => "SIGINT",
            _ => return,
        };
        let known = value.find("interruption").is_some_and(Value::truthy);
        if let Some(dict) = value.as_dict_mut().filter(|_| interrupted && !known) {
            dict.set(
                "interruption",
                Value::dict([
                    ("kind", Value::str("signal")),
                    ("name", Value::str(name)),
                    ("reason", Value::Str(format!("received {name}"))),
                ]),
            );
        }
    }
}

/// The experiment in the journal is a shallow copy: what stood there at the start, and what became of its lists and
/// mappings. Secrets that stand in the file itself are left out.
fn experiment_of_journal(snapshot: &Value, now: &Value) -> Value {
    let mut copy = shallow(snapshot, now);
    if let Some(secrets) = copy.as_dict_mut().and_then(|copy| copy.get_mut("secrets")) {
        *secrets = hidden(secrets);
    }
    copy
}

/// An entry's activity is such a copy, too.
fn renewed(mut run: Value, activity: Option<&Value>) -> Value {
    if let (Some(copy), Some(now)) = (run.as_dict_mut().and_then(|run| run.get_mut("activity")), activity) {
        *copy = shallow(copy, now);
    }
    run
}

fn shallow(copy: &Value, now: &Value) -> Value {
    let Value::Dict(dict) = copy else {
        return copy.clone();
    };
    let items = dict.0.iter().map(|(key, value)| {
        let nested = matches!(value, Value::List(_) | Value::Dict(_));
        let now = key.as_str().and_then(|name| now.find(name));
        let now = now.filter(|now| nested && std::mem::discriminant(*now) == std::mem::discriminant(value));
        (key.clone(), now.unwrap_or(value).clone())
    });
    Value::Dict(Dict(items.collect()))
}

fn raise_is_plain(raise: &Raise) -> bool {
    matches!(raise, Raise::Failed(_) | Raise::Error { .. })
}

fn whole() -> Context {
    Context::Part(Vec::new())
}

/// Secrets by name, their values replaced unless they only say where the secret lies.
fn hidden(value: &Value) -> Value {
    match value {
        Value::Dict(dict) if matches!(dict.get("type").and_then(Value::as_str), Some("env" | "vault")) => value.clone(),
        Value::Dict(dict) => Value::Dict(Dict(
            dict.0.iter().map(|(key, value)| (key.clone(), hidden(value))).collect(),
        )),
        Value::None => Value::None,
        _ => Value::str("********"),
    }
}

fn is_met(state: &Value) -> Result<bool, Raise> {
    Ok(state.item("steady_state_met")?.truthy())
}

/// The status of an experiment whose hypothesis isn't met: failed when a probe couldn't even be run.
fn status_of(state: &Value) -> Result<&'static str, Raise> {
    for probe in list_of(state, "probes")? {
        if probe.item("status")?.as_str() != Some("succeeded") {
            return Ok("failed");
        }
    }
    Ok("completed")
}
