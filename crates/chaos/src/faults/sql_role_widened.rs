//! # chaos/sql-role-widened
//! A deploy leaves a database role with more than it should have.
//!
//! ## What it does
//! `ALTER ROLE … BYPASSRLS` (or `SUPERUSER`) for the role of the client's credential, as a hurried migration does. The
//! probe logs in with that credential, asks one table for rows of somebody else, and bites when it gets one.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the role; `grant`, `bypass-rls` (default) or `superuser`; `table`, `column` and `value`, which name
//!   rows that the role must not see.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The attribute is taken away again, unless somebody has done so, or the role was dropped,
//!   renamed or replaced since.
//! - Rights: superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1098 (account manipulation). CWE: CWE-250 (execution with unnecessary privileges), CWE-269 (improper
//!   privilege management).
//! - Expected effect: confidentiality lost between tenants; integrity at risk, and lost with `superuser`; availability
//!   kept.
//!
//! ## Why it matters
//! Nothing breaks when a role may do too much, so no test and no user notices. Only whoever watches the catalog, or
//! compares what runs with what was released, can.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-role-widened"
//! target = "db"
//! client = "db-app"
//! table = "public.orders"
//! column = "tenant"
//! value = "other_shop"
//! ```
//!
//! ## What to do instead
//! Migrate with one role and serve with another; compare `pg_roles` with what was declared after each deploy; log DDL
//! (`log_statement = 'ddl'`) and alert on `ALTER ROLE`.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/ddl-rowsecurity.html>
//! - <https://attack.mitre.org/techniques/T1098/>
//! - <https://cwe.mitre.org/data/definitions/250.html>
//! - <https://cwe.mitre.org/data/definitions/269.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{ForeignRows, RoleSetting, Session};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-role-widened",
    undo_class: UndoClass::Journaled,
    rights: "superuser",
    attack: &["T1098"],
    cwe: &["CWE-250", "CWE-269"],
    effect: Effect {
        confidentiality: "lost between tenants",
        integrity: "at risk; lost with `superuser`",
        availability: "kept",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "grant", "table", "column", "value", "hold_ms"],
    read,
};

/// What the role gets.
#[derive(Debug, Clone, Copy)]
enum Grant {
    BypassRls,
    Superuser,
}

impl Grant {
    const ALL: [Grant; 2] = [Grant::BypassRls, Grant::Superuser];

    fn name(self) -> &'static str {
        match self {
            Grant::BypassRls => "bypass-rls",
            Grant::Superuser => "superuser",
        }
    }

    fn setting(self) -> RoleSetting {
        match self {
            Grant::BypassRls => RoleSetting {
                column: "rolbypassrls",
                after: "true",
                clause: |value| if value == "true" { "BYPASSRLS" } else { "NOBYPASSRLS" }.to_owned(),
            },
            Grant::Superuser => RoleSetting {
                column: "rolsuper",
                after: "true",
                clause: |value| if value == "true" { "SUPERUSER" } else { "NOSUPERUSER" }.to_owned(),
            },
        }
    }
}

#[derive(Debug)]
struct RoleWidened {
    target: String,
    client: String,
    grant: Grant,
    rows: ForeignRows,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let grant = if section.has("grant") {
        section.optional_choice("grant", &Grant::ALL, Grant::name)
    } else {
        Some(Grant::BypassRls)
    };
    let rows = ForeignRows::read(section);
    let strike = RoleWidened {
        target: target?,
        client: client?,
        grant: grant?,
        rows: rows?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

impl Strike for RoleWidened {
    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.rows.parameters();
        parameters.insert("target".to_owned(), self.target.clone().into());
        parameters.insert("client".to_owned(), self.client.clone().into());
        parameters.insert("grant".to_owned(), self.grant.name().into());
        parameters
    }

    fn action(&self) -> String {
        format!(
            "the role of `{}` gets `{}` at `{}`",
            self.client,
            self.grant.name(),
            self.target
        )
    }

    fn undo_action(&self) -> String {
        "take it away again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        self.rows.exist(&session)?;
        self.grant
            .setting()
            .survey(&session, site.target(&self.client)?.text("user")?)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        self.grant
            .setting()
            .apply(&Session::open(site.target(&self.target)?)?, record)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.rows.are_seen(&Session::open(site.target(&self.client)?)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        self.grant
            .setting()
            .take_back(&Session::open(site.target(&self.target)?)?, record)
    }
}
