//! The facade: stages, runs, local environments, gate wiring, metrics and reports.
//!
//! Everything the binary does is a function here. It knows neither HTTP nor the terminal; it owns the one tokio
//! runtime, and only `release` starts it.
//!
//! Start reading at [`release::release`], then [`run::Run`], then the stages.

mod advisories;
pub mod approve;
pub mod attestation;
mod bundle;
pub mod chaos;
pub mod chaos_report;
pub mod check;
pub mod config;
#[cfg(unix)]
pub mod ctk;
mod environment;
mod error;
mod evidence_log;
pub mod explain;
pub mod fault_proxy;
mod gate;
pub mod gate_experiment;
pub mod home;
pub mod init;
mod inventory;
pub mod log;
pub mod metrics;
pub mod observers;
mod plants;
pub mod playbooks;
mod process;
pub mod progress;
mod provenance;
pub mod release;
pub mod report;
mod reports;
mod run;
pub mod sarif;
mod stages;
mod step;
mod store;
pub mod verify;
pub mod wrap;

pub use error::Error;
pub use host::{now, random_seed};
pub use process::{cancel_on_signals, helper_process};
pub use run::{Clock, Random};

// The generated list of `plants/` names its entries so.
use gate_experiment::Entry;

/// Names this tool in statements.
pub const TOOL: &str = concat!("proofmark/", env!("CARGO_PKG_VERSION"));
