//! # chaos/nats-open
//! A deploy leaves NATS without authorization.
//!
//! ## What it does
//! Adds an empty `authorization` to the end of the server's configuration file, which takes the place of the one before,
//! and has the file read again (`SIGHUP`). The probe connects without a credential, and bites when it is let in.
//!
//! - Parameters: `target`, with `config` and `pid_file`. It refuses to begin where the server knows accounts or an
//!   operator, which go on without `authorization`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The original file, which lies beside it as `.proofmark-kept-…` meanwhile, is put back with
//!   its owner and mode, and read again, unless somebody has changed or replaced the file since. Nothing of its contents
//!   is in the journal, only the digest of what the fault made of it. A server that doesn't run reads it at its start.
//! - Rights: owner of the folder that holds the file, and leave to signal the server.
//! - Targets: `nats`.
//! - ATT&CK: T1562.001 (impair defenses: disable or modify tools). CWE: CWE-306 (missing authentication for critical
//!   function).
//! - Expected effect: confidentiality lost: every message can be read; integrity lost: every message can be forged;
//!   availability at the mercy of whoever connects.
//!
//! ## Why it matters
//! Every service that has a credential goes on working. A key that is defined twice, a merge that went wrong, is all it
//! takes, and nothing says so.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "nats-open"
//! target = "bus"
//! ```
//!
//! ## What to do instead
//! Connect without a credential after each deploy: that it is refused is the test. Sign messages that matter, so that a
//! forged one is found by whoever receives it.
//!
//! ## References
//! - <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro>
//! - <https://attack.mitre.org/techniques/T1562/001/>
//! - <https://cwe.mitre.org/data/definitions/306.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::nats::{Reconfigured, Said, login};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "nats-open",
    undo_class: UndoClass::Journaled,
    rights: "owner of the configuration file's folder, and leave to signal the server",
    attack: &["T1562.001"],
    cwe: &["CWE-306"],
    effect: Effect {
        confidentiality: "lost: every message can be read",
        integrity: "lost: every message can be forged",
        availability: "at the mercy of whoever connects",
    },
    targets: &[TargetKind::Nats],
    keys: &["target", "hold_ms"],
    read,
};

/// The last `authorization` of a file is the one that holds.
const OPEN: &str = "\nauthorization {}\n";

#[derive(Debug)]
struct Open {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let strike = Open { target: target? };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

fn opened(text: &str) -> Result<String, String> {
    let key = |line: &str| {
        line.trim_start()
            .split([' ', '\t', ':', '=', '{'])
            .next()
            .map(str::to_owned)
    };
    let lines = text.lines().filter_map(key);
    if let Some(key) = lines
        .into_iter()
        .find(|key| matches!(key.as_str(), "accounts" | "operator"))
    {
        return Err(format!(
            "the configuration has `{key}`, which go on without `authorization`"
        ));
    }
    Ok(format!("{text}{OPEN}"))
}

impl Strike for Open {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!("let everybody into `{}` without a credential", self.target)
    }

    fn undo_action(&self) -> String {
        "put the configuration back, and have it read".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.survey(opened)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.apply(record, opened, || self.bites(site, record))
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(login(site.target(&self.target)?, true)? == Said::Welcome)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.take_back(record, || self.bites(site, record))
    }
}
