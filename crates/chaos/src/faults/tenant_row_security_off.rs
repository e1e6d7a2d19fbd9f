//! # chaos/tenant-row-security-off
//! Row level security is off, and one tenant reads another's rows.
//!
//! ## What it does
//! `ALTER TABLE … DISABLE ROW LEVEL SECURITY` on one table, whose policies stay. The probe logs in with the client's
//! credential, asks for rows of somebody else, and bites when it gets one.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of one tenant; `table`, `column` and `value`, which name rows of another tenant.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. Row level security is turned on again, unless somebody has done so, or the table was
//!   dropped, renamed or replaced since.
//! - Rights: owner of the table, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1562.001 (impair defenses: disable or modify tools). CWE: CWE-863 (incorrect
//!   authorization).
//! - Expected effect: confidentiality lost between tenants; integrity lost between tenants where the role may write;
//!   availability kept.
//!
//! ## Why it matters
//! A restore, a copy of a table or a migration that "turns it off for a moment" leaves it off. Every request goes on
//! being answered, with more rows than before.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "tenant-row-security-off"
//! target = "db"
//! client = "db-app"
//! table = "public.orders"
//! column = "tenant"
//! value = "other_shop"
//! ```
//!
//! ## What to do instead
//! Filter by tenant in the query too; plant a row of a tenant that nobody is, and alert when it is read; check
//! `pg_class.relrowsecurity` after each deploy.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/ddl-rowsecurity.html>
//! - <https://attack.mitre.org/techniques/T1562/001/>
//! - <https://cwe.mitre.org/data/definitions/863.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{ForeignRows, Session, Table};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "tenant-row-security-off",
    undo_class: UndoClass::Journaled,
    rights: "owner of the table, or superuser",
    attack: &["T1562.001"],
    cwe: &["CWE-863"],
    effect: Effect {
        confidentiality: "lost between tenants",
        integrity: "lost between tenants where the role may write",
        availability: "kept",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "table", "column", "value", "hold_ms"],
    read,
};

#[derive(Debug)]
struct RowSecurityOff {
    target: String,
    client: String,
    rows: ForeignRows,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let rows = ForeignRows::read(section);
    let strike = RowSecurityOff {
        target: target?,
        client: client?,
        rows: rows?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// `true` where the table's policies are asked.
fn state(session: &Session, table: &Table) -> Result<Value, String> {
    let sql = "SELECT relrowsecurity::text FROM pg_class WHERE oid::text = $1";
    Ok(session.value(sql, &[&table.oid])?.map_or(Value::Null, Value::from))
}

impl Strike for RowSecurityOff {
    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.rows.parameters();
        parameters.insert("target".to_owned(), self.target.clone().into());
        parameters.insert("client".to_owned(), self.client.clone().into());
        parameters
    }

    fn action(&self) -> String {
        format!(
            "turn row level security of table `{}` of `{}` off",
            self.rows.table, self.target
        )
    }

    fn undo_action(&self) -> String {
        "turn it on again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        self.rows.exist(&session)?;
        let table = Table::find(&session, &self.rows.table)?;
        let change = Change::new(state(&session, &table)?, "false")
            .map_err(|_| format!("table `{}` has no row level security to turn off", table.name))?;
        Ok(change.record(table.record()))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let table = Table::of(record)?.name;
        let session = Session::open(site.target(&self.target)?)?;
        Ok(session.run(&format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"))?)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.rows.are_seen(&Session::open(site.target(&self.client)?)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let table = Table::of(record)?;
        if let Some(foreign) = table.replaced(&session)? {
            return Ok(foreign);
        }
        let on = format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table.name);
        Change::of(record)?.undo(|| state(&session, &table), || Ok(session.run(&on)?))
    }
}
