//! # chaos/redis-protection-off
//! A deploy leaves Redis open: everybody may do everything, without a password.
//!
//! ## What it does
//! `ACL SETUSER default on nopass ~* &* +@all`, as a default configuration is. The probe connects without a credential,
//! asks for one key, and bites when it is answered.
//!
//! - Parameters: `target`, with the credential of an administrator; `key`, any.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The default user is put back as it was, unless somebody has changed it since. A restart of
//!   the server, which reads its own list of users, ends it too.
//! - Rights: `+acl`, Redis 7 or newer.
//! - Targets: `redis`.
//! - ATT&CK: T1562.001 (impair defenses: disable or modify tools), T1078.001 (valid accounts: default accounts). CWE:
//!   CWE-306 (missing authentication for critical function), CWE-1188 (initialization with an insecure default).
//! - Expected effect: confidentiality lost; integrity lost; availability at the mercy of whoever connects.
//!
//! It refuses to begin where the default user has a password: opening it would destroy the hash, which has no place in a
//! journal. Nor does it begin where the default user has selectors.
//!
//! ## Why it matters
//! An open Redis is found by scanners within minutes, and is a shell on its host to whoever may use `CONFIG` and
//! `MODULE`. Services that have a password notice nothing.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-protection-off"
//! target = "cache"
//! key = "cart:1"
//! ```
//!
//! ## What to do instead
//! Turn the default user off in the ACL file, bind to the addresses that are needed, and connect without a credential
//! after each deploy: that it is refused is the test.
//!
//! ## References
//! - <https://redis.io/docs/latest/operate/oss_and_stack/management/security/>
//! - <https://attack.mitre.org/techniques/T1562/001/>
//! - <https://attack.mitre.org/techniques/T1078/001/>
//! - <https://cwe.mitre.org/data/definitions/306.html>
//! - <https://cwe.mitre.org/data/definitions/1188.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::redis::{Login, Session};
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-protection-off",
    undo_class: UndoClass::Journaled,
    rights: "+acl",
    attack: &["T1562.001", "T1078.001"],
    cwe: &["CWE-306", "CWE-1188"],
    effect: Effect {
        confidentiality: "lost",
        integrity: "lost",
        availability: "at the mercy of whoever connects",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "key", "hold_ms"],
    read,
};

/// Whom Redis takes those for who present nothing.
const DEFAULT_USER: &str = "default";
/// Anybody may do anything, as [`rules`] lists it.
const OPEN: [&str; 5] = ["on", "nopass", "+@all", "~*", "&*"];

#[derive(Debug)]
struct ProtectionOff {
    target: String,
    key: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let key = section.text("key");
    let strike = ProtectionOff {
        target: target?,
        key: key?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// The default user as rules that `ACL SETUSER` takes: whether it is on, needs a password, commands, keys, channels.
fn rules(session: &Session) -> Result<Value, String> {
    let user = session
        .user(DEFAULT_USER)?
        .ok_or_else(|| format!("there is no user `{DEFAULT_USER}`"))?;
    if user.passwords > 0 || user.selectors > 0 {
        return Ok(format!("with {} passwords and {} selectors", user.passwords, user.selectors).into());
    }
    let on = if user.is_on() { "on" } else { "off" };
    let nopass = user.flags.iter().any(|flag| flag == "nopass");
    let pass = if nopass { "nopass" } else { "resetpass" };
    Ok(vec![on.to_owned(), pass.to_owned(), user.commands, user.keys, user.channels].into())
}

fn set(session: &Session, rules: &[&str]) -> Result<(), String> {
    // One command, so that there is no moment in which anything else is so.
    let mut words = vec![
        "ACL",
        "SETUSER",
        DEFAULT_USER,
        "resetkeys",
        "resetchannels",
        "nocommands",
    ];
    let rules = rules.iter().flat_map(|rule| rule.split(' '));
    words.extend(rules.filter(|rule| !rule.is_empty() && *rule != "-@all"));
    session.ask(&words)?;
    Ok(())
}

impl Strike for ProtectionOff {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("key".to_owned(), self.key.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!("let everybody use `{}` without a password", self.target)
    }

    fn undo_action(&self) -> String {
        "put the default user back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let before = rules(&session)?;
        if let Some(said) = before.as_str() {
            return Err(format!(
                "the default user is one {said}, which could not be put back; turn it off instead"
            ));
        }
        Ok(Change::new(before, OPEN.to_vec())?.record([]))
    }

    fn inject(&self, _: &Permit, site: &Site, _: &Record) -> Result<(), String> {
        set(&Session::open(site.target(&self.target)?)?, &OPEN)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        let session = Session::login(&Login::anonymous(site.target(&self.target)?)?)?;
        match session.ask(&["EXISTS", &self.key]) {
            Ok(_) => Ok(true),
            Err(failure) if failure.has("NOAUTH") || failure.has("NOPERM") || failure.has("DENIED") => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let change = Change::of(record)?;
        let before = change.before.as_array().into_iter().flatten();
        let before: Vec<&str> = before.filter_map(Value::as_str).collect();
        change.undo(|| rules(&session), || set(&session, &before))
    }
}
