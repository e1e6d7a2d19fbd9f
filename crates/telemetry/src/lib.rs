//! Readers of what services and existing detectors say: log files, audit trails, alerts, Sigma rules over log lines,
//! metrics pages.
//!
//! It deliberately doesn't judge: a match is a fact, what it means is for whoever asked. It knows no clock (the
//! time of reading is an argument) and opens no file but those it was given.
//!
//! Start reading at [`Reader`] for what tools write, at [`LogTail`] for plain log files, then [`SigmaRules`];
//! [`metric`] stands alone.

mod documents;
mod follow;
mod lines;
mod metric;
mod protobuf;
mod reader;
mod readers;
mod reading;
mod sigma;
mod syscalls;
mod tail;

use std::time::Duration;

use serde_json::Value;

pub use follow::{Follow, POLL_BYTES_MAX, Piece};
pub use metric::metric;
pub use reader::{
    Answer, DOCUMENT_BYTES_MAX, Delivery, Document, Entry, MERGE_MS_DEFAULT, Mapping, Options, Reader, Refused, Taken,
    page, page_ids, plain_answer, reader, readers,
};
pub use reading::{Alert, Reading};
pub use sigma::{Correlator, LogSource, Natively, RULE_BYTES_MAX, RuleMatch, SigmaRules, WindowsEvent, windows_event};
pub use tail::{LINE_BYTES_MAX, LogTail};

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
