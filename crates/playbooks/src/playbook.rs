//! A playbook as the engine sees it: parsed once, and only when nothing is wrong with it.
//!
//! Not here: what makes one wrong (`schema.rs`, `check.rs`), and what can be run of it (`run.rs`).
//! Start reading at [`Playbook::parse`].

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use evidence::Digest;
use serde::Deserialize;
use serde_json::Value;

use crate::check::{Report, check};

/// Key of our step extension in `step_extensions` and `extension_definitions`: `proofmark-step`, with the properties
/// `idempotent` (boolean: doing it twice is doing it once) and `compensation` (id of an idempotent action step that
/// takes it back).
pub const STEP_EXTENSION: &str = "extension-definition--6a3c1f52-8d0b-4a57-9a0e-3f2d7c9b1e40";

/// A playbook in which every reference leads somewhere (CACAO 2.0 section 3). Made only by [`Playbook::parse`].
#[derive(Debug, Clone)]
pub struct Playbook {
    pub(crate) model: Model,
    pub(crate) text: String,
    pub(crate) digest: Digest,
}

impl Playbook {
    /// Reads a playbook's JSON text.
    ///
    /// # Errors
    /// The report, when the schemas refuse it or its workflow leads nowhere.
    pub fn parse(text: &str) -> Result<Playbook, Report> {
        let (report, model) = check(text);
        match model {
            Some(model) if report.is_valid() => Ok(Playbook {
                model,
                text: text.to_owned(),
                digest: Digest::of(text.as_bytes()),
            }),
            _ => Err(report),
        }
    }

    pub fn id(&self) -> &str {
        &self.model.id
    }

    pub fn name(&self) -> &str {
        &self.model.name
    }

    pub fn description(&self) -> &str {
        &self.model.description
    }

    /// Its version: the time of its last change, as written.
    pub fn modified(&self) -> &str {
        &self.model.modified
    }

    /// SHA-256 of its text.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// As it was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Variables whose values come from whoever runs it (`external`): name, whether a value is given already, and
    /// what it is for.
    pub fn inputs(&self) -> Vec<(&str, bool, &str)> {
        let external = self.model.variables.iter().filter(|(_, variable)| variable.external);
        external
            .map(|(name, variable)| {
                let about = variable.description.as_deref().unwrap_or_default();
                (name.as_str(), variable.value.is_some(), about)
            })
            .collect()
    }

    /// Ids of the playbooks it calls.
    pub fn calls(&self) -> Vec<&str> {
        let called = self.model.steps.values().filter_map(|step| match &step.kind {
            Kind::PlaybookAction { playbook_id, .. } => Some(playbook_id.as_str()),
            _ => None,
        });
        called.collect()
    }

    /// The steps on its own way when each succeeds, in order: those of parallel branches one branch after the other,
    /// and those behind a condition whichever way it turns.
    pub fn way(&self) -> Vec<WayStep<'_>> {
        let mut way = Vec::new();
        let mut seen = BTreeSet::new();
        self.model.way(&self.model.start, false, &mut seen, &mut way);
        way
    }

    /// What of it can't be run here, each with the place and the reason.
    pub fn limits(&self) -> Vec<crate::check::Flaw> {
        crate::check::limits(&self.model)
    }
}

/// A step on a playbook's way that something is done in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayStep<'a> {
    pub id: &'a str,
    /// What it is called; its id where it has no name.
    pub name: &'a str,
    /// Whether only people act in it.
    pub person: bool,
    /// Whether it depends on a condition.
    pub conditional: bool,
    /// After so many milliseconds it has failed.
    pub timeout_ms: Option<u64>,
}

impl Model {
    fn way<'a>(&'a self, first: &'a str, conditional: bool, seen: &mut BTreeSet<&'a str>, way: &mut Vec<WayStep<'a>>) {
        let mut at = Some(first);
        // A step is told once, however often a loop comes back to it.
        while let Some((id, step)) = at
            .and_then(|at| self.steps.get_key_value(at))
            .filter(|(id, _)| seen.insert(id))
        {
            let acts = match &step.kind {
                Kind::Action { commands, .. } => Some(commands.iter().all(|command| command.kind == "manual")),
                Kind::PlaybookAction { .. } => Some(false),
                _ => None,
            };
            if let Some(person) = acts {
                way.push(WayStep {
                    id,
                    name: if step.name.is_empty() { id } else { &step.name },
                    person,
                    conditional,
                    timeout_ms: step.timeout,
                });
            }
            let inner = conditional || !matches!(step.kind, Kind::Parallel { .. });
            for (_, branch) in step.branches() {
                self.way(branch, inner, seen, way);
            }
            at = step.on_success.as_deref().or(step.on_completion.as_deref());
        }
    }
}

/// The parts of a playbook that matter for running it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Model {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    pub created: String,
    pub modified: String,
    pub valid_from: Option<String>,
    pub valid_until: Option<String>,
    #[serde(default)]
    pub revoked: bool,
    #[serde(default, rename = "playbook_variables")]
    pub variables: BTreeMap<String, Variable>,
    #[serde(rename = "workflow_start")]
    pub start: String,
    #[serde(rename = "workflow_exception")]
    pub exception: Option<String>,
    #[serde(rename = "workflow")]
    pub steps: BTreeMap<String, Step>,
    #[serde(default, rename = "agent_definitions")]
    pub agents: BTreeMap<String, Party>,
    #[serde(default, rename = "target_definitions")]
    pub targets: BTreeMap<String, Party>,
    #[serde(default, rename = "authentication_info_definitions")]
    pub authentication: BTreeMap<String, Value>,
    #[serde(default, rename = "extension_definitions")]
    pub extensions: BTreeMap<String, Value>,
}

/// CACAO 2.0 section 10.18.3.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Variable {
    #[serde(rename = "type")]
    pub kind: String,
    pub description: Option<String>,
    /// `None`: unknown.
    pub value: Option<String>,
    #[serde(default)]
    pub constant: bool,
    #[serde(default)]
    pub external: bool,
}

/// CACAO 2.0 section 4.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Step {
    #[serde(default)]
    pub name: String,
    /// Milliseconds to wait before it.
    pub delay: Option<u64>,
    /// Milliseconds after which it has failed.
    pub timeout: Option<u64>,
    #[serde(default, rename = "step_variables")]
    pub variables: BTreeMap<String, Variable>,
    pub on_completion: Option<String>,
    pub on_success: Option<String>,
    pub on_failure: Option<String>,
    #[serde(default, rename = "step_extensions")]
    pub extensions: BTreeMap<String, Value>,
    #[serde(flatten)]
    pub kind: Kind,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Kind {
    Start,
    End,
    Action {
        commands: Vec<Command>,
        agent: String,
        #[serde(default)]
        targets: Vec<String>,
        #[serde(default)]
        in_args: Vec<String>,
        #[serde(default)]
        out_args: Vec<String>,
    },
    PlaybookAction {
        playbook_id: String,
        playbook_version: Option<String>,
        #[serde(default)]
        in_args: Vec<String>,
        #[serde(default)]
        out_args: Vec<String>,
    },
    Parallel {
        next_steps: Vec<String>,
    },
    IfCondition {
        condition: String,
        on_true: String,
        on_false: Option<String>,
    },
    WhileCondition {
        condition: String,
        on_true: String,
    },
    SwitchCondition {
        switch: String,
        cases: BTreeMap<String, String>,
    },
}

/// CACAO 2.0 section 5. `kind` is open: what isn't known can't be run, and is no error.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Command {
    #[serde(rename = "type")]
    pub kind: String,
    pub command: Option<String>,
    pub command_b64: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
    pub content: Option<String>,
    pub content_b64: Option<String>,
}

impl Command {
    /// The command's text; `None` where there is none or its base64 is none of UTF-8.
    pub fn text(&self) -> Option<String> {
        decoded(self.command.as_deref(), self.command_b64.as_deref())
    }

    /// The body of an HTTP command, empty where there is none; `None` where its base64 is none of UTF-8.
    pub fn body(&self) -> Option<String> {
        if self.content.is_none() && self.content_b64.is_none() {
            return Some(String::new());
        }
        decoded(self.content.as_deref(), self.content_b64.as_deref())
    }
}

fn decoded(plain: Option<&str>, base64: Option<&str>) -> Option<String> {
    match (plain, base64) {
        (Some(plain), _) => Some(plain.to_owned()),
        (None, Some(base64)) => String::from_utf8(STANDARD.decode(base64.trim()).ok()?).ok(),
        (None, None) => None,
    }
}

/// An agent or a target (CACAO 2.0 section 7).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Party {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub address: BTreeMap<String, Vec<Value>>,
    pub port: Option<String>,
    pub authentication_info: Option<String>,
}

/// What [`STEP_EXTENSION`] says of a step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Recovery {
    pub idempotent: bool,
    pub compensation: Option<String>,
}

impl Step {
    /// How it recovers from an interruption; an error where the extension is not what we defined.
    pub fn recovery(&self) -> Result<Recovery, String> {
        match self.extensions.get(STEP_EXTENSION) {
            None => Ok(Recovery::default()),
            Some(value) => Recovery::deserialize(value).map_err(|error| error.to_string()),
        }
    }

    /// The steps that may follow it in its own branch, each with the property that names it.
    pub fn following(&self) -> Vec<(&'static str, &str)> {
        let named = [
            ("on_completion", &self.on_completion),
            ("on_success", &self.on_success),
            ("on_failure", &self.on_failure),
        ];
        named
            .into_iter()
            .filter_map(|(name, step)| Some((name, step.as_deref()?)))
            .collect()
    }

    /// The first steps of the branches it opens, each with the pointer that names it.
    pub fn branches(&self) -> Vec<(String, &str)> {
        match &self.kind {
            Kind::Parallel { next_steps } => next_steps
                .iter()
                .enumerate()
                .map(|(at, step)| (format!("next_steps/{at}"), step.as_str()))
                .collect(),
            Kind::IfCondition { on_true, on_false, .. } => {
                [("on_true", Some(on_true)), ("on_false", on_false.as_ref())]
                    .into_iter()
                    .filter_map(|(name, step)| Some((name.to_owned(), step?.as_str())))
                    .collect()
            }
            Kind::WhileCondition { on_true, .. } => vec![("on_true".to_owned(), on_true.as_str())],
            Kind::SwitchCondition { cases, .. } => cases
                .iter()
                .map(|(case, step)| (format!("cases/{}", pointer_part(case)), step.as_str()))
                .collect(),
            Kind::Start | Kind::End | Kind::Action { .. } | Kind::PlaybookAction { .. } => Vec::new(),
        }
    }
}

/// One part of a JSON pointer (RFC 6901 section 3).
pub(crate) fn pointer_part(text: &str) -> String {
    text.replace('~', "~0").replace('/', "~1")
}
