//! A small real shop on loopback: clean, it gives no finding; with one weakness at a time, exactly that one is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dast::{DastError, Identity, Options, Report, Scope, Target};
use evidence::{Component, Severity};
use net::http::{Handler, Request, Response, Server, ServerLimits};
use serde_json::{Value, json};

const TOKEN: &str = "tok-5f3a9c-very-secret";

/// What is wrong with the shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weakness {
    None,
    Overflow,
    Hangs,
    HangsUp,
    NoAuthentication,
    AnyToken,
    WrongType,
    UndocumentedStatus,
    WrongContentType,
    UnescapedPage,
    StoredMarkup,
    HeaderFromInput,
    Traceback,
    ReadsAnyFile,
    RedirectsAnywhere,
    AnyOrigin,
    DeleteOnCollection,
    NegativeQuantity,
}

fn document() -> Value {
    let error = |description: &str| json!({"description": description, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}});
    let order = json!({"description": "the order", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}});
    let id = json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}});
    json!({
        "openapi": "3.1.0",
        "info": {"title": "shop", "version": "1.0.0"},
        "servers": [{"url": "http://localhost/v1"}],
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}},
                "NewOrder": {"type": "object", "required": ["product", "quantity"], "additionalProperties": false, "properties": {
                    "product": {"type": "string", "minLength": 1, "maxLength": 40, "examples": ["mug"]},
                    "quantity": {"type": "integer", "minimum": 1, "maximum": 100},
                    "note": {"type": "string", "maxLength": 200},
                }},
                "Order": {"type": "object", "required": ["id", "product", "quantity"], "properties": {
                    "id": {"type": "string"}, "product": {"type": "string"}, "quantity": {"type": "integer"},
                }},
            },
        },
        "paths": {
            "/orders": {
                "post": {
                    "security": [{"bearer": []}],
                    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewOrder"}}}},
                    "responses": {"201": order, "400": error("bad input"), "401": error("who are you")},
                },
            },
            "/orders/{id}": {
                "parameters": [id],
                "get": {"security": [{"bearer": []}], "responses": {"200": order, "401": error("who are you"), "404": error("no such order")}},
                "delete": {"security": [{"bearer": []}], "responses": {"204": {"description": "gone"}, "401": error("who are you"), "404": error("no such order")}},
            },
            "/search": {
                "get": {
                    "parameters": [{"name": "q", "in": "query", "schema": {"type": "string", "maxLength": 100}}],
                    "responses": {
                        "200": {"description": "a page", "content": {"text/html": {"schema": {"type": "string"}}}},
                        "302": {"description": "found at once"},
                        "400": error("bad input"),
                    },
                },
            },
        },
    })
}

/// The shop's state: orders by id.
type Orders = Arc<Mutex<BTreeMap<u64, (String, i64)>>>;

fn shop(weakness: Weakness) -> Server {
    let orders: Orders = Arc::default();
    let handler: Handler = Arc::new(move |request, _| {
        let orders = orders.clone();
        Box::pin(async move {
            if weakness == Weakness::Hangs && String::from_utf8_lossy(&request.body).contains("%s%n") {
                tokio::time::sleep(Duration::from_secs(30)).await;
            }
            let mut response = answer(&request, weakness, &orders);
            if weakness == Weakness::AnyOrigin
                && let Some(origin) = request.header("origin")
            {
                response
                    .headers
                    .push(("access-control-allow-origin".into(), origin.into()));
                response
                    .headers
                    .push(("access-control-allow-credentials".into(), "true".into()));
            }
            response
        })
    });
    Server::start(net::loopback_listener().unwrap(), handler, ServerLimits::default())
}

fn error(status: u16, text: &str) -> Response {
    Response::json(status, &json!({"error": text}).to_string())
}

fn answer(request: &Request, weakness: Weakness, orders: &Orders) -> Response {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let Some(path) = path.strip_prefix("/v1") else {
        return error(404, "no such path");
    };
    if path == "/search" {
        return search(request, query, weakness, orders);
    }
    let secret = format!("Bearer {TOKEN}");
    let authorized = match weakness {
        Weakness::NoAuthentication => true,
        Weakness::AnyToken => request.header("authorization").is_some(),
        _ => request.header("authorization") == Some(secret.as_str()),
    };
    let known = path == "/orders" || path.starts_with("/orders/");
    if known && !authorized {
        return error(401, "who are you");
    }
    match (request.method.as_str(), path.strip_prefix("/orders/")) {
        ("POST", None) if path == "/orders" => create(request, weakness, orders),
        ("DELETE", None) if path == "/orders" && weakness == Weakness::DeleteOnCollection => Response::json(200, "{}"),
        ("GET", Some(id)) => {
            if weakness == Weakness::Traceback && id.contains("%00") {
                return error(
                    400,
                    "at /r/serde_json-1.0.1/src/de.rs:17:3 thread 'main' panicked at src/x.rs:1:1",
                );
            }
            let found = id
                .parse()
                .ok()
                .and_then(|id: u64| orders.lock().unwrap().get(&id).cloned().map(|order| (id, order)));
            match found {
                Some((id, (product, quantity))) if weakness == Weakness::WrongType => Response::json(
                    200,
                    &json!({"id": id, "product": product, "quantity": quantity}).to_string(),
                ),
                Some((id, (product, quantity))) => Response::json(
                    200,
                    &json!({"id": id.to_string(), "product": product, "quantity": quantity}).to_string(),
                ),
                None => error(404, "no such order"),
            }
        }
        ("DELETE", Some(id)) => match id.parse().ok().and_then(|id: u64| orders.lock().unwrap().remove(&id)) {
            Some(_) => Response {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
            },
            None => error(404, "no such order"),
        },
        _ => error(405, "no such method"),
    }
}

fn create(request: &Request, weakness: Weakness, orders: &Orders) -> Response {
    let bad = || match weakness {
        Weakness::UndocumentedStatus => error(409, "bad input"),
        Weakness::WrongContentType => Response::new(400, "text/plain", "bad input"),
        _ => error(400, "bad input"),
    };
    let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&request.body) else {
        return bad();
    };
    let known = body
        .keys()
        .all(|key| ["product", "quantity", "note"].contains(&key.as_str()));
    let text = |key: &str, most: usize| {
        body.get(key)
            .and_then(Value::as_str)
            .filter(|text| text.chars().count() <= most)
    };
    let note_fits = !body.contains_key("note") || text("note", 200).is_some();
    let quantity = body.get("quantity").and_then(Value::as_i64);
    if quantity == Some(i64::MAX) && weakness == Weakness::Overflow {
        return error(500, "bad luck");
    }
    if quantity == Some(i64::MAX) && weakness == Weakness::HangsUp {
        panic!("as asked");
    }
    let least = if weakness == Weakness::NegativeQuantity { -5 } else { 1 };
    let (Some(product), Some(quantity)) = (
        text("product", 40).filter(|text| !text.is_empty()),
        quantity.filter(|number| (least..=100).contains(number)),
    ) else {
        return bad();
    };
    if !known || !note_fits {
        return bad();
    }
    let mut orders = orders.lock().unwrap();
    let id = orders.keys().last().map_or(1, |last| last + 1);
    let product = text("note", 200)
        .filter(|_| weakness == Weakness::StoredMarkup)
        .unwrap_or(product)
        .to_owned();
    orders.insert(id, (product.clone(), quantity));
    Response::json(
        201,
        &json!({"id": id.to_string(), "product": product, "quantity": quantity}).to_string(),
    )
}

fn search(request: &Request, query: &str, weakness: Weakness, orders: &Orders) -> Response {
    if request.method != "GET" {
        return error(405, "no such method");
    }
    let q = decoded(query.strip_prefix("q=").unwrap_or_default());
    if q.chars().count() > 100 {
        return error(400, "bad input");
    }
    let page = |text: &str| Response::new(200, "text/html; charset=utf-8", format!("<p>nothing for {text}</p>"));
    let escaped = q
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;");
    match weakness {
        Weakness::UnescapedPage => page(&q),
        Weakness::StoredMarkup => {
            let products: Vec<String> = orders
                .lock()
                .unwrap()
                .values()
                .map(|(product, _)| product.clone())
                .collect();
            page(&products.join(", "))
        }
        Weakness::HeaderFromInput => {
            let mut response = page("it");
            let mut lines = q.split("\r\n");
            lines.next();
            // This server refuses line ends in values, so the test splits as a careless one would.
            response.headers.extend(
                lines
                    .filter_map(|line| line.split_once(": "))
                    .map(|(name, value)| (name.into(), value.into())),
            );
            response
        }
        Weakness::ReadsAnyFile if q.contains("../etc/passwd") => page("root:x:0:0:root:/root:/bin/sh"),
        Weakness::RedirectsAnywhere if q.starts_with("https://") => Response {
            status: 302,
            headers: vec![("location".into(), q)],
            body: Vec::new(),
        },
        _ => page(&escaped),
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(120), work).await })
        .expect("the test ends in time")
}

fn shopper() -> Identity {
    Identity {
        name: "shopper".into(),
        headers: vec![("authorization".into(), format!("Bearer {TOKEN}"))],
    }
}

fn component() -> Component {
    Component {
        purl: "pkg:cargo/serde_json@1.0.1".into(),
        ecosystem: "crates.io".into(),
        name: "serde_json".into(),
        version: "1.0.1".into(),
        licence: None,
        checksum: None,
        scope: evidence::Scope::Runtime,
        path: "Cargo.lock".into(),
        line: 1,
    }
}

async fn tested(weakness: Weakness, identities: &[Identity], options: Options) -> Report {
    let server = shop(weakness);
    let api = dast::load(document().to_string().as_bytes(), "openapi.json").unwrap();
    let target = Target {
        address: server.address(),
        scope: Scope::default(),
    };
    let report = dast::test(&api, &target, identities, &options, None).await.unwrap();
    server.stop().await;
    report
}

fn options() -> Options {
    Options {
        seed: 7,
        requests_max: 5_000,
        timeout_ms: 2_000,
        components: vec![component()],
    }
}

#[test]
fn a_clean_service_has_no_findings_and_is_covered() {
    run(async {
        for seed in 0..3 {
            let report = tested(Weakness::None, &[shopper()], Options { seed, ..options() }).await;
            assert_eq!(report.observation.findings, [], "seed {seed}");
            assert_eq!(report.observation.gaps, [], "seed {seed}");
            let coverage = &report.observation.coverage;
            assert_eq!(coverage.0["routes"], evidence::Counted { looked: 4, total: 4 });
            assert_eq!(coverage.0["identities"], evidence::Counted { looked: 2, total: 2 });
            assert_eq!(coverage.0["requests"].looked, report.requests);
            assert_eq!(coverage.0["requests"].total, report.requests);
            assert!(report.requests > 100, "{}", report.requests);
        }
    });
}

#[test]
fn each_weakness_is_found_where_it_is_and_nothing_else_is() {
    let rows: Vec<(Weakness, &str, &str, Severity)> = vec![
        (Weakness::Overflow, "dast/server-error", "POST /orders", Severity::High),
        (Weakness::Hangs, "dast/server-error", "POST /orders", Severity::Medium),
        (Weakness::HangsUp, "dast/server-error", "POST /orders", Severity::High),
        (
            Weakness::NoAuthentication,
            "dast/missing-authentication",
            "DELETE /orders/{id},GET /orders/{id},POST /orders",
            Severity::Critical,
        ),
        (
            Weakness::AnyToken,
            "dast/missing-authentication",
            "DELETE /orders/{id},GET /orders/{id},POST /orders",
            Severity::Critical,
        ),
        (
            Weakness::WrongType,
            "dast/schema-violation",
            "GET /orders/{id}",
            Severity::Medium,
        ),
        (
            Weakness::UndocumentedStatus,
            "dast/schema-violation",
            "POST /orders",
            Severity::Low,
        ),
        (
            Weakness::WrongContentType,
            "dast/schema-violation",
            "POST /orders",
            Severity::Medium,
        ),
        (
            Weakness::UnescapedPage,
            "dast/reflected-injection",
            "GET /search",
            Severity::High,
        ),
        (
            Weakness::StoredMarkup,
            "dast/reflected-injection",
            "GET /search",
            Severity::High,
        ),
        (
            Weakness::HeaderFromInput,
            "dast/header-injection",
            "GET /search",
            Severity::High,
        ),
        (
            Weakness::Traceback,
            "dast/stack-trace",
            "GET /orders/{id}",
            Severity::Medium,
        ),
        (
            Weakness::ReadsAnyFile,
            "dast/path-traversal",
            "GET /search",
            Severity::Critical,
        ),
        (
            Weakness::RedirectsAnywhere,
            "dast/open-redirect",
            "GET /search",
            Severity::Medium,
        ),
        (Weakness::AnyOrigin, "dast/permissive-cors", "", Severity::Medium),
        (
            Weakness::DeleteOnCollection,
            "dast/unexpected-method",
            "POST /orders",
            Severity::Low,
        ),
        (
            Weakness::NegativeQuantity,
            "dast/invalid-input-accepted",
            "POST /orders",
            Severity::Low,
        ),
    ];
    run(async {
        for (weakness, rule, routes, severity) in rows {
            // A hanging answer is waited for, so that row waits less.
            let timeout_ms = if weakness == Weakness::Hangs { 300 } else { 2_000 };
            let report = tested(
                weakness,
                &[shopper()],
                Options {
                    timeout_ms,
                    ..options()
                },
            )
            .await;
            let findings = &report.observation.findings;
            let rules: BTreeSet<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
            assert_eq!(rules, BTreeSet::from([rule]), "{weakness:?}: {findings:#?}");
            let found: BTreeSet<&str> = findings.iter().filter_map(|finding| finding.route.as_deref()).collect();
            if !routes.is_empty() {
                assert_eq!(found, routes.split(',').collect(), "{weakness:?}");
            }
            for finding in findings {
                assert_eq!(finding.severity, severity, "{weakness:?}");
                assert!(finding.message.contains(finding.route.as_deref().unwrap()) && !finding.fix.is_empty());
                let whole = format!("{finding:?}");
                assert!(
                    !whole.contains(TOKEN) && !whole.contains("invalid-00"),
                    "no credential in a finding: {whole}"
                );
            }
            let ids: BTreeSet<_> = findings.iter().map(|finding| &finding.id).collect();
            assert_eq!(ids.len(), findings.len(), "{weakness:?}: ids differ");
            println!("{weakness:?}: {}", findings[0].message);
        }
    });
}

#[test]
fn the_component_behind_an_error_is_named() {
    run(async {
        let report = tested(Weakness::Traceback, &[shopper()], options()).await;
        let finding = &report.observation.findings[0];
        assert_eq!(finding.component.as_deref(), Some("pkg:cargo/serde_json@1.0.1"));
    });
}

#[test]
fn two_runs_see_the_same() {
    run(async {
        let first = tested(Weakness::NegativeQuantity, &[shopper()], options()).await;
        assert_eq!(first, tested(Weakness::NegativeQuantity, &[shopper()], options()).await);
    });
}

#[test]
fn what_was_not_tested_is_a_gap() {
    run(async {
        // Nobody with credentials: what is behind them was not reached.
        let report = tested(Weakness::None, &[], options()).await;
        let gaps: Vec<(&str, &str, bool)> = report
            .observation
            .gaps
            .iter()
            .map(|gap| (gap.id.as_str(), gap.what.as_str(), gap.blocks))
            .collect();
        assert_eq!(
            gaps,
            [
                ("dast/route-not-reached", "DELETE /orders/{id}", false),
                ("dast/route-not-reached", "GET /orders/{id}", false),
                ("dast/route-not-reached", "POST /orders", false),
            ]
        );
        assert_eq!(
            report.observation.coverage.0["routes"],
            evidence::Counted { looked: 1, total: 4 }
        );

        let stranger = Identity {
            name: "stranger".into(),
            headers: vec![("authorization".into(), "Bearer expired".into())],
        };
        let report = tested(Weakness::None, &[stranger], options()).await;
        assert!(
            report
                .observation
                .gaps
                .iter()
                .any(|gap| gap.id == "dast/identity-refused" && gap.what == "stranger" && gap.blocks)
        );
        assert_eq!(
            report.observation.coverage.0["identities"],
            evidence::Counted { looked: 1, total: 2 }
        );

        for (requests_max, blocks) in [(60, false), (10, true)] {
            let report = tested(
                Weakness::None,
                &[shopper()],
                Options {
                    requests_max,
                    ..options()
                },
            )
            .await;
            assert_eq!(report.requests, requests_max);
            let gap = report
                .observation
                .gaps
                .iter()
                .find(|gap| gap.id == "dast/requests-max")
                .unwrap();
            assert_eq!(gap.blocks, blocks, "{requests_max}: {}", gap.reason);
        }
    });
}

#[test]
fn out_of_scope_is_refused_and_nobody_there_is_an_error() {
    run(async {
        let api = dast::load(document().to_string().as_bytes(), "openapi.json").unwrap();
        let server = shop(Weakness::None);
        let closed = Scope {
            loopback: false,
            addresses: Vec::new(),
        };
        for (address, scope) in [
            ("192.0.2.1:80".parse().unwrap(), Scope::default()),
            (server.address(), closed.clone()),
        ] {
            let refused = dast::test(&api, &Target { address, scope }, &[], &options(), None).await;
            assert_eq!(refused, Err(DastError::OutOfScope { address }));
        }
        let allowed = Scope {
            addresses: vec![server.address()],
            ..closed
        };
        let target = Target {
            address: server.address(),
            scope: allowed,
        };
        let seen = Mutex::new((0, 0));
        let progress = |done, total| *seen.lock().unwrap() = (done, total);
        let report = dast::test(&api, &target, &[shopper()], &options(), Some(&progress))
            .await
            .unwrap();
        assert_eq!(*seen.lock().unwrap(), (report.requests, report.requests));

        server.stop().await;
        let gone = dast::test(&api, &target, &[], &options(), None).await;
        assert!(matches!(gone, Err(DastError::Unreachable { .. })), "{gone:?}");
    });
}

#[test]
fn a_service_that_goes_away_leaves_a_gap_that_blocks() {
    run(async {
        let server = Arc::new(shop(Weakness::None));
        let api = dast::load(document().to_string().as_bytes(), "openapi.json").unwrap();
        let target = Target {
            address: server.address(),
            scope: Scope::default(),
        };
        let (tell, told) = std::sync::mpsc::channel();
        let stopping = tokio::spawn({
            let server = server.clone();
            async move {
                tokio::task::spawn_blocking(move || told.recv()).await.unwrap().unwrap();
                server.stop().await;
            }
        });
        let progress = |done, _| {
            if done == 20 {
                tell.send(()).unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        let report = dast::test(&api, &target, &[shopper()], &options(), Some(&progress))
            .await
            .unwrap();
        assert!(
            report
                .observation
                .gaps
                .iter()
                .any(|gap| gap.id == "dast/target-gone" && gap.blocks),
            "{:#?}",
            report.observation.gaps
        );
        stopping.await.unwrap();
    });
}
