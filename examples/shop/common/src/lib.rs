//! What both services need: a small HTTP/1.1 server and client, the broker's client, logs, metrics, arguments.
//!
//! It deliberately does no TLS: both services listen on loopback, behind whatever terminates it.
//!
//! Start reading at [`server`], then [`broker`].

pub mod args;
pub mod broker;
pub mod client;
pub mod http;
pub mod log;
pub mod metrics;
pub mod server;
