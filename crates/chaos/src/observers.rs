//! `[chaos.observer.NAME]`: where detectors that exist already say what they see.
//!
//! Only what is configured stands here; `pipeline` opens files and ports. What an attacker who owns a source can do:
//! forge, hold back and repeat what it says, which is why each is self-tested and none is believed about times.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use telemetry::{Delivery, Mapping, Options};

use crate::read::Section;

/// Longest time that records of one event are waited for.
const MERGE_MS_MAX: u64 = 60_000;
/// Longest time between two questions.
const EVERY_MS_MAX: u64 = 60_000;
/// How often a source that has to be asked is asked, where nothing else is said.
const EVERY_MS_DEFAULT: u64 = 50;
/// A source that was silent for longer than a year is not worth a number.
const FRESH_SECONDS_MAX: u64 = 366 * 24 * 3600;

/// One source of readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObserverSetting {
    /// Id of a reader ([`telemetry::reader`]).
    pub kind: String,
    pub input: Input,
    pub options: Options,
    /// A stream that got no byte for longer than this counts as broken. `None`: silence is fine.
    pub fresh_seconds: Option<u64>,
}

/// How its bytes come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A file that grows.
    File(PathBuf),
    /// What a program prints, such as `journalctl -f -o export`: its words.
    Command(Vec<String>),
    /// Requests at an address of ours, `127.0.0.1:PORT`; port 0 is any free one.
    Listen {
        address: String,
        /// File with the bearer token that senders have to show; `None`: whoever reaches the port is heard.
        token_file: Option<PathBuf>,
    },
    /// Answers to our requests.
    Poll {
        /// `host:port`.
        address: String,
        /// Begins with `/`.
        path: String,
        every_ms: u64,
    },
}

impl ObserverSetting {
    /// Relative paths are from `folder` on.
    pub(crate) fn below(&mut self, folder: &Path) {
        match &mut self.input {
            Input::File(path)
            | Input::Listen {
                token_file: Some(path), ..
            } => *path = folder.join(&*path),
            Input::Command(_) | Input::Listen { .. } | Input::Poll { .. } => {}
        }
    }
}

/// The tables of `[chaos.observer]`, by name.
pub(crate) fn read(chaos: &Section<'_>) -> BTreeMap<String, ObserverSetting> {
    let Some(table) = chaos.optional_section("observer") else {
        return BTreeMap::new();
    };
    let each = |name: String| {
        let setting = read_one(&table.optional_section(&name)?)?;
        Some((name, setting))
    };
    table.keys().into_iter().filter_map(each).collect()
}

fn read_one(section: &Section<'_>) -> Option<ObserverSetting> {
    section.only(&[
        "kind",
        "file",
        "command",
        "listen",
        "token_file",
        "address",
        "path",
        "every_ms",
        "fresh_seconds",
        "merge_ms",
        "name",
        "firing",
        "severity",
        "technique",
        "began",
    ]);
    let known: Vec<&'static str> = telemetry::readers().iter().map(|entry| entry.id).collect();
    section.text("kind")?;
    let kind = section.optional_choice("kind", &known, |id| id)?;
    let input = read_input(section, kind)?;
    let default = Options::default();
    Some(ObserverSetting {
        kind: kind.to_owned(),
        input,
        fresh_seconds: section.optional_number("fresh_seconds", 1..=FRESH_SECONDS_MAX),
        options: Options {
            merge_ms: section
                .optional_number("merge_ms", 1..=MERGE_MS_MAX)
                .unwrap_or(default.merge_ms),
            mapping: Mapping {
                name: pointer(section, "name"),
                firing: pointer(section, "firing"),
                severity: pointer(section, "severity"),
                technique: pointer(section, "technique"),
                began: pointer(section, "began"),
            },
        },
    })
}

/// The one way in which its bytes come, which must be one that the kind is delivered by.
fn read_input(section: &Section<'_>, kind: &str) -> Option<Input> {
    let (input, delivery) = match ["file", "command", "listen", "address"].map(|key| section.has(key)) {
        [true, false, false, false] => (Input::File(section.text("file")?.into()), Delivery::Stream),
        [false, true, false, false] => (Input::Command(section.optional_texts("command")?), Delivery::Stream),
        [false, false, true, false] => {
            let listen = Input::Listen {
                address: section.text("listen")?,
                token_file: section.optional_text("token_file").map(PathBuf::from),
            };
            (listen, Delivery::Requests)
        }
        [false, false, false, true] => {
            let poll = Input::Poll {
                address: section.text("address")?,
                path: section
                    .optional_text("path")
                    .unwrap_or_else(|| "/api/v1/alerts".to_owned()),
                every_ms: section
                    .optional_number("every_ms", 1..=EVERY_MS_MAX)
                    .unwrap_or(EVERY_MS_DEFAULT),
            };
            (poll, Delivery::Polls)
        }
        _ => {
            let message = "an observer has one of `file`, `command`, `listen` and `address`".to_owned();
            section.problem("kind", "chaos/observer", message, "say once where it is read from");
            return None;
        }
    };
    if !telemetry::reader(kind).is_some_and(|entry| entry.delivery.contains(&delivery)) {
        let message = format!("`{kind}` can't be read from there");
        let help = format!("see `proofmark explain observer/{kind}`");
        section.problem("kind", "chaos/observer", message, &help);
        return None;
    }
    Some(input)
}

/// A JSON pointer.
fn pointer(section: &Section<'_>, key: &str) -> Option<String> {
    let pointer = section.optional_text(key)?;
    if !pointer.starts_with('/') {
        let message = format!("`{key}` is `{pointer}`, which is no JSON pointer");
        section.problem(key, "chaos/observer", message, "write it like \"/rule/name\"");
    }
    Some(pointer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn every_way_in_can_be_said() {
        let text = r#"
[chaos.observer.audit]
kind = "auditd"
file = "audit.log"
fresh_seconds = 3600
merge_ms = 50
[chaos.observer.journal]
kind = "journald"
command = ["journalctl", "-f"]
[chaos.observer.pager]
kind = "alertmanager"
listen = "127.0.0.1:0"
token_file = "token"
[chaos.observer.rules]
kind = "prometheus"
address = "127.0.0.1:9090"
[chaos.observer.waf]
kind = "generic"
file = "/var/log/waf.json"
name = "/rule/title"
began = "/when"
"#;
        let observers = Settings::parse("x", text).unwrap().below(Path::new("/tree")).observers;
        let audit = &observers["audit"];
        assert_eq!(audit.input, Input::File("/tree/audit.log".into()));
        assert_eq!((audit.fresh_seconds, audit.options.merge_ms), (Some(3600), 50));
        let Input::Listen { token_file, .. } = &observers["pager"].input else {
            panic!("{:?}", observers["pager"])
        };
        assert_eq!(token_file.as_deref(), Some(Path::new("/tree/token")));
        let rules = Input::Poll {
            address: "127.0.0.1:9090".to_owned(),
            path: "/api/v1/alerts".to_owned(),
            every_ms: EVERY_MS_DEFAULT,
        };
        assert_eq!(observers["rules"].input, rules);
        assert_eq!(observers["waf"].options.mapping.name.as_deref(), Some("/rule/title"));
        assert_eq!(observers["waf"].input, Input::File("/var/log/waf.json".into()));
    }

    #[test]
    fn what_can_not_be_is_said_with_its_place() {
        let check = |text: &str, expect: &str| {
            let text = format!("[chaos.observer.x]\n{text}\n");
            let problems = Settings::parse("proofmark.toml", &text).unwrap_err();
            assert!(problems[0].message.starts_with(expect), "{text}: {problems:?}");
            assert!(problems[0].span.as_ref().is_some_and(|span| span.line > 0));
        };
        check("file = \"a\"", "[chaos.observer.x] needs `kind`");
        check("kind = \"falko\"\nfile = \"a\"", "`kind` is `falko`");
        check("kind = \"falco\"", "an observer has one of");
        check(
            "kind = \"falco\"\nfile = \"a\"\nlisten = \"b\"",
            "an observer has one of",
        );
        check(
            "kind = \"auditd\"\nlisten = \"127.0.0.1:0\"",
            "`auditd` can't be read from there",
        );
        check("kind = \"generic\"\nfile = \"a\"\nname = \"rule\"", "`name` is `rule`");
        check("kind = \"falco\"\nfile = \"a\"\nfiles = \"b\"", "unknown key `files`");
    }
}
