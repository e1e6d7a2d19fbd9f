//! `cacao-schemas`: the OASIS schemas in a folder, used by [`playbooks::Schemas`] and by PyPI's `jsonschema`: same
//! verdict, at the same places.
//!
//! The archive is schemas only, so the cases are ours; a file of the folder that is a playbook is one, too. Named:
//!
//! - `shipped/NAME`: a playbook of the library, which has to be valid
//! - `broken/NAME/N`: one with one change from `conformance/cacao/broken.jsonl`, which has to be invalid
//! - `swept/NAME POINTER`: one in which one value is something else, whatever that makes of it
//! - `line-feed/NAME`: one whose identifier ends in a line feed
//! - `given/PATH`: a playbook in the folder

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use playbooks::Schemas;
use serde_json::{Value, json};

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

/// Fewer changes that break a playbook are a failure.
const BROKEN_MIN: usize = 100;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let (schemas, given) = sorted(data, tally)?;
    let texts: Vec<(&str, &str)> = schemas
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let ours = Schemas::of(&texts).map_err(|error| error.to_string())?;
    let mut cases = cases()?;
    cases.extend(given);
    let theirs = oracle(&schemas, cases.iter().map(|(_, document)| document))?;
    let mut broken = 0;
    for ((name, document), theirs) in cases.iter().zip(theirs) {
        let answer = guarded(|| {
            told(
                ours.refusals(document)
                    .into_iter()
                    .map(|refusal| refusal.path)
                    .collect(),
            )
        });
        let expected = told(theirs.clone());
        if name.starts_with("broken/") {
            broken += usize::from(!theirs.is_empty());
        }
        match (name.split('/').next(), theirs.is_empty()) {
            (Some("shipped"), false) => tally.case(name, "a valid playbook", &expected),
            (Some("broken"), true) => tally.case(name, "a change that breaks it", &expected),
            _ => tally.case(name, &expected, &answer),
        }
    }
    println!("{broken} playbooks broken by one change");
    if broken < BROKEN_MIN {
        return Err(format!("only {broken} of at least {BROKEN_MIN} broken playbooks"));
    }
    Ok(())
}

fn told(mut paths: Vec<String>) -> String {
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return "valid".to_owned();
    }
    let paths: Vec<&str> = paths
        .iter()
        .map(|path| if path.is_empty() { "/" } else { path })
        .collect();
    format!("invalid at {}", paths.join(", "))
}

type Schema = BTreeMap<String, String>;
type Case = (String, Value);

/// The folder's files: schemas by their path beside `playbook.json`, and playbooks.
fn sorted(data: &Data, tally: &mut Tally) -> Result<(Schema, Vec<Case>), String> {
    let (mut schemas, mut given) = (Schema::new(), Vec::new());
    let files = data.files()?;
    let root = files
        .iter()
        .find(|path| {
            path.rsplit('/').next() == Some("playbook.json")
                && data.json(path).is_ok_and(|json| json["$id"].is_string())
        })
        .ok_or("the folder has no `playbook.json`")?;
    let folder = root.strip_suffix("playbook.json").unwrap_or_default();
    for path in &files {
        match data.json(path) {
            Ok(json) if json["$id"].is_string() && path.starts_with(folder) => {
                schemas.insert(path[folder.len()..].to_owned(), data.text(path)?);
            }
            Ok(json) if json["type"] == "playbook" || json["workflow"].is_object() => {
                given.push((format!("given/{path}"), json));
            }
            _ => unplaced(tally, path),
        }
    }
    Ok((schemas, given))
}

fn cases() -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    let mut shipped: BTreeMap<&str, Value> = BTreeMap::new();
    for (name, text) in playbooks::library() {
        let document: Value = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
        cases.push((format!("shipped/{name}"), document.clone()));
        let id = format!("{}\n", document["id"].as_str().unwrap_or_default());
        let ends = changed(&document, "/id", Some(&json!(id))).ok_or_else(|| format!("{name}: has no id"))?;
        cases.push((format!("line-feed/{name}"), ends));
        shipped.insert(name, document);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cacao/broken.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    for (number, line) in text.lines().enumerate() {
        let patch: Value =
            serde_json::from_str(line).map_err(|error| format!("broken.jsonl, line {}: {error}", number + 1))?;
        let name = patch["playbook"].as_str().unwrap_or_default();
        let document = shipped
            .get(name)
            .ok_or_else(|| format!("broken.jsonl, line {}: no playbook `{name}`", number + 1))?;
        let document = changed(document, patch["pointer"].as_str().unwrap_or_default(), patch.get("to"))
            .ok_or_else(|| format!("broken.jsonl, line {}: the pointer leads nowhere", number + 1))?;
        cases.push((format!("broken/{name}/{}", number + 1), document));
    }
    for (name, document) in &shipped {
        let mut places = Vec::new();
        pointers(document, "", &mut places);
        // One after the other, so that each value comes to each kind of place.
        let values = [
            None,
            Some(json!(null)),
            Some(json!(-1)),
            Some(json!("x")),
            Some(json!([])),
            Some(json!({})),
        ];
        for (at, place) in places.iter().enumerate() {
            let value = &values[at % values.len()];
            if let Some(changed) = changed(document, place, value.as_ref()) {
                cases.push((format!("swept/{name} {place}"), changed));
            }
        }
    }
    Ok(cases)
}

/// The document with one value in place of what the pointer names, or without it. The place may be a new member.
fn changed(document: &Value, pointer: &str, to: Option<&Value>) -> Option<Value> {
    let mut document = document.clone();
    if pointer.is_empty() {
        return to.cloned();
    }
    let (parent, name) = pointer.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match (document.pointer_mut(parent)?, to) {
        (Value::Object(object), Some(to)) => drop(object.insert(name, to.clone())),
        (Value::Object(object), None) => drop(object.remove(&name)?),
        (Value::Array(list), to) => {
            let at: usize = name.parse().ok().filter(|at| *at < list.len())?;
            match to {
                Some(to) => list[at] = to.clone(),
                None => drop(list.remove(at)),
            }
        }
        _ => return None,
    }
    Some(document)
}

fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(list) => {
            for (number, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

/// The pointers of each document's errors, by PyPI's `jsonschema`.
fn oracle<'a>(schemas: &Schema, documents: impl Iterator<Item = &'a Value>) -> Result<Vec<Vec<String>>, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/cacao_oracle.py");
    let mut parsed = serde_json::Map::new();
    for (path, text) in schemas {
        let schema = serde_json::from_str(text).map_err(|error| format!("`{path}`: {error}"))?;
        parsed.insert(path.clone(), schema);
    }
    let mut input = format!("{}\n", Value::Object(parsed));
    let mut count = 0;
    for document in documents {
        input.push_str(&format!("{document}\n"));
        count += 1;
    }
    let mut child = Command::new(python()?)
        .arg(&script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("python: {error}"))?;
    let mut stdin = child.stdin.take().ok_or("python has no standard input")?;
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let out = child.wait_with_output().map_err(|error| format!("python: {error}"))?;
    let _ = writer.join();
    let text = String::from_utf8_lossy(&out.stdout);
    let answers: Vec<Vec<String>> = text
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("the oracle's answer: {error}")))
        .collect::<Result<_, _>>()?;
    if !out.status.success() || answers.len() != count {
        return Err(format!("the oracle answered {} of {count} cases", answers.len()));
    }
    Ok(answers)
}

/// A Python that has `jsonschema`: the tests' own, or the one on `PATH`.
fn python() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target));
    let own = target.join("tools/venv/bin/python");
    let has_it = |python: &PathBuf| {
        let import = ["-c", "import jsonschema, referencing"];
        let out = Command::new(python).args(import).output();
        out.is_ok_and(|out| out.status.success())
    };
    [own, PathBuf::from("python3")]
        .into_iter()
        .find(has_it)
        .ok_or_else(|| "PyPI's `jsonschema` is not installed: `cargo xtask test setup` does that".to_owned())
}
