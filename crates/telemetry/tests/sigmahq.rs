//! SigmaHQ's own rules and regression events, where the data is there: every rule loads, and every event of the
//! regression sets is matched by the rule it was recorded for.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value};
use telemetry::SigmaRules;

/// Unpacks an archive of the shared data; `None`, and a line that says so, where it is absent.
fn unpack(name: &str) -> Option<tempfile::TempDir> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data")
        .join(name);
    let folder = tempfile::tempdir().unwrap();
    let unpacked = archive.exists()
        && Command::new("tar")
            .arg("xzf")
            .arg(&archive)
            .arg("-C")
            .arg(folder.path())
            .status()
            .is_ok_and(|s| s.success());
    if !unpacked {
        println!("not run: `{name}` is not there");
    }
    unpacked.then_some(folder)
}

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
}

/// Rules by id, each loaded alone.
fn rules(folder: &Path) -> (BTreeMap<String, SigmaRules>, Vec<String>) {
    let mut paths = Vec::new();
    files(folder, "yml", &mut paths);
    let (mut rules, mut refused) = (BTreeMap::new(), Vec::new());
    for path in paths {
        let bytes = fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some(id) = text.lines().find_map(|line| line.strip_prefix("id: ")) else {
            continue;
        };
        match SigmaRules::load(&[(path.display().to_string(), bytes)]) {
            Ok(loaded) => drop(rules.insert(id.trim().to_owned(), loaded)),
            Err(found) => refused.push(format!("{}: {}", path.display(), found[0].message)),
        }
    }
    (rules, refused)
}

/// A recorded Windows event as Sigma's field names have it.
fn fields(event: &Value) -> Value {
    let mut fields = Map::new();
    let event = &event["Event"];
    for part in ["System", "EventData", "UserData"] {
        let Some(object) = event[part].as_object() else {
            continue;
        };
        for (key, value) in object {
            // An attribute of an element is a field of its own: `Provider_Name`.
            for (name, attribute) in value["#attributes"].as_object().into_iter().flatten() {
                fields.insert(format!("{key}_{name}"), attribute.clone());
            }
            let plain = value.get("#text").unwrap_or(value);
            fields.insert(key.clone(), plain.clone());
            // `UserData` holds one element, which holds the fields.
            if part == "UserData" {
                fields.extend(
                    value
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(key, value)| (key.clone(), value.clone())),
                );
            }
        }
    }
    Value::Object(fields)
}

#[test]
fn rules_load_and_match_their_events() {
    let (Some(rule_folder), Some(event_folder)) = (unpack("sigma-rules.tar.gz"), unpack("sigma-regression.tar.gz"))
    else {
        return;
    };
    let (rules, refused) = rules(rule_folder.path());
    println!("{} rules loaded, {} refused", rules.len(), refused.len());
    assert!(rules.len() > 3000, "only {} rules", rules.len());
    assert!(refused.is_empty(), "{refused:#?}");
    let mut events = Vec::new();
    files(event_folder.path(), "json", &mut events);
    let (mut looked, mut missed) = (0, Vec::new());
    for path in events {
        let id = path.file_stem().unwrap().to_string_lossy().into_owned();
        let Some(rule) = rules.get(&id) else { continue };
        looked += 1;
        let bytes = fs::read(&path).unwrap();
        let recorded = serde_json::Deserializer::from_slice(&bytes)
            .into_iter::<Value>()
            .map(Result::unwrap);
        let matched = recorded
            .flat_map(|value| {
                if let Value::Array(list) = value {
                    list
                } else {
                    vec![value]
                }
            })
            .any(|event| !rule.matches(&fields(&event)).is_empty());
        if !matched {
            missed.push(path.display().to_string());
        }
    }
    println!("{} of {looked} events matched", looked - missed.len());
    assert!(looked > 50, "only {looked} events");
    assert!(missed.is_empty(), "{missed:#?}");
}
