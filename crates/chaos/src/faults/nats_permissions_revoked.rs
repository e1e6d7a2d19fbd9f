//! # chaos/nats-permissions-revoked
//! A NATS user may neither publish nor subscribe any more.
//!
//! ## What it does
//! Adds to the user of the client's credential, in the server's configuration file, permissions that deny every subject,
//! and has the file read again (`SIGHUP`). Open connections are met at once. The probe logs in with the client's
//! credential, subscribes to one subject for a moment, and bites when that is refused.
//!
//! - Parameters: `target`, with `config` and `pid_file`; `client`, a target of the same server with the user's
//!   credential; `subject`, one that the user may subscribe to.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The original file, which lies beside it as `.proofmark-kept-…` meanwhile, is put back with
//!   its owner and mode, and read again, unless somebody has changed or replaced the file since. Nothing of its contents
//!   is in the journal, only the digest of what the fault made of it. A server that doesn't run reads it at its start.
//! - Rights: owner of the folder that holds the file, and leave to signal the server.
//! - Targets: `nats`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-280 (improper handling of
//!   insufficient permissions).
//! - Expected effect: confidentiality kept; integrity at risk where a message is believed to have been sent; availability
//!   of what the messages carry is lost.
//!
//! ## Why it matters
//! NATS refuses a publication after it was sent, by a line that most clients only log: the sender goes on, and nothing
//! arrives. Audit events and revocations go that way.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "nats-permissions-revoked"
//! target = "bus"
//! client = "bus-app"
//! subject = "orders.created"
//! ```
//!
//! ## What to do instead
//! Treat permission violations as errors of the request that caused them, and ask for an acknowledgement (JetStream) of
//! what must not be lost.
//!
//! ## References
//! - <https://docs.nats.io/running-a-nats-service/configuration/securing_nats/authorization>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/280.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::nats::{Reconfigured, Said, subscribe, user_block};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "nats-permissions-revoked",
    undo_class: UndoClass::Journaled,
    rights: "owner of the configuration file's folder, and leave to signal the server",
    attack: &["T1531"],
    cwe: &["CWE-280"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a message is believed to have been sent",
        availability: "lost for what the messages carry",
    },
    targets: &[TargetKind::Nats],
    keys: &["target", "client", "subject", "hold_ms"],
    read,
};

/// The last permissions of a user are the ones that hold.
const NONE: &str = "\n permissions: {publish: {deny: \">\"}, subscribe: {deny: \">\"}}\n";

#[derive(Debug)]
struct PermissionsRevoked {
    target: String,
    client: String,
    subject: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let subject = section.text("subject");
    let subject = subject.filter(|subject| {
        let plain = !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain {
            let message = format!("`{subject}` is not a subject");
            section.problem("subject", "chaos/bad-subject", message, "write it as `orders.created`");
        }
        plain
    });
    let strike = PermissionsRevoked {
        target: target?,
        client: client?,
        subject: subject?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// The configuration with the user denied everything.
fn denied(text: &str, user: &str) -> Result<String, String> {
    let block = user_block(text, user)?;
    let (before, after) = text.split_at(block.end - 1);
    Ok(format!("{before}{NONE}{after}"))
}

impl Strike for PermissionsRevoked {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("subject".to_owned(), self.subject.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "the user of `{}` may neither publish nor subscribe at `{}`",
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
        Reconfigured { target }.survey(|text| denied(text, site.target(&self.client)?.text("user")?))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.apply(
            record,
            |text| denied(text, site.target(&self.client)?.text("user")?),
            || self.bites(site, record),
        )
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(subscribe(site.target(&self.client)?, &self.subject)? == Said::Refused)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        Reconfigured { target }.take_back(record, || self.bites(site, record))
    }
}
