//! Predicate of [`INCIDENT`](super::INCIDENT): what a playbook did after something bad was seen.

use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp};

/// Predicate of [`INCIDENT`](super::INCIDENT): what a playbook did after a check of this attempt had shown something bad. No control
/// reads it: what was done about a failure doesn't make it a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Incident {
    /// Checks of this attempt that led to it: `canary`, `experiment:FILE`.
    pub causes: Vec<String>,
    /// What they showed, in words for people.
    pub reason: String,
    /// File of the playbook, relative to the tree, and its name.
    pub playbook: String,
    pub name: String,
    /// SHA-256 of the playbook's text.
    pub digest: Digest,
    /// Names the playbook's run in the store.
    pub run: String,
    /// `succeeded`, `failed` or `waiting` (for a person).
    pub outcome: String,
    /// Why it failed, or what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    pub steps: Vec<IncidentStep>,
    /// What was done within the release, in order.
    pub actions: Vec<IncidentAction>,
}

/// One command of one execution of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentStep {
    pub step: String,
    /// Who acted: this program, or the person who answered.
    pub by: String,
    pub began: Timestamp,
    pub changed: Timestamp,
    /// `done`, `failed: …`, `waiting`, `interrupted`.
    pub outcome: String,
}

/// A command that acted on the release, and what was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentAction {
    pub at: Timestamp,
    /// Its words: `rollout rollback RELEASE`.
    pub command: String,
    pub ok: bool,
    pub answer: String,
}
