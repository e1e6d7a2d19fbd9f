//! # plant/step-removed
//! A step of the team is taken out of the configuration.
//!
//! ## What it does
//! Removes each `[[commit.step]]`, in turn. `control/controls-not-loosened` should hold the commit stage until an approver
//! signed that less is enough.
//!
//! ## Why it matters
//! A test that isn't run any more looks exactly like one that passes.
//!
//! ## Example
//! `proofmark chaos gates --only step-removed`
//!
//! ## What to do instead
//! Leave the steps as they are; where less is really enough, have an approver sign it.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PW.8, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "step-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the step first: what the plan holds is compared with the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    ground.each_step("is not run any more", |_, steps, at| {
        steps.remove(at);
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    const STEPS: &str = "[[commit.step]]\nname = \"lint\"\nrun = [\"make\"]\nreport = \"a.sarif\"\n[[commit.step]]\nname = \"test\"\nrun = [\"make\"]\nreport = \"a.xml\"\n";

    #[test]
    fn it_is_the_configuration_that_changes() {
        let plans = plan(&super::ENTRY, STEPS, &[]);
        assert_eq!(plans.len(), 2);
        let steps = configured(&plans).config.commit.step;
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].name, "lint");
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no step"));
    }
}
