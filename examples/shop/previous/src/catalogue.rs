//! What is for sale.

use serde_json::{Value, json};

/// One thing for sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub id: &'static str,
    pub name: &'static str,
    pub price_cents: u32,
}

/// Everything for sale, in the order it is shown.
pub static PRODUCTS: &[Product] = &[
    Product {
        id: "mug",
        name: "Mug, hand-thrown",
        price_cents: 1200,
    },
    Product {
        id: "bowl",
        name: "Bowl, oak ash glaze",
        price_cents: 2400,
    },
    Product {
        id: "plate",
        name: "Plate, 26 cm",
        price_cents: 1900,
    },
    Product {
        id: "teapot",
        name: "Teapot & lid",
        price_cents: 5400,
    },
    Product {
        id: "vase",
        name: "Vase, tall",
        price_cents: 3600,
    },
    Product {
        id: "tile",
        name: "Tile, 10 × 10 cm",
        price_cents: 450,
    },
];

impl Product {
    pub fn json(&self) -> Value {
        json!({ "id": self.id, "name": self.name, "price_cents": self.price_cents })
    }
}

pub fn find(id: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.id == id)
}
