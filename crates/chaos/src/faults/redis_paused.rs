//! # chaos/redis-paused
//! Redis answers reads, and lets writes wait.
//!
//! ## What it does
//! A process of ours asks for `CLIENT PAUSE … WRITE` again and again, each time for 200 ms, as a fail-over does for
//! as long as it takes. Whoever writes waits without an answer. The probe logs in with the client's credential, queues a
//! write to one key in a transaction that is given up, and bites when no answer comes within 300 ms.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with a
//!   service's credential; `key`, one that the service may write.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The server ends the pause by itself within 200 ms of the end of the process.
//!   `CLIENT UNPAUSE` is never sent, as it would end a pause of somebody else too.
//! - Rights: `+client|pause`.
//! - Targets: `redis`.
//! - ATT&CK: T1499.004 (endpoint denial of service: application or system exploitation). CWE: CWE-400 (uncontrolled
//!   resource consumption).
//! - Expected effect: confidentiality kept; integrity kept; availability of writes is lost, and of everything else once
//!   all workers wait.
//!
//! ## Why it matters
//! A dependency that doesn't answer is worse than one that refuses: without a time limit every worker ends up waiting,
//! the ones that would check a token too.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-paused"
//! target = "cache"
//! client = "cache-app"
//! key = "cart:1"
//! ```
//!
//! ## What to do instead
//! Give each command a time limit shorter than the request's, and break the circuit after a few.
//!
//! ## References
//! - <https://redis.io/docs/latest/commands/client-pause/>
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/400.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::redis::{Failure, Session, Writes};
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-paused",
    undo_class: UndoClass::ProcessBounded,
    rights: "+client|pause",
    attack: &["T1499.004"],
    cwe: &["CWE-400"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for writes, and for all once every worker waits",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "client", "key", "hold_ms"],
    read,
};

/// Each pause lasts so many milliseconds, and is asked for again after so many.
const PAUSE_MS: &str = "200";
const AGAIN_MS: u64 = 50;
/// A write that is not answered within so many milliseconds waits.
const SILENCE_MS: u64 = 300;
/// A pause of ours has run out after so many milliseconds.
const END_MS_MAX: u64 = 1_500;

#[derive(Debug)]
struct Paused(Writes);

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    boxed(const { &ENTRY }, Paused(Writes::read(section)?), read_hold(section))
}

impl Strike for Paused {
    fn parameters(&self) -> BTreeMap<String, Value> {
        self.0.parameters()
    }

    fn action(&self) -> String {
        format!("`{}` answers no write", self.0.target)
    }

    fn undo_action(&self) -> String {
        "let the pause run out".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        self.0.targets()
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        site.target(&self.0.target)?.text("address")?;
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.0.target)?;
        let mut in_force = false;
        loop {
            let asked = Session::open(target).and_then(|session| {
                while session.ask(&["CLIENT", "PAUSE", PAUSE_MS, "WRITE"]).is_ok() {
                    in_force = true;
                    ready();
                    std::thread::sleep(Duration::from_millis(AGAIN_MS));
                }
                session.ask(&["CLIENT", "PAUSE", PAUSE_MS, "WRITE"])
            });
            match asked {
                Err(failure) if !in_force => return Err(failure.into()),
                // The server is gone; it may come back.
                _ => std::thread::sleep(Duration::from_millis(AGAIN_MS)),
            }
        }
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        let patience = |session: &Session| session.silence_limit(Duration::from_millis(SILENCE_MS));
        self.0
            .are_refused(site, patience, |failure| matches!(failure, Failure::Silent))
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let begun = Instant::now();
        while self.bites(site, record)? {
            if begun.elapsed() > Duration::from_millis(END_MS_MAX) {
                return Ok(Undone::Foreign(
                    "our pause has run out, and somebody else's has not".to_owned(),
                ));
            }
        }
        Ok(Undone::Restored)
    }
}
