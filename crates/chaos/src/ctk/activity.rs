//! One activity: its pauses, its controls, its provider, and the entry it leaves in the journal.
//!
//! Start reading at [`Engine::execute`]; the providers are [`super::process`], [`super::http`] and the bridge.

use std::ffi::OsString;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;

use super::bridge;
use super::control::{Context, State};
use super::engine::{Engine, Lane, Shared, lock};
use super::process;
use super::raise::Raise;
use super::time;
use super::value::{Dict, Step, Value};
use super::{ActivityRef, Dry, Level, http};

impl Engine<'_> {
    /// Runs the activity at a path, or the one it refers to, and enters it in `runs`.
    ///
    /// # Errors
    /// Whatever isn't a failure of the activity itself.
    pub(super) fn execute(
        &self,
        path: &[Step],
        dry: Option<Dry>,
        runs: Option<&Mutex<Vec<Shared>>>,
        lane: Lane,
        begun: &dyn Fn(),
    ) -> Result<Shared, Raise> {
        let activity = self.part(path)?;
        let path = match activity.get("ref")?.filter(|name| name.truthy()) {
            Some(name) => self
                .named(name)
                .ok_or_else(|| Raise::Failed(format!("could not find referenced activity '{}'", name.text())))?,
            None => path.to_vec(),
        };
        let context = Context::Part(path.clone());
        self.controlled("activity", &context, lane, |state| {
            let activity = self.part(&path)?;
            let run = self.paused_and_run(&activity, &path, dry, runs, lane, begun)?;
            *state = State::One(run.clone());
            Ok(run)
        })
    }

    fn paused_and_run(
        &self,
        activity: &Value,
        path: &[Step],
        dry: Option<Dry>,
        runs: Option<&Mutex<Vec<Shared>>>,
        lane: Lane,
        begun: &dyn Fn(),
    ) -> Result<Shared, Raise> {
        // An activity's own `dry` is text, which is none of the original's dry modes: it switches them off.
        let dry = if activity.get("dry")?.is_some() { None } else { dry };
        let pauses = activity.get("pauses")?.cloned().unwrap_or_else(|| Value::dict([]));
        let pauses = self.substitute(&pauses)?;
        let before = pauses.get("before")?.cloned();
        let kind = activity.item("type")?.clone();
        let is_dry = match dry {
            Some(Dry::Actions) => kind.as_str() == Some("action"),
            Some(Dry::Probes) => kind.as_str() == Some("probe"),
            Some(Dry::Activities) => true,
            Some(Dry::Pause) | None => false,
        };
        let pauses_for_real = dry != Some(Dry::Pause) && !is_dry;
        let pause = |value: Option<&Value>| match value.filter(|value| value.truthy()) {
            Some(value) if pauses_for_real => {
                begun();
                self.sleep(pause_of(value)?, lane)
            }
            _ => Ok(()),
        };
        pause(before.as_ref())?;
        let name = activity.get("name")?.map(Value::text).unwrap_or_default();
        self.say(Level::Info, &format!("{}: {name}", title(&kind.text())));
        let reference = ActivityRef {
            name: &name,
            is_action: kind.as_str() == Some("action"),
            is_dry,
        };
        if reference.is_action && !is_dry {
            self.permit()?;
        }
        self.hooks.before_activity(&reference);
        let start_us = self.hooks.now_us();
        let run = Shared::new(Mutex::new(Value::dict([
            ("activity", activity.clone()),
            ("output", Value::None),
            ("start", Value::Str(time::iso(start_us))),
        ])));
        if let Some(runs) = runs {
            lock(&self.entries).push((run.clone(), path.to_vec()));
            lock(runs).push(run.clone());
        }
        begun();
        let result = if is_dry {
            Ok(Value::None)
        } else {
            self.stop(lane).map_or_else(|| self.run_activity(activity, lane), Err)
        };
        let end_us = self.hooks.now_us();
        let outcome = self.enter(&run, result, start_us, end_us);
        self.hooks.after_activity(&reference, outcome.is_ok());
        let stopped = matches!(outcome, Err(Raise::Interrupt(_) | Raise::Exit(_) | Raise::Keyboard));
        // The original pauses even when it is interrupted; nobody who asks for an end wants that of us.
        if !stopped || self.options.compatible {
            pause(pauses.get("after")?)?;
        }
        outcome.map(|()| run)
    }

    fn enter(&self, run: &Shared, result: Result<Value, Raise>, start_us: i64, end_us: i64) -> Result<(), Raise> {
        let mut run = lock(run);
        let Some(entry) = run.as_dict_mut() else {
            return Ok(());
        };
        let outcome = match result {
            Ok(output) => {
                entry.set("output", output);
                entry.set("status", Value::str("succeeded"));
                Ok(())
            }
            Err(Raise::Failed(message)) => {
                entry.set("status", Value::str("failed"));
                let line = format!("chaoslib.exceptions.ActivityFailed: {message}\n");
                entry.set("exception", Value::List(vec![Value::Str(line)]));
                self.say(Level::Error, &format!("  => failed: {message}"));
                Ok(())
            }
            Err(raise) => Err(raise),
        };
        entry.set("end", Value::Str(time::iso(end_us)));
        entry.set("duration", Value::Float(time::seconds_between(start_us, end_us)));
        outcome
    }

    /// Before the first action: the rollbacks are handed over, so that they are durable when something happens.
    fn permit(&self) -> Result<(), Raise> {
        if self.permitted.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let rollbacks = self.recorded_rollbacks();
        self.hooks.permit(&rollbacks).map_err(Raise::Interrupt)
    }

    /// Calls a provider.
    pub(super) fn run_activity(&self, activity: &Value, lane: Lane) -> Result<Value, Raise> {
        let provider = activity.item("provider")?;
        match provider.item("type")?.as_str() {
            Some("python") => self.python(provider, lane),
            Some("process") => self.process(provider, lane),
            Some("http") => http::call(self, provider, lane),
            _ => Ok(Value::None),
        }
    }

    /// Arguments with their names replaced; as they stand when there are no names at all.
    pub(super) fn arguments(&self, provider: &Value, default: Value) -> Result<Value, Raise> {
        let arguments = provider.get("arguments")?.cloned().unwrap_or(default);
        self.with_names(|names| {
            if names.is_empty() {
                Ok(arguments.clone())
            } else {
                names.substitute(&arguments)
            }
        })
    }

    fn python(&self, provider: &Value, lane: Lane) -> Result<Value, Raise> {
        for key in ["module", "func"] {
            provider.item(key)?;
        }
        let empty = Value::dict([]);
        match provider.get("arguments")?.unwrap_or(&empty) {
            Value::Dict(_) | Value::List(_) => {}
            other => {
                return Err(Raise::error(
                    "AttributeError",
                    format!("'{}' object has no attribute 'copy'", other.type_name()),
                ));
            }
        }
        let arguments = self.arguments(provider, empty)?;
        let mut question = Dict::default();
        question.set("provider", bridge::encoded(provider));
        question.set("arguments", bridge::encoded(&arguments));
        self.encoded_names(&mut question);
        let (answer, _) = self.ask("call", question, lane);
        let answer = answer?;
        if let Some(reason) = answer.find("failed") {
            return Err(Raise::Failed(reason.text()));
        }
        Ok(bridge::decoded(answer.find("value").unwrap_or(&Value::None)))
    }

    fn process(&self, provider: &Value, lane: Lane) -> Result<Value, Raise> {
        let arguments = self.arguments(provider, Value::List(Vec::new()))?;
        let path = provider.item("path")?;
        let path = path
            .as_str()
            .ok_or_else(|| Raise::error("TypeError", format!("a path is text, not a {}", path.type_name())))?;
        let timeout = process::seconds(provider.get("timeout")?)?;
        let finished = self.around(|around| {
            let program = process::which(&process::expand_home(path, around), around);
            let stop = || self.stop(lane);
            if let Value::Str(line) = &arguments {
                let program = program.map_or_else(|| "None".to_owned(), |path| path.display().to_string());
                let line = format!("{program} {line}");
                let words = [OsString::from("-c"), OsString::from(line)];
                return process::run("/bin/sh".as_ref(), &words, around, timeout, &stop);
            }
            let program = program.ok_or_else(|| Raise::error("TypeError", format!("there is no program `{path}`")))?;
            let words = words(&arguments)?;
            process::run(program.as_os_str(), &words, around, timeout, &stop)
        })?;
        Ok(Value::dict([
            ("status", Value::Int(finished.status)),
            ("stdout", Value::Str(self.text_of(&finished.stdout, lane)?)),
            ("stderr", Value::Str(self.text_of(&finished.stderr, lane)?)),
        ]))
    }

    /// A program's output as text. The original guesses the encoding, and guesses wrong on short text; in compatibility
    /// mode the same guess is asked of the bridge, otherwise it is UTF-8.
    fn text_of(&self, bytes: &[u8], lane: Lane) -> Result<String, Raise> {
        match std::str::from_utf8(bytes) {
            Ok(text) if text.is_ascii() || !self.options.compatible => Ok(text.to_owned()),
            Err(_) if !self.options.compatible => Ok(String::from_utf8_lossy(bytes).into_owned()),
            utf8 => {
                let mut question = Dict::default();
                let text = base64::engine::general_purpose::STANDARD.encode(bytes);
                question.set("bytes", Value::Str(text));
                match self.ask("decode", question, lane).0 {
                    Ok(Value::Str(text)) => Ok(text),
                    Ok(answer) => Err(Raise::Failed(
                        answer.find("failed").map(Value::text).unwrap_or_default(),
                    )),
                    // Without an interpreter there is nobody to guess.
                    Err(Raise::Error { class, .. }) if class == "NoPython" => utf8
                        .map(str::to_owned)
                        .map_err(|_| Raise::Failed("Failed to decode bytes using encoding 'utf-8'".to_owned())),
                    Err(raise) => Err(raise),
                }
            }
        }
    }
}

/// A pause in seconds.
fn pause_of(value: &Value) -> Result<Duration, Raise> {
    let negative = match value {
        Value::Int(value) => *value < 0,
        Value::Float(value) => *value < 0.0 || value.is_nan(),
        _ => false,
    };
    if negative {
        return Err(Raise::error("ValueError", "sleep length must be non-negative"));
    }
    Ok(process::seconds(Some(value))?.unwrap_or_default())
}

/// Words of a command line: of a list as they are, of a mapping name and value in turn; empty ones are left out.
fn words(arguments: &Value) -> Result<Vec<OsString>, Raise> {
    let items = match arguments {
        Value::Dict(dict) => dict
            .0
            .iter()
            .flat_map(|(key, value)| [key.clone(), value.clone()])
            .collect(),
        other => other.iterate()?,
    };
    let kept = items.iter().filter(|item| !item.is_none() && item.as_str() != Some(""));
    Ok(kept.map(|item| OsString::from(item.text())).collect())
}

/// `str.title()`, for the two words it is used on.
fn title(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
