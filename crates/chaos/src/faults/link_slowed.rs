//! # chaos/link-slowed
//! The link between two services is slow for a while.
//!
//! ## What it does
//! Delays what the called service answers on one link by `latency_ms` (give or take up to `jitter_ms`), for
//! `hold_ms`, in the fault proxy that every link goes through. The experiment measures whether somebody notices
//! and how long after the link is fast again the service is back in its steady state by itself.
//!
//! - Undo class: `process-bounded`. It lives in the worker process; removing it is read back, and it dies with the
//!   worker.
//! - Rights: none beyond Proofmark's own proxy.
//! - ATT&CK: T1498 (network denial of service), T1499 (endpoint denial of service). CWE: CWE-400 (uncontrolled
//!   resource consumption), CWE-1088 (synchronous access of a remote resource without timeout).
//! - Expected effect: availability is degraded, answers come late or as a clean failure; confidentiality and
//!   integrity are kept.
//!
//! ## Why it matters
//! A slow dependency is worse than a dead one: callers wait, hold connections and threads, and pass the slowness
//! on. Whoever can slow one link of a system without limits can stop all of it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "link-slowed"
//! link = "storefront-ledger"
//! latency_ms = 400
//! hold_ms = 1500
//! ```
//!
//! ## What to do instead
//! Give every remote call a time limit that is shorter than your caller's, bound how many may wait at once, and
//! answer with what you have, or with a clean 503, once it is over.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/1088.html>

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
    id: "link-slowed",
    undo_class: UndoClass::ProcessBounded,
    rights: "none beyond Proofmark's own proxy",
    attack: &["T1498", "T1499"],
    cwe: &["CWE-400", "CWE-1088"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "kept",
        availability: "degraded: answers come late, or as a clean failure",
    },
    targets: &[],
    keys: &["link", "latency_ms", "jitter_ms", "hold_ms"],
    read,
};

/// A longer delay is an outage, which `link-reset` shows sooner.
const LATENCY_MS_MAX: u64 = 60_000;

#[derive(Debug)]
struct LinkSlowed {
    link: Link,
    latency_ms: u64,
    jitter_ms: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let link = Link::read(section);
    let latency_ms = section.number("latency_ms", 1..=LATENCY_MS_MAX);
    let jitter_ms = section.optional_number("jitter_ms", 0..=LATENCY_MS_MAX).unwrap_or(0);
    Some(Box::new(LinkSlowed {
        link: link?,
        latency_ms: latency_ms?,
        jitter_ms,
    }))
}

impl LinkSlowed {
    fn toxic(&self) -> Toxic {
        Toxic::Latency {
            delay_ms: self.latency_ms,
            jitter_ms: self.jitter_ms,
        }
    }
}

impl Fault for LinkSlowed {
    fn entry(&self) -> &'static Entry {
        const { &ENTRY }
    }

    fn parameters(&self) -> BTreeMap<String, Value> {
        let mut parameters = self.link.parameters();
        parameters.insert("latency_ms".to_owned(), self.latency_ms.into());
        if self.jitter_ms > 0 {
            parameters.insert("jitter_ms".to_owned(), self.jitter_ms.into());
        }
        parameters
    }

    fn action(&self) -> String {
        format!(
            "delay answers on link `{}` by {} ms for {} ms",
            self.link.name, self.latency_ms, self.link.hold_ms
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
        self.link.inject(environment, self.toxic())
    }

    fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        _: &'a Record,
        _: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>> {
        self.link.in_force(environment, self.toxic())
    }

    /// Some request took at least as long as an answer is held back, or was not served.
    fn felt(&self, met: &Met<'_>) -> bool {
        let delay = Duration::from_millis(self.latency_ms.saturating_sub(self.jitter_ms));
        met.samples
            .iter()
            .any(|sample| !sample.served || sample.end.is_none_or(|end| end - sample.start >= delay))
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
