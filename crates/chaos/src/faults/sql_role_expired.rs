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

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::postgresql::{LOGIN_LOST_KEYS, LoginLost, RoleSetting, WRONG_PASSWORD, literal, read_login_lost};
use crate::read::Section;
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
    keys: LOGIN_LOST_KEYS,
    read,
};

const HOW: LoginLost = LoginLost {
    setting: RoleSetting {
        column: "coalesce(rolvaliduntil, 'infinity')",
        after: "2000-01-01 00:00:00+00",
        clause: |value| format!("VALID UNTIL {}", literal(value)),
    },
    code: WRONG_PASSWORD,
    action: |client, target| format!("the password of the role of `{client}` expires at `{target}`"),
    undo_action: "put its end back",
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    read_login_lost(const { &ENTRY }, HOW, section)
}
