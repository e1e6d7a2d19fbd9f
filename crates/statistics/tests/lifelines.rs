//! Everything this crate says is what lifelines 0.30, scipy and numpy say: to 1e-9 for estimates, to 1e-12 of its size
//! for distribution functions. What they said is recorded in `lifelines.jsonl`, written by
//! `python conformance/scripts/lifelines_oracle.py --record 60 2026`; where they are installed, other cases are asked.

mod oracle;

use std::collections::BTreeMap;

use serde_json::Value;

/// Cases of each of the six kinds that are asked.
const LIVE: u64 = 400;
/// Not the seed of what was recorded.
const SEED: u64 = 5;

#[test]
fn recorded_answers_are_ours() {
    let recorded = include_str!("lifelines.jsonl").lines();
    let cases: Vec<Value> = recorded
        .map(|line| serde_json::from_str(line).expect("a recorded case"))
        .collect();
    assert_eq!(cases.len(), 360);
    hold(&cases);
}

#[test]
fn live_answers_are_ours() {
    let Some(python) = oracle::python() else {
        println!("not run: lifelines is not installed");
        return;
    };
    let cases = oracle::made(&python, LIVE, SEED).expect("the oracle answers");
    assert_eq!(cases.len() as u64, 6 * LIVE);
    hold(&cases);
}

fn hold(cases: &[Value]) {
    let mut kinds = BTreeMap::<&str, u64>::new();
    let mut differing = Vec::new();
    for case in cases {
        *kinds.entry(case["kind"].as_str().expect("a kind")).or_default() += 1;
        differing.extend(
            oracle::differences(case)
                .into_iter()
                .map(|difference| format!("{difference}: {case}")),
        );
    }
    println!("{kinds:?}");
    assert!(
        differing.is_empty(),
        "{} differ:\n{}",
        differing.len(),
        differing.join("\n")
    );
}
