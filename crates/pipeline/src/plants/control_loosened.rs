//! # plant/control-loosened
//! A limit that the project set is widened by one.
//!
//! ## What it does
//! Takes each number of each `[[control]]`, in turn, one step to the looser side. `control/controls-not-loosened` should
//! hold the commit stage until an approver signed it.
//!
//! ## Why it matters
//! A limit that goes up by one in every change is no limit.
//!
//! ## Example
//! `proofmark chaos gates --only control-loosened`
//!
//! ## What to do instead
//! Put the limit back, or have an approver run `proofmark approve loosened-controls`.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan, tables};
use evidence::Stage;
use policy::Tighter;

pub const ENTRY: Entry = Entry {
    id: "control-loosened",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the limit first: what is asked is compared with the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Ok(mut config) = ground.text.parse::<toml::Table>() else {
        return Plan::not_here("proofmark.toml can't be read");
    };
    let controls = tables(&mut config, &["control"]).cloned().unwrap_or_default();
    let mut plans = Vec::new();
    for (at, control) in controls.iter().enumerate() {
        let id = control.get("id").and_then(toml::Value::as_str).unwrap_or_default();
        let entry = policy::controls().iter().find(|entry| entry.id == id);
        for parameter in entry.into_iter().flat_map(|entry| entry.parameters) {
            let Some(value) = control.get(parameter.name).and_then(toml::Value::as_integer) else {
                continue;
            };
            let looser = match parameter.tighter {
                Tighter::Lower => value + 1,
                Tighter::Higher if value > 0 => value - 1,
                _ => continue,
            };
            let edit = ground.reconfigured(|config| {
                let control = tables(config, &["control"])?.get_mut(at)?.as_table_mut()?;
                control.insert(parameter.name.to_owned(), looser.into()).map(|_| ())
            });
            let what = format!("`{}` of `{id}` from {value} to {looser}", parameter.name);
            plans.extend(edit.map(|edit| Plan::of(&format!("{id}.{}", parameter.name), what, vec![edit])));
        }
    }
    if plans.is_empty() {
        return Plan::not_here("no `[[control]]` in proofmark.toml has a number");
    }
    plans
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn the_looser_side_is_the_control_s_own() {
        let config = "[[control]]\nid = \"revocation-detected\"\nstage = \"staging\"\nwithin_seconds = 3\n";
        let loaded = configured(&plan(&super::ENTRY, config, &[]));
        let control = loaded
            .controls
            .iter()
            .find(|spec| spec.id == "revocation-detected")
            .unwrap();
        assert_eq!(control.parameters["within_seconds"], 4);
        let config = "[[control]]\nid = \"provenance-observed\"\nstage = \"build\"\nslsa_level_min = 2\n";
        let loaded = configured(&plan(&super::ENTRY, config, &[]));
        let control = loaded
            .controls
            .iter()
            .find(|spec| spec.id == "provenance-observed")
            .unwrap();
        assert_eq!(control.parameters["slsa_level_min"], 1);
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("has a number"));
    }
}
