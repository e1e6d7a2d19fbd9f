//! # chaos/network-partition
//! An address can't be reached, in either direction.
//!
//! ## What it does
//! Drops every packet to and from `address` of the target, an IP address with or without a port, by packet rules of the
//! kernel: in the network namespace `namespace`, or the host's own. The probe reads the rules back and connects:
//! nothing comes back.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1498 (network denial of service). CWE: CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept, unless the system fails open; integrity at risk where both sides go on and
//!   diverge; availability lost between the two sides.
//!
//! ## Why it matters
//! A partition is no error that anybody returns: everything waits. Timeouts, retries and what two halves do alone are
//! decided in code that nothing else runs.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "network-partition"
//! target = "ledger-link"
//! ```
//!
//! ## What to do instead
//! Bound every wait; let one side stop writing rather than both go on; alert on silence, and not only on errors.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1498/>
//! - <https://cwe.mitre.org/data/definitions/703.html>
//! - <https://wiki.nftables.org/wiki-nftables/index.php/Element_timeouts>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::network_linux::{Peer, Reached, Rules, Towards, cut, reach};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "network-partition",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1498"],
    cwe: &["CWE-703"],
    effect: Effect {
        confidentiality: "kept, unless the system fails open",
        integrity: "at risk where both sides go on and diverge",
        availability: "lost between the two sides",
    },
    targets: &[TargetKind::Network],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct NetworkPartition {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    cut(const { &ENTRY }, NetworkPartition { target })
}

impl Rules for NetworkPartition {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    fn action(&self) -> String {
        format!("drop every packet to and from the address of `{}`", self.target)
    }

    fn towards(&self) -> Towards {
        Towards::Both
    }

    fn verdict(&self) -> String {
        "counter drop".to_owned()
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        Ok(reach(peer.with_port()?)? == Reached::Never)
    }
}
