//! Chaos experiments: faults injected on purpose, and what became of them, measured.
//!
//! An experiment is a file ([`Experiment`]). It runs against an [`Environment`] that `pipeline` implements, and
//! only with a [`Permit`]. Each fault has an undo, or a declared way forward, that is durable in the
//! [`UndoJournal`] before anything is injected; [`process`] holds the worker, in which link faults live and with
//! which they die, and the warden, which undoes everything when the supervisor is gone.
//!
//! It deliberately doesn't start services, revoke leases or speak HTTP itself, reads no clock, and credits
//! nothing that it did itself: a service recovers by itself or not at all.
//!
//! Start reading at [`run()`], then [`Experiment`], then [`UndoJournal`].

pub mod atomic;
mod detectors;
mod environment;
mod experiment;
mod fault;
mod faults;
pub mod journal;
mod link;
mod permit;
#[cfg(target_os = "linux")]
pub mod process;
mod read;
mod run;
mod watch;

pub use environment::{BoxFuture, CredentialRef, Environment, ServiceAnswer, ServiceRequest};
pub use experiment::{DEADLINE_SECONDS_MAX, Detector, DetectorKind, Expect, Experiment, PlannedAction, Steady};
pub use fault::{Entry, Fault, Probe, UndoClass};
pub use journal::{EntryId, JournalEntry, JournalError, Recovered, Recovery, State, UndoJournal};
pub use permit::{Conditions, Permit, Refused};
pub use run::{ChaosError, run};

/// The catalogue of faults, sorted by id.
pub fn faults() -> &'static [Entry] {
    faults::ALL
}

/// The page of a fault, as `explain` prints it: Markdown. `id` is `chaos/credential-revoked` or the name alone.
pub fn page(id: &str) -> Option<String> {
    let name = id.strip_prefix("chaos/").unwrap_or(id);
    let (_, source) = faults::PAGES
        .iter()
        .find(|(page, _)| page.strip_prefix("chaos/") == Some(name))?;
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    Some(
        lines
            .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
            .collect(),
    )
}
