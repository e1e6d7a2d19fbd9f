//! Who may have which credential, for how long, and how it is taken away.
//!
//! A [`Broker`] gives every role an identity token at its start and leases short-lived tokens to whoever presents
//! one; the functions over HTTP-shaped requests stand in [`wire`]. Leases are journaled through
//! [`evidence::Storage`] before a token is answered, so that nothing handed out is forgotten; token values live in
//! this process's memory only, and die with it.
//!
//! It deliberately opens no socket, writes no file of its own, and knows neither clock nor randomness: whoever runs
//! it passes those in. It also never says *why* a presented token is no good, only that it is.
//!
//! What an attacker can do who owns the journal: read which role held which policy when, destroy it, roll it back;
//! not learn a token, nor bring one back to life. Who owns a role's identity file: all that the role may do, until
//! the broker's process ends.
//!
//! Start reading at [`Broker`].

mod broker;
mod format;
mod leak;
mod lease;
mod secret;
pub mod wire;

pub use broker::{Broker, BrokerError, Delivery, Recovered, RoleSpec, unclosed};
pub use broker::{
    JOURNAL_BYTES_MAX, JOURNAL_PATH, LEASES_MAX, POLICIES_MAX, REMEMBERED_MAX, ROLES_MAX, TTL_SECONDS_MAX,
};
pub use leak::spellings;
pub use lease::{Accessor, Lease};
pub use secret::Secret;
