//! A world in memory, and playbooks made of a few words.

// Each test program takes in all of it and uses a part.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use evidence::{Now, Timestamp};
use net::http;
use playbooks::{Actuators, HttpCall, Output, Playbook, STEP_EXTENSION, Shell, Word};
use serde_json::{Value, json};

/// The `n`th id of a type.
pub fn id(kind: &str, n: u32) -> String {
    format!("{kind}--00000000-0000-4000-8000-{n:012}")
}

/// A playbook of these steps, `(id, step)`, begun at the first.
pub fn playbook(variables: Value, steps: Vec<(String, Value)>) -> Value {
    let mut workflow: serde_json::Map<String, Value> = steps.into_iter().collect();
    let first = workflow
        .keys()
        .find(|id| id.ends_with("000000000001"))
        .cloned()
        .unwrap_or_default();
    workflow.insert(id("start", 0), json!({"type": "start", "on_completion": first}));
    workflow.insert(id("end", 0), json!({"type": "end"}));
    json!({
        "type": "playbook",
        "spec_version": "cacao-2.0",
        "id": id("playbook", 1),
        "name": "a test",
        "created_by": id("identity", 1),
        "created": "2026-11-24T00:00:00.000Z",
        "modified": "2026-11-24T00:00:00.000Z",
        "playbook_variables": variables,
        "workflow_start": id("start", 0),
        "workflow": workflow,
        "agent_definitions": {
            id("linux", 1): {"type": "linux", "name": "here", "address": {"dname": ["localhost"]}},
            id("linux", 2): {"type": "linux", "name": "elsewhere", "address": {"ipv4": ["192.0.2.7"]}},
            id("http-api", 1): {"type": "http-api", "name": "api", "address": {"ipv4": ["127.0.0.1"]}, "port": "8200",
                "authentication_info": id("oauth2", 1)},
        },
        "authentication_info_definitions": {
            id("oauth2", 1): {"type": "oauth2", "oauth_header": "X-Vault-Token", "token": "__token__:value"},
        },
        "extension_definitions": {
            STEP_EXTENSION: {"type": "extension-definition", "name": "proofmark-step", "created_by": id("identity", 1),
                "schema": "https://proofmark.dev/cacao/proofmark-step/v1", "version": "1.0.0"},
        },
    })
}

/// An action step of one command that goes on to `next`.
pub fn action(kind: &str, command: &str, next: &str) -> Value {
    json!({
        "type": "action",
        "commands": [{"type": kind, "command": command}],
        "agent": id(if kind == "http-api" { "http-api" } else { "linux" }, 1),
        "on_completion": next,
    })
}

/// The same, with more properties.
pub fn with(mut step: Value, more: Value) -> Value {
    let object = step.as_object_mut().expect("a step is an object");
    for (name, value) in more.as_object().expect("more properties") {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    step
}

pub fn parse(document: &Value) -> Playbook {
    Playbook::parse(&document.to_string()).unwrap_or_else(|report| panic!("{report}"))
}

/// Remembers what it was asked to do. A command `fail` fails, `out TEXT` prints the text.
#[derive(Default)]
pub struct World {
    pub done: Mutex<Vec<String>>,
    pub asked: Mutex<Vec<String>>,
    /// Milliseconds gone by.
    pub clock: Mutex<u64>,
    pub library: Vec<Playbook>,
    /// It believes nobody.
    pub distrusts: bool,
    pub answers: BTreeMap<String, (u16, String)>,
}

impl World {
    pub fn done(&self) -> Vec<String> {
        self.done.lock().unwrap().clone()
    }

    fn push(&self, what: String) {
        self.done.lock().unwrap().push(what);
    }
}

impl Actuators for World {
    fn vouched(&self, _: &Word) -> bool {
        !self.distrusts
    }

    fn now(&self) -> Now {
        let mut clock = self.clock.lock().unwrap();
        *clock += 1;
        let gone = Duration::from_millis(*clock);
        Now {
            utc: Timestamp::UNIX_EPOCH + Duration::from_secs(1_790_000_000) + gone,
            boottime: gone,
        }
    }

    fn wait(&self, time: Duration) {
        *self.clock.lock().unwrap() += u64::try_from(time.as_millis()).unwrap();
    }

    fn shell(&self, shell: &Shell<'_>) -> Result<Output, String> {
        let mut shown = shell.command.to_owned();
        for (name, value) in &shell.parameters {
            shown = shown.replace(&format!("\"${{{name}}}\""), value);
        }
        self.push(shown.clone());
        let (word, rest) = shown.split_once(' ').unwrap_or((&shown, ""));
        Ok(match word {
            "fail" => Output {
                reason: "exit code 1".to_owned(),
                stderr: rest.as_bytes().to_vec(),
                ..Output::default()
            },
            _ => Output {
                ok: true,
                stdout: if word == "out" {
                    rest.replace(';', "\n").into_bytes()
                } else {
                    Vec::new()
                },
                ..Output::default()
            },
        })
    }

    fn http(&self, call: &HttpCall) -> Result<http::Response, String> {
        let body = String::from_utf8_lossy(&call.request.body).into_owned();
        let headers: Vec<String> = call
            .request
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        self.push(format!(
            "{} {}:{}{} {} {body}",
            call.request.method,
            call.host,
            call.port,
            call.request.path,
            headers.join(",")
        ));
        let (status, body) = self
            .answers
            .get(&call.request.path)
            .cloned()
            .unwrap_or((200, String::new()));
        Ok(http::Response::json(status, &body))
    }

    fn secret(&self, file: &Path) -> Result<String, String> {
        Ok(format!("secret of {}", file.display()))
    }

    fn action(&self, words: &[String]) -> Option<Result<String, String>> {
        (words[0] == "rollout").then(|| {
            self.push(format!("action {words:?}"));
            Ok("rolled back".to_owned())
        })
    }

    fn playbook(&self, id: &str, _: Option<&str>) -> Option<Playbook> {
        self.library.iter().find(|playbook| playbook.id() == id).cloned()
    }

    fn asked(&self, waiting: &playbooks::Waiting) {
        self.asked.lock().unwrap().push(waiting.instructions.clone());
    }
}
