//! Neither is read from JSON.

use evidence::{Logged, Statement, Verified};

fn read(bytes: &[u8]) {
    let _: Verified<Statement> = serde_json::from_slice(bytes).unwrap();
    let _: Logged<Verified<Statement>> = serde_json::from_slice(bytes).unwrap();
}

fn main() {}
