//! What `proofmark.toml` may say: one table drives validation, the JSON Schema and the manual.
//!
//! A key that isn't here is an error with a suggestion. Paths are relative to the folder of `proofmark.toml`.

/// A table: its keys, in the order the manual has them.
#[derive(Debug)]
pub struct Table {
    pub doc: &'static str,
    pub keys: &'static [Key],
}

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub required: bool,
    /// Meaning, unit, default and what breaks.
    pub doc: &'static str,
}

/// What a key's value is.
#[derive(Debug)]
pub enum Kind {
    Text,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A number within bounds, both included.
    Number(f64, f64),
    Boolean,
    TextList,
    IntegerList(i64, i64),
    Table(&'static Table),
    /// Whole numbers within bounds by a name of the user's choice.
    Integers(i64, i64),
    /// Tables by a name of the user's choice: `[environment.local.services.NAME]`.
    Named(&'static Table),
    /// `[[commit.step]]`.
    Tables(&'static Table),
    /// `[[control]]`: besides its keys, parameters of the control that `id` names.
    Controls(&'static Table),
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: false,
        doc,
    }
}

const fn must(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        required: true,
        doc,
    }
}

pub static ROOT: Table = Table {
    doc: "One release: what it is made of, how it is started, and what it has to withstand.",
    keys: &[
        must("release", Kind::Table(&RELEASE), "What is released."),
        key("commit", Kind::Table(&COMMIT), "Stage commit: is what we wrote safe?"),
        key(
            "dependencies",
            Kind::Table(&DEPENDENCIES),
            "Which packages may be pulled in.",
        ),
        key("licences", Kind::Table(&LICENCES), "Which licences may be shipped."),
        key(
            "advisories",
            Kind::Table(&ADVISORIES),
            "The vulnerability database. Without it the build stage is indeterminate.",
        ),
        key("build", Kind::Table(&BUILD), "Stage build: what is made, and how."),
        key(
            "environment",
            Kind::Table(&ENVIRONMENT),
            "Where it runs for the later stages.",
        ),
        key(
            "broker",
            Kind::Table(&BROKER),
            "Who gets which short-lived credentials.",
        ),
        key(
            "integration",
            Kind::Table(&INTEGRATION),
            "Stage integration: does it stand up to hostile input?",
        ),
        key(
            "staging",
            Kind::Table(&STAGING),
            "Stage staging: is an attack noticed, contained and recovered from?",
        ),
        key(
            "production",
            Kind::Table(&PRODUCTION),
            "Stage production: does the new version behave?",
        ),
        key(
            "chaos",
            Kind::Table(&CHAOS),
            "What `proofmark chaos` may attack, how far, and when not.",
        ),
        key(
            "control",
            Kind::Controls(&CONTROL),
            "Controls that are added to the floor, or tighten it.",
        ),
    ],
};

static CHAOS: Table = Table {
    doc: "What may be attacked, how far an experiment may go, and when not. `proofmark explain chaos` says more.",
    keys: &[
        key(
            "target",
            Kind::Named(&TARGET),
            "What may be attacked, by name. Default nothing.",
        ),
        key(
            "link",
            Kind::Named(&LINK),
            "Fault proxies that run for the time of an experiment, by name.",
        ),
        key(
            "log",
            Kind::Named(&LOG),
            "Files that detectors read, by the name of who writes them.",
        ),
        key(
            "observer",
            Kind::Named(&OBSERVER),
            "Where detectors that exist already say what they see, by name.",
        ),
        key("rung", Kind::Table(&RUNGS), "Runbooks of the rungs above `isolated`."),
        key("freeze", Kind::Tables(&FREEZE), "Times in which nothing is injected."),
        key(
            "targets_max",
            Kind::Integer(1, 256),
            "Blast radius: targets that one experiment may touch. Default 2.",
        ),
        key(
            "deadline_seconds_max",
            Kind::Integer(1, 300),
            "The longest deadline. Default 300.",
        ),
        key(
            "undo_classes",
            Kind::TextList,
            "Undo classes that may be injected: `kernel-bounded`, `process-bounded`, `sandbox-discard`, `journaled`, `irreversible`. Default all but the last.",
        ),
        key(
            "unknown_actions",
            Kind::Text,
            "`allow` lets actions of Chaos Toolkit files run whose effect nobody knows. Default `refuse`.",
        ),
        key(
            "fresh_days",
            Kind::Integer(1, 3650),
            "How long a pass on a lower rung counts, in days. Default 30.",
        ),
        key(
            "approvals",
            Kind::Integer(2, 100),
            "Different approvers that an experiment in production needs. Default 2.",
        ),
        key(
            "kill_switch",
            Kind::Text,
            "While this file exists nothing is injected, and everything is undone.",
        ),
        key(
            "kill_switch_api",
            Kind::Text,
            "`127.0.0.1:PORT`, loopback only: while experiments run, `POST /v1/stop` undoes everything and `GET /v1/status` says what is in force. Both want `authorization: Bearer TOKEN`. Default not served.",
        ),
        key(
            "kill_switch_token_file",
            Kind::Text,
            "File that holds the token, at least 16 characters, yours and readable by nobody else. Default `.proofmark/undo/stop.token`, made at the first run. Whoever has it can stop experiments and see what they do, and nothing else.",
        ),
        key("choice", Kind::Table(&CHOICE), "What `chaos next` may propose."),
        key(
            "prevalence",
            Kind::Integers(1, 100),
            "How common attacks are by ATT&CK technique, per cent of the most common; `\"T1078.001\"` in quotes. Default the catalogue, `proofmark explain chaos/prevalence`.",
        ),
    ],
};

static CHOICE: Table = Table {
    doc: "What `chaos next` may propose, and how often each technique comes round. It proposes; what may run is not decided here.",
    keys: &[
        key(
            "releases",
            Kind::Integer(1, 1000),
            "Each technique runs at least once in so many releases. Default 10.",
        ),
        key(
            "runs",
            Kind::Integer(1, 256),
            "Runs that a release has room for; so many are proposed. Default 3.",
        ),
        key(
            "rung_max",
            Kind::Text,
            "Nothing above this rung is proposed: `isolated`, `mirrored`, `canary` or `production`. Default `isolated`.",
        ),
    ],
};

static TARGET: Table = Table {
    doc: "A target. What is not said counts as the worst; a fault says what it needs.",
    keys: &[
        must(
            "kind",
            Kind::Text,
            "`postgresql`, `redis`, `nats`, `http`, `tls`, `files`, `process`, `network`, `proofmark`.",
        ),
        key(
            "opted_in",
            Kind::Boolean,
            "Whether whoever owns it lets it be attacked. Default false.",
        ),
        key(
            "rung",
            Kind::Text,
            "`isolated`, `mirrored`, `canary` or `production`. Default `production`.",
        ),
        key(
            "criticality",
            Kind::Integer(1, 5),
            "1 is the least important service, and comes first. Default 5.",
        ),
        key(
            "tenancy",
            Kind::Text,
            "`dedicated` or `shared` hosts. Default `shared`.",
        ),
        key("address", Kind::Text, "`host:port`."),
        key("user", Kind::Text, "Who asks it, as far as it wants to know."),
        key(
            "password_file",
            Kind::Text,
            "File that holds the password; its value is written nowhere.",
        ),
        key("database", Kind::Text, "Database of a PostgreSQL server."),
        key("path", Kind::Text, "Path that an HTTP service is asked for."),
        key("server_name", Kind::Text, "Name that a TLS endpoint proves."),
        key(
            "ca_file",
            Kind::Text,
            "Certificates that a TLS endpoint is verified with, PEM.",
        ),
        key(
            "certificate_file",
            Kind::Text,
            "Certificate that a TLS endpoint reads, PEM.",
        ),
        key("key_file", Kind::Text, "Private key that a TLS endpoint reads, PEM."),
        key(
            "issuer_key_file",
            Kind::Text,
            "Private key of the authority that issued its certificate, PEM; for certificate faults.",
        ),
        key("crl_file", Kind::Text, "Revocation list that its clients read, PEM."),
        key("config", Kind::Text, "Configuration file that the service reads."),
        key(
            "root",
            Kind::Text,
            "Folder of files, or the tree that holds a `.proofmark`.",
        ),
        key("pid_file", Kind::Text, "File that holds a process number."),
        key("interface", Kind::Text, "Network interface."),
        key("namespace", Kind::Text, "Network namespace, by name."),
        key("log", Kind::Text, "File that it logs to."),
        key(
            "reload",
            Kind::TextList,
            "Command that makes the service read its configuration again; no shell.",
        ),
        key(
            "command",
            Kind::TextList,
            "Command that starts the process again; no shell.",
        ),
    ],
};

static LINK: Table = Table {
    doc: "A fault proxy: give the caller its address instead of the callee's.",
    keys: &[
        must("listen", Kind::Text, "`127.0.0.1:PORT`."),
        must("upstream", Kind::Text, "`host:port` that it leads to."),
    ],
};

static LOG: Table = Table {
    doc: "A log: one JSON object a line.",
    keys: &[must("path", Kind::Text, "The file.")],
};

static OBSERVER: Table = Table {
    doc: "A source of readings: exactly one of `file`, `command`, `listen` and `address`. `proofmark explain observer/KIND` says more.",
    keys: &[
        must(
            "kind",
            Kind::Text,
            "`alertmanager`, `auditd`, `falco`, `generic`, `journald`, `otlp` or `prometheus`.",
        ),
        key("file", Kind::Text, "A file that grows; read from its current end."),
        key(
            "command",
            Kind::TextList,
            "A program that prints it, such as `journalctl --follow --output=export`; no shell.",
        ),
        key(
            "listen",
            Kind::Text,
            "`127.0.0.1:PORT` to which it is sent; port 0 is any free one.",
        ),
        key(
            "token_file",
            Kind::Text,
            "File with the bearer token that senders have to show. Default none: whoever reaches the port is heard.",
        ),
        key("address", Kind::Text, "`host:port` of an API that is asked."),
        key("path", Kind::Text, "What it is asked for. Default `/api/v1/alerts`."),
        key(
            "every_ms",
            Kind::Integer(1, 60_000),
            "How often it is asked, in milliseconds. Default 50.",
        ),
        key(
            "fresh_seconds",
            Kind::Integer(1, 31_622_400),
            "A stream that was silent for longer fails its self-test. Default: silence is fine.",
        ),
        key(
            "merge_ms",
            Kind::Integer(1, 60_000),
            "How long records of one audit event are waited for, in milliseconds. Default 200.",
        ),
        key(
            "name",
            Kind::Text,
            "`generic`: JSON pointer to the alert's name. Default none: all is plain events.",
        ),
        key(
            "firing",
            Kind::Text,
            "`generic`: JSON pointer to whether it fires. Default: it always does.",
        ),
        key("severity", Kind::Text, "`generic`: JSON pointer to its severity."),
        key(
            "technique",
            Kind::Text,
            "`generic`: JSON pointer to where ATT&CK ids stand.",
        ),
        key("began", Kind::Text, "`generic`: JSON pointer to when it began."),
    ],
};

static RUNGS: Table = Table {
    doc: "What each rung asks for.",
    keys: &[
        key("isolated", Kind::Table(&RUNG), "Set apart for experiments."),
        key("mirrored", Kind::Table(&RUNG), "Gets a copy of real traffic."),
        key("canary", Kind::Table(&RUNG), "Serves a small share of real traffic."),
        key("production", Kind::Table(&RUNG), "Serves people."),
    ],
};

static RUNG: Table = Table {
    doc: "A rung.",
    keys: &[must(
        "runbook",
        Kind::Text,
        "CACAO playbook that says what people do when it goes wrong, relative to the tree.",
    )],
};

static FREEZE: Table = Table {
    doc: "A time in which nothing is injected.",
    keys: &[
        must("name", Kind::Text, "Why."),
        must("from", Kind::Text, "First moment (RFC 3339)."),
        must("to", Kind::Text, "First moment after it (RFC 3339)."),
    ],
};

static RELEASE: Table = Table {
    doc: "What is released.",
    keys: &[
        must("name", Kind::Text, "Name of the release."),
        must("version", Kind::Text, "Its version."),
    ],
};

static COMMIT: Table = Table {
    doc: "Stage commit.",
    keys: &[
        key(
            "history",
            Kind::Boolean,
            "Scan the git history of this path for secrets too. Default true; false leaves a gap that blocks.",
        ),
        key("step", Kind::Tables(&STEP), "The team's own linters and tests."),
    ],
};

static STEP: Table = Table {
    doc: "A linter or test of the team.",
    keys: &[
        must("name", Kind::Text, "Names the step in evidence: `step:NAME`."),
        must("run", Kind::TextList, "Program and arguments; no shell."),
        must(
            "report",
            Kind::Text,
            "The report it writes: `.sarif` (SARIF 2.1.0) or `.xml` (JUnit). A step without a report is no evidence.",
        ),
        key(
            "timeout_seconds",
            Kind::Integer(1, 7200),
            "Killed with all its children after this long. Default 900.",
        ),
    ],
};

static DEPENDENCIES: Table = Table {
    doc: "Dependency policy, held against manifests that changed.",
    keys: &[
        key(
            "deny",
            Kind::TextList,
            "Package URLs that may not be pulled in; without version: every version. Default none.",
        ),
        key(
            "sources",
            Kind::TextList,
            "Registries packages may come from: `crates.io`, `npm`, `Go`. Default all of these.",
        ),
    ],
};

static LICENCES: Table = Table {
    doc: "Licence policy.",
    keys: &[must(
        "allow",
        Kind::TextList,
        "SPDX ids that may be shipped; an expression passes when these can meet it.",
    )],
};

static ADVISORIES: Table = Table {
    doc: "Advisory database in OSV format, one JSON file a record.",
    keys: &[
        must("path", Kind::Text, "Folder of the records."),
        must(
            "digest",
            Kind::Text,
            "`sha256:` and the digest that `proofmark db digest FOLDER` prints: another content is refused.",
        ),
        key(
            "age_days_max",
            Kind::Integer(0, 36_525),
            "How old the newest record may be, in days; the verdict shows it. Default 7.",
        ),
    ],
};

static BUILD: Table = Table {
    doc: "Stage build.",
    keys: &[must("artifact", Kind::Tables(&ARTIFACT), "What is made.")],
};

static ARTIFACT: Table = Table {
    doc: "One artifact and the command that makes it.",
    keys: &[
        must("name", Kind::Text, "Names it in evidence and in `{artifact.NAME}`."),
        must(
            "run",
            Kind::TextList,
            "Program and arguments; no shell. It runs isolated and observed.",
        ),
        must("path", Kind::Text, "The file it makes."),
        key(
            "timeout_seconds",
            Kind::Integer(1, 7200),
            "Killed with all its children after this long. Default 1800.",
        ),
    ],
};

static ENVIRONMENT: Table = Table {
    doc: "Environments.",
    keys: &[must("local", Kind::Table(&LOCAL), "Local processes on loopback.")],
};

static LOCAL: Table = Table {
    doc: "Local processes on loopback; they die with the release.",
    keys: &[must("services", Kind::Named(&SERVICE), "Services by name.")],
};

static SERVICE: Table = Table {
    doc: "A service. Its standard output is its log: one JSON object a line.",
    keys: &[
        must(
            "command",
            Kind::TextList,
            "Program and arguments. Filled in: `{artifact.NAME}`, `{port.NAME}`, `{link.NAME}`, `{broker}`, `{identity.ROLE}` (a file path), `{scratch}` (a folder it may write to; the tree is read-only to it), `{tree}`.",
        ),
        must("ready", Kind::Text, "Path that answers 200 when the service is ready."),
        key(
            "after",
            Kind::TextList,
            "Services that must be ready before it is started. Default none.",
        ),
        key(
            "links",
            Kind::TextList,
            "Services it calls: each through our fault proxy at `{link.NAME}`. Default none.",
        ),
    ],
};

static BROKER: Table = Table {
    doc: "The credential broker on loopback (a subset of Vault's API).",
    keys: &[must(
        "roles",
        Kind::Named(&ROLE),
        "Roles by name; one named like a service is that service's identity.",
    )],
};

static ROLE: Table = Table {
    doc: "What an identity may do.",
    keys: &[
        key(
            "policies",
            Kind::TextList,
            "Policies it may lease tokens for. Default none.",
        ),
        key(
            "ttl_seconds",
            Kind::Integer(1, 3600),
            "Longest life of such a token. Default 300.",
        ),
        key(
            "lookup",
            Kind::Boolean,
            "May ask whether a token presented to it is alive. Default false.",
        ),
    ],
};

static INTEGRATION: Table = Table {
    doc: "Stage integration.",
    keys: &[
        must("service", Kind::Text, "Service that is driven."),
        must("openapi", Kind::Text, "Its OpenAPI 3 document (JSON)."),
        key(
            "identities",
            Kind::TextList,
            "Broker roles it is driven as, besides anonymous. Default none.",
        ),
        key(
            "requests_max",
            Kind::Integer(1, 1_000_000),
            "Bound on requests. Default 2000.",
        ),
    ],
};

static STAGING: Table = Table {
    doc: "Stage staging.",
    keys: &[
        must("experiments", Kind::TextList, "Experiment files, run in this order."),
        key(
            "playbook",
            Kind::Text,
            "CACAO playbook that is run after experiments that failed. It changes no verdict. Default none.",
        ),
    ],
};

static PRODUCTION: Table = Table {
    doc: "Stage production: old and new side by side.",
    keys: &[
        must("service", Kind::Text, "Service that is rolled out."),
        must("request", Kind::Tables(&REQUEST), "Traffic, in turn."),
        key(
            "weights",
            Kind::IntegerList(1, 99),
            "Shares of traffic for the new version, in per cent, in turn. Default [10, 50].",
        ),
        key(
            "error_margin",
            Kind::Number(0.0001, 0.5),
            "How much larger the new version's share of errors may be. Default 0.01.",
        ),
        key(
            "slow_ms",
            Kind::Integer(1, 600_000),
            "A request over this many milliseconds counts as slow. Default 250.",
        ),
        key(
            "slow_margin",
            Kind::Number(0.0001, 0.5),
            "How much larger the new version's share of slow requests may be. Default 0.05.",
        ),
        key(
            "requests_max",
            Kind::Integer(100, 10_000_000),
            "Bound on requests; undecided by then is indeterminate. Default 10000.",
        ),
        key(
            "baseline",
            Kind::Table(&BASELINE),
            "Where the old version comes from while none was promoted.",
        ),
        key(
            "playbook",
            Kind::Text,
            "CACAO playbook that is run when the new version was halted. It changes no verdict. Default none.",
        ),
    ],
};

static REQUEST: Table = Table {
    doc: "A request of the traffic.",
    keys: &[
        must("method", Kind::Text, "HTTP method."),
        must("path", Kind::Text, "Path, with query."),
        key(
            "identity",
            Kind::Text,
            "Broker role whose token it carries. Default none.",
        ),
        key("body", Kind::Text, "JSON body. Default none."),
    ],
};

static BASELINE: Table = Table {
    doc: "An older source of the rolled out service, built with provenance like any artifact.",
    keys: &[
        must("version", Kind::Text, "Its version."),
        must("run", Kind::TextList, "Program and arguments; no shell."),
        must("path", Kind::Text, "The file it makes."),
        key(
            "timeout_seconds",
            Kind::Integer(1, 7200),
            "Killed with all its children after this long. Default 1800.",
        ),
    ],
};

static CONTROL: Table = Table {
    doc: "A control; its parameters stand beside `id` and `stage`. `proofmark explain control/ID` lists them.",
    keys: &[
        must("id", Kind::Text, "Catalogue id."),
        must("stage", Kind::Text, "Stage whose gate asks it."),
    ],
};

/// Names of the tables of the configuration, those within others too: `release`, `chaos`, `chaos.target`, …
pub fn tables() -> Vec<String> {
    let mut names = Vec::new();
    below("", &ROOT, &mut names);
    names
}

fn below(at: &str, table: &Table, names: &mut Vec<String>) {
    for key in table.keys {
        if let Some(inner) = key.table() {
            let name = if at.is_empty() {
                key.name.to_owned()
            } else {
                format!("{at}.{}", key.name)
            };
            below(&name, inner, names);
            names.push(name);
        }
    }
}

/// The manual of one table of the configuration, as Markdown: every key below it. `chaos.target`, and `chaos.target.NAME`
/// with any name.
pub fn manual(name: &str) -> Option<String> {
    let mut table = &ROOT;
    let mut heading = String::new();
    let mut found: Option<&Key> = None;
    let mut parts = name.split('.');
    while let Some(part) = parts.next() {
        let key = table.keys.iter().find(|key| key.name == part)?;
        table = key.table()?;
        let inner = heading.trim_matches(['[', ']']);
        heading = key.heading(inner);
        if matches!(key.kind, Kind::Named(_)) {
            // The name is the user's own.
            parts.next();
        }
        found = Some(key);
    }
    let key = found?;
    let mut page = format!("# config/{name}\n{}\n", key.doc);
    describe(&heading, key, &mut page);
    Some(page)
}

impl Key {
    fn table(&self) -> Option<&'static Table> {
        match self.kind {
            Kind::Table(table) | Kind::Named(table) | Kind::Tables(table) | Kind::Controls(table) => Some(table),
            _ => None,
        }
    }

    /// As it is written below the table `outer`.
    fn heading(&self, outer: &str) -> String {
        let name = if outer.is_empty() {
            self.name.to_owned()
        } else {
            format!("{outer}.{}", self.name)
        };
        match self.kind {
            Kind::Named(_) => format!("[{name}.NAME]"),
            Kind::Tables(_) => format!("[[{name}]]"),
            _ => format!("[{name}]"),
        }
    }
}

fn describe(heading: &str, key: &Key, page: &mut String) {
    let Some(table) = key.table() else { return };
    page.push_str(&format!("\n## `{heading}`\n{}\n\n", table.doc));
    for key in table.keys {
        let required = if key.required { " (required)" } else { "" };
        page.push_str(&format!("- `{}`{required}: {}\n", key.name, key.doc));
    }
    let inner = heading.trim_matches(['[', ']']);
    for key in table.keys {
        describe(&key.heading(inner), key, page);
    }
}

/// JSON Schema (draft 2020-12) of `proofmark.toml`, for editors.
pub fn json_schema() -> serde_json::Value {
    let mut schema = table_schema(&ROOT, true);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = "https://proofmark.dev/schema/proofmark.toml.json".into();
    schema["title"] = "proofmark.toml".into();
    schema
}

fn table_schema(table: &Table, closed: bool) -> serde_json::Value {
    let properties: serde_json::Map<_, _> = table
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), key_schema(key)))
        .collect();
    let required: Vec<_> = table
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    serde_json::json!({
        "type": "object", "description": table.doc, "properties": properties, "required": required,
        "additionalProperties": !closed,
    })
}

fn key_schema(key: &Key) -> serde_json::Value {
    let mut schema = match &key.kind {
        Kind::Text => serde_json::json!({"type": "string"}),
        Kind::Integer(low, high) => serde_json::json!({"type": "integer", "minimum": low, "maximum": high}),
        Kind::Number(low, high) => serde_json::json!({"type": "number", "minimum": low, "maximum": high}),
        Kind::Boolean => serde_json::json!({"type": "boolean"}),
        Kind::TextList => serde_json::json!({"type": "array", "items": {"type": "string"}}),
        Kind::IntegerList(low, high) => {
            serde_json::json!({"type": "array", "items": {"type": "integer", "minimum": low, "maximum": high}})
        }
        Kind::Integers(low, high) => {
            serde_json::json!({"type": "object", "additionalProperties": {"type": "integer", "minimum": low, "maximum": high}})
        }
        Kind::Table(table) => table_schema(table, true),
        Kind::Named(table) => serde_json::json!({"type": "object", "additionalProperties": table_schema(table, true)}),
        Kind::Tables(table) => serde_json::json!({"type": "array", "items": table_schema(table, true)}),
        Kind::Controls(table) => serde_json::json!({"type": "array", "items": table_schema(table, false)}),
    };
    schema["description"] = key.doc.into();
    schema
}
