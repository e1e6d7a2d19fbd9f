//! # chaos/tls-weak
//! A deployment goes back to an old version of TLS.
//!
//! ## What it does
//! Sets `ssl_protocols TLSv1.2` in the target's nginx configuration, as a template from years ago does, and reloads it.
//! The probe is a client that knows TLS 1.3 only: it is refused, where it was served before, and one that knows 1.2 is
//! served.
//!
//! - Undo class: `journaled`. The original file is put back and the service reloaded, unless somebody else has changed
//!   the file since.
//! - Rights: write access to `config` and its folder, the right to reload.
//! - Targets: `tls`.
//! - ATT&CK: T1562.010 (impair defenses: downgrade attack). CWE: CWE-757 (selection of less-secure algorithm during
//!   negotiation).
//! - Expected effect: confidentiality weaker: what is recorded now depends on older algorithms; integrity weaker, as
//!   confidentiality; availability lost for clients that insist on TLS 1.3.
//!
//! ## Why it matters
//! Downgrades are silent, since clients negotiate them. Whoever promises a version has to notice when it is not spoken.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "tls-weak"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Pin the least version on both sides; probe the endpoint with the newest version alone, and alert when that fails.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1562/010/>
//! - <https://cwe.mitre.org/data/definitions/757.html>
//! - <https://www.rfc-editor.org/rfc/rfc9325>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::configured::{ConfigEdit, edit_servers, edited};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::read::Section;
use crate::replaced::Replacement;
use crate::target::{Target, TargetKind};
use crate::tls::{Met, meet, meet_with};

pub(super) const ENTRY: Entry = Entry {
    id: "tls-weak",
    undo_class: UndoClass::Journaled,
    rights: "write access to `config` and its folder, the right to reload",
    attack: &["T1562.010"],
    cwe: &["CWE-757"],
    effect: Effect {
        confidentiality: "weaker: what is recorded now depends on older algorithms",
        integrity: "weaker, as confidentiality",
        availability: "lost for clients that insist on TLS 1.3",
    },
    targets: &[TargetKind::Tls],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct TlsWeak {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    edited(const { &ENTRY }, TlsWeak { target })
}

const OLD: &str = "ssl_protocols TLSv1.2;";

impl ConfigEdit for TlsWeak {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    fn action(&self) -> String {
        format!("leave `{}` no version of TLS but 1.2", self.target)
    }

    fn survey(&self, target: &Target) -> Result<(), String> {
        match meet_with(target, target.text("address")?, &[&rustls::version::TLS13])? {
            Met::Trusted(_) => Ok(()),
            met => Err(format!(
                "a client of TLS 1.3 is not served by `{}` as it is: {met:?}",
                target.name
            )),
        }
    }

    fn edit(&self, target: &Target, text: &str) -> Result<String, String> {
        edit_servers(target, text, "block", |server| {
            match server.all("ssl_protocols").as_slice() {
                [] => server.first_line(OLD).into_iter().collect(),
                found => found
                    .iter()
                    .map(|directive| directive.instead(OLD.to_owned()))
                    .collect(),
            }
        })
    }

    fn bites(&self, target: &Target, _: &Replacement) -> Result<bool, String> {
        let new = meet_with(target, target.text("address")?, &[&rustls::version::TLS13])?;
        Ok(matches!(new, Met::Broken(_)) && matches!(meet(target)?, Met::Trusted(_)))
    }
}
