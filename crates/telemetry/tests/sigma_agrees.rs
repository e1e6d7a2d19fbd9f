//! Our evaluation of Sigma rules against rsigma's own, rule by rule: every modifier and form of condition, and rules
//! and events that nobody thought of.

use proptest::prelude::*;
use proptest::sample::select;
use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Map, Value, json};
use telemetry::SigmaRules;

/// Titles of the rules of one file that match, by ours and by rsigma; `None` when rsigma refuses the file.
fn both(file: &str, events: &[Value]) -> Option<Vec<(Vec<String>, Vec<String>)>> {
    let parsed = parse_sigma_yaml(file).ok().filter(|parsed| parsed.errors.is_empty())?;
    let mut theirs = Engine::new();
    theirs.add_collection(&parsed).ok()?;
    let ours =
        SigmaRules::load(&[("r.yml".to_owned(), file.into())]).unwrap_or_else(|found| panic!("{found:?}: {file}"));
    let compared = events.iter().map(|event| {
        let matches = ours.matches(event).into_iter().map(|found| found.title).collect();
        let theirs = theirs.evaluate(&JsonEvent::borrow(event));
        (
            matches,
            theirs.into_iter().map(|result| result.header.rule_title).collect(),
        )
    });
    Some(compared.collect())
}

/// One rule, of which the detection is given, against events. Some of them have to match and some not, or the row says
/// nothing.
#[track_caller]
fn check(detection: &str, events: &[Value]) {
    // Array matching came with version 3.
    let rule = format!("title: t\nsigma-version: 3\nlogsource:\n  product: shop\ndetection:\n{detection}\n");
    let compared = both(&rule, events).unwrap_or_else(|| panic!("rsigma refuses {rule}"));
    for ((ours, theirs), event) in compared.iter().zip(events) {
        assert_eq!(ours, theirs, "{event}\n{rule}");
    }
    let matched = compared.iter().filter(|(ours, _)| !ours.is_empty()).count();
    assert!(
        0 < matched && matched < events.len(),
        "{matched} of {} match: {rule}",
        events.len()
    );
}

/// Values of the field `f` that tell modifiers apart.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!({}),
        json!([]),
        json!("f"),
        json!({"f": null}),
        json!({"f": {"g": "cmd"}}),
        json!({"g": "cmd.exe"}),
        json!({"f": ["x", "CMD.exe"]}),
        json!({"f": ["cmd", ["/c foo"]]}),
        json!({"f": []}),
        json!({"f": [null, 7]}),
    ];
    let scalars = json!([
        "",
        "cmd",
        "CMD.exe",
        "c:\\cmd.exe",
        "cmd.exe /c foo",
        "x -enc foo",
        "x /enc foo",
        "7",
        7,
        7.0,
        7.5,
        8,
        -1,
        true,
        false,
        "true",
        "no",
        "10.1.2.3",
        "::1",
        "192.168.0.1",
        "Größe",
        "GRÖSSE",
        "\u{212a}elvin",
        "\u{130}",
        "2026-11-24T08:30:00Z",
        "Zm9v",
        "xZm9vYg==",
        "\u{17f}cho foo",
        "echo foo bar",
        "a*b",
        "a\nb",
        1_790_000_000_i64
    ]);
    values.extend(
        scalars
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| json!({"f": value, "g": "cmd.exe"})),
    );
    values
}

#[test]
fn modifiers() {
    let row = |item: &str| {
        check(&format!("  s:\n    {item}\n  condition: s"), &values());
        check(&format!("  s:\n    {item}\n  condition: not s"), &values());
    };
    row("f: cmd");
    row("f: ''");
    row("f: null");
    row("f: ['cmd', null]");
    row("f: 7");
    row("f: [7, 8, 'cmd']");
    row("f: true");
    row("f: 'cm*'");
    row("f: '*foo'");
    row("f: 'cmd.ex?'");
    row("f: 'a\\*b'");
    row("f: '*'");
    row("f|contains: cmd");
    row("f|contains: ''");
    row("f|startswith: cmd");
    row("f|endswith: .exe");
    row("f|contains|all: ['cmd', 'foo']");
    row("f|contains: ['größe', 'kelvin', 'i\u{307}']");
    row("f|contains|cased: CMD");
    row("f|cased: cmd");
    row("f|startswith|cased: ['CMD', 'Gr']");
    row("f|contains|windash: ' -enc'");
    row("f|re: '^c.d'");
    row("f|re|i: 'echo.*bar'");
    row("f|re: ['foo$', 'a.b', '\\d+']");
    row("f|cidr: ['10.0.0.0/8', '::/64']");
    row("f|base64: foo");
    row("f|base64offset|contains: foo");
    row("f|exists: true");
    row("f|exists: false");
    row("f|fieldref: g");
    row("f|gt: 7");
    row("f|gte: 7");
    row("f|lt: 7");
    row("f|lte: 7.5");
    row("f|neq: cmd");
    row("f|expand: '%g%'");
    row("f|hour: 8");
    row("f|year: 2026");
    row("f.g: cmd");
}

#[test]
fn conditions() {
    let named = "  sel_a:\n    f|contains: cmd\n  sel_b:\n    g: cmd.exe\n  sel_c:\n    - f: 7\n    - f|endswith: exe\n      g: cmd.exe\n  \
                 words:\n    - foo\n    - 'c:*exe'\n  all_words:\n    '|all':\n      - '*cmd*'\n      - '*foo*'\n  _hidden:\n    h: x\n";
    for condition in [
        "sel_a",
        "not sel_a",
        "sel_a and not sel_b",
        "sel_a or sel_c",
        "sel_b and (sel_a or not sel_c)",
        "1 of sel_*",
        "2 of sel_*",
        "all of sel_*",
        "not all of sel_*",
        "not 1 of sel_*",
        "1 of them",
        "sel_b and not 1 of them or words",
        "words",
        "all_words",
        "not words and sel_b",
    ] {
        check(&format!("{named}  condition: {condition}"), &values());
    }
    check(
        &format!("{named}  condition:\n    - sel_a and all_words\n    - words"),
        &values(),
    );
}

#[test]
fn a_path_and_a_name_that_begin_alike() {
    let events = [
        json!({"h": "cmd", "h.i": "foo"}),
        json!({"h": "foo", "h.i": "cmd"}),
        json!({"h": {"i": "foo"}, "h.i": "cmd"}),
        json!({"h": [{"i": "foo"}, "cmd"]}),
        json!([{"h": {"i": "foo"}}]),
    ];
    check("  s:\n    h.i: foo\n  t:\n    h: cmd\n  condition: s and t", &events);
    check("  s:\n    h.i: foo\n  t:\n    h: foo\n  condition: s or t", &events);
}

#[test]
fn members_of_arrays() {
    let events = [
        json!({"calls": [{"name": "open", "path": "/etc/shadow"}, {"name": "read", "path": "/tmp/x"}]}),
        json!({"calls": [{"name": "open", "path": "/tmp/x"}, {"name": "read", "path": "/etc/shadow"}]}),
        json!({"calls": []}),
        json!({"calls": {"name": "open", "path": "/etc/shadow"}}),
        json!({"calls.name": "open"}),
        json!({"words": ["a", "b"]}),
        json!({}),
    ];
    for item in [
        "calls[any]:\n      name: open\n      path|startswith: /etc",
        "calls[all]:\n      path|startswith: /",
        "calls[none]:\n      name: read",
        "calls[0].name: open",
        "calls.name: open",
        "words[any]: a",
    ] {
        check(&format!("  s:\n    {item}\n  condition: s"), &events);
    }
}

fn texts() -> impl Strategy<Value = String> {
    let pieces = [
        "cmd", "CMD", ".exe", "\\", "/c ", " -e", "foo", "Foo", "K", "k", "\u{212a}", "s", "\u{17f}", "ß", "SS", "É",
        "\u{130}", "Σ", " ", "7", "10.0.0.1", "%", "\n", "true",
    ];
    prop::collection::vec(select(pieces.to_vec()), 0..5).prop_map(|pieces| pieces.concat())
}

fn patterns() -> impl Strategy<Value = Value> {
    let wildcard = (
        texts(),
        select(vec!["", "*", "?", "\\*"]),
        texts(),
        select(vec!["", "*"]),
    )
        .prop_map(|(one, first, other, last)| Value::from(format!("{one}{first}{other}{last}")));
    prop_oneof![
        4 => texts().prop_map(Value::from),
        2 => wildcard,
        1 => select(vec![json!(7), json!(0.5), json!(-0.0), json!(null), json!(true), json!(false)]),
        1 => select(vec!["foo|K.*s", "(?:cmd|f[oO]o)x?", "[kK]+\\d", "^$", "s{2}|\\\\", "(?i)É.s", "10.0.0.0/8", "%g%"]).prop_map(Value::from),
    ]
}

const FIELDS: [&str; 8] = ["f", "g", "h.i", "h", "j\\.k", "l[0]", "l[any]", "f[none]"];
const MODIFIERS: [&str; 24] = [
    "",
    "",
    "",
    "|contains",
    "|contains",
    "|startswith",
    "|endswith",
    "|contains|all",
    "|all",
    "|cased",
    "|contains|cased",
    "|endswith|cased",
    "|re",
    "|re|i",
    "|windash",
    "|contains|windash",
    "|neq",
    "|exists",
    "|fieldref",
    "|gt",
    "|lte",
    "|expand",
    "|cidr",
    "|base64offset|contains",
];

fn items() -> impl Strategy<Value = (String, Value)> {
    let values = prop_oneof![
        patterns(),
        prop::collection::vec(patterns(), 1..10).prop_map(Value::from)
    ];
    (select(FIELDS.to_vec()), select(MODIFIERS.to_vec()), values).prop_map(|(field, modifier, values)| {
        let values = if modifier == "|exists" {
            json!(values.is_array())
        } else {
            values
        };
        (format!("{field}{modifier}"), values)
    })
}

fn detections() -> impl Strategy<Value = Value> {
    let map = || prop::collection::vec(items(), 1..4).prop_map(|items| Value::Object(items.into_iter().collect()));
    let keywords = || prop::collection::vec(texts().prop_map(Value::from), 1..10);
    prop_oneof![
        6 => map(),
        1 => prop::collection::vec(map(), 1..3).prop_map(Value::from),
        1 => keywords().prop_map(Value::from),
        1 => keywords().prop_map(|words| json!({"|all": words})),
    ]
}

fn rules() -> impl Strategy<Value = Value> {
    let conditions = [
        "a",
        "not a",
        "a and b",
        "a or b",
        "a and not b",
        "1 of them",
        "all of them",
        "2 of them",
        "not 1 of them",
        "a and not 1 of b*",
        "c or (a and not b)",
        "not (a or b) and c",
    ];
    (detections(), detections(), detections(), select(conditions.to_vec()))
        .prop_map(|(a, b, c, condition)| json!({"a": a, "b": b, "c": c, "condition": condition}))
}

fn event_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => texts().prop_map(Value::from),
        1 => select(vec![json!(null), json!(7), json!(0.5), json!(0), json!(true), json!(false), json!(1e300), json!(u64::MAX)]),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((select(vec!["f", "i", "g"]), inner), 0..3).prop_map(|entries| {
                Value::Object(
                    entries
                        .into_iter()
                        .map(|(key, value)| (key.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

fn events() -> impl Strategy<Value = Value> {
    let keys = ["f", "g", "h", "h.i", "j.k", "j\\.k", "l", "l[0]", "m"];
    let entries = prop::collection::vec((select(keys.to_vec()), event_values()), 0..6);
    let object = entries.prop_map(|entries| {
        Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<Map<_, _>>(),
        )
    });
    prop_oneof![12 => object, 1 => event_values()]
}

proptest! {
    /// Several rules at once, so that they share atoms.
    #[test]
    fn rules_nobody_wrote(detections in prop::collection::vec(rules(), 1..7), events in prop::collection::vec(events(), 1..9)) {
        let rule = |(number, detection): (usize, Value)| {
            json!({"title": format!("rule {number}"), "sigma-version": 3, "logsource": {"product": "shop"}, "detection": detection}).to_string()
        };
        // A rule that rsigma refuses would take the others with it.
        let accepted = detections.into_iter().enumerate().map(rule).filter(|rule| both(rule, &[]).is_some());
        let file = accepted.collect::<Vec<String>>().join("\n---\n");
        for ((ours, theirs), event) in both(&file, &events).unwrap_or_default().iter().zip(&events) {
            prop_assert_eq!(ours, theirs, "{}\n{}", event, file);
        }
    }
}
