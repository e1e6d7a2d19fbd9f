//! # chaos/sql-connections-exhausted
//! Every connection that a database role may have is taken.
//!
//! ## What it does
//! A process of ours logs in with the client's credential again and again until PostgreSQL refuses (SQLSTATE 53300), and
//! takes each slot that gets free. Sessions that are open go on. The probe logs in with the same credential and bites
//! when that is refused in this way.
//!
//! - Parameters: `target`, with the credential of a service: what is exhausted is whichever comes first, the role's
//!   limit, the database's or the server's. Where it is the server's, other services are met too.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The connections end with the process; the server is asked until it lets the client
//!   in again.
//! - Rights: none beyond the credential.
//! - Targets: `postgresql`.
//! - ATT&CK: T1499.003 (endpoint denial of service: application exhaustion flood). CWE: CWE-770 (allocation of resources
//!   without limits or throttling).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever opens a new session.
//!
//! ## Why it matters
//! One leaking service or one stolen credential is enough to lock everybody out, the person who would repair it too.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-connections-exhausted"
//! target = "db-app"
//! ```
//!
//! ## What to do instead
//! Set `CONNECTION LIMIT` for each role below the server's, keep `superuser_reserved_connections`, pool, and alert on
//! the share that is taken.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/runtime-config-connection.html>
//! - <https://attack.mitre.org/techniques/T1499/003/>
//! - <https://cwe.mitre.org/data/definitions/770.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{Session, TOO_MANY_CONNECTIONS, login_refused};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-connections-exhausted",
    undo_class: UndoClass::ProcessBounded,
    rights: "none beyond the credential",
    attack: &["T1499.003"],
    cwe: &["CWE-770"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new sessions; open ones go on",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "hold_ms"],
    read,
};

/// A server that takes more than so many from us is not exhausted: each needs four of the 1,024 descriptors that a
/// process may have.
const CONNECTIONS_MAX: usize = 200;
/// A slot that got free is taken again after so many milliseconds.
const AGAIN_MS: u64 = 20;
/// The server notices within so many milliseconds that we are gone.
const FREE_MS_MAX: u64 = 1_500;

#[derive(Debug)]
struct ConnectionsExhausted {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    boxed(
        const { &ENTRY },
        ConnectionsExhausted { target: target? },
        read_hold(section),
    )
}

impl Strike for ConnectionsExhausted {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!("take every connection that `{}` may have", self.target)
    }

    fn undo_action(&self) -> String {
        "close them".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let superuser = "SELECT 1::text FROM pg_roles WHERE rolname = current_user AND rolsuper";
        if session.value(superuser, &[])?.is_some() {
            return Err(format!(
                "`{}` has a superuser's credential, whom PostgreSQL always keeps slots for",
                self.target
            ));
        }
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let mut held = Vec::new();
        let mut in_force = false;
        loop {
            match Session::open(target) {
                Ok(session) if held.len() < CONNECTIONS_MAX => held.push(session),
                Ok(_) => return Err(format!("more than {CONNECTIONS_MAX} connections are let in")),
                Err(failure) if failure.has(TOO_MANY_CONNECTIONS) => {
                    in_force = true;
                    ready();
                    std::thread::sleep(Duration::from_millis(AGAIN_MS));
                }
                // The server is gone, and our connections with it; it may come back.
                Err(_) if in_force => {
                    held.clear();
                    std::thread::sleep(Duration::from_millis(AGAIN_MS));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        login_refused(site.target(&self.target)?, TOO_MANY_CONNECTIONS)
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
