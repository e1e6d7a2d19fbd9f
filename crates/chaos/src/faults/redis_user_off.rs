//! # chaos/redis-user-off
//! A Redis user is turned off, while its open connections stay.
//!
//! ## What it does
//! `ACL SETUSER … off` for the user of the client's credential. Redis asks for that at login only: connections that are
//! logged in go on. The probe logs in with the client's credential, and bites when that is refused with `WRONGPASS`.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the user.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The user is turned on again, unless somebody has done so or deleted it since: a user that
//!   is gone is not made again. Its password is not touched.
//! - Rights: `+acl`, Redis 7 or newer.
//! - Targets: `redis`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-613 (insufficient session expiration).
//! - Expected effect: confidentiality kept; integrity kept; availability is lost for whoever connects anew.
//!
//! ## Why it matters
//! The answer is the same as for a wrong password, and a stolen connection outlives the revocation: `off` without
//! `CLIENT KILL USER` is half of one.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-user-off"
//! target = "cache"
//! client = "cache-app"
//! ```
//!
//! ## What to do instead
//! Revoke with `off` and `CLIENT KILL USER` together; treat `WRONGPASS` as "my credential is gone" and ask for a new one.
//!
//! ## References
//! - <https://redis.io/docs/latest/commands/acl-setuser/>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/613.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::record::text;
use crate::redis::Session;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-user-off",
    undo_class: UndoClass::Journaled,
    rights: "+acl",
    attack: &["T1531"],
    cwe: &["CWE-613"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for new connections; open ones go on",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "client", "hold_ms"],
    read,
};

#[derive(Debug)]
struct UserOff {
    target: String,
    client: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let strike = UserOff {
        target: target?,
        client: client?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// `on` or `off`; null where there is no such user.
fn state(session: &Session, user: &str) -> Result<Value, String> {
    let user = session.user(user)?;
    Ok(user.map_or(Value::Null, |user| if user.is_on() { "on" } else { "off" }.into()))
}

impl Strike for UserOff {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!("turn the user of `{}` off at `{}`", self.client, self.target)
    }

    fn undo_action(&self) -> String {
        "turn it on again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let user = site.target(&self.client)?.text("user")?;
        let session = Session::open(site.target(&self.target)?)?;
        match state(&session, user)? {
            Value::Null => Err(format!("there is no user `{user}`")),
            before => Ok(Change::new(before, "off")?.record([("user", user.into())])),
        }
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let session = Session::open(site.target(&self.target)?)?;
        session.ask(&["ACL", "SETUSER", text(record, "user")?, "off"])?;
        Ok(())
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        match Session::open(site.target(&self.client)?) {
            Ok(_) => Ok(false),
            Err(failure) if failure.has("WRONGPASS") => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let user = text(record, "user")?;
        let read = || match state(&session, user)? {
            Value::Null => Ok(format!("deleted: `{user}`").into()),
            state => Ok(state),
        };
        Change::of(record)?.undo(read, || {
            session.ask(&["ACL", "SETUSER", user, "on"])?;
            Ok(())
        })
    }
}
