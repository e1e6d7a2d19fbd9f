//! # chaos/config-edited
//! A configuration is edited in place.
//!
//! ## What it does
//! Changes one place of a configuration file, as somebody does who is in a hurry and logged in, and reloads the service
//! where the target says how. With `find` that text, which must stand in the file exactly once, becomes `text`; without
//! it `text` is one line more at the end. The file is `config` of the target, or `path` below `root` of a `files`
//! target. With `shows` the probe asks the service for its `path`, and looks for that text in the answer; without it
//! the probe reads the file, and a service that takes a moment to reload is not waited for.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to the file and its folder, the right to reload.
//! - Targets: `http`, `tls`, `nats`, `files`.
//! - ATT&CK: T1565.001 (stored data manipulation). CWE: CWE-15 (external control of system or configuration setting).
//! - Expected effect: confidentiality as the edit has it; integrity lost: what runs is not what was released;
//!   availability as the edit has it.
//!
//! ## Why it matters
//! What was attested is not what runs any more, and the next deployment overwrites it without a trace. Whoever compares
//! notices; whoever only deploys never does.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "config-edited"
//! target = "web"
//! find = "autoindex off;"
//! text = "autoindex on;"
//! shows = "Index of /"
//! ```
//!
//! ## What to do instead
//! Never edit in place; mount configurations read-only; compare what is there with what was attested, all the time.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://cwe.mitre.org/data/definitions/15.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::configured::{ConfigEdit, edited};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::{self, Location};
use crate::http::get;
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "config-edited",
    undo_class: UndoClass::Journaled,
    rights: "write access to the file and its folder, the right to reload",
    attack: &["T1565.001"],
    cwe: &["CWE-15"],
    effect: Effect {
        confidentiality: "as the edit has it",
        integrity: "lost: what runs is not what was released",
        availability: "as the edit has it",
    },
    targets: &[TargetKind::Http, TargetKind::Tls, TargetKind::Nats, TargetKind::Files],
    keys: &["target", "path", "find", "text", "shows"],
    read,
};

#[derive(Debug)]
struct ConfigEdited {
    target: String,
    path: Option<String>,
    find: Option<String>,
    text: String,
    shows: Option<String>,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let path = if section.has("path") {
        Some(files::read_path(section, "path")?)
    } else {
        None
    };
    let text = section.text("text");
    let edit = ConfigEdited {
        target: target?,
        path,
        find: section.optional_text("find"),
        text: text?,
        shows: section.optional_text("shows"),
    };
    edited(const { &ENTRY }, edit)
}

impl ConfigEdit for ConfigEdited {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        let optional = [("path", &self.path), ("find", &self.find), ("shows", &self.shows)];
        let mut parameters: BTreeMap<String, Value> = optional
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value.clone()?.into())))
            .collect();
        parameters.insert("text".to_owned(), self.text.clone().into());
        parameters
    }

    fn action(&self) -> String {
        match &self.find {
            Some(find) => format!(
                "write `{}` for `{find}` in a configuration of `{}`",
                self.text, self.target
            ),
            None => format!("add `{}` to a configuration of `{}`", self.text, self.target),
        }
    }

    fn file(&self, target: &Target) -> Result<Location, String> {
        match (&self.path, target.kind) {
            (Some(path), TargetKind::Files) => Ok(Location::Below(path.clone())),
            (None, TargetKind::Files) => Err("`path` is missing: which file below `root` is edited".to_owned()),
            (Some(_), _) => Err(format!(
                "`path` is for a target of kind `files`; `{}` has a `config`",
                target.name
            )),
            (None, _) => Location::declared(target, "config"),
        }
    }

    fn edit(&self, _: &Target, text: &str) -> Result<String, String> {
        let Some(find) = &self.find else {
            let end = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            return Ok(format!("{text}{end}{}\n", self.text));
        };
        match text.matches(find.as_str()).count() {
            1 => Ok(text.replace(find.as_str(), &self.text)),
            count => Err(format!("`{find}` stands in the file {count} times, not once")),
        }
    }

    fn bites(&self, target: &Target, replacement: &Replacement) -> Result<bool, String> {
        let Some(shows) = &self.shows else {
            return replacement.is_applied(target);
        };
        let path = target.optional("path").unwrap_or("/");
        let answer = get(target, target.text("address")?, path)?;
        Ok(answer.is_some_and(|(_, body)| body.contains(shows)))
    }
}
