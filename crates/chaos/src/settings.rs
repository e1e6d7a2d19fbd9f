//! `[chaos]` of `proofmark.toml`: what may be attacked, how far an experiment may go, and when not.
//!
//! It is the owner's, not the experiment's: an experiment asks, and this decides. What an attacker who owns the file
//! can do: allow more than was meant, up to what the ladder and the approvals of a production target still ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::{Diagnostic, Digest, Timestamp};
use serde_json::Value;

use crate::choice::ChoiceSettings;
use crate::declare::Rung;
use crate::experiment::{DEADLINE_SECONDS_MAX, Experiment};
use crate::fault::{Fault, UndoClass};
use crate::observers::{self, ObserverSetting};
use crate::read::{Document, Section};
use crate::target::Targets;

/// Keys of `[chaos]`.
const KEYS: &[&str] = &[
    "target",
    "link",
    "log",
    "observer",
    "rung",
    "freeze",
    "targets_max",
    "deadline_seconds_max",
    "undo_classes",
    "unknown_actions",
    "fresh_days",
    "approvals",
    "kill_switch",
    "choice",
    "prevalence",
    "kill_switch_api",
    "kill_switch_token_file",
];
/// Targets that one experiment may touch where nothing else is said.
const TARGETS_MAX_DEFAULT: u64 = 2;
/// How long a pass on a lower rung counts, in days, where nothing else is said.
const FRESH_DAYS_DEFAULT: u64 = 30;
/// Approvers that an experiment in production needs where nothing else is said, and at least.
const APPROVALS_MIN: u64 = 2;

/// What `[chaos]` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub targets: Targets,
    /// Fault proxies to run, by name.
    pub links: BTreeMap<String, LinkSetting>,
    /// Files that detectors read, by the name of who writes them: one JSON object a line.
    pub logs: BTreeMap<String, PathBuf>,
    /// Where detectors that exist already say what they see, by name.
    pub observers: BTreeMap<String, ObserverSetting>,
    /// The runbook of a rung: a CACAO playbook, relative to the tree.
    pub runbooks: BTreeMap<Rung, String>,
    pub freezes: Vec<Freeze>,
    /// The blast radius: targets that one experiment may touch.
    pub targets_max: u64,
    pub deadline_seconds_max: u64,
    /// Undo classes that may be injected. `irreversible` has to be named here to be among them.
    pub undo_classes: BTreeSet<UndoClass>,
    /// Whether actions whose effect nobody knows (those of Chaos Toolkit files) may run.
    pub unknown_actions: bool,
    /// How long a pass on a lower rung counts.
    pub fresh_days: u64,
    /// Different approvers that an experiment in production needs.
    pub approvals: u64,
    /// While this file exists nothing is injected, and everything is undone.
    pub kill_switch: Option<PathBuf>,
    /// What `chaos next` may propose.
    pub choice: ChoiceSettings,
    /// Where the kill switch is served over HTTP while an experiment runs: on loopback.
    pub kill_switch_api: Option<SocketAddr>,
    /// File that holds the token that it wants; the store's own where none is named.
    pub kill_switch_token_file: Option<PathBuf>,
}

/// A fault proxy: where it listens, and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkSetting {
    /// `127.0.0.1:PORT`.
    pub listen: String,
    /// `host:port`.
    pub upstream: String,
}

/// A time in which nothing is injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    pub name: String,
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
}

impl Default for Settings {
    fn default() -> Self {
        let reversible = |class: &UndoClass| *class != UndoClass::Irreversible;
        Settings {
            targets: Targets::default(),
            links: BTreeMap::new(),
            logs: BTreeMap::new(),
            observers: BTreeMap::new(),
            runbooks: BTreeMap::new(),
            freezes: Vec::new(),
            targets_max: TARGETS_MAX_DEFAULT,
            deadline_seconds_max: DEADLINE_SECONDS_MAX,
            undo_classes: UndoClass::ALL.into_iter().filter(reversible).collect(),
            unknown_actions: false,
            fresh_days: FRESH_DAYS_DEFAULT,
            approvals: APPROVALS_MIN,
            kill_switch: None,
            choice: ChoiceSettings::default(),
            kill_switch_api: None,
            kill_switch_token_file: None,
        }
    }
}

impl Settings {
    /// Reads `[chaos]` of a configuration file; its other parts are not looked at. `path` is for messages. A file
    /// without `[chaos]` declares no target and allows what is reversible.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and column.
    pub fn parse(path: &str, text: &str) -> Result<Settings, Vec<Diagnostic>> {
        let document = Document::new(path, text);
        let settings = {
            let table = document.parse();
            let top = document.top(&table);
            top.optional_section("chaos")
                .map_or_else(Settings::default, |section| read(&section))
        };
        if document.has_problems() {
            return Err(document.into_diagnostics());
        }
        Ok(settings)
    }
}

impl Settings {
    /// The same with every relative path taken from `folder`, where the configuration lies.
    #[must_use]
    pub fn below(mut self, folder: &Path) -> Settings {
        self.targets.below(folder);
        let switches = self.kill_switch.iter_mut().chain(&mut self.kill_switch_token_file);
        for path in self.logs.values_mut().chain(switches) {
            *path = folder.join(&*path);
        }
        for observer in self.observers.values_mut() {
            observer.below(folder);
        }
        self
    }
}

impl Settings {
    /// What an approval of `experiment` is for: its digest together with the declarations of the targets and links that
    /// it touches. Take it before [`Settings::below`], so that it is the same wherever the folder lies.
    pub fn approved(&self, experiment: &Experiment) -> Digest {
        let links: BTreeMap<&str, [&str; 2]> = self
            .links
            .iter()
            .filter(|(name, _)| {
                let touches = |fault: &dyn Fault| fault.parameters().get("link").and_then(Value::as_str) == Some(name);
                experiment.faults.iter().any(|fault| touches(fault.as_ref()))
            })
            .map(|(name, link)| (name.as_str(), [link.listen.as_str(), link.upstream.as_str()]))
            .collect();
        let bound = serde_json::json!({
            "experiment": experiment.digest,
            "targets": self.targets.to_json(&experiment.targets()),
            "links": links,
        });
        Digest::of(&evidence::to_canonical(&bound))
    }

    /// The freeze that `at` lies in.
    pub fn freeze_at(&self, at: Timestamp) -> Option<&Freeze> {
        self.freezes
            .iter()
            .find(|freeze| (freeze.from..freeze.to).contains(&at))
    }

    /// How long it is from `at` until a freeze begins, where one does.
    pub fn next_freeze(&self, at: Timestamp) -> Option<Duration> {
        let begins = self.freezes.iter().map(|freeze| freeze.from).filter(|from| *from > at);
        begins.min()?.duration_since(at).try_into().ok()
    }
}

fn read(section: &Section<'_>) -> Settings {
    section.only(KEYS);
    let default = Settings::default();
    Settings {
        targets: section
            .optional_section("target")
            .map_or_else(Targets::default, |targets| Targets::read(&targets)),
        links: named(section, "link", |link| {
            link.only(&["listen", "upstream"]);
            let (listen, upstream) = (link.text("listen"), link.text("upstream"));
            Some(LinkSetting {
                listen: listen?,
                upstream: upstream?,
            })
        }),
        logs: named(section, "log", |log| {
            log.only(&["path"]);
            log.text("path").map(PathBuf::from)
        }),
        observers: observers::read(section),
        runbooks: read_runbooks(section),
        freezes: section.sections("freeze").iter().filter_map(read_freeze).collect(),
        targets_max: section
            .optional_number("targets_max", 1..=256)
            .unwrap_or(default.targets_max),
        deadline_seconds_max: section
            .optional_number("deadline_seconds_max", 1..=DEADLINE_SECONDS_MAX)
            .unwrap_or(default.deadline_seconds_max),
        undo_classes: section
            .optional_choices("undo_classes", &UndoClass::ALL, UndoClass::name)
            .map_or(default.undo_classes, |classes| classes.into_iter().collect()),
        unknown_actions: section
            .optional_choice("unknown_actions", &[false, true], |allowed| {
                if allowed { "allow" } else { "refuse" }
            })
            .unwrap_or(default.unknown_actions),
        fresh_days: section
            .optional_number("fresh_days", 1..=3650)
            .unwrap_or(default.fresh_days),
        approvals: section
            .optional_number("approvals", APPROVALS_MIN..=100)
            .unwrap_or(default.approvals),
        kill_switch: section.optional_text("kill_switch").map(PathBuf::from),
        choice: ChoiceSettings::read(section),
        kill_switch_api: read_api(section),
        kill_switch_token_file: section.optional_text("kill_switch_token_file").map(PathBuf::from),
    }
}

/// Nothing but loopback: it speaks without encryption.
fn read_api(section: &Section<'_>) -> Option<SocketAddr> {
    const KEY: &str = "kill_switch_api";
    let text = section.optional_text(KEY)?;
    let address: Option<SocketAddr> = text.parse().ok();
    let address = address.filter(|address| address.ip().is_loopback() && address.port() != 0);
    if address.is_none() {
        let message = format!("`{KEY}` is `{text}`, which is no address and port of loopback");
        section.problem(KEY, "chaos/address", message, "write `127.0.0.1:PORT`");
    }
    address
}

/// The tables of a table, by name.
fn named<T>(section: &Section<'_>, key: &str, read: impl Fn(&Section<'_>) -> Option<T>) -> BTreeMap<String, T> {
    let Some(table) = section.optional_section(key) else {
        return BTreeMap::new();
    };
    let each = |name: String| {
        let value = read(&table.optional_section(&name)?)?;
        Some((name, value))
    };
    table.keys().into_iter().filter_map(each).collect()
}

fn read_runbooks(section: &Section<'_>) -> BTreeMap<Rung, String> {
    let Some(table) = section.optional_section("rung") else {
        return BTreeMap::new();
    };
    table.only(&Rung::ALL.map(Rung::name));
    let each = |rung: Rung| {
        let section = table.optional_section(rung.name())?;
        section.only(&["runbook"]);
        Some((rung, section.text("runbook")?))
    };
    Rung::ALL.into_iter().filter_map(each).collect()
}

fn read_freeze(section: &Section<'_>) -> Option<Freeze> {
    section.only(&["name", "from", "to"]);
    let name = section.text("name");
    let (from, to) = (section.time("from"), section.time("to"));
    let (from, to) = (from?, to?);
    if from >= to {
        let message = "`to` is not after `from`".to_owned();
        section.problem("to", "chaos/times", message, "write the first moment after the freeze");
        return None;
    }
    Some(Freeze { name: name?, from, to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_cautious() {
        let settings = Settings::parse("proofmark.toml", "[release]\nname = \"x\"\n").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(!settings.undo_classes.contains(&UndoClass::Irreversible));
        assert!(!settings.unknown_actions);
        assert_eq!(settings.approvals, 2);
    }

    #[test]
    fn everything_can_be_said() {
        let text = r#"
[chaos]
targets_max = 3
deadline_seconds_max = 60
undo_classes = ["journaled", "irreversible"]
unknown_actions = "allow"
fresh_days = 7
approvals = 3
kill_switch = "/run/stop-chaos"
kill_switch_api = "127.0.0.1:7070"
kill_switch_token_file = "stop.token"
[chaos.rung.canary]
runbook = "playbooks/halt-canary.json"
[chaos.link.db]
listen = "127.0.0.1:6000"
upstream = "127.0.0.1:5432"
[chaos.log.ledger]
path = "/var/log/ledger.json"
[[chaos.freeze]]
name = "end of year"
from = "2026-12-20T00:00:00Z"
to = "2027-01-03T00:00:00Z"
"#;
        let settings = Settings::parse("proofmark.toml", text).unwrap();
        assert_eq!(
            (settings.targets_max, settings.fresh_days, settings.approvals),
            (3, 7, 3)
        );
        assert_eq!(settings.undo_classes.len(), 2);
        assert_eq!(settings.runbooks[&Rung::Canary], "playbooks/halt-canary.json");
        assert_eq!(settings.links["db"].upstream, "127.0.0.1:5432");
        assert_eq!(settings.freezes[0].name, "end of year");
        assert!(settings.unknown_actions && settings.kill_switch.is_some());
        assert_eq!(settings.kill_switch_api.unwrap().port(), 7070);
        assert_eq!(
            settings.below(Path::new("/tree")).kill_switch_token_file.as_deref(),
            Some(Path::new("/tree/stop.token"))
        );
    }

    #[test]
    fn relative_paths_are_from_the_configuration() {
        let text = "[chaos]\nkill_switch = \"stop\"\n[chaos.target.a]\nkind = \"files\"\nroot = \"secrets\"\npath = \"x\"\n[chaos.target.b]\nkind = \"files\"\nroot = \"/srv\"\n";
        let settings = Settings::parse("x", text).unwrap().below(Path::new("/tree"));
        let root = |name: &str| settings.targets.named(name).unwrap().text("root").unwrap().to_owned();
        assert_eq!((root("a").as_str(), root("b").as_str()), ("/tree/secrets", "/srv"));
        assert_eq!(settings.targets.named("a").unwrap().text("path"), Ok("x"));
        assert_eq!(settings.kill_switch.as_deref(), Some(Path::new("/tree/stop")));
    }

    #[test]
    fn an_approval_is_for_the_experiment_and_what_it_attacks() {
        let experiment = |mode: &str| {
            let text = format!(
                "title = \"x\"\ndeadline_seconds = 9\nwindow_seconds = 5\n[steady]\ntarget = \"a\"\n[[fault]]\n\
                 id = \"secret-unreadable\"\ntarget = \"a\"\npath = \"{mode}\"\n"
            );
            Experiment::parse("x.toml", &text).unwrap()
        };
        let settings = |rung: &str, other: &str| {
            let target = |name: &str, rung: &str| {
                format!("[chaos.target.{name}]\nkind = \"files\"\nroot = \"r\"\nrung = \"{rung}\"\n")
            };
            let text = [target("a", rung), target("b", other)].concat();
            Settings::parse("x", &text).unwrap()
        };
        let base = settings("canary", "canary").approved(&experiment("token"));
        assert_eq!(settings("canary", "isolated").approved(&experiment("token")), base);
        assert_ne!(settings("production", "canary").approved(&experiment("token")), base);
        assert_ne!(settings("canary", "canary").approved(&experiment("key")), base);
    }

    #[test]
    fn freezes_are_seen_coming() {
        let text = "[[chaos.freeze]]\nname = \"a\"\nfrom = \"2026-12-20T00:00:00Z\"\nto = \"2026-12-21T00:00:00Z\"\n";
        let settings = Settings::parse("x", text).unwrap();
        for (at, now, left_s) in [
            ("2026-12-19T23:59:00Z", false, Some(60)),
            ("2026-12-20T00:00:00Z", true, None),
            ("2026-12-20T23:59:59Z", true, None),
            ("2026-12-21T00:00:00Z", false, None),
        ] {
            let at = at.parse().unwrap();
            assert_eq!(settings.freeze_at(at).is_some(), now, "{at}");
            assert_eq!(settings.next_freeze(at), left_s.map(Duration::from_secs), "{at}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_alone() {
        let text = "[chaos]\napprovals = 1\nfreeze = [\nundo_classes = [\"journald\"]\n";
        let problems = Settings::parse("proofmark.toml", text).unwrap_err();
        assert!(
            problems.iter().all(|problem| problem.code == "chaos/syntax"),
            "{problems:?}"
        );
        assert_eq!(problems.len(), 1, "{problems:?}");
    }

    #[test]
    fn the_kill_switch_is_served_on_loopback_only() {
        for address in [
            "0.0.0.0:7070",
            "10.0.0.1:7070",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:7070",
        ] {
            let text = format!("[chaos]\nkill_switch_api = \"{address}\"\n");
            let problems = Settings::parse("x", &text).unwrap_err();
            assert_eq!(
                problems[0].message,
                format!("`kill_switch_api` is `{address}`, which is no address and port of loopback")
            );
        }
        assert!(Settings::parse("x", "[chaos]\nkill_switch_api = \"[::1]:7070\"\n").is_ok());
    }

    #[test]
    fn problems_have_places() {
        let text = "[chaos]\napprovals = 1\nundo_classes = [\"journald\"]\n[[chaos.freeze]]\nname = \"x\"\nfrom = \"yesterday\"\nto = \"2027-01-03T00:00:00Z\"\n";
        let problems: Vec<String> = Settings::parse("proofmark.toml", text)
            .unwrap_err()
            .iter()
            .map(|problem| {
                let span = problem.span.as_ref().unwrap();
                format!("{}:{} {}", span.line, span.column, problem.message)
            })
            .collect();
        assert_eq!(
            problems,
            [
                "2:13 `approvals` is `1`, not from 2 to 100",
                "3:16 `undo_classes` holds `journald`",
                "6:8 `from` is `yesterday`, which is no time",
            ]
        );
    }
}
