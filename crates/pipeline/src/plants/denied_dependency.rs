//! # plant/denied-dependency
//! A package that the project denies is pulled in.
//!
//! ## What it does
//! For each package URL in `dependencies.deny`: commits a project that pulls it in. `control/dependency-policy` should block
//! the commit stage.
//!
//! ## Why it matters
//! A list of what may not be used is worth what holds releases against it.
//!
//! ## Example
//! `proofmark chaos gates --only denied-dependency`
//!
//! ## What to do instead
//! Take the package out, or change the list in a change of its own.
//!
//! ## References
//! - OWASP CICD-SEC-3, <https://owasp.org/www-project-top-10-ci-cd-security-risks/>
//! - package URL, <https://github.com/package-url/purl-spec>

use evidence::Stage;
use packages::purl::Purl;

use crate::gate_experiment::ground::{Blocks, Ecosystem, Entry, Ground, Package, Plan};

pub const ENTRY: Entry = Entry {
    id: "denied-dependency",
    stage: Stage::Commit,
    blocks: Blocks::Control("dependency-policy"),
    fix: "see `proofmark explain control/dependency-policy`; the package URL in `dependencies.deny` may name another package",
    plan,
};

/// Of a longer list the first ones are planted.
const DENIED_MAX: usize = 5;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let denied = &ground.config.dependencies.deny;
    if denied.is_empty() {
        return Plan::not_here("`dependencies.deny` is empty");
    }
    denied.iter().take(DENIED_MAX).map(|text| of(ground, text)).collect()
}

fn of(ground: &Ground<'_>, text: &str) -> Plan {
    let Ok(purl) = Purl::parse(text) else {
        return Plan::without(text, "it is no package URL");
    };
    let Some(ecosystem) = Ecosystem::of_purl_kind(purl.kind()) else {
        return Plan::without(text, format!("no lock file of `{}` can be written here", purl.kind()));
    };
    let name = match purl.namespace() {
        Some(namespace) => format!("{namespace}/{}", purl.name()),
        None => purl.name().to_owned(),
    };
    let version = purl.version().unwrap_or("1.0.0").trim_start_matches('v');
    let edits = ground.project(&Package {
        ecosystem,
        name: &name,
        version,
        source: None,
        licence: None,
    });
    Plan::of(
        text,
        format!("{name} {version}, which `dependencies.deny` names"),
        edits,
    )
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason, written};

    #[test]
    fn every_denied_package_is_pulled_in_once() {
        let config = "[dependencies]\ndeny = [\"pkg:npm/%40a/b@2.0.0\", \"pkg:cargo/openssl\"]\n";
        let plans = plan(&super::ENTRY, config, &[]);
        assert!(written(&plans, "proofmark-plant/package-lock.json").contains("node_modules/@a/b"));
        assert!(written(&plans, "proofmark-plant/Cargo.lock").contains("name = \"openssl\""));
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("empty"));
    }
}
