//! # plant/secret-in-history
//! A secret is committed, and removed by the next commit.
//!
//! ## What it does
//! Commits a token, then removes it: HEAD is clean, the history isn't. `control/no-secrets` should block the commit stage.
//! Only a tree in a git repository with `commit.history` on is judged so.
//!
//! ## Why it matters
//! Removing a secret in a later commit leaves it in every clone. A scan of HEAD alone calls that clean.
//!
//! ## Example
//! `proofmark chaos gates --only secret-in-history`
//!
//! ## What to do instead
//! Revoke the secret where it was issued, first; then clean up the history.
//!
//! ## References
//! - <https://cwe.mitre.org/data/definitions/798.html>
//! - <https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/removing-sensitive-data-from-a-repository>

use evidence::Stage;

use super::secret_token::token;
use crate::gate_experiment::ground::{Blocks, Edit, Entry, FOLDER, Ground, Plan, Planting};

pub const ENTRY: Entry = Entry {
    id: "secret-in-history",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "leave `commit.history` on, and clone with the whole history where releases are judged",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let file = format!("{FOLDER}/deploy.sh");
    let text = format!("#!/bin/sh\nexport TOKEN={}\n", token(ground, "token of the history"));
    vec![Plan::Plant(Planting {
        variant: String::new(),
        what: "a token in one commit, removed by the next".to_owned(),
        commits: vec![
            vec![Edit::Write(file.clone(), text.into_bytes())],
            vec![Edit::Remove(file)],
        ],
        tamper: None,
    })]
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::plan;
    use crate::gate_experiment::ground::{Edit, Plan};

    #[test]
    fn the_last_commit_takes_it_away() {
        let plans = plan(&super::ENTRY, "", &[]);
        let [Plan::Plant(planting)] = &plans[..] else {
            panic!("{plans:?}")
        };
        assert_eq!(planting.commits.len(), 2);
        assert_eq!(
            planting.commits[1],
            [Edit::Remove("proofmark-plant/deploy.sh".to_owned())]
        );
    }
}
