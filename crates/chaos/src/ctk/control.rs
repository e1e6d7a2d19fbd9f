//! Controls: functions of modules that are called before and after experiment, hypothesis, method, rollbacks and each
//! activity.
//!
//! Which apply where follows the original to the letter, its repetitions included. Start reading at [`Engine::controlled`].

use super::bridge;
use super::engine::{Engine, Lane, Shared, lock};
use super::raise::Raise;
use super::value::{Dict, Step, Value};
use super::{Level, engine};

/// What a control is called around.
#[derive(Debug, Clone)]
pub(super) enum Context {
    /// A part of the experiment; the empty path is all of it.
    Part(Vec<Step>),
    /// The file or URL it is loaded from.
    Source(String),
}

/// What a control sees of the outcome.
#[derive(Default)]
pub(super) enum State<'a> {
    #[default]
    None,
    One(Shared),
    Runs(&'a std::sync::Mutex<Vec<Shared>>),
}

impl Engine<'_> {
    /// Runs `work` between the controls of a level; those behind it run whatever happens.
    pub(super) fn controlled<'s, T>(
        &self,
        level: &str,
        context: &Context,
        lane: Lane,
        work: impl FnOnce(&mut State<'s>) -> Result<T, Raise>,
    ) -> Result<T, Raise> {
        let mut state = State::None;
        let begun = self.apply_controls(level, context, "before", &State::None, lane);
        let done = begun.and_then(|()| work(&mut state));
        self.apply_controls(level, context, "after", &state, lane)?;
        done
    }

    /// Calls the controls of a level, before or after it.
    ///
    /// # Errors
    /// What interrupts the run; anything else that a control raises is passed over.
    pub(super) fn apply_controls(
        &self,
        level: &str,
        context: &Context,
        scope: &str,
        state: &State<'_>,
        lane: Lane,
    ) -> Result<(), Raise> {
        for control in self.controls_of(level, context)? {
            let wanted = control.get("scope")?.filter(|wanted| wanted.truthy());
            if wanted.is_some_and(|wanted| wanted.as_str() != Some(scope)) {
                continue;
            }
            let empty = Value::dict([]);
            let provider = control.get("provider")?.unwrap_or(&empty);
            if provider.get("type")?.and_then(Value::as_str) != Some("python") {
                continue;
            }
            match self.call_control(&control, level, scope, context, state, lane) {
                Ok(()) => {}
                Err(raise @ Raise::Error { .. } | raise @ Raise::Failed(_)) => {
                    self.say(Level::Debug, &format!("a control failed: {raise}"));
                }
                Err(raise) => return Err(raise),
            }
        }
        Ok(())
    }

    fn call_control(
        &self,
        control: &Value,
        level: &str,
        scope: &str,
        context: &Context,
        state: &State<'_>,
        lane: Lane,
    ) -> Result<(), Raise> {
        let function = match level {
            "loader" => format!("{scope}_loading_experiment_control"),
            level => format!("{scope}_{level}_control"),
        };
        let provider = control.item("provider")?;
        let empty = Value::dict([]);
        let arguments = provider.get("arguments")?.unwrap_or(&empty);
        let arguments = self.with_names(|names| {
            if names.is_empty() {
                Ok(arguments.clone())
            } else {
                names.substitute(arguments)
            }
        })?;
        let mut question = self.control_question(control, &function, &arguments, context);
        let seen = match state {
            State::None => Value::None,
            State::One(shared) => lock(shared).clone(),
            State::Runs(runs) => runs_value(&lock(runs)),
        };
        question.set("state", bridge::encoded(&seen));
        let (result, changes) = self.ask("control", question, lane);
        self.take_changes(changes, state);
        result.map(|_| ())
    }

    fn control_question(&self, control: &Value, function: &str, arguments: &Value, context: &Context) -> Dict {
        let mut question = Dict::default();
        question.set("control", bridge::encoded(control));
        question.set("function", Value::str(function));
        question.set("arguments", bridge::encoded(arguments));
        match context {
            Context::Part(path) => {
                let steps = path.iter().map(|step| match step {
                    Step::Key(key) => Value::str(*key),
                    Step::Index(index) => Value::Int(i64::try_from(*index).unwrap_or(0)),
                });
                question.set("path", Value::List(steps.collect()));
                question.set("experiment", bridge::encoded(&self.world().experiment));
                self.encoded_names(&mut question);
            }
            Context::Source(source) => {
                question.set("context", Value::str(source));
                for name in ["experiment", "configuration", "secrets"] {
                    question.set(name, Value::None);
                }
            }
        }
        let settings = self.world().settings.clone();
        question.set(
            "settings",
            if settings.truthy() {
                bridge::encoded(&settings)
            } else {
                Value::None
            },
        );
        question
    }

    fn take_changes(&self, changes: Dict, state: &State<'_>) {
        for (name, value) in changes.0 {
            match (name.as_str().unwrap_or_default(), state) {
                ("experiment", _) => self.world().experiment = value,
                ("configuration", _) => self.world().configuration = value,
                ("secrets", _) => self.world().secrets = value,
                ("state", State::One(shared)) => *lock(shared) = value,
                ("state", State::Runs(runs)) => {
                    let Value::List(values) = value else { continue };
                    let mut runs = lock(runs);
                    runs.truncate(values.len());
                    for (index, value) in values.into_iter().enumerate() {
                        match runs.get(index) {
                            Some(run) => *lock(run) = value,
                            None => runs.push(engine::Shared::new(value.into())),
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Controls of the settings and of control files. Those of the settings whose module isn't there are left out.
    pub(super) fn load_global_controls(&self) -> Result<(), Raise> {
        let settings = self.options.settings.clone();
        let empty = Value::dict([]);
        let mut declared = vec![settings.get("controls").ok().flatten().unwrap_or(&empty).clone()];
        declared.extend(self.options.controls.iter().cloned());
        let mut controls = Vec::new();
        for group in declared {
            let Value::Dict(group) = group else {
                return Err(Raise::error("AttributeError", "controls are a mapping"));
            };
            for (name, mut control) in group.0 {
                let Some(dict) = control.as_dict_mut() else {
                    return Err(Raise::error("TypeError", "a control is a mapping"));
                };
                dict.set("name", name);
                let provider = control.get("provider")?.filter(|provider| provider.truthy());
                let is_python = match provider {
                    Some(provider) => provider.item("type")?.as_str() == Some("python"),
                    None => false,
                };
                if !is_python || self.is_importable(control.item("provider")?.item("module")?)? {
                    controls.push(control);
                }
            }
        }
        self.world().controls = controls;
        Ok(())
    }

    fn is_importable(&self, module: &Value) -> Result<bool, Raise> {
        let mut question = Dict::default();
        question.set("module", bridge::encoded(module));
        let (answer, _) = self.ask("imported", question, Lane::Foreground);
        Ok(matches!(answer?, Value::Bool(true)))
    }

    /// `configure_control` of all controls, each name once. One that fails is left out where the settings declare it.
    pub(super) fn initialize_controls(&self) -> Result<(), Raise> {
        let mut kept = Vec::new();
        let declared = self.world().controls.clone();
        for control in declared {
            let done = match python_provider(&control)? {
                true => self.configure(&control, "configure_control"),
                false => Ok(()),
            };
            match done {
                Ok(()) => kept.push(control),
                Err(raise) if raise.is_exception() => {}
                Err(raise) => return Err(raise),
            }
        }
        self.world().controls = kept;
        for control in self.declared_once()? {
            if python_provider(&control)? {
                match self.configure(&control, "configure_control") {
                    Err(raise) if !raise.is_exception() => return Err(raise),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// `cleanup_control` of all controls.
    ///
    /// # Errors
    /// What a control of the experiment raises; those of the settings are passed over.
    pub(super) fn cleanup_controls(&self) -> Result<(), Raise> {
        for control in self.declared_once()? {
            if python_provider(&control)? {
                self.cleanup(&control)?;
            }
        }
        let controls = std::mem::take(&mut self.world().controls);
        for control in controls {
            if python_provider(&control)? {
                match self.cleanup(&control) {
                    Err(raise) if !raise.is_exception() => return Err(raise),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn configure(&self, control: &Value, function: &str) -> Result<(), Raise> {
        let provider = control.item("provider")?;
        let empty = Value::dict([]);
        let arguments = provider.get("arguments")?.unwrap_or(&empty);
        let mut question = self.control_question(control, function, arguments, &Context::Part(Vec::new()));
        // Only functions around something are given a context.
        question.remove("path");
        let (result, changes) = self.ask("control", question, Lane::Foreground);
        self.take_changes(changes, &State::None);
        result.map(|_| ())
    }

    fn cleanup(&self, control: &Value) -> Result<(), Raise> {
        let mut question = Dict::default();
        question.set("control", bridge::encoded(control));
        question.set("function", Value::str("cleanup_control"));
        question.set("arguments", Value::dict([]));
        self.ask("control", question, Lane::Foreground).0.map(|_| ())
    }

    /// All controls that the experiment declares, the first of each name.
    fn declared_once(&self) -> Result<Vec<Value>, Raise> {
        let mut seen: Vec<Value> = Vec::new();
        let mut out = Vec::new();
        for control in self.declared_controls()? {
            let Some(name) = control.get("name")?.filter(|name| name.truthy()) else {
                continue;
            };
            if !seen.iter().any(|known| known.equals(name)) {
                seen.push(name.clone());
                out.push(control);
            }
        }
        Ok(out)
    }

    pub(super) fn declared_controls(&self) -> Result<Vec<Value>, Raise> {
        let world = self.world();
        let experiment = &world.experiment;
        let mut controls = list_of(experiment, "controls")?;
        let empty = Value::dict([]);
        let hypothesis = experiment.get("steady-state-hypothesis")?.unwrap_or(&empty);
        controls.extend(list_of(hypothesis, "controls")?);
        let mut activities = list_of(hypothesis, "probes")?;
        activities.extend(list_of(experiment, "method")?);
        activities.extend(list_of(experiment, "rollbacks")?);
        for activity in &activities {
            controls.extend(list_of(activity, "controls")?);
        }
        Ok(controls)
    }

    fn controls_of(&self, level: &str, context: &Context) -> Result<Vec<Value>, Raise> {
        let world = self.world();
        let path = match context {
            Context::Part(path) if world.experiment.truthy() => path,
            _ => return Ok(world.controls.clone()),
        };
        let all = list_of(&world.experiment, "controls")?;
        let mut controls = world.controls.clone();
        if let Some(part) = world.experiment.at(path) {
            controls.extend(list_of(part, "controls")?);
        }
        if all.is_empty() {
            return Ok(controls);
        }
        if controls.is_empty() || matches!(level, "method" | "rollback") {
            let mut out = Vec::new();
            for control in all {
                if is_automatic(&control)? {
                    out.push(control);
                }
            }
            return Ok(out);
        }
        for control in controls.clone() {
            if let Some(name) = control.get("ref")? {
                for top in &all {
                    if top.item("name")?.equals(name) {
                        controls.push(top.clone());
                        break;
                    }
                }
                continue;
            }
            let name = control.get("name")?.unwrap_or(&Value::None);
            for top in all.iter().rev() {
                if top.get("name")?.unwrap_or(&Value::None).equals(name) {
                    continue;
                }
                if level != "experiment" && is_automatic(top)? {
                    controls.insert(0, top.clone());
                }
            }
        }
        Ok(controls)
    }
}

fn is_automatic(control: &Value) -> Result<bool, Raise> {
    Ok(control.get("automatic")?.is_none_or(Value::truthy))
}

fn python_provider(control: &Value) -> Result<bool, Raise> {
    match control.get("provider")?.filter(|provider| provider.truthy()) {
        Some(provider) => Ok(provider.item("type")?.as_str() == Some("python")),
        None => Ok(false),
    }
}

/// The items of a key that is there or not.
pub(super) fn list_of(value: &Value, key: &str) -> Result<Vec<Value>, Raise> {
    match value.get(key)? {
        Some(items) => items.iterate(),
        None => Ok(Vec::new()),
    }
}

pub(super) fn runs_value(runs: &[Shared]) -> Value {
    Value::List(runs.iter().map(|run| lock(run).clone()).collect())
}
