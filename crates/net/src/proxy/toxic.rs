//! What can be wrong with a link, as data. Numbers and names are those of Toxiproxy, but for what Toxiproxy lacks.

use std::net::SocketAddr;
use std::time::Duration;

/// One way of misbehaving, in one direction. Several make a chain, in their order, as in Toxiproxy; two of one kind
/// add up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// What arrives is passed on later by `delay_ms`, give or take up to `jitter_ms`; never out of order.
    Latency { delay_ms: u64, jitter_ms: u64 },
    /// No more than so many bytes in a second pass; 0 moves none.
    Bandwidth { bytes_per_second: u64 },
    /// The end of the stream is passed on later by that much.
    SlowClose { delay_ms: u64 },
    /// Bytes are swallowed. 0: the connection stays open until the toxic is removed, and then ends, because what
    /// would follow is no longer what was sent. Else the connection is closed after that time.
    Timeout { timeout_ms: u64 },
    /// The connection is reset (RST, not FIN) on both sides that long after it began, or after the toxic was set on
    /// it; 0 is at once.
    Reset { after_ms: u64 },
    /// Bytes are passed on in pieces of `average_bytes`, give or take up to `variation_bytes`, each in a segment of
    /// its own, with `delay_us` between them.
    Slicer {
        average_bytes: u64,
        variation_bytes: u64,
        delay_us: u64,
    },
    /// The connection is closed after so many bytes, counted from when the toxic met the connection.
    Limit { bytes: u64 },
    /// Of 1,000 datagrams so many are dropped. TCP hides a loss: on a connection each segment of 1,448 bytes is lost
    /// with that probability, and it and all behind it wait for 200 ms, twice that when it is lost again, and so on
    /// (the least time-out of Linux' retransmission; what a fast retransmission would save is not modelled).
    Loss { per_mille: u16 },
}

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the upstream.
    Up,
    /// From the upstream to the client.
    Down,
}

/// A toxic where and how it is applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// Unique among the toxics of one proxy: what is set again under the same name goes on where it was.
    pub name: String,
    pub toxic: Toxic,
    pub direction: Direction,
    /// The share of connections it holds for, 0 to 1, drawn once per connection and toxic.
    pub toxicity: f64,
    /// It removes itself that long after it was set; it is not prolonged by being set again unchanged.
    pub time_to_live: Option<Duration>,
}

impl Applied {
    /// For every connection and until it is removed.
    pub fn new(name: &str, toxic: Toxic, direction: Direction) -> Applied {
        Applied {
            name: name.to_owned(),
            toxic,
            direction,
            toxicity: 1.0,
            time_to_live: None,
        }
    }
}

/// Where a proxy leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    Address(SocketAddr),
    /// `host:port`, resolved for each connection anew.
    Name(String),
}

impl Upstream {
    /// `text` as an address when it is one, else as a name to be resolved.
    pub fn parse(text: &str) -> Upstream {
        match text.parse() {
            Ok(address) => Upstream::Address(address),
            Err(_) => Upstream::Name(text.to_owned()),
        }
    }
}

impl From<SocketAddr> for Upstream {
    fn from(address: SocketAddr) -> Self {
        Upstream::Address(address)
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Upstream::Address(address) => address.fmt(f),
            Upstream::Name(name) => f.write_str(name),
        }
    }
}

/// Where connections lead that ask for a server name in TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// `example.com`, or `*.example.com` for all names with one label more.
    pub server_name: String,
    pub upstream: Upstream,
}

impl Route {
    /// Whether it is for this name. Case doesn't matter.
    pub fn is_for(&self, name: &str) -> bool {
        let own = self.server_name.to_ascii_lowercase();
        let name = name.to_ascii_lowercase();
        match own.strip_prefix("*.") {
            Some(domain) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == domain),
            None => own == name && !name.is_empty(),
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub connections_open: u64,
    pub connections_total: u64,
    /// Passed on to the upstream.
    pub bytes_up: u64,
    /// Passed on to clients.
    pub bytes_down: u64,
}
