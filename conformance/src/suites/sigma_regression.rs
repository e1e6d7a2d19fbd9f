//! `sigma-regression`: each set's recorded event fires the set's rule, among all rules of `sigma-rules`.
//!
//! A set is a folder with an `info.yml` (rules, tests) and the events that it names, as EVTX and as JSON, of which the
//! JSON is read. A case is a set: its rule has to match an event of it, whether or not the rule is asked with the
//! event's source in view; and an event without the fields of the rule must not match it. (The `match_count` of some
//! sets isn't asked, as SigmaHQ's own runner doesn't: it stands at 1 beside recordings of several events that match.)
//! How many other rules match is told, not judged.
//!
//! Start reading at [`run`].

use std::collections::{BTreeMap, BTreeSet};

use rsigma_parser::{Detection, parse_sigma_yaml};
use serde_json::Value;
use telemetry::{SigmaRules, WindowsEvent, windows_event};

use super::sigma_rules::is_rule_file;
use super::{Data, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let known = Rules::shipped()?;
    let mut sets = Sets::default();
    let mut placed = BTreeSet::new();
    let files = data.files()?;
    for info in files.iter().filter(|path| name(path) == INFO) {
        placed.insert(info.clone());
        let folder = folder(info);
        let recordings: Vec<&String> = files
            .iter()
            .filter(|path| self::folder(path) == folder && (path.ends_with(".json") || path.ends_with(".evtx")))
            .collect();
        placed.extend(recordings.iter().map(|path| (*path).clone()));
        let set = Set::read(&data.text(info)?).map_err(|error| format!("`{info}`: {error}"))?;
        if recordings.is_empty() {
            sets.without_event += 1;
            println!("{folder}: carries no event");
            continue;
        }
        let read: Result<Vec<Vec<WindowsEvent>>, String> = recordings
            .iter()
            .filter(|path| path.ends_with(".json"))
            .map(|path| events(data, path))
            .collect();
        let got = match read.map(|events| events.concat()) {
            Ok(events) if events.is_empty() => "no event as JSON".to_owned(),
            Ok(events) => sets.judge(&known, &set, &events),
            Err(problem) => problem,
        };
        tally.case(folder, "fires", &got);
    }
    files
        .iter()
        .filter(|path| !placed.contains(*path) && !path.to_lowercase().contains("schema"))
        .for_each(|path| unplaced(tally, path));
    sets.tell();
    Ok(())
}

const INFO: &str = "info.yml";

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// All rules, and the fields that each names.
struct Rules {
    rules: SigmaRules,
    fields: BTreeMap<String, BTreeSet<String>>,
}

impl Rules {
    fn shipped() -> Result<Rules, String> {
        let data = Data::of("sigma-rules", None)?;
        let paths: Vec<String> = data.files()?.into_iter().filter(|path| is_rule_file(path)).collect();
        let mut files = Vec::new();
        let mut fields = BTreeMap::new();
        for path in paths {
            let parsed = parse_sigma_yaml(&data.text(&path)?).map_err(|error| format!("`{path}`: {error}"))?;
            for rule in parsed.rules {
                let mut own = BTreeSet::new();
                rule.detection
                    .named
                    .values()
                    .for_each(|detection| named(detection, &mut own));
                fields.insert(rule.id.unwrap_or_default(), own);
            }
            let bytes = data.bytes(&path)?;
            files.push((path, bytes));
        }
        let rules = SigmaRules::load(&files).map_err(|found| format!("`sigma-rules`: {}", found[0].message))?;
        Ok(Rules { rules, fields })
    }
}

fn named(detection: &Detection, fields: &mut BTreeSet<String>) {
    match detection {
        Detection::AllOf(items) => fields.extend(items.iter().filter_map(|item| item.field.name.clone())),
        Detection::AnyOf(parts) | Detection::And(parts) => parts.iter().for_each(|part| named(part, fields)),
        Detection::ArrayMatch { field, .. } => drop(fields.insert(field.clone())),
        Detection::Keywords(_) => {}
        Detection::Conditional { named: parts, .. } => parts.values().for_each(|part| named(part, fields)),
    }
}

/// The rules that an `info.yml` names.
struct Set {
    rules: Vec<String>,
}

impl Set {
    fn read(text: &str) -> Result<Set, String> {
        let info: Value = yaml_serde::from_str(text).map_err(|error| error.to_string())?;
        let rules = info["rule_metadata"].as_array().into_iter().flatten();
        let rules: Vec<String> = rules.filter_map(|rule| Some(rule["id"].as_str()?.to_owned())).collect();
        if rules.is_empty() {
            return Err("no rule is named".to_owned());
        }
        Ok(Set { rules })
    }
}

/// Of one file, as rules see them.
fn events(data: &Data, path: &str) -> Result<Vec<WindowsEvent>, String> {
    let values = serde_json::Deserializer::from_slice(&data.bytes(path)?)
        .into_iter()
        .collect::<Result<Vec<Value>, _>>()
        .map_err(|error| error.to_string())?;
    let spread = |value| match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    let records: Vec<Value> = values.into_iter().flat_map(spread).collect();
    if records.is_empty() {
        return Err("no event".to_owned());
    }
    let read = |record: &Value| windows_event(record).ok_or("an event that isn't one of Windows".to_owned());
    records.iter().map(read).collect()
}

/// What is told at the end.
#[derive(Default)]
struct Sets {
    without_event: usize,
    events: usize,
    others: usize,
    others_from: usize,
}

impl Sets {
    fn judge(&mut self, known: &Rules, set: &Set, events: &[WindowsEvent]) -> String {
        let own = |id: &String| set.rules.contains(id);
        let (mut matching, mut matching_from) = (0, 0);
        for event in events {
            let all: Vec<String> = known
                .rules
                .matches(&event.fields)
                .into_iter()
                .map(|found| found.id)
                .collect();
            let from: Vec<String> = known
                .rules
                .matches_from(&event.fields, &event.source)
                .into_iter()
                .map(|found| found.id)
                .collect();
            matching += usize::from(all.iter().any(own));
            matching_from += usize::from(from.iter().any(own));
            self.events += 1;
            self.others += all.iter().filter(|id| !own(id)).count();
            self.others_from += from.iter().filter(|id| !own(id)).count();
            let bare = bare(event, known, set);
            if known.rules.matches(&bare).iter().any(|found| own(&found.id)) {
                return "fires without its fields".to_owned();
            }
        }
        match (matching, matching_from) {
            (0, _) => "silence".to_owned(),
            (_, 0) => "silence where the source is looked at".to_owned(),
            _ => "fires".to_owned(),
        }
    }

    fn tell(&self) {
        let per = |count: usize| count as f64 / self.events.max(1) as f64;
        println!("{} sets carry no event", self.without_event);
        println!(
            "other rules that match an event: {:.1} on average, {:.1} where its source is looked at ({} events)",
            per(self.others),
            per(self.others_from),
            self.events
        );
    }
}

/// The event without the fields that the set's rules name.
fn bare(event: &WindowsEvent, known: &Rules, set: &Set) -> Value {
    let mut bare = event.fields.clone();
    if let Some(fields) = bare.as_object_mut() {
        let named = set.rules.iter().filter_map(|id| known.fields.get(id)).flatten();
        named.for_each(|name| drop(fields.remove(name)));
    }
    bare
}
