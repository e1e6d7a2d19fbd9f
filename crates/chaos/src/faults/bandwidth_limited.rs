//! # chaos/bandwidth-limited
//! Little passes to and from an address.
//!
//! ## What it does
//! Drops what exceeds `kbytes_per_second` to and from `address` of the target, by packet rules of the kernel, so that
//! TCP slows down to it. The kernel lets one second's worth pass at once first. The probe reads the rules back, fetches
//! `path` from the address over plain HTTP for a second, and counts: the answer has to be longer than three seconds'
//! worth.
//!
//! - Undo class: `kernel-bounded`. The kernel drops the entry that the rules ask for at the deadline, with nobody
//!   alive; the undo removes the table at once, and leaves what somebody else has put into it.
//! - Rights: root or CAP_NET_ADMIN, and the program `nft`.
//! - Targets: `network`.
//! - ATT&CK: T1498 (network denial of service). CWE: CWE-400 (uncontrolled resource consumption).
//! - Expected effect: confidentiality kept; integrity kept; availability worse: what is long takes longer, and holds
//!   what it holds meanwhile.
//!
//! ## Why it matters
//! A slow link holds connections, memory and locks for longer than any test did. Uploads of evidence, database dumps
//! and images are what fails first, and often half way.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "bandwidth-limited"
//! target = "ledger-link"
//! kbytes_per_second = 200
//! path = "/export"
//! ```
//!
//! ## What to do instead
//! Bound every transfer in time; make what is long resumable; shed load before queues grow.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1498/>
//! - <https://cwe.mitre.org/data/definitions/400.html>
//! - <https://wiki.nftables.org/wiki-nftables/index.php/Element_timeouts>

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass, read_path};
use crate::network_linux::{Peer, Rules, Towards, cut};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "bandwidth-limited",
    undo_class: UndoClass::KernelBounded,
    rights: "root or CAP_NET_ADMIN, and the program `nft`",
    attack: &["T1498"],
    cwe: &["CWE-400"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "worse: what is long takes longer, and holds what it holds meanwhile",
    },
    targets: &[TargetKind::Network],
    keys: &["target", "kbytes_per_second", "path"],
    read,
};

#[derive(Debug)]
struct BandwidthLimited {
    target: String,
    kbytes_per_second: u64,
    path: String,
}

/// Less than one packet of the loopback interface a second is a partition.
const KBYTES_PER_SECOND: std::ops::RangeInclusive<u64> = 100..=1_000_000;
/// The probe counts for so long.
const COUNT_FOR: Duration = Duration::from_secs(1);
/// Within that time come what the kernel lets pass at once and what it lets pass in a second, and a little.
const SECONDS_WORTH_MAX: f64 = 2.5;

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let kbytes_per_second = section.number("kbytes_per_second", KBYTES_PER_SECOND);
    let path = read_path(section, "path");
    let rules = BandwidthLimited {
        target: target?,
        kbytes_per_second: kbytes_per_second?,
        path: path?,
    };
    cut(const { &ENTRY }, rules)
}

impl BandwidthLimited {
    /// Bytes that came in time, and whether the answer ended by then.
    fn fetch(&self, address: SocketAddr) -> std::io::Result<(u64, bool)> {
        let mut stream = TcpStream::connect_timeout(&address, COUNT_FOR)?;
        stream.set_write_timeout(Some(COUNT_FOR))?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n",
            self.path
        );
        stream.write_all(request.as_bytes())?;
        let (begun, mut count, mut buffer) = (Instant::now(), 0, vec![0; 64 << 10]);
        loop {
            let left = COUNT_FOR.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Ok((count, false));
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok((count, true)),
                Ok(more) => count += more as u64,
                // Its time is over.
                Err(_) => return Ok((count, false)),
            }
        }
    }
}

impl Rules for BandwidthLimited {
    fn target(&self) -> &str {
        &self.target
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("kbytes_per_second".to_owned(), self.kbytes_per_second.into()),
            ("path".to_owned(), self.path.clone().into()),
        ])
    }

    fn action(&self) -> String {
        let limit = self.kbytes_per_second;
        format!(
            "let {limit} kB a second pass to and from the address of `{}`",
            self.target
        )
    }

    fn towards(&self) -> Towards {
        Towards::Both
    }

    fn verdict(&self) -> String {
        format!("limit rate over {} kbytes/second counter drop", self.kbytes_per_second)
    }

    fn shows(&self, peer: &Peer) -> Result<bool, String> {
        let fetched = self.fetch(peer.with_port()?);
        let (count, ended) = fetched.map_err(|error| format!("`{}` can't be fetched: {error}", self.path))?;
        if ended {
            return Err(format!(
                "`{}` has {count} bytes, too few to tell how fast they come",
                self.path
            ));
        }
        Ok(count as f64 <= self.kbytes_per_second as f64 * 1024.0 * SECONDS_WORTH_MAX)
    }
}
