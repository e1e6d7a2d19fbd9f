//! # chaos/sql-role-expired
//! The password of a database role has expired.
//!
//! ## What it does
//! `ALTER ROLE … VALID UNTIL` a time that is past, for the role of the client's credential. The probe logs in with that
//! credential, and bites when the password is refused (SQLSTATE 28P01). Open sessions stay, and so do logins that need
//! no password.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the role.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The time that was there is put back, unless somebody has set another, or the role was
//!   dropped, renamed or replaced since. Where there was none it becomes `infinity`, which means the same.
//! - Rights: `CREATEROLE`, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-324 (use of a key past its expiration date).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever opens a new session.
//!
//! ## Why it matters
//! Credentials with an end are what one wants, and their end comes on a night without a release. The server's answer is
//! the same as for a wrong password, so whoever reads the log looks for the wrong cause.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-role-expired"
//! target = "db"
//! client = "db-app"
//! ```
//!
//! ## What to do instead
//! Renew well before the end, and alert on the time that is left (`pg_roles.rolvaliduntil`), not on the refusal.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/sql-createrole.html>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/324.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::postgresql::{RoleSetting, Session, WRONG_PASSWORD, literal, login_refused};
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-role-expired",
    undo_class: UndoClass::Journaled,
    rights: "CREATEROLE, or superuser",
    attack: &["T1531"],
    cwe: &["CWE-324"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new sessions; open ones go on",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["target", "client", "hold_ms"],
    read,
};

const VALID_UNTIL: RoleSetting = RoleSetting {
    column: "coalesce(rolvaliduntil, 'infinity')",
    after: "2000-01-01 00:00:00+00",
    clause: |value| format!("VALID UNTIL {}", literal(value)),
};

#[derive(Debug)]
struct RoleExpired {
    target: String,
    client: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let strike = RoleExpired {
        target: target?,
        client: client?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

impl Strike for RoleExpired {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "the password of the role of `{}` expires at `{}`",
            self.client, self.target
        )
    }

    fn undo_action(&self) -> String {
        "put its end back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        VALID_UNTIL.survey(&session, site.target(&self.client)?.text("user")?)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        VALID_UNTIL.apply(&Session::open(site.target(&self.target)?)?, record)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        login_refused(site.target(&self.client)?, WRONG_PASSWORD)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        VALID_UNTIL.take_back(&Session::open(site.target(&self.target)?)?, record)
    }
}
