//! The layer table, held against `cargo metadata`: a crate may only use crates of lower layers; engines never import
//! each other. Linux-only calls stay in modules that say so.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::tools;

/// Crate and layer, from the bottom up. Crates of one layer don't see each other.
const LAYERS: [(&str, u8); 19] = [
    ("evidence", 0),
    ("host", 1),
    ("net", 1),
    ("telemetry", 1),
    ("statistics", 1),
    ("tlog", 2),
    ("source", 2),
    ("packages", 2),
    ("intel", 2),
    ("dast", 2),
    ("chaos", 2),
    ("canary", 2),
    ("credentials", 2),
    ("policy", 2),
    ("playbooks", 2),
    ("pipeline", 3),
    ("proofmark", 4),
    ("conformance", 4),
    ("xtask", 5),
];
/// Development only: anything may use it in its tests, and it may use the mechanisms.
const TESTKIT: &str = "testkit";
/// Crates that may hold state of the outside world, read clocks or start a runtime: everything else takes them as arguments.
const MAY_READ_CLOCKS: [&str; 6] = ["host", "net", "telemetry", "pipeline", "proofmark", "testkit"];

pub fn run() -> Result<(), String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let text = tools::output(&cargo, &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    let metadata: Value = serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))?;
    let layers: BTreeMap<&str, u8> = LAYERS.into_iter().collect();
    let mut problems = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        if name == TESTKIT {
            continue;
        }
        let Some(layer) = layers.get(name) else {
            problems.push(format!("crate `{name}` has no layer in xtask/src/layers.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let development = dependency["kind"] == "dev";
            if other == TESTKIT && !development && name != "conformance" {
                problems.push(format!("`{name}` ships the development crate `{TESTKIT}`"));
            }
            if let Some(below) = layers.get(other).filter(|below| **below >= *layer && other != name) {
                problems.push(format!("`{name}` (layer {layer}) uses `{other}` (layer {below})"));
            }
        }
        if !MAY_READ_CLOCKS.contains(&name) && *layer <= 3 {
            problems.extend(clocks(name)?);
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("layers:\n  {}", problems.join("\n  ")))
    }
}

/// Invariant 1: below `pipeline`, time, randomness, environment and working directory are arguments.
fn clocks(name: &str) -> Result<Vec<String>, String> {
    const FORBIDDEN: [&str; 6] = [
        "SystemTime::now",
        "Timestamp::now",
        "env::var",
        "env::current_dir",
        "getrandom(",
        "thread_rng",
    ];
    let mut problems = Vec::new();
    let mut folders = vec![tools::root().join("crates").join(name).join("src")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.file_name().is_some_and(|name| name == "tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//"))
            {
                if let Some(call) = FORBIDDEN.iter().find(|call| line.contains(*call)) {
                    let shown = path.strip_prefix(tools::root()).unwrap_or(&path).display().to_string();
                    problems.push(format!("{shown}:{}: `{call}` below `pipeline`", number + 1));
                }
            }
        }
    }
    Ok(problems)
}
