//! # plant/step-silenced
//! A step of the team is exchanged for one that does nothing.
//!
//! ## What it does
//! Exchanges the command of each step, in turn, for one that succeeds and writes no report. `control/steps-passed` should
//! block the commit stage.
//!
//! ## Why it matters
//! An exit code of 0 is what a program says that did nothing at all.
//!
//! ## Example
//! `proofmark chaos gates --only step-silenced`
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
    id: "step-silenced",
    stage: Stage::Commit,
    blocks: Blocks::Control("steps-passed"),
    fix: "a step without a report must not pass: see `proofmark explain control/steps-passed`",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    ground.each_step("does nothing, and reports nothing", |_, steps, at| {
        let step = steps.get_mut(at)?.as_table_mut()?;
        step.insert("run".to_owned(), toml::Value::Array(vec!["true".into()]));
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
        assert_eq!(steps[1].run, ["true"]);
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no step"));
    }
}
