//! `[chaos]` of `proofmark.toml`: what may be attacked, how far an experiment may go, and when not.
//!
//! It is the owner's, not the experiment's: an experiment asks, and this decides. What an attacker who owns the file
//! can do: allow more than was meant, up to what the ladder and the approvals of a production target still ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use evidence::{Diagnostic, Timestamp};

use crate::declare::Rung;
use crate::experiment::DEADLINE_SECONDS_MAX;
use crate::fault::UndoClass;
use crate::read::{Document, Section};
use crate::target::Targets;

/// Keys of `[chaos]`.
const KEYS: &[&str] = &[
    "target",
    "link",
    "log",
    "rung",
    "freeze",
    "targets_max",
    "deadline_seconds_max",
    "undo_classes",
    "unknown_actions",
    "fresh_days",
    "approvals",
    "kill_switch",
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
            runbooks: BTreeMap::new(),
            freezes: Vec::new(),
            targets_max: TARGETS_MAX_DEFAULT,
            deadline_seconds_max: DEADLINE_SECONDS_MAX,
            undo_classes: UndoClass::ALL.into_iter().filter(reversible).collect(),
            unknown_actions: false,
            fresh_days: FRESH_DAYS_DEFAULT,
            approvals: APPROVALS_MIN,
            kill_switch: None,
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
        for path in self.logs.values_mut().chain(&mut self.kill_switch) {
            *path = folder.join(&*path);
        }
        self
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
    }
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
