//! What was verified is reached through `value()`, which only reads.

use evidence::{Statement, Verified};

fn change(verified: &mut Verified<Statement>) {
    verified.value.predicate = serde_json::Value::Null;
}

fn main() {}
