//! The storefront's HTTP interface; `openapi.json` describes it, and is served beside it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::http::{Request, Response};
use common::log::Log;
use common::metrics::{Counter, render};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::assets::Assets;
use crate::catalogue::{self, PRODUCTS};
use crate::ledger::Bookkeeper;
use crate::orders::{BadWish, Order, Orders, Wish};
use crate::pages;
use crate::shopper::{Lookup, identify};

const OPENAPI: &str = include_str!("../openapi.json");
const SEARCH_CHARACTERS_MAX: usize = 100;
const LIMIT_MAX: usize = 50;

/// Everything the storefront is, but its socket.
pub struct Api {
    broker: Arc<dyn Lookup>,
    ledger: Box<dyn Bookkeeper>,
    assets: Assets,
    log: Log,
    orders: Mutex<Orders>,
    requests: Counter,
    accepted: Counter,
    denied: Counter,
    failed: Counter,
}

impl Api {
    pub fn new(broker: Arc<dyn Lookup>, ledger: Box<dyn Bookkeeper>, assets: Assets, log: Log) -> Self {
        Api {
            broker,
            ledger,
            assets,
            log,
            orders: Mutex::new(Orders::default()),
            requests: Counter::new("storefront_requests_total", "Requests answered."),
            accepted: Counter::new("storefront_orders_total", "Orders accepted."),
            denied: Counter::new("storefront_denied_total", "Requests turned away for their credential."),
            failed: Counter::new("storefront_failed_total", "Requests answered with a server error."),
        }
    }

    pub fn handle(&self, request: &Request) -> Response {
        self.requests.increase();
        let response = self.route(request);
        match response.status {
            401 | 403 => {
                self.denied.increase();
                self.log.info("denied", &[("status", response.status.into())]);
            }
            500.. => self.failed.increase(),
            _ => {}
        }
        response
    }

    fn route(&self, request: &Request) -> Response {
        let path = request.path.as_str();
        let found = match (request.method.as_str(), path) {
            ("POST", "/orders") => return self.order(request),
            (_, "/orders") => return not_allowed("POST"),
            (_, "/products") => self.get(request, |_| products(request)),
            (_, "/search") => self.get(request, |_| search(request)),
            (_, "/health") => self.get(request, |_| health()),
            (_, "/metrics") => self.get(request, Api::metrics),
            (_, "/openapi.json") => self.get(request, |_| Response::bytes(200, "application/json", OPENAPI)),
            _ => None,
        };
        if let Some(response) = found {
            return response;
        }
        let (product, order) = (path.strip_prefix("/products/"), path.strip_prefix("/orders/"));
        let found = match (product, order) {
            (Some(id), _) => self.get(request, |_| product_of(id)),
            (_, Some(id)) => self.get(request, |api| api.order_of(request, id)),
            _ => self.assets.find(path).and_then(|asset| {
                self.get(request, |_| {
                    Response::bytes(200, asset.content_type, asset.bytes.clone())
                        .with("content-security-policy", "default-src 'self'")
                })
            }),
        };
        found.unwrap_or_else(not_found)
    }

    /// Answers GET and HEAD (whose body the server drops), and refuses the other methods.
    fn get(&self, request: &Request, answer: impl FnOnce(&Api) -> Response) -> Option<Response> {
        Some(match request.method.as_str() {
            "GET" | "HEAD" => answer(self),
            _ => not_allowed("GET, HEAD"),
        })
    }

    /// `POST /orders`: booked in the ledger first, so that no order exists that nobody pays for.
    fn order(&self, request: &Request) -> Response {
        let shopper = match identify(request, &*self.broker) {
            Ok(shopper) => shopper,
            Err(response) => return response,
        };
        if request.media_type().as_deref() != Some("application/json") {
            return Response::error(415, "the body must be application/json");
        }
        let wish = match Wish::read(&request.body) {
            Ok(wish) => wish,
            Err(BadWish::NotJson) => return Response::error(400, "the body is not JSON"),
            Err(BadWish::Unacceptable) => {
                return Response::error(422, "an order has a known `product` and a `quantity` from 1 to 99");
            }
        };
        let id = self.orders().next_id();
        // An id of another process of ours must not be taken for this one's.
        let entry = format!("{}-{id}", std::process::id());
        if self.ledger.book(&entry, wish.total_cents()).is_err() {
            return Response::error(503, "the order can't be booked now");
        }
        let order = Order { id, shopper, wish };
        let response = Response::json(201, &order.json());
        self.orders().add(order);
        self.accepted.increase();
        response
    }

    /// `GET /orders/{id}`.
    fn order_of(&self, request: &Request, id: &str) -> Response {
        match identify(request, &*self.broker) {
            Ok(shopper) => self
                .orders()
                .of(&shopper, id)
                .map_or_else(not_found, |order| Response::json(200, &order.json())),
            Err(response) => response,
        }
    }

    fn metrics(&self) -> Response {
        let text = render(&[&self.requests, &self.accepted, &self.denied, &self.failed]);
        Response::bytes(200, "text/plain; version=0.0.4", text)
    }

    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn health() -> Response {
    let version = env!("CARGO_PKG_VERSION");
    Response::json(
        200,
        &json!({ "status": "ok", "service": "storefront", "version": version }),
    )
}

/// `GET /products?limit=…`.
fn products(request: &Request) -> Response {
    let limit = match parameter(request, "limit") {
        Ok(None) => LIMIT_MAX,
        Ok(Some(text)) => match limit(&text) {
            Some(limit) => limit,
            None => return Response::error(400, "`limit` is a whole number from 1 to 50"),
        },
        Err(response) => return response,
    };
    let products: Vec<Value> = PRODUCTS.iter().take(limit).map(|product| product.json()).collect();
    Response::json(200, &json!({ "products": products }))
}

fn limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|limit| digits && (1..=LIMIT_MAX).contains(limit))
}

/// `GET /products/{id}`.
fn product_of(id: &str) -> Response {
    catalogue::find(id).map_or_else(not_found, |product| Response::json(200, &product.json()))
}

/// `GET /search?q=…`.
fn search(request: &Request) -> Response {
    match parameter(request, "q") {
        Ok(Some(words)) if (1..=SEARCH_CHARACTERS_MAX).contains(&words.chars().count()) => {
            let page = pages::search(&words, &catalogue::search(&words));
            Response::bytes(200, "text/html; charset=utf-8", page).with("content-security-policy", "default-src 'self'")
        }
        Ok(_) => Response::error(400, "`q` has 1 to 100 characters"),
        Err(response) => response,
    }
}

/// A query parameter, decoded. It is an error when it comes twice or is no text; unknown ones are nobody's business.
fn parameter(request: &Request, name: &str) -> Result<Option<String>, Response> {
    let bad = || Response::error(400, "the query can't be read");
    let mut found = None;
    for pair in request.query.as_deref().unwrap_or_default().split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key).as_deref() != Some(name) {
            continue;
        }
        if found.is_some() {
            return Err(bad());
        }
        found = Some(decode(value).ok_or_else(bad)?);
    }
    Ok(found)
}

fn decode(text: &str) -> Option<String> {
    let text = text.replace('+', " ");
    percent_decode_str(&text)
        .decode_utf8()
        .ok()
        .map(|text| text.into_owned())
}

fn not_found() -> Response {
    Response::error(404, "there is nothing here")
}

fn not_allowed(allow: &'static str) -> Response {
    Response::error(405, "there is no such method here").with("allow", allow)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Unbooked;
    use common::broker::{Bearer, BrokerError};

    /// A broker that knows `ann` and `bob` by name, and `clerk`, whose token is for the ledger.
    struct Names;

    impl Lookup for Names {
        fn lookup(&self, token: &str) -> Result<Bearer, BrokerError> {
            let policy = match token {
                "ann" | "bob" => "storefront",
                "clerk" => "ledger",
                "nobody-knows" => return Err(BrokerError::Unavailable),
                _ => return Err(BrokerError::Refused),
            };
            Ok(Bearer {
                accessor: "a".into(),
                name: token.into(),
                policies: vec![policy.into()],
            })
        }
    }

    struct Books(Result<(), Unbooked>);

    impl Bookkeeper for Books {
        fn book(&self, _: &str, _: u64) -> Result<(), Unbooked> {
            self.0
        }
    }

    fn api(books: Result<(), Unbooked>) -> Api {
        Api::new(
            Arc::new(Names),
            Box::new(Books(books)),
            Assets::default(),
            Log::silent("storefront"),
        )
    }

    fn send(api: &Api, method: &str, target: &str, token: &str, body: &str) -> (u16, Value) {
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if !token.is_empty() {
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        let body = body.as_bytes().to_vec();
        let response = api.handle(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers,
            body,
        });
        (
            response.status,
            serde_json::from_slice(&response.body).unwrap_or(Value::Null),
        )
    }

    const MUG: &str = r#"{"product":"mug","quantity":2}"#;

    #[test]
    fn shows_products() {
        let api = api(Ok(()));
        assert_eq!(
            send(&api, "GET", "/products", "", "").1["products"]
                .as_array()
                .unwrap()
                .len(),
            PRODUCTS.len()
        );
        assert_eq!(
            send(&api, "GET", "/products?limit=2", "", "").1["products"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(send(&api, "GET", "/products/mug", "", "").1["price_cents"], 1200);
        assert_eq!(send(&api, "GET", "/products/yacht", "", "").0, 404);
        for query in [
            "limit=0",
            "limit=51",
            "limit=+1",
            "limit=x",
            "limit=",
            "limit=1&limit=2",
            "limit=%ff",
        ] {
            assert_eq!(
                send(&api, "GET", &format!("/products?{query}"), "", "").0,
                400,
                "{query}"
            );
        }
    }

    #[test]
    fn takes_an_order_and_shows_it_to_its_shopper_only() {
        let api = api(Ok(()));
        let (status, order) = send(&api, "POST", "/orders", "ann", MUG);
        assert_eq!((status, &order["total_cents"]), (201, &json!(2400)));
        let path = format!("/orders/{}", order["id"].as_str().unwrap());
        assert_eq!(send(&api, "GET", &path, "ann", ""), (200, order));
        assert_eq!(send(&api, "GET", &path, "bob", "").0, 404);
        assert_eq!(send(&api, "GET", &path, "", "").0, 401);
    }

    #[test]
    fn an_order_needs_a_token_that_is_good_for_it() {
        let api = api(Ok(()));
        for (token, status) in [("", 401), ("mallory", 401), ("clerk", 403), ("nobody-knows", 503)] {
            assert_eq!(send(&api, "POST", "/orders", token, MUG).0, status, "{token}");
        }
        assert_eq!(api.accepted.value(), 0);
    }

    #[test]
    fn an_order_that_is_not_booked_does_not_exist() {
        let api = api(Err(Unbooked));
        assert_eq!(send(&api, "POST", "/orders", "ann", MUG).0, 503);
        assert_eq!(send(&api, "GET", "/orders/ord-000001", "ann", "").0, 404);
    }

    #[test]
    fn refuses_bodies_and_methods_it_does_not_know() {
        let api = api(Ok(()));
        assert_eq!(send(&api, "POST", "/orders", "ann", "{").0, 400);
        assert_eq!(send(&api, "POST", "/orders", "ann", "{}").0, 422);
        let mut form = Request {
            method: "POST".into(),
            path: "/orders".into(),
            ..Request::default()
        };
        form.headers = vec![
            ("authorization".into(), "Bearer ann".into()),
            ("content-type".into(), "application/x-www-form-urlencoded".into()),
        ];
        assert_eq!(api.handle(&form).status, 415);
        for (method, path) in [
            ("DELETE", "/orders"),
            ("POST", "/products"),
            ("PUT", "/orders/ord-000001"),
        ] {
            assert_eq!(send(&api, method, path, "ann", "").0, 405, "{method} {path}");
        }
        assert_eq!(send(&api, "GET", "/nothing", "", "").0, 404);
    }

    #[test]
    fn search_needs_words_and_escapes_them() {
        let api = api(Ok(()));
        let request = |query: &str| Request {
            method: "GET".into(),
            path: "/search".into(),
            query: Some(query.to_owned()),
            ..Request::default()
        };
        let page = String::from_utf8(api.handle(&request("q=%3Cb%3Emug+x")).body).unwrap();
        assert!(page.contains("“&lt;b&gt;mug x”"));
        for query in ["", "q=", "p=1", &format!("q={}", "a".repeat(101))] {
            assert_eq!(api.handle(&request(query)).status, 400, "{query}");
        }
    }

    #[test]
    fn the_document_names_every_product() {
        let document: Value = serde_json::from_str(OPENAPI).unwrap();
        let ids = &document["components"]["schemas"]["ProductId"]["enum"];
        assert_eq!(
            *ids,
            json!(PRODUCTS.iter().map(|product| product.id).collect::<Vec<_>>())
        );
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }
}
