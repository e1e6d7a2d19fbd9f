//! # plant/detector-removed
//! A detector is taken out of a chaos experiment.
//!
//! ## What it does
//! Removes each `[[detector]]` of each experiment, in turn. `control/controls-not-loosened` should hold the commit stage
//! until an approver signed it.
//!
//! ## Why it matters
//! Without a detector an experiment shows that the system survived, not that anybody would have noticed.
//!
//! ## Example
//! `proofmark chaos gates --only detector-removed`
//!
//! ## What to do instead
//! Mend the detector, or the rule it reads.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Edit, Entry, Ground, Plan, tables};

pub const ENTRY: Entry = Entry {
    id: "detector-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the detector first: experiments are compared by digest with the release before",
    plan,
};

/// Of more detectors the first ones are taken.
const DETECTORS_MAX: usize = 6;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let experiments = ground.config.staging.iter().flat_map(|staging| &staging.experiments);
    let plans: Vec<Plan> = experiments
        .flat_map(|path| of(ground, path))
        .take(DETECTORS_MAX)
        .collect();
    if plans.is_empty() {
        return Plan::not_here("no experiment of the tree, as TOML, has a detector");
    }
    plans
}

fn of(ground: &Ground<'_>, path: &str) -> Vec<Plan> {
    let text = (ground.read)(path).unwrap_or_default();
    let Ok(experiment) = String::from_utf8_lossy(&text).parse::<toml::Table>() else {
        return Vec::new();
    };
    let count = tables(&mut experiment.clone(), &["detector"]).map_or(0, |detectors| detectors.len());
    (0..count)
        .filter_map(|at| {
            let mut less = experiment.clone();
            let removed = tables(&mut less, &["detector"])?.remove(at);
            let id = removed.get("id").and_then(toml::Value::as_str).unwrap_or("detector");
            let text = toml::to_string(&less).ok()?;
            let edit = Edit::Write(path.to_owned(), text.into_bytes());
            Some(Plan::of(
                &format!("{path} {id}"),
                format!("{path} without `{id}`"),
                vec![edit],
            ))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn the_other_detector_stays() {
        let config = "[staging]\nexperiments = [\"a.toml\"]\n";
        let experiment = "title = \"t\"\n[[detector]]\nid = \"x\"\n[[detector]]\nid = \"y\"\n";
        let text = written(&plan(&super::ENTRY, config, &[("a.toml", experiment)]), "a.toml");
        assert!(text.contains("\"x\"") && !text.contains("\"y\""), "{text}");
        assert!(reason(&plan(&super::ENTRY, config, &[("a.toml", "title = \"t\"")])).contains("no experiment"));
    }
}
