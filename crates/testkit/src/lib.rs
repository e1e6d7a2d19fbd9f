//! What tests need and nothing that ships: seeded randomness and storage that fails on demand.
//!
//! It deliberately knows no engine, so that any of them can test with it, and draws no randomness of its own:
//! whoever has the seed has the run.
//!
//! Start reading at [`SimStorage`].

pub mod rigs;
mod rng;
mod sim;

pub use rng::Rng;
pub use sim::SimStorage;
