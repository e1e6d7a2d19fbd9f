//! What a lease is, apart from its token.

use std::fmt;
use std::time::Duration;

use evidence::{Digest, Timestamp};

/// The public name of a lease: `<first policy>/<16 hexadecimal characters>`. Safe to log; it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Accessor(pub String);

impl fmt::Display for Accessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A lease as it was made. It is never edited: what happens to it later is a record of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub accessor: Accessor,
    /// The role whose identity asked for it.
    pub role: String,
    pub policies: Vec<String>,
    pub issued: Timestamp,
    /// For people. What counts is [`Lease::ends`].
    pub expires: Timestamp,
    /// Boot time at which it ends: wall clocks can be set back.
    pub ends: Duration,
    /// SHA-256 of the token.
    pub token: Digest,
}

impl Lease {
    /// Seconds left, rounded up; 0 when it is over.
    pub fn ttl_seconds(&self, boottime: Duration) -> u64 {
        let left = self.ends.saturating_sub(boottime);
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    }
}
