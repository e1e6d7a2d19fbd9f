//! # chaos/connection-killed
//! Every connection to an address is cut, again and again.
//!
//! ## What it does
//! Has the kernel end each established TCP connection from or to `address` of the target that this host is an end of:
//! the server's end where it is here, else the clients'. Both ends see a broken connection. New ones come up, and are cut
//! within some milliseconds too, for as long as it holds: `hold_ms`, or the run. The probe connects, and waits for the
//! cut.
//!
//! - Undo class: `process-bounded`. A process of its own cuts them, and nothing is left when it ends: clients connect
//!   again.
//! - Rights: root or CAP_NET_ADMIN, and a kernel with `CONFIG_INET_DIAG_DESTROY` (`proofmark chaos doctor` tries it).
//! - Targets: `network`.
//! - ATT&CK: T1499.004 (application or system exploitation). CWE: CWE-755 (improper handling of exceptional
//!   conditions), CWE-636 (not failing securely).
//! - Expected effect: confidentiality kept, unless the system fails open; integrity at risk where a request was under
//!   way; availability lost for what depends on the address, until it connects again.
//!
//! ## Why it matters
//! A firewall that forgets its table, a balancer that restarts: connections end in the middle of a request that may or
//! may not have been carried out. Pools keep handing out what is dead, and a client that asks again does it twice.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "connection-killed"
//! target = "ledger-link"
//! hold_ms = 500
//! ```
//!
//! ## What to do instead
//! Try a connection of a pool before it is used; make requests that may be sent twice idempotent, by a key of their
//! own; where the kernel can't end connections, `link-reset` does the same on a link, and `network-reject` by rules.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/004/>
//! - <https://cwe.mitre.org/data/definitions/755.html>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://man7.org/linux/man-pages/man7/sock_diag.7.html>

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::connections_linux::{Connection, destroy, established, is_cut, trial};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::network_linux::{Peer, within};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed, read_hold};
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "connection-killed",
    undo_class: UndoClass::ProcessBounded,
    rights: "root or CAP_NET_ADMIN, and a kernel with `CONFIG_INET_DIAG_DESTROY`",
    attack: &["T1499.004"],
    cwe: &["CWE-755", "CWE-636"],
    effect: Effect {
        confidentiality: "kept, unless the system fails open",
        integrity: "at risk where a request was under way",
        availability: "lost for what depends on the address, until it connects again",
    },
    targets: &[TargetKind::Network],
    keys: &["target", "hold_ms"],
    read,
};

/// A connection lives so long at most, in milliseconds.
const LOOK_MS: u64 = 5;
/// One that is still there after so many milliseconds is not cut.
const CUT_MS_MAX: u64 = 300;
const CONNECT_MS_MAX: u64 = 400;
/// A holder that is gone cuts nothing more within so many milliseconds.
const END_MS_MAX: u64 = 1_500;

#[derive(Debug)]
struct ConnectionKilled {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    boxed(
        const { &ENTRY },
        ConnectionKilled { target: target? },
        read_hold(section),
    )
}

impl ConnectionKilled {
    fn address(&self, site: &Site) -> Result<SocketAddr, String> {
        Peer::parse(site.target(&self.target)?.text("address")?)?.with_port()
    }

    /// Whether a new connection is cut. One that can't be made can't be either.
    fn cuts(&self, site: &Site) -> Result<bool, String> {
        let address = self.address(site)?;
        within(site.target(&self.target)?, || {
            match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS_MAX)) {
                Ok(stream) => is_cut(stream, Duration::from_millis(CUT_MS_MAX)),
                Err(_) => Ok(false),
            }
        })
    }
}

/// The ends to destroy: one of each connection, the server's where there is a choice.
fn victims(ends: Vec<Connection>, address: SocketAddr) -> impl Iterator<Item = Connection> {
    let here: Vec<SocketAddr> = ends
        .iter()
        .filter(|end| end.local == address)
        .map(|end| end.peer)
        .collect();
    ends.into_iter()
        .filter(move |end| end.local == address || (end.peer == address && !here.contains(&end.local)))
}

impl Strike for ConnectionKilled {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!("cut every connection to the address of `{}`, new ones too", self.target)
    }

    fn undo_action(&self) -> String {
        "cut no more; clients connect again".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        self.address(site)?;
        within(site.target(&self.target)?, trial)
            .map_err(|reason| format!("connections can't be cut here: {reason}"))?;
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("it is held by a process".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let address = self.address(site)?;
        let target = site.target(&self.target)?;
        // The thread that enters the namespace stays in it for good, and tells the other one after the first round.
        let (told, first) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let cutting = scope.spawn(|| {
                within(target, || -> Result<(), String> {
                    loop {
                        for connection in victims(established(address.port())?, address) {
                            destroy(&connection)?;
                        }
                        let _ = told.send(());
                        std::thread::sleep(Duration::from_millis(LOOK_MS));
                    }
                })
            });
            if first.recv().is_ok() {
                ready();
            }
            cutting.join().unwrap_or_else(|_| Err("it broke".to_owned()))
        })
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        self.cuts(site)
    }

    fn undo(&self, site: &Site, _: &Record) -> Result<Undone, String> {
        let begun = Instant::now();
        while self.cuts(site)? {
            if begun.elapsed() > Duration::from_millis(END_MS_MAX) {
                return Ok(Undone::Foreign(
                    "ours has ended, and somebody else cuts them".to_owned(),
                ));
            }
        }
        Ok(Undone::Restored)
    }
}
