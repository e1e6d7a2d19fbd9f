//! # plant/history-not-scanned
//! The scan of the git history is switched off.
//!
//! ## What it does
//! Sets `commit.history` to false. `control/no-secrets` should leave the commit stage open: what was not looked at is not
//! clean.
//!
//! ## Why it matters
//! A scan that looks at less finds less, and its report looks the same.
//!
//! ## Example
//! `proofmark chaos gates --only history-not-scanned`
//!
//! ## What to do instead
//! Leave the history on; where it is too long, scan it where time is cheaper.
//!
//! ## References
//! - NIST SSDF (SP 800-218), PO.4, <https://doi.org/10.6028/NIST.SP.800-218>
//! - OWASP CICD-SEC-4, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "history-not-scanned",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "what a scan left out must leave the answer open: see `proofmark explain source`",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let edit = ground.reconfigured(|config| {
        let commit = config.entry("commit").or_insert_with(|| toml::Table::new().into());
        commit.as_table_mut()?.insert("history".to_owned(), false.into());
        Some(())
    });
    match edit {
        Some(edit) => Plan::one("`commit.history` is false", vec![edit]),
        None => Plan::not_here("the history isn't scanned as it is"),
    }
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{configured, plan, reason};

    #[test]
    fn it_is_off() {
        assert!(!configured(&plan(&super::ENTRY, "", &[])).config.commit.history);
        assert!(reason(&plan(&super::ENTRY, "[commit]\nhistory = false\n", &[])).contains("isn't scanned"));
    }
}
