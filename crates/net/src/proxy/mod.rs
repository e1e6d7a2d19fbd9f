//! TCP and UDP proxies that can be told to misbehave.
//!
//! They know bytes, not protocols. Without toxics bytes pass untouched, each way on its own, half-closed
//! connections included. A change of toxics takes effect on live connections at once. Each proxy is a thread of its
//! own and needs no runtime; everything it does ends with it.
//!
//! They deliberately don't terminate TLS: [`tls`] only reads the server name that a client asks for.
//!
//! Start reading at [`Toxic`], then [`Proxy`]; `shape` is what toxics do, without a clock or a socket.

#[cfg(target_os = "linux")]
mod connection_linux;
#[cfg(target_os = "linux")]
mod control_linux;
#[cfg(target_os = "linux")]
mod engine_linux;
#[cfg(target_os = "linux")]
mod shape;
#[cfg(target_os = "linux")]
mod store_linux;
pub mod tls;
mod toxic;
#[cfg(target_os = "linux")]
mod udp_linux;

#[cfg(target_os = "linux")]
pub use engine_linux::{CONNECTIONS_MAX, Proxy};
pub use toxic::{Applied, Direction, Route, Stats, Toxic, Upstream};
#[cfg(target_os = "linux")]
pub use udp_linux::{FLOW_IDLE_MS_MAX, FLOWS_MAX, UdpProxy};
