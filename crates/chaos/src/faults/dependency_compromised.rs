//! # chaos/dependency-compromised
//! A run-time dependency answers with something else.
//!
//! ## What it does
//! Points every `proxy_pass` of the target's `server` block to an impostor that answers each request with `body`, and
//! reloads it. The impostor is another `server` block of the same nginx, on `impostor`, a free loopback address, so
//! that it ends with the configuration that has it. The probe asks for `path` of the target and compares the answer.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to `config` and its folder, the right to reload.
//! - Targets: `http`.
//! - ATT&CK: T1195.002 (compromise software supply chain). CWE: CWE-345 (insufficient verification of data
//!   authenticity).
//! - Expected effect: confidentiality kept; integrity lost for everything that believes the dependency; availability
//!   kept for requests, lost for what their answers are used for.
//!
//! ## Why it matters
//! A dependency that is down is noticed at once. One that answers, quickly and wrongly, is believed: by caches, by
//! users, by whatever acts upon it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "dependency-compromised"
//! target = "web"
//! impostor = "127.0.0.1:8090"
//! body = "altered"
//! ```
//!
//! ## What to do instead
//! Authenticate the dependency (mutual TLS, signed answers) rather than its address; check answers against a schema and
//! against what was measured before.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1195/002/>
//! - <https://cwe.mitre.org/data/definitions/345.html>

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::configured::{ConfigEdit, edit_servers, edited, is_free, read_listen};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::http::get;
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "dependency-compromised",
    undo_class: UndoClass::Journaled,
    rights: "write access to `config` and its folder, the right to reload",
    attack: &["T1195.002"],
    cwe: &["CWE-345"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost for everything that believes the dependency",
        availability: "kept for requests, lost for what their answers are used for",
    },
    targets: &[TargetKind::Http],
    keys: &["target", "impostor", "body"],
    read,
};

#[derive(Debug)]
struct DependencyCompromised {
    target: String,
    impostor: SocketAddr,
    body: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let impostor = read_listen(section, "impostor");
    let body = section.text("body")?;
    if body.contains(['\'', '\\', '$', '\n', '\r']) {
        let message = "`body` has a quote, a backslash, a dollar sign or a line break".to_owned();
        section.problem(
            "body",
            "chaos/bad-body",
            message,
            "it is written into a configuration: leave them out",
        );
        return None;
    }
    let edit = DependencyCompromised {
        target: target?,
        impostor: impostor?,
        body,
    };
    edited(const { &ENTRY }, edit)
}

impl ConfigEdit for DependencyCompromised {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("impostor".to_owned(), self.impostor.to_string().into()),
            ("body".to_owned(), self.body.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "let an impostor on `{}` answer for what `{}` depends on",
            self.impostor, self.target
        )
    }

    fn survey(&self, _: &Target) -> Result<(), String> {
        is_free(self.impostor)
    }

    fn edit(&self, target: &Target, text: &str) -> Result<String, String> {
        let impostor = format!(
            "server {{ listen {}; location / {{ return 200 '{}'; }} }}",
            self.impostor, self.body
        );
        let pass = format!("proxy_pass http://{};", self.impostor);
        let mut placed = false;
        edit_servers(target, text, "`proxy_pass`", |server| {
            let passes = server.all("proxy_pass");
            let mut edits: Vec<_> = passes.iter().map(|found| found.instead(pass.clone())).collect();
            if !edits.is_empty() && !std::mem::replace(&mut placed, true) {
                edits.push(server.line_behind(&impostor));
            }
            edits
        })
    }

    fn bites(&self, target: &Target, _: &Replacement) -> Result<bool, String> {
        let path = target.optional("path").unwrap_or("/");
        let answer = get(target, target.text("address")?, path)?;
        Ok(answer.is_some_and(|(_, body)| body == self.body))
    }
}
