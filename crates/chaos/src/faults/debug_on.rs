//! # chaos/debug-on
//! A deployment leaves a debug page on.
//!
//! ## What it does
//! Adds `location = PATH { stub_status; }` to the `server` block of the target in its nginx configuration, and reloads
//! it: whoever asks is told how many connections there are. It stands for every page that is meant for developers. The
//! probe asks for it.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to `config` and its folder, the right to reload.
//! - Targets: `http`.
//! - ATT&CK: T1592.002 (gather victim host information: software). CWE: CWE-489 (active debug code).
//! - Expected effect: confidentiality lost for what the page tells; integrity kept; availability kept.
//!
//! ## Why it matters
//! Debug pages tell an attacker where to go next. They are in the image for good reasons, and one setting away.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "debug-on"
//! target = "web"
//! path = "/debug-status"
//! ```
//!
//! ## What to do instead
//! Build them out of what is released; scan each release from outside for the pages of its frameworks; let the gate
//! refuse what answers.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1592/002/>
//! - <https://cwe.mitre.org/data/definitions/489.html>
//! - <https://nginx.org/en/docs/http/ngx_http_stub_status_module.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::configured::{ConfigEdit, edit_servers, edited};
use crate::fault::{Effect, Entry, Fault, UndoClass, read_path};
use crate::http::get;
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "debug-on",
    undo_class: UndoClass::Journaled,
    rights: "write access to `config` and its folder, the right to reload",
    attack: &["T1592.002"],
    cwe: &["CWE-489"],
    effect: Effect {
        confidentiality: "lost for what the page tells",
        integrity: "kept",
        availability: "kept",
    },
    targets: &[TargetKind::Http],
    keys: &["target", "path"],
    read,
};

#[derive(Debug)]
struct DebugOn {
    target: String,
    path: String,
}

/// How the page begins.
const PAGE: &str = "Active connections";

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let path = read_path(section, "path")?;
    if path.contains(['{', '}', ';', '"', '\'', '\\', '$', '#']) {
        let message = format!("`{path}` can't be written into a configuration");
        section.problem(
            "path",
            "chaos/bad-path",
            message,
            "letters, digits, `-`, `_`, `.` and `/` will do",
        );
        return None;
    }
    edited(const { &ENTRY }, DebugOn { target: target?, path })
}

impl ConfigEdit for DebugOn {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("path".to_owned(), self.path.clone().into())])
    }

    fn action(&self) -> String {
        format!("switch a debug page of `{}` on, at `{}`", self.target, self.path)
    }

    fn edit(&self, target: &Target, text: &str) -> Result<String, String> {
        let line = format!("location = {} {{ stub_status; }}", self.path);
        edit_servers(target, text, "block", |server| {
            server.first_line(&line).into_iter().collect()
        })
    }

    fn bites(&self, target: &Target, _: &Replacement) -> Result<bool, String> {
        let answer = get(target, target.text("address")?, &self.path)?;
        Ok(answer.is_some_and(|(status, body)| status == 200 && body.contains(PAGE)))
    }
}
