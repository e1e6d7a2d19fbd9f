//! # plant/foreign-source
//! A package comes from a source that is not allowed.
//!
//! ## What it does
//! For each ecosystem that the tree has lock files of: commits a project whose lock file takes a package from a git
//! repository or a registry nobody named. `control/dependency-policy` should block the commit stage.
//!
//! ## Why it matters
//! A name says nothing about who serves the bytes: a lock file that points elsewhere is how a package is taken over
//! without touching its registry.
//!
//! ## Example
//! `proofmark chaos gates --only foreign-source`
//!
//! ## What to do instead
//! Take the package from an allowed registry, or allow the source in a change of its own.
//!
//! ## References
//! - OWASP CICD-SEC-3, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>
//! - CWE-494, <https://cwe.mitre.org/data/definitions/494.html>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Ecosystem, Entry, Ground, HEX, Package, Plan};

pub const ENTRY: Entry = Entry {
    id: "foreign-source",
    stage: Stage::Commit,
    blocks: Blocks::Control("dependency-policy"),
    fix: "name the registries that packages may come from in `dependencies.sources`",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    if ground.config.dependencies.sources.is_empty() {
        return Plan::not_here("`dependencies.sources` is empty: packages may come from anywhere");
    }
    let plans: Vec<Plan> = ground
        .ecosystems()
        .into_iter()
        .filter_map(|ecosystem| of(ground, ecosystem))
        .collect();
    if plans.is_empty() {
        return Plan::not_here("the tree has no lock file of Cargo or npm");
    }
    plans
}

fn of(ground: &Ground<'_>, ecosystem: Ecosystem) -> Option<Plan> {
    let source = match ecosystem {
        Ecosystem::Cargo => {
            let commit = ground.letters("commit", HEX, 40);
            format!("git+https://git.planted.invalid/left?branch=main#{commit}")
        }
        Ecosystem::Npm => "https://registry.planted.invalid/left/-/left-1.2.3.tgz".to_owned(),
        // A module's name is its source.
        Ecosystem::Go => return None,
    };
    let edits = ground.project(&Package {
        ecosystem,
        name: "left",
        version: "1.2.3",
        source: Some(&source),
        licence: None,
    });
    Some(Plan::of(
        ecosystem.name(),
        "a package from a host that nobody allowed",
        edits,
    ))
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn the_lock_file_points_elsewhere() {
        let files = [("Cargo.lock", ""), ("web/package-lock.json", "{}")];
        let plans = plan(&super::ENTRY, "", &files);
        assert!(written(&plans, "proofmark-plant/Cargo.lock").contains("git.planted.invalid"));
        assert!(written(&plans, "proofmark-plant/package-lock.json").contains("registry.planted.invalid"));
        assert!(reason(&plan(&super::ENTRY, "[dependencies]\nsources = []\n", &files)).contains("anywhere"));
        assert!(reason(&plan(&super::ENTRY, "", &[("go.sum", "")])).contains("no lock file"));
    }
}
