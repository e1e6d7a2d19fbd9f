//! Predicate of [`DRILL`](super::DRILL): what people did when a playbook was rehearsed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Timestamp};

/// Predicate of [`DRILL`](super::DRILL): a rehearsal of a playbook with people, as it went: the after-action record. No control reads
/// it. Durations are microseconds from the announcement, of boot time unless [`Drill::wall_clock`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drill {
    /// File of the playbook, or its name in the library; and what it is called.
    pub playbook: String,
    pub name: String,
    /// SHA-256 of the playbook's text.
    pub digest: Digest,
    /// Names the playbook's run in the store.
    pub run: String,
    /// What people were told.
    pub announcement: String,
    /// True when machine actions were really done; otherwise each was only said.
    pub live: bool,
    /// When it was announced.
    pub started: Timestamp,
    /// The machine was restarted meanwhile: boot time began anew, and what came after it is measured by UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wall_clock: bool,
    /// The experiment that was injected at the announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<DrillExperiment>,
    /// `succeeded`, `failed`, or `stopped` when it was closed before its end.
    pub outcome: String,
    /// By name: `announced` (0), `notified` (the first person was asked), `acknowledged` (the first signed answer was
    /// given), `over` (the playbook's end), `closed`. What never happened is absent.
    pub milestones_us: BTreeMap<String, u64>,
    pub participants: Vec<DrillParticipant>,
    /// The playbook's own way when every step succeeds, in order.
    pub expected: Vec<DrillStep>,
    /// What was done, in order of its beginning.
    pub taken: Vec<DrillTaken>,
    pub deviations: Vec<DrillDeviation>,
    /// What people wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What is to be done about it, and who does it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<DrillAction>,
}

/// The experiment of a [`Drill`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillExperiment {
    /// Its file, as it was named.
    pub file: String,
    /// Log index of its own statement; `None` where it came to none, and why stands in `problem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Somebody who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillParticipant {
    /// As they gave it.
    pub name: String,
    /// Keys that signed what they said.
    pub keys: Vec<crate::KeyId>,
}

/// A step that a playbook has people or machines do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillStep {
    /// Its id in the playbook.
    pub step: String,
    pub name: String,
    /// True where a person does it.
    pub person: bool,
    /// True where it depends on a condition: that it wasn't taken is no deviation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// After this long it has failed, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_us: Option<u64>,
}

/// One execution of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillTaken {
    pub step: String,
    pub name: String,
    /// Who acted: the person who answered, or this program.
    pub by: String,
    /// It was asked for, or begun.
    pub began_us: u64,
    /// Answered, or done; `None` where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_us: Option<u64>,
    /// `done`, `rehearsed`, `failed: …`, `waiting`, `interrupted`.
    pub outcome: String,
}

/// Where it went another way than the playbook has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillDeviation {
    /// `skipped`, `timed-out`, `failed`, `unanswered`, `out-of-order`, `unexpected`.
    pub kind: String,
    pub step: String,
    pub what: String,
}

/// What is left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillAction {
    pub owner: String,
    pub action: String,
}
