//! `proofmark.toml`: typed, and nothing unknown in it.
//!
//! The document is first held against [`schema`], which finds every problem with its place; only then is it read
//! into these types. What an attacker who owns this file can do: choose commands that run in the sandbox of a
//! step, and add controls. Not lower the floor, which stands in the trust root, and not loosen a control of the
//! last passed release without an approver's signature.

mod check;
pub mod schema;

use std::collections::BTreeMap;

use evidence::{ControlSpec, Diagnostic, Digest, Stage};
use serde::Deserialize;

pub use check::nearest;

/// File name of a release's configuration.
pub const FILE: &str = "proofmark.toml";

#[derive(Debug, Clone, Deserialize)]
pub struct Config {
    pub release: Release,
    #[serde(default)]
    pub commit: Commit,
    #[serde(default)]
    pub dependencies: Dependencies,
    pub licences: Option<Licences>,
    pub advisories: Option<Advisories>,
    pub build: Option<Build>,
    pub environment: Option<Environment>,
    #[serde(default)]
    pub broker: Broker,
    pub integration: Option<Integration>,
    pub staging: Option<Staging>,
    pub production: Option<Production>,
    #[serde(default)]
    control: Vec<BTreeMap<String, toml::Value>>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Release {
    pub name: String,
    pub version: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Commit {
    pub history: bool,
    pub step: Vec<Step>,
}

impl Default for Commit {
    fn default() -> Self {
        Commit {
            history: true,
            step: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    pub name: String,
    pub run: Vec<String>,
    pub report: String,
    pub timeout_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Dependencies {
    pub deny: Vec<String>,
    pub sources: Vec<String>,
}

impl Default for Dependencies {
    fn default() -> Self {
        Dependencies {
            deny: Vec::new(),
            sources: ["crates.io", "npm", "Go"].map(str::to_owned).to_vec(),
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct Licences {
    pub allow: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Advisories {
    pub path: String,
    pub digest: String,
    #[serde(default = "week")]
    pub age_days_max: u64,
}

fn week() -> u64 {
    7
}

#[derive(Debug, Clone, Deserialize)]
pub struct Build {
    pub artifact: Vec<Artifact>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Artifact {
    pub name: String,
    pub run: Vec<String>,
    pub path: String,
    pub timeout_seconds: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Environment {
    pub local: Local,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Local {
    pub services: BTreeMap<String, Service>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Service {
    pub command: Vec<String>,
    pub ready: String,
    #[serde(default)]
    pub after: Vec<String>,
    #[serde(default)]
    pub links: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Broker {
    pub roles: BTreeMap<String, Role>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Role {
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default = "five_minutes")]
    pub ttl_seconds: u64,
    #[serde(default)]
    pub lookup: bool,
}

fn five_minutes() -> u64 {
    300
}

#[derive(Debug, Clone, Deserialize)]
pub struct Integration {
    pub service: String,
    pub openapi: String,
    #[serde(default)]
    pub identities: Vec<String>,
    pub requests_max: Option<u64>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Staging {
    pub experiments: Vec<String>,
    pub playbook: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Production {
    pub service: String,
    pub request: Vec<Request>,
    #[serde(default = "weights")]
    pub weights: Vec<u32>,
    #[serde(default = "error_margin")]
    pub error_margin: f64,
    #[serde(default = "slow_ms")]
    pub slow_ms: u64,
    #[serde(default = "slow_margin")]
    pub slow_margin: f64,
    #[serde(default = "requests_max")]
    pub requests_max: u64,
    pub baseline: Option<Baseline>,
    pub playbook: Option<String>,
}

fn weights() -> Vec<u32> {
    vec![10, 50]
}
fn error_margin() -> f64 {
    0.01
}
fn slow_ms() -> u64 {
    250
}
fn slow_margin() -> f64 {
    0.05
}
fn requests_max() -> u64 {
    10_000
}

#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub identity: Option<String>,
    pub body: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct Baseline {
    pub version: String,
    pub run: Vec<String>,
    pub path: String,
    pub timeout_seconds: Option<u64>,
}

/// A configuration, its digest, and what it adds to the floor.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    /// SHA-256 of the file's bytes.
    pub digest: Digest,
    pub controls: Vec<ControlSpec>,
    /// What experiments may do.
    pub chaos: chaos::Settings,
}

/// Reads a configuration; every problem at once.
pub fn parse(path: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let found = check::diagnostics(path, text, &schema::ROOT);
    if !found.is_empty() {
        return Err(found);
    }
    let config: Config = toml::from_str(text).map_err(|error| {
        vec![Diagnostic {
            code: "config/syntax".to_owned(),
            message: error.message().to_owned(),
            span: Some(check::place_of(path, text, "")),
            help: None,
        }]
    })?;
    let mut found = references(path, text, &config);
    // What `[chaos]` means is known to the engine that acts on it.
    let chaos = chaos::Settings::parse(path, text).unwrap_or_else(|problems| {
        found.extend(problems);
        chaos::Settings::default()
    });
    let controls = joined(controls(path, text, &config, &mut found), implied(&config));
    if found.is_empty() {
        Ok(Loaded {
            config,
            digest: Digest::of(text.as_bytes()),
            controls,
            chaos,
        })
    } else {
        Err(found)
    }
}

fn controls(path: &str, text: &str, config: &Config, found: &mut Vec<Diagnostic>) -> Vec<ControlSpec> {
    let mut specs = Vec::new();
    for table in &config.control {
        let word = |key: &str| table.get(key).and_then(toml::Value::as_str).unwrap_or_default();
        match word("stage").parse::<Stage>() {
            Ok(stage) => specs.push(ControlSpec {
                id: word("id").to_owned(),
                stage,
                parameters: table
                    .iter()
                    .filter(|(key, _)| *key != "id" && *key != "stage")
                    .filter_map(|(key, value)| Some((key.clone(), serde_json::to_value(value).ok()?)))
                    .collect(),
            }),
            Err(message) => found.push(problem(path, text, word("stage"), message)),
        }
    }
    specs
}

/// What the configuration asks for outside `[[control]]`, as parameters of the controls that judge it: so that a
/// dropped step, a longer list of allowed licences or a wider margin is seen as the loosening it is.
fn implied(config: &Config) -> Vec<ControlSpec> {
    let spec = |id: &str, stage, parameters: Vec<(&str, serde_json::Value)>| ControlSpec {
        id: id.to_owned(),
        stage,
        parameters: parameters
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    };
    let names: Vec<&str> = config.commit.step.iter().map(|step| step.name.as_str()).collect();
    let dependencies = &config.dependencies;
    let mut specs = vec![
        spec("steps-passed", Stage::Commit, vec![("steps_required", names.into())]),
        spec(
            "dependency-policy",
            Stage::Commit,
            vec![
                ("deny", dependencies.deny.clone().into()),
                ("sources", dependencies.sources.clone().into()),
            ],
        ),
    ];
    if let Some(licences) = &config.licences {
        specs.push(spec(
            "licences-allowed",
            Stage::Build,
            vec![("allow", licences.allow.clone().into())],
        ));
    }
    if let Some(advisories) = &config.advisories {
        let age = vec![("age_days_max", advisories.age_days_max.into())];
        specs.push(spec("no-known-vulnerabilities", Stage::Build, age));
    }
    if let Some(production) = &config.production {
        let margins = vec![
            ("error_margin_max", production.error_margin.into()),
            ("slow_margin_max", production.slow_margin.into()),
            ("slow_ms_max", (production.slow_ms as f64).into()),
        ];
        specs.push(spec("canary-promoted", Stage::Production, margins));
    }
    specs
}

/// Adds to each spec what is implied for its control; what the user wrote stays as it is.
fn joined(mut specs: Vec<ControlSpec>, implied: Vec<ControlSpec>) -> Vec<ControlSpec> {
    for other in implied {
        match specs
            .iter_mut()
            .find(|spec| spec.id == other.id && spec.stage == other.stage)
        {
            Some(spec) => {
                for (name, value) in other.parameters {
                    spec.parameters.entry(name).or_insert(value);
                }
            }
            None => specs.push(other),
        }
    }
    specs
}

/// Names that must stand elsewhere in the file.
fn references(path: &str, text: &str, config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let services: Vec<&str> = config
        .environment
        .iter()
        .flat_map(|environment| environment.local.services.keys())
        .map(String::as_str)
        .collect();
    let mut service = |name: &str, user: &str| {
        if !services.contains(&name) {
            let message = format!("{user} names service `{name}`, which is not in `environment.local.services`");
            found.push(problem(path, text, name, message));
        }
    };
    if let Some(environment) = &config.environment {
        for (name, spec) in &environment.local.services {
            for other in spec.after.iter().chain(&spec.links) {
                service(other, &format!("service `{name}`"));
            }
        }
    }
    if let Some(integration) = &config.integration {
        service(&integration.service, "`integration`");
    }
    if let Some(production) = &config.production {
        service(&production.service, "`production`");
    }
    let identities = config
        .integration
        .iter()
        .flat_map(|integration| &integration.identities)
        .chain(
            config
                .production
                .iter()
                .flat_map(|production| &production.request)
                .filter_map(|r| r.identity.as_ref()),
        );
    for identity in identities {
        if !config.broker.roles.contains_key(identity) {
            let message = format!("identity `{identity}` is not in `broker.roles`");
            found.push(problem(path, text, identity, message));
        }
    }
    if let Some(production) = &config.production
        && let Err(error) = canary::Rollout::new(production.weights.clone(), 1)
    {
        found.push(problem(path, text, "weights", format!("`production.weights`: {error}")));
    }
    found.extend(unsafe_names(path, text, config));
    let commands = config.commit.step.iter().map(|step| (&step.name, &step.run)).chain(
        config
            .build
            .iter()
            .flat_map(|build| &build.artifact)
            .map(|artifact| (&artifact.name, &artifact.run)),
    );
    for (name, run) in commands {
        if run.is_empty() {
            found.push(problem(
                path,
                text,
                name,
                format!("`{name}` has an empty `run`: give program and arguments"),
            ));
        }
    }
    found
}

/// Names become file names, and paths are read and replaced by a program that holds the keys: nothing may lead out of
/// the tree.
fn unsafe_names(path: &str, text: &str, config: &Config) -> Vec<Diagnostic> {
    let artifacts: Vec<&Artifact> = config.build.iter().flat_map(|build| &build.artifact).collect();
    let services = config
        .environment
        .iter()
        .flat_map(|environment| environment.local.services.keys());
    let names = config.commit.step.iter().map(|step| &step.name);
    let names = names
        .chain(artifacts.iter().map(|artifact| &artifact.name))
        .chain(services)
        .chain(config.broker.roles.keys());
    let mut found = Vec::new();
    for name in names.filter(|name| !is_plain(name)) {
        let message =
            format!("`{name}` can't be a name: letters, digits, `-`, `_` and `.` only, at most 64, not `.` first");
        found.push(problem(path, text, name, message));
    }
    let files = config.commit.step.iter().map(|step| &step.report);
    let files = files.chain(artifacts.iter().map(|artifact| &artifact.path));
    let baseline = config
        .production
        .iter()
        .filter_map(|production| production.baseline.as_ref());
    let files = files.chain(baseline.map(|baseline| &baseline.path));
    let files = files.chain(config.advisories.iter().map(|advisories| &advisories.path));
    for file in files.filter(|file| !is_beneath(file)) {
        let message = format!(
            "`{file}` leads out of the tree: give a relative path without `..`, not below `.git` or `.proofmark`"
        );
        found.push(problem(path, text, file, message));
    }
    found
}

fn is_plain(name: &str) -> bool {
    const CHARACTERS_MAX: usize = 64;
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain && !name.is_empty() && name.len() <= CHARACTERS_MAX && !name.starts_with('.')
}

fn is_beneath(file: &str) -> bool {
    let parts: Vec<&str> = file.split('/').collect();
    let own = [".git", crate::store::FOLDER];
    parts
        .iter()
        .all(|part| !part.is_empty() && *part != "." && *part != "..")
        && !own.contains(&parts[0])
}

fn problem(path: &str, text: &str, needle: &str, message: String) -> Diagnostic {
    Diagnostic {
        code: "config/reference".to_owned(),
        message,
        span: Some(check::place_of(path, text, needle)),
        help: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        parse("proofmark.toml", text)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|d| format!("{}: {} [{}]", d.span.unwrap(), d.message, d.help.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn every_problem_is_said_at_once_with_its_place() {
        let text = "[release]\nname = \"a\"\nverson = \"1\"\n[comit]\n[commit]\nhistory = 3\n";
        let found = errors(text);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(
            found
                .iter()
                .any(|e| e.contains("proofmark.toml:6:11: `commit.history` is an integer")),
            "{found:#?}"
        );
        assert!(
            found.iter().any(|e| e.contains("did you mean `version`?")),
            "{found:#?}"
        );
        assert!(found.iter().any(|e| e.contains("did you mean `commit`?")), "{found:#?}");
        assert!(
            found.iter().any(|e| e.contains("`release.version` is missing")),
            "{found:#?}"
        );
    }

    #[test]
    fn numbers_are_bounded() {
        let text =
            "[release]\nname = \"a\"\nversion = \"1\"\n[advisories]\npath = \"x\"\ndigest = \"y\"\nage_days_max = -1\n";
        assert_eq!(errors(text).len(), 1);
    }

    #[test]
    fn references_are_held() {
        let text = "[release]\nname = \"a\"\nversion = \"1\"\n[integration]\nservice = \"nope\"\nopenapi = \"x\"\n";
        assert!(errors(text)[0].contains("service `nope`"), "{:?}", errors(text));
    }

    #[test]
    fn controls_keep_their_parameters() {
        let text = "[release]\nname = \"a\"\nversion = \"1\"\n[[control]]\nid = \"x\"\nstage = \"staging\"\nwithin_seconds = 3\n";
        let loaded = parse("proofmark.toml", text).unwrap();
        assert_eq!(loaded.controls[0].parameters["within_seconds"], 3);
        // What stands outside `[[control]]` is held against the last release as well.
        assert!(
            loaded
                .controls
                .iter()
                .any(|spec| spec.parameters.contains_key("steps_required"))
        );
    }
}
