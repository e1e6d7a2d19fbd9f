//! # plant/advisory-record-removed
//! A record is taken out of the advisory database, and the rest is pinned.
//!
//! ## What it does
//! Removes one record, chosen by the seed, and pins the digest of what is left, so that the database is whole by its own
//! account. `control/controls-not-loosened` should hold the commit stage until an approver signed it.
//!
//! ## Why it matters
//! Whoever owns the database can hide a vulnerability by leaving its record out, and a pin that the same change may move
//! protects nothing.
//!
//! ## Example
//! `proofmark chaos gates --only advisory-record-removed`
//!
//! ## What to do instead
//! Take a newer database from its source as it is; have an approver sign what was withdrawn there.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Edit, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "advisory-record-removed",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the record first: records are compared with those of the release before",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Some(advisories) = &ground.config.advisories else {
        return Plan::not_here("the tree names no advisory database");
    };
    let paths: Vec<&str> = ground.advisory_paths(&advisories.path).collect();
    if paths.is_empty() {
        return Plan::not_here("the advisory database is not among the files that are judged");
    }
    let gone = paths[ground.below("record", paths.len())];
    let prefix = format!("{}/", advisories.path);
    let mut left: Vec<(String, Vec<u8>)> = paths
        .iter()
        .filter(|path| **path != gone)
        .filter_map(|path| Some((path.strip_prefix(&prefix)?.to_owned(), (ground.read)(path)?)))
        .collect();
    left.sort();
    let digest = format!("sha256:{}", intel::digest_of(&left));
    let pin = ground.reconfigured(|config| {
        let advisories = config.get_mut("advisories")?.as_table_mut()?;
        advisories.insert("digest".to_owned(), digest.into());
        Some(())
    });
    match pin {
        Some(pin) => Plan::one(
            format!("{gone} is gone, and the pin is of what is left"),
            vec![Edit::Remove(gone.to_owned()), pin],
        ),
        None => Plan::not_here("proofmark.toml can't be rewritten"),
    }
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn the_pin_is_of_what_is_left() {
        let config = "[advisories]\npath = \"db\"\ndigest = \"sha256:00\"\n";
        let plans = plan(&super::ENTRY, config, &[("db/a.json", "{}")]);
        let pinned = configured(&plans).config.advisories.unwrap().digest;
        assert_eq!(pinned, format!("sha256:{}", intel::digest_of(&[])));
        assert!(reason(&plan(&super::ENTRY, config, &[])).contains("not among the files"));
    }
}
