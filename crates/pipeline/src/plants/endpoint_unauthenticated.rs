//! # plant/endpoint-unauthenticated
//! An endpoint serves whoever asks, against its own document.
//!
//! ## What it does
//! Applies the tree's own patch `switches/unauthenticated-endpoint.patch`: what makes an endpoint forget to ask differs from
//! program to program, so a tree brings it along (`examples/shop` does). `control/dynamic-test-clean` should block the
//! integration stage.
//!
//! ## Why it matters
//! Broken authentication passes every check of source and packages: only asking without a credential shows it.
//!
//! ## Example
//! `proofmark chaos gates examples/shop --only endpoint-unauthenticated`
//!
//! ## What to do instead
//! Ask for the credential in one place that every route goes through.
//!
//! ## References
//! - OWASP API2:2023, <https://owasp.org/API-Security/editions/2023/en/0xa2-broken-authentication/>
//! - CWE-306, <https://cwe.mitre.org/data/definitions/306.html>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Edit, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "endpoint-unauthenticated",
    stage: Stage::Integration,
    blocks: Blocks::Control("dynamic-test-clean"),
    fix: "see that the OpenAPI document names the route and who may call it, and that `requests_max` lets it be reached",
    plan,
};

const PATCH: &str = "switches/unauthenticated-endpoint.patch";

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    if ground.config.integration.is_none() {
        return Plan::not_here("the tree has no integration stage");
    }
    match (ground.read)(PATCH) {
        Some(patch) => Plan::one(format!("`{PATCH}` is applied"), vec![Edit::Patch(patch)]),
        None => Plan::not_here(format!("the tree brings no `{PATCH}`")),
    }
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, reason};

    #[test]
    fn a_tree_brings_its_own() {
        assert!(reason(&plan(&super::ENTRY, "", &[])).contains("no integration stage"));
    }
}
