//! Rollbacks apart from their run: written down before the first action, and run later by another process.
//!
//! What is written holds no secret's value. A secret that lies in the environment stays a reference to it; one that stands
//! in the experiment's own file, or came from a file of variables, is read from there again: that file is then needed.
//! Controls are left out: an undo has no use for them.
//!
//! Start reading at [`rollbacks_of`] and [`run_rollbacks`].

use std::path::Path;

use super::engine::Engine;
use super::load::{Loaded, parse_json, parse_yaml};
use super::plan::resolved;
use super::raise::Raise;
use super::value::{Dict, Step, Value};
use super::{Hooks, Options, Variables, json, settings};

const FORMAT: i64 = 1;

/// The rollbacks of an experiment, as [`Hooks::permit`] is given them: enough to run them without the experiment.
pub fn rollbacks_of(loaded: &Loaded, options: &Options) -> serde_json::Value {
    let declared = loaded.experiment.find("configuration").cloned();
    recorded(
        &loaded.experiment,
        &declared.unwrap_or_else(|| Value::dict([])),
        loaded.source.as_deref(),
        options,
    )
}

/// Runs rollbacks that were written down, each of them, whatever becomes of the others.
///
/// `options` are this process's: its environment, its interpreter.
///
/// # Errors
/// A sentence that names the ones that failed, or what is missing.
pub fn run_rollbacks(recorded: &serde_json::Value, options: &Options, hooks: &dyn Hooks) -> Result<(), String> {
    let recorded = json::from_serde(recorded);
    if !recorded
        .find("format")
        .is_some_and(|format| format.equals(&Value::Int(FORMAT)))
    {
        return Err("these rollbacks are written in a format that is not known here".to_owned());
    }
    let text = |key: &str| recorded.find(key).and_then(Value::as_str);
    let mut options = options.clone();
    if let Some(cwd) = text("cwd") {
        options.cwd = cwd.into();
    }
    let mut variables = Variables::default();
    for file in recorded
        .find("variable_files")
        .and_then(|files| files.iterate().ok())
        .unwrap_or_default()
    {
        let path = options.cwd.join(file.text());
        let env = settings::variables_of_file(&path, &mut variables).map_err(|error| error.to_string())?;
        options
            .env
            .extend(env.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    let part = |key: &str| recorded.find(key).cloned().unwrap_or_else(|| Value::dict([]));
    let secrets = revealed(&part("secrets"), text("source"), &options.cwd)?;
    options.variables = Variables {
        configuration: Dict::default(),
        secrets: variables.secrets,
    };
    options.dry = None;
    let experiment = Value::dict([
        ("title", Value::str("rollbacks")),
        ("configuration", part("configuration")),
        ("secrets", secrets),
        ("method", Value::List(Vec::new())),
        (
            "rollbacks",
            recorded
                .find("rollbacks")
                .cloned()
                .unwrap_or_else(|| Value::List(Vec::new())),
        ),
    ]);
    Engine::new(&options, hooks, experiment).undo()
}

impl Engine<'_> {
    /// The rollbacks of the run as it stands: a probe's answer in the configuration is written down with them.
    pub(super) fn recorded_rollbacks(&self) -> serde_json::Value {
        let world = self.world();
        let mut configuration = world
            .experiment
            .find("configuration")
            .cloned()
            .unwrap_or_else(|| Value::dict([]));
        for (key, value) in world.configuration.as_dict().into_iter().flat_map(|dict| &dict.0) {
            let declared = key.as_str().and_then(|name| configuration.find(name));
            let from_environment =
                declared.is_some_and(|value| value.find("type").and_then(Value::as_str) == Some("env"));
            if !from_environment && let Some(dict) = configuration.as_dict_mut() {
                dict.insert(key.clone(), value.clone());
            }
        }
        recorded(&world.experiment, &configuration, world.source.as_deref(), self.options)
    }
}

fn recorded(experiment: &Value, configuration: &Value, source: Option<&str>, options: &Options) -> serde_json::Value {
    let rollbacks = experiment
        .find("rollbacks")
        .and_then(|list| list.iterate().ok())
        .unwrap_or_default();
    let rollbacks = rollbacks.iter().map(|activity| {
        let mut activity = resolved(experiment, activity).clone();
        if let Some(dict) = activity.as_dict_mut() {
            dict.remove("controls");
        }
        activity
    });
    let mut env = Dict::default();
    for (key, value) in configuration.as_dict().into_iter().flat_map(|dict| &dict.0) {
        env.insert(key.clone(), value.clone());
    }
    let files = options
        .variable_files
        .iter()
        .map(|path| Value::Str(path.display().to_string()));
    let secrets = experiment.find("secrets").cloned().unwrap_or_else(|| Value::dict([]));
    json::to_serde(&Value::dict([
        ("format", Value::Int(FORMAT)),
        ("cwd", Value::Str(options.cwd.display().to_string())),
        ("source", source.map_or(Value::None, Value::str)),
        ("variable_files", Value::List(files.collect())),
        ("configuration", Value::Dict(env)),
        ("secrets", referred(&secrets, &mut Vec::new())),
        ("rollbacks", Value::List(rollbacks.collect())),
    ]))
}

/// Secrets with references in the place of values.
fn referred(secrets: &Value, path: &mut Vec<Value>) -> Value {
    match secrets {
        Value::Dict(dict) if matches!(dict.get("type").and_then(Value::as_str), Some("env" | "vault")) => {
            secrets.clone()
        }
        Value::Dict(dict) => {
            let mut out = Dict::default();
            for (key, value) in &dict.0 {
                path.push(key.clone());
                out.insert(key.clone(), referred(value, path));
                path.pop();
            }
            Value::Dict(out)
        }
        _ => Value::dict([
            ("type", Value::str("experiment-file")),
            ("path", Value::List(path.clone())),
        ]),
    }
}

fn revealed(secrets: &Value, source: Option<&str>, cwd: &Path) -> Result<Value, String> {
    let Value::Dict(dict) = secrets else {
        return Ok(secrets.clone());
    };
    if dict.get("type").and_then(Value::as_str) != Some("experiment-file") {
        let mut out = Dict::default();
        for (key, value) in &dict.0 {
            out.insert(key.clone(), revealed(value, source, cwd)?);
        }
        return Ok(Value::Dict(out));
    }
    let source = source.ok_or("a secret of these rollbacks stood in an experiment that no file holds")?;
    let path = cwd.join(source);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("`{source}` holds a secret of these rollbacks and can't be read: {error}"))?;
    let is_json = path.extension().is_some_and(|end| end == "json");
    let loaded = if is_json { parse_json(&text) } else { parse_yaml(&text) };
    let loaded =
        loaded.map_err(|_| format!("`{source}` holds a secret of these rollbacks and is no experiment any more"))?;
    let mut found = loaded.experiment.find("secrets").cloned();
    for key in dict
        .get("path")
        .and_then(|path| path.iterate().ok())
        .unwrap_or_default()
    {
        found = found.and_then(|found| found.as_dict().and_then(|dict| dict.find(&key)).cloned());
    }
    found.ok_or_else(|| format!("`{source}` holds a secret of these rollbacks no more"))
}

impl Engine<'_> {
    /// Runs every rollback in the foreground.
    fn undo(&self) -> Result<(), String> {
        let done = self.configure_names();
        done.map_err(|error| format!("the configuration of the rollbacks: {error}"))?;
        let count = self
            .part(&[Step::Key("rollbacks")])
            .and_then(|list| list.iterate())
            .map_err(|error| error.to_string())?
            .len();
        let mut failed = Vec::new();
        for index in 0..count {
            let path = [Step::Key("rollbacks"), Step::Index(index)];
            let name = self
                .part(&path)
                .ok()
                .and_then(|activity| activity.find("name").map(Value::text));
            match self.undo_one(&path) {
                Ok(()) => {}
                Err(raise) => failed.push(format!("`{}`: {raise}", name.unwrap_or_default())),
            }
        }
        self.bridge.kill();
        if failed.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "{} of {count} rollbacks failed: {}",
                failed.len(),
                failed.join("; ")
            ))
        }
    }

    fn undo_one(&self, path: &[Step]) -> Result<(), Raise> {
        let output = self.run_activity(&self.part(path)?, super::engine::Lane::Foreground)?;
        // Nobody looks at an undo's output: a program that says no has not undone anything.
        let is_process = self
            .part(path)?
            .at(&[Step::Key("provider"), Step::Key("type")])
            .and_then(Value::as_str)
            == Some("process");
        match output.find("status") {
            Some(Value::Int(status)) if is_process && *status != 0 => {
                Err(Raise::Failed(format!("the program ended with {status}")))
            }
            Some(Value::Int(status)) if !is_process && *status > 399 => {
                Err(Raise::Failed(format!("the answer was {status}")))
            }
            _ => Ok(()),
        }
    }
}
