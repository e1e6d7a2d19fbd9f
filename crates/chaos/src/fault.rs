//! What a fault is: the shape of each entry of the catalogue in `faults/`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::environment::{BoxFuture, CredentialRef, Environment, ServiceRequest};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Strike, Undone};
use crate::target::TargetKind;

/// A fault of the catalogue. One file more in `faults/` is one entry more.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Catalogue name, as `id` of a `[[fault]]` has it: `link-slowed`.
    pub id: &'static str,
    pub undo_class: UndoClass,
    /// What Proofmark must be allowed to do, in one line.
    pub rights: &'static str,
    /// ATT&CK techniques (<https://attack.mitre.org>) that it stands for.
    pub attack: &'static [&'static str],
    /// Weaknesses (<https://cwe.mitre.org>) that it looks for.
    pub cwe: &'static [&'static str],
    /// What it may do to the three properties while it holds.
    pub effect: Effect,
    /// Kinds of declared targets that it attacks; none for a fault of the environment's own services and links.
    pub targets: &'static [TargetKind],
    /// Keys that its `[[fault]]` may have beside `id`.
    pub keys: &'static [&'static str],
    /// Reads its `[[fault]]`; `None` once the problem is noted.
    pub(crate) read: fn(&Section<'_>) -> Option<Box<dyn Fault>>,
}

/// What a fault is expected to do to a system that is not prepared for it, in a few words each; `kept` where nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    pub confidentiality: &'static str,
    pub integrity: &'static str,
    pub availability: &'static str,
}

/// How a fault ends, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UndoClass {
    /// The kernel ends it by itself at the deadline, even with every process of ours dead.
    KernelBounded,
    /// It lives in a process of ours and can't outlive it.
    ProcessBounded,
    /// It happens in a throwaway copy of the machine, which vanishes with its process.
    SandboxDiscard,
    /// What was there before is recorded, and put back unless somebody else has changed it since.
    Journaled,
    /// It can't be taken back; a way forward is declared instead.
    Irreversible,
}

impl UndoClass {
    pub const ALL: [UndoClass; 5] = [
        UndoClass::KernelBounded,
        UndoClass::ProcessBounded,
        UndoClass::SandboxDiscard,
        UndoClass::Journaled,
        UndoClass::Irreversible,
    ];

    pub fn name(self) -> &'static str {
        match self {
            UndoClass::KernelBounded => "kernel-bounded",
            UndoClass::ProcessBounded => "process-bounded",
            UndoClass::SandboxDiscard => "sandbox-discard",
            UndoClass::Journaled => "journaled",
            UndoClass::Irreversible => "irreversible",
        }
    }
}

impl fmt::Display for UndoClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A fault with its parameters, as one experiment asks for it. It keeps no state: what injection returned is
/// given back to it.
pub trait Fault: Send + Sync + fmt::Debug {
    fn entry(&self) -> &'static Entry;

    /// Its parameters, by the keys of the experiment file.
    fn parameters(&self) -> BTreeMap<String, Value>;

    /// What injection does, in one line.
    fn action(&self) -> String;

    /// What takes it back, or the way forward, in one line.
    fn undo_action(&self) -> String;

    /// How long it holds before its own declared end; `None` for a fault that has no end.
    fn hold(&self) -> Option<Duration>;

    /// How long injection and undo may take each, where that is not a matter of seconds.
    fn time_max(&self) -> Option<Duration> {
        None
    }

    /// Lets it end so long after its injection, before the run does; only what attacks a declared target can be told.
    fn hold_for(&mut self, _: Duration) {}

    /// Asks whether a revoked credential still works, where the fault revokes one.
    fn probe(&self) -> Option<&Probe>;

    /// The strike it is, where it attacks a declared target.
    fn strike(&self) -> Option<Arc<dyn Strike>> {
        None
    }

    /// Looks whether it can bite at all, before anything is changed. `Err` says why not. What it returns is durable
    /// before the injection, and given back to everything that follows.
    fn prepare<'a>(&'a self, environment: &'a dyn Environment) -> BoxFuture<'a, Result<Record, String>>;

    /// Nothing is injected without leave.
    fn inject<'a>(
        &'a self,
        permit: &'a Permit,
        environment: &'a dyn Environment,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<Injected, String>>;

    /// Reads back that it is in force.
    fn in_force<'a>(
        &'a self,
        environment: &'a dyn Environment,
        record: &'a Record,
        injected: &'a Injected,
    ) -> BoxFuture<'a, Result<(), String>>;

    /// True when what the workload met shows the fault, or can't be expected to.
    fn felt(&self, met: &Met<'_>) -> bool;

    /// Takes it back and reads that back, or reads back that the way forward is taken. May be called again, and
    /// without an injection before it.
    fn undo<'a>(
        &'a self,
        environment: &'a dyn Environment,
        record: &'a Record,
        injected: &'a Injected,
    ) -> BoxFuture<'a, Result<Undone, String>>;
}

/// What an injection changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Injected {
    /// The leases that were revoked.
    pub revoked: Vec<CredentialRef>,
}

/// The requests of the workload that began while a fault held.
pub struct Met<'a> {
    pub samples: &'a [Sample],
    /// When its hold ended; boot time.
    pub until: Duration,
}

/// One request of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Boot time.
    pub start: Duration,
    /// Boot time; `None` when it was given up because the run ended.
    pub end: Option<Duration>,
    /// Answered as in steady state.
    pub served: bool,
}

/// A request that presents the revoked credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub request: ServiceRequest,
    /// Status codes of a refusal. Any other answer, and none at all, is no refusal.
    pub refused: Vec<u16>,
}

impl Probe {
    pub(crate) const KEYS: &'static [&'static str] = &["service", "method", "path", "body", "refused"];

    pub(crate) fn read(section: &Section<'_>) -> Option<Probe> {
        section.only(Self::KEYS);
        let request = read_request(section);
        let refused = section.numbers("refused", 100..=599);
        let refused = refused?
            .into_iter()
            .filter_map(|status| u16::try_from(status).ok())
            .collect();
        Some(Probe {
            request: request?,
            refused,
        })
    }

    /// The request with one certain lease.
    pub(crate) fn with(&self, credential: &CredentialRef) -> ServiceRequest {
        ServiceRequest {
            credential: Some(credential.clone()),
            ..self.request.clone()
        }
    }
}

/// `service`, `method`, `path`, `identity` and `body` of a section, checked. `identity` is read where the section's
/// keys allow it.
pub(crate) fn read_request(section: &Section<'_>) -> Option<ServiceRequest> {
    let service = section.text("service");
    let method = section.text("method").and_then(|method| {
        if !method.is_empty() && method.len() <= 16 && method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Some(method);
        }
        let message = format!("`{method}` is not an HTTP method");
        section.problem(
            "method",
            "chaos/bad-request",
            message,
            "write it in capitals: `GET`, `POST`",
        );
        None
    });
    let path = read_path(section, "path");
    let identity = section.optional_text("identity");
    let body = section.optional_text("body").unwrap_or_default().into_bytes();
    Some(ServiceRequest {
        service: service?,
        method: method?,
        path: path?,
        identity,
        body,
        credential: None,
        run: None,
    })
}

/// A request path of a service.
pub(crate) fn read_path(section: &Section<'_>, key: &str) -> Option<String> {
    let path = section.text(key)?;
    if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(path);
    }
    let message = format!("`{path}` is not a request path");
    section.problem(
        key,
        "chaos/bad-request",
        message,
        "it begins with `/` and has no spaces",
    );
    None
}
