//! # chaos/secret-unreadable
//! A secret can't be read after its rotation.
//!
//! ## What it does
//! Takes every permission from one file below the target's `root`, as a rotation does that writes the new secret with
//! the wrong mode. The probe opens the file as an unprivileged user would.
//!
//! - Undo class: `journaled`. The mode is put back, unless somebody else has changed it, or the file, since.
//! - Rights: owner of the file, or root.
//! - Targets: `files`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-280 (improper handling of insufficient permissions).
//! - Expected effect: confidentiality kept; integrity kept; availability of whoever reads the secret is lost until it
//!   falls back, waits or says so.
//!
//! ## Why it matters
//! Rotation fails half way more often than at either end. A service that dies, or goes on with the old secret for ever,
//! shows that only then.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "secret-unreadable"
//! target = "secrets"
//! path = "db-password"
//! ```
//!
//! ## What to do instead
//! Write the new secret beside the old one with its final mode, then rename; read it again on failure; report a secret
//! that can't be read as what it is.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/280.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files;
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "secret-unreadable",
    undo_class: UndoClass::Journaled,
    rights: "owner of the file, or root",
    attack: &["T1531"],
    cwe: &["CWE-280"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for whoever reads the secret, until it falls back",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

#[derive(Debug)]
struct SecretUnreadable {
    target: String,
    path: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let path = files::read_path(section, "path");
    let strike = SecretUnreadable {
        target: target?,
        path: path?,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl Strike for SecretUnreadable {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("path".to_owned(), self.path.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!("take every permission from `{}` of `{}`", self.path, self.target)
    }

    fn undo_action(&self) -> String {
        "put its mode back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let file = files::open(site.target(&self.target)?, &self.path)?;
        Ok(files::ModeChange::to(&file, |_| 0)?.record())
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let file = files::open(site.target(&self.target)?, &self.path)?;
        files::ModeChange::of(record)?.apply(&file)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        let file = files::open(site.target(&self.target)?, &self.path)?;
        Ok(files::mode(&file)? & 0o444 == 0)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        match files::open(site.target(&self.target)?, &self.path) {
            Ok(file) => files::ModeChange::of(record)?.take_back(&file),
            Err(reason) => Ok(Undone::Foreign(reason)),
        }
    }
}
