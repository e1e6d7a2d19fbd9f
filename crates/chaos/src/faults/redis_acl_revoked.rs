//! # chaos/redis-acl-revoked
//! A Redis user loses the permission for one command.
//!
//! ## What it does
//! `ACL SETUSER … -command` for the user of the client's credential. Redis asks at each command, so open connections are
//! refused from the next one on. The probe logs in with the client's credential, queues the command on one key in a
//! transaction that is given up, and bites when that is refused with `NOPERM`.
//!
//! - Parameters: `target`, with the credential of an administrator; `client`, a target of the same server with the
//!   credential of the user, who may use `MULTI` and `DISCARD`; `command`, in small letters, without a subcommand;
//!   `key`, one that the user may use it on.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `journaled`. The user's rules for commands are put back as they were, unless somebody has changed them
//!   or deleted the user since. A restart of the server, which reads its own list of users, ends it too.
//! - Rights: `+acl`, Redis 7 or newer.
//! - Targets: `redis`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-280 (improper handling of insufficient permissions).
//! - Expected effect: confidentiality kept; integrity at risk where a service does one half of its work; availability of
//!   what needs the command is lost.
//!
//! ## Why it matters
//! Caches, sessions and rate limits lie in Redis. A service that takes "not permitted" for "not found" logs people out,
//! or lets everybody through.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "redis-acl-revoked"
//! target = "cache"
//! client = "cache-app"
//! command = "get"
//! key = "cart:1"
//! ```
//!
//! ## What to do instead
//! Tell `NOPERM` apart from a miss, log the command, and decide for each use whether it fails open or closed.
//!
//! ## References
//! - <https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/>
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/280.html>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::compare::Change;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::record::text;
use crate::redis::{Reply, Session};
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "redis-acl-revoked",
    undo_class: UndoClass::Journaled,
    rights: "+acl",
    attack: &["T1531"],
    cwe: &["CWE-280"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk where a service does one half of its work",
        availability: "lost for what needs the command",
    },
    targets: &[TargetKind::Redis],
    keys: &["target", "client", "command", "key", "hold_ms"],
    read,
};

/// No command needs more words.
const WORDS_MAX: u64 = 16;

#[derive(Debug)]
struct AclRevoked {
    target: String,
    client: String,
    command: String,
    key: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let command = section.text("command");
    let key = section.text("key");
    let command = command.filter(|command| {
        let plain = command
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_');
        if !plain || command.is_empty() {
            let message = format!("`{command}` is not a command in small letters");
            section.problem("command", "chaos/bad-command", message, "write it as `get`");
        }
        plain && !command.is_empty()
    });
    let strike = AclRevoked {
        target: target?,
        client: client?,
        command: command?,
        key: key?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

/// The rules of a user for every other command, in order, and whether it may use this one: Redis before 7.2 writes a
/// user's rules anew from what they amount to, so that their text can't be predicted. Null where there is no such user.
fn state(session: &Session, user: &str, command: &[&str]) -> Result<Value, String> {
    let Some(found) = session.user(user)? else {
        return Ok(Value::Null);
    };
    let said = session.ask(&[&["ACL", "DRYRUN", user], command].concat())?;
    // A key that it may not use is another matter.
    let denied = said.text().is_some_and(|said| said.contains("no permissions to run"));
    let mut rules = others(&found.commands, command[0]);
    rules.push(format!("{}{}", if denied { '-' } else { '+' }, command[0]));
    Ok(rules.into())
}

/// The rules that are not about a command, in order.
fn others(rules: &str, command: &str) -> Vec<String> {
    let subcommands = format!("{command}|");
    let is_other = |rule: &&str| {
        let name = rule.get(1..).unwrap_or_default();
        name != command && !name.starts_with(&subcommands)
    };
    let mut others: Vec<String> = rules.split(' ').filter(is_other).map(str::to_owned).collect();
    others.sort_unstable();
    others
}

fn set_rules(session: &Session, user: &str, rules: &str) -> Result<(), String> {
    let mut words = vec!["ACL", "SETUSER", user, "nocommands"];
    words.extend(rules.split(' ').filter(|rule| *rule != "-@all"));
    session.ask(&words)?;
    Ok(())
}

impl Strike for AclRevoked {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("command".to_owned(), self.command.clone().into()),
            ("key".to_owned(), self.key.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "the user of `{}` may no longer use `{}` at `{}`",
            self.client, self.command, self.target
        )
    }

    fn undo_action(&self) -> String {
        "put its rules back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let name = site.target(&self.client)?.text("user")?;
        let session = Session::open(site.target(&self.target)?)?;
        let user = session
            .user(name)?
            .ok_or_else(|| format!("there is no user `{name}`"))?;
        if user.selectors > 0 {
            return Err(format!(
                "user `{name}` has selectors, which may give it the command all the same"
            ));
        }
        let info = session.ask(&["COMMAND", "INFO", &self.command])?;
        let Some([_, Reply::Number(arity), ..]) = info.list().first().map(Reply::list) else {
            return Err(format!("Redis knows no command `{}`", self.command));
        };
        let words = arity.unsigned_abs();
        let before = state(&session, name, &self.words(words))?;
        let mut after = others(&user.commands, &self.command);
        after.push(format!("-{}", self.command));
        let change = Change::new(before, after)?;
        Ok(change.record([
            ("user", name.into()),
            ("rules", user.commands.into()),
            ("words", words.into()),
        ]))
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let session = Session::open(site.target(&self.target)?)?;
        let user = text(record, "user")?;
        session.ask(&["ACL", "SETUSER", user, &format!("-{}", self.command)])?;
        // What has become of the user has to be what the undo will look for.
        if state(&session, user, &self.recorded_words(record))? == Change::of(record)?.after {
            return Ok(());
        }
        set_rules(&session, user, text(record, "rules")?)?;
        Err("Redis gives the user other rules than expected; they are as before again".to_owned())
    }

    fn bites(&self, site: &Site, record: &Record) -> Result<bool, String> {
        let session = Session::open(site.target(&self.client)?)?;
        match session.attempt(&self.recorded_words(record)) {
            Ok(()) => Ok(false),
            Err(failure) if failure.has("NOPERM") => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let session = Session::open(site.target(&self.target)?)?;
        let user = text(record, "user")?;
        let rules = text(record, "rules")?;
        Change::of(record)?.undo(
            || state(&session, user, &self.recorded_words(record)),
            || set_rules(&session, user, rules),
        )
    }
}

impl AclRevoked {
    /// The command with the key as each of its arguments: as many words as it needs.
    fn words(&self, words: u64) -> Vec<&str> {
        let mut command = vec![self.command.as_str()];
        command.extend((1..words.min(WORDS_MAX)).map(|_| self.key.as_str()));
        command
    }

    fn recorded_words(&self, record: &Record) -> Vec<&str> {
        self.words(record.get("words").and_then(Value::as_u64).unwrap_or(2))
    }
}

#[cfg(test)]
mod tests {
    use super::others;

    #[test]
    fn rules_for_a_command_are_told_apart() {
        assert_eq!(
            others("-@all +get +getex -get|x +@read", "get"),
            ["+@read", "+getex", "-@all"]
        );
    }
}
