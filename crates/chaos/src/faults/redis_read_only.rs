//! # chaos/redis-read-only
//! Redis takes no writes any more.
//!
//! ## What it does
//! `CONFIG SET min-replicas-to-write` to more replicas than there are, as a primary is that has lost its own. Reads go
//! on. The probe logs in with the client's credential, queues a write to one key in a transaction that is given up, and
//! bites when that is refused with `NOREPLICAS`.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with a
//!   service's credential; `key`, one that the service may write.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The number that was there is put back, unless somebody has set another since. A restart of
//!   the server, which reads its own file, ends it too.
//! - Rights: `+config`.
//! - Targets: `redis`.
//! - ATT&CK: T1499.004 (endpoint denial of service: application or system exploitation). CWE: CWE-636 (not failing
//!   securely).
//! - Expected effect: confidentiality kept; integrity at risk where a write is believed to have happened; availability
//!   of writes is lost.
//!
//! ## Why it matters
//! Counters of failed logins, used one-time tokens and revocation lists are writes. What goes on without them is open to
//! whoever tries again.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-read-only"
//! target = "cache"
//! client = "cache-app"
//! key = "cart:1"
//! ```
//!
//! ## What to do instead
//! Let what guards something fail closed when it can't be recorded; tell `NOREPLICAS`, `READONLY` and `OOM` apart in
//! logs.
//!
//! ## References
//! - <https://redis.io/docs/latest/operate/oss_and_stack/management/replication/>
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/636.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::redis::Writes;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-read-only",
    undo_class: UndoClass::Journaled,
    rights: "+config",
    attack: &["T1499.004"],
    cwe: &["CWE-636"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a write is believed to have happened",
        availability: "lost for writes",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "client", "key", "hold_ms"],
    read,
};

/// The setting, and more replicas than anybody has.
const SETTING: &str = "min-replicas-to-write";
const REPLICAS: &str = "1000";

#[derive(Debug)]
struct ReadOnly(Writes);

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    boxed(const { &ENTRY }, ReadOnly(Writes::read(section)?), read_hold(section))
}

impl Strike for ReadOnly {
    fn parameters(&self) -> BTreeMap<String, Value> {
        self.0.parameters()
    }

    fn action(&self) -> String {
        format!("`{}` takes no writes for want of replicas", self.0.target)
    }

    fn undo_action(&self) -> String {
        "put `min-replicas-to-write` back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        self.0.targets()
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = self.0.administer(site)?;
        if session.config("min-replicas-max-lag")? == "0" {
            return Err("`min-replicas-max-lag` is 0, so Redis counts no replicas".to_owned());
        }
        Ok(Change::new(session.config(SETTING)?, REPLICAS)?.record([]))
    }

    fn inject(&self, _: &Permit, site: &Site, _: &Record) -> Result<(), String> {
        let session = self.0.administer(site)?;
        session.ask(&["CONFIG", "SET", SETTING, REPLICAS])?;
        Ok(())
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.0
            .are_refused(site, |_| Ok(()), |failure| failure.has("NOREPLICAS"))
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = self.0.administer(site)?;
        let change = Change::of(record)?;
        let before = change.before.as_str().unwrap_or_default();
        change.undo(
            || Ok(session.config(SETTING)?.into()),
            || {
                session.ask(&["CONFIG", "SET", SETTING, before])?;
                Ok(())
            },
        )
    }
}
