//! # plant/experiment-removed
//! A chaos experiment is taken out of the release.
//!
//! ## What it does
//! Removes each of `staging.experiments`, in turn. `control/controls-not-loosened` should hold the commit stage until an
//! approver signed it.
//!
//! ## Why it matters
//! An attack that is not made any more is one that nobody has to withstand.
//!
//! ## Example
//! `proofmark chaos gates --only experiment-removed`
//!
//! ## What to do instead
//! Mend what the experiment found instead.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "experiment-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the experiment first: what the plan holds is compared with the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let experiments = ground.config.staging.iter().flat_map(|staging| &staging.experiments);
    let plans: Vec<Plan> = experiments
        .enumerate()
        .filter_map(|(at, path)| {
            let edit = ground.reconfigured(|config| {
                let listed = config.get_mut("staging")?.get_mut("experiments")?.as_array_mut()?;
                (at < listed.len()).then(|| listed.remove(at)).map(|_| ())
            })?;
            Some(Plan::of(path, format!("{path} is not run any more"), vec![edit]))
        })
        .collect();
    if plans.is_empty() {
        return Plan::not_here("the tree has no experiment");
    }
    plans
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn one_is_left_of_two() {
        let config = "[staging]\nexperiments = [\"a.toml\", \"b.toml\"]\n";
        let plans = plan(&super::ENTRY, config, &[]);
        assert_eq!(plans.len(), 2);
        assert_eq!(configured(&plans).config.staging.unwrap().experiments, ["a.toml"]);
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no experiment"));
    }
}
