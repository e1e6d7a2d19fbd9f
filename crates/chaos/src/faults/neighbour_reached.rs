//! # chaos/neighbour-reached
//! The credential of one service opens another.
//!
//! ## What it does
//! A process of ours that holds one service's credential, as whoever took that service over does, presents it to a
//! neighbour, and stays in for as long as it is let. Nothing is read beyond what a login shows, and nothing is changed.
//!
//! The probe asks the neighbour for its sessions. It bites when one of that user from the process's address is among
//! them: **true means that the attack succeeds**, not only that it is made. Where the neighbour refuses, the fault
//! doesn't bite, which is the answer one hopes for; the attempt is made again four times a second all the same, so that
//! detectors have what they look for.
//!
//! - Parameters: `target`, the neighbour, with the credential of an administrator, who may list sessions; `client`, a
//!   target at another address, of any kind, with the credential that is tried; `from`, an address of this host that
//!   nobody else uses, such as `127.0.0.67` for a server on loopback.
//!   With `hold_ms` it is taken back after so many milliseconds, and recovery is measured from there.
//! - Undo class: `process-bounded`. The session ends with the process, and nothing else is to be taken back.
//! - Rights: to read the client's `password_file`; `pg_read_all_stats`, or `+client|list`.
//! - Targets: `postgresql`, `redis`.
//! - ATT&CK: T1021 (remote services), T1078 (valid accounts). CWE: CWE-1391 (use of weak credentials), CWE-923 (improper
//!   restriction of communication channel to intended endpoints).
//! - Expected effect: confidentiality and integrity of the neighbour lost as far as the role reaches; availability kept.
//!
//! ## Why it matters
//! One password for everything, and a network in which everybody reaches everybody, turn one hole into all of them.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "neighbour-reached"
//! target = "cache"
//! client = "db-app"
//! from = "127.0.0.67"
//! ```
//!
//! ## What to do instead
//! Give each service a credential of its own for each neighbour it needs, let the network refuse the rest, and alert on
//! a first connection between two services.
//!
//! ## References
//! - <https://csrc.nist.gov/pubs/sp/800/207/final>
//! - <https://attack.mitre.org/techniques/T1021/>
//! - <https://attack.mitre.org/techniques/T1078/>
//! - <https://cwe.mitre.org/data/definitions/1391.html>
//! - <https://cwe.mitre.org/data/definitions/923.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::intrusion::{PRESENTED_KEYS, Server, read_presented};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "neighbour-reached",
    undo_class: UndoClass::ProcessBounded,
    rights: "to read the password file of the client, and to list sessions",
    attack: &["T1021", "T1078"],
    cwe: &["CWE-1391", "CWE-923"],
    effect: Effect {
        confidentiality: "lost as far as the role reaches in the neighbour",
        integrity: "lost as far as the role reaches in the neighbour",
        availability: "kept",
    },
    targets: &[TargetKind::Postgresql, TargetKind::Redis],
    keys: PRESENTED_KEYS,
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    read_presented(const { &ENTRY }, Server::Another, section)
}
