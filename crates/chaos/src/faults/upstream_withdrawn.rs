//! # chaos/upstream-withdrawn
//! A run-time dependency is withdrawn.
//!
//! ## What it does
//! Puts a server of a HAProxy backend into maintenance through the admin socket, as an operator does, so that no
//! request reaches it. The socket is the one that `config` of the target declares. The probe asks HAProxy for the
//! server's state, and the service for `path`: with no other server in the backend it answers 503.
//!
//! - Undo class: `journaled`. The server is made ready again, unless somebody else has drained it, or made it ready,
//!   since.
//! - Rights: access to the admin socket.
//! - Targets: `http`.
//! - ATT&CK: T1489 (service stop). CWE: CWE-636 (not failing securely).
//! - Expected effect: confidentiality kept, unless the service fails open; integrity kept, unless the service fails
//!   open; availability lost for what depends on it.
//!
//! ## Why it matters
//! What a service does without its dependency is decided in code that hardly ever runs: an authorisation service that
//! is gone must not mean yes.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "upstream-withdrawn"
//! target = "balancer"
//! backend = "app"
//! server = "s1"
//! ```
//!
//! ## What to do instead
//! Decide for each dependency what its absence means, and fail closed where it protects something; run with it
//! withdrawn in each release.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1489/>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://docs.haproxy.org/2.6/management.html#9.3>

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::haproxy::{FORCED_DRAIN, FORCED_MAINTENANCE, Said, admin_state, is_name, order, socket};
use crate::permit::Permit;
use crate::read::Section;
use crate::record;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "upstream-withdrawn",
    undo_class: UndoClass::Journaled,
    rights: "access to the admin socket",
    attack: &["T1489"],
    cwe: &["CWE-636"],
    effect: Effect {
        confidentiality: "kept, unless the service fails open",
        integrity: "kept, unless the service fails open",
        availability: "lost for what depends on it",
    },
    targets: &[TargetKind::Http],
    keys: &["target", "backend", "server"],
    read,
};

#[derive(Debug)]
struct UpstreamWithdrawn {
    target: String,
    backend: String,
    server: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let name = |key: &str| {
        let name = section.text(key)?;
        if !is_name(&name) {
            let message = format!("`{name}` is no name that HAProxy knows");
            section.problem(key, "chaos/bad-name", message, "write it as in its configuration");
            return None;
        }
        Some(name)
    };
    let (backend, server) = (name("backend"), name("server"));
    let strike = UpstreamWithdrawn {
        target: target?,
        backend: backend?,
        server: server?,
    };
    boxed(const { &ENTRY }, strike, None)
}

/// Under this key a record has the path of the admin socket.
const SOCKET_KEY: &str = "admin_socket";

impl UpstreamWithdrawn {
    fn state(&self, record: &Record) -> Result<Option<u32>, String> {
        admin_state(&socket_of(record)?, &self.backend, &self.server)
    }

    fn set(&self, record: &Record, state: &str) -> Result<(), String> {
        let words = format!("set server {}/{} state {state}", self.backend, self.server);
        match order(&socket_of(record)?, &words)? {
            Said::Answer(answer) if answer.is_empty() => Ok(()),
            Said::Answer(answer) => Err(format!("HAProxy refused: {answer}")),
            Said::Gone => Err("HAProxy is gone".to_owned()),
        }
    }
}

fn socket_of(record: &Record) -> Result<PathBuf, String> {
    record::text(record, SOCKET_KEY).map(PathBuf::from)
}

impl Strike for UpstreamWithdrawn {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("backend".to_owned(), self.backend.clone().into()),
            ("server".to_owned(), self.server.clone().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "put server `{}/{}` of `{}` into maintenance",
            self.backend, self.server, self.target
        )
    }

    fn undo_action(&self) -> String {
        "make it ready again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let socket = socket(site.target(&self.target)?)?;
        match admin_state(&socket, &self.backend, &self.server)? {
            Some(0) => Ok(Record::from([(
                SOCKET_KEY.to_owned(),
                socket.display().to_string().into(),
            )])),
            Some(_) => Err(format!(
                "server `{}/{}` is not ready as it is",
                self.backend, self.server
            )),
            None => Err(format!("nobody is at `{}`", socket.display())),
        }
    }

    fn inject(&self, _: &Permit, _: &Site, record: &Record) -> Result<(), String> {
        self.set(record, "maint")
    }

    fn bites(&self, _: &Site, record: &Record) -> Result<bool, String> {
        Ok(self.state(record)?.is_some_and(|state| state & FORCED_MAINTENANCE != 0))
    }

    fn undo(&self, _: &Site, record: &Record) -> Result<Undone, String> {
        match self.state(record)? {
            Some(state) if state & FORCED_DRAIN != 0 => Ok(Undone::Foreign("somebody else drains it now".to_owned())),
            Some(state) if state & FORCED_MAINTENANCE != 0 => {
                self.set(record, "ready")?;
                match self.state(record)? {
                    Some(state) if state & FORCED_MAINTENANCE != 0 => Err("it is in maintenance still".to_owned()),
                    _ => Ok(Undone::Restored),
                }
            }
            // The state lived in the process that is gone, or somebody has made it ready.
            Some(_) | None => Ok(Undone::Restored),
        }
    }
}
