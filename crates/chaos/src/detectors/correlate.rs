//! What joins something that was said to the injection: the run's name, then what was attacked and how, then the time
//! alone; and what speaks against it.
//!
//! A name that stands anywhere in what was said counts, as a word of its own. That nothing is named is no objection:
//! most log lines name no technique. An objection is that it names another thing: another technique than the fault's,
//! another lease than the revoked one, another target than the attacked.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::environment::Environment;
use crate::experiment::{Correlation, DetectorKind, Experiment, InvariantKind};

/// Shorter names are words that stand anywhere.
const NAME_BYTES_MIN: usize = 3;
/// Parameters of a fault, and declarations of a target, that name something.
const NAMING: &[&str] = &[
    "target",
    "client",
    "neighbour",
    "from",
    "other",
    "link",
    "role",
    "policy",
    "service",
    "user",
    "database",
    "name",
    "host",
    "address",
    "process",
    "program",
    "unit",
    "server_name",
    "root",
    "revoked",
];
/// Those of them that say whose it is.
const NAMING_HOLDER: &[&str] = &["role", "user", "revoked"];
/// Keys of what was said whose value says whose it is.
const HOLDER: &[&str] = &[
    "role",
    "user",
    "username",
    "account",
    "principal",
    "identity",
    "accessor",
    "lease",
    "lease_id",
    "credential",
];
/// Keys of what was said whose value says what it is about.
const ABOUT: &[&str] = &["target", "service", "link", "upstream", "database", "resource", "job"];

/// What a run attacks, as others may name it.
pub(super) struct Subject {
    run: String,
    techniques: BTreeSet<String>,
    /// What is attacked, and what the experiment asks: something about these is about the fault.
    named: BTreeSet<String>,
    /// Whose credentials, and which ones.
    holders: BTreeSet<String>,
    /// What else there is here.
    others: BTreeSet<String>,
}

/// What joins something to the injection, and what speaks against it, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) by: Correlation,
    pub(super) against: Option<String>,
}

impl Subject {
    pub(super) fn of(experiment: &Experiment, environment: &dyn Environment, run: &str) -> Subject {
        let (mut named, mut holders) = (BTreeSet::new(), BTreeSet::new());
        let targets = environment.site().targets;
        for fault in &experiment.faults {
            for (key, value) in fault.parameters() {
                names(&key, &value, &mut named, &mut holders);
            }
            for name in fault.strike().map_or_else(Vec::new, |strike| strike.targets()) {
                let Ok(target) = targets.named(&name) else { continue };
                for key in NAMING {
                    if let Some(value) = target.optional(key) {
                        names(key, &value.into(), &mut named, &mut holders);
                    }
                }
                named.insert(name.to_lowercase());
            }
        }
        for service in asked(experiment) {
            named.insert(service.to_lowercase());
        }
        named.retain(|name| name.len() >= NAME_BYTES_MIN);
        let others = environment.entities().into_iter().map(|name| name.to_lowercase());
        Subject {
            run: run.to_owned(),
            techniques: experiment
                .faults
                .iter()
                .flat_map(|fault| fault.entry().attack)
                .map(|technique| (*technique).to_owned())
                .collect(),
            others: others
                .filter(|name| !named.contains(name) && name.len() >= NAME_BYTES_MIN)
                .collect(),
            named,
            holders,
        }
    }

    /// Credentials that were revoked.
    pub(super) fn revoked(&mut self, leases: impl Iterator<Item = String>) {
        for lease in leases.map(|lease| lease.to_lowercase()) {
            self.named.insert(lease.clone());
            self.holders.insert(lease);
        }
    }

    /// True when it carries the run's name.
    pub(super) fn carries_run(&self, fields: &Value) -> bool {
        let mut found = false;
        leaves("", fields, &mut |key, text| {
            found |= key.contains(&self.run) || text.to_ascii_lowercase().contains(&self.run);
        });
        found
    }

    /// Those of `techniques` that the faults stand for.
    pub(super) fn shared(&self, techniques: &[String]) -> Vec<String> {
        let ours = |said: &&String| self.techniques.iter().any(|ours| same(said, ours));
        techniques.iter().filter(ours).cloned().collect()
    }

    /// What joins `fields` to the injection. `techniques` are those that it, or its detector, names.
    pub(super) fn join(&self, fields: &Value, techniques: &[String]) -> Joined {
        if self.carries_run(fields) {
            return Joined {
                by: Correlation::RunId,
                against: None,
            };
        }
        let technique = !self.shared(techniques).is_empty();
        let mut said = Said::default();
        leaves("", fields, &mut |key, text| said.take(key, &text.to_lowercase(), self));
        let about = said.ours.is_some();
        let objection = if !techniques.is_empty() && !technique {
            Some(format!("it names {}, which the fault is not", techniques.join(", ")))
        } else if let Some(holder) = said.other_holder.filter(|_| !said.holder) {
            Some(format!("it is about `{holder}`, whose credential was not attacked"))
        } else if about {
            None
        } else {
            said.other
                .map(|other| format!("it is about `{other}`, which was not attacked"))
        };
        Joined {
            by: if about && technique && objection.is_none() {
                Correlation::EntityAndTechnique
            } else {
                Correlation::Window
            },
            against: objection,
        }
    }
}

/// What something says about whom.
#[derive(Default)]
struct Said {
    ours: Option<()>,
    other: Option<String>,
    holder: bool,
    other_holder: Option<String>,
}

impl Said {
    fn take(&mut self, key: &str, text: &str, subject: &Subject) {
        let last = key.rsplit(['.', '/']).next().unwrap_or(key).to_ascii_lowercase();
        if subject.named.iter().any(|name| has_word(text, name)) {
            self.ours = Some(());
        }
        if HOLDER.contains(&last.as_str()) && !subject.holders.is_empty() && !text.is_empty() {
            if subject.holders.iter().any(|holder| has_word(text, holder)) {
                self.holder = true;
            } else {
                self.other_holder.get_or_insert_with(|| text.to_owned());
            }
        }
        let elsewhere = subject.others.contains(text);
        if (elsewhere || ABOUT.contains(&last.as_str())) && !text.is_empty() {
            self.other.get_or_insert_with(|| text.to_owned());
        }
    }
}

/// Services that the experiment asks: what they say about themselves is not about something else.
fn asked(experiment: &Experiment) -> Vec<String> {
    let mut asked = vec![experiment.steady.request.service.clone()];
    asked.extend(experiment.probe().map(|(_, probe)| probe.request.service.clone()));
    asked.extend(experiment.detectors.iter().filter_map(|detector| match &detector.kind {
        DetectorKind::Probe { service, .. } => Some(service.clone()),
        _ => None,
    }));
    asked.extend(experiment.invariants.iter().map(|invariant| match &invariant.kind {
        InvariantKind::Denied { request, .. } | InvariantKind::Served { request, .. } => request.service.clone(),
        InvariantKind::History { read, .. } => read.service.clone(),
    }));
    asked
}

/// Names in one parameter of a fault.
fn names(key: &str, value: &Value, named: &mut BTreeSet<String>, holders: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if NAMING.contains(&key) => {
            let text = text.to_lowercase();
            if key == "link" {
                // A link is called after its two ends.
                named.extend(text.split('-').map(str::to_owned));
            }
            if NAMING_HOLDER.contains(&key) {
                holders.insert(text.clone());
            }
            named.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| names(key, item, named, holders)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| names(key, value, named, holders)),
        _ => {}
    }
}

/// Calls `take` with the dotted path and the text of every text and number.
pub(super) fn leaves(path: &str, value: &Value, take: &mut dyn FnMut(&str, &str)) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    match value {
        Value::String(text) => take(path, text),
        Value::Number(number) => take(path, &number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| leaves(path, item, take)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| leaves(&below(key), value, take)),
        Value::Bool(_) | Value::Null => {}
    }
}

/// A technique and one of its sub-techniques stand for each other.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_uppercase(), b.to_ascii_uppercase());
    let parent = |of: &str, other: &str| of.strip_prefix(other).is_some_and(|rest| rest.starts_with('.'));
    a == b || parent(&a, &b) || parent(&b, &a)
}

/// True when `word` stands in `text` with no letter or digit beside it.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RUN: &str = "0123456789abcdef0123456789abcdef";

    fn subject() -> Subject {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Subject {
            run: RUN.to_owned(),
            techniques: words(&["T1078", "T1550.001"]),
            named: words(&["storefront", "ledger", "lease-1"]),
            holders: words(&["storefront", "lease-1"]),
            others: words(&["billing"]),
        }
    }

    #[track_caller]
    fn check(fields: Value, techniques: &[&str], by: Correlation, against: bool) {
        let techniques: Vec<String> = techniques.iter().map(|technique| (*technique).to_owned()).collect();
        let joined = subject().join(&fields, &techniques);
        assert_eq!(
            (joined.by, joined.against.is_some()),
            (by, against),
            "{fields}: {joined:?}"
        );
    }

    #[test]
    fn the_runs_name_comes_first_then_what_and_how_then_the_time() {
        use Correlation::{EntityAndTechnique, RunId, Window};
        check(json!({"agent": format!("proofmark/{RUN}")}), &["T1059"], RunId, false);
        check(json!({"labels": {"x": [RUN.to_uppercase()]}}), &[], RunId, false);
        check(json!({"service": "ledger"}), &["T1078.004"], EntityAndTechnique, false);
        check(
            json!({"message": "ledger: bad token"}),
            &["T1550"],
            EntityAndTechnique,
            false,
        );
        check(json!({"service": "ledger"}), &[], Window, false);
        check(json!({"message": "denied"}), &[], Window, false);
        check(json!({"host": "worker-3"}), &["T1078"], Window, false);
    }

    #[test]
    fn another_technique_lease_or_target_speaks_against_it() {
        use Correlation::Window;
        check(json!({"service": "ledger"}), &["T1059.001"], Window, true);
        check(json!({"service": "ledger", "accessor": "lease-9"}), &[], Window, true);
        check(json!({"service": "ledger", "accessor": "lease-1"}), &[], Window, false);
        check(json!({"user": "mallory"}), &["T1078"], Window, true);
        check(json!({"target": "payroll"}), &["T1078"], Window, true);
        check(json!({"name": "billing"}), &[], Window, true);
        check(json!({"service": "billing", "upstream": "ledger"}), &[], Window, false);
        // `ledgers` is another word.
        check(json!({"service": "ledgers"}), &[], Window, true);
    }
}
