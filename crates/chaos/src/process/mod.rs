//! Worker and warden: this program started again, each in a session of its own, and the supervisor's side of both.
//!
//! The worker carries the links' traffic and with it every link fault; the warden undoes everything when the
//! supervisor is gone. Both are tied to the supervisor by a socket pair that nobody else has an end of: when the
//! supervisor dies, however it dies, the kernel closes it.
//!
//! - Worker: exits at once when its socket closes, when its parent dies, or when it hears nothing for 5 s.
//! - Holder: does one fault that is bound to a process; exits when its socket closes, its parent dies or its time is
//!   over.
//! - Warden: when its socket closes, or the supervisor is stopped and silent for more than 1 s, or silent for more
//!   than 3 s, or while it is armed not done in time for its deadline or its kill switch, it kills the worker, closes the journal's entries, removes registered scratch folders, and exits.
//!
//! The command lines, which [`worker_main`], [`holder_main`] and [`warden_main`] read without the first two words:
//!
//! ```text
//! PROGRAM __worker --control-fd FD [--link NAME FD UPSTREAM]…
//! PROGRAM __holder --control-fd FD
//! PROGRAM __warden --control-fd FD --lock-fd FD --supervisor PID --journal FOLDER [--api-fd FD]
//! ```
//!
//! What somebody who may signal these processes can do: kill the worker (its faults end, the run is unknown), kill
//! the warden (undoing falls to the next start). Whoever can write the journal: see [`crate::journal`].

mod api;
mod helper;
mod holder;
mod warden;
mod wire;
mod worker;

use std::io;

pub use api::StopApi;
pub use holder::{Holder, Holders, holder_main};
pub use warden::{Warden, wait_for_last_warden, warden_main};
pub use worker::{Worker, worker_main};

/// A worker or warden that can't be started, or doesn't do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("can't start the {role}: {reason}")]
    Start { role: &'static str, reason: io::Error },
    #[error("the {role} is gone")]
    Gone { role: &'static str },
    #[error("the {role} refused: {reason}")]
    Refused { role: &'static str, reason: String },
    #[error("`{0}` is still being cleared up by the warden of an earlier release")]
    Clearing(String),
}
