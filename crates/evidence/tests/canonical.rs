//! Canonical JSON: one value, one sequence of bytes (RFC 8785).

use std::collections::BTreeMap;

use evidence::{CanonicalError, from_canonical, to_canonical};
use proptest::prelude::*;
use serde_json::{Value, json};

#[test]
fn of_rfc_8785() {
    // Section 3.2.2 and 3.2.3: numbers, strings and the order of keys (by UTF-16 units).
    let value: Value = serde_json::from_str(
        r#"{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#,
    )
    .unwrap();
    assert_eq!(
        String::from_utf8(to_canonical(&value)).unwrap(),
        "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}"
    );
    let keys = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
    assert_eq!(
        String::from_utf8(to_canonical(&keys)).unwrap(),
        "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
    );
}

#[test]
fn every_other_form_is_refused() {
    let read = |text: &str| from_canonical::<BTreeMap<String, Value>>(text.as_bytes());
    assert!(read(r#"{"a":1,"b":[true,"x"]}"#).is_ok());
    for text in [
        r#"{"b":[true,"x"],"a":1}"#,
        r#"{ "a":1,"b":[true,"x"]}"#,
        "{\"a\":1,\"b\":[true,\"x\"]}\n",
        r#"{"a":1.0,"b":[true,"x"]}"#,
        r#"{"a":1e0,"b":[true,"x"]}"#,
        r#"{"a":1,"a":1,"b":[true,"x"]}"#,
        r#"{"a":1,"b":[true,"\u0078"]}"#,
        r#"{"\u0061":1}"#,
        r#"{"a":-0}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":1.5000}"#,
    ] {
        assert!(matches!(read(text), Err(CanonicalError::NotCanonical)), "{text}");
    }
    for text in ["", "{", "{\"a\":1}x", "\u{feff}{}", "{\"a\":01}", "{\"a\":NaN}", "[]"] {
        assert!(matches!(read(text), Err(CanonicalError::Shape(_))), "{text}");
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-(1i64 << 53)..(1i64 << 53)).prop_map(Value::from),
        any::<f64>()
            .prop_filter("JSON has no infinity", |n| n.is_finite())
            .prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(".{0,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn canonical_bytes_are_a_fixed_point(value in values()) {
        let bytes = to_canonical(&value);
        let again: Value = from_canonical(&bytes).unwrap();
        prop_assert_eq!(to_canonical(&again), bytes);
    }

    /// No other sequence of bytes is accepted in place of a canonical one that says the same.
    #[test]
    fn white_space_is_refused_anywhere(value in values(), place in any::<prop::sample::Index>()) {
        let mut bytes = to_canonical(&value);
        let place = place.index(bytes.len() + 1);
        bytes.insert(place, b' ');
        if let Ok(read) = from_canonical::<Value>(&bytes) {
            // The space fell into a string: then it is another value.
            prop_assert_ne!(read, value);
        }
    }
}
