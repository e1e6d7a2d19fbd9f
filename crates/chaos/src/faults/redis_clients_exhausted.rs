//! # chaos/redis-clients-exhausted
//! Every connection that Redis has is taken.
//!
//! ## What it does
//! A process of ours connects, without a credential, until Redis turns it away (`max number of clients reached`), and
//! takes each slot that gets free. Connections that are open go on. The probe connects, and bites when it is turned away
//! in this way.
//!
//! - Parameters: `target`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The connections end with the process; the server is asked until it lets somebody in
//!   again.
//! - Rights: none; a connection to the port.
//! - Targets: `redis`.
//! - ATT&CK: T1499.003 (endpoint denial of service: application exhaustion flood). CWE: CWE-770 (allocation of resources
//!   without limits or throttling).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever connects anew, administrators
//!   too.
//!
//! ## Why it matters
//! It needs no credential, and locks out whoever would repair it: Redis keeps no slot for administrators.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-clients-exhausted"
//! target = "cache"
//! ```
//!
//! ## What to do instead
//! Let only the services that need it reach the port, set `timeout` for idle connections, keep one connection of the
//! operators open, and alert on `connected_clients / maxclients`.
//!
//! ## References
//! - <https://redis.io/docs/latest/develop/reference/clients/>
//! - <https://attack.mitre.org/techniques/T1499/003/>
//! - <https://cwe.mitre.org/data/definitions/770.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::redis::{Login, Session};
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-clients-exhausted",
    undo_class: UndoClass::ProcessBounded,
    rights: "none; a connection to the port",
    attack: &["T1499.003"],
    cwe: &["CWE-770"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new connections; open ones go on",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "hold_ms"],
    read,
};

/// A server that takes more than so many from us is not exhausted: it is as many as one address has ports for.
const CONNECTIONS_MAX: usize = 20_000;
/// A slot that got free is taken again after so many milliseconds.
const AGAIN_MS: u64 = 20;
/// The server notices within so many milliseconds that we are gone.
const FREE_MS_MAX: u64 = 1_500;

#[derive(Debug)]
struct ClientsExhausted {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let strike = ClientsExhausted { target: target? };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

impl Strike for ClientsExhausted {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!("take every connection that `{}` has", self.target)
    }

    fn undo_action(&self) -> String {
        "close them".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        site.target(&self.target)?.text("address")?;
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let login = Login::anonymous(target)?;
        raise_descriptors();
        let mut held = Vec::new();
        let mut in_force = false;
        loop {
            let made = Session::login(&login).map(|session| {
                // Whatever it says, it has let us in; one that turns us away closes the connection.
                let answered = session.ask(&["PING"]);
                (session, answered)
            });
            match made {
                Ok((session, Ok(_))) => held.push(session),
                Ok((session, Err(failure))) if failure.has("NOAUTH") || failure.has("NOPERM") => held.push(session),
                Ok(_) | Err(_) if in_force || Session::is_turned_away(target)? => {
                    in_force = true;
                    ready();
                    std::thread::sleep(Duration::from_millis(AGAIN_MS));
                }
                Ok((_, Err(failure))) | Err(failure) => return Err(failure.into()),
            }
            if held.len() > CONNECTIONS_MAX {
                return Err(format!("more than {CONNECTIONS_MAX} connections are let in"));
            }
        }
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Session::is_turned_away(site.target(&self.target)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let begun = Instant::now();
        while self.bites(site, record)? {
            if begun.elapsed() > Duration::from_millis(FREE_MS_MAX) {
                return Ok(Undone::Foreign("ours are closed, and others take them all".to_owned()));
            }
            std::thread::sleep(Duration::from_millis(AGAIN_MS));
        }
        Ok(Undone::Restored)
    }
}

/// Lets this process, which is the holder's, have as many descriptors as it may.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it the fault says how far it came.
    let _ = setrlimit(Resource::Nofile, limit);
}
