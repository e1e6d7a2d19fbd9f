//! Reading an experiment: from text, a file or a URL.
//!
//! Start reading at [`Loaded`].

use std::path::Path;

use super::control::{Context, State};
use super::engine::{Engine, Lane, Shared, lock};
use super::raise::Raise;
use super::value::{Dict, Value};
use super::{Options, http, json, yaml};

/// An experiment that could be read; whether it is one is [`super::validate`]'s to say.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub experiment: Value,
    /// The path or URL it came from.
    pub source: Option<String>,
}

/// Reads JSON.
///
/// # Errors
/// `JSONDecodeError`.
pub fn parse_json(text: &str) -> Result<Loaded, Raise> {
    json::parse(text).map(Loaded::of)
}

/// Reads YAML.
///
/// # Errors
/// `InvalidSource`, also for YAML that asks for an object to be made.
pub fn parse_yaml(text: &str) -> Result<Loaded, Raise> {
    yaml::parse(text).map(Loaded::of).map_err(invalid_yaml)
}

impl Loaded {
    fn of(experiment: Value) -> Loaded {
        Loaded {
            experiment,
            source: None,
        }
    }

    /// `runtime.python` asks for packages: they are not fetched.
    pub(super) fn check_runtime(&self, options: &Options) -> Result<(), Raise> {
        let wrong = |reason: &str| Err(Raise::error("PythonRuntimeError", reason));
        let mapping = |value: Option<&Value>| value.and_then(Value::as_dict).cloned();
        let Some(python) = mapping(self.experiment.find("runtime")).and_then(|runtime| mapping(runtime.get("python")))
        else {
            return Ok(());
        };
        let filled = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        let mut asks = false;
        match python.get("dependencies") {
            None | Some(Value::None) => {}
            Some(Value::List(names)) if names.iter().all(filled) => asks |= !names.is_empty(),
            Some(Value::List(_)) => return wrong("runtime.python.dependencies must contain package names"),
            Some(_) => return wrong("runtime.python.dependencies must be a list"),
        }
        if !matches!(python.get("isolated"), None | Some(Value::Bool(_))) {
            return wrong("runtime.python.isolated must be a boolean");
        }
        match python.get("version") {
            None | Some(Value::None) => {}
            Some(version) if filled(version) => asks = true,
            Some(_) => return wrong("runtime.python.version must be a Python version"),
        }
        if asks && !options.python_is_given {
            return wrong(
                "the experiment asks for Python packages or a Python version, which are not fetched here: name an \
                 interpreter that has them",
            );
        }
        Ok(())
    }
}

impl Engine<'_> {
    /// Loads an experiment, between the controls that watch over loading.
    ///
    /// # Errors
    /// `InvalidSource`, `InvalidExperiment` for a file of another kind, `JSONDecodeError`, `OSError`.
    pub(super) fn load(&self, source: &str) -> Result<Loaded, Raise> {
        self.load_global_controls()?;
        let context = Context::Source(source.to_owned());
        let parsed = self.controlled("loader", &context, Lane::Foreground, |state| {
            let path = self.around(|around| around.cwd.join(source));
            let parsed = if path.exists() {
                from_file(&path)?
            } else {
                self.fetched(source)?
            };
            let shared = Shared::new(parsed.into());
            *state = State::One(shared.clone());
            Ok(shared)
        })?;
        let experiment = lock(&parsed).clone();
        Ok(Loaded {
            experiment,
            source: Some(source.to_owned()),
        })
    }

    fn fetched(&self, source: &str) -> Result<Value, Raise> {
        let invalid = |reason: String| Raise::error("InvalidSource", reason);
        let Some((scheme, rest)) = source.split_once("://") else {
            return Err(invalid(format!("Path \"{source}\" does not exist.")));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(invalid(format!("'{scheme}' is not a supported source scheme.")));
        }
        let mut headers = vec![("Accept".to_owned(), "application/json, application/x-yaml".to_owned())];
        if let Some(token) = self
            .variable("CHAOSTOOLKIT_LOADER_AUTH_BEARER_TOKEN")
            .filter(|token| !token.is_empty())
        {
            headers.push(("Authorization".to_owned(), format!("bearer {}", token.trim())));
        } else if self.options.settings.truthy() {
            let place = rest.split(['/', '?', '#']).next().unwrap_or_default();
            let empty = Value::Dict(Dict::default());
            let auths = self.options.settings.get("auths")?.unwrap_or(&empty);
            if let Some(auth) = auths.find(place) {
                let value = format!("{} {}", auth.item("type")?.text(), auth.item("value")?.text());
                headers.push(("Authorization".to_owned(), value));
            }
        }
        let response = http::fetch(self, source, headers, &Value::Bool(self.options.verify_tls))?;
        if response.status != 200 {
            return Err(invalid(format!(
                "Failed to fetch the experiment: status {}",
                response.status
            )));
        }
        let text = String::from_utf8_lossy(&response.body).into_owned();
        let kind = response.header("content-type").unwrap_or_default();
        if kind.contains("application/json") {
            json::parse(&text)
        } else if kind.contains("application/x-yaml") || kind.contains("text/yaml") {
            yaml::parse(&text).map_err(invalid_yaml)
        } else if kind.contains("text/plain") {
            json::parse(&text)
                .or_else(|_| yaml::parse(&text))
                .map_err(|_| other_kind())
        } else {
            Err(other_kind())
        }
    }
}

fn from_file(path: &Path) -> Result<Value, Raise> {
    let bytes = std::fs::read(path).map_err(|error| Raise::error("OSError", error.to_string()))?;
    let text = || String::from_utf8(bytes).map_err(|_| Raise::error("UnicodeDecodeError", "the file is not UTF-8"));
    match path.extension().and_then(|end| end.to_str()) {
        Some("yaml" | "yml") => yaml::parse(&text()?).map_err(invalid_yaml),
        Some("json") => json::parse(&text()?),
        _ => Err(other_kind()),
    }
}

fn other_kind() -> Raise {
    Raise::invalid_experiment("only files with json, yaml or yml extensions are supported")
}

fn invalid_yaml(error: Raise) -> Raise {
    match error {
        Raise::Error { class, message } if class == "YAMLError" => {
            Raise::error("InvalidSource", format!("Failed parsing YAML experiment: {message}"))
        }
        other => other,
    }
}
