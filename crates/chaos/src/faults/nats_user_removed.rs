//! # chaos/nats-user-removed
//! A NATS user is gone from the server's configuration.
//!
//! ## What it does
//! Takes the user of the client's credential out of the list of users in the configuration file, and has the file read
//! again (`SIGHUP`): NATS closes the user's open connections. The probe logs in with the client's credential, and bites
//! when that is refused.
//!
//! - Parameters: `target`, with `config` and `pid_file`; `client`, a target of the same server with the user's
//!   credential. The user has to stand in a list of users of that file, not in one that it includes.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The original file, which lies beside it as `.proofmark-kept-…` meanwhile, is put back with
//!   its owner and mode, and read again, unless somebody has changed or replaced the file since. Nothing of its contents
//!   is in the journal, only the digest of what the fault made of it. A server that doesn't run reads it at its start.
//! - Rights: owner of the folder that holds the file, and leave to signal the server.
//! - Targets: `nats`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-755 (improper handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for the user's services.
//!
//! ## Why it matters
//! Unlike in PostgreSQL and Redis, the revocation reaches who is in. Clients of NATS reconnect for ever by default, and
//! are refused for ever, without anybody being told.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "nats-user-removed"
//! target = "bus"
//! client = "bus-app"
//! ```
//!
//! ## What to do instead
//! Bound reconnection when the answer is `Authorization Violation`, ask for a new credential, and report the state in the
//! readiness endpoint.
//!
//! ## References
//! - <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/username_password>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/755.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::nats::{Reconfigured, Said, login, user_block};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "nats-user-removed",
    undo_class: UndoClass::Journaled,
    rights: "owner of the configuration file's folder, and leave to signal the server",
    attack: &["T1531"],
    cwe: &["CWE-755"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for the user's services",
    },
    targets: &[TargetKind::Nats],
    keys: &["target", "client", "hold_ms"],
    read,
};

#[derive(Debug)]
struct UserRemoved {
    target: String,
    client: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let strike = UserRemoved {
        target: target?,
        client: client?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// The configuration without the user. A comma stays on one side only.
fn removed(text: &str, user: &str) -> Result<String, String> {
    let block = user_block(text, user)?;
    let (before, after) = (&text[..block.start], &text[block.end..]);
    let rest = after.trim_start_matches([' ', '\t']);
    if let Some(rest) = rest.strip_prefix(',') {
        return Ok(format!("{before}{rest}"));
    }
    let before = before.trim_end();
    Ok(format!("{}{after}", before.strip_suffix(',').unwrap_or(before)))
}

impl Strike for UserRemoved {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "remove the user of `{}` from the configuration of `{}`",
            self.client, self.target
        )
    }

    fn undo_action(&self) -> String {
        "put the configuration back, and have it read".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.survey(|text| removed(text, site.target(&self.client)?.text("user")?))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.apply(
            record,
            |text| removed(text, site.target(&self.client)?.text("user")?),
            || self.bites(site, record),
        )
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(login(site.target(&self.client)?, false)? == Said::Refused)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.take_back(record, || self.bites(site, record))
    }
}

#[cfg(test)]
mod tests {
    use super::removed;

    #[test]
    fn commas_stay_on_one_side() {
        for (before, after) in [
            ("users = [{user: a}, {user: b}]", "users = [ {user: b}]"),
            ("users = [{user: b}, {user: a}]", "users = [{user: b}]"),
            ("users = [{user: a}]", "users = []"),
            ("users = [\n {user: b}\n {user: a}\n]", "users = [\n {user: b}\n]"),
        ] {
            assert_eq!(removed(before, "a").as_deref(), Ok(after));
        }
    }
}
