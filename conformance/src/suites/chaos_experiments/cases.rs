//! The generated experiments: provider × tolerance × control × rollback × failure point, always the same ones.
//!
//! Start reading at [`all`].

use serde_json::{Value, json};

/// An experiment, and how it is run.
pub struct Case {
    pub name: String,
    pub experiment: Value,
    pub validate: bool,
    pub settings: Value,
    pub rollbacks: Option<&'static str>,
    pub hypothesis: Option<&'static str>,
    pub dry: Option<&'static str>,
    pub frequency: f64,
    pub fail_fast: bool,
    /// Variables.
    pub configuration: Value,
    pub secrets: Value,
    pub env: Vec<(String, String)>,
}

impl Case {
    fn new(name: impl Into<String>, experiment: Value) -> Case {
        Case {
            name: name.into(),
            experiment,
            validate: true,
            settings: Value::Null,
            rollbacks: None,
            hypothesis: None,
            dry: None,
            frequency: 0.05,
            fail_fast: false,
            configuration: json!({}),
            secrets: json!({}),
            env: vec![
                ("PM_PORT".to_owned(), "8080".to_owned()),
                ("PM_TOKEN".to_owned(), "t0ken".to_owned()),
            ],
        }
    }

    /// The case as the driver reads it.
    pub fn question(&self) -> Value {
        let settings = if self.settings.is_null() {
            json!({})
        } else {
            self.settings.clone()
        };
        json!({
            "experiment": self.experiment, "validate": self.validate, "settings": settings,
            "rollbacks": self.rollbacks, "hypothesis": self.hypothesis, "dry": self.dry,
            "frequency": self.frequency, "fail_fast": self.fail_fast, "configuration": self.configuration,
            "secrets": self.secrets, "env": self.env.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }

    /// The case as a command line, apart from its variables.
    pub fn flags(&self) -> Vec<String> {
        let mut flags = vec![format!("--hypothesis-frequency={}", self.frequency)];
        let mut option = |name: &str, value: Option<&str>| flags.extend(value.map(|value| format!("--{name}={value}")));
        option("rollback-strategy", self.rollbacks);
        option(
            "hypothesis-strategy",
            self.hypothesis.filter(|strategy| *strategy != "skip"),
        );
        option("dry", self.dry);
        if !self.validate {
            flags.push("--no-validation".to_owned());
        }
        if self.fail_fast {
            flags.push("--fail-fast".to_owned());
        }
        for (name, value) in self.configuration.as_object().into_iter().flatten() {
            flags.push(format!("--var={name}:json={value}"));
        }
        flags
    }
}

/// All cases, for a server at this URL.
pub fn all(url: &str, json_path: bool) -> Vec<Case> {
    let mut cases = tolerances(url, json_path);
    cases.extend(failures());
    cases.extend(strategies());
    cases.extend(controls());
    cases.extend(providers(url));
    cases.extend(names(url));
    cases.extend(invalid(json_path));
    cases
}

fn python(name: &str, func: &str, arguments: Value) -> Value {
    json!({"type": "probe", "name": name,
        "provider": {"type": "python", "module": "proofmark_cases", "func": func, "arguments": arguments}})
}

fn process(name: &str, path: &str, arguments: Value) -> Value {
    json!({"type": "action", "name": name, "provider": {"type": "process", "path": path, "arguments": arguments}})
}

fn http(name: &str, url: &str, more: Value) -> Value {
    let mut provider = json!({"type": "http", "url": url, "timeout": 5});
    merge(&mut provider, more);
    json!({"type": "probe", "name": name, "provider": provider})
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(into), Value::Object(more)) = (into.as_object_mut(), more) {
        into.extend(more);
    }
}

fn with(mut value: Value, more: Value) -> Value {
    merge(&mut value, more);
    value
}

/// An experiment with these parts on top of the least there can be.
fn experiment(parts: Value) -> Value {
    with(
        json!({"title": "generated", "description": "generated", "method": []}),
        parts,
    )
}

fn hypothesis(probes: Value) -> Value {
    json!({"title": "steady", "probes": probes})
}

/// What probes see × what is tolerated.
fn tolerances(url: &str, json_path: bool) -> Vec<Case> {
    let probes = [
        ("echo", process("p", "echo", json!(["12"]))),
        ("exit", process("p", "sh", json!(["-c", "echo no >&2; exit 3"]))),
        ("json", http("p", &format!("{url}/json"), json!({}))),
        ("missing", http("p", &format!("{url}/status/404"), json!({}))),
        ("number", http("p", &format!("{url}/number"), json!({}))),
        ("true", python("p", "give", json!({"value": true}))),
        ("none", python("p", "give", json!({}))),
        ("int", python("p", "give", json!({"value": 7}))),
        ("float", python("p", "made", json!({"kind": "float"}))),
        ("text", python("p", "give", json!({"value": "7.50"}))),
        ("list", python("p", "made", json!({"kind": "list"}))),
        ("tuple", python("p", "made", json!({"kind": "tuple"}))),
        ("decimal", python("p", "made", json!({"kind": "decimal"}))),
        ("date", python("p", "made", json!({"kind": "date"}))),
        ("status", python("p", "made", json!({"kind": "status"}))),
        ("fails", python("p", "fail", json!({}))),
    ];
    let call = |func: &str, arguments: Value| {
        json!({"type": "probe", "name": "t",
            "provider": {"type": "python", "module": "proofmark_cases", "func": func, "arguments": arguments}})
    };
    let mut tolerances = vec![
        ("true", json!(true)),
        ("zero", json!(0)),
        ("status", json!(200)),
        ("statuses", json!([0, 200, 3])),
        ("bounds", json!([1, 10])),
        ("words", json!(["a", "b"])),
        ("members", json!([7, "7.50", 12, null])),
        ("text", json!("7.50")),
        ("name", json!("${limit}")),
        (
            "regex",
            json!({"type": "regex", "pattern": "^\\d+", "target": "stdout"}),
        ),
        (
            "regex-body",
            json!({"type": "regex", "pattern": "(?P<x>4)2|${limit}", "target": "body"}),
        ),
        ("regex-whole", json!({"type": "regex", "pattern": "7\\.5"})),
        ("range", json!({"type": "range", "range": [1, 10]})),
        (
            "range-stdout",
            json!({"type": "range", "range": [1.5, 12], "target": "stdout"}),
        ),
        (
            "range-body",
            json!({"type": "range", "range": [42, 42], "target": "body"}),
        ),
        ("probe", call("above", json!({"limit": 3}))),
        ("probe-length", call("length", json!({}))),
        ("probe-fails", with(call("raises", json!({})), json!({}))),
        (
            "probe-process",
            json!({"type": "probe", "name": "t",
            "provider": {"type": "process", "path": "true", "arguments": {}}}),
        ),
        (
            "probe-bare",
            json!({"type": "probe", "name": "t",
            "provider": {"type": "python", "module": "proofmark_cases", "func": "give"}}),
        ),
    ];
    if json_path {
        tolerances.extend([
            ("path", json!({"type": "jsonpath", "path": "$.a[*]", "target": "body"})),
            (
                "path-count",
                json!({"type": "jsonpath", "path": "$.a[*]", "target": "body", "count": 2}),
            ),
            (
                "path-expect",
                json!({"type": "jsonpath", "path": "$.a[0]", "expect": 1, "target": "body"}),
            ),
        ]);
    }
    let mut cases = Vec::new();
    for (seen, probe) in &probes {
        for (tolerated, tolerance) in &tolerances {
            let probe = with(probe.clone(), json!({"type": "probe", "tolerance": tolerance}));
            let experiment = experiment(json!({
                "configuration": {"limit": 7},
                "steady-state-hypothesis": hypothesis(json!([probe])),
            }));
            cases.push(Case::new(format!("tolerance/{seen}/{tolerated}"), experiment));
        }
    }
    cases
}

/// Where something goes wrong × when rollbacks are played.
fn failures() -> Vec<Case> {
    let good = || with(python("steady", "give", json!({"value": 1})), json!({"tolerance": 1}));
    let bad = || with(python("steady", "give", json!({"value": 2})), json!({"tolerance": 1}));
    // Met before the method, not behind it.
    let turning = || with(python("steady", "count", json!({})), json!({"tolerance": [1, 1]}));
    let act = |func: &str| with(python("act", func, json!({})), json!({"type": "action"}));
    let next = || process("next", "echo", json!(["next"]));
    let control = |on: &str, what: &str| {
        json!([{"name": "c", "provider": {"type": "python", "module": "proofmark_control",
            "arguments": {"on": on, "do": what}}}])
    };
    let points: Vec<(&str, Value)> = vec![
        (
            "nowhere",
            json!({"steady-state-hypothesis": hypothesis(json!([good()])), "method": [next()]}),
        ),
        ("no-hypothesis", json!({"method": [next()]})),
        (
            "no-probes",
            json!({"steady-state-hypothesis": {"title": "none"}, "method": [next()]}),
        ),
        (
            "before",
            json!({"steady-state-hypothesis": hypothesis(json!([bad(), good()])), "method": [next()]}),
        ),
        (
            "after",
            json!({"steady-state-hypothesis": hypothesis(json!([turning()])), "method": [next()]}),
        ),
        (
            "probe-fails",
            json!({
            "steady-state-hypothesis": hypothesis(json!([with(act("fail"), json!({"type": "probe", "tolerance": 1}))])),
            "method": [next()]}),
        ),
        (
            "action-fails",
            json!({"steady-state-hypothesis": hypothesis(json!([good()])),
            "method": [act("fail"), next()]}),
        ),
        ("action-raises", json!({"method": [act("raises"), next()]})),
        (
            "action-interrupts",
            json!({"steady-state-hypothesis": hypothesis(json!([good()])),
            "method": [act("interrupt"), next()]}),
        ),
        ("action-exits", json!({"method": [act("leaves"), next()]})),
        ("action-leaves", json!({"method": [act("leaves_gracefully"), next()]})),
        (
            "action-leaves-at-once",
            json!({"method": [act("leaves_ungracefully"), next()]}),
        ),
        (
            "method-breaks",
            json!({"method": [with(next(), json!({"pauses": {"before": -1}})), next()]}),
        ),
        (
            "control-interrupts-before",
            json!({"controls": control("before-activity", "interrupt"), "method": [next()]}),
        ),
        (
            "control-interrupts-after",
            json!({"controls": control("after-activity", "interrupt"), "method": [next()]}),
        ),
        (
            "control-interrupts-method",
            json!({"controls": control("before-method", "interrupt"), "method": [next()]}),
        ),
        (
            "control-interrupts-experiment",
            json!({"controls": control("before-experiment", "interrupt"),
            "method": [next()]}),
        ),
        (
            "control-interrupts-end",
            json!({"controls": control("after-experiment", "interrupt"), "method": [next()]}),
        ),
        (
            "control-leaves",
            json!({"controls": control("after-activity", "leave"), "method": [next()]}),
        ),
        (
            "control-interrupts-hypothesis",
            json!({"controls": control("after-hypothesis", "interrupt"),
            "steady-state-hypothesis": hypothesis(json!([good()])), "method": [next()]}),
        ),
        (
            "rollback-fails",
            json!({"method": [next()], "rollbacks": [act("fail"), next()]}),
        ),
        (
            "rollback-interrupts",
            json!({"method": [next()], "rollbacks": [act("interrupt"), next()]}),
        ),
        (
            "rollback-breaks",
            json!({"method": [next()],
            "rollbacks": [with(next(), json!({"pauses": {"after": -1}})), next()]}),
        ),
    ];
    let mut cases = Vec::new();
    for (point, parts) in points {
        for strategy in ["default", "always", "never", "deviated"] {
            let undo = json!({"rollbacks": [process("undo", "echo", json!(["undone"]))]});
            let experiment = experiment(with(undo, parts.clone()));
            let mut case = Case::new(format!("failure/{point}/{strategy}"), experiment);
            case.rollbacks = Some(strategy);
            cases.push(case);
        }
    }
    cases
}

/// When the hypothesis is looked at, what isn't really done, and where that is said.
fn strategies() -> Vec<Case> {
    let probe = |tolerance: i64| {
        with(
            python("steady", "give", json!({"value": 1})),
            json!({"tolerance": tolerance}),
        )
    };
    let slow = || process("slow", "sleep", json!(["0.3"]));
    let parts = |tolerance: i64| {
        json!({"steady-state-hypothesis": hypothesis(json!([probe(tolerance)])), "method": [slow()],
            "rollbacks": [process("undo", "echo", json!(["undone"]))]})
    };
    let mut cases = Vec::new();
    for strategy in [
        "default",
        "before-method-only",
        "after-method-only",
        "during-method-only",
        "continuously",
        "skip",
    ] {
        for (met, tolerance) in [("met", 1), ("not-met", 2)] {
            let mut case = Case::new(format!("strategy/{strategy}/{met}"), experiment(parts(tolerance)));
            case.hypothesis = Some(strategy);
            cases.push(case);
            let runtime =
                json!({"runtime": {"hypothesis": {"strategy": strategy}, "rollbacks": {"strategy": "always"}}});
            let inside = with(parts(tolerance), runtime.clone());
            cases.push(Case::new(
                format!("strategy/runtime-{strategy}/{met}"),
                experiment(inside),
            ));
            let mut case = Case::new(
                format!("strategy/settings-{strategy}/{met}"),
                experiment(parts(tolerance)),
            );
            case.settings = runtime;
            cases.push(case);
        }
    }
    let mut case = Case::new(
        "strategy/fail-fast",
        experiment(with(parts(2), json!({"method": [slow(), slow(), slow()]}))),
    );
    case.hypothesis = Some("during-method-only");
    case.fail_fast = true;
    cases.push(case);
    let breaks = with(
        python("steady", "raises", json!({})),
        json!({"tolerance": 1, "pauses": {"before": -1}}),
    );
    let mut case = Case::new(
        "strategy/during-breaks",
        experiment(json!({"steady-state-hypothesis": hypothesis(json!([breaks])), "method": [slow(), slow()]})),
    );
    case.hypothesis = Some("during-method-only");
    cases.push(case);
    for (name, runtime) in [
        ("odd-hypothesis", json!({"hypothesis": {"strategy": "sometimes"}})),
        ("odd-rollbacks", json!({"rollbacks": {"strategy": "sometimes"}})),
        ("empty", json!({})),
        ("python-empty", json!({"python": {"dependencies": []}})),
    ] {
        cases.push(Case::new(
            format!("strategy/{name}"),
            experiment(with(parts(1), json!({"runtime": runtime}))),
        ));
    }
    for dry in ["probes", "actions", "activities", "pause"] {
        for (own, more) in [
            ("plain", json!({})),
            ("own", json!({"dry": "actions"})),
            ("none", json!({"dry": null})),
        ] {
            let act = with(
                process("act", "echo", json!(["done"])),
                json!({"pauses": {"before": 0.01, "after": 0.01}}),
            );
            let parts = json!({"steady-state-hypothesis": hypothesis(json!([probe(1)])),
                "method": [with(act, more), python("look", "give", json!({"value": 3})), {"ref": "steady"}],
                "rollbacks": [process("undo", "echo", json!(["undone"]))]});
            let mut case = Case::new(format!("dry/{dry}/{own}"), experiment(parts));
            case.dry = Some(dry);
            cases.push(case);
        }
    }
    cases
}

/// What a control does × where × how it is declared.
fn controls() -> Vec<Case> {
    let provider = |on: &str, what: &str| json!({"type": "python", "module": "proofmark_control", "arguments": {"on": on, "do": what}});
    let declared = |name: &str, on: &str, what: &str| json!({"name": name, "provider": provider(on, what)});
    let parts = |act: Value| {
        let probe = with(python("steady", "give", json!({"value": 1})), json!({"tolerance": 1}));
        json!({"configuration": {"known": "yes"}, "steady-state-hypothesis": hypothesis(json!([probe])),
            "method": [with(process("act", "echo", json!(["${added}", "${known}"])), act),
                python("look", "configured", json!({}))],
            "rollbacks": [process("undo", "echo", json!(["undone"]))]})
    };
    let mut cases = Vec::new();
    let places = ["experiment", "hypothesis", "method", "rollback", "activity"];
    let places = places
        .iter()
        .flat_map(|level| [format!("before-{level}"), format!("after-{level}")]);
    for place in places.chain(["configure".to_owned()]) {
        for what in ["raise", "configure", "state", "status", "runs", "retitle", "rearrange"] {
            let one = json!({"controls": [declared("c", &place, what)]});
            cases.push(Case::new(
                format!("control/{place}/{what}"),
                experiment(with(parts(json!({})), one)),
            ));
        }
    }
    let quiet = || declared("c", "nowhere", "nothing");
    for (name, top, own) in [
        ("inline", json!([]), json!([quiet()])),
        ("both", json!([quiet()]), json!([declared("d", "nowhere", "nothing")])),
        ("same-name", json!([quiet()]), json!([quiet()])),
        (
            "reference",
            json!([with(quiet(), json!({"automatic": false}))]),
            json!([{"name": "r", "ref": "c", "provider": {}}]),
        ),
        (
            "not-automatic",
            json!([with(quiet(), json!({"automatic": false}))]),
            json!([]),
        ),
        (
            "before-only",
            json!([with(quiet(), json!({"scope": "before"}))]),
            json!([]),
        ),
        (
            "after-only",
            json!([with(quiet(), json!({"scope": "after"}))]),
            json!([]),
        ),
        (
            "two",
            json!([quiet(), declared("d", "nowhere", "nothing")]),
            json!([declared("e", "nowhere", "nothing")]),
        ),
        (
            "no-module",
            json!([{"name": "n", "provider": {"type": "python", "module": "there_is_none"}}]),
            json!([]),
        ),
        (
            "other-provider",
            json!([{"name": "n", "provider": {"type": "odd"}}]),
            json!([]),
        ),
        (
            "unclean",
            json!([{"name": "n", "provider": {"type": "python", "module": "proofmark_unclean"}}]),
            json!([]),
        ),
        (
            "invalid",
            json!([{"name": "n", "provider": {"type": "python", "module": "proofmark_unclean",
            "arguments": {"invalid": true}}}]),
            json!([]),
        ),
        (
            "name-in-arguments",
            json!([{"name": "n", "provider": {"type": "python", "module": "proofmark_control",
            "arguments": {"on": "${known}", "mark": true}}}]),
            json!([]),
        ),
        (
            "bad-arguments",
            json!([{"name": "n", "provider": {"type": "python", "module": "proofmark_control",
            "arguments": {"unknown": 1}}}]),
            json!([]),
        ),
    ] {
        let experiment = experiment(with(parts(json!({"controls": own})), json!({"controls": top})));
        cases.push(Case::new(format!("control/declared/{name}"), experiment));
    }
    for (name, control) in [
        ("plain", json!({"provider": provider("nowhere", "nothing")})),
        (
            "no-module",
            json!({"provider": {"type": "python", "module": "there_is_none"}}),
        ),
        ("fails-to-start", json!({"provider": provider("configure", "raise")})),
        (
            "interrupts",
            json!({"provider": provider("before-method", "interrupt")}),
        ),
    ] {
        let mut case = Case::new(format!("control/settings/{name}"), experiment(parts(json!({}))));
        case.settings = json!({"controls": {"global": control}});
        cases.push(case);
    }
    cases
}

/// What providers do with what they are given.
fn providers(url: &str) -> Vec<Case> {
    let act = |activity: Value| with(activity, json!({"type": "action", "name": "act"}));
    let at = |path: &str, more: Value| act(http("act", &format!("{url}{path}"), more));
    let run = |path: &str, more: Value| {
        let mut provider = json!({"type": "process", "path": path});
        merge(&mut provider, more);
        json!({"type": "action", "name": "act", "provider": provider})
    };
    let call = |func: &str, arguments: Value| act(python("act", func, arguments));
    let kinds = [
        "tuple", "bytes", "float", "nan", "large", "decimal", "date", "datetime", "uuid", "object", "keys", "unicode",
    ];
    let mut activities: Vec<(String, Value)> = kinds
        .iter()
        .map(|kind| (format!("made-{kind}"), call("made", json!({"kind": kind}))))
        .collect();
    let more: Vec<(&str, Value)> = vec![
        (
            "process-list",
            run("echo", json!({"arguments": ["a", "", null, 1, 2.0, true, "b c"]})),
        ),
        ("process-text", run("echo", json!({"arguments": "a  'b c' $((1 + 1))"}))),
        (
            "process-mapping",
            run("echo", json!({"arguments": {"-n": "", "-e": "x"}})),
        ),
        ("process-none", run("true", json!({}))),
        ("process-false", run("false", json!({"arguments": null}))),
        ("process-number", run("echo", json!({"arguments": 5}))),
        ("process-signal", run("sh", json!({"arguments": ["-c", "kill -9 $$"]}))),
        (
            "process-late",
            run("sleep", json!({"arguments": ["5"], "timeout": 0.2})),
        ),
        (
            "process-in-time",
            run("sleep", json!({"arguments": ["0.05"], "timeout": 4})),
        ),
        ("process-odd-timeout", run("echo", json!({"timeout": "1"}))),
        (
            "process-streams",
            run("sh", json!({"arguments": ["-c", "printf out; printf err >&2; exit 4"]})),
        ),
        ("process-latin", run("printf", json!({"arguments": ["caf\\351"]}))),
        (
            "process-utf8",
            run("printf", json!({"arguments": ["caf\\303\\251 na\\303\\257ve"]})),
        ),
        ("process-sign", run("printf", json!({"arguments": ["\\342\\234\\223"]}))),
        (
            "process-mark",
            run("printf", json!({"arguments": ["\\357\\273\\277abc"]})),
        ),
        ("process-input", run("cat", json!({}))),
        (
            "process-large",
            run(
                "sh",
                json!({"arguments": ["-c", "head -c 200000 /dev/zero | tr '\\0' x"]}),
            ),
        ),
        (
            "http-get",
            at(
                "/echo",
                json!({"arguments": {"a": 1, "b": [1, "x y"], "c": null, "d": true}}),
            ),
        ),
        ("http-get-text", at("/echo?z=1", json!({"arguments": "a=b&c"}))),
        (
            "http-post",
            at("/echo", json!({"method": "post", "arguments": {"a": 1, "b": "x y"}})),
        ),
        (
            "http-post-json",
            at(
                "/echo",
                json!({"method": "POST", "arguments": {"a": [1, null]},
            "headers": {"Content-Type": "application/json"}}),
            ),
        ),
        (
            "http-post-text",
            at("/echo", json!({"method": "POST", "arguments": "raw"})),
        ),
        (
            "http-post-list",
            at("/echo", json!({"method": "POST", "arguments": ["raw"]})),
        ),
        ("http-put-nothing", at("/echo", json!({"method": "PUT"}))),
        (
            "http-delete",
            at(
                "/echo",
                json!({"method": "DELETE", "headers": {"X-One": "1", "X-Two": null}}),
            ),
        ),
        ("http-head", at("/echo", json!({"method": "HEAD"}))),
        ("http-number-header", at("/echo", json!({"headers": {"X-One": 1}}))),
        ("http-json", at("/json", json!({}))),
        ("http-charset", at("/charset", json!({}))),
        ("http-broken", at("/broken", json!({}))),
        ("http-latin", at("/latin", json!({}))),
        ("http-500", at("/status/500", json!({}))),
        ("http-204", at("/status/204", json!({}))),
        ("http-late", at("/slow", json!({"timeout": 0.2}))),
        ("http-late-pair", at("/slow", json!({"timeout": [1, 0.2]}))),
        ("http-odd-timeout", at("/echo", json!({"timeout": "soon"}))),
        ("http-hop", at("/hop", json!({"method": "POST", "arguments": {"a": 1}}))),
        ("http-loop", at("/loop", json!({}))),
        ("http-closed", at("/closed", json!({}))),
        ("http-chunked", at("/chunked", json!({}))),
        ("http-refused", act(http("act", "http://127.0.0.1:9/", json!({})))),
        ("http-no-scheme", act(http("act", "127.0.0.1:9/", json!({})))),
        ("http-odd-scheme", act(http("act", "gopher://127.0.0.1/", json!({})))),
        (
            "http-user",
            act(http("act", &url.replace("http://", "http://me:secret@"), json!({}))),
        ),
        ("python-none", call("give", json!({}))),
        ("python-unicode", call("give", json!({"value": "é✓"}))),
        (
            "python-positional",
            call("positional", json!({"first": 1, "second": 2, "other": 3})),
        ),
        ("python-configured", call("configured", json!({}))),
        ("python-raises", call("raises", json!({}))),
        ("python-fails", call("fail", json!({}))),
        ("python-later", call("later", json!({}))),
        (
            "python-class",
            json!({"type": "action", "name": "act",
            "provider": {"type": "python", "module": "proofmark_cases", "func": "Thing"}}),
        ),
        (
            "python-standard",
            json!({"type": "action", "name": "act", "provider": {"type": "python", "module": "os.path",
            "func": "join", "arguments": {"a": "x"}}}),
        ),
        (
            "python-builtin",
            json!({"type": "action", "name": "act", "provider": {"type": "python", "module": "math",
            "func": "sqrt", "arguments": {"x": 2}}}),
        ),
        (
            "python-null-arguments",
            json!({"type": "action", "name": "act", "provider": {"type": "python",
            "module": "proofmark_cases", "func": "give", "arguments": null}}),
        ),
        (
            "no-name",
            json!({"type": "action", "provider": {"type": "process", "path": "true"}}),
        ),
        ("no-path", run("there-is-no-such-program", json!({}))),
        (
            "no-module",
            json!({"type": "action", "name": "act", "provider": {"type": "python", "module": "there_is_none",
            "func": "f"}}),
        ),
        (
            "no-function",
            json!({"type": "action", "name": "act", "provider": {"type": "python",
            "module": "proofmark_cases", "func": "there_is_none"}}),
        ),
        ("no-provider", json!({"type": "action", "name": "act"})),
        (
            "odd-provider",
            json!({"type": "action", "name": "act", "provider": {"type": "odd"}}),
        ),
        ("no-reference", json!({"ref": "there is none"})),
    ];
    activities.extend(more.into_iter().map(|(name, activity)| (name.to_owned(), activity)));
    let mut cases = Vec::new();
    for (name, activity) in activities {
        for validate in [true, false] {
            let parts = json!({"method": [activity.clone(), process("next", "echo", json!(["next"]))],
                "rollbacks": [process("undo", "echo", json!(["undone"]))]});
            let way = if validate { "checked" } else { "unchecked" };
            let mut case = Case::new(format!("provider/{name}/{way}"), experiment(parts));
            case.validate = validate;
            cases.push(case);
        }
    }
    for (name, more) in [
        (
            "background",
            json!([
                with(process("slow", "sleep", json!(["0.2"])), json!({"background": true})),
                process("next", "echo", json!(["next"]))
            ]),
        ),
        (
            "background-fails",
            json!([
                with(python("slow", "fail", json!({})), json!({"background": true})),
                process("next", "sleep", json!(["0.1"]))
            ]),
        ),
        (
            "background-breaks",
            json!([
                with(
                    process("slow", "echo", json!([])),
                    json!({"background": true, "pauses": {"after": -1}})
                ),
                process("next", "sleep", json!(["0.1"]))
            ]),
        ),
        (
            "background-pauses",
            json!([
                with(
                    process("slow", "echo", json!(["x"])),
                    json!({"background": true, "pauses": {"before": 0.2}})
                ),
                process("next", "echo", json!(["next"]))
            ]),
        ),
        (
            "environment",
            json!([
                python("set", "setenv", json!({"name": "PM_SET", "value": "yes"})),
                process("show", "sh", json!(["-c", "echo $PM_SET"]))
            ]),
        ),
        (
            "state-of-module",
            json!([python("one", "count", json!({})), python("two", "count", json!({}))]),
        ),
        (
            "references",
            json!([process("first", "echo", json!(["x"])), {"ref": "first"}, {"ref": "first"}]),
        ),
        (
            "pauses",
            json!([
                with(
                    process("p", "echo", json!([])),
                    json!({"pauses": {"before": "${short}", "after": 0.01}})
                ),
                with(
                    process("q", "echo", json!([])),
                    json!({"pauses": {"before": "${missing}"}})
                )
            ]),
        ),
    ] {
        for key in ["method", "rollbacks"] {
            let parts = json!({"configuration": {"short": 0.02}, key: more});
            cases.push(Case::new(format!("provider/{name}/{key}"), experiment(parts)));
        }
    }
    cases
}

/// Configuration, secrets and variables.
fn names(url: &str) -> Vec<Case> {
    let show = |arguments: Value| {
        json!([
            process("show", "echo", arguments),
            python("look", "configured", json!({}))
        ])
    };
    let probe = |provider: Value| json!({"type": "probe", "name": "dynamic", "provider": provider});
    let text = json!(["${a}", "x ${a} $a $$ ${none}"]);
    let declared: Vec<(&str, Value, Value)> = vec![
        ("text", json!({"a": "one"}), json!({})),
        ("number", json!({"a": 1.5}), json!({})),
        ("list", json!({"a": [1, {"b": null}]}), json!({})),
        ("empty", json!({}), json!({})),
        ("env", json!({"a": {"type": "env", "key": "PM_PORT"}}), json!({})),
        (
            "env-int",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "int"}}),
            json!({}),
        ),
        (
            "env-float",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "float"}}),
            json!({}),
        ),
        (
            "env-bytes",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "bytes"}}),
            json!({}),
        ),
        (
            "env-bool",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "bool"}}),
            json!({}),
        ),
        (
            "env-json",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "json"}}),
            json!({}),
        ),
        (
            "env-odd",
            json!({"a": {"type": "env", "key": "PM_PORT", "env_var_type": "odd"}}),
            json!({}),
        ),
        (
            "env-not-int",
            json!({"a": {"type": "env", "key": "PM_TOKEN", "env_var_type": "int"}}),
            json!({}),
        ),
        (
            "env-missing",
            json!({"a": {"type": "env", "key": "PM_NONE"}}),
            json!({}),
        ),
        (
            "env-default",
            json!({"a": {"type": "env", "key": "PM_NONE", "default": "d"}}),
            json!({}),
        ),
        (
            "env-default-null",
            json!({"a": {"type": "env", "key": "PM_NONE", "default": null}}),
            json!({}),
        ),
        (
            "env-default-bool",
            json!({"a": {"type": "env", "key": "PM_NONE", "default": true, "env_var_type": "bool"}}),
            json!({}),
        ),
        ("env-no-key", json!({"a": {"type": "env"}}), json!({})),
        ("other-type", json!({"a": {"type": "other", "key": "x"}}), json!({})),
        ("variable", json!({"a": "one"}), json!({"a": "two", "none": "three"})),
        (
            "variable-env",
            json!({"a": {"type": "env", "key": "PM_NONE", "default": "d"}}),
            json!({"a": 2}),
        ),
        (
            "variable-definition",
            json!({"a": "one"}),
            json!({"a": {"type": "env", "key": "PM_PORT"}}),
        ),
        (
            "dynamic-process",
            json!({"b": "x", "a": probe(json!({"type": "process", "path": "echo", "arguments": "' ${b} '"}))}),
            json!({}),
        ),
        (
            "dynamic-process-fails",
            json!({"a": probe(json!({"type": "process", "path": "false"}))}),
            json!({}),
        ),
        (
            "dynamic-python",
            json!({"b": 2, "a": probe(json!({"type": "python", "module": "proofmark_cases", "func": "configured"}))}),
            json!({}),
        ),
        (
            "dynamic-python-fails",
            json!({"a": probe(json!({"type": "python", "module": "proofmark_cases", "func": "fail"}))}),
            json!({}),
        ),
        (
            "dynamic-http",
            json!({"a": probe(json!({"type": "http", "url": format!("{url}/json")}))}),
            json!({}),
        ),
        ("dynamic-odd", json!({"a": {"type": "probe", "name": "x"}}), json!({})),
    ];
    let mut cases = Vec::new();
    for (name, configuration, variables) in declared {
        let parts = json!({"configuration": configuration, "method": show(text.clone())});
        let mut case = Case::new(format!("configuration/{name}"), experiment(parts));
        case.configuration = variables;
        cases.push(case);
    }
    let secretive = |groups: Value| {
        let mut activity = python("use", "secretive", json!({"name": "${token}"}));
        activity["provider"]["secrets"] = groups;
        json!([activity, process("show", "echo", json!(["${token}", "${other}"]))])
    };
    for (name, secrets, groups) in [
        ("static", json!({"g": {"token": "s"}}), json!(["g"])),
        (
            "env",
            json!({"g": {"token": {"type": "env", "key": "PM_TOKEN"}}}),
            json!(["g"]),
        ),
        (
            "env-missing",
            json!({"g": {"token": {"type": "env", "key": "PM_NONE"}}}),
            json!(["g"]),
        ),
        (
            "two-groups",
            json!({"g": {"token": "s"}, "h": {"other": "o"}}),
            json!(["g", "h"]),
        ),
        ("no-group", json!({"g": {"token": "s"}}), json!(["none"])),
        (
            "nested",
            json!({"g": {"token": {"deep": {"type": "env", "key": "PM_TOKEN"}}}}),
            json!(["g"]),
        ),
        ("flat", json!({"token": "s"}), json!(["token"])),
        (
            "flat-env",
            json!({"token": {"type": "env", "key": "PM_TOKEN"}}),
            json!(["token"]),
        ),
    ] {
        let parts = json!({"secrets": secrets, "method": secretive(groups)});
        cases.push(Case::new(format!("secrets/{name}"), experiment(parts.clone())));
        let mut case = Case::new(format!("secrets/{name}-variable"), experiment(parts));
        case.secrets = json!({"g": {"token": "v"}});
        cases.push(case);
    }
    for title in ["${a} title", "${a}", "${none}", "$$"] {
        let parts = json!({"title": title, "configuration": {"a": 5}});
        cases.push(Case::new(format!("configuration/title {title}"), experiment(parts)));
    }
    let escaped = experiment(json!({"method": [process("show", "echo", json!(["$$", "${a}"]))]}));
    cases.push(Case::new("configuration/no-names", escaped));
    cases
}

/// What isn't an experiment.
fn invalid(json_path: bool) -> Vec<Case> {
    let activity = |more: Value| json!({"method": [with(process("a", "true", json!([])), more)]});
    let judged = |tolerance: Value| {
        let probe = with(
            process("a", "true", json!([])),
            json!({"type": "probe", "tolerance": tolerance}),
        );
        json!({"steady-state-hypothesis": hypothesis(json!([probe]))})
    };
    let path = |path: Value| judged(json!({"type": "jsonpath", "path": path}));
    let mut parts: Vec<(&str, Value)> = vec![
        ("title-empty", json!({"title": ""})),
        ("title-null", json!({"title": null})),
        ("title-number", json!({"title": 5})),
        ("description-null", json!({"description": null})),
        ("tags", json!({"tags": ["a", ""]})),
        ("tags-number", json!({"tags": [1]})),
        ("tags-text", json!({"tags": "ab"})),
        ("extensions", json!({"extensions": [{"name": " "}]})),
        ("extensions-fine", json!({"extensions": [{"name": "own", "x": 1}]})),
        ("extensions-text", json!({"extensions": ["a"]})),
        ("contributions", json!({"contributions": {"reliability": "high"}})),
        ("method-null", json!({"method": null})),
        ("method-text", json!({"method": "a"})),
        ("method-mapping", json!({"method": {}})),
        ("method-null-activity", json!({"method": [null]})),
        ("method-text-activity", json!({"method": ["a"]})),
        ("hypothesis-null", json!({"steady-state-hypothesis": null})),
        ("hypothesis-empty", json!({"steady-state-hypothesis": {}})),
        ("hypothesis-list", json!({"steady-state-hypothesis": []})),
        (
            "hypothesis-no-title",
            json!({"steady-state-hypothesis": {"probes": []}}),
        ),
        (
            "probes-null",
            json!({"steady-state-hypothesis": {"title": "t", "probes": null}}),
        ),
        (
            "no-tolerance",
            json!({"steady-state-hypothesis": hypothesis(json!([process("a", "true", json!([]))]))}),
        ),
        ("rollbacks-null", json!({"rollbacks": null})),
        ("rollbacks-empty-activity", json!({"rollbacks": [{}]})),
        ("rollbacks-reference", json!({"rollbacks": [{"ref": "none"}]})),
        ("configuration-null", json!({"configuration": null})),
        ("configuration-list", json!({"configuration": []})),
        ("secrets-null", json!({"secrets": null})),
        ("secrets-text", json!({"secrets": {"a": "b"}})),
        ("controls-null", json!({"controls": null})),
        ("controls-text", json!({"controls": ["a"]})),
        ("control-no-name", json!({"controls": [{"provider": {}}]})),
        ("control-no-provider", json!({"controls": [{"name": "a"}]})),
        (
            "control-odd-scope",
            json!({"controls": [{"name": "a", "provider": {}, "scope": "during"}]}),
        ),
        (
            "control-no-reference",
            json!({"controls": [{"name": "a", "ref": "b", "provider": {}}]}),
        ),
        (
            "control-no-module",
            json!({"controls": [{"name": "a", "provider": {"type": "python"}}]}),
        ),
        ("type-odd", activity(json!({"type": "thing"}))),
        ("type-null", activity(json!({"type": null}))),
        ("type-list", activity(json!({"type": ["probe"]}))),
        ("name-empty", activity(json!({"name": ""}))),
        ("name-number", activity(json!({"name": 5}))),
        ("name-list", activity(json!({"name": ["a"]}))),
        ("provider-null", activity(json!({"provider": null}))),
        ("provider-text", activity(json!({"provider": "process"}))),
        ("provider-untyped", activity(json!({"provider": {"path": "true"}}))),
        (
            "path-empty",
            activity(json!({"provider": {"type": "process", "path": ""}})),
        ),
        (
            "path-number",
            activity(json!({"provider": {"type": "process", "path": 5}})),
        ),
        (
            "path-folder",
            activity(json!({"provider": {"type": "process", "path": "/"}})),
        ),
        ("url-missing", activity(json!({"provider": {"type": "http"}}))),
        (
            "url-headers",
            activity(json!({"provider": {"type": "http", "url": "http://127.0.0.1:9", "headers": ["a"]}})),
        ),
        (
            "module-missing",
            activity(json!({"provider": {"type": "python", "func": "f"}})),
        ),
        (
            "function-missing",
            activity(json!({"provider": {"type": "python", "module": "os"}})),
        ),
        (
            "argument-missing",
            activity(json!({"provider": {"type": "python", "module": "proofmark_cases", "func": "made"}})),
        ),
        (
            "argument-unexpected",
            activity(json!({"provider": {"type": "python", "module": "proofmark_cases",
            "func": "give", "arguments": {"x": 1}}})),
        ),
        ("timeout-text", activity(json!({"timeout": "1"}))),
        ("timeout-number", activity(json!({"timeout": 1}))),
        ("pauses-text", activity(json!({"pauses": {"before": "1"}}))),
        ("pauses-after-text", activity(json!({"pauses": {"after": "soon"}}))),
        ("pauses-null", activity(json!({"pauses": null}))),
        ("pauses-number", activity(json!({"pauses": 5}))),
        ("background-text", activity(json!({"background": "yes"}))),
        ("background-null", activity(json!({"background": null}))),
        ("reference-empty", activity(json!({"ref": ""}))),
        ("reference-number", activity(json!({"ref": 5}))),
        ("reference-null", activity(json!({"ref": null}))),
        ("tolerance-null", judged(json!(null))),
        ("tolerance-float", judged(json!(1.5))),
        ("tolerance-empty", judged(json!({}))),
        ("tolerance-odd", judged(json!({"type": "odd"}))),
        ("tolerance-probe", judged(json!({"type": "probe", "name": "t"}))),
        ("regex-missing", judged(json!({"type": "regex"}))),
        ("regex-broken", judged(json!({"type": "regex", "pattern": "("}))),
        ("regex-number", judged(json!({"type": "regex", "pattern": 5}))),
        (
            "regex-ahead",
            judged(json!({"type": "regex", "pattern": "^(?=.*a)(?!b)\\w+\\Z", "target": "stdout"})),
        ),
        ("range-missing", judged(json!({"type": "range"}))),
        ("range-text", judged(json!({"type": "range", "range": "1-2"}))),
        ("range-one", judged(json!({"type": "range", "range": [1]}))),
        ("range-words", judged(json!({"type": "range", "range": ["1", 2]}))),
        ("path-anything", path(json!("$.a"))),
    ];
    if json_path {
        parts.extend([
            ("path-broken", path(json!("$.a["))),
            ("path-blank", path(json!(" "))),
            ("path-of-number", path(json!(5))),
            ("path-missing", judged(json!({"type": "jsonpath"}))),
        ]);
    }
    let mut cases: Vec<Case> = parts
        .into_iter()
        .map(|(name, parts)| Case::new(format!("invalid/{name}"), experiment(parts)))
        .collect();
    for (name, whole) in [
        ("null", json!(null)),
        ("empty", json!({})),
        ("list", json!([1])),
        ("text", json!("text")),
        (
            "settings",
            json!({"notifications": [{"type": "http", "url": "http://127.0.0.1:9"}]}),
        ),
        ("no-method", json!({"title": "t", "description": "d"})),
    ] {
        cases.push(Case::new(format!("invalid/whole-{name}"), whole));
    }
    cases
}
