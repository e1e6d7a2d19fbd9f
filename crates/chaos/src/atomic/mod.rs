//! Atomic Red Team tests (<https://www.atomicredteam.io>): read, planned, and run in a throwaway copy of the machine.
//!
//! A test is somebody's attack, written for machines that may be lost. Here it runs in `host`'s discard sandbox:
//! root over a copy, without a network, whose every change vanishes. So its own clean-up is not needed and not
//! run, and nothing that it needs from the internet can be had: such a test is not run, and [`Reason`] says why.
//!
//! It deliberately knows no test by name: whether a prerequisite can be met offline is found out by trying, in the copy.
//!
//! Start reading at [`run`]; the file format is that of `atomics/T*/T*.yaml`, read by [`parse`].

mod driver;
mod outcome;
mod plan;
mod read;

pub use outcome::{Ending, Outcome, Ran, Reason, Unmet, run};
pub use plan::{ATOMICS, Options, Plan, plan};
pub use read::{Argument, Dependency, Executor, FILE_BYTES_MAX, Shell, Technique, Test, parse};
