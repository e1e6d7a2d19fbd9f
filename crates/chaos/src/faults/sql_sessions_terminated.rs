//! # chaos/sql-sessions-terminated
//! Every session of a database role is cut.
//!
//! ## What it does
//! `pg_terminate_backend` for each session that the role of the client's credential has at that moment. What they were
//! doing is rolled back by PostgreSQL. The probe asks `pg_stat_activity`, and bites as long as the role has no session.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the role.
//! - Undo class: `irreversible`. A session that was cut can't be had back. Way forward: the clients reconnect; it is
//!   taken once the role has a session that did not exist before.
//! - Rights: `pg_signal_backend`, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1499.004 (endpoint denial of service: application or system exploitation), T1531 (account access removal).
//!   CWE: CWE-755 (improper handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity at risk where work was split over transactions; availability lost
//!   until the clients reconnect.
//!
//! ## Why it matters
//! It is what revocation needs beside `NOLOGIN`, and what a fail-over does anyway. Pools that hand out dead connections,
//! and services that answer 500 until they are restarted, show it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-sessions-terminated"
//! target = "db"
//! client = "db-app"
//! ```
//!
//! ## What to do instead
//! Test a pooled connection before it is handed out, retry what is safe to repeat once on 57P01, and reconnect with
//! backoff and jitter.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/functions-admin.html>
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/755.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{Role, Session};
use crate::read::Section;
use crate::record;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-sessions-terminated",
    undo_class: UndoClass::Irreversible,
    rights: "pg_signal_backend, or superuser",
    attack: &["T1499.004", "T1531"],
    cwe: &["CWE-755"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where work was split over transactions",
        availability: "lost until the clients reconnect",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client"],
    read,
};

/// More sessions than that are not recorded, and so not cut.
const SESSIONS_MAX: usize = 1_000;
/// Clients that reconnect at all do so within so many milliseconds, or are found to have done so at the next undo.
const RECONNECT_MS_MAX: u64 = 1_700;
/// A session ends within so many milliseconds.
const END_MS_MAX: u64 = 1_000;
/// Between two looks.
const LOOK_MS: u64 = 20;

#[derive(Debug)]
struct SessionsTerminated {
    target: String,
    client: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let strike = SessionsTerminated {
        target: target?,
        client: client?,
    };
    boxed(const { &ENTRY }, strike, None)
}

/// The sessions of a role, each by its process and the time it began, ours left out.
fn sessions(session: &Session, role: &Role) -> Result<Vec<String>, String> {
    let sql = "SELECT pid::text || ' ' || backend_start::text FROM pg_stat_activity \
               WHERE usesysid::text = $1 AND application_name <> 'proofmark' ORDER BY 1";
    let rows = session.rows(sql, &[&role.oid])?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// The ones that were there before.
fn recorded(record: &Record) -> Result<Vec<String>, String> {
    Ok(record::list(record, "sessions")?
        .iter()
        .filter_map(|session| session.as_str().map(str::to_owned))
        .collect())
}

impl Strike for SessionsTerminated {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "cut every session of the role of `{}` at `{}`",
            self.client, self.target
        )
    }

    fn undo_action(&self) -> String {
        "way forward: its clients reconnect".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let role = Role::find(&session, site.target(&self.client)?.text("user")?)?;
        let sessions = sessions(&session, &role)?;
        if sessions.is_empty() {
            return Err(format!("role `{}` has no session to cut", role.name));
        }
        if sessions.len() > SESSIONS_MAX {
            return Err(format!("role `{}` has more than {SESSIONS_MAX} sessions", role.name));
        }
        let mut record: Record = role.record().map(|(key, value)| (key.to_owned(), value)).into();
        record.insert("sessions".to_owned(), sessions.into());
        Ok(record)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let session = Session::open(site.target(&self.target)?)?;
        let before = recorded(record)?;
        let role = Role::of(record)?;
        let sql = "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE usesysid::text = $1 \
                   AND pid::text || ' ' || backend_start::text = ANY (string_to_array($2, ','))";
        session.rows(sql, &[&role.oid, &before.join(",")])?;
        let begun = Instant::now();
        while sessions(&session, &role)?.iter().any(|each| before.contains(each)) {
            if begun.elapsed() > Duration::from_millis(END_MS_MAX) {
                return Err("PostgreSQL still lists a session that was cut".to_owned());
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(())
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let session = Session::open(site.target(&self.target)?)?;
        Ok(sessions(&session, &Role::of(record)?)?.is_empty())
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let role = Role::of(record)?;
        if let Some(foreign) = role.replaced(&session)? {
            return Ok(foreign);
        }
        let begun = Instant::now();
        while sessions(&session, &role)?.is_empty() {
            if begun.elapsed() > Duration::from_millis(RECONNECT_MS_MAX) {
                return Err(format!("no client of role `{}` has reconnected", role.name));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(Undone::Restored)
    }
}
