//! What is for sale.

use serde_json::{Value, json};

/// One thing for sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub id: &'static str,
    pub name: &'static str,
    pub price_cents: u32,
}

/// Everything for sale, in the order it is shown. The document `openapi.json` lists the same ids.
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

/// Products whose name or id holds `words`, whatever the case.
pub fn search(words: &str) -> Vec<&'static Product> {
    let words = words.trim().to_lowercase();
    PRODUCTS
        .iter()
        .filter(|product| product.name.to_lowercase().contains(&words) || product.id.contains(&words))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_by_id_and_by_words() {
        assert_eq!(find("mug").map(|product| product.price_cents), Some(1200));
        assert_eq!(find("Mug"), None);
        assert_eq!(
            search("  GLAZE ").iter().map(|product| product.id).collect::<Vec<_>>(),
            ["bowl"]
        );
        assert!(search("bicycle").is_empty());
    }
}
