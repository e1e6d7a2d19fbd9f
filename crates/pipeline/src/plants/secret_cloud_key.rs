//! # plant/secret-cloud-key
//! A cloud provider's access key is committed.
//!
//! ## What it does
//! Commits a credentials file with an access key id and a secret key in the form that AWS gives them. Both are made from
//! the seed and open nothing. `control/no-secrets` should block the commit stage.
//!
//! ## Why it matters
//! Keys of this form are found by strangers within minutes of being pushed, and used.
//!
//! ## Example
//! `proofmark chaos gates --only secret-cloud-key`
//!
//! ## What to do instead
//! Let the workload have an identity of its own and lease credentials at run time.
//!
//! ## References
//! - <https://cwe.mitre.org/data/definitions/798.html>
//! - OWASP CICD-SEC-6, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{ALNUM, BASE32, BASE64, Blocks, Edit, Entry, FOLDER, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "secret-cloud-key",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "see `proofmark explain control/no-secrets`; if the rule misses this kind of value, report it",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let id = ground.letters("access key id", BASE32, 16);
    let middle = ground.letters("secret key", BASE64, 38);
    let (first, last) = (ground.letters("first", ALNUM, 1), ground.letters("last", ALNUM, 1));
    let text = format!(
        "[default]\naws_access_key_id = AK{}{id}\naws_secret_access_key = {first}{middle}{last}\n",
        "IA"
    );
    let file = format!("{FOLDER}/credentials.ini");
    Plan::one(
        "an access key id and its secret key in a credentials file",
        vec![Edit::Write(file, text.into_bytes())],
    )
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn both_halves_have_their_form() {
        let text = written(&plan(&super::ENTRY, "", &[]), "proofmark-plant/credentials.ini");
        let values: Vec<&str> = text
            .lines()
            .filter_map(|line| Some(line.split_once(" = ")?.1))
            .collect();
        assert_eq!(
            values.iter().map(|value| value.len()).collect::<Vec<_>>(),
            [20, 40],
            "{text}"
        );
    }
}
