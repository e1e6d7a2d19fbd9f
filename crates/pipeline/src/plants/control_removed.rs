//! # plant/control-removed
//! A control that the project added is taken out again.
//!
//! ## What it does
//! Removes each `[[control]]`, in turn. `control/controls-not-loosened` should hold the commit stage until an approver
//! signed it.
//!
//! ## Why it matters
//! The shortest way to a pass is to ask for less, in the same change.
//!
//! ## Example
//! `proofmark chaos gates --only control-removed`
//!
//! ## What to do instead
//! Put the control back, or have an approver run `proofmark approve loosened-controls`.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, tables};

pub const ENTRY: Entry = Entry {
    id: "control-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the control first: what is asked is compared with the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Ok(mut config) = ground.text.parse::<toml::Table>() else {
        return Plan::not_here("proofmark.toml can't be read");
    };
    let controls = tables(&mut config, &["control"]).cloned().unwrap_or_default();
    let plans: Vec<Plan> = controls
        .iter()
        .enumerate()
        .filter_map(|(at, control)| {
            let id = control.get("id")?.as_str()?;
            let edit = ground.reconfigured(|config| {
                let controls = tables(config, &["control"])?;
                (at < controls.len()).then(|| controls.remove(at)).map(|_| ())
            })?;
            Some(Plan::of(
                id,
                format!("control `{id}` is not asked any more as strictly"),
                vec![edit],
            ))
        })
        .collect();
    if plans.is_empty() {
        return Plan::not_here("proofmark.toml adds no `[[control]]`");
    }
    plans
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn it_is_gone_and_nothing_else() {
        let config = "[[control]]\nid = \"revocation-detected\"\nstage = \"staging\"\nwithin_seconds = 3\n";
        let text = written(&plan(&super::ENTRY, config, &[]), "proofmark.toml");
        assert!(
            !text.contains("revocation-detected") && text.contains("[release]"),
            "{text}"
        );
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("adds no"));
    }
}
