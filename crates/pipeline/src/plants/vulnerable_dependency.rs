//! # plant/vulnerable-dependency
//! A package with a known vulnerability is pulled in.
//!
//! ## What it does
//! For each ecosystem that the tree has lock files of: takes packages and versions that records of the tree's own advisory
//! database list, read from the record and not by our own matching, and commits a project that pulls one in, three in turn.
//! `control/no-known-vulnerabilities` should block the build stage.
//!
//! ## Why it matters
//! A match that is wrong by one version boundary lets through exactly what the database knows.
//!
//! ## Example
//! `proofmark chaos gates --only vulnerable-dependency`
//!
//! ## What to do instead
//! Update to the version that the record calls fixed.
//!
//! ## References
//! - OSV schema, <https://ossf.github.io/osv-schema/>
//! - OWASP CICD-SEC-3, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;
use serde_json::Value;

use crate::gate_experiment::ground::{Blocks, Ecosystem, Entry, Ground, Package, Plan};

pub const ENTRY: Entry = Entry {
    id: "vulnerable-dependency",
    stage: Stage::Build,
    blocks: Blocks::Control("no-known-vulnerabilities"),
    fix: "see whether the record's range was read as its database means it; report the record if not",
    plan,
};

/// Of each ecosystem.
const PACKAGES_MAX: usize = 3;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    if ground.config.advisories.is_none() {
        return Plan::not_here("the tree names no advisory database");
    }
    if ground.config.build.is_none() {
        return Plan::not_here("the tree has no build stage");
    }
    let ecosystems = ground.ecosystems();
    if ecosystems.is_empty() {
        return Plan::not_here("the tree has no lock file of Cargo, npm or Go");
    }
    let records = ground.advisories();
    ecosystems
        .into_iter()
        .flat_map(|ecosystem| of(ground, ecosystem, &records))
        .collect()
}

fn of(ground: &Ground<'_>, ecosystem: Ecosystem, records: &[Value]) -> Vec<Plan> {
    let name = ecosystem.name();
    if !ground.may_come_from(ecosystem) {
        return vec![Plan::without(
            name,
            format!("`dependencies.sources` lets nothing come from {name}"),
        )];
    }
    let mut listed: Vec<(String, String, String)> = records
        .iter()
        .flat_map(|record| affected(record, name))
        .filter(|(_, package, _)| {
            ground
                .config
                .dependencies
                .deny
                .iter()
                .all(|denied| !denied.contains(package))
        })
        .collect();
    listed.sort();
    if listed.is_empty() {
        return vec![Plan::without(
            name,
            format!("the database lists no version of a package of {name} by number"),
        )];
    }
    let mut plans = Vec::new();
    while plans.len() < PACKAGES_MAX && !listed.is_empty() {
        let number = plans.len() + 1;
        let (id, package, version) = listed.remove(ground.below(&format!("{name} {number}"), listed.len()));
        let edits = ground.project(&Package {
            ecosystem,
            name: &package,
            version: &version,
            source: None,
            licence: None,
        });
        let what = format!("{package} {version}, which {id} lists");
        plans.push(Plan::of(&format!("{name} {number}"), what, edits));
    }
    plans
}

/// Packages and versions that a record lists beyond doubt: those it names one by one, and those where a range begins.
fn affected(record: &Value, ecosystem: &str) -> Vec<(String, String, String)> {
    let id = record["id"].as_str().unwrap_or_default();
    let mut listed = Vec::new();
    if record.get("withdrawn").is_some() {
        return listed;
    }
    for affected in record["affected"].as_array().into_iter().flatten() {
        let package = affected["package"]["name"].as_str().unwrap_or_default();
        let of_it = affected["package"]["ecosystem"].as_str() == Some(ecosystem);
        // What is merely said about a package is no hole in it; Go's own library is no module.
        let informational = affected["database_specific"].get("informational").is_some();
        if !of_it || informational || package.is_empty() || package == "stdlib" || package == "toolchain" {
            continue;
        }
        let named = affected["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let events = affected["ranges"].as_array().into_iter().flatten();
        let events = events.flat_map(|range| range["events"].as_array().into_iter().flatten());
        let begun: Vec<&Value> = events.collect();
        let introduced = begun.iter().filter_map(|event| event["introduced"].as_str());
        // A range from the first version on holds an early one, if it ends later.
        let from_the_first = begun.windows(2).filter_map(|pair| {
            let fixed = pair[1]["fixed"].as_str()?;
            (pair[0]["introduced"].as_str() == Some("0") && !fixed.starts_with("0.0.")).then_some("0.0.1")
        });
        for version in named
            .chain(introduced)
            .chain(from_the_first)
            .filter(|version| is_plain(version))
        {
            listed.push((id.to_owned(), package.to_owned(), version.to_owned()));
        }
    }
    listed
}

/// Three numbers.
fn is_plain(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::affected;
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn only_what_a_record_lists_beyond_doubt_counts() {
        let record = json!({"id": "X-1", "affected": [{
            "package": {"ecosystem": "npm", "name": "a"},
            "versions": ["1.0.0", "1.0.1-rc.1"],
            "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.5.0"}, {"introduced": "2.0.0"}, {"fixed": "2.1.0"}]}],
        }]});
        let versions: Vec<String> = affected(&record, "npm")
            .into_iter()
            .map(|(_, _, version)| version)
            .collect();
        assert_eq!(versions, ["1.0.0", "2.0.0", "0.0.1"]);
        assert!(affected(&record, "Go").is_empty());
        let mut withdrawn = record;
        withdrawn["withdrawn"] = json!("2020-01-01T00:00:00Z");
        assert!(affected(&withdrawn, "npm").is_empty());
    }

    #[test]
    fn each_lock_file_gets_one_of_its_ecosystem() {
        let config = "[advisories]\npath = \"db\"\ndigest = \"sha256:00\"\n[[build.artifact]]\nname = \"a\"\nrun = [\"true\"]\npath = \"a\"\n";
        let record =
            r#"{"id": "X-1", "affected": [{"package": {"ecosystem": "npm", "name": "a"}, "versions": ["1.0.0"]}]}"#;
        let plans = plan(
            &super::ENTRY,
            config,
            &[("db/X-1.json", record), ("web/package-lock.json", "{}")],
        );
        assert!(written(&plans, "proofmark-plant/package-lock.json").contains("\"version\": \"1.0.0\""));
        assert!(
            reason(&plan(
                &super::ENTRY,
                config,
                &[("db/X-1.json", record), ("Cargo.lock", "")]
            ))
            .contains("crates.io")
        );
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no advisory database"));
    }
}
