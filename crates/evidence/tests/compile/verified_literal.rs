//! A `Verified` is not written down, it is verified.

use evidence::{Digest, Role, Statement, Timestamp, Verified};

fn forge(value: Statement, at: Timestamp) -> Verified<Statement> {
    Verified { value, signers: vec![], role: Role::Step, trust_root: Digest([0; 32]), at, digest: Digest([0; 32]) }
}

fn main() {}
