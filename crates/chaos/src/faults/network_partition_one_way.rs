//! # chaos/network-partition-one-way
//! Packets get lost in one direction only.
//!
//! ## What it does
//! Drops every packet to `address` of the target (`direction = "to"`) or from it (`"from"`), by packet rules of the
//! kernel, and lets the other direction pass. The probe reads the rules back and connects: nothing comes back.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1498 (network denial of service). CWE: CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept, unless the system fails open; integrity at risk: one side believes that the
//!   other is gone, and is not believed so itself; availability lost between the two sides.
//!
//! ## Why it matters
//! Half a partition is worse than a whole one: requests arrive and are carried out, and their answers don't. Whoever
//! tries again does everything twice; whoever watches from the other side sees a healthy peer.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "network-partition-one-way"
//! target = "ledger-link"
//! direction = "from"
//! ```
//!
//! ## What to do instead
//! Make what is tried again harmless to repeat; judge health from both sides; let a leader that hears nothing step
//! down.
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
    id: "network-partition-one-way",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1498"],
    cwe: &["CWE-703"],
    effect: Effect {
        confidentiality: "kept, unless the system fails open",
        integrity: "at risk: one side believes that the other is gone, and is not believed so itself",
        availability: "lost between the two sides",
    },
    targets: &[TargetKind::Network],
    keys: &["target", "direction"],
    read,
};

#[derive(Debug)]
struct OneWay {
    target: String,
    direction: Towards,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    section.text("direction")?;
    let direction = section.optional_choice("direction", &[Towards::To, Towards::From], Towards::name);
    let rules = OneWay {
        target: target?,
        direction: direction?,
    };
    cut(const { &ENTRY }, rules)
}

impl Rules for OneWay {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("direction".to_owned(), self.direction.name().into())])
    }

    fn action(&self) -> String {
        let direction = self.direction.name();
        format!("drop every packet {direction} the address of `{}`", self.target)
    }

    fn towards(&self) -> Towards {
        self.direction
    }

    fn verdict(&self) -> String {
        "counter drop".to_owned()
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        Ok(reach(peer.with_port()?)? == Reached::Never)
    }
}
