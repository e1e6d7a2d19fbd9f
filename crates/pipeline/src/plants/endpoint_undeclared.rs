//! # plant/endpoint-undeclared
//! An endpoint's document says that anybody may call it.
//!
//! ## What it does
//! Takes the authentication requirement of the first secured operation out of the OpenAPI document that dynamic tests read.
//! `control/controls-not-loosened` should hold the commit stage until an approver signed it.
//!
//! ## Why it matters
//! A test that asks the document who may call an endpoint believes whatever the document says.
//!
//! ## Example
//! `proofmark chaos gates --only endpoint-undeclared`
//!
//! ## What to do instead
//! Keep the requirement; where an endpoint is to be public, have an approver sign that.
//!
//! ## References
//! - OWASP API2:2023, <https://owasp.org/API-Security/editions/2023/en/0xa2-broken-authentication/>

use evidence::Stage;
use serde_json::{Value, json};

use crate::gate_experiment::ground::{Blocks, Edit, Entry, Ground, Plan};

pub const ENTRY: Entry = Entry {
    id: "endpoint-undeclared",
    stage: Stage::Commit,
    blocks: Blocks::Control("controls-not-loosened"),
    fix: "release once with the requirement first: secured routes are compared with those of the release before",
    plan,
};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let Some(integration) = &ground.config.integration else {
        return Plan::not_here("the tree has no integration stage");
    };
    let path = &integration.openapi;
    let document = (ground.read)(path).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(mut document) = document else {
        return Plan::not_here(format!("`{path}` is no JSON document of the tree"));
    };
    match open_one(&mut document) {
        Some(route) => {
            let text = format!("{document:#}\n");
            Plan::one(
                format!("{route} needs no authentication by `{path}`"),
                vec![Edit::Write(path.clone(), text.into_bytes())],
            )
        }
        None => Plan::not_here(format!("no operation of `{path}` asks for authentication")),
    }
}

/// Takes the requirement from the first operation that has one; the answer is which.
fn open_one(document: &mut Value) -> Option<String> {
    let everywhere = asks(document.get("security"));
    for (path, item) in document.get_mut("paths")?.as_object_mut()? {
        for method in METHODS {
            let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) else {
                continue;
            };
            if asks(operation.get("security")) || (everywhere && !operation.contains_key("security")) {
                operation.insert("security".to_owned(), json!([]));
                return Some(format!("{} {path}", method.to_uppercase()));
            }
        }
    }
    None
}

/// Whether a list of requirements leaves no way without one.
fn asks(security: Option<&Value>) -> bool {
    security.and_then(Value::as_array).is_some_and(|ways| {
        !ways.is_empty()
            && ways
                .iter()
                .all(|way| way.as_object().is_some_and(|way| !way.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::open_one;

    #[test]
    fn the_requirement_may_stand_at_the_top() {
        let mut document = json!({"paths": {"/a": {"get": {}, "post": {"security": [{"token": []}]}}}});
        assert_eq!(open_one(&mut document).as_deref(), Some("POST /a"));
        assert_eq!(document["paths"]["/a"]["post"]["security"], json!([]));
        assert_eq!(open_one(&mut document), None);
        let mut document = json!({"security": [{"token": []}], "paths": {"/a": {"get": {}}}});
        assert_eq!(open_one(&mut document).as_deref(), Some("GET /a"));
        let mut open = json!({"security": [{"token": []}, {}], "paths": {"/a": {"get": {}}}});
        assert_eq!(open_one(&mut open), None);
    }
}
