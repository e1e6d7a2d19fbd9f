//! Mechanisms of the network: an HTTP client and server, a TCP fault proxy, a weighted router, a load driver.
//!
//! It deliberately doesn't know why it is used: no experiment, no canary, no scope. Names are
//! resolved and TLS is spoken by [`web`] alone: whoever calls the rest has an address. Everything but [`web`] runs on the caller's tokio runtime, and everything is
//! bounded by a named limit. Durations are measured on the monotonic clock; the time of day is never read.
//!
//! Start reading at [`http::send`] and [`http::Server`]; [`router`] is built of those two, [`load`] of the
//! client, and [`proxy`] stands alone.

pub mod http;
pub mod load;
mod packed;
pub mod proxy;
pub mod router;
mod sequence;
pub mod web;

pub use packed::{UnpackError, unpacked};
pub use sequence::Sequence;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::pin::Pin;

/// A boxed future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A listener on a free port of 127.0.0.1, with `SO_REUSEADDR`, non-blocking.
///
/// It is a standard listener so that it can be handed to another process by its file descriptor.
///
/// # Errors
/// When no port is free or the process may open no more files.
pub fn loopback_listener() -> io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR before it binds, on every system but Windows.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Hands a standard listener to the runtime.
///
/// # Panics
/// Outside of a tokio runtime, or when the runtime can't watch one socket more.
fn adopt(listener: TcpListener) -> (tokio::net::TcpListener, std::net::SocketAddr) {
    listener
        .set_nonblocking(true)
        .expect("a listening socket can be made non-blocking");
    let listener = tokio::net::TcpListener::from_std(listener).expect("the runtime can watch the listening socket");
    let address = listener.local_addr().expect("a listening socket has an address");
    (listener, address)
}
