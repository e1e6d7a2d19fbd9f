//! Predicate of [`GATES`](super::GATES): what was planted, and what the gates said of it.

use serde::{Deserialize, Serialize};

use crate::{Digest, Stage};

/// Predicate of [`GATES`](super::GATES): known-bad commits, dependencies and artifacts that were planted in a throwaway branch of a
/// tree, and what its gates said of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateExperiment {
    pub tree: Digest,
    pub configuration: Digest,
    /// Digest of the trust root's floor.
    pub policy: Digest,
    /// What was planted is made from this number, in decimal: the same seed plants the same.
    pub seed: String,
    /// The last stage that the tree passed with nothing planted.
    pub clean: Stage,
    pub plants: Vec<PlantRun>,
    /// What this tree has no place for, each with the reason; no part of any denominator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_applicable: Vec<NotPlanted>,
}

impl GateExperiment {
    /// Plants that a gate decided on: the denominator.
    pub fn planted(&self) -> u64 {
        self.plants
            .iter()
            .filter(|run| run.result != PlantResult::NotJudged)
            .count() as u64
    }

    pub fn missed(&self) -> u64 {
        self.plants
            .iter()
            .filter(|run| run.result == PlantResult::Missed)
            .count() as u64
    }
}

/// One plant, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlantRun {
    /// Catalogue id: `secret-private-key`.
    pub plant: String,
    /// Which of several of its kind; empty where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// What was planted, in words; never a value.
    pub what: String,
    /// Where it should be blocked at the latest.
    pub stage: Stage,
    /// What should block it: a control, or `refusal` where evidence that was tampered with is to be refused.
    pub expected: String,
    pub result: PlantResult,
    /// What blocked it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// The stage that did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stage>,
    /// It was blocked because something could not be proved, not because something was found.
    #[serde(default)]
    pub undecided: bool,
}

/// What became of a plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlantResult {
    /// Blocked by what should block it.
    Caught,
    /// Blocked, by something else.
    CaughtElsewhere,
    /// It passed.
    Missed,
    /// The gate came to no decision: an error of the tool or of the host.
    NotJudged,
}

/// A plant that a tree has no place for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotPlanted {
    pub plant: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub reason: String,
}
