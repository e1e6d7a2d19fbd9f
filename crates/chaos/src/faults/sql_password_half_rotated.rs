//! # chaos/sql-password-half-rotated
//! A password was rotated in the secret store, and the database has never heard of it.
//!
//! ## What it does
//! Replaces the client's `password_file` by one with a password that the server doesn't know, as a rotation does that
//! fails between its two halves. The server is not touched. The probe logs in with what stands in the file, and bites
//! when the password is refused (SQLSTATE 28P01).
//!
//! - Parameters: `client`, a target with a `password_file`.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The original file, which lies beside it as `.proofmark-kept-…` meanwhile, is put back
//!   with its owner and mode, unless somebody has written another since. Nothing of the secret is in the journal.
//! - Rights: owner of the folder that holds the file.
//! - Targets: `postgresql`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-324 (use of a key past its expiration date), CWE-755 (improper
//!   handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever reads the file again.
//!
//! ## Why it matters
//! Rotation is two writes to two systems. Whoever reads the secret between them is locked out, and one that reads it
//! only at start finds out in the middle of the next deploy.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "sql-password-half-rotated"
//! client = "db-app"
//! ```
//!
//! ## What to do instead
//! Rotate with two roles, the new one working before the old one ends; try the new secret before it is published; keep
//! the last one that worked, and say so.
//!
//! ## References
//! - <https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/324.html>
//! - <https://cwe.mitre.org/data/definitions/755.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::Location;
use crate::permit::Permit;
use crate::postgresql::{WRONG_PASSWORD, login_refused};
use crate::read::Section;
use crate::replaced::Replacement;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "sql-password-half-rotated",
    undo_class: UndoClass::Journaled,
    rights: "owner of the folder that holds the password file",
    attack: &["T1531"],
    cwe: &["CWE-324", "CWE-755"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for whoever reads the file again",
    },
    targets: &[TargetKind::Postgresql],
    keys: &["client", "hold_ms"],
    read,
};

/// What a server that was not told of it has no role for. It opens nothing, so it is no secret.
const UNKNOWN_PASSWORD: &[u8] = b"proofmark-half-rotated\n";

#[derive(Debug)]
struct HalfRotated {
    client: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let client = section.text("client");
    boxed(const { &ENTRY }, HalfRotated { client: client? }, read_hold(section))
}

impl Strike for HalfRotated {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("client".to_owned(), self.client.clone().into())])
    }

    fn action(&self) -> String {
        format!(
            "replace the password of `{}` by one that its server does not know",
            self.client
        )
    }

    fn undo_action(&self) -> String {
        "put the password file back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let client = site.target(&self.client)?;
        let file = Location::declared(client, "password_file")?;
        Ok(Replacement::unread(client, &file, UNKNOWN_PASSWORD)?.record())
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        Replacement::of(record)?.apply(site.target(&self.client)?, |_| Ok(UNKNOWN_PASSWORD.to_vec()))
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        login_refused(site.target(&self.client)?, WRONG_PASSWORD)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        Replacement::of(record)?.take_back(site.target(&self.client)?)
    }
}
