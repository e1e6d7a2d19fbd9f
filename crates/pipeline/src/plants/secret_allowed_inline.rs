//! # plant/secret-allowed-inline
//! A secret is committed with a comment beside it that allows it.
//!
//! ## What it does
//! Commits a token on a line that also carries an inline allow: ours with a reason, and gitleaks'. Both hide a finding in
//! `check`, the hook and the editor. `control/no-secrets` should block the commit stage all the same.
//!
//! ## Why it matters
//! Whoever writes the secret also writes the comment. If that were enough, the judged would write the judge.
//!
//! ## Example
//! `proofmark chaos gates --only secret-allowed-inline`
//!
//! ## What to do instead
//! Have an approver sign a waiver for that one finding, with a reason and an end.
//!
//! ## References
//! - OWASP CICD-SEC-6, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>
//! - <https://cwe.mitre.org/data/definitions/798.html>

use evidence::Stage;

use super::secret_token::token;
use crate::gate_experiment::ground::{Blocks, Edit, Entry, FOLDER, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "secret-allowed-inline",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "clear findings by signed waivers only, never by what stands in the tree",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let ours = ["proofmark", "allow secret/github-token a sample of the manual"].join(":");
    let theirs = ["gitleaks", "allow"].join(":");
    [("proofmark", ours), ("gitleaks", theirs)]
        .into_iter()
        .map(|(variant, comment)| {
            let text = format!("TOKEN = {} # {comment}\n", token(ground, variant));
            let file = format!("{FOLDER}/{variant}.ini");
            let what = format!("a token beside an inline allow of {variant}");
            Plan::of(variant, what, vec![Edit::Write(file, text.into_bytes())])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn secret_and_allow_stand_on_one_line() {
        let plans = plan(&super::ENTRY, "", &[]);
        assert_eq!(plans.len(), 2);
        let text = written(&plans, "proofmark-plant/gitleaks.ini");
        assert_eq!(text.lines().count(), 1);
        assert!(text.contains("gh") && text.trim_end().ends_with("allow"), "{text}");
    }
}
