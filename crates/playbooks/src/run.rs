//! Runs a playbook (CACAO 2.0 sections 4 and 5).
//!
//! Running on is replay: the workflow is walked from its start each time, and what the journal says is finished is
//! not done again. That works because every choice depends on variables alone, and these on what the journal holds.
//! A step that fails never goes on by `on_completion`: it takes `on_failure`, or the playbook's exception step.
//!
//! It deliberately touches nothing itself: see [`Actuators`]. What becomes of a command that was interrupted stands in
//! `Engine::interrupted`.
//!
//! Start reading at [`run`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use evidence::Timestamp;

use crate::actuators::{Actuators, Output, Shell};
use crate::command::{self, Call};
use crate::condition::Condition;
use crate::journal::format::{Record, Values};
use crate::journal::{INTERRUPTED, RunLog, RunStore, StoreError, UnitState, Waiting, WaitingFor};
use crate::playbook::{Command, Kind, Model, Playbook, Step, Variable};
use crate::variables::references;

/// A command without a time limit of its own is ended after this long.
pub const COMMAND_TIMEOUT_MS_MAX: u64 = 600_000;
/// A `while-condition` goes round so often at most.
pub const WHILE_ROUNDS_MAX: u64 = 1_000;
/// Steps that one run executes, replayed ones included.
pub const RUN_STEPS_MAX: u64 = 100_000;
/// Branches of one parallel step that run at the same time; more take turns.
pub const PARALLEL_MAX: usize = 16;
/// Branches within branches and calls within calls.
pub const DEPTH_MAX: u32 = 32;
/// A variable's value that a step sets is cut to this length.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Longest wait before a step.
pub const DELAY_MS_MAX: u64 = 24 * 3_600_000;
/// Of a command's error output, so much is told.
const TOLD_CHARS_MAX: usize = 300;

/// What a run is begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The run's name, new for a new run: letters, digits, `-`, `_`, `.`.
    pub run: String,
    /// Values of playbook variables.
    pub variables: BTreeMap<String, String>,
    /// Variables whose value is secret, each with the file that holds it. A command for bash sees the file's path,
    /// a request the secret itself; it is never written to the journal.
    pub secrets: BTreeMap<String, PathBuf>,
}

/// How far a run came.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    pub run: String,
    pub playbook: String,
    pub status: RunStatus,
    /// What was done, by the time at which it began.
    pub units: Vec<UnitRecord>,
    /// The playbook's variables. A secret's is not among them.
    pub variables: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunStatus {
    Succeeded,
    Failed {
        reason: String,
    },
    /// It goes on when a person has answered; see [`RunStore::answer`] and [`RunStore::settle`].
    Waiting(Vec<Waiting>),
}

/// One command of one execution of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitRecord {
    pub unit: String,
    /// What its step is called: that of the playbook that was run, for one within another.
    pub name: String,
    pub began: Timestamp,
    pub changed: Timestamp,
    /// `done`, `failed: …`, `waiting`, `interrupted`.
    pub state: String,
    /// The person who answered or settled it, where one did.
    pub by: Option<String>,
}

/// A run that could not begin or go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Inputs(String),
}

/// Begins a run, or goes on with it, until it is over or a person is needed.
///
/// # Errors
/// When the inputs don't fit the playbook or the journal can't be written; the same call goes on from there.
pub fn run(
    playbook: &Playbook,
    inputs: &Inputs,
    actuators: &dyn Actuators,
    store: &RunStore,
) -> Result<RunRecord, RunError> {
    let log = store.open(&inputs.run)?;
    let model = &playbook.model;
    let mut scope = Scope::of(&model.variables);
    scope.take_inputs(model, inputs).map_err(RunError::Inputs)?;
    if log.contents().begun.is_none() {
        in_force(model, actuators.now().utc).map_err(RunError::Inputs)?;
        store.keep(playbook)?;
    }
    log.begin(playbook, inputs, actuators.now().utc)?;
    if log.contents().ended.is_some() {
        return Ok(record(playbook, &log, None, &scope));
    }
    let engine = Engine {
        actuators,
        store,
        log: &log,
        run: &inputs.run,
        steps: AtomicU64::new(0),
    };
    let frame = Frame {
        model,
        depth: 0,
        deadline: None,
    };
    let flow = engine.playbook(&frame, "", &mut scope)?;
    let ended = match flow {
        Flow::Stopped(waiting) => return Ok(record(playbook, &log, Some(waiting), &scope)),
        Flow::Done => (true, String::new()),
        Flow::Failed(reason) => (false, reason),
    };
    log.write(Record::Ended {
        at: actuators.now().utc,
        ok: ended.0,
        reason: ended.1,
        values: scope.values(),
    })?;
    Ok(record(playbook, &log, None, &scope))
}

/// How far a run came, and nothing is done.
///
/// # Errors
/// When there is no such run, or its journal can't be read.
pub fn so_far(run: &str, store: &RunStore) -> Result<RunRecord, RunError> {
    let (playbook, _) = store.begun(run)?;
    let waiting = store.summary(run)?.waiting;
    let log = store.open(run)?;
    let scope = Scope::of(&playbook.model.variables);
    Ok(record(&playbook, &log, Some(waiting), &scope))
}

fn in_force(model: &Model, now: Timestamp) -> Result<(), String> {
    let time = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
    if model.revoked {
        return Err("the playbook is revoked by its creator".to_owned());
    }
    if time(&model.valid_from).is_some_and(|from| now < from) {
        return Err("the playbook is not valid yet".to_owned());
    }
    if time(&model.valid_until).is_some_and(|until| now >= until) {
        return Err("the playbook is not valid any more".to_owned());
    }
    Ok(())
}

fn record(playbook: &Playbook, log: &RunLog, waiting: Option<Vec<Waiting>>, scope: &Scope) -> RunRecord {
    let contents = log.contents();
    let mut units: Vec<UnitRecord> = contents
        .units
        .iter()
        .map(|(unit, known)| UnitRecord {
            unit: unit.clone(),
            name: name_of(&playbook.model, unit),
            began: known.began,
            changed: known.changed,
            by: known.by.clone(),
            state: match &known.state {
                UnitState::Started => "interrupted".to_owned(),
                UnitState::Asked { .. } => "waiting".to_owned(),
                UnitState::Answered { by, .. } => format!("answered by {by}"),
                UnitState::Settled { by, .. } => format!("settled by {by}"),
                UnitState::Finished { ok: true, .. } => "done".to_owned(),
                UnitState::Finished { reason, .. } => format!("failed: {reason}"),
            },
        })
        .collect();
    units.sort_by_key(|unit| unit.began);
    let status = match (&contents.ended, waiting) {
        (Some((true, _)), _) => RunStatus::Succeeded,
        (Some((false, reason)), _) => RunStatus::Failed { reason: reason.clone() },
        (None, waiting) => RunStatus::Waiting(waiting.unwrap_or_default()),
    };
    let variables = if contents.ended.is_some() {
        contents.values.clone()
    } else {
        scope.values()
    };
    RunRecord {
        run: match &contents.begun {
            Some(Record::Begun { run, .. }) => run.clone(),
            _ => String::new(),
        },
        playbook: playbook.name().to_owned(),
        status,
        units,
        variables,
    }
}

fn name_of(model: &Model, unit: &str) -> String {
    let step = unit.split('/').rev().find_map(|part| model.steps.get_key_value(part));
    step.map_or_else(String::new, |(id, step)| {
        if step.name.is_empty() {
            id.clone()
        } else {
            step.name.clone()
        }
    })
}

/// What a walk came to.
#[derive(Debug, PartialEq)]
enum Flow {
    Done,
    Failed(String),
    /// Nothing more can be done here before a person has answered.
    Stopped(Vec<Waiting>),
}

/// Which playbook is walked, and how far within another.
#[derive(Clone, Copy)]
struct Frame<'a> {
    model: &'a Model,
    depth: u32,
    /// Boot time at which the step around it has failed.
    deadline: Option<Duration>,
}

impl Frame<'_> {
    fn deeper(self, deadline: Option<Duration>) -> Self {
        let deadline = match (self.deadline, deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Frame {
            depth: self.depth + 1,
            deadline,
            ..self
        }
    }
}

struct Engine<'a> {
    actuators: &'a dyn Actuators,
    store: &'a RunStore,
    log: &'a RunLog,
    run: &'a str,
    /// Executed so far.
    steps: AtomicU64,
}

impl Engine<'_> {
    /// A whole playbook, with its exception step where something fails that nothing takes care of.
    fn playbook(&self, frame: &Frame<'_>, prefix: &str, scope: &mut Scope) -> Result<Flow, StoreError> {
        let flow = self.walk(frame, prefix, &frame.model.start, None, scope)?;
        let (Flow::Failed(reason), Some(exception)) = (&flow, &frame.model.exception) else {
            return Ok(flow);
        };
        let prefix = format!("{prefix}exception/");
        Ok(match self.walk(frame, &prefix, exception, None, scope)? {
            Flow::Stopped(waiting) => Flow::Stopped(waiting),
            Flow::Done => flow,
            Flow::Failed(another) => Flow::Failed(format!("{reason}; and in the exception step: {another}")),
        })
    }

    /// Steps one after the other, to an end step or back to the step `until`.
    fn walk(
        &self,
        frame: &Frame<'_>,
        prefix: &str,
        first: &str,
        until: Option<&str>,
        scope: &mut Scope,
    ) -> Result<Flow, StoreError> {
        if frame.depth > DEPTH_MAX {
            return Ok(Flow::Failed(format!("branches and calls are deeper than {DEPTH_MAX}")));
        }
        let mut at = first.to_owned();
        while until != Some(at.as_str()) {
            if self.steps.fetch_add(1, Ordering::Relaxed) >= RUN_STEPS_MAX {
                return Ok(Flow::Failed(format!("more than {RUN_STEPS_MAX} steps")));
            }
            let Some(step) = frame.model.steps.get(&at) else {
                return Ok(Flow::Failed(format!("there is no step `{at}`")));
            };
            if matches!(step.kind, Kind::End) {
                return Ok(Flow::Done);
            }
            let unit = format!("{prefix}{at}");
            let next = match self.step(frame, &unit, &at, step, scope)? {
                Flow::Stopped(waiting) => return Ok(Flow::Stopped(waiting)),
                Flow::Done => step.on_success.as_ref().or(step.on_completion.as_ref()),
                Flow::Failed(reason) => match &step.on_failure {
                    Some(next) => Some(next),
                    None => return Ok(Flow::Failed(reason)),
                },
            };
            match next {
                Some(next) => at.clone_from(next),
                None => return Ok(Flow::Done),
            }
        }
        Ok(Flow::Done)
    }

    fn step(
        &self,
        frame: &Frame<'_>,
        unit: &str,
        id: &str,
        step: &Step,
        scope: &mut Scope,
    ) -> Result<Flow, StoreError> {
        let mut scope = scope.with(&step.variables);
        let begun = self.actuators.now().boottime;
        let deadline = step.timeout.map(|timeout| begun + Duration::from_millis(timeout));
        let inner = frame.deeper(deadline);
        Ok(match &step.kind {
            Kind::Start | Kind::End => Flow::Done,
            Kind::Action { .. } => self.action(&inner, unit, id, step, &mut scope)?,
            Kind::PlaybookAction { .. } => self.call(&inner, unit, step, &mut scope)?,
            Kind::Parallel { next_steps } => self.parallel(&inner, unit, next_steps, &mut scope)?,
            Kind::IfCondition {
                condition,
                on_true,
                on_false,
            } => match decide(condition, &scope) {
                Err(reason) => Flow::Failed(format!("`{id}`: {reason}")),
                Ok(true) => self.branch(&inner, &format!("{unit}/true/"), on_true, None, &mut scope)?,
                Ok(false) => match on_false {
                    None => Flow::Done,
                    Some(to) => self.branch(&inner, &format!("{unit}/false/"), to, None, &mut scope)?,
                },
            },
            Kind::WhileCondition { condition, on_true } => {
                self.rounds(&inner, unit, id, condition, on_true, &mut scope)?
            }
            Kind::SwitchCondition { switch, cases } => match switched(switch, cases, &scope) {
                Err(reason) => Flow::Failed(format!("`{id}`: {reason}")),
                Ok(None) => Flow::Done,
                Ok(Some((case, to))) => {
                    let case = crate::playbook::pointer_part(case);
                    self.branch(&inner, &format!("{unit}/{case}/"), to, None, &mut scope)?
                }
            },
        })
    }

    /// A branch sees the variables of the steps around it and may set them.
    fn branch(
        &self,
        frame: &Frame<'_>,
        prefix: &str,
        first: &str,
        until: Option<&str>,
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        let mut inner = scope.flattened();
        let before = inner.clone();
        let flow = self.walk(frame, prefix, first, until, &mut inner)?;
        scope.take_changes(&before, &inner);
        Ok(flow)
    }

    fn rounds(
        &self,
        frame: &Frame<'_>,
        unit: &str,
        id: &str,
        condition: &str,
        on_true: &str,
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        for round in 0..WHILE_ROUNDS_MAX {
            match decide(condition, scope) {
                Err(reason) => return Ok(Flow::Failed(format!("`{id}`: {reason}"))),
                Ok(false) => return Ok(Flow::Done),
                Ok(true) => {}
            }
            if self.is_late(frame) {
                return Ok(Flow::Failed(format!("`{id}`: ACTION_TIMEOUT, it still goes round")));
            }
            match self.branch(frame, &format!("{unit}/{round}/"), on_true, Some(id), scope)? {
                Flow::Done => {}
                other => return Ok(other),
            }
        }
        Ok(Flow::Failed(format!(
            "`{id}`: the condition still holds after {WHILE_ROUNDS_MAX} rounds"
        )))
    }

    /// Each branch has variables of its own; what they set is put together in the order in which the step names
    /// them, so that replay comes to the same.
    fn parallel(
        &self,
        frame: &Frame<'_>,
        unit: &str,
        branches: &[String],
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        let before = scope.flattened();
        let mut flows = Vec::new();
        for (turn, some) in branches.chunks(PARALLEL_MAX).enumerate() {
            let walked: Vec<Result<(Flow, Scope), StoreError>> = std::thread::scope(|threads| {
                let started: Vec<_> = some
                    .iter()
                    .enumerate()
                    .map(|(at, first)| {
                        let mut inner = before.clone();
                        let prefix = format!("{unit}/{}/", turn * PARALLEL_MAX + at);
                        threads.spawn(move || {
                            let flow = self.walk(frame, &prefix, first, None, &mut inner)?;
                            Ok((flow, inner))
                        })
                    })
                    .collect();
                let joined = started.into_iter().map(std::thread::ScopedJoinHandle::join);
                joined
                    .map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            });
            for walked in walked {
                let (flow, inner) = walked?;
                scope.take_changes(&before, &inner);
                flows.push(flow);
            }
        }
        let (mut waiting, mut reasons) = (Vec::new(), Vec::new());
        for flow in flows {
            match flow {
                Flow::Done => {}
                Flow::Failed(reason) => reasons.push(reason),
                Flow::Stopped(places) => waiting.extend(places),
            }
        }
        Ok(match (waiting.is_empty(), reasons.is_empty()) {
            (false, _) => Flow::Stopped(waiting),
            (true, false) => Flow::Failed(reasons.join("; ")),
            (true, true) => Flow::Done,
        })
    }

    fn call(&self, frame: &Frame<'_>, unit: &str, step: &Step, scope: &mut StepScope<'_>) -> Result<Flow, StoreError> {
        let Kind::PlaybookAction {
            playbook_id,
            playbook_version,
            in_args,
            out_args,
        } = &step.kind
        else {
            return Ok(Flow::Done);
        };
        if let Some(UnitState::Finished { ok, reason, values }) = self.log.unit(unit).map(|unit| unit.state) {
            return Ok(self.finished(ok, reason, &values, scope));
        }
        let called = self.log.contents().called.get(unit).cloned();
        let called = match called {
            Some(digest) => self.store.playbook(self.run, &digest)?,
            None => {
                let found = self.actuators.playbook(playbook_id, playbook_version.as_deref());
                let Some(playbook) = found else {
                    let reason = format!("the playbook `{playbook_id}` is not known here");
                    return self.finish(unit, false, &reason, Values::new(), scope);
                };
                self.store.keep(&playbook)?;
                self.log.write(Record::Called {
                    unit: unit.to_owned(),
                    playbook: playbook.digest().hex(),
                    at: self.actuators.now().utc,
                })?;
                playbook
            }
        };
        self.delay(step);
        let mut inner = Scope::of(&called.model.variables);
        for name in in_args.iter().map(|name| plain_name(name)) {
            if let Err(reason) = inner.pass(name, scope.slot(name)) {
                return self.finish(unit, false, &reason, Values::new(), scope);
            }
        }
        let inner_frame = Frame {
            model: &called.model,
            ..*frame
        };
        match self.playbook(&inner_frame, &format!("{unit}/call/"), &mut inner)? {
            Flow::Stopped(waiting) => Ok(Flow::Stopped(waiting)),
            Flow::Failed(reason) => {
                let reason = format!("the playbook `{}` failed: {reason}", called.name());
                self.finish(unit, false, &reason, Values::new(), scope)
            }
            Flow::Done => {
                let values = inner.values();
                let names = out_args.iter().map(|name| plain_name(name));
                let out = names.map(|name| (name.to_owned(), values.get(name).cloned().flatten()));
                let out = out.collect();
                self.finish(unit, true, "", out, scope)
            }
        }
    }

    fn action(
        &self,
        frame: &Frame<'_>,
        unit: &str,
        id: &str,
        step: &Step,
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        let Kind::Action {
            commands,
            agent,
            targets,
            ..
        } = &step.kind
        else {
            return Ok(Flow::Done);
        };
        let mut delayed = false;
        for (at, command) in commands.iter().enumerate() {
            // A request goes to each target; a command for a shell or a person is one, whatever it is about.
            let parties: Vec<Option<&str>> = match command.kind.as_str() {
                "http-api" if targets.is_empty() => vec![Some(agent)],
                "http-api" => targets.iter().map(|target| Some(target.as_str())).collect(),
                _ => vec![None],
            };
            for (number, party) in parties.iter().enumerate() {
                let unit = if parties.len() == 1 {
                    format!("{unit}/{at}")
                } else {
                    format!("{unit}/{at}.{number}")
                };
                if !delayed && self.log.unit(&unit).is_none() {
                    self.delay(step);
                }
                delayed = true;
                let place = Place {
                    frame,
                    unit: &unit,
                    id,
                    step,
                    command,
                    party: *party,
                };
                match self.command(&place, scope)? {
                    Flow::Done => {}
                    other => return Ok(other),
                }
            }
        }
        Ok(Flow::Done)
    }

    fn command(&self, place: &Place<'_>, scope: &mut StepScope<'_>) -> Result<Flow, StoreError> {
        let Some(known) = self.log.unit(place.unit) else {
            return self.execute(place, scope);
        };
        if let Some(by) = self.unvouched(place, &known.state) {
            return self.ask_again(place, &known.state, &by, scope);
        }
        match known.state {
            UnitState::Finished { ok, reason, values } => Ok(self.finished(ok, reason, &values, scope)),
            UnitState::Started => self.interrupted(place, scope),
            UnitState::Settled { happened: true, .. } => self.finish(place.unit, true, "", Values::new(), scope),
            UnitState::Settled { happened: false, .. } => self.execute(place, scope),
            UnitState::Answered { done, by, values } => {
                let wanted = command::out_names(&place.step.kind);
                let values = values.into_iter().filter(|(name, _)| wanted.contains(&name.as_str()));
                let reason = if done {
                    String::new()
                } else {
                    format!("`{}`: {by} said no", place.label())
                };
                self.finish(place.unit, done, &reason, values.collect(), scope)
            }
            UnitState::Asked { instructions } => {
                let late = place.step.timeout.is_some_and(|timeout| {
                    let since = self.actuators.now().utc.duration_since(known.began);
                    since.as_millis() >= i128::from(timeout)
                });
                if late {
                    let reason = format!("`{}`: ACTION_TIMEOUT, nobody answered in time", place.label());
                    return self.finish(place.unit, false, &reason, Values::new(), scope);
                }
                Ok(Flow::Stopped(vec![Waiting {
                    unit: place.unit.to_owned(),
                    instructions,
                    kind: WaitingFor::Answer,
                }]))
            }
        }
    }

    /// Whose word the journal has here, where nobody vouches for it.
    fn unvouched(&self, place: &Place<'_>, state: &UnitState) -> Option<String> {
        let (kind, by, done, values) = match state {
            UnitState::Answered { by, done, values } => (WaitingFor::Answer, by, *done, values.clone()),
            UnitState::Settled { by, happened } => (WaitingFor::Settlement, by, *happened, Values::new()),
            _ => return None,
        };
        let values = values.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let word = self.log.word(place.unit, kind, by, done, values.collect())?;
        (!self.actuators.vouched(&word)).then(|| by.clone())
    }

    /// Back to where the run waited before somebody said something.
    fn ask_again(
        &self,
        place: &Place<'_>,
        state: &UnitState,
        by: &str,
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        if matches!(state, UnitState::Settled { .. }) {
            self.log.write(Record::Started {
                unit: place.unit.to_owned(),
                at: self.actuators.now().utc,
            })?;
            return self.interrupted(place, scope);
        }
        let mut flow = self.execute(place, scope)?;
        if let Flow::Stopped(waiting) = &mut flow {
            for place in waiting {
                let why = format!("no approver's signature stands for what `{by}` said: ");
                place.instructions.insert_str(0, &why);
            }
        }
        Ok(flow)
    }

    /// A command that was started and has no result: done again only where that is harmless, else taken back, else
    /// left to a person. Never silently twice.
    fn interrupted(&self, place: &Place<'_>, scope: &mut StepScope<'_>) -> Result<Flow, StoreError> {
        let recovery = place.step.recovery().unwrap_or_default();
        if recovery.idempotent {
            return self.execute(place, scope);
        }
        let left = |instructions: String| {
            Flow::Stopped(vec![Waiting {
                unit: place.unit.to_owned(),
                instructions,
                kind: WaitingFor::Settlement,
            }])
        };
        let compensation = recovery.compensation.as_ref();
        let Some((id, step)) = compensation.and_then(|id| place.frame.model.steps.get_key_value(id)) else {
            return Ok(left(format!("`{}`: {INTERRUPTED}", place.label())));
        };
        let unit = format!("{}/compensation/{id}", place.unit);
        let mut inner = scope.flattened();
        let mut inner = inner.with(&step.variables);
        let frame = place.frame.deeper(None);
        match self.action(&frame, &unit, id, step, &mut inner)? {
            Flow::Done => {
                let reason = format!("`{}` was interrupted, and taken back by `{id}`", place.label());
                self.finish(place.unit, false, &reason, Values::new(), scope)
            }
            Flow::Failed(reason) => Ok(left(format!(
                "`{}`: {INTERRUPTED}; its compensation failed: {reason}",
                place.label()
            ))),
            Flow::Stopped(waiting) => Ok(Flow::Stopped(waiting)),
        }
    }

    fn execute(&self, place: &Place<'_>, scope: &mut StepScope<'_>) -> Result<Flow, StoreError> {
        let secret = |file: &std::path::Path| self.actuators.secret(file);
        let prepared = command::prepare(
            place.command,
            place.party,
            place.frame.model,
            &place.step.kind,
            scope,
            &secret,
        );
        let call = match prepared {
            Ok(call) => call,
            // Nothing was done: what was started before and is idempotent has failed all the same.
            Err(reason) => {
                let reason = format!("`{}`: {reason}", place.label());
                return self.finish(place.unit, false, &reason, Values::new(), scope);
            }
        };
        if let Call::Manual(instructions) = call {
            return self.ask(place, instructions);
        }
        if self.is_late(place.frame) {
            let reason = format!("`{}`: ACTION_TIMEOUT", place.label());
            return self.finish(place.unit, false, &reason, Values::new(), scope);
        }
        self.log.write(Record::Started {
            unit: place.unit.to_owned(),
            at: self.actuators.now().utc,
        })?;
        let done = self.act(call, self.time_left(place.frame));
        let secrets = scope.secrets(&secret);
        match done {
            Ok(printed) => {
                let printed = redacted(&String::from_utf8_lossy(&printed), &secrets);
                let wanted = command::out_names(&place.step.kind);
                let values = command::out_values(&place.command.kind, &wanted, &printed);
                self.finish(place.unit, true, "", values, scope)
            }
            Err(reason) => {
                let reason = format!("`{}`: {}", place.label(), redacted(&reason, &secrets));
                self.finish(place.unit, false, &reason, Values::new(), scope)
            }
        }
    }

    fn ask(&self, place: &Place<'_>, instructions: String) -> Result<Flow, StoreError> {
        self.log.write(Record::Asked {
            unit: place.unit.to_owned(),
            at: self.actuators.now().utc,
            instructions: instructions.clone(),
        })?;
        let waiting = Waiting {
            unit: place.unit.to_owned(),
            instructions,
            kind: WaitingFor::Answer,
        };
        self.actuators.asked(&waiting);
        Ok(Flow::Stopped(vec![waiting]))
    }

    /// What it printed, or why it failed.
    fn act(&self, call: Call, timeout: Duration) -> Result<Vec<u8>, String> {
        match call {
            Call::Manual(_) => Ok(Vec::new()),
            Call::Shell {
                command,
                parameters,
                words,
            } => {
                if let Some(done) = words.and_then(|words| self.actuators.action(&words)) {
                    return done.map(String::into_bytes);
                }
                let shell = Shell {
                    command: &command,
                    parameters,
                    timeout,
                };
                let Output {
                    ok,
                    reason,
                    stdout,
                    stderr,
                } = self.actuators.shell(&shell)?;
                if ok {
                    return Ok(stdout);
                }
                let told = String::from_utf8_lossy(&stderr);
                let last = told.lines().rev().find(|line| !line.trim().is_empty());
                Err(last.map_or(reason.clone(), |last| {
                    let last: String = last.trim().chars().take(TOLD_CHARS_MAX).collect();
                    format!("{reason}: {last}")
                }))
            }
            Call::Http(mut call) => {
                call.timeout = timeout;
                let answer = self.actuators.http(&call)?;
                match answer.status {
                    200..=299 => Ok(answer.body),
                    status => Err(format!("`{}` answered {status}", call.host)),
                }
            }
        }
    }

    fn finish(
        &self,
        unit: &str,
        ok: bool,
        reason: &str,
        values: Values,
        scope: &mut StepScope<'_>,
    ) -> Result<Flow, StoreError> {
        self.log.write(Record::Finished {
            unit: unit.to_owned(),
            at: self.actuators.now().utc,
            ok,
            reason: reason.to_owned(),
            values: values.clone(),
        })?;
        Ok(self.finished(ok, reason.to_owned(), &values, scope))
    }

    fn finished(&self, ok: bool, reason: String, values: &Values, scope: &mut StepScope<'_>) -> Flow {
        for (name, value) in values {
            scope.set(name, value.clone());
        }
        if ok { Flow::Done } else { Flow::Failed(reason) }
    }

    fn delay(&self, step: &Step) {
        if let Some(delay) = step.delay {
            self.actuators.wait(Duration::from_millis(delay.min(DELAY_MS_MAX)));
        }
    }

    fn is_late(&self, frame: &Frame<'_>) -> bool {
        frame
            .deadline
            .is_some_and(|deadline| self.actuators.now().boottime >= deadline)
    }

    fn time_left(&self, frame: &Frame<'_>) -> Duration {
        let most = Duration::from_millis(COMMAND_TIMEOUT_MS_MAX);
        match frame.deadline {
            // A step's own limit may be longer than ours.
            Some(deadline) => deadline.saturating_sub(self.actuators.now().boottime),
            None => most,
        }
    }
}

/// One command, and what is around it.
struct Place<'a> {
    frame: &'a Frame<'a>,
    unit: &'a str,
    /// Its step.
    id: &'a str,
    step: &'a Step,
    command: &'a Command,
    /// Agent or target that a request goes to.
    party: Option<&'a str>,
}

impl Place<'_> {
    /// What the step is called in a sentence.
    fn label(&self) -> &str {
        if self.step.name.is_empty() {
            self.id
        } else {
            &self.step.name
        }
    }
}

fn decide(condition: &str, scope: &StepScope<'_>) -> Result<bool, String> {
    Condition::parse(condition)?.holds(&|name| scope.plain(name))
}

fn switched<'a>(
    switch: &str,
    cases: &'a BTreeMap<String, String>,
    scope: &StepScope<'_>,
) -> Result<Option<(&'a str, &'a str)>, String> {
    let found = references(switch);
    let Some((_, name)) = found.first() else {
        return Err(format!("`{switch}` is no variable: `__name__:value` is the form"));
    };
    let value = scope.plain(name)?.unwrap_or_default();
    let case = cases.get_key_value(&value).or_else(|| cases.get_key_value("default"));
    Ok(case.map(|(case, step)| (case.as_str(), step.as_str())))
}

/// Some producers write the reference where the name is meant.
pub(crate) fn plain_name(name: &str) -> &str {
    name.strip_suffix(":value").unwrap_or(name)
}

fn redacted(text: &str, secrets: &[String]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "[secret]");
    }
    text
}

/// The variables of one playbook.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scope {
    slots: BTreeMap<String, Slot>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    pub content: Content,
    constant: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    /// `None`: unknown.
    Plain(Option<String>),
    /// The file that holds it.
    Secret(PathBuf),
}

impl Scope {
    fn of(variables: &BTreeMap<String, Variable>) -> Scope {
        let slots = variables.iter().map(|(name, variable)| {
            let slot = Slot {
                content: Content::Plain(variable.value.clone()),
                constant: variable.constant,
            };
            (name.clone(), slot)
        });
        Scope { slots: slots.collect() }
    }

    fn take_inputs(&mut self, model: &Model, inputs: &Inputs) -> Result<(), String> {
        let plain = inputs
            .variables
            .iter()
            .map(|(name, value)| (name, Content::Plain(Some(value.clone()))));
        let secret = inputs
            .secrets
            .iter()
            .map(|(name, file)| (name, Content::Secret(file.clone())));
        for (name, content) in plain.chain(secret) {
            let Some(variable) = model.variables.get(name) else {
                let known: Vec<String> = model.variables.keys().map(|name| format!("`{name}`")).collect();
                return Err(format!(
                    "the playbook has no variable `{name}`\nhint: it has {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ));
            };
            if variable.constant {
                return Err(format!("the variable `{name}` is constant"));
            }
            if let Content::Plain(Some(value)) = &content {
                fits(name, &variable.kind, value)?;
            }
            let slot = Slot {
                content,
                constant: false,
            };
            self.slots.insert(name.clone(), slot);
        }
        let missing: Vec<String> = model
            .variables
            .iter()
            .filter(|(name, variable)| {
                variable.external
                    && self
                        .slots
                        .get(*name)
                        .is_some_and(|slot| slot.content == Content::Plain(None))
            })
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("the playbook wants a value for {}", missing.join(", ")))
        }
    }

    /// Takes a value over from a playbook that calls this one.
    fn pass(&mut self, name: &str, slot: Option<&Slot>) -> Result<(), String> {
        let Some(given) = slot else {
            return Err(format!("the variable `{name}` is not declared"));
        };
        match self.slots.get_mut(name) {
            None => Err(format!("the called playbook has no variable `{name}`")),
            Some(slot) if slot.constant => Err(format!("the called playbook's variable `{name}` is constant")),
            Some(slot) => {
                slot.content.clone_from(&given.content);
                Ok(())
            }
        }
    }

    fn with<'a>(&'a mut self, variables: &BTreeMap<String, Variable>) -> StepScope<'a> {
        StepScope {
            own: Scope::of(variables),
            outer: self,
        }
    }

    fn values(&self) -> Values {
        let plain = self.slots.iter().filter_map(|(name, slot)| match &slot.content {
            Content::Plain(value) => Some((name.clone(), value.clone())),
            Content::Secret(_) => None,
        });
        plain.collect()
    }
}

/// Whether a value is one of its variable's type; types we don't know take everything.
fn fits(name: &str, kind: &str, value: &str) -> Result<(), String> {
    let ok = match kind {
        "bool" => ["true", "false"].contains(&value),
        "integer" | "long" => value.parse::<i64>().is_ok(),
        "float" => value.parse::<f64>().is_ok_and(f64::is_finite),
        "ipv4-addr" => value.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6-addr" => value.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => true,
    };
    if ok {
        Ok(())
    } else {
        Err(format!("`{name}` wants a value of type `{kind}`"))
    }
}

/// The variables as one step sees them: its own before those around it.
pub(crate) struct StepScope<'a> {
    own: Scope,
    outer: &'a mut Scope,
}

impl StepScope<'_> {
    pub fn slot(&self, name: &str) -> Option<&Slot> {
        self.own.slots.get(name).or_else(|| self.outer.slots.get(name))
    }

    pub fn content(&self, name: &str) -> Result<&Content, String> {
        let slot = self.slot(name);
        slot.map(|slot| &slot.content)
            .ok_or_else(|| format!("the variable `{name}` is not declared"))
    }

    /// A value that may be seen.
    fn plain(&self, name: &str) -> Result<Option<String>, String> {
        match self.content(name)? {
            Content::Plain(value) => Ok(value.clone()),
            Content::Secret(_) => Err(format!("`{name}` is secret, and nothing is decided by it")),
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        let slot = match self.own.slots.get_mut(name) {
            Some(slot) => Some(slot),
            None => self.outer.slots.get_mut(name),
        };
        if let Some(slot) = slot.filter(|slot| !slot.constant) {
            slot.content = Content::Plain(value);
        }
    }

    /// All of them in one, for a branch.
    fn flattened(&self) -> Scope {
        let mut scope = self.outer.clone();
        scope.slots.extend(self.own.slots.clone());
        scope
    }

    /// What a branch has changed.
    fn take_changes(&mut self, before: &Scope, after: &Scope) {
        for (name, slot) in &after.slots {
            if before.slots.get(name) != Some(slot)
                && let Content::Plain(value) = &slot.content
            {
                self.set(name, value.clone());
            }
        }
    }

    /// The secrets' texts, so that they can be kept out of what is told. One that can't be read can't be told.
    fn secrets(&self, read: &dyn Fn(&std::path::Path) -> Result<String, String>) -> Vec<String> {
        let slots = self.own.slots.values().chain(self.outer.slots.values());
        let files = slots.filter_map(|slot| match &slot.content {
            Content::Secret(file) => Some(file),
            Content::Plain(_) => None,
        });
        files.filter_map(|file| read(file).ok()).collect()
    }
}
