//! What an experiment must look like before it runs: the original's rules, in its order, with its answers.
//!
//! Start reading at [`Engine::validate`].

use super::bridge;
use super::control::list_of;
use super::engine::{Engine, Lane};
use super::jsonpath::JsonPath;
use super::process;
use super::raise::Raise;
use super::settings;
use super::tolerance::compile;
use super::value::{Dict, Value};

impl Engine<'_> {
    /// Checks the whole experiment.
    ///
    /// # Errors
    /// `InvalidExperiment`, `InvalidActivity`, `InvalidControl`, or what the original stumbles over.
    pub(super) fn validate(&self) -> Result<(), Raise> {
        let experiment = self.world().experiment.clone();
        if experiment.truthy() {
            self.remember_names()?;
        } else {
            return Err(Raise::invalid_experiment("an empty experiment is not an experiment"));
        }
        for (key, reason) in [
            ("title", "experiment requires a title"),
            ("description", "experiment requires a description"),
        ] {
            if !filled(&experiment, key)? {
                return Err(Raise::invalid_experiment(reason));
            }
        }
        if let Some(tags) = experiment.get("tags")?.filter(|tags| tags.truthy()) {
            for tag in tags.iterate()? {
                if tag.as_str().is_none_or(str::is_empty) {
                    return Err(Raise::invalid_experiment("experiment tags must be a non-empty string"));
                }
            }
        }
        validate_extensions(&experiment)?;
        let empty = Value::dict([]);
        let variable = |name: &str| self.variable(name);
        let declared = experiment.get("configuration")?.unwrap_or(&empty);
        settings::configuration(declared, &Dict::default(), &variable)?;
        settings::secrets(experiment.get("secrets")?.unwrap_or(&empty), &Value::None, &variable)?;
        self.validate_hypothesis(&experiment)?;
        self.validate_method(&experiment)?;
        for rollback in list_of(&experiment, "rollbacks")? {
            self.validate_activity(&rollback)?;
        }
        self.warn_of_old_ways(&experiment)?;
        self.validate_controls()
    }

    fn validate_hypothesis(&self, experiment: &Value) -> Result<(), Raise> {
        let Some(hypothesis) = experiment.get("steady-state-hypothesis")? else {
            return Ok(());
        };
        if !filled(hypothesis, "title")? {
            return Err(Raise::invalid_experiment("hypothesis requires a title"));
        }
        let Some(probes) = hypothesis.get("probes")?.filter(|probes| probes.truthy()) else {
            return Ok(());
        };
        for probe in probes.iterate()? {
            self.validate_activity(&probe)?;
            let tolerance = probe
                .get("tolerance")?
                .ok_or_else(|| Raise::invalid_activity("hypothesis probe must have a tolerance entry"))?;
            self.validate_tolerance(tolerance)?;
        }
        Ok(())
    }

    fn validate_method(&self, experiment: &Value) -> Result<(), Raise> {
        let method = experiment.get("method")?.filter(|method| !method.is_none());
        let method = method.ok_or_else(|| {
            Raise::invalid_experiment(
                "an experiment requires a method, which can be empty for only checking steady state hypothesis",
            )
        })?;
        for activity in method.iterate()? {
            self.validate_activity(&activity)?;
            if let Some(name) = activity.get("ref")?.filter(|name| name.truthy())
                && self.named(name).is_none()
            {
                return Err(Raise::invalid_activity(format!(
                    "referenced activity '{}' could not be found in the experiment",
                    name.text()
                )));
            }
        }
        Ok(())
    }

    fn validate_activity(&self, activity: &Value) -> Result<(), Raise> {
        let invalid = |reason: &str| Err(Raise::invalid_activity(reason));
        if !activity.truthy() {
            return invalid("empty activity is no activity");
        }
        if let Some(name) = activity.get("ref")?.filter(|name| !name.is_none()) {
            return match name.as_str() {
                Some(name) if !name.is_empty() => Ok(()),
                _ => invalid("reference to activity must be non-empty strings"),
            };
        }
        if !filled(activity, "type")? {
            return invalid("an activity must have a type");
        }
        let kind = activity.item("type")?;
        if !matches!(kind.as_str(), Some("probe" | "action")) {
            return invalid(&format!("'{}' is not a supported activity type", kind.text()));
        }
        if !filled(activity, "name")? {
            return invalid("an activity must have a name");
        }
        if !filled(activity, "provider")? {
            return invalid("an activity requires a provider");
        }
        let provider = activity.item("provider")?;
        if !filled(provider, "type")? {
            return invalid("a provider must have a type");
        }
        let kind = provider.item("type")?;
        if !matches!(kind.as_str(), Some("python" | "process" | "http")) {
            return invalid(&format!("unknown provider type '{}'", kind.text()));
        }
        if activity
            .get("timeout")?
            .is_some_and(|timeout| !timeout.is_none() && !timeout.is_number())
        {
            return invalid("activity timeout must be a number");
        }
        validate_pauses(activity)?;
        if activity
            .get("background")?
            .is_some_and(|background| !matches!(background, Value::Bool(_)))
        {
            return invalid("activity background must be a boolean");
        }
        match kind.as_str() {
            Some("python") => {
                let mut question = Dict::default();
                question.set("activity", bridge::encoded(activity));
                self.ask("validate", question, Lane::Foreground).0.map(|_| ())
            }
            Some("process") => self.validate_process(activity, provider),
            _ => validate_http(provider),
        }
    }

    fn validate_process(&self, activity: &Value, provider: &Value) -> Result<(), Raise> {
        if !filled(provider, "path")? {
            return Err(Raise::invalid_activity("a process activity must have a path"));
        }
        let path = provider.item("path")?;
        let name = path
            .as_str()
            .ok_or_else(|| Raise::error("TypeError", format!("a path is text, not a {}", path.type_name())))?;
        let found = self.around(|around| process::which(name, around));
        if found.is_none() {
            return Err(Raise::invalid_activity(format!(
                "path '{name}' cannot be found, in activity '{}'",
                activity.item("name")?.text()
            )));
        }
        Ok(())
    }

    fn validate_tolerance(&self, tolerance: &Value) -> Result<(), Raise> {
        let invalid = |reason: &str| Err(Raise::invalid_activity(reason));
        match tolerance {
            Value::Bool(_) | Value::Int(_) | Value::Big(_) | Value::List(_) | Value::Str(_) => Ok(()),
            Value::Dict(_) => match tolerance.get("type")?.and_then(Value::as_str) {
                Some("probe") => self.validate_activity(tolerance),
                Some("regex") => match tolerance.get("pattern")? {
                    None => invalid("hypothesis regex probe tolerance must have a `pattern` key"),
                    Some(Value::Str(pattern)) => compile(pattern).map(|_| ()).map_err(|error| {
                        Raise::invalid_activity(format!(
                            "hypothesis probe tolerance pattern {pattern} seems invalid: {error}"
                        ))
                    }),
                    // Compiled by Python, a pattern of bytes is fine until it meets text.
                    Some(Value::Bytes(_)) => Ok(()),
                    Some(_) => invalid("hypothesis probe tolerance pattern has an invalid type"),
                },
                Some("jsonpath") => self.validate_json_path(tolerance),
                Some("range") => validate_range(tolerance),
                other => invalid(&format!(
                    "hypothesis probe tolerance type '{}' is unsupported",
                    other.unwrap_or("None")
                )),
            },
            _ => invalid(
                "hypothesis probe tolerance must either be an integer, a string, a boolean, a pair of values for \
                 boundaries or a definition",
            ),
        }
    }

    fn validate_json_path(&self, tolerance: &Value) -> Result<(), Raise> {
        if !self.options.json_path {
            return Err(Raise::invalid_activity(
                "Install the `jsonpath2` package to use a JSON path tolerance",
            ));
        }
        let path = tolerance
            .get("path")?
            .ok_or_else(|| Raise::invalid_activity("hypothesis jsonpath probe tolerance must have a `path` key"))?;
        let path = path.as_str().ok_or_else(|| {
            Raise::error(
                "AttributeError",
                format!("'{}' object has no attribute 'strip'", path.type_name()),
            )
        })?;
        if path.trim().is_empty() {
            return Err(Raise::invalid_activity(
                "hypothesis probe tolerance JSON path cannot be empty",
            ));
        }
        JsonPath::parse(path.trim()).map(|_| ()).map_err(|reason| {
            Raise::invalid_activity(format!(
                "hypothesis probe tolerance JSON path {path} is invalid: {reason}"
            ))
        })
    }

    /// Warnings, and what the original stumbles over while it looks for their cause.
    fn warn_of_old_ways(&self, experiment: &Value) -> Result<(), Raise> {
        let empty = Value::dict([]);
        let mut activities = Vec::new();
        if let Some(hypothesis) = experiment
            .get("steady-state-hypothesis")?
            .filter(|found| found.truthy())
        {
            activities.extend(list_of(hypothesis, "probes")?);
        }
        activities.extend(list_of(experiment, "method")?);
        activities.extend(list_of(experiment, "rollbacks")?);
        for activity in &activities {
            let provider = activity.get("provider")?.filter(|provider| provider.truthy());
            let Some(provider) = provider else { continue };
            let is_process = provider.get("type")?.and_then(Value::as_str) == Some("process");
            if is_process && matches!(provider.get("arguments")?, Some(Value::Dict(_))) {
                self.say(
                    super::Level::Warning,
                    "arguments of a process are a list: a mapping is deprecated",
                );
            }
        }
        let secrets = experiment.get("secrets")?.unwrap_or(&empty);
        for (_, group) in secrets.as_dict().into_iter().flat_map(|dict| &dict.0) {
            if group.as_dict().is_none() {
                return Err(Raise::error(
                    "AttributeError",
                    format!("'{}' object has no attribute 'values'", group.type_name()),
                ));
            }
        }
        Ok(())
    }

    fn validate_controls(&self) -> Result<(), Raise> {
        let invalid = |reason: String| Err(Raise::error("InvalidControl", reason));
        let controls = self.declared_controls()?;
        let mut names = Vec::new();
        for control in &controls {
            let dict = has_keys(control)?;
            if dict.get("ref").is_none() {
                names.extend(dict.get("name").cloned());
            }
        }
        for control in &controls {
            let dict = has_keys(control)?;
            if dict
                .get("ref")
                .is_some_and(|name| !names.iter().any(|known| known.equals(name)))
            {
                return invalid("a control's reference cannot be found".to_owned());
            }
            let Some(name) = dict.get("name") else {
                return invalid("A control must have a `name` property".to_owned());
            };
            let Some(provider) = dict.get("provider") else {
                return invalid(format!("Control '{}' must have a `provider` property", name.text()));
            };
            if let Some(scope) = dict.get("scope").filter(|scope| scope.truthy())
                && !matches!(scope.as_str(), Some("before" | "after"))
            {
                return invalid(format!(
                    "Control '{}' scope property must be 'before' or 'after' only",
                    name.text()
                ));
            }
            if provider.get("type")?.and_then(Value::as_str) == Some("python") {
                let mut question = Dict::default();
                question.set("control", bridge::encoded(control));
                self.ask("validate_control", question, Lane::Foreground).0?;
            }
        }
        Ok(())
    }
}

fn filled(value: &Value, key: &str) -> Result<bool, Raise> {
    Ok(value.get(key)?.is_some_and(Value::truthy))
}

fn has_keys(control: &Value) -> Result<&Dict, Raise> {
    // `in` means something for text and lists, too: there is no name in them.
    let names = match control {
        Value::Str(text) => ["ref", "name"].iter().any(|key| text.contains(key)),
        Value::List(items) => items.iter().any(|item| matches!(item.as_str(), Some("ref" | "name"))),
        _ => true,
    };
    if !names {
        return Err(Raise::error("InvalidControl", "A control must have a `name` property"));
    }
    control.as_dict().ok_or_else(|| {
        Raise::error(
            "TypeError",
            format!("a control is a mapping, not a {}", control.type_name()),
        )
    })
}

fn validate_extensions(experiment: &Value) -> Result<(), Raise> {
    let Some(extensions) = experiment.get("extensions")?.filter(|found| found.truthy()) else {
        return Ok(());
    };
    for extension in extensions.iterate()? {
        let name = extension.get("name")?.filter(|name| name.truthy());
        let blank = match name {
            None => true,
            Some(Value::Str(name)) => name.trim().is_empty(),
            Some(other) => {
                return Err(Raise::error(
                    "AttributeError",
                    format!("'{}' object has no attribute 'strip'", other.type_name()),
                ));
            }
        };
        if blank {
            return Err(Raise::invalid_experiment("All extensions require a non-empty name"));
        }
    }
    Ok(())
}

fn validate_pauses(activity: &Value) -> Result<(), Raise> {
    let Some(pauses) = activity.get("pauses")?.filter(|pauses| !pauses.is_none()) else {
        return Ok(());
    };
    for key in ["before", "after"] {
        if let Some(Value::Str(text)) = pauses.get(key)?
            && !(text.starts_with("${") && text.ends_with('}'))
        {
            return Err(Raise::invalid_activity(format!(
                "activity {key} pause must be a number or a pattern to a variable from the configuration or secrets"
            )));
        }
    }
    Ok(())
}

fn validate_http(provider: &Value) -> Result<(), Raise> {
    if !filled(provider, "url")? {
        return Err(Raise::invalid_activity("a HTTP activity must have a URL"));
    }
    match provider.get("headers")?.filter(|headers| headers.truthy()) {
        None | Some(Value::Dict(_)) => Ok(()),
        Some(_) => Err(Raise::invalid_activity("a HTTP activities expect headers as a mapping")),
    }
}

fn validate_range(tolerance: &Value) -> Result<(), Raise> {
    let invalid = |reason: &str| Err(Raise::invalid_activity(reason));
    match tolerance.get("range")? {
        None => invalid("hypothesis range probe tolerance must have a `range` key"),
        Some(Value::List(bounds)) => match bounds.as_slice() {
            [low, high] if low.is_number() && high.is_number() => Ok(()),
            [_, _] => invalid("hypothesis range boundaries must be numbers"),
            _ => invalid("hypothesis range sequence must be made of two values"),
        },
        Some(_) => invalid("hypothesis range must be a sequence"),
    }
}
