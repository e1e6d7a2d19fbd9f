//! # plant/advisories-removed
//! The pin of the advisory database is taken out.
//!
//! ## What it does
//! Removes `[advisories]`: nothing is matched against anything. `control/controls-not-loosened` should hold the commit stage
//! (and `control/no-known-vulnerabilities` would leave the build stage open).
//!
//! ## Why it matters
//! Whoever doesn't ask finds no vulnerability.
//!
//! ## Example
//! `proofmark chaos gates --only advisories-removed`
//!
//! ## What to do instead
//! Pin a newer database, not none.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "advisories-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the database first: its records are compared with those of the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    match ground.reconfigured(|config| config.remove("advisories").map(|_| ())) {
        Some(edit) => Plan::one("no advisory database is named any more", vec![edit]),
        None => Plan::not_here("the tree names no advisory database"),
    }
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn nothing_is_named_any_more() {
        let config = "[advisories]\npath = \"db\"\ndigest = \"sha256:00\"\n";
        assert!(
            configured(&plan(&super::ENTRY, config, &[]))
                .config
                .advisories
                .is_none()
        );
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("names no"));
    }
}
