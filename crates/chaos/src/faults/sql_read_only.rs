//! # chaos/sql-read-only
//! A database takes no writes any more.
//!
//! ## What it does
//! `ALTER DATABASE … SET default_transaction_read_only = on`, as an operator does before a switch-over, or a provider
//! when a disk is nearly full. New sessions read and can't write; open ones go on. The probe opens a session with the
//! client's credential, deletes no row of one table (`WHERE false`), and bites when that is refused with SQLSTATE 25006.
//!
//! - Parameters: `target`, with the credential of an administrator and the `database`; `client`, a target of the same
//!   database with a service's credential; `table`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The setting that was there is put back, or taken away where there was none, unless
//!   somebody has changed it since.
//! - Rights: owner of the database, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1499.004 (endpoint denial of service: application or system exploitation). CWE: CWE-636 (not failing
//!   securely).
//! - Expected effect: confidentiality kept; integrity at risk where a write is believed to have happened; availability
//!   of writes is lost.
//!
//! ## Why it matters
//! A check that only records (an audit line, a used token, a rate limit) fails silently when its write does. What then
//! goes on without it fails open.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-read-only"
//! target = "db"
//! client = "db-app"
//! table = "public.orders"
//! ```
//!
//! ## What to do instead
//! Let security decisions fail when they can't be recorded; answer reads, refuse writes with 503, and say which.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/runtime-config-client.html>
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/636.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{NO_PRIVILEGE, READ_ONLY, Session, Table, identifier, literal};
use crate::read::Section;
use crate::record::text;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-read-only",
    undo_class: UndoClass::Journaled,
    rights: "owner of the database, or superuser",
    attack: &["T1499.004"],
    cwe: &["CWE-636"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a write is believed to have happened",
        availability: "lost for writes of new sessions",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "table", "hold_ms"],
    read,
};

const SETTING: &str = "default_transaction_read_only";

#[derive(Debug)]
struct ReadOnly {
    target: String,
    client: String,
    table: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let table = section.text("table");
    let strike = ReadOnly {
        target: target?,
        client: client?,
        table: table?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// Lets our own session write, which the setting is meant for too.
const WRITABLE: &str = "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE";

/// A database, named by its object id, and what it sets for every role; null where it sets nothing.
fn setting(session: &Session, database: &str) -> Result<Value, String> {
    let sql = format!(
        "SELECT substr(line, {}) FROM pg_db_role_setting, unnest(setconfig) AS line \
         WHERE setdatabase::text = $1 AND setrole = 0 AND starts_with(line, '{SETTING}=')",
        SETTING.len() + 2
    );
    Ok(session.value(&sql, &[database])?.map_or(Value::Null, Value::from))
}

impl Strike for ReadOnly {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("table".to_owned(), self.table.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!("the database of `{}` takes no writes of new sessions", self.target)
    }

    fn undo_action(&self) -> String {
        format!("put `{SETTING}` back")
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let rows = session.rows(
            "SELECT datname::text, oid::text FROM pg_database WHERE datname = current_database()",
            &[],
        )?;
        let Some([Some(name), Some(oid)]) = rows.first().map(Vec::as_slice) else {
            return Err("the database has no name".to_owned());
        };
        let table = Table::find(&session, &self.table)?;
        let change = Change::new(setting(&session, oid)?, "on")?;
        let [table, table_oid] = table.record();
        let (name, oid) = (name.as_str().into(), oid.as_str().into());
        Ok(change.record([table, table_oid, ("database", name), ("database_oid", oid)]))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let database = identifier(text(record, "database")?);
        let session = Session::open(site.target(&self.target)?)?;
        session.run(WRITABLE)?;
        Ok(session.run(&format!("ALTER DATABASE {database} SET {SETTING} = 'on'"))?)
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let session = Session::open(site.target(&self.client)?)?;
        match session.run(&format!("DELETE FROM {} WHERE false", Table::of(record)?.name)) {
            Ok(()) => Ok(false),
            Err(failure) if failure.has(READ_ONLY) => Ok(true),
            // Whether writes are taken at all is asked before whether this role may write.
            Err(failure) if failure.has(NO_PRIVILEGE) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let (database, oid) = (text(record, "database")?, text(record, "database_oid")?);
        let sql = "SELECT datname::text FROM pg_database WHERE oid::text = $1";
        if session.value(sql, &[oid])?.as_deref() != Some(database) {
            return Ok(Undone::Foreign(format!("database `{database}` was dropped or renamed")));
        }
        let change = Change::of(record)?;
        let put = match change.before.as_str() {
            Some(before) => format!("SET {SETTING} = {}", literal(before)),
            None => format!("RESET {SETTING}"),
        };
        let put = format!("ALTER DATABASE {} {put}", identifier(database));
        change.undo(
            || setting(&session, oid),
            || {
                session.run(WRITABLE)?;
                Ok(session.run(&put)?)
            },
        )
    }
}
