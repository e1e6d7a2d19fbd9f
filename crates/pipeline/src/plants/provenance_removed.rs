//! # plant/provenance-removed
//! The provenance of an artifact disappears from the log after its build.
//!
//! ## What it does
//! Lets the build stage pass, then removes the signed provenance from the store, and goes on with the same attempt.
//! The log should be refused: it lost an entry.
//!
//! ## Why it matters
//! An artifact of unknown origin is one that nobody can recall.
//!
//! ## Example
//! `proofmark chaos gates --only provenance-removed`
//!
//! ## What to do instead
//! Keep the log append-only, and let others remember its checkpoints.
//!
//! ## References
//! - SLSA provenance, <https://slsa.dev/spec/v1.0/provenance>
//! - OWASP CICD-SEC-9, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, Planting, Tamper};

pub const ENTRY: Entry = Entry {
    id: "provenance-removed",
    stage: Stage::Integration,
    blocks: Blocks::Refusal,
    fix: "a log that lost an entry must be refused whole: report this",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    if ground.config.build.is_none() {
        return Plan::not_here("the tree builds no artifact");
    }
    if ground.config.integration.is_none() {
        return Plan::not_here("the tree has no stage after its build");
    }
    vec![Plan::Plant(Planting {
        variant: String::new(),
        what: "the signed provenance, removed from the store after the build".to_owned(),
        commits: Vec::new(),
        tamper: Some(Tamper::ProvenanceRemoved),
    })]
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason};

    #[test]
    fn there_must_be_a_stage_that_asks_for_it() {
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no artifact"));
    }
}
