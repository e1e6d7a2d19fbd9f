//! Readers of what services say about themselves: log files, Sigma rules over log lines, metrics pages.
//!
//! It deliberately doesn't judge: a match is a fact, what it means is for whoever asked. It knows no clock (the
//! time of reading is an argument) and opens no file but those it was given.
//!
//! Start reading at [`LogTail`], then [`SigmaRules`]; [`metric`] stands alone.

mod metric;
mod sigma;
mod tail;

use std::time::Duration;

use serde_json::Value;

pub use metric::metric;
pub use sigma::{RULE_BYTES_MAX, RuleMatch, SigmaRules};
pub use tail::{LINE_BYTES_MAX, LogTail, POLL_BYTES_MAX};

/// One line that a service logged.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Name of the service whose log it is.
    pub source: String,
    /// Boot time when the line was read: not before it was written, and at most one poll after it.
    pub boottime: Duration,
    /// The line as a JSON object; other text as `{"message": text}`.
    pub fields: Value,
}
