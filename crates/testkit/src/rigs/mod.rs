//! Rigs: real services in which a fault of the catalogue is proved, one for each fault.
//!
//! A rig starts its service on loopback, as a user that is not root where the service insists, in a folder of its own,
//! and stops it when it is dropped. It asks the service in its own way, never through the code that it judges.
//! Start reading at [`Rig`]; `crates/chaos/tests/faults.rs` drives them.

use std::path::Path;

mod atomic;
mod files;
mod http;
mod nats;
mod network;
mod postgresql;
mod process;
mod proofmark;
mod redis;
mod service;
mod tls;

/// A real service, and one fault for it.
pub trait Rig {
    /// `[chaos.target.NAME]` sections.
    fn targets(&self) -> String;

    /// The keys of the `[[fault]]`, `id` among them.
    fn fault(&self) -> String;

    /// What the target really is like in everything that the fault may touch, asked without Proofmark: the same before
    /// the injection and after the undo.
    fn state(&mut self) -> Result<String, String>;

    /// True when the fault shows in the real service, asked without Proofmark.
    fn shows(&mut self) -> Result<bool, String>;

    /// While the fault is in force, somebody else changes the very thing that it changed. `None` where nothing can be
    /// changed by others (a process of ours holds it); otherwise how to tell later that the change was kept.
    fn meddle(&mut self) -> Option<Result<Kept, String>>;

    /// The target dies while the fault is in force. `None` where there is nothing that could die.
    fn kill(&mut self) -> Option<Result<(), String>>;

    /// It is started again.
    fn revive(&mut self) -> Result<(), String>;
}

/// Asks whether somebody else's change is still there.
pub type Kept = Box<dyn FnMut() -> Result<bool, String>>;

/// Makes a rig below a folder that is its own.
pub type Make = fn(&Path) -> Result<Box<dyn Rig>, String>;

/// The rig of each fault, by the fault's id.
pub fn all() -> Vec<(&'static str, Make)> {
    let mut all: Vec<(&'static str, Make)> = [
        atomic::RIGS,
        files::RIGS,
        http::RIGS,
        nats::RIGS,
        network::RIGS,
        postgresql::RIGS,
        process::RIGS,
        proofmark::RIGS,
        redis::RIGS,
        tls::RIGS,
    ]
    .concat();
    all.sort_unstable_by_key(|(id, _)| *id);
    all
}
