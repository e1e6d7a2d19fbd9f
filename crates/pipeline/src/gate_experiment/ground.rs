//! What a plant is made from: the tree as plain data, and a seed. Nothing here touches a disk; what is planted comes
//! out as edits, so that each plant can be tested by the text it makes.

use evidence::{Digest, Stage};
use serde_json::{Value, json};

use crate::config::{self, Config, Step};

/// Folder of what is planted beside the tree's own files.
pub const FOLDER: &str = "proofmark-plant";

/// A plant: one file in `plants/`.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// `secret-private-key`; its page is `plant/secret-private-key`.
    pub id: &'static str,
    /// Where it should be blocked at the latest.
    pub stage: Stage,
    pub blocks: Blocks,
    /// What to do when it passed, one line.
    pub fix: &'static str,
    /// What there is to plant in a tree.
    pub plan: fn(&Ground<'_>) -> Vec<Plan>,
}

/// What should block a plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocks {
    /// The control of this id gives a reason.
    Control(&'static str),
    /// Evidence that was tampered with is refused before any control is asked.
    Refusal,
}

impl Blocks {
    /// As it stands in evidence.
    pub fn name(self) -> &'static str {
        match self {
            Blocks::Control(id) => id,
            Blocks::Refusal => "refusal",
        }
    }
}

/// What a plant comes to in one tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    Plant(Planting),
    /// The tree has no place for it.
    NotHere {
        variant: String,
        reason: String,
    },
}

/// Something to plant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planting {
    /// Which of several of its kind; empty where there is one.
    pub variant: String,
    /// In words, without any value.
    pub what: String,
    /// One list of edits a commit, in order.
    pub commits: Vec<Vec<Edit>>,
    /// Done to the store once the stage before this one's has passed.
    pub tamper: Option<Tamper>,
}

/// A change of the tree; paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    Write(String, Vec<u8>),
    Remove(String),
    /// A patch as `git apply` takes it.
    Patch(Vec<u8>),
}

/// What somebody with access to the store does between two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// One bit of every stored artifact is another.
    ArtifactsExchanged,
    /// The signed provenance is gone.
    ProvenanceRemoved,
}

/// A tree, as far as plants look at it.
pub struct Ground<'a> {
    /// Sorted.
    pub paths: &'a [String],
    /// Content of a regular file of the tree.
    pub read: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    pub config: &'a Config,
    /// The text of `proofmark.toml`.
    pub text: &'a str,
    pub seed: u64,
}

impl Plan {
    /// The only one of its kind.
    pub fn one(what: impl Into<String>, edits: Vec<Edit>) -> Vec<Plan> {
        vec![Plan::of("", what, edits)]
    }

    pub fn of(variant: &str, what: impl Into<String>, edits: Vec<Edit>) -> Plan {
        Plan::Plant(Planting {
            variant: variant.to_owned(),
            what: what.into(),
            commits: vec![edits],
            tamper: None,
        })
    }

    pub fn not_here(reason: impl Into<String>) -> Vec<Plan> {
        vec![Plan::without("", reason)]
    }

    pub fn without(variant: &str, reason: impl Into<String>) -> Plan {
        Plan::NotHere {
            variant: variant.to_owned(),
            reason: reason.into(),
        }
    }
}

/// Alphabets of tokens.
pub const ALNUM: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
pub const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
pub const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
pub const HEX: &[u8] = b"0123456789abcdef";

impl Ground<'_> {
    /// `length` bytes for the use that `name` names: SHA-256 over seed, name and a counter. No value made from them
    /// was ever issued by anybody.
    pub fn bytes(&self, name: &str, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 32);
        for block in 0u64.. {
            if bytes.len() >= length {
                break;
            }
            let input = format!("proofmark plant {} {name} {block}", self.seed);
            bytes.extend(Digest::of(input.as_bytes()).0);
        }
        bytes.truncate(length);
        bytes
    }

    /// `length` letters of an alphabet.
    pub fn letters(&self, name: &str, alphabet: &[u8], length: usize) -> String {
        let bytes = self.bytes(name, length);
        bytes
            .iter()
            .map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()]))
            .collect()
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&self, name: &str, bound: usize) -> usize {
        let bytes = self.bytes(name, 8);
        let number = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        (number % bound as u64) as usize
    }

    /// The configuration with `change` made to it; nothing where it changes nothing. Comments are lost: what is
    /// judged is what the file says.
    pub fn reconfigured(&self, change: impl FnOnce(&mut toml::Table) -> Option<()>) -> Option<Edit> {
        let mut table: toml::Table = self.text.parse().ok()?;
        let before = table.clone();
        change(&mut table)?;
        if table == before {
            return None;
        }
        let text = toml::to_string(&table).ok()?;
        Some(Edit::Write(config::FILE.to_owned(), text.into_bytes()))
    }

    /// One plan for each `[[commit.step]]`: `change` is given the steps of the configuration and the place of this one,
    /// `what` says what became of it.
    pub fn each_step(
        &self,
        what: &str,
        change: impl Fn(&Step, &mut Vec<toml::Value>, usize) -> Option<()>,
    ) -> Vec<Plan> {
        let steps = self.config.commit.step.iter().enumerate();
        let plans: Vec<Plan> = steps
            .filter_map(|(at, step)| {
                let edit = self.reconfigured(|config| change(step, tables(config, &["commit", "step"])?, at))?;
                Some(Plan::of(&step.name, format!("step `{}` {what}", step.name), vec![edit]))
            })
            .collect();
        if plans.is_empty() {
            return Plan::not_here("the tree has no step at the commit stage");
        }
        plans
    }

    /// The ecosystems whose lock files the tree has, by the name that `[dependencies]` uses.
    pub fn ecosystems(&self) -> Vec<Ecosystem> {
        let here = |ecosystem: &Ecosystem| {
            self.paths
                .iter()
                .any(|path| ecosystem.locks().contains(&path.rsplit('/').next().unwrap_or_default()))
        };
        Ecosystem::ALL.into_iter().filter(here).collect()
    }

    /// Whether packages of an ecosystem may come from its own registry.
    pub fn may_come_from(&self, ecosystem: Ecosystem) -> bool {
        let sources = &self.config.dependencies.sources;
        sources.is_empty()
            || sources
                .iter()
                .any(|source| source.eq_ignore_ascii_case(ecosystem.name()))
    }

    /// A project of its own in a folder of its own that pulls in one package, with the lock file that says so: the
    /// tree's own builds are not disturbed by it.
    pub fn project(&self, package: &Package<'_>) -> Vec<Edit> {
        let Package {
            ecosystem,
            name,
            version,
            ..
        } = package;
        let write = |file: &str, text: String| Edit::Write(format!("{FOLDER}/{file}"), text.into_bytes());
        match ecosystem {
            Ecosystem::Cargo => {
                let source = package
                    .source
                    .unwrap_or("registry+https://github.com/rust-lang/crates.io-index");
                let checksum = match package.source {
                    Some(source) if source.starts_with("git+") => String::new(),
                    _ => format!("checksum = \"{}\"\n", self.letters(name, HEX, 64)),
                };
                let manifest = format!(
                    "[package]\nname = \"planted\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[workspace]\n\n[dependencies]\n{name} = \"={version}\"\n"
                );
                let lock = format!(
                    "version = 4\n\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = \"{source}\"\n{checksum}\n\
                     [[package]]\nname = \"planted\"\nversion = \"0.1.0\"\ndependencies = [\n \"{name}\",\n]\n"
                );
                vec![
                    write("Cargo.toml", manifest),
                    write("Cargo.lock", lock),
                    write("src/lib.rs", String::new()),
                ]
            }
            Ecosystem::Npm => {
                let file = name.rsplit('/').next().unwrap_or(name);
                let resolved = package.source.map_or_else(
                    || format!("https://registry.npmjs.org/{name}/-/{file}-{version}.tgz"),
                    str::to_owned,
                );
                let manifest = json!({"name": "planted", "version": "0.1.0", "dependencies": {*name: version}});
                let place = format!("node_modules/{name}");
                let integrity = format!("sha512-{}", base64(&self.bytes(name, 64)));
                let lock = json!({
                    "name": "planted", "version": "0.1.0", "lockfileVersion": 3, "requires": true,
                    "packages": {
                        "": {"name": "planted", "version": "0.1.0", "dependencies": {*name: version}},
                        place: {
                            "version": version, "resolved": resolved, "integrity": integrity,
                            "license": package.licence.unwrap_or("MIT"),
                        },
                    },
                });
                vec![
                    write("package.json", pretty(&manifest)),
                    write("package-lock.json", pretty(&lock)),
                ]
            }
            Ecosystem::Go => {
                let module = format!("module planted.example/tool\n\ngo 1.21\n\nrequire {name} v{version}\n");
                let sum = |what: &str| base64(&self.bytes(&format!("{name} {what}"), 32));
                let sums = format!(
                    "{name} v{version} h1:{}\n{name} v{version}/go.mod h1:{}\n",
                    sum("zip"),
                    sum("mod")
                );
                vec![write("go.mod", module), write("go.sum", sums)]
            }
        }
    }

    /// The tree's advisory records, parsed; what can't be parsed is left out.
    pub fn advisories(&self) -> Vec<Value> {
        let Some(advisories) = &self.config.advisories else {
            return Vec::new();
        };
        self.advisory_paths(&advisories.path)
            .filter_map(|path| serde_json::from_slice((self.read)(path)?.as_slice()).ok())
            .collect()
    }

    /// Records of the advisory database, by path.
    pub fn advisory_paths(&self, folder: &str) -> impl Iterator<Item = &str> {
        let prefix = format!("{folder}/");
        self.paths
            .iter()
            .filter(move |path| path.starts_with(&prefix) && path.ends_with(".json"))
            .map(String::as_str)
    }
}

/// A package to pull in.
pub struct Package<'a> {
    pub ecosystem: Ecosystem,
    pub name: &'a str,
    /// Without `v`.
    pub version: &'a str,
    /// As the lock file has it; default the ecosystem's own registry.
    pub source: Option<&'a str>,
    /// Where the lock file states one.
    pub licence: Option<&'a str>,
}

/// Lock files that can be written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ecosystem {
    Cargo,
    Npm,
    Go,
}

impl Ecosystem {
    pub const ALL: [Ecosystem; 3] = [Ecosystem::Cargo, Ecosystem::Npm, Ecosystem::Go];

    /// As OSV records and `dependencies.sources` name it.
    pub fn name(self) -> &'static str {
        match self {
            Ecosystem::Cargo => "crates.io",
            Ecosystem::Npm => "npm",
            Ecosystem::Go => "Go",
        }
    }

    pub fn of_purl_kind(kind: &str) -> Option<Ecosystem> {
        match kind {
            "cargo" => Some(Ecosystem::Cargo),
            "npm" => Some(Ecosystem::Npm),
            "golang" => Some(Ecosystem::Go),
            _ => None,
        }
    }

    fn locks(self) -> &'static [&'static str] {
        match self {
            Ecosystem::Cargo => &["Cargo.lock"],
            Ecosystem::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
            Ecosystem::Go => &["go.sum", "go.mod"],
        }
    }
}

/// Exchanges a step's command for a shell line that writes a report, in the format that the step's has, and then does
/// what `then` says.
pub fn reports(step: &Step, steps: &mut [toml::Value], at: usize, sarif: &str, junit: &str, then: &str) -> Option<()> {
    let report = step.report.replace('\'', "");
    let text = if step.report.ends_with(".sarif") { sarif } else { junit };
    let script = format!("mkdir -p \"$(dirname '{report}')\"; printf '%s' '{text}' > '{report}'{then}");
    let run = ["sh", "-c", &script].map(toml::Value::from);
    let table = steps.get_mut(at)?.as_table_mut()?;
    table.insert("run".to_owned(), toml::Value::Array(run.to_vec()));
    Some(())
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// The tables of an array of tables, by path: `["commit", "step"]`.
pub fn tables<'t>(table: &'t mut toml::Table, path: &[&str]) -> Option<&'t mut Vec<toml::Value>> {
    let (last, above) = path.split_last()?;
    let mut at = table;
    for name in above {
        at = at.get_mut(*name)?.as_table_mut()?;
    }
    at.get_mut(*last)?.as_array_mut()
}

/// A tree in memory.
#[cfg(test)]
pub(crate) mod testing {
    use std::collections::BTreeMap;

    use super::*;

    /// Plans an entry in a tree of these files; `proofmark.toml` is `config` with a release before it.
    pub fn plan(entry: &Entry, config: &str, files: &[(&str, &str)]) -> Vec<Plan> {
        let text = format!("[release]\nname = \"a\"\nversion = \"1\"\n{config}");
        let loaded = config::parse(config::FILE, &text).expect("a configuration");
        let files: BTreeMap<String, Vec<u8>> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        let paths: Vec<String> = files.keys().cloned().collect();
        let ground = Ground {
            paths: &paths,
            read: &|path| files.get(path).cloned(),
            config: &loaded.config,
            text: &text,
            seed: 7,
        };
        (entry.plan)(&ground)
    }

    /// The one file that a plan writes, as text.
    #[track_caller]
    pub fn written(plans: &[Plan], path: &str) -> String {
        let plantings = plans.iter().filter_map(|plan| match plan {
            Plan::Plant(planting) => Some(planting),
            Plan::NotHere { .. } => None,
        });
        let edits = plantings.flat_map(|planting| planting.commits.iter().flatten());
        let mut found = edits.filter_map(|edit| match edit {
            Edit::Write(at, bytes) if at == path => Some(String::from_utf8(bytes.clone()).expect("text")),
            _ => None,
        });
        found
            .next_back()
            .unwrap_or_else(|| panic!("nothing is written to {path}: {plans:?}"))
    }

    /// The configuration that a plan writes, which can be read.
    #[track_caller]
    pub fn configured(plans: &[Plan]) -> config::Loaded {
        config::parse(config::FILE, &written(plans, config::FILE)).expect("a configuration")
    }

    /// Why a plan has no place.
    #[track_caller]
    pub fn reason(plans: &[Plan]) -> &str {
        match plans {
            [Plan::NotHere { reason, .. }] => reason,
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_and_every_use_its_own() {
        let text = "[release]\nname = \"a\"\nversion = \"1\"\n";
        let loaded = config::parse(config::FILE, text).unwrap();
        let ground = |seed| Ground {
            paths: &[],
            read: &|_| None,
            config: &loaded.config,
            text,
            seed,
        };
        assert_eq!(ground(1).bytes("x", 70), ground(1).bytes("x", 70));
        assert_ne!(ground(1).bytes("x", 16), ground(2).bytes("x", 16));
        assert_ne!(ground(1).bytes("x", 16), ground(1).bytes("y", 16));
        assert_eq!(ground(1).letters("x", HEX, 64).len(), 64);
        assert!(ground(1).below("x", 3) < 3);
    }

    /// What is written as a lock file is one, for whoever reads lock files.
    #[test]
    fn a_project_can_be_read() {
        let entry = Entry {
            id: "x",
            stage: Stage::Commit,
            blocks: Blocks::Refusal,
            fix: "",
            plan: |ground| {
                let package = |ecosystem, name, licence| Package {
                    ecosystem,
                    name,
                    version: "1.2.3",
                    source: None,
                    licence,
                };
                vec![
                    Plan::of("", "", ground.project(&package(Ecosystem::Cargo, "left", None))),
                    Plan::of(
                        "",
                        "",
                        ground.project(&package(Ecosystem::Npm, "@a/left", Some("WTFPL"))),
                    ),
                    Plan::of(
                        "",
                        "",
                        ground.project(&package(Ecosystem::Go, "example.com/left", None)),
                    ),
                ]
            },
        };
        let plans = plan(&entry, "", &[]);
        let mut files: Vec<(String, Vec<u8>)> = plans
            .iter()
            .flat_map(|plan| match plan {
                Plan::Plant(planting) => planting.commits.concat(),
                Plan::NotHere { .. } => Vec::new(),
            })
            .filter_map(|edit| match edit {
                Edit::Write(path, bytes) => Some((path, bytes)),
                _ => None,
            })
            .collect();
        files.sort();
        let inventory = packages::read(&files);
        assert_eq!(inventory.gaps, Vec::new());
        let have: Vec<(&str, &str, Option<&str>)> = inventory
            .components
            .iter()
            .filter(|component| component.scope != evidence::Scope::Root)
            .map(|c| (c.name.as_str(), c.version.as_str(), c.licence.as_deref()))
            .collect();
        for expected in [
            ("left", "1.2.3", None),
            ("@a/left", "1.2.3", Some("WTFPL")),
            ("example.com/left", "1.2.3", None),
        ] {
            assert!(have.contains(&expected), "{expected:?} of {have:?}");
        }
    }
}
