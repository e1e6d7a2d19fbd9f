//! What the operating system gives: clocks, randomness, files, locks and process trees.
//!
//! Mechanism only: nothing here knows what a release is, or reads the environment, the working directory or a
//! configuration. Everything is synchronous and may be called from any thread of a multithreaded program.
//! Linux-only code sits in modules named `*_linux.rs`; elsewhere process trees run unisolated and unobserved,
//! and say so.
//!
//! Start reading at [`process::run`]; what a process tree is kept from is told in [`process`].

#[cfg(unix)]
mod beneath;
mod clock;
mod lock;
pub mod process;
mod random;
#[cfg(unix)]
mod storage;

#[cfg(unix)]
pub use beneath::{read_beneath, remove_beneath};
pub use clock::now;
pub use lock::{FileLock, LockError};
pub use random::random_seed;
#[cfg(unix)]
pub use storage::DiskStorage;
