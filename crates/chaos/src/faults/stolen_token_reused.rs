//! # chaos/stolen-token-reused
//! A service's credential is used by somebody else, from elsewhere.
//!
//! ## What it does
//! A process of ours reads the client's credential from its file, as a thief would, presents it to the same service from
//! another address of this host, and stays in for as long as it is let. Nothing is read beyond what a login shows, and
//! nothing is changed.
//!
//! The probe asks the service for its sessions. It bites when one of that user from that address is among them: **true
//! means that the attack succeeds**, not only that it is made. Where the service refuses, the fault doesn't bite, which
//! is the answer one hopes for; the attempt is made again four times a second all the same, so that detectors have what
//! they look for.
//!
//! - Parameters: `target`, with the credential of an administrator, who may list sessions; `client`, a target of the
//!   same server with the credential that was stolen; `from`, an address of this host that nobody else uses, such as
//!   `127.0.0.66` for a server on loopback.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The session ends with the process, and nothing else is to be taken back.
//! - Rights: to read the client's `password_file`; `pg_read_all_stats`, or `+client|list`.
//! - Targets: `postgresql`, `redis`.
//! - ATT&CK: T1078 (valid accounts), T1550 (use alternate authentication material), T1552.001 (unsecured credentials:
//!   credentials in files). CWE: CWE-294 (authentication bypass by capture-replay), CWE-522 (insufficiently protected
//!   credentials).
//! - Expected effect: confidentiality and integrity lost as far as the role reaches; availability kept.
//!
//! ## Why it matters
//! A password that works from anywhere is worth stealing. That the service's own traffic goes on unharmed is why most
//! thefts are found by others.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "stolen-token-reused"
//! target = "db"
//! client = "db-app"
//! from = "127.0.0.66"
//! ```
//!
//! ## What to do instead
//! Bind credentials to where they are used (`pg_hba.conf` by address, client certificates), let them live for minutes,
//! and alert on a known user from an unknown address.
//!
//! ## References
//! - <https://www.postgresql.org/docs/current/auth-pg-hba-conf.html>
//! - <https://attack.mitre.org/techniques/T1078/>
//! - <https://attack.mitre.org/techniques/T1550/>
//! - <https://attack.mitre.org/techniques/T1552/001/>
//! - <https://cwe.mitre.org/data/definitions/294.html>
//! - <https://cwe.mitre.org/data/definitions/522.html>

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::intrusion::{Intrusion, read_address};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "stolen-token-reused",
    undo_class: UndoClass::ProcessBounded,
    rights: "to read the password file of the client, and to list sessions",
    attack: &["T1078", "T1550", "T1552.001"],
    cwe: &["CWE-294", "CWE-522"],
    effect: Effect {
        confidentiality: "lost as far as the role reaches",
        integrity: "lost as far as the role reaches",
        availability: "kept",
    },
    targets: &[TargetKind::Postgresql, TargetKind::Redis],
    keys: &["target", "client", "from", "hold_ms"],
    read,
};

#[derive(Debug)]
struct StolenTokenReused {
    target: String,
    client: String,
    from: IpAddr,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let client = section.text("client");
    let from = read_address(section, "from");
    let strike = StolenTokenReused {
        target: target?,
        client: client?,
        from: from?,
    };
    boxed(const { &ENTRY }, strike, read_hold(section))
}

impl Strike for StolenTokenReused {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("client".to_owned(), self.client.clone().into()),
            ("from".to_owned(), self.from.to_string().into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "use the credential of `{}` at `{}` from {}",
            self.client, self.target, self.from
        )
    }

    fn undo_action(&self) -> String {
        "close the session".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone(), self.client.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let intrusion = self.intrusion(site)?;
        let (here, there) = (intrusion.target.text("address")?, intrusion.client.text("address")?);
        if here != there {
            return Err(format!(
                "`{}` is at `{there}`, another server: `neighbour-reached` is for that",
                self.client
            ));
        }
        intrusion.client.text("user")?;
        if intrusion.is_inside()? {
            return Err(format!("somebody uses this credential from {} already", self.from));
        }
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        self.intrusion(site)?.hold(ready)
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.intrusion(site)?.is_inside()
    }

    fn undo(&self, site: &Site, _: &Record) -> Result<Undone, String> {
        self.intrusion(site)?.gone()
    }
}

impl StolenTokenReused {
    fn intrusion<'s>(&self, site: &'s Site) -> Result<Intrusion<'s>, String> {
        Ok(Intrusion {
            target: site.target(&self.target)?,
            client: site.target(&self.client)?,
            from: self.from,
        })
    }
}
