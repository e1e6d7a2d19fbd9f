//! # plant/step-faked
//! A step of the team is exchanged for one that writes a good report itself.
//!
//! ## What it does
//! Exchanges the command of each step, in turn, for one that writes a report in which everything passed, without looking at
//! anything. `control/controls-not-loosened` should hold the commit stage: what judged the last release is another now.
//!
//! ## Why it matters
//! A report is as good as the program that wrote it, and the change that is judged also names that program.
//!
//! ## Example
//! `proofmark chaos gates --only step-faked`
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
    id: "step-faked",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the right step first: a step is held against the one of the release before",
    plan,
};

/// One test, and it passed.
const JUNIT: &str = r#"<testsuite><testcase name="planted"/></testsuite>"#;
/// No result.
const SARIF: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"planted"}},"results":[]}]}"#;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    ground.each_step("writes a good report, and does nothing else", |step, steps, at| {
        reports(step, steps, at, SARIF, JUNIT, "")
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
        assert!(!steps[1].run[2].contains("failure"), "{:?}", steps[1].run);
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no step"));
    }
}
