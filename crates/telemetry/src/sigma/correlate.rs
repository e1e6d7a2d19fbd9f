//! Correlations (<https://sigmahq.io/docs/meta/correlations.html>): so many matches of a rule, or of several rules, in
//! so much time. rsigma's engine keeps the windows; here are the bounds it works in.
//!
//! Start reading at [`Correlator::observe`].

use std::collections::BTreeMap;

use rsigma_eval::event::JsonEvent;
use rsigma_eval::{CorrelationConfig, CorrelationEngine, TimestampFallback};
use rsigma_parser::SigmaCollection;
use serde_json::Value;

use super::RuleMatch;

/// Groups of events, over all correlations, beyond which the oldest are forgotten.
const GROUPS_MAX: usize = 100_000;
/// Events of one group within its window, beyond which the oldest are forgotten: a correlation may then be missed.
const GROUP_EVENTS_MAX: usize = 100_000;

/// The correlations of [`super::SigmaRules`], and the events they have seen so far.
pub struct Correlator {
    engine: CorrelationEngine,
    known: BTreeMap<String, RuleMatch>,
}

impl Correlator {
    pub(super) fn new(collection: &SigmaCollection, known: &BTreeMap<String, RuleMatch>) -> Correlator {
        // INVARIANT: loading has checked that the collection can be compiled.
        let engine = compile(collection).unwrap_or_else(|_| CorrelationEngine::new(config()));
        Correlator {
            engine,
            known: known.clone(),
        }
    }

    /// The correlations that one more line completes. Time is in seconds since any fixed point, and doesn't go back.
    pub fn observe(&mut self, fields: &Value, seconds: i64) -> Vec<RuleMatch> {
        let results = self.engine.process_event_at(&JsonEvent::borrow(fields), seconds);
        let completed = results.into_iter().filter(|result| result.is_correlation());
        completed
            .filter_map(|result| {
                let key = key(result.header.rule_id.as_deref(), &result.header.rule_title);
                self.known.get(&key).cloned()
            })
            .collect()
    }
}

/// What identifies a correlation.
pub(super) fn key(id: Option<&str>, title: &str) -> String {
    id.unwrap_or(title).to_owned()
}

/// # Errors
/// What is wrong with the correlations, in rsigma's words.
pub(super) fn check(collection: &SigmaCollection) -> Result<(), String> {
    if collection.correlations.is_empty() {
        return Ok(());
    }
    compile(collection).map(drop)
}

fn compile(collection: &SigmaCollection) -> Result<CorrelationEngine, String> {
    let mut engine = CorrelationEngine::new(config());
    engine.add_collection(collection).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn config() -> CorrelationConfig {
    CorrelationConfig {
        timestamp_fallback: TimestampFallback::Skip,
        max_state_entries: GROUPS_MAX,
        max_group_entries: Some(GROUP_EVENTS_MAX),
        ..CorrelationConfig::default()
    }
}
