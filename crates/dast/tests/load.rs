//! Documents of all kinds: what loads, what is a diagnostic, and that nothing panics.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dast::{Options, Scope, Target};
use net::http::{Handler, Response, Server, ServerLimits};
use proptest::prelude::*;
use serde_json::{Value, json};

fn codes(document: &str) -> Vec<String> {
    match dast::load(document.as_bytes(), "openapi.json") {
        Ok(_) => Vec::new(),
        Err(diagnostics) => diagnostics.into_iter().map(|diagnostic| diagnostic.code).collect(),
    }
}

#[test]
fn what_is_no_document_is_a_diagnostic() {
    let rows = [
        ("", vec!["dast/document-shape"]),
        ("{", vec!["dast/document-not-read"]),
        ("a: [", vec!["dast/document-not-read"]),
        ("[]", vec!["dast/document-shape"]),
        ("{}", vec!["dast/document-shape", "dast/document-shape"]),
        (r#"{"swagger": "2.0", "paths": {}}"#, vec!["dast/document-version"]),
        (
            r#"{"openapi": "4.0.0", "paths": []}"#,
            vec!["dast/document-version", "dast/document-shape"],
        ),
        (r#"{"openapi": "3.1.0", "paths": {}}"#, vec![]),
        ("openapi: 3.0.3\npaths: {}\n", vec![]),
        ("\u{feff}{\"openapi\": \"3.1.0\", \"webhooks\": {}}", vec![]),
    ];
    for (document, expect) in rows {
        assert_eq!(codes(document), expect, "{document}");
    }
    let diagnostic = dast::load(b"{\n  \"openapi\": 3,,\n}", "api/openapi.json")
        .unwrap_err()
        .remove(0);
    let span = diagnostic.span.unwrap();
    assert_eq!((span.path.as_str(), span.line), ("api/openapi.json", 2));
    assert!(!diagnostic.message.contains("line"), "{}", diagnostic.message);
}

#[test]
fn what_is_not_understood_is_a_gap() {
    let document = json!({
        "openapi": "3.0.3", "info": {"title": "t", "version": "1"},
        "paths": {
            "/a/{x}": {"get": {"parameters": [{"$ref": "other.json#/p"}], "responses": {"200": {"content": {"application/json": {"schema": {"unevaluatedProperties": false}}}}}}},
            "/b": {"post": {"requestBody": {"required": true, "content": {"application/x-protobuf": {}}}}, "get": 7},
            "/c": {"$ref": "#/nowhere"},
            "no-slash": {},
        },
    });
    let api = dast::load(document.to_string().as_bytes(), "openapi.json").unwrap();
    assert_eq!(api.routes(), ["GET /a/{x}", "POST /b"]);
    let gaps: Vec<(&str, &str, bool)> = api
        .gaps
        .iter()
        .map(|gap| (gap.id.as_str(), gap.what.as_str(), gap.blocks))
        .collect();
    assert_eq!(
        gaps,
        [
            ("dast/unresolved-reference", "/c", true),
            ("dast/unresolved-reference", "GET /a/{x}", true),
            ("dast/unsupported", "GET /a/{x}", false),
            ("dast/unsupported", "GET /a/{x}", false),
            ("dast/unsupported", "GET /b", true),
            ("dast/unsupported", "POST /b", false),
            ("dast/unsupported", "no-slash", true),
        ]
    );
    for gap in &api.gaps {
        assert!(dast::page(&gap.id).is_some(), "{} has a page", gap.id);
    }
}

fn documents(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            documents(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| ["json", "yml", "yaml"].iter().any(|known| extension == *known))
        {
            found.push(path);
        }
    }
}

/// Other projects' documents, valid and faulty: set `PROOFMARK_DATA` to a folder that has them in `openapi/`.
#[test]
fn documents_of_other_projects_load_or_say_why() {
    let folder = std::env::var_os("PROOFMARK_DATA").map(|data| Path::new(&data).join("openapi"));
    let Some(folder) = folder.filter(|folder| folder.is_dir()) else {
        println!("not run: no `openapi` below PROOFMARK_DATA");
        return;
    };
    let mut paths = Vec::new();
    documents(&folder, &mut paths);
    paths.sort();
    let (mut loaded, mut refused) = (0, 0);
    // Each is then tested against a server that says yes to everything, which must not be too strange either.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let inside = runtime.enter();
    let yes: Handler = Arc::new(|_, _| Box::pin(async { Response::json(200, r#"{"id": "7"}"#) }));
    let server = Server::start(net::loopback_listener().unwrap(), yes, ServerLimits::default());
    drop(inside);
    let target = Target {
        address: server.address(),
        scope: Scope::default(),
    };
    let options = Options {
        requests_max: 400,
        ..Options::default()
    };
    for path in &paths {
        let mut bytes = Vec::new();
        std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match dast::load(&bytes, &name) {
            Ok(api) => {
                loaded += 1;
                let report = runtime
                    .block_on(dast::test(&api, &target, &[], &options, None))
                    .unwrap();
                assert!(report.requests > 0 || api.routes().is_empty());
                println!("{name}: {} route(s), {} gap(s)", api.routes().len(), api.gaps.len());
                for gap in &api.gaps {
                    println!("    {} {}: {}", gap.id, gap.what, gap.reason);
                }
            }
            Err(diagnostics) => {
                refused += 1;
                for diagnostic in diagnostics {
                    println!("{name}: {} {}", diagnostic.code, diagnostic.message);
                }
            }
        }
    }
    println!("{loaded} of {} load, {refused} are refused", paths.len());
    assert!(loaded > 0);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "string",
            "object",
            "integer",
            "#/paths",
            "#/components",
            "path",
            "query",
            "header",
            "/a/{b}",
            "http",
            "apiKey"
        ])
        .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        let key = prop_oneof![
            prop::sample::select(vec![
                "/a",
                "/a/{b}",
                "get",
                "post",
                "parameters",
                "requestBody",
                "responses",
                "content",
                "application/json",
                "schema",
                "200",
                "default",
                "name",
                "in",
                "required",
                "security",
                "$ref",
                "type",
                "properties",
                "example",
                "examples",
                "headers",
            ])
            .prop_map(str::to_owned),
            ".{0,4}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..6).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = dast::load(&bytes, "x");
    }

    #[test]
    fn no_document_is_too_strange(paths in any_json(), components in any_json(), servers in any_json(), security in any_json()) {
        let document = json!({"openapi": "3.1.0", "paths": {"/a/{b}": paths}, "components": components, "servers": servers, "security": security});
        let _ = dast::load(document.to_string().as_bytes(), "x");
    }
}
