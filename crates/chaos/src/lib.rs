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
pub mod capability;
#[cfg(target_os = "linux")]
mod capability_linux;
pub mod choice;
mod compare;
mod configured;
#[cfg(target_os = "linux")]
mod connections_linux;
#[cfg(unix)]
pub mod ctk;
mod declare;
mod denied;
mod detectors;
mod dial;
#[cfg(target_os = "linux")]
mod dns;
mod environment;
mod experiment;
mod fault;
mod faults;
mod file_change;
mod files;
mod haproxy;
pub mod health;
#[cfg(target_os = "linux")]
mod held_linux;
mod history;
mod http;
mod intrusion;
mod invariants;
pub mod journal;
mod ladder;
mod link;
mod looks;
mod measure;
mod nats;
#[cfg(target_os = "linux")]
mod network_linux;
mod nginx;
mod observers;
mod own_store;
mod permit;
mod postgresql;
#[cfg(target_os = "linux")]
pub mod process;
#[cfg(target_os = "linux")]
mod processes_linux;
mod read;
mod record;
mod redis;
mod rehearsal;
mod reload;
mod replaced;
mod run;
mod settings;
pub mod strike;
pub mod study;
mod target;
mod tls;
#[cfg(unix)]
mod toolkit;
pub mod toxiproxy;
mod turns;
mod watch;
mod x509;

pub use capability::{Capability, capabilities};
pub use declare::{DataClass, Declaration, Exposure, Rung, Tenancy};
pub use environment::{
    BoxFuture, CredentialRef, Environment, HEALTH, HEALTHY, Observing, RUN_HEADER, ServiceAnswer, ServiceRequest,
    run_agent,
};
pub use experiment::{
    Abort, Answer, Correlation, DEADLINE_SECONDS_MAX, Detector, DetectorKind, Expect, Experiment, Invariant,
    InvariantKind, Limit, Model, PlannedAction, Property, Response, Steady,
};
pub use fault::{Effect, Entry, Fault, Probe, UndoClass};
pub use journal::{EntryId, JournalEntry, JournalError, PastUndo, Recovered, Recovery, State, UndoJournal};
pub use ladder::{Circumstances, Given, Past, objections};
pub use observers::{Input, ObserverSetting};
pub use permit::{Conditions, Permit, Refused};
pub use rehearsal::Rehearsal;
pub use run::{ChaosError, outcome, run};
pub use settings::{Freeze, LinkSetting, Settings};
pub use strike::{Record, Site, Strike, Undone};
pub use target::{Target, TargetKind, Targets};
#[cfg(unix)]
pub use toolkit::World;
pub use turns::Turns;

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
