//! # plant/provenance-missing
//! An artifact is expected, and nothing says how it was built.
//!
//! ## What it does
//! Exchanges the build command of each artifact, in turn, for one that fails, so that no provenance is stated for it.
//! `control/provenance-observed` should block the build stage.
//!
//! ## Why it matters
//! What is not built here has to come from somewhere. A gate that doesn't ask for provenance takes it from anywhere.
//!
//! ## Example
//! `proofmark chaos gates --only provenance-missing`
//!
//! ## What to do instead
//! Let `release` build every artifact that it ships.
//!
//! ## References
//! - SLSA provenance, <https://slsa.dev/spec/v1.0/provenance>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, tables};

pub const ENTRY: Entry = Entry {
    id: "provenance-missing",
    stage: Stage::Build,
    blocks: Blocks::Control("provenance-observed"),
    fix: "see `proofmark explain control/provenance-observed`: every artifact of the plan needs provenance of this attempt",
    plan,
};

/// Of more artifacts the first ones are taken.
const ARTIFACTS_MAX: usize = 3;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Some(build) = &ground.config.build else {
        return Plan::not_here("the tree builds no artifact");
    };
    let artifacts = build.artifact.iter().take(ARTIFACTS_MAX).enumerate();
    let plans: Vec<Plan> = artifacts
        .filter_map(|(at, artifact)| {
            let edit = ground.reconfigured(|config| {
                let artifact = tables(config, &["build", "artifact"])?.get_mut(at)?.as_table_mut()?;
                artifact.insert("run".to_owned(), toml::Value::Array(vec!["false".into()]));
                Some(())
            })?;
            let what = format!("a build of `{}` that makes nothing", artifact.name);
            Some(Plan::of(&artifact.name, what, vec![edit]))
        })
        .collect();
    if plans.is_empty() {
        return Plan::not_here("the tree builds no artifact");
    }
    plans
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn only_the_command_is_another() {
        let build = "[[build.artifact]]\nname = \"a\"\nrun = [\"make\"]\npath = \"a\"\n";
        let loaded = configured(&plan(&super::ENTRY, build, &[]));
        let artifact = &loaded.config.build.as_ref().unwrap().artifact[0];
        assert_eq!(
            (artifact.run.as_slice(), artifact.path.as_str()),
            (&["false".to_owned()][..], "a")
        );
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no artifact"));
    }
}
