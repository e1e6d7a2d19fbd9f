//! # chaos/redis-memory-full
//! Redis has no memory left, and evicts nothing.
//!
//! ## What it does
//! Sets `maxmemory` to one byte and `maxmemory-policy` to `noeviction` in one `CONFIG SET`: no key is lost, and whatever
//! needs memory is refused. The probe logs in with the client's credential, queues a write to one key in a transaction
//! that is given up, and bites when that is refused with `OOM`.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with a
//!   service's credential; `key`, one that the service may write.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. Both settings are put back together, unless somebody has changed either since. A restart of
//!   the server, which reads its own file, ends it too.
//! - Rights: `+config`, Redis 7 or newer.
//! - Targets: `redis`.
//! - ATT&CK: T1499.003 (endpoint denial of service: application exhaustion flood). CWE: CWE-770 (allocation of resources
//!   without limits or throttling), CWE-636 (not failing securely).
//! - Expected effect: confidentiality kept; integrity at risk where a write is believed to have happened; availability
//!   of writes is lost.
//!
//! ## Why it matters
//! Memory is what an attacker fills first, by sessions that cost nothing to open. With an evicting policy the revocation
//! list goes with the rest; without one, nobody logs in.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-memory-full"
//! target = "cache"
//! client = "cache-app"
//! key = "cart:1"
//! ```
//!
//! ## What to do instead
//! Keep what must not be evicted in a server of its own, give everything else a time to live, and alert on
//! `used_memory / maxmemory`.
//!
//! ## References
//! - <https://redis.io/docs/latest/develop/reference/eviction/>
//! - <https://attack.mitre.org/techniques/T1499/003/>
//! - <https://cwe.mitre.org/data/definitions/770.html>
//! - <https://cwe.mitre.org/data/definitions/636.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::redis::{Session, Writes};
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-memory-full",
    undo_class: UndoClass::Journaled,
    rights: "+config",
    attack: &["T1499.003"],
    cwe: &["CWE-770", "CWE-636"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a write is believed to have happened",
        availability: "lost for writes",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "client", "key", "hold_ms"],
    read,
};

/// The two settings, and what becomes of them.
const SETTINGS: [&str; 2] = ["maxmemory-policy", "maxmemory"];
const FULL: [&str; 2] = ["noeviction", "1"];

#[derive(Debug)]
struct MemoryFull(Writes);

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    boxed(const { &ENTRY }, MemoryFull(Writes::read(section)?), read_hold(section))
}

fn settings(session: &Session) -> Result<Value, String> {
    let [policy, memory] = SETTINGS.map(|name| session.config(name));
    Ok(vec![policy?, memory?].into())
}

/// Sets both at once: a limit without the policy would evict keys.
fn set(session: &Session, [policy, memory]: [&str; 2]) -> Result<(), String> {
    session.ask(&["CONFIG", "SET", SETTINGS[0], policy, SETTINGS[1], memory])?;
    Ok(())
}

impl Strike for MemoryFull {
    fn parameters(&self) -> BTreeMap<String, Value> {
        self.0.parameters()
    }

    fn action(&self) -> String {
        format!("`{}` has no memory left for writes", self.0.target)
    }

    fn undo_action(&self) -> String {
        "put `maxmemory` and its policy back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        self.0.targets()
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = self.0.administer(site)?;
        Ok(Change::new(settings(&session)?, FULL.to_vec())?.record([]))
    }

    fn inject(&self, _: &Permit, site: &Site, _: &Record) -> Result<(), String> {
        set(&self.0.administer(site)?, FULL)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.0.are_refused(site, |_| Ok(()), |failure| failure.has("OOM"))
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = self.0.administer(site)?;
        let change = Change::of(record)?;
        let before = |at: usize| change.before.get(at).and_then(Value::as_str);
        let (Some(policy), Some(memory)) = (before(0), before(1)) else {
            return Err("the record does not say what the settings were".to_owned());
        };
        change.undo(|| settings(&session), || set(&session, [policy, memory]))
    }
}
