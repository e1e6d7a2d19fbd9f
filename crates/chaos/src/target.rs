//! What may be attacked, as whoever owns it declares it: `[chaos.target.NAME]` of `proofmark.toml`.
//!
//! An experiment names a target and nothing else about it, so what may be attacked is decided outside of what
//! attacks. Passwords stand in files: only their paths are ever held, written or shown.
//!
//! What an attacker who owns the file can do: point a fault at another service of this host, with the rights of
//! whoever runs Proofmark.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use evidence::Diagnostic;
use serde_json::{Map, Value};

use crate::declare::{Rung, Tenancy};
use crate::read::{Document, Section, nearest, quoted};

/// More targets than that are a mistake.
const TARGETS_MAX: usize = 256;
/// The least and the most important service.
const CRITICALITY: std::ops::RangeInclusive<u64> = 1..=5;

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetKind {
    /// A PostgreSQL server: `address` (host:port), `user`, `password_file`, `database`.
    Postgresql,
    /// A Redis server: `address`, `user`, `password_file`.
    Redis,
    /// A NATS server: `address`, `user`, `password_file`, `config`, `pid_file`.
    Nats,
    /// An HTTP service, nginx and HAProxy among them: `address`, `path`, `config`, `reload`, `pid_file`.
    Http,
    /// A TLS endpoint: `address`, `server_name`, `ca_file`, `certificate_file`, `key_file`, `config`, `reload`;
    /// `issuer_key_file`, the key of the authority in `ca_file`, and `crl_file`, its revocation list, where a fault issues something.
    Tls,
    /// Files below `root`.
    Files,
    /// A process: `pid_file`, and `command` where it can be started again.
    Process,
    /// A network of this host: `address` of who is cut off or slowed, `interface`, `namespace`.
    Network,
    /// A store of Proofmark: `root` is the tree that holds `.proofmark`.
    Proofmark,
}

impl TargetKind {
    pub const ALL: [TargetKind; 9] = [
        TargetKind::Postgresql,
        TargetKind::Redis,
        TargetKind::Nats,
        TargetKind::Http,
        TargetKind::Tls,
        TargetKind::Files,
        TargetKind::Process,
        TargetKind::Network,
        TargetKind::Proofmark,
    ];

    pub fn name(self) -> &'static str {
        match self {
            TargetKind::Postgresql => "postgresql",
            TargetKind::Redis => "redis",
            TargetKind::Nats => "nats",
            TargetKind::Http => "http",
            TargetKind::Tls => "tls",
            TargetKind::Files => "files",
            TargetKind::Process => "process",
            TargetKind::Network => "network",
            TargetKind::Proofmark => "proofmark",
        }
    }

    pub fn of(name: &str) -> Option<TargetKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One target. Where a setting is absent, a fault that needs it says so before anything is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub kind: TargetKind,
    /// Whoever owns it lets it be attacked.
    pub opted_in: bool,
    pub rung: Rung,
    /// 1 is the least important service of the system, 5 the most.
    pub criticality: u64,
    pub tenancy: Tenancy,
    /// Strings by key, as in the file: `address`, `user`, `password_file`, `config`, …
    texts: BTreeMap<String, String>,
    /// Command lines by key: `reload`, `command`.
    commands: BTreeMap<String, Vec<String>>,
}

/// Keys whose value is a string.
const TEXT_KEYS: &[&str] = &[
    "address",
    "user",
    "password_file",
    "database",
    "path",
    "server_name",
    "ca_file",
    "certificate_file",
    "key_file",
    "issuer_key_file",
    "crl_file",
    "config",
    "root",
    "pid_file",
    "interface",
    "namespace",
    "log",
];
/// Those of them that are paths of files and folders: relative ones are from the folder of the configuration.
const PATH_KEYS: &[&str] = &[
    "password_file",
    "ca_file",
    "certificate_file",
    "key_file",
    "issuer_key_file",
    "crl_file",
    "config",
    "root",
    "pid_file",
    "log",
];
/// Keys whose value is a command line: a list of strings, no shell.
const COMMAND_KEYS: &[&str] = &["reload", "command"];
const OTHER_KEYS: &[&str] = &["kind", "opted_in", "rung", "criticality", "tenancy"];

impl Target {
    /// A setting, or what is missing, in words for people.
    pub fn text(&self, key: &str) -> Result<&str, String> {
        self.texts.get(key).map(String::as_str).ok_or_else(|| self.missing(key))
    }

    pub fn optional(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    pub fn path(&self, key: &str) -> Result<PathBuf, String> {
        self.text(key).map(PathBuf::from)
    }

    /// A command line: `reload`, `command`.
    pub fn command(&self, key: &str) -> Result<&[String], String> {
        self.commands
            .get(key)
            .map(Vec::as_slice)
            .ok_or_else(|| self.missing(key))
    }

    /// What stands in the file `password_file`, its line end removed; `None` where the target has no such key. It is
    /// read when needed and kept nowhere.
    pub fn password(&self) -> Result<Option<String>, String> {
        let Some(path) = self.optional("password_file") else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!(
                "`password_file` of target `{}`, `{path}`, can't be read: {error}",
                self.name
            )
        })?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn missing(&self, key: &str) -> String {
        format!("target `{}` has no `{key}`, which this fault needs", self.name)
    }

    fn read(name: &str, section: &Section<'_>) -> Option<Target> {
        let known: Vec<&str> = [OTHER_KEYS, TEXT_KEYS, COMMAND_KEYS].concat();
        section.only(&known);
        let kind = section.text("kind").and_then(|kind| {
            let names = TargetKind::ALL.map(TargetKind::name);
            TargetKind::of(&kind).or_else(|| {
                let help = nearest(&kind, &names).map_or_else(
                    || format!("known: {}", quoted(&names)),
                    |near| format!("did you mean `{near}`?"),
                );
                section.problem(
                    "kind",
                    "chaos/unknown-target",
                    format!("no kind of target is called `{kind}`"),
                    &help,
                );
                None
            })
        });
        let texts = TEXT_KEYS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), section.optional_text(key)?)))
            .collect();
        let commands = COMMAND_KEYS
            .iter()
            .filter_map(|key| Some(((*key).to_owned(), section.optional_texts(key)?)))
            .collect();
        // Everything is read before a missing kind ends it, so that all problems are told at once.
        let rung = section.optional_choice("rung", &Rung::ALL, Rung::name);
        let criticality = section.optional_number("criticality", CRITICALITY);
        let tenancy = section.optional_choice("tenancy", &Tenancy::ALL, Tenancy::name);
        Some(Target {
            name: name.to_owned(),
            kind: kind?,
            opted_in: section.optional_flag("opted_in").unwrap_or(false),
            rung: rung.unwrap_or(Rung::Production),
            criticality: criticality.unwrap_or(*CRITICALITY.end()),
            tenancy: tenancy.unwrap_or(Tenancy::Shared),
            texts,
            commands,
        })
    }

    /// Its declaration as JSON, for the undo journal: no secret is in it.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".to_owned(), self.kind.name().into());
        map.insert("opted_in".to_owned(), self.opted_in.into());
        map.insert("rung".to_owned(), self.rung.name().into());
        map.insert("criticality".to_owned(), self.criticality.into());
        map.insert("tenancy".to_owned(), self.tenancy.name().into());
        map.extend(self.texts.iter().map(|(key, text)| (key.clone(), text.clone().into())));
        map.extend(
            self.commands
                .iter()
                .map(|(key, words)| (key.clone(), words.clone().into())),
        );
        Value::Object(map)
    }
}

/// The targets of a configuration, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(BTreeMap<String, Target>);

impl Targets {
    /// Reads `[chaos.target.NAME]` of a configuration file; its other parts are not looked at. `path` is for messages.
    ///
    /// # Errors
    /// Everything that is wrong with the targets, each with its line and column.
    pub fn parse(path: &str, text: &str) -> Result<Targets, Vec<Diagnostic>> {
        let document = Document::new(path, text);
        let targets = {
            let table = document.parse();
            let top = document.top(&table);
            top.optional_section("chaos")
                .and_then(|chaos| chaos.optional_section("target"))
                .map_or_else(Targets::default, |section| Targets::read(&section))
        };
        if document.has_problems() {
            return Err(document.into_diagnostics());
        }
        Ok(targets)
    }

    pub(crate) fn read(section: &Section<'_>) -> Targets {
        let names = section.keys();
        if names.len() > TARGETS_MAX {
            let message = format!("{} targets are more than {TARGETS_MAX}", names.len());
            section.problem("", "chaos/targets", message, "split the configuration");
        }
        let read = |name: String| {
            let target = Target::read(&name, &section.optional_section(&name)?)?;
            Some((name, target))
        };
        Targets(names.into_iter().filter_map(read).collect())
    }

    /// A target, or which there are.
    pub fn named(&self, name: &str) -> Result<&Target, String> {
        self.0.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
            match nearest(name, &known) {
                Some(near) => format!("no target is called `{name}`; did you mean `{near}`?"),
                None if known.is_empty() => {
                    format!("no target is called `{name}`: there is no `[chaos.target.{name}]` in the configuration")
                }
                None => format!("no target is called `{name}`; there are {}", quoted(&known)),
            }
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Target> {
        self.0.values()
    }

    /// The same with every relative path taken from `folder`: whoever undoes stands elsewhere.
    pub(crate) fn below(&mut self, folder: &Path) {
        for target in self.0.values_mut() {
            for (key, text) in &mut target.texts {
                if PATH_KEYS.contains(&key.as_str()) {
                    *text = folder.join(&*text).to_string_lossy().into_owned();
                }
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ones that `names` names, as JSON by name, for the undo journal.
    pub(crate) fn to_json(&self, names: &[String]) -> Value {
        let chosen = self.0.iter().filter(|(name, _)| names.contains(name));
        Value::Object(chosen.map(|(name, target)| (name.clone(), target.to_json())).collect())
    }

    /// Back from [`Targets::to_json`].
    pub(crate) fn from_json(value: &Value) -> Result<Targets, String> {
        let broken = |reason: String| format!("the targets of this entry can't be read: {reason}");
        let nested = serde_json::json!({"chaos": {"target": value}});
        let text = toml::to_string(&nested).map_err(|error| broken(error.to_string()))?;
        Targets::parse("undo.journal", &text).map_err(|problems| {
            broken(
                problems
                    .first()
                    .map_or_else(String::new, |problem| problem.message.clone()),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"
[release]
name = "shop"
[chaos.target.db]
kind = "postgresql"
opted_in = true
rung = "isolated"
criticality = 2
tenancy = "dedicated"
address = "127.0.0.1:5432"
user = "admin"
password_file = "/run/secrets/db"
[chaos.target.web]
kind = "http"
address = "127.0.0.1:80"
reload = ["nginx", "-s", "reload"]
"#;

    #[test]
    fn what_is_not_declared_is_the_worst() {
        let targets = Targets::parse("proofmark.toml", TWO).unwrap();
        let web = targets.named("web").unwrap();
        assert_eq!(
            (web.opted_in, web.rung, web.criticality, web.tenancy),
            (false, Rung::Production, 5, Tenancy::Shared)
        );
        assert_eq!(web.command("reload").unwrap(), ["nginx", "-s", "reload"]);
        assert_eq!(
            web.text("config"),
            Err("target `web` has no `config`, which this fault needs".to_owned())
        );
        assert_eq!(
            targets.named("wab").err().as_deref(),
            Some("no target is called `wab`; did you mean `web`?")
        );
        assert_eq!(Targets::parse("proofmark.toml", "").unwrap(), Targets::default());
    }

    #[test]
    fn targets_survive_the_journal() {
        let targets = Targets::parse("proofmark.toml", TWO).unwrap();
        let names = ["db".to_owned(), "web".to_owned()];
        assert_eq!(Targets::from_json(&targets.to_json(&names)), Ok(targets));
    }

    #[test]
    fn problems_have_places() {
        let text = "[chaos.target.db]\nkind = \"postgres\"\nadress = \"x\"\nrung = \"moon\"\n";
        let problems: Vec<String> = Targets::parse("proofmark.toml", text)
            .unwrap_err()
            .iter()
            .map(|problem| {
                let span = problem.span.as_ref().unwrap();
                let help = problem.help.as_deref().unwrap_or("");
                format!("{}:{} {} ({help})", span.line, span.column, problem.message)
            })
            .collect();
        assert_eq!(
            problems,
            [
                "2:8 no kind of target is called `postgres` (did you mean `postgresql`?)",
                "3:1 unknown key `adress` in [chaos.target.db] (did you mean `address`?)",
                "4:8 `rung` is `moon` (known: `isolated`, `mirrored`, `canary`, `production`)",
            ]
        );
    }
}
