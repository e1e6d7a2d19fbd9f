//! # chaos/link-reset
//! The link between two services is cut: every connection is reset for a while.
//!
//! ## What it does
//! Resets (TCP RST) the open connections of one link and every new one, for `hold_ms`, in the fault proxy that
//! every link goes through. The experiment measures whether somebody notices and how long after the link works
//! again the service is back in its steady state by itself.
//!
//! - Undo class: `process-bounded`. It lives in the worker process; removing it is read back, and it dies with the
//!   worker.
//! - Rights: none beyond Proofmark's own proxy.
//! - ATT&CK: T1498 (network denial of service), T1489 (service stop). CWE: CWE-703 (improper check or handling of
//!   exceptional conditions), CWE-755 (improper handling of exceptional conditions).
//! - Expected effect: availability is lost for what needs the link, as a clean failure; integrity is kept, because
//!   what was half done is done once or not at all; confidentiality is kept.
//!
//! ## Why it matters
//! Connections break: a deployment, a firewall that forgets its state, an attacker with one forged packet. A pool
//! that keeps dead connections, or a client that never connects again, turns a second into an outage.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "link-reset"
//! link = "storefront-ledger"
//! hold_ms = 500
//! ```
//!
//! ## What to do instead
//! Throw a connection away after an error, connect again with a bounded backoff, and retry only what may be done
//! twice, or carries a key that makes it so.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1498/>
//! - <https://cwe.mitre.org/data/definitions/703.html>

use std::collections::BTreeMap;
use std::time::Duration;

use net::proxy::Toxic;
use serde_json::Value;

use crate::environment::{BoxFuture, Environment};
use crate::fault::{Effect, Entry, Fault, Injected, Met, Probe, UndoClass};
use crate::link::Link;
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Undone};

pub(super) const ENTRY: Entry = Entry {
    id: "link-reset",
    undo_class: UndoClass::ProcessBounded,
    rights: "none beyond Proofmark's own proxy",
    attack: &["T1489", "T1498"],
    cwe: &["CWE-703", "CWE-755"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "lost for as long as it holds",
    },
    targets: &[],
    keys: &["link", "hold_ms"],
    read,
};

#[derive(Debug)]
struct LinkReset {
    link: Link,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    Some(Box::new(LinkReset {
        link: Link::read(section)?,
    }))
}

impl Fault for LinkReset {
    fn entry(&self) -> &'static Entry {
        const { &ENTRY }
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        self.link.parameters()
    }

    fn action(&self) -> String {
        format!(
            "reset every connection of link `{}` for {} ms",
            self.link.name, self.link.hold_ms
        )
    }

    fn undo_action(&self) -> String {
        self.link.undo_action()
    }

    fn hold(&self) -> Option<Duration> {
        Some(self.link.hold())
    }

    fn probe(&self) -> Option<&Probe> {
        None
    }

    fn prepare<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>> {
        self.link.prepare(environment)
    }

    fn inject<'a>(
        &'a self,
        _: &'a Permit,
        environment: &'a dyn Environment,
        _: &'a Record,
    ) -> BoxFuture<'a, Result<Injected, String>> {
        self.link.inject(environment, Toxic::Reset { after_ms: 0 })
    }

    fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        _: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.link.in_force(environment, Toxic::Reset { after_ms: 0 })
    }

    /// Some request could not be served before the link worked again.
    fn felt(&self, met: &Met<'_>) -> bool {
        met.samples
            .iter()
            .any(|sample| !sample.served || sample.end.is_none_or(|end| end >= met.until))
    }

    fn undo<'a>(
        &'a self,
        environment: &'a dyn Environment,
        _: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<Undone, String>> {
        self.link.clear(environment)
    }
}
