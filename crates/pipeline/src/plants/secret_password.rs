//! # plant/secret-password
//! A password is committed in a `.env` file.
//!
//! ## What it does
//! Commits a `.env` file with a database password made from the seed. `control/no-secrets` should block the commit stage.
//!
//! ## Why it matters
//! A password has no form of its own: a scanner that knows only providers' tokens passes it.
//!
//! ## Example
//! `proofmark chaos gates --only secret-password`
//!
//! ## What to do instead
//! Lease database credentials from the broker; keep `.env` files out of the repository.
//!
//! ## References
//! - <https://cwe.mitre.org/data/definitions/798.html>
//! - OWASP CICD-SEC-6, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>

use evidence::Stage;

use crate::gate_experiment::ground::{ALNUM, Blocks, Edit, Entry, FOLDER, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "secret-password",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "see `proofmark explain control/no-secrets`; if the rule misses this kind of value, report it",
    plan,
};

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let password = ground.letters("password", ALNUM, 18);
    let text = format!("DATABASE_HOST=db.internal\nDATABASE_USER=shop\nDATABASE_PASSWORD={password}!\n");
    let file = format!("{FOLDER}/.env");
    Plan::one(
        "a database password in a .env file",
        vec![Edit::Write(file, text.into_bytes())],
    )
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn the_password_has_no_form_of_its_own() {
        let text = written(&plan(&super::ENTRY, "", &[]), "proofmark-plant/.env");
        let password = text
            .lines()
            .find_map(|line| line.strip_prefix("DATABASE_PASSWORD="))
            .unwrap();
        assert_eq!(password.len(), 19);
    }
}
