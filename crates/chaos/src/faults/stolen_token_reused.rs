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

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::intrusion::{PRESENTED_KEYS, Server, read_presented};
use crate::read::Section;
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
    keys: PRESENTED_KEYS,
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    read_presented(const { &ENTRY }, Server::ItsOwn, section)
}
