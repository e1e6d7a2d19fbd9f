//! A gate reads logged statements: neither a preview nor a statement that was only verified will do.

use evidence::predicates::Attempt;
use evidence::{Preview, Statement, Verdict, Verified};

fn gate(attempt: &Attempt, preview: Preview<Verdict>, verified: Vec<Verified<Statement>>) {
    let _ = policy::Evidence { attempt, statements: &preview };
    let _ = policy::Evidence { attempt, statements: &verified };
}

fn main() {}
