//! What is said of playbooks that are wrong: by the schemas, and apart from it by us.

mod common;

use common::{action, id, parse, playbook, with};
use playbooks::{Playbook, STEP_EXTENSION, Schemas, report};
use serde_json::{Value, json};

fn valid() -> Value {
    playbook(
        json!({"__x__": {"type": "string", "value": ""}, "__c__": {"type": "string", "constant": true}}),
        vec![
            (id("action", 1), action("bash", "show __x__:value", &id("action", 2))),
            (id("action", 2), action("bash", "two", &id("end", 0))),
        ],
    )
}

/// The document with what `pointer` names replaced, or taken out.
fn changed(pointer: &str, to: Option<Value>) -> Value {
    let mut document = valid();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match (parent, to) {
        (Value::Object(object), Some(to)) => drop(object.insert(name.to_owned(), to)),
        (Value::Object(object), None) => drop(object.remove(name)),
        (Value::Array(list), Some(to)) => list[name.parse::<usize>().unwrap()] = to,
        _ => panic!("{pointer}"),
    }
    document
}

#[test]
fn the_schemas_refuse_with_a_path_and_a_sentence() {
    parse(&valid());
    let step = format!("/workflow/{}", id("action", 1));
    for (pointer, to, path, sentence) in [
        ("/name", None, "", "`name` is missing"),
        ("/name", Some(json!(7)), "/name", "`7` should be a string"),
        (
            "/spec_version",
            Some(json!("1.1")),
            "/spec_version",
            "`1.1` should be `cacao-2.0`",
        ),
        ("/id", Some(json!("playbook--1")), "/id", "is not an identifier"),
        ("/created", Some(json!("yesterday")), "/created", "is not a time"),
        ("/priority", Some(json!(101)), "/priority", "should be at most 100"),
        ("/labels", Some(json!([])), "/labels", "at least 1 entries"),
        (&format!("{step}/agent"), None, &step, "`agent` is missing"),
        (
            &format!("{step}/delay"),
            Some(json!(0)),
            &format!("{step}/delay"),
            "should be at least 1",
        ),
        (
            &format!("/workflow/{}/on_success", id("start", 0)),
            Some(json!(id("action", 1))),
            &format!("/workflow/{}", id("start", 0)),
            "`on_failure`, `on_success` must not be given here",
        ),
        (
            "/playbook_variables/__x__/value",
            Some(json!(1)),
            "/playbook_variables/__x__/value",
            "should be null or a string",
        ),
    ] {
        let report = report(&changed(pointer, to).to_string());
        let found = report
            .refusals
            .iter()
            .any(|refusal| refusal.path == path && refusal.sentence.contains(sentence));
        assert!(found, "{pointer}: {report}");
        assert!(report.flaws.is_empty(), "{pointer}");
    }
    assert!(report("{").refusals[0].sentence.contains("not JSON"));
    assert!(report("7").refusals[0].sentence.contains("should be an object"));
}

#[test]
fn what_schemas_cannot_say_is_said_apart() {
    let (one, two) = (
        format!("/workflow/{}", id("action", 1)),
        format!("/workflow/{}", id("action", 2)),
    );
    let step = |path: &str, name: &str| format!("{path}/{name}");
    let nowhere = json!(id("action", 99));
    for (pointer, to, path, sentence) in [
        (
            "/workflow_start".to_owned(),
            json!(id("action", 1)),
            "/workflow_start",
            "is not a start step",
        ),
        (
            "/workflow_exception".to_owned(),
            nowhere.clone(),
            "/workflow_exception",
            "there is no step",
        ),
        (
            step(&one, "on_completion"),
            nowhere.clone(),
            &step(&one, "on_completion"),
            "there is no step",
        ),
        (
            step(&one, "on_completion"),
            json!(id("start", 0)),
            &step(&one, "on_completion"),
            "is a start step",
        ),
        (
            step(&one, "on_completion"),
            json!(id("end", 0)),
            two.as_str(),
            "no step leads here",
        ),
        (
            step(&two, "on_completion"),
            json!(id("action", 1)),
            one.as_str(),
            "go round in a circle",
        ),
        (
            step(&one, "agent"),
            json!(id("linux", 99)),
            &step(&one, "agent"),
            "not among the agent definitions",
        ),
        (
            step(&one, "targets"),
            json!([id("linux", 99)]),
            &step(&one, "targets/0"),
            "not among the target definitions",
        ),
        (
            step(&one, "in_args"),
            json!(["__z__"]),
            &step(&one, "in_args/0"),
            "`__z__` is not declared",
        ),
        (
            step(&one, "out_args"),
            json!(["__c__"]),
            &step(&one, "out_args/0"),
            "is constant",
        ),
        (
            step(&one, "commands/0"),
            json!({"type": "bash", "command": "show __z__:value"}),
            &step(&one, "commands/0/command"),
            "`__z__` is not declared",
        ),
        (
            step(&one, "commands/0"),
            json!({"type": "bash"}),
            &step(&one, "commands/0"),
            "`command_b64` is missing",
        ),
        (
            step(&one, "commands/0"),
            json!({"type": "bash", "command_b64": "%"}),
            &step(&one, "commands/0/command_b64"),
            "not base64",
        ),
        (
            step(&one, "commands/0"),
            json!({"type": "http-api"}),
            &step(&one, "commands/0"),
            "`command` is missing",
        ),
        (
            step(&one, "step_extensions"),
            json!({STEP_EXTENSION: {"compensation": id("action", 2)}}),
            &format!("{one}/step_extensions/{STEP_EXTENSION}/compensation"),
            "must be an idempotent action step",
        ),
        (
            step(&one, "step_extensions"),
            json!({STEP_EXTENSION: {"idempotnt": true}}),
            &format!("{one}/step_extensions/{STEP_EXTENSION}"),
            "`idempotent` and `compensation` only",
        ),
        (
            step(&one, "step_extensions"),
            json!({id("extension-definition", 9): {}}),
            &format!("{one}/step_extensions/{}", id("extension-definition", 9)),
            "not among the extension definitions",
        ),
        (
            "/modified".to_owned(),
            json!("2020-01-01T00:00:00.000Z"),
            "/modified",
            "before `created`",
        ),
        (
            format!("/agent_definitions/{}/authentication_info", id("linux", 1)),
            json!(id("oauth2", 99)),
            &format!("/agent_definitions/{}/authentication_info", id("linux", 1)),
            "not among the authentication definitions",
        ),
    ] {
        let report = report(&changed(&pointer, Some(to)).to_string());
        assert_eq!(report.refusals, [], "{pointer}");
        let found = report
            .flaws
            .iter()
            .any(|flaw| flaw.path == path && flaw.sentence.contains(sentence));
        assert!(found, "{pointer}:\n{report}");
    }
    // A key that no pattern of the schemas knows, and a branch that ends nowhere.
    let mut document = valid();
    document["workflow"]["task--1"] = json!({"type": "action", "commands": [], "agent": "x"});
    assert!(
        report(&document.to_string())
            .to_string()
            .contains("begins with `action--`")
    );
    let dead_end = report(&changed(&format!("{two}/on_completion"), None).to_string());
    assert!(dead_end.to_string().contains("comes to an end step"), "{dead_end}");
}

#[test]
fn limits_are_no_flaws() {
    let end = id("end", 0);
    let document = playbook(
        json!({"__x__": {"type": "string"}}),
        vec![
            (
                id("if-condition", 1),
                json!({"type": "if-condition", "condition": "__x__:value MATCHES 'a'", "on_true": id("action", 2), "on_completion": end}),
            ),
            (
                id("action", 2),
                with(
                    action("bash", "x", &id("end", 2)),
                    json!({"agent": id("linux", 2), "commands": [{"type": "bash", "command": "x"}, {"type": "sigma", "command_b64": "eA=="}]}),
                ),
            ),
            (id("end", 2), json!({"type": "end"})),
        ],
    );
    let limits = parse(&document).limits();
    let text: Vec<&str> = limits.iter().map(|limit| limit.sentence.as_str()).collect();
    assert_eq!(limits.len(), 3, "{text:?}");
}

#[test]
fn other_schemas_may_take_the_place_of_the_shipped() {
    assert_eq!(Schemas::files().len(), 51);
    Schemas::of(Schemas::files()).unwrap();
    for (files, expect) in [
        (vec![], "there is no `playbook.json`"),
        (vec![("playbook.json", "{")], "is not JSON"),
        (vec![("playbook.json", "{}")], "has no `$id`"),
        (
            vec![(
                "playbook.json",
                "{\"$id\": \"https://a.test/p.json\", \"$ref\": \"q.json\"}",
            )],
            "no usable schema",
        ),
    ] {
        let refused = Schemas::of(&files).unwrap_err().to_string();
        assert!(refused.contains(expect), "{refused}");
    }
}

/// JSON of every shape, much of it near a playbook.
fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let name = prop_oneof![
        Just("type".to_owned()),
        Just("workflow".to_owned()),
        Just("on_completion".to_owned()),
        Just(id("action", 1)),
        Just(STEP_EXTENSION.to_owned()),
        "[a-z_]{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        name.clone().prop_map(Value::from),
        Just(json!("__x__:value = 'a'")),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every pointer into a document.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                pointers(
                    value,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    found,
                );
            }
        }
        Value::Array(list) => {
            for (number, value) in list.iter().enumerate() {
                pointers(value, &format!("{at}/{number}"), found);
            }
        }
        _ => {}
    }
}

proptest::proptest! {
    #[test]
    fn random_json_never_panics(document in any_json()) {
        let _ = report(&document.to_string());
    }

    /// One place of a good playbook holds anything: checked without a panic, and what passes runs without one.
    #[test]
    fn a_playbook_with_anything_in_one_place_never_panics(at in proptest::num::usize::ANY, anything in any_json()) {
        let mut document = valid();
        let mut places = Vec::new();
        pointers(&document, "", &mut places);
        let place = &places[at % places.len()];
        *document.pointer_mut(place).unwrap() = anything;
        if let Ok(playbook) = Playbook::parse(&document.to_string()) {
            let store = playbooks::RunStore::new(std::sync::Arc::new(testkit::SimStorage::new(1)));
            let inputs = playbooks::Inputs { run: "r".to_owned(), ..Default::default() };
            let _ = playbooks::run(&playbook, &inputs, &common::World::default(), &store);
        }
    }
}
