//! # chaos/sql-role-login-revoked
//! A database role may no longer log in, while its open sessions stay.
//!
//! ## What it does
//! `ALTER ROLE … NOLOGIN` for the role of the client's credential. PostgreSQL asks for that right at login only: sessions
//! that are open go on. The probe logs in with the client's credential, and bites when that is refused with SQLSTATE
//! 28000.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the role.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. `LOGIN` is given back, unless the role was dropped, renamed or replaced since.
//! - Rights: `CREATEROLE`, or superuser.
//! - Targets: `postgresql`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-613 (insufficient session expiration).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever opens a new session.
//!
//! ## Why it matters
//! It is what an emergency revocation does first, and it doesn't reach who is in already: a stolen session outlives it.
//! The service itself notices only when its pool opens the next connection, which may be hours later.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-role-login-revoked"
//! target = "db"
//! client = "db-app"
//! ```
//!
//! ## What to do instead
//! Revoke and terminate sessions in one step; give pooled connections a greatest age; treat 28000 as "my credential is
//! gone", ask for a new one and say so, rather than retry for ever.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/sql-alterrole.html>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/613.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::postgresql::{LOGIN_LOST_KEYS, LoginLost, NO_LOGIN, RoleSetting, read_login_lost};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-role-login-revoked",
    undo_class: UndoClass::Journaled,
    rights: "CREATEROLE, or superuser",
    attack: &["T1531"],
    cwe: &["CWE-613"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new sessions; open ones go on",
    },
    targets: &[TargetKind::Postgresql],
    keys: LOGIN_LOST_KEYS,
    read,
};

const HOW: LoginLost = LoginLost {
    setting: RoleSetting {
        column: "rolcanlogin",
        after: "false",
        clause: |value| if value == "true" { "LOGIN" } else { "NOLOGIN" }.to_owned(),
    },
    code: NO_LOGIN,
    action: |client, target| format!("the role of `{client}` may no longer log in at `{target}`"),
    undo_action: "let it log in again",
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    read_login_lost(const { &ENTRY }, HOW, section)
}
