//! # chaos/sql-lock-held
//! A table is locked, and whoever needs it waits.
//!
//! ## What it does
//! A process of ours holds an `ACCESS EXCLUSIVE` lock on one table, as a migration that waits for something else does.
//! The probe reads no row of it (`LIMIT 0`) with a short `lock_timeout`, and bites when that is refused with SQLSTATE
//! 55P03.
//!
//! - Parameters: `target`, with the credential of who may lock; `client`, a target of the same server with a service's
//!   credential; `table`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The lock ends with the process; where a network cut hides that from the server, its
//!   `idle_in_transaction_session_timeout` ends it at the deadline.
//! - Rights: owner of the table, or a privilege to change it.
//! - Targets: `postgresql`.
//! - ATT&CK: T1499.003 (endpoint denial of service: application exhaustion flood). CWE: CWE-667 (improper locking),
//!   CWE-400 (uncontrolled resource consumption).
//! - Expected effect: confidentiality kept; integrity kept; availability of everything that needs the table is lost.
//!
//! ## Why it matters
//! One waiting migration stops all readers behind it. Without a time limit a service's pool fills with waiters, and what
//! doesn't need the table is down as well, logins and revocations included.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-lock-held"
//! target = "db"
//! client = "db-app"
//! table = "public.orders"
//! ```
//!
//! ## What to do instead
//! Set `lock_timeout` in migrations and `statement_timeout` in services; keep a pool of their own for what must go on.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/explicit-locking.html>
//! - <https://attack.mitre.org/techniques/T1499/003/>
//! - <https://cwe.mitre.org/data/definitions/667.html>
//! - <https://cwe.mitre.org/data/definitions/400.html>

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{LOCK_NOT_AVAILABLE, Login, Session, Table};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-lock-held",
    undo_class: UndoClass::ProcessBounded,
    rights: "owner of the table, or a privilege to change it",
    attack: &["T1499.003"],
    cwe: &["CWE-667", "CWE-400"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for everything that needs the table",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "table", "hold_ms"],
    read,
};

/// The name by which the server lists the session that locks.
const APPLICATION: &str = "proofmark sql-lock-held";
/// The probe waits so many milliseconds for the table.
const PROBE_MS: u64 = 100;
/// Between two looks.
const LOOK_MS: u64 = 20;
/// The server notices within so many milliseconds that we are gone.
const FREE_MS_MAX: u64 = 1_500;

#[derive(Debug)]
struct LockHeld {
    target: String,
    client: String,
    table: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let table = section.text("table");
    let strike = LockHeld {
        target: target?,
        client: client?,
        table: table?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// How many sessions of ours hold the table, or wait for it.
fn holders(session: &Session, table: &Table) -> Result<usize, String> {
    let sql = "SELECT pid::text FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE application_name = $1 \
               AND locktype = 'relation' AND relation::text = $2 AND mode = 'AccessExclusiveLock'";
    Ok(session.rows(sql, &[APPLICATION, &table.oid])?.len())
}

impl Strike for LockHeld {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("table".to_owned(), self.table.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!("lock table `{}` of `{}`", self.table, self.target)
    }

    fn undo_action(&self) -> String {
        "let go of it".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let table = Table::find(&session, &self.table)?;
        Ok(table
            .record()
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, record: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let table = Table::of(record)?;
        let mut login = Login::of(target)?;
        login.application = APPLICATION.to_owned();
        let locking = Session::login(&login)?;
        let end_ms = site.time_left.as_millis();
        // A waiting session looks for us too, so that it ends with us.
        locking.run(&format!(
            "SET lock_timeout = 0; SET statement_timeout = 0; SET client_connection_check_interval = 100; \
             SET idle_in_transaction_session_timeout = {end_ms}"
        ))?;
        let name = table.name.clone();
        let worker = std::thread::spawn(move || -> Result<(), String> {
            locking.run_unbounded(&format!("BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"))?;
            loop {
                std::thread::park();
            }
        });
        let watching = Session::open(target)?;
        while holders(&watching, &table)? == 0 || !self.bites(site, record)? {
            if worker.is_finished() {
                break;
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        if !worker.is_finished() {
            ready();
        }
        worker.join().unwrap_or_else(|_| Err("it broke".to_owned()))
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let session = Session::open(site.target(&self.client)?)?;
        session.run(&format!("SET lock_timeout = {PROBE_MS}"))?;
        match session.run(&format!("SELECT FROM {} LIMIT 0", Table::of(record)?.name)) {
            Ok(()) => Ok(false),
            Err(failure) if failure.has(LOCK_NOT_AVAILABLE) => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let table = Table::of(record)?;
        let begun = Instant::now();
        while holders(&session, &table)? > 0 {
            if begun.elapsed() > Duration::from_millis(FREE_MS_MAX) {
                return Err(format!(
                    "PostgreSQL still lists a session of ours that locks `{}`",
                    table.name
                ));
            }
            std::thread::sleep(Duration::from_millis(LOOK_MS));
        }
        Ok(Undone::Restored)
    }
}
