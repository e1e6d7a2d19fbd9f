//! # chaos/network-reject
//! Connections to an address are refused.
//!
//! ## What it does
//! Answers every TCP packet to `address` of the target with a reset, by packet rules of the kernel, as a firewall does
//! after a change: new connections are refused, and open ones end at their next packet. The probe reads the rules back
//! and connects.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1489 (service stop). CWE: CWE-636 (not failing securely).
//! - Expected effect: confidentiality kept, unless the system fails open; integrity kept, unless the system fails open;
//!   availability lost for what depends on the address.
//!
//! ## Why it matters
//! A refusal comes at once and so is tried again at once: by everybody, in a loop. And a check that fails because its
//! service refuses must not count as passed.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "network-reject"
//! target = "scanner-link"
//! ```
//!
//! ## What to do instead
//! Wait longer after each refusal; fail closed where the dependency protects something.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1489/>
//! - <https://cwe.mitre.org/data/definitions/636.html>
//! - <https://wiki.nftables.org/wiki-nftables/index.php/Element_timeouts>

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::network_linux::{Peer, Reached, Rules, Towards, cut, reach};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "network-reject",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1489"],
    cwe: &["CWE-636"],
    effect: Effect {
        confidentiality: "kept, unless the system fails open",
        integrity: "kept, unless the system fails open",
        availability: "lost for what depends on the address",
    },
    targets: &[TargetKind::Network],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct NetworkReject {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    cut(const { &ENTRY }, NetworkReject { target })
}

impl Rules for NetworkReject {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::new()
    }

    fn action(&self) -> String {
        format!("refuse every connection to the address of `{}`", self.target)
    }

    fn towards(&self) -> Towards {
        Towards::To
    }

    fn verdict(&self) -> String {
        "meta l4proto tcp counter reject with tcp reset".to_owned()
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        Ok(reach(peer.with_port()?)? == Reached::Refused)
    }
}
