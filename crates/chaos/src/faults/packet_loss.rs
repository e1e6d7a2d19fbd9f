//! # chaos/packet-loss
//! Some packets get lost.
//!
//! ## What it does
//! Drops `percent` of all packets to and from `address` of the target at random, by packet rules of the kernel. The
//! probe reads the rules back and opens connections until one does not come up in time.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1498 (network denial of service). CWE: CWE-703 (improper check or handling of exceptional conditions).
//! - Expected effect: confidentiality kept; integrity kept; availability worse: connections come up late, and transfers
//!   stall.
//!
//! ## Why it matters
//! A little loss makes everything slow and nothing fail, so that no alert fires, while queues grow and timeouts of one
//! second meet retransmissions after one second.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "packet-loss"
//! target = "ledger-link"
//! percent = 30
//! ```
//!
//! ## What to do instead
//! Measure the slowest hundredth and not the mean; give timeouts room for a retransmission; cap what may wait.
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
    id: "packet-loss",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1498"],
    cwe: &["CWE-703"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "worse: connections come up late, and transfers stall",
    },
    targets: &[TargetKind::Network],
    keys: &["target", "percent"],
    read,
};

#[derive(Debug)]
struct PacketLoss {
    target: String,
    percent: u64,
}

/// Less shows in no probe that ends in time.
const PERCENT: std::ops::RangeInclusive<u64> = 5..=95;
/// Connections that the probe opens at once, and how often: at 5 % all come up in one of 200,000 probes.
const CONNECTIONS: usize = 40;
const ROUNDS_MAX: usize = 3;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let percent = section.number("percent", PERCENT);
    let rules = PacketLoss {
        target: target?,
        percent: percent?,
    };
    cut(const { &ENTRY }, rules)
}

impl Rules for PacketLoss {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("percent".to_owned(), self.percent.into())])
    }

    fn action(&self) -> String {
        format!(
            "drop {} % of the packets to and from the address of `{}`",
            self.percent, self.target
        )
    }

    fn towards(&self) -> Towards {
        Towards::Both
    }

    fn verdict(&self) -> String {
        format!("numgen random mod 100 < {} counter drop", self.percent)
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        let address = peer.with_port()?;
        for _ in 0..ROUNDS_MAX {
            let late = std::thread::scope(|scope| {
                let tries: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(move || reach(address))).collect();
                let reached = tries
                    .into_iter()
                    .map(|one| one.join().unwrap_or_else(|_| Err("it broke".to_owned())));
                reached.collect::<Result<Vec<_>, _>>()
            });
            if late?.contains(&Reached::Never) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
