//! What was verified can be read, not changed.

use evidence::{Logged, Statement, Verified};

fn change(verified: &mut Verified<Statement>, logged: &mut Logged<Verified<Statement>>) {
    verified.value().predicate = serde_json::Value::Null;
    logged.predicate = serde_json::Value::Null;
}

fn main() {}
