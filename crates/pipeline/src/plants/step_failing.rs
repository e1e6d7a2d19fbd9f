//! # plant/step-failing
//! A step of the team fails.
//!
//! ## What it does
//! Exchanges the command of each step, in turn, for one that writes a report of a failed test. `control/steps-passed` should
//! block the commit stage.
//!
//! ## Why it matters
//! It is the plainest of all bad commits: one whose tests fail.
//!
//! ## Example
//! `proofmark chaos gates --only step-failing`
//!
//! ## What to do instead
//! Leave the steps as they are; where less is really enough, have an approver sign it.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PW.8, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, reports};

pub const ENTRY: Entry = Entry {
    id: "step-failing",
    stage: Stage::Commit,
    blocks: Blocks::Control("steps-passed"),
    fix: "a report with a failed test must block: see `proofmark explain control/steps-passed`",
    plan,
};

/// One test, and it failed.
const JUNIT: &str = r#"<testsuite><testcase name="planted"><failure message="planted"/></testcase></testsuite>"#;
/// One result of level error.
const SARIF: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"planted"}},"results":[{"ruleId":"planted","level":"error","message":{"text":"planted"}}]}]}"#;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    ground.each_step("reports a failure", |step, steps, at| {
        reports(step, steps, at, SARIF, JUNIT, "; exit 1")
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
        assert!(steps[1].run[2].contains("<failure"), "{:?}", steps[1].run);
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no step"));
    }
}
