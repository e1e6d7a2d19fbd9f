//! # plant/secret-token
//! A token with a valid checksum is committed in a configuration file.
//!
//! ## What it does
//! Commits a YAML file with a token in GitHub's form, whose last six letters are the checksum of the rest. It is made from
//! the seed: nobody issued it. `control/no-secrets` should block the commit stage.
//!
//! ## Why it matters
//! A checksum that holds leaves no room for the excuse that it only looked like a token.
//!
//! ## Example
//! `proofmark chaos gates --only secret-token`
//!
//! ## What to do instead
//! Read the token from a file that the broker or the CI system delivers.
//!
//! ## References
//! - <https://cwe.mitre.org/data/definitions/798.html>
//! - OWASP CICD-SEC-6, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{ALNUM, Blocks, Edit, Entry, FOLDER, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "secret-token",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "see `proofmark explain control/no-secrets`; if the rule misses this kind of value, report it",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let text = format!("ci:\n  user: robot\n  token: {}\n", token(ground, "token"));
    let file = format!("{FOLDER}/ci.yaml");
    Plan::one(
        "a token with a valid checksum in a YAML file",
        vec![Edit::Write(file, text.into_bytes())],
    )
}

/// A token as GitHub's are made since 2021: 30 letters and the base-62 CRC-32 of them.
pub fn token(ground: &Ground<'_>, name: &str) -> String {
    let body = ground.letters(name, ALNUM, 30);
    let sum = source::base62_6(source::crc32(body.as_bytes()));
    format!("gh{}_{body}{}", "p", String::from_utf8_lossy(&sum))
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn the_checksum_is_of_the_body() {
        let text = written(&plan(&super::ENTRY, "", &[]), "proofmark-plant/ci.yaml");
        let token = text.trim().rsplit(' ').next().unwrap();
        let (body, sum) = token[4..].split_at(30);
        assert_eq!(source::base62_6(source::crc32(body.as_bytes())), sum.as_bytes());
    }
}
