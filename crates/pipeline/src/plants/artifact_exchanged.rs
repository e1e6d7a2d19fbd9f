//! # plant/artifact-exchanged
//! An artifact is exchanged after its build.
//!
//! ## What it does
//! Lets the build stage pass, then changes one bit of every stored artifact, as somebody could who can write to the store,
//! and goes on with the same attempt. The integration stage should refuse the bytes before it runs them.
//!
//! ## Why it matters
//! Tests say something about the bytes they tested. Whoever can exchange them afterwards releases something else.
//!
//! ## Example
//! `proofmark chaos gates --only artifact-exchanged`
//!
//! ## What to do instead
//! Address artifacts by digest everywhere, and check the digest where they are used.
//!
//! ## References
//! - SLSA, verifying artifacts, <https://slsa.dev/spec/v1.0/verifying-artifacts>
//! - OWASP CICD-SEC-9, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, Planting, Tamper};

pub const ENTRY: Entry = Entry {
    id: "artifact-exchanged",
    stage: Stage::Integration,
    blocks: Blocks::Refusal,
    fix: "an artifact's bytes must be checked against its provenance wherever they are used: report this",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    if ground.config.build.is_none() {
        return Plan::not_here("the tree builds no artifact");
    }
    if ground.config.integration.is_none() {
        return Plan::not_here("the tree has no integration stage that would run it");
    }
    vec![Plan::Plant(Planting {
        variant: String::new(),
        what: "one bit of every stored artifact, after its build".to_owned(),
        commits: Vec::new(),
        tamper: Some(Tamper::ArtifactsExchanged),
    })]
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason};

    #[test]
    fn there_must_be_a_stage_that_runs_it() {
        let build = "[[build.artifact]]\nname = \"a\"\nrun = [\"true\"]\npath = \"a\"\n";
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no artifact"));
        assert!(reason(&plan(&super::ENTRY, build, &[])).contains("no integration stage"));
    }
}
