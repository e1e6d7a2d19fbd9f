//! `[[detector]]` and `[[response]]`: who should notice, who answers, and how that is seen.
//!
//! A detector's page in an experiment file:
//!
//! ```toml
//! [[detector]]
//! id = "ledger-denied"
//! kind = "sigma"                # a Sigma rule over the log lines of every service
//! rule = "detection/ledger-denied.yml"
//! self_test = '{"event":"denied"}'
//! source = "ledger"             # of this one alone
//! [[detector]]
//! id = "denied-counter"
//! kind = "probe"                # a metric that rises
//! service = "ledger"
//! path = "/metrics"
//! metric = "ledger_denied_total"
//! [[detector]]
//! id = "pager"
//! kind = "alert"                # what an observer of `[chaos.observer.NAME]` hands on
//! source = "alertmanager"
//! name = "LedgerDenied*"        # of the rule or alert; `*` stands for anything
//! labels = { job = "ledger" }   # what it has to carry, by key or dotted path
//! notifies = true               # it reaches people: its first credited alert is the moment `notified`
//! correlation = "entity-and-technique"   # the least that joins it to the injection; default `window`
//! techniques = ["T1550"]        # what it says it detects, where its alerts don't say
//! alive_seconds = 60            # its source says something at least so often, or it is dead
//!
//! [[response]]                  # a line or an alert that says that somebody answers
//! id = "oncall"
//! moment = "acknowledged"       # or `responded`
//! kind = "sigma"
//! rule = "detection/acknowledged.yml"
//! self_test = '{"event":"ack","user":"ada"}'
//! by = "user"                   # the key that says who; default: its id
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

use super::suggestion;
use crate::fault::read_path;
use crate::read::Section;

/// Detectors of one experiment.
const DETECTORS_MAX: usize = 32;
/// Responses of one experiment.
const RESPONSES_MAX: usize = 16;
/// So long is waited for a sign of life before anything is injected, at most.
const ALIVE_SECONDS_MAX: u64 = 300;

/// Something that should notice.
#[derive(Debug, Clone, PartialEq)]
pub struct Detector {
    pub id: String,
    pub kind: DetectorKind,
    /// What it says reaches people.
    pub notifies: bool,
    /// The least that has to join what it says to the injection.
    pub correlation: Correlation,
    /// ATT&CK techniques that it is said to detect, where its alerts name none.
    pub techniques: Vec<String>,
    /// Its source says something at least so often; `None`: silence is fine.
    pub alive_seconds: Option<u64>,
}

/// How a detector notices.
#[derive(Debug, Clone, PartialEq)]
pub enum DetectorKind {
    /// A Sigma rule over every service's log lines.
    Sigma {
        /// The rule's file, relative to the tree.
        rule: String,
        /// A line that the rule must match, or the detector is broken.
        self_test: Value,
        /// Whose log it reads; `None`: everybody's.
        source: Option<String>,
    },
    /// A metric that rises above its value before the injection. Its self-test is that it can be read.
    Probe {
        service: String,
        path: String,
        metric: String,
    },
    /// Alerts of somebody else's detector. Its self-test is the observer's.
    Alert {
        /// Name of the observer.
        source: String,
        /// Of the rule or alert; `*` stands for anything.
        name: String,
        /// What it has to carry, by key or dotted path.
        labels: BTreeMap<String, String>,
    },
}

/// What joins something that was said to an injection, the weakest first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Correlation {
    /// It came while the fault was in force, and says nothing to the contrary.
    #[default]
    Window,
    /// It names what was attacked, and how.
    EntityAndTechnique,
    /// It carries the run's name.
    RunId,
}

impl Correlation {
    pub const ALL: [Correlation; 3] = [Correlation::Window, Correlation::EntityAndTechnique, Correlation::RunId];

    pub fn name(self) -> &'static str {
        match self {
            Correlation::Window => "window",
            Correlation::EntityAndTechnique => "entity-and-technique",
            Correlation::RunId => "run-id",
        }
    }
}

/// A sign that somebody answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub id: String,
    pub answer: Answer,
    /// [`DetectorKind::Sigma`] or [`DetectorKind::Alert`].
    pub kind: DetectorKind,
    /// The key, or dotted path, that says who or what it was; `None`: its id does.
    pub by: Option<String>,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Somebody has taken it on.
    Acknowledged,
    /// Somebody, or something, has begun to act.
    Responded,
}

impl Answer {
    pub const ALL: [Answer; 2] = [Answer::Acknowledged, Answer::Responded];

    /// As `measured.moments` has it.
    pub fn name(self) -> &'static str {
        match self {
            Answer::Acknowledged => "acknowledged",
            Answer::Responded => "responded",
        }
    }
}

impl DetectorKind {
    /// As the experiment file and the evidence name it.
    pub fn name(&self) -> &'static str {
        match self {
            DetectorKind::Sigma { .. } => "sigma",
            DetectorKind::Probe { .. } => "probe",
            DetectorKind::Alert { .. } => "alert",
        }
    }

    /// The Sigma rule file that it names.
    pub fn rule(&self) -> Option<&str> {
        match self {
            DetectorKind::Sigma { rule, .. } => Some(rule),
            _ => None,
        }
    }
}

pub(super) fn read_detectors(top: &Section<'_>) -> Vec<Detector> {
    let sections = top.sections("detector");
    if sections.len() > DETECTORS_MAX {
        let message = format!("{} detectors are more than {DETECTORS_MAX}", sections.len());
        top.problem("detector", "chaos/detectors", message, "split the experiment");
    }
    let mut detectors: Vec<Detector> = Vec::new();
    for section in sections.iter().take(DETECTORS_MAX) {
        let Some(detector) = read_detector(section) else {
            continue;
        };
        if detectors.iter().any(|other| other.id == detector.id) {
            let message = format!("two detectors are called `{}`", detector.id);
            section.problem("id", "chaos/detectors", message, "give each an id of its own");
        }
        detectors.push(detector);
    }
    detectors
}

pub(super) fn read_responses(top: &Section<'_>) -> Vec<Response> {
    let sections = top.sections("response");
    if sections.len() > RESPONSES_MAX {
        let message = format!("{} responses are more than {RESPONSES_MAX}", sections.len());
        top.problem("response", "chaos/responses", message, "split the experiment");
    }
    sections.iter().take(RESPONSES_MAX).filter_map(read_response).collect()
}

fn read_detector(section: &Section<'_>) -> Option<Detector> {
    const COMMON: &[&str] = &["notifies", "correlation", "techniques", "alive_seconds"];
    let id = section.text("id");
    let kind = read_kind(section, &["sigma", "probe", "alert"], COMMON)?;
    let correlation = section.optional_choice("correlation", &Correlation::ALL, Correlation::name);
    let alive_seconds = section.optional_number("alive_seconds", 1..=ALIVE_SECONDS_MAX);
    if alive_seconds.is_some() && matches!(kind, DetectorKind::Probe { .. }) {
        let message = "`alive_seconds` of a probe, which is asked and says nothing by itself".to_owned();
        section.problem("alive_seconds", "chaos/detectors", message, "leave it out");
    }
    let techniques = if section.has("techniques") {
        section.optional_texts("techniques").unwrap_or_default()
    } else {
        Vec::new()
    };
    Some(Detector {
        id: id?,
        kind,
        notifies: section.optional_flag("notifies").unwrap_or(false),
        correlation: correlation.unwrap_or_default(),
        techniques,
        alive_seconds,
    })
}

fn read_response(section: &Section<'_>) -> Option<Response> {
    let id = section.text("id");
    section.text("moment")?;
    let answer = section.optional_choice("moment", &Answer::ALL, Answer::name);
    let kind = read_kind(section, &["sigma", "alert"], &["moment", "by"])?;
    Some(Response {
        id: id?,
        answer: answer?,
        kind,
        by: section.optional_text("by"),
    })
}

/// `kind` and its keys; `others` are keys of the section beside those and `id`.
fn read_kind(section: &Section<'_>, kinds: &[&str], others: &[&str]) -> Option<DetectorKind> {
    let kind = section.text("kind")?;
    let only = |keys: &[&str]| {
        let known: Vec<&str> = ["id", "kind"].iter().chain(keys).chain(others).copied().collect();
        section.only(&known);
    };
    match kind.as_str() {
        "sigma" => {
            only(&["rule", "self_test", "source"]);
            let rule = read_rule(section);
            let self_test = read_self_test(section);
            Some(DetectorKind::Sigma {
                rule: rule?,
                self_test: self_test?,
                source: section.optional_text("source"),
            })
        }
        "probe" if kinds.contains(&"probe") => {
            only(&["service", "path", "metric"]);
            let service = section.text("service");
            let path = read_path(section, "path");
            let metric = section.text("metric");
            Some(DetectorKind::Probe {
                service: service?,
                path: path?,
                metric: metric?,
            })
        }
        "alert" => {
            only(&["source", "name", "labels"]);
            let (source, name) = (section.text("source"), section.optional_text("name"));
            let labels = section.optional_section("labels").map_or_else(BTreeMap::new, |labels| {
                let pairs = labels.keys().into_iter();
                pairs
                    .filter_map(|key| Some((key.clone(), labels.text(&key)?)))
                    .collect()
            });
            Some(DetectorKind::Alert {
                source: source?,
                name: name.unwrap_or_else(|| "*".to_owned()),
                labels,
            })
        }
        other => {
            let message = format!("no kind of detector is called `{other}`");
            section.problem("kind", "chaos/unknown-detector", message, &suggestion(other, kinds));
            None
        }
    }
}

fn read_rule(section: &Section<'_>) -> Option<String> {
    let rule = section.text("rule")?;
    let inside = !rule.contains('\\') && rule.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if inside {
        return Some(rule);
    }
    let message = format!("`{rule}` is not a path within the tree");
    section.problem(
        "rule",
        "chaos/bad-path",
        message,
        "write it from the tree's root, `/` between parts",
    );
    None
}

fn read_self_test(section: &Section<'_>) -> Option<Value> {
    let text = section.text("self_test")?;
    match serde_json::from_str(&text) {
        Ok(value @ Value::Object(_)) => Some(value),
        _ => {
            let message = "`self_test` is not a JSON object".to_owned();
            section.problem(
                "self_test",
                "chaos/bad-self-test",
                message,
                "write a log line that the rule must match",
            );
            None
        }
    }
}
