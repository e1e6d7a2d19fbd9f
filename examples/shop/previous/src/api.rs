//! The storefront's HTTP interface, before it had a search and a document.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::http::{Request, Response};
use common::log::Log;
use common::metrics::{Counter, render};
use serde_json::{Value, json};

use crate::assets::Assets;
use crate::catalogue::{self, PRODUCTS};
use crate::ledger::Bookkeeper;
use crate::orders::{BadWish, Order, Orders, Wish};
use crate::shopper::{Lookup, identify};

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
            (_, "/products") => self.get(request, |_| products()),
            (_, "/health") => self.get(request, |_| health()),
            (_, "/metrics") => self.get(request, Api::metrics),
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

/// `GET /products`.
fn products() -> Response {
    let products: Vec<Value> = PRODUCTS.iter().map(|product| product.json()).collect();
    Response::json(200, &json!({ "products": products }))
}

/// `GET /products/{id}`.
fn product_of(id: &str) -> Response {
    catalogue::find(id).map_or_else(not_found, |product| Response::json(200, &product.json()))
}

fn not_found() -> Response {
    Response::error(404, "there is nothing here")
}

fn not_allowed(allow: &'static str) -> Response {
    Response::error(405, "there is no such method here").with("allow", allow)
}
