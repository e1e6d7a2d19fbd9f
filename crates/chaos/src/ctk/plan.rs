//! What an experiment would do, in order, and how it would be undone: nothing is run, imported or looked up for it.
//!
//! Text stands as it stands in the file: names aren't replaced, so no secret can show.

use super::json;
use super::load::Loaded;
use super::value::{Step, Value};

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// `before`, `method`, `after` or `rollback`.
    pub phase: &'static str,
    pub name: String,
    /// An action changes something; a probe looks.
    pub is_action: bool,
    /// What is called, exactly: a command line, a request, or a function of a module.
    pub call: String,
    /// Beside what follows it.
    pub background: bool,
    /// Before and after it, as written.
    pub pauses: (Option<String>, Option<String>),
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_action { "action" } else { "probe" };
        write!(f, "{:<8} {kind:<6} {}: {}", self.phase, self.name, self.call)?;
        if self.background {
            f.write_str(", in the background")?;
        }
        if let Some(pause) = &self.pauses.0 {
            write!(f, ", after a pause of {pause} s")?;
        }
        if let Some(pause) = &self.pauses.1 {
            write!(f, ", followed by a pause of {pause} s")?;
        }
        Ok(())
    }
}

/// Every activity in the order it would run, then the rollbacks. What is malformed is shown as far as it can be read.
pub fn plan(loaded: &Loaded) -> Vec<Planned> {
    let experiment = &loaded.experiment;
    let probes = [Step::Key("steady-state-hypothesis"), Step::Key("probes")];
    let method = [Step::Key("method")];
    let rollbacks = [Step::Key("rollbacks")];
    let phases: [(&'static str, &[Step]); 4] = [
        ("before", &probes),
        ("method", &method),
        ("after", &probes),
        ("rollback", &rollbacks),
    ];
    let mut lines = Vec::new();
    for (phase, path) in phases {
        let activities = experiment
            .at(path)
            .and_then(|list| list.iterate().ok())
            .unwrap_or_default();
        lines.extend(
            activities
                .iter()
                .map(|activity| planned(phase, resolved(experiment, activity))),
        );
    }
    lines
}

/// A block of `extensions`, by its name.
pub fn extension(loaded: &Loaded, name: &str) -> Option<serde_json::Value> {
    let extensions = loaded.experiment.find("extensions")?.iterate().ok()?;
    let found = extensions
        .iter()
        .find(|extension| extension.find("name").and_then(Value::as_str) == Some(name));
    found.map(json::to_serde)
}

/// The activity that a `ref` names.
pub(super) fn resolved<'v>(experiment: &'v Value, activity: &'v Value) -> &'v Value {
    let Some(name) = activity.find("ref") else {
        return activity;
    };
    let lists = [
        experiment.find("method"),
        experiment.at(&[Step::Key("steady-state-hypothesis"), Step::Key("probes")]),
    ];
    let all = lists.into_iter().flatten().flat_map(|list| match list {
        Value::List(items) => items.as_slice(),
        _ => &[],
    });
    // The last of several with this name is the one that is meant.
    let mut named = all
        .rev()
        .filter(|other| other.find("name").is_some_and(|known| known.equals(name)));
    named.next().unwrap_or(activity)
}

fn planned(phase: &'static str, activity: &Value) -> Planned {
    let text = |value: Option<&Value>| value.map(Value::text).unwrap_or_default();
    let pause = |key: &'static str| {
        let pause = activity.at(&[Step::Key("pauses"), Step::Key(key)]);
        pause.filter(|pause| pause.truthy()).map(Value::text)
    };
    let provider = activity.find("provider").unwrap_or(&Value::None);
    let arguments = provider.find("arguments").filter(|arguments| arguments.truthy());
    let shown = arguments.map(|arguments| match arguments {
        Value::Str(line) => line.clone(),
        other => json::line(other).unwrap_or_else(|_| other.repr()),
    });
    let shown = shown.map(|shown| format!(" {shown}")).unwrap_or_default();
    let call = match provider.find("type").and_then(Value::as_str) {
        Some("process") => format!("process {}{shown}", text(provider.find("path"))),
        Some("http") => {
            let method = provider.find("method").map_or_else(|| "GET".to_owned(), Value::text);
            format!("http {} {}{shown}", method.to_uppercase(), text(provider.find("url")))
        }
        Some("python") => format!(
            "python {}.{}{shown}",
            text(provider.find("module")),
            text(provider.find("func"))
        ),
        _ => "no provider".to_owned(),
    };
    let name = activity.find("name").or_else(|| activity.find("ref"));
    Planned {
        phase,
        name: text(name),
        is_action: activity.find("type").and_then(Value::as_str) == Some("action"),
        call,
        background: activity.find("background").is_some_and(Value::truthy),
        pauses: (pause("before"), pause("after")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_json;
    use super::*;

    #[test]
    fn a_plan_is_in_order_and_follows_references() {
        let loaded = parse_json(
            r#"{"title": "t", "extensions": [{"name": "proofmark", "radius": 1}],
            "steady-state-hypothesis": {"title": "h", "probes": [{"type": "probe", "name": "up", "tolerance": 200,
                "provider": {"type": "http", "url": "http://a/${path}"}}]},
            "method": [{"type": "action", "name": "stop", "background": true, "pauses": {"after": 2},
                "provider": {"type": "process", "path": "kill", "arguments": ["-9", 1]}}, {"ref": "up"}],
            "rollbacks": [{"type": "action", "name": "start",
                "provider": {"type": "python", "module": "m", "func": "f"}}]}"#,
        )
        .expect("valid");
        let lines: Vec<String> = plan(&loaded).iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "before   probe  up: http GET http://a/${path}",
                "method   action stop: process kill [\"-9\", 1], in the background, followed by a pause of 2 s",
                "method   probe  up: http GET http://a/${path}",
                "after    probe  up: http GET http://a/${path}",
                "rollback action start: python m.f",
            ]
        );
        assert_eq!(extension(&loaded, "proofmark").expect("there")["radius"], 1);
        assert!(extension(&loaded, "other").is_none());
    }
}
