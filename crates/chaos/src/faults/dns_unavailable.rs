//! # chaos/dns-unavailable
//! A name server doesn't answer.
//!
//! ## What it does
//! Drops every packet to port 53 of `address` of the target (or to the port that it names), by packet rules of the
//! kernel. The probe reads the rules back and asks for a name: nothing comes back.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1498 (network denial of service). CWE: CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept, unless the system falls back to another server; integrity kept, unless the
//!   system falls back to another server; availability lost for whatever has to look a name up.
//!
//! ## Why it matters
//! Names are looked up everywhere and watched nowhere. A resolver waits for five seconds and tries again, which is
//! longer than most of the timeouts around it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "dns-unavailable"
//! target = "name-server"
//! ```
//!
//! ## What to do instead
//! Two name servers that are not in the same place; a bound around every lookup; no fallback to a server that nobody
//! chose.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1498/>
//! - <https://cwe.mitre.org/data/definitions/703.html>
//! - <https://wiki.nftables.org/wiki-nftables/index.php/Element_timeouts>
//! - <https://www.rfc-editor.org/rfc/rfc1035>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dns;
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::network_linux::{Peer, Rules, Towards, cut};
use crate::read::Section;
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "dns-unavailable",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1498"],
    cwe: &["CWE-703"],
    effect: Effect {
        confidentiality: "kept, unless the system falls back to another server",
        integrity: "kept, unless the system falls back to another server",
        availability: "lost for whatever has to look a name up",
    },
    targets: &[TargetKind::Network],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct DnsUnavailable {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    cut(const { &ENTRY }, DnsUnavailable { target })
}

impl Rules for DnsUnavailable {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    fn action(&self) -> String {
        format!("drop every packet to the name server of `{}`", self.target)
    }

    fn towards(&self) -> Towards {
        Towards::To
    }

    fn verdict(&self) -> String {
        "counter drop".to_owned()
    }

    fn peer(&self, target: &Target) -> Result<Peer, String> {
        dns::server(target)
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        Ok(dns::ask(peer.with_port()?, dns::PROBE_NAME)?.is_none())
    }
}
