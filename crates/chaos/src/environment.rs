//! The system under attack, as an experiment sees it. `pipeline` implements it.

use std::pin::Pin;
use std::time::Duration;

use evidence::Now;
use net::proxy::Applied;
use telemetry::Reading;

use crate::experiment::Experiment;
use crate::fault::Fault;
use crate::permit::Permit;
use crate::strike::{Record, Site};
use crate::target::Targets;

/// A boxed future, so that [`Environment`] is object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Services, leases, links and logs of one environment. Every future is safe to drop at any moment.
pub trait Environment: Send + Sync {
    /// True when whoever owns this environment lets it be attacked. An environment that Proofmark started for the
    /// purpose is; anything else is only when its configuration says so.
    fn opted_in(&self) -> bool;

    /// Sends a request to a service. `Err` when no answer came; it never holds a credential's value.
    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>>;

    /// Revokes every live lease that `role` holds for `policy`, and says which those were.
    fn revoke<'a>(&'a self, role: &'a str, policy: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>>;

    /// The live leases that `role` holds for `policy`.
    fn active<'a>(&'a self, role: &'a str, policy: &'a str) -> BoxFuture<'a, Vec<CredentialRef>>;

    /// Replaces the toxics of a link, in the worker process. There is no link where this is not overridden.
    fn toxics<'a>(&'a self, link: &'a str, _: Vec<Applied>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { Err(no_link(link)) })
    }

    /// The toxics of a link as the worker process has them.
    fn read_toxics<'a>(&'a self, link: &'a str) -> BoxFuture<'a, Result<Vec<Applied>, String>> {
        Box::pin(async move { Err(no_link(link)) })
    }

    /// Tells whoever outlives this process that everything must be undone by `deadline` (boot time). Nothing is
    /// injected when that fails.
    fn arm<'a>(&'a self, _deadline: Duration) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    /// Everything is undone.
    fn disarm<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// What stands against `experiment` by the owner's settings ([`crate::objections`]). Nothing where this is not
    /// overridden: for an environment that was made for one release and dies with it.
    fn objections(&self, _: &Experiment) -> Vec<String> {
        Vec::new()
    }

    /// The declared targets, and how long a fault may last from now. None are declared where this is not overridden.
    fn site(&self) -> Site {
        Site {
            targets: Targets::default(),
            time_left: Duration::ZERO,
            salt: [0; 32],
        }
    }

    /// Does a fault that is bound to a process in a process of its own ([`crate::process::Holders`]), and waits until
    /// it is in force.
    fn hold<'a>(&'a self, _: &'a Permit, fault: &'a dyn Fault, _: &'a Record) -> BoxFuture<'a, Result<(), String>> {
        let id = fault.entry().id;
        Box::pin(async move {
            Err(format!(
                "`{id}` needs a process of its own, which this environment can't start"
            ))
        })
    }

    /// Ends the process that holds a fault; that there is none is no error.
    fn release<'a>(&'a self, _: &'a dyn Fault) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    /// Lines that services logged since the last call. `now` is the boot time of the call.
    fn poll_logs(&self, now: Duration) -> Vec<telemetry::Event>;

    /// Where somebody else's detectors are heard. Nowhere where this is not overridden.
    fn observing(&self) -> Option<&dyn Observing> {
        None
    }

    /// What services logged, and somebody else's detectors said, since the last call.
    fn poll_readings(&self, now: Duration) -> Vec<Reading> {
        let lines = self.poll_logs(now).into_iter().map(Reading::Event);
        let heard = self.observing().map_or_else(Vec::new, Observing::poll);
        lines.chain(heard).collect()
    }

    /// Names of what there is to attack here, the attacked included: an alert about another one is about something
    /// else. The declared targets where this is not overridden.
    fn entities(&self) -> Vec<String> {
        self.site().targets.all().map(|target| target.name.clone()).collect()
    }

    /// 128 fresh random bits, which name one run.
    fn run_id(&self) -> [u8; 16];

    fn now(&self) -> Now;

    /// True once the user wants to stop. What was injected is undone first.
    fn cancelled(&self) -> bool;

    /// Why it is to stop, once it is.
    fn why_cancelled(&self) -> String {
        "stopped before everything was known".to_owned()
    }
}

fn no_link(link: &str) -> String {
    format!("there is no link `{link}`")
}

/// Detectors that exist already, as an environment hears them.
pub trait Observing: Send + Sync {
    /// Names of the observers.
    fn names(&self) -> Vec<String>;

    /// What they said since the last call.
    fn poll(&self) -> Vec<Reading>;

    /// Whether an observer can receive right now. `canary` is what its tool would say; `null` takes its kind's own.
    ///
    /// # Errors
    /// Why it can't; a name that is none of [`Observing::names`] is one reason.
    fn self_test<'a>(&'a self, observer: &'a str, canary: &'a serde_json::Value) -> BoxFuture<'a, Result<(), String>>;

    /// How long an observer may take until it sees what is there: the pause between two of its questions.
    fn pause(&self, observer: &str) -> Duration;
}

/// A request to a service of the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Name of the service.
    pub service: String,
    pub method: String,
    /// Begins with `/`; may have a query.
    pub path: String,
    /// Role whose lease is presented; `None` is anonymous, unless `credential` says otherwise.
    pub identity: Option<String>,
    /// Empty for none. Sent as JSON.
    pub body: Vec<u8>,
    /// One certain lease to present, live or not.
    pub credential: Option<CredentialRef>,
    /// Name of the run, to be carried in the header [`RUN_HEADER`] as [`run_agent`] has it, so that what a service
    /// logs of the request can be joined to the run. `None`: nothing is planted.
    pub run: Option<String>,
}

/// The header of an ordinary request in which the name of a run is planted: the one that services log as it is.
pub const RUN_HEADER: &str = "user-agent";

/// What stands in [`RUN_HEADER`].
pub fn run_agent(run: &str) -> String {
    format!("proofmark/{run}")
}

/// Method of a request that asks how a declared target is ([`crate::health::of`]), and the status of one that is well.
pub const HEALTH: &str = "HEALTH";
pub const HEALTHY: u16 = 200;

impl ServiceRequest {
    /// Asks how a declared target is.
    pub fn health(target: &str) -> ServiceRequest {
        ServiceRequest {
            service: target.to_owned(),
            method: HEALTH.to_owned(),
            path: "/".to_owned(),
            ..ServiceRequest::default()
        }
    }
}

/// What a service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAnswer {
    pub status: u16,
    pub body: Vec<u8>,
    /// From the first byte sent to the last one received.
    pub elapsed: Duration,
}

/// A handle of a lease (its accessor), never the credential's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialRef(pub String);
