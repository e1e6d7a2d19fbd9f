//! The shipped playbooks and small ones on this machine: real bash, real HTTP on loopback.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use common::{action, id, parse, playbook, with};
use evidence::Digest;
use host::process::{Cancel, Wanted};
use net::http::{Response, Server, ServerLimits};
use playbooks::{HostActuators, Inputs, Playbook, RunRecord, RunStatus, RunStore, run};
use serde_json::json;
use testkit::SimStorage;

fn actuators(folder: &Path, runtime: &tokio::runtime::Runtime) -> HostActuators {
    HostActuators {
        folder: folder.to_owned(),
        environment: BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]),
        hide: Vec::new(),
        writable: None,
        isolation: Wanted::None,
        hosts: BTreeSet::new(),
        library: Vec::new(),
        runtime: runtime.handle().clone(),
        clock: Arc::new(host::now),
        cancel: Cancel::new(),
    }
}

fn run_here(playbook: &Playbook, folder: &Path, variables: &[(&str, String)], secrets: &[(&str, &Path)]) -> RunRecord {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inputs = Inputs {
        run: "r".to_owned(),
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        secrets: secrets
            .iter()
            .map(|(name, file)| ((*name).to_owned(), (*file).to_owned()))
            .collect(),
    };
    let store = RunStore::new(Arc::new(SimStorage::new(1)));
    run(playbook, &inputs, &actuators(folder, &runtime), &store).unwrap()
}

fn shipped(name: &str) -> Playbook {
    let (_, text) = playbooks::library().iter().find(|(known, _)| *known == name).unwrap();
    Playbook::parse(text).unwrap()
}

#[test]
fn a_tampered_artifact_is_restored() {
    for (found, expect) in [(Some("tampered"), "differs"), (None, "missing"), (Some("good"), "same")] {
        let folder = tempfile::tempdir().unwrap();
        let (file, copy) = (folder.path().join("the artifact"), folder.path().join("copy"));
        std::fs::write(&copy, "good").unwrap();
        if let Some(found) = found {
            std::fs::write(&file, found).unwrap();
        }
        let variables = [
            ("__file__", file.display().to_string()),
            ("__source__", copy.display().to_string()),
            ("__digest__", Digest::of(b"good").hex()),
        ];
        let record = run_here(&shipped("restore-tampered-artifact"), folder.path(), &variables, &[]);
        assert_eq!(record.status, RunStatus::Succeeded, "{:?}", record.units);
        assert_eq!(record.variables["__state__"].as_deref(), Some(expect));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "good");
    }
    // A bad copy is not put in place: somebody is asked.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    for name in ["file", "copy"] {
        std::fs::write(folder.path().join(name), "tampered").unwrap();
    }
    let variables = [
        ("__file__", file.display().to_string()),
        ("__source__", folder.path().join("copy").display().to_string()),
        ("__digest__", Digest::of(b"good").hex()),
    ];
    let record = run_here(&shipped("restore-tampered-artifact"), folder.path(), &variables, &[]);
    assert!(matches!(record.status, RunStatus::Waiting(_)), "{:?}", record.status);
}

#[test]
fn values_reach_bash_as_they_are_and_never_as_commands() {
    let folder = tempfile::tempdir().unwrap();
    let nasty = "a'; touch broken; \"$(touch broken)\" `touch broken` \\ * #";
    for command in [
        "printf %s __x__:value",
        "printf %s \"__x__:value\"",
        "printf %s ''__x__:value''",
        "printf %s 'x'__x__:value | cut -c 2-",
    ] {
        let document = playbook(
            json!({"__x__": {"type": "string", "external": true}, "__y__": {"type": "string"}}),
            vec![(
                id("action", 1),
                with(action("bash", command, &id("end", 0)), json!({"out_args": ["__y__"]})),
            )],
        );
        let record = run_here(&parse(&document), folder.path(), &[("__x__", nasty.to_owned())], &[]);
        assert_eq!(
            record.variables["__y__"].as_deref(),
            Some(nasty),
            "{command}: {:?}",
            record.status
        );
    }
    assert!(!folder.path().join("broken").exists());
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let document = playbook(
        json!({}),
        vec![(
            id("action", 1),
            with(
                action("bash", "(sleep 1; touch late) & sleep 5", &id("end", 0)),
                json!({"timeout": 200}),
            ),
        )],
    );
    let begun = std::time::Instant::now();
    let record = run_here(&parse(&document), folder.path(), &[], &[]);
    assert!(
        format!("{:?}", record.status).contains("longer than"),
        "{:?}",
        record.status
    );
    assert!(begun.elapsed().as_millis() < 4_000);
    std::thread::sleep(std::time::Duration::from_millis(1_300));
    assert!(!folder.path().join("late").exists());
}

#[test]
fn requests_go_to_loopback_with_their_secret_and_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "s3cr3t-value\n").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = {
        let _entered = runtime.enter();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let handler = |request: net::http::Request, _: net::http::Peer| -> net::BoxFuture<Response> {
            let known = request.header("x-vault-token") == Some("s3cr3t-value");
            // It repeats what it was given, as a careless service would.
            let body = format!(
                "{{\"echo\": \"{}\"}}",
                request.header("x-vault-token").unwrap_or_default()
            );
            let answer = Response::json(if known { 200 } else { 403 }, &body);
            Box::pin(async move { answer })
        };
        Server::start(listener, Arc::new(handler), ServerLimits::default())
    };
    let mut document = playbook(
        json!({"__token__": {"type": "string", "external": true}, "__echo__": {"type": "string"}}),
        vec![(
            id("action", 1),
            with(
                action("http-api", "GET /v1/x HTTP/1.1", &id("end", 0)),
                json!({"out_args": ["__echo__"]}),
            ),
        )],
    );
    let agent = format!("/agent_definitions/{}", id("http-api", 1));
    document.pointer_mut(&agent).unwrap()["port"] = json!(server.address().port().to_string());
    let record = run_here(&parse(&document), folder.path(), &[], &[("__token__", &token)]);
    assert_eq!(record.status, RunStatus::Succeeded);
    assert_eq!(record.variables["__echo__"].as_deref(), Some("[secret]"));
    document.pointer_mut(&agent).unwrap()["address"] = json!({"ipv4": ["192.0.2.1"]});
    let record = run_here(&parse(&document), folder.path(), &[], &[("__token__", &token)]);
    assert!(
        format!("{:?}", record.status).contains("is neither"),
        "{:?}",
        record.status
    );
}
