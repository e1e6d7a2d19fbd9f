//! # chaos/sql-privileges-revoked
//! A database role loses its privileges on a table while its sessions are open.
//!
//! ## What it does
//! `REVOKE` of every privilege that the role of the client's credential has on one table. PostgreSQL asks at each
//! statement, so open sessions are refused from the next one on. The probe logs in with the client's credential and
//! reads no row of the table (`LIMIT 0`): it bites when that is refused with SQLSTATE 42501.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the role; `table`, as `schema.table`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The same privileges are granted again, unless somebody has granted others, or the table
//!   was dropped, renamed or replaced since.
//! - Rights: owner of the table, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-280 (improper handling of insufficient permissions).
//! - Expected effect: confidentiality kept; integrity at risk where a service does one half of its work; availability
//!   of what needs the table is lost.
//!
//! It refuses to begin where revoking would change nothing (the role has them through another role, or everybody has
//! them), and where it could not be taken back: privileges on single columns, or ones that the role has passed on.
//!
//! ## Why it matters
//! Least privilege is tightened on live systems. A service that was never refused anything tends to answer 500 to
//! everything, or to go on with the half that still works.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-privileges-revoked"
//! target = "db"
//! client = "db-app"
//! table = "public.orders"
//! ```
//!
//! ## What to do instead
//! Do in one transaction what belongs together; tell 42501 apart from other failures, log the table, refuse that one
//! feature and keep the rest up.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/sql-revoke.html>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/280.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{NO_PRIVILEGE, Role, Session, Table, identifier};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-privileges-revoked",
    undo_class: UndoClass::Journaled,
    rights: "owner of the table, or superuser",
    attack: &["T1531"],
    cwe: &["CWE-280"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a service does one half of its work",
        availability: "lost for what needs the table",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "table", "hold_ms"],
    read,
};

#[derive(Debug)]
struct PrivilegesRevoked {
    target: String,
    client: String,
    table: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let table = section.text("table");
    let strike = PrivilegesRevoked {
        target: target?,
        client: client?,
        table: table?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// The role's own privileges on the table: `SELECT`, and `SELECT*` where it may pass it on, in order.
fn privileges(session: &Session, table: &Table, role: &Role) -> Result<Vec<String>, String> {
    let sql = "SELECT privilege_type || CASE WHEN is_grantable THEN '*' ELSE '' END \
               FROM pg_class, aclexplode(relacl) WHERE pg_class.oid::text = $1 \
               AND grantee::text = $2 ORDER BY 1";
    let rows = session.rows(sql, &[&table.oid, &role.oid])?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

impl PrivilegesRevoked {
    fn grant(session: &Session, table: &Table, role: &Role, privileges: &Value) -> Result<(), String> {
        let mut statements = String::new();
        for privilege in privileges.as_array().into_iter().flatten().filter_map(Value::as_str) {
            let (word, passes) = match privilege.strip_suffix('*') {
                Some(word) => (word, " WITH GRANT OPTION"),
                None => (privilege, ""),
            };
            // The words come from a journal that others may have written.
            if !word.bytes().all(|byte| byte.is_ascii_uppercase()) {
                return Err(format!("the record has a privilege `{word}`, which is none"));
            }
            statements.push_str(&format!(
                "GRANT {word} ON TABLE {} TO {}{passes};",
                table.name,
                identifier(&role.name)
            ));
        }
        // One batch is one transaction.
        Ok(session.run(&statements)?)
    }
}

impl Strike for PrivilegesRevoked {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("table".to_owned(), self.table.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "revoke what the role of `{}` may do with table `{}` of `{}`",
            self.client, self.table, self.target
        )
    }

    fn undo_action(&self) -> String {
        "grant the same again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let role = Role::find(&session, site.target(&self.client)?.text("user")?)?;
        let table = Table::find(&session, &self.table)?;
        let columns = "SELECT 1::text FROM pg_attribute, aclexplode(attacl) \
                       WHERE attrelid::text = $1 AND grantee::text = $2";
        if session.value(columns, &[&table.oid, &role.oid])?.is_some() {
            return Err(format!(
                "role `{}` has privileges on single columns of `{}`, which `REVOKE` would take too",
                role.name, table.name
            ));
        }
        let others = "SELECT string_agg(DISTINCT CASE grantee WHEN 0 THEN 'everybody' \
                      ELSE pg_get_userbyid(grantee)::text END, ', ') \
                      FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner))) \
                      WHERE pg_class.oid::text = $1 AND privilege_type = 'SELECT' AND grantee::text <> $2 \
                      AND (grantee = 0 OR pg_has_role($2::text::oid, grantee, 'USAGE'))";
        if let Some(others) = session.value(others, &[&table.oid, &role.oid])? {
            return Err(format!(
                "revoking would change nothing: role `{}` may read `{}` through {others}",
                role.name, table.name
            ));
        }
        let before = privileges(&session, &table, &role)?;
        if !before.iter().any(|privilege| privilege.starts_with("SELECT")) {
            return Err(format!(
                "role `{}` may not read `{}` to begin with",
                role.name, table.name
            ));
        }
        let ([table, table_oid], [role, role_oid]) = (table.record(), role.record());
        Ok(Change::new(before, Vec::<String>::new())?.record([table, table_oid, role, role_oid]))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let session = Session::open(site.target(&self.target)?)?;
        let role = identifier(&Role::of(record)?.name);
        let table = Table::of(record)?.name;
        Ok(session.run(&format!("REVOKE ALL ON TABLE {table} FROM {role}"))?)
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let session = Session::open(site.target(&self.client)?)?;
        match session.run(&format!("SELECT FROM {} LIMIT 0", Table::of(record)?.name)) {
            Ok(()) => Ok(false),
            Err(failure) if failure.has(NO_PRIVILEGE) => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let (table, role) = (Table::of(record)?, Role::of(record)?);
        if let Some(foreign) = table.replaced(&session)?.or(role.replaced(&session)?) {
            return Ok(foreign);
        }
        let change = Change::of(record)?;
        change.undo(
            || Ok(privileges(&session, &table, &role)?.into()),
            || Self::grant(&session, &table, &role, &change.before),
        )
    }
}
