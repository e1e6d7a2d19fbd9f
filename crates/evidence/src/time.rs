//! Time as an argument.

use std::time::Duration;

/// A moment in UTC (RFC 3339).
pub type Timestamp = jiff::Timestamp;

/// What the caller's clocks say: UTC for statements, boot time for durations. Passed in, never read here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall-clock time; may be stated by the user with `--as-of`.
    pub utc: Timestamp,
    /// Time since the machine booted, suspended time included (`CLOCK_BOOTTIME`); never goes back.
    pub boottime: Duration,
}
