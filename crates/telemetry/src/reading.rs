//! What readers hand on: lines that were logged, alerts that somebody else's detector gave, and what could not be read.
//!
//! Nothing here is believed: an alert is what its sender said, and its times are the sender's own.

use std::time::Duration;

use evidence::Timestamp;
use serde_json::Value;

use crate::Event;

/// One fact from a source, or that there is one which could not be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    Event(Event),
    Alert(Alert),
    /// Something of `source` was not read: whoever waits for it can't know that it wasn't there.
    Gap {
        source: String,
        reason: String,
    },
}

/// What somebody else's detector said.
///
/// A detector that says the same again gives the same alert again, with the same `claimed`.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Name of the reader as configured.
    pub source: String,
    /// Name of the rule or alert.
    pub name: String,
    /// False: it says that it is over.
    pub firing: bool,
    /// Boot time when the last byte of it was read: what times are measured with.
    pub boottime: Duration,
    /// When its author says it began (UTC). Never one of our times.
    pub claimed: Option<Timestamp>,
    /// In the author's words; empty where nothing is said.
    pub severity: String,
    /// ATT&CK ids among tags, labels and the like, as `T1078` or `T1078.004`, each once, in order.
    pub techniques: Vec<String>,
    /// Everything it carried, for correlation.
    pub fields: Value,
}

impl Reading {
    /// Name of the source, as configured.
    pub fn source(&self) -> &str {
        match self {
            Reading::Event(event) => &event.source,
            Reading::Alert(alert) => &alert.source,
            Reading::Gap { source, .. } => source,
        }
    }
}
