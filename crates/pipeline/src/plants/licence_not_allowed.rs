//! # plant/licence-not-allowed
//! A package is shipped under a licence that the project doesn't accept.
//!
//! ## What it does
//! Commits an npm project whose lock file states a licence that `licences.allow` doesn't name.
//! `control/licences-allowed` should block the build stage.
//!
//! ## Why it matters
//! A licence is a condition on shipping; found after the release, it is a recall.
//!
//! ## Example
//! `proofmark chaos gates --only licence-not-allowed`
//!
//! ## What to do instead
//! Replace the package, or accept its licence in a change of its own.
//!
//! ## References
//! - SPDX licence list, <https://spdx.org/licenses/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Ecosystem, Entry, Ground, Package, Plan};

pub const ENTRY: Entry = Entry {
    id: "licence-not-allowed",
    stage: Stage::Build,
    blocks: Blocks::Control("licences-allowed"),
    fix: "see `proofmark explain control/licences-allowed`: every component's licence is held against `licences.allow`",
    plan,
};

/// One of these is missing in any list that somebody thought about.
const LICENCES: [&str; 4] = ["AGPL-3.0-only", "SSPL-1.0", "BUSL-1.1", "WTFPL"];

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Some(licences) = &ground.config.licences else {
        return Plan::not_here("the tree has no licence policy");
    };
    if ground.config.build.is_none() {
        return Plan::not_here("the tree has no build stage");
    }
    if !ground.may_come_from(Ecosystem::Npm) {
        return Plan::not_here(
            "lock files of npm state licences, and `dependencies.sources` lets nothing come from there",
        );
    }
    let Some(licence) = LICENCES
        .iter()
        .find(|name| licences.allow.iter().all(|allowed| allowed != *name))
    else {
        return Plan::not_here("`licences.allow` accepts everything that could be planted");
    };
    let edits = ground.project(&Package {
        ecosystem: Ecosystem::Npm,
        name: "left",
        version: "1.2.3",
        source: None,
        licence: Some(licence),
    });
    Plan::one(format!("a package under {licence}"), edits)
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn the_licence_is_one_that_is_not_on_the_list() {
        let build = "[[build.artifact]]\nname = \"a\"\nrun = [\"true\"]\npath = \"a\"\n";
        let config = format!("[licences]\nallow = [\"MIT\", \"AGPL-3.0-only\"]\n{build}");
        let lock = written(&plan(&super::ENTRY, &config, &[]), "proofmark-plant/package-lock.json");
        assert!(lock.contains("SSPL-1.0"), "{lock}");
        assert!(reason(&plan(&super::ENTRY, build, &[])).contains("no licence policy"));
    }
}
