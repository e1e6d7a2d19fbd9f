//! Predicate of [`CANARY`](super::CANARY): old and new side by side.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Predicate of [`CANARY`](super::CANARY): old and new side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryRun {
    pub old: Option<Digest>,
    /// Where the old one comes from: `promoted` (log index) or `baseline`.
    pub old_source: String,
    pub new: Digest,
    /// `promote`, `halt` or `undecided`.
    pub decision: String,
    /// Why, in words for people.
    pub reason: String,
    pub arms: BTreeMap<String, Arm>,
    /// Evidence (e-value) that the new one is worse than allowed, by measure.
    pub worse: BTreeMap<String, f64>,
    /// Evidence (e-value) that the new one is not worse than the margin, by measure.
    pub not_worse: BTreeMap<String, f64>,
    /// Each e-value decides at `1 / alpha`.
    pub alpha: f64,
    /// What was allowed, by name: `error_margin`, `slow_margin` (shares of requests), `slow_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, f64>,
    /// Weight of the new one at the end, per cent, as read back from the router.
    pub final_weight: u32,
}

/// Counts of one arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arm {
    pub requests: u64,
    pub errors: u64,
    /// Requests over the latency limit.
    pub slow: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}
