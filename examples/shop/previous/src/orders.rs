//! Orders, in memory.

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use crate::catalogue::{self, Product};

/// Orders that are kept; the oldest is forgotten first.
const ORDERS_MAX: usize = 10_000;
const QUANTITY_MAX: u64 = 99;

/// What a shopper asks for: only what can be sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub product: &'static Product,
    pub quantity: u64,
}

/// A wish that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: String,
    pub shopper: String,
    pub wish: Wish,
}

/// Why a body is no wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadWish {
    NotJson,
    /// JSON, but nothing we can sell.
    Unacceptable,
}

impl Wish {
    /// Reads `{"product":"mug","quantity":1}`, and nothing else.
    pub fn read(body: &[u8]) -> Result<Wish, BadWish> {
        let value: Value = serde_json::from_slice(body).map_err(|_| BadWish::NotJson)?;
        let wish = Wish::from_json(&value);
        wish.ok_or(BadWish::Unacceptable)
    }

    fn from_json(value: &Value) -> Option<Wish> {
        let fields = value.as_object().filter(|fields| fields.len() == 2)?;
        let product = catalogue::find(fields.get("product")?.as_str()?)?;
        let quantity = whole(fields.get("quantity")?).filter(|quantity| (1..=QUANTITY_MAX).contains(quantity))?;
        Some(Wish { product, quantity })
    }

    pub fn total_cents(&self) -> u64 {
        u64::from(self.product.price_cents) * self.quantity
    }
}

/// JSON Schema calls 2.0 an integer too, and so does our OpenAPI document.
fn whole(value: &Value) -> Option<u64> {
    let float = || {
        value
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..=1e9).contains(number))
    };
    value.as_u64().or_else(|| float().map(|number| number as u64))
}

impl Order {
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "product": self.wish.product.id,
            "quantity": self.wish.quantity,
            "total_cents": self.wish.total_cents(),
        })
    }
}

/// The orders of this process.
#[derive(Debug, Default)]
pub struct Orders {
    by_id: HashMap<String, Order>,
    ids: VecDeque<String>,
    count: u64,
}

impl Orders {
    /// The id of the next order; ids are never used twice in one process.
    pub fn next_id(&mut self) -> String {
        self.count += 1;
        format!("ord-{:06}", self.count)
    }

    pub fn add(&mut self, order: Order) {
        self.ids.push_back(order.id.clone());
        self.by_id.insert(order.id.clone(), order);
        if self.ids.len() > ORDERS_MAX
            && let Some(oldest) = self.ids.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    /// An order of this shopper. Somebody else's looks like none at all.
    pub fn of(&self, shopper: &str, id: &str) -> Option<&Order> {
        self.by_id.get(id).filter(|order| order.shopper == shopper)
    }
}
