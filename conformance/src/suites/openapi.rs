//! `openapi`: other people's descriptions, valid and faulty, against [`dast::load`].
//!
//! A document of OpenAPI 3.0 or 3.1 with a table of paths must load, and each of its operations be a route or named by a
//! gap; everything else (Swagger 2.0, fragments, faulty ones) must give diagnostics. Cases are named `VERSION/PATH`, `other/PATH` where
//! the document names no version.

use serde_json::Value;

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

const METHODS: [&str; 8] = ["get", "post", "put", "patch", "delete", "head", "options", "trace"];

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    for path in data.files()? {
        if ![".yml", ".yaml", ".json"].iter().any(|end| path.ends_with(end)) {
            unplaced(tally, &path);
            continue;
        }
        let bytes = data.bytes(&path)?;
        // JSON is YAML; what is neither is `null` here, and a faulty document.
        let document: Value = yaml_serde::from_slice(&bytes).unwrap_or_default();
        let version = ["openapi", "swagger"]
            .iter()
            .find_map(|key| document[key].as_str())
            .unwrap_or("other");
        let operations = operations(&document);
        let expected = if speaks(&document) {
            "every operation"
        } else {
            "diagnostics"
        };
        let got = guarded(|| match dast::load(&bytes, &path) {
            Ok(api) => answer(&api, &operations),
            Err(found) if found.is_empty() => "no diagnostic".to_owned(),
            Err(_) => "diagnostics".to_owned(),
        });
        tally.case(&format!("{version}/{path}"), expected, &got);
    }
    Ok(())
}

fn speaks(document: &Value) -> bool {
    let version = document["openapi"].as_str().unwrap_or_default();
    document["paths"].is_object() && ["3.0", "3.1"].iter().any(|spoken| version.starts_with(spoken))
}

fn answer(api: &dast::Api, operations: &[String]) -> String {
    let routes = api.routes();
    let known = |operation: &String| {
        // A server's path stands before that of the operation.
        let (method, path) = operation.split_once(' ').unwrap_or_default();
        let is_route = routes
            .iter()
            .any(|route| route.starts_with(method) && route.ends_with(path));
        is_route
            || api
                .gaps
                .iter()
                .any(|gap| gap.what == path || gap.what.split(" (").next() == Some(operation))
    };
    let passed_over: Vec<&String> = operations.iter().filter(|operation| !known(operation)).collect();
    if passed_over.is_empty() {
        "every operation".to_owned()
    } else {
        format!("passed over: {passed_over:?}")
    }
}

/// `METHOD /path` of each operation; a path may stand for another one of the document.
fn operations(document: &Value) -> Vec<String> {
    let items = document["paths"].as_object().into_iter().flatten();
    let items = items.map(|(path, item)| {
        let target = item["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
        (path, target.and_then(|target| document.pointer(target)).unwrap_or(item))
    });
    items
        .flat_map(|(path, item)| {
            let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect()
}
