//! What running a playbook does, step type by step type, and what becomes of a run that is cut off.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use common::{World, action, id, parse, playbook, with};
use evidence::{Storage, Timestamp};
use playbooks::{Answer, Inputs, Playbook, RunRecord, RunStatus, RunStore, STEP_EXTENSION, WaitingFor, run};
use serde_json::{Value, json};
use testkit::SimStorage;

fn inputs(variables: &[(&str, &str)]) -> Inputs {
    Inputs {
        run: "r1".to_owned(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        secrets: BTreeMap::new(),
    }
}

fn store() -> RunStore {
    RunStore::new(Arc::new(SimStorage::new(1)))
}

fn run_all(playbook: &Playbook, variables: &[(&str, &str)], world: &World) -> RunRecord {
    run(playbook, &inputs(variables), world, &store()).unwrap()
}

#[track_caller]
fn check(variables: Value, steps: Vec<(String, Value)>, expect: &[&str], status: &str) {
    let world = World::default();
    let record = run_all(&parse(&playbook(variables, steps)), &[], &world);
    assert_eq!(world.done(), expect);
    assert!(format!("{:?}", record.status).contains(status), "{:?}", record.status);
}

fn var(value: &str) -> Value {
    json!({"type": "string", "value": value})
}

#[test]
fn every_step_type_does_what_it_says() {
    let end = id("end", 0);
    let a = |n| id("action", n);
    check(
        json!({}),
        vec![
            (a(1), action("bash", "one", &a(2))),
            (a(2), action("bash", "two", &end)),
        ],
        &["one", "two"],
        "Succeeded",
    );
    // An output becomes a variable, and a variable part of a command.
    check(
        json!({"__x__": var("a b")}),
        vec![
            (
                a(1),
                with(action("bash", "out __x__:value", &a(2)), json!({"out_args": ["__x__"]})),
            ),
            (a(2), action("bash", "show __x__:value", &end)),
        ],
        &["out a b", "show a b"],
        "Succeeded",
    );
    check(
        json!({"__x__": var("1"), "__y__": var("2")}),
        vec![
            (
                a(1),
                with(
                    action("bash", "out __x__=5;noise;__y__=6", &a(2)),
                    json!({"out_args": ["__x__", "__y__"]}),
                ),
            ),
            (a(2), action("bash", "show __x__:value __y__:value", &end)),
        ],
        &["out __x__=5;noise;__y__=6", "show 5 6"],
        "Succeeded",
    );
    let condition = |condition: &str| {
        vec![
            (
                id("if-condition", 1),
                json!({"type": "if-condition", "condition": condition, "on_true": a(2), "on_false": a(3), "on_completion": a(4)}),
            ),
            (a(2), action("bash", "yes", &id("end", 2))),
            (a(3), action("bash", "no", &id("end", 3))),
            (a(4), action("bash", "after", &end)),
            (id("end", 2), json!({"type": "end"})),
            (id("end", 3), json!({"type": "end"})),
        ]
    };
    check(
        json!({"__x__": var("b")}),
        condition("__x__:value = 'b'"),
        &["yes", "after"],
        "Succeeded",
    );
    check(
        json!({"__x__": var("c")}),
        condition("__x__:value = 'b'"),
        &["no", "after"],
        "Succeeded",
    );
    check(
        json!({"__x__": var("c")}),
        condition("__x__:value > 3"),
        &[],
        "`__x__` is not a number",
    );
    let switch = vec![
        (
            id("switch-condition", 1),
            json!({"type": "switch-condition", "switch": "__x__:value", "cases": {"b": a(2), "default": a(3)}, "on_completion": end}),
        ),
        (a(2), action("bash", "b", &id("end", 2))),
        (a(3), action("bash", "default", &id("end", 3))),
        (id("end", 2), json!({"type": "end"})),
        (id("end", 3), json!({"type": "end"})),
    ];
    check(json!({"__x__": var("b")}), switch.clone(), &["b"], "Succeeded");
    check(json!({"__x__": var("z")}), switch, &["default"], "Succeeded");
    let rounds = |last: Value| {
        vec![
            (
                id("while-condition", 1),
                json!({"type": "while-condition", "condition": "__n__:value != '3'", "on_true": a(2), "on_completion": end}),
            ),
            (
                a(2),
                with(action("bash", "out 3", &a(3)), json!({"out_args": ["__n__"]})),
            ),
            (a(3), last),
            (id("end", 3), json!({"type": "end"})),
        ]
    };
    // A round ends at an end step, or back at the condition.
    for next in [id("end", 3), id("while-condition", 1)] {
        let mut steps = rounds(action("bash", "round", &next));
        if next.starts_with("while") {
            steps.pop();
        }
        check(json!({"__n__": var("0")}), steps, &["out 3", "round"], "Succeeded");
    }
    let forever = vec![
        (
            id("while-condition", 1),
            json!({"type": "while-condition", "condition": "1 = 1", "on_true": id("end", 2), "on_completion": end}),
        ),
        (id("end", 2), json!({"type": "end"})),
    ];
    check(json!({}), forever, &[], "still holds after 1000 rounds");
}

#[test]
fn a_failure_goes_to_on_failure_or_the_exception_step_and_never_on() {
    let (end, a) = (id("end", 0), |n| id("action", n));
    check(
        json!({}),
        vec![
            (a(1), action("bash", "fail because", &a(2))),
            (a(2), action("bash", "never", &end)),
        ],
        &["fail because"],
        "exit code 1: because",
    );
    check(
        json!({}),
        vec![
            (
                a(1),
                with(
                    action("bash", "fail x", &a(2)),
                    json!({"on_completion": null, "on_success": a(2), "on_failure": a(3)}),
                ),
            ),
            (a(2), action("bash", "never", &end)),
            (a(3), action("bash", "repaired", &end)),
        ],
        &["fail x", "repaired"],
        "Succeeded",
    );
    let mut document = playbook(
        json!({}),
        vec![
            (a(1), action("bash", "fail x", &end)),
            (a(9), action("bash", "exception", &id("end", 9))),
            (id("end", 9), json!({"type": "end"})),
        ],
    );
    document["workflow_exception"] = json!(a(9));
    let world = World::default();
    let record = run_all(&parse(&document), &[], &world);
    assert_eq!(world.done(), ["fail x", "exception"]);
    assert!(matches!(record.status, RunStatus::Failed { .. }), "{:?}", record.status);
}

#[test]
fn branches_in_parallel_are_put_together_in_their_order() {
    let a = |n| id("action", n);
    let mut steps = vec![
        (
            id("parallel", 1),
            json!({"type": "parallel", "next_steps": [a(2), a(3)], "on_completion": a(4)}),
        ),
        (a(4), action("bash", "show __x__:value", &id("end", 0))),
    ];
    for n in [2, 3] {
        let step = with(
            action("bash", &format!("out {n}"), &id("end", n)),
            json!({"out_args": ["__x__"]}),
        );
        steps.push((a(n), step));
        steps.push((id("end", n), json!({"type": "end"})));
    }
    for _ in 0..20 {
        let world = World::default();
        let record = run_all(&parse(&playbook(json!({"__x__": var("")}), steps.clone())), &[], &world);
        assert_eq!(record.status, RunStatus::Succeeded);
        assert_eq!(world.done().last().map(String::as_str), Some("show 3"));
        assert_eq!(record.variables["__x__"].as_deref(), Some("3"));
    }
}

#[test]
fn a_called_playbook_gets_arguments_and_gives_values_back() {
    let (end, a) = (id("end", 0), |n| id("action", n));
    let mut inner = playbook(
        json!({"__x__": var("inner"), "__y__": var("")}),
        vec![(
            a(1),
            with(action("bash", "out __x__:value!", &end), json!({"out_args": ["__y__"]})),
        )],
    );
    inner["id"] = json!(id("playbook", 7));
    let outer = playbook(
        json!({"__x__": var("outer"), "__y__": var("")}),
        vec![
            (
                id("playbook-action", 1),
                json!({"type": "playbook-action", "playbook_id": id("playbook", 7), "in_args": ["__x__"], "out_args": ["__y__"], "on_completion": a(2)}),
            ),
            (a(2), action("bash", "show __y__:value", &end)),
        ],
    );
    let world = World {
        library: vec![parse(&inner)],
        ..World::default()
    };
    let record = run_all(&parse(&outer), &[], &world);
    assert_eq!(world.done(), ["out outer!", "show outer!"]);
    assert_eq!(record.status, RunStatus::Succeeded);
    let record = run_all(&parse(&outer), &[], &World::default());
    assert!(format!("{:?}", record.status).contains("is not known here"));
}

#[test]
fn requests_carry_secrets_and_no_value_breaks_out() {
    let (end, a) = (id("end", 0), |n| id("action", n));
    let mut request = action("http-api", "POST /v1/__name__:value HTTP/1.1", &end);
    request["commands"][0]["headers"] = json!({"Content-Type": ["application/json"]});
    request["commands"][0]["content"] = json!("{\"reason\": \"__name__:value\"}");
    request["out_args"] = json!(["__lease__"]);
    let document = playbook(
        json!({"__name__": {"type": "string", "external": true}, "__token__": {"type": "string", "external": true}, "__lease__": var("")}),
        vec![(a(1), request)],
    );
    let mut world = World::default();
    world
        .answers
        .insert("/v1/a%20%22b%3F".to_owned(), (200, "{\"lease\": \"l-1\"}".to_owned()));
    let storage = Arc::new(SimStorage::new(1));
    let mut inputs = inputs(&[("__name__", "a \"b?")]);
    inputs
        .secrets
        .insert("__token__".to_owned(), PathBuf::from("token-file"));
    let record = run(&parse(&document), &inputs, &world, &RunStore::new(storage.clone())).unwrap();
    assert_eq!(
        world.done(),
        [
            "POST 127.0.0.1:8200/v1/a%20%22b%3F content-type=application/json,x-vault-token=secret of token-file {\"reason\": \"a \\\"b?\"}"
        ]
    );
    assert_eq!(record.variables["__lease__"].as_deref(), Some("l-1"));
    assert!(!record.variables.contains_key("__token__"));
    let journal = storage.read("runs/r1.journal").unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&journal).contains("secret of"));
}

#[test]
fn what_reaches_the_world_is_refused_or_handed_over_by_kind() {
    let end = id("end", 0);
    let a = id("action", 1);
    check(
        json!({"__r__": var("attempt 7")}),
        vec![(
            a.clone(),
            action("bash", "proofmark rollout rollback __r__:value", &end),
        )],
        &["action [\"rollout\", \"rollback\", \"attempt 7\"]"],
        "Succeeded",
    );
    check(
        json!({}),
        vec![(a.clone(), action("bash", "proofmark rollout rollback x; ls", &end))],
        &["proofmark rollout rollback x; ls"],
        "Succeeded",
    );
    check(
        json!({}),
        vec![(
            a.clone(),
            with(
                action("yara", "", &end),
                json!({"commands": [{"type": "yara", "command_b64": "eA=="}]}),
            ),
        )],
        &[],
        "commands of type `yara` are not run here",
    );
    check(
        json!({}),
        vec![(
            a.clone(),
            with(action("bash", "ls", &end), json!({"agent": id("linux", 2)})),
        )],
        &[],
        "on this machine only",
    );
    check(
        json!({"__x__": {"type": "string"}}),
        vec![(a, action("bash", "show __x__:value", &end))],
        &[],
        "`__x__` has no value",
    );
}

#[test]
fn a_person_is_waited_for() {
    let (end, a) = (id("end", 0), |n| id("action", n));
    let document = playbook(
        json!({"__verdict__": var("")}),
        vec![
            (a(1), action("bash", "first", &a(2))),
            (
                a(2),
                with(
                    action("manual", "look at it", &a(3)),
                    json!({"out_args": ["__verdict__"], "on_completion": null, "on_success": a(3), "on_failure": a(4)}),
                ),
            ),
            (a(3), action("bash", "show __verdict__:value", &end)),
            (a(4), action("bash", "refused", &end)),
        ],
    );
    for (done, last) in [(true, "show fine"), (false, "refused")] {
        let (world, store) = (World::default(), store());
        let playbook = parse(&document);
        for _ in 0..3 {
            let record = run(&playbook, &inputs(&[]), &world, &store).unwrap();
            let RunStatus::Waiting(waiting) = record.status else {
                panic!("{:?}", record.status)
            };
            assert_eq!((waiting.len(), waiting[0].kind), (1, WaitingFor::Answer));
            assert_eq!(waiting[0].instructions, "look at it");
        }
        assert_eq!(world.asked.lock().unwrap().len(), 1, "asked once");
        let answer = Answer {
            by: "ann",
            at: Timestamp::UNIX_EPOCH,
            done,
            values: BTreeMap::from([
                ("__verdict__".to_owned(), "fine".to_owned()),
                ("__other__".to_owned(), "x".to_owned()),
            ]),
        };
        assert!(store.answer("r1", &a(1), &answer).is_err(), "nothing waits there");
        assert!(store.answer("r2", &a(2), &answer).is_err(), "no such run");
        store.answer("r1", &a(2), &answer).unwrap();
        assert!(store.answer("r1", &a(2), &answer).is_err(), "answered once");
        let record = run(&playbook, &inputs(&[]), &world, &store).unwrap();
        assert_eq!(record.status, RunStatus::Succeeded);
        assert_eq!(world.done(), ["first", last]);
        let again = run(&playbook, &inputs(&[]), &world, &store).unwrap();
        assert_eq!(
            (again.status, world.done().len()),
            (RunStatus::Succeeded, 2),
            "what is over stays over"
        );
        assert_eq!(store.list().unwrap()[0].ended, Some((true, String::new())));
    }
}

#[test]
fn inputs_have_to_fit() {
    let document = playbook(
        json!({
            "__n__": {"type": "integer", "external": true},
            "__c__": {"type": "string", "value": "x", "constant": true},
        }),
        vec![(
            id("action", 1),
            action("bash", "show __n__:value __c__:value", &id("end", 0)),
        )],
    );
    let playbook = parse(&document);
    for (given, expect) in [
        (vec![], "wants a value for `__n__`"),
        (vec![("__n__", "x")], "of type `integer`"),
        (vec![("__n__", "1"), ("__c__", "y")], "is constant"),
        (vec![("__z__", "1")], "no variable `__z__`"),
    ] {
        let refused = run(&playbook, &inputs(&given), &World::default(), &store()).unwrap_err();
        assert!(refused.to_string().contains(expect), "{refused}");
    }
    let store = store();
    run(&playbook, &inputs(&[("__n__", "1")]), &World::default(), &store).unwrap();
    let other = run(&playbook, &inputs(&[("__n__", "2")]), &World::default(), &store).unwrap_err();
    assert!(other.to_string().contains("other inputs"), "{other}");
    let (kept, given) = store.begun("r1").unwrap();
    assert_eq!((kept.digest(), given), (playbook.digest(), inputs(&[("__n__", "1")])));
}

#[test]
fn time_runs_out_for_a_person_and_for_a_loop() {
    let end = id("end", 0);
    let document = playbook(
        json!({}),
        vec![(
            id("action", 1),
            with(action("manual", "hurry", &end), json!({"timeout": 1000})),
        )],
    );
    let (world, store) = (World::default(), store());
    run(&parse(&document), &inputs(&[]), &world, &store).unwrap();
    *world.clock.lock().unwrap() += 2_000;
    let record = run(&parse(&document), &inputs(&[]), &world, &store).unwrap();
    assert!(
        format!("{:?}", record.status).contains("ACTION_TIMEOUT"),
        "{:?}",
        record.status
    );
    let slow = vec![
        (
            id("while-condition", 1),
            json!({"type": "while-condition", "condition": "1 = 1", "on_true": id("action", 2), "on_completion": end, "timeout": 1000}),
        ),
        (
            id("action", 2),
            with(action("bash", "look", &id("end", 2)), json!({"delay": 300})),
        ),
        (id("end", 2), json!({"type": "end"})),
    ];
    let world = World::default();
    let record = run_all(&parse(&playbook(json!({}), slow)), &[], &world);
    assert!(
        format!("{:?}", record.status).contains("ACTION_TIMEOUT"),
        "{:?}",
        record.status
    );
    assert!((3..=4).contains(&world.done().len()), "{:?}", world.done());
}

/// A playbook with every way to recover, and with branches, a loop and a call of another.
fn recoverable() -> (Value, Playbook) {
    let a = |n| id("action", n);
    let extended = |step: Value, extension: Value| with(step, json!({"step_extensions": {STEP_EXTENSION: extension}}));
    let ends = |n| (id("end", n), json!({"type": "end"}));
    let mut inner = playbook(json!({}), vec![(a(1), action("bash", "plain called", &id("end", 0)))]);
    inner["id"] = json!(id("playbook", 7));
    let document = playbook(
        json!({"__n__": var("0")}),
        vec![
            (
                a(1),
                extended(action("bash", "idempotent 1", &a(2)), json!({"idempotent": true})),
            ),
            (
                a(2),
                with(
                    extended(
                        action("bash", "compensated 2", &id("parallel", 1)),
                        json!({"compensation": a(3)}),
                    ),
                    json!({"on_completion": null, "on_success": id("parallel", 1), "on_failure": id("parallel", 1)}),
                ),
            ),
            (
                a(3),
                with(
                    extended(action("bash", "takeback 2", ""), json!({"idempotent": true})),
                    json!({"on_completion": id("end", 9)}),
                ),
            ),
            ends(9),
            (
                id("parallel", 1),
                json!({"type": "parallel", "next_steps": [a(4), id("while-condition", 1)], "on_completion": id("playbook-action", 1)}),
            ),
            (a(4), action("bash", "plain 4", &id("end", 4))),
            ends(4),
            (
                id("while-condition", 1),
                json!({"type": "while-condition", "condition": "__n__:value < 3", "on_true": a(5), "on_completion": id("end", 5)}),
            ),
            (
                a(5),
                with(
                    extended(action("bash", "idempotent 5", &a(6)), json!({"idempotent": true})),
                    json!({}),
                ),
            ),
            (
                a(6),
                with(
                    action("bash", "out 3", &id("end", 6)),
                    json!({"out_args": ["__n__"], "step_extensions": {STEP_EXTENSION: {"idempotent": true}}}),
                ),
            ),
            ends(5),
            ends(6),
            (
                id("playbook-action", 1),
                json!({"type": "playbook-action", "playbook_id": id("playbook", 7), "on_completion": a(8)}),
            ),
            (a(8), action("bash", "plain 8", &id("end", 0))),
        ],
    );
    (document, parse(&inner))
}

/// Crashes within every write of a run: afterwards nothing plain was done twice, nothing was left out, and what was
/// compensated was done at most as often as it was taken back plus once.
#[test]
fn a_crash_at_any_write_does_nothing_twice() {
    let (document, inner) = recoverable();
    let playbook = parse(&document);
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| {
            text.parse().unwrap_or_else(|_| panic!("{name} is not a number"))
        })
    };
    let (runs, first) = (number("PROOFMARK_SOAK_RUNS", 6), number("PROOFMARK_SOAK_SEED", 0));
    let mut crashes = 0;
    for seed in first..first.saturating_add(runs) {
        for at in 1.. {
            let storage = Arc::new(SimStorage::new(seed));
            storage.crash_at(at);
            let world = World {
                library: vec![inner.clone()],
                ..World::default()
            };
            let store = RunStore::new(storage.clone());
            let first = run(&playbook, &inputs(&[]), &world, &store);
            if !storage.crashed() {
                assert_eq!(first.unwrap().status, RunStatus::Succeeded);
                break;
            }
            crashes += 1;
            let mut survived = Arc::new(storage.after_crash(seed.wrapping_mul(31).wrapping_add(at)));
            let context = format!("seed {seed}, write {at}");
            let mut record = None;
            for _ in 0..40 {
                let store = RunStore::new(survived.clone());
                let found =
                    run(&playbook, &inputs(&[]), &world, &store).unwrap_or_else(|error| panic!("{context}: {error}"));
                let RunStatus::Waiting(waiting) = &found.status else {
                    record = Some(found);
                    break;
                };
                for place in waiting {
                    assert_eq!(place.kind, WaitingFor::Settlement, "{context}");
                    // The person looks at the world.
                    let step = place.unit.rsplit('/').nth(1).unwrap();
                    let what = match step {
                        step if step == id("action", 4) => "plain 4",
                        step if step == id("action", 8) => "plain 8",
                        step if step == id("action", 1) => "plain called",
                        other => panic!("{context}: {other} needs a person"),
                    };
                    let happened = world.done().iter().any(|done| done == what);
                    store
                        .settle("r1", &place.unit, happened, "ann", Timestamp::UNIX_EPOCH)
                        .unwrap();
                }
                survived = Arc::new(survived.after_crash(at));
            }
            let record = record.unwrap_or_else(|| panic!("{context}: it never ends"));
            assert_eq!(record.status, RunStatus::Succeeded, "{context}");
            let done = world.done();
            let count = |what: &str| done.iter().filter(|done| *done == what).count();
            for plain in ["plain 4", "plain called", "plain 8"] {
                assert_eq!(count(plain), 1, "{context}: {done:?}");
            }
            assert!(count("idempotent 1") >= 1 && count("idempotent 5") >= 1, "{context}");
            let (times, back) = (count("compensated 2"), count("takeback 2"));
            let compensated = record.units.iter().any(|unit| unit.state.contains("taken back"));
            assert!(
                times <= 1 && (back > 0) == compensated,
                "{context}: {times} and {back}: {done:?}"
            );
            assert!(compensated || times == 1, "{context}: {done:?}");
        }
    }
    println!("{crashes} crashes in simulated storage, nothing done twice");
    assert!(runs == 0 || crashes > 0);
}

/// The journal of version 1, as its fixture was made: a run with every kind of record.
#[test]
fn a_journal_has_every_kind_of_record() {
    let text = include_str!("run-v1.txt");
    for kind in [
        "begun", "called", "started", "finished", "asked", "answered", "settled", "ended",
    ] {
        assert!(text.contains(&format!("\"record\":\"{kind}\"")), "{kind}");
    }
    let storage = Arc::new(SimStorage::new(1));
    storage.replace("runs/old.journal", text.as_bytes()).unwrap();
    let summary = RunStore::new(storage).summary("old").unwrap();
    assert_eq!(summary.ended, Some((true, String::new())));
}

/// The journal's word alone moves nothing; another one may be given, and who gave it stays known.
#[test]
fn a_word_that_nobody_vouches_for_is_waited_for_again() {
    let end = id("end", 0);
    let (first, second) = (id("action", 1), id("action", 2));
    let book = parse(&playbook(
        json!({}),
        vec![
            (first.clone(), action("manual", "may I?", &second)),
            (second, action("bash", "go", &end)),
        ],
    ));
    let store = store();
    let distrusting = World {
        distrusts: true,
        ..World::default()
    };
    run(&book, &inputs(&[]), &distrusting, &store).unwrap();
    let answer = |by: &'static str| Answer {
        by,
        at: Timestamp::UNIX_EPOCH,
        done: true,
        values: BTreeMap::new(),
    };
    store.answer("r1", &first, &answer("mallory")).unwrap();
    let record = run(&book, &inputs(&[]), &distrusting, &store).unwrap();
    assert!(matches!(&record.status, RunStatus::Waiting(places) if places[0].instructions.contains("mallory")));
    let word = store.word("r1", &first, &answer("ann")).unwrap();
    assert_ne!(
        word.digest(),
        store.word("r1", &first, &answer("bob")).unwrap().digest()
    );
    store.answer("r1", &word.unit, &answer("ann")).unwrap();
    let world = World::default();
    let record = run(&book, &inputs(&[]), &world, &store).unwrap();
    assert_eq!(record.status, RunStatus::Succeeded);
    assert_eq!(world.done(), ["go"]);
    assert_eq!(record.units[0].by.as_deref(), Some("ann"));
}
