//! Declared targets as an experiment sees them, with fault proxies, holders and a warden for the time of one run.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chaos::process::{Holder, Holders, Warden, Worker};
use chaos::{
    BoxFuture, CredentialRef, Experiment, Fault, Freeze, Observing, Permit, Record, ServiceAnswer, ServiceRequest,
    Settings, Site, TargetKind, Turns,
};
use evidence::Now;
use host::process::Cancel;
use net::http::Request;
use net::proxy::Applied;
use telemetry::LogTail;

use crate::Error;
use crate::environment::ask;
use crate::observers::Observers;
use crate::release::Options;
use crate::run::{Clock, Random};
use crate::store::Store;

/// What a run attacks.
pub struct Declared {
    settings: Settings,
    objections: Vec<String>,
    program: std::path::PathBuf,
    deadline: Duration,
    worker: Worker,
    warden: Warden,
    holders: Arc<Holders>,
    /// Starts and ends of holders take turns: what nobody waits for any more is gone before it counts as released.
    turns: Turns,
    tail: Mutex<LogTail>,
    observers: Observers,
    clock: Clock,
    random: Random,
    cancel: Cancel,
    /// When the faults must be over; boot time. Set once the warden is armed.
    until: Mutex<Option<Duration>>,
}

impl Declared {
    /// Starts proxies and warden. Call it within the runtime.
    pub fn start(
        options: &Options,
        settings: &Settings,
        experiment: &Experiment,
        store: &Store,
        objections: Vec<String>,
    ) -> Result<Declared, Error> {
        let links = settings.links.iter().map(|(name, link)| {
            let at = |what: &str, error: &dyn std::fmt::Display| {
                Error::usage(
                    format!("`{what}` of link `{name}`: {error}"),
                    format!("look at `[chaos.link.{name}]` of proofmark.toml"),
                )
            };
            let listener = TcpListener::bind(&link.listen).map_err(|error| at(&link.listen, &error))?;
            listener
                .set_nonblocking(true)
                .map_err(|error| at(&link.listen, &error))?;
            let upstream = resolve(&link.upstream).map_err(|error| at(&link.upstream, &error))?;
            if listener.local_addr().is_ok_and(|local| local == upstream) {
                return Err(at(&link.upstream, &"it leads to itself"));
            }
            Ok((name.clone(), listener, upstream))
        });
        let links: Vec<_> = links.collect::<Result<_, Error>>()?;
        let worker =
            Worker::spawn(&options.program, links).map_err(|error| Error::failed("start the worker", error))?;
        let api = super::stop::api(&store.path, settings)?;
        let warden = Warden::serving(&options.program, &store.path.join("undo"), &worker, api)
            .map_err(|error| Error::failed("start the warden", error))?;
        let logs = settings
            .logs
            .iter()
            .map(|(name, path)| (name.clone(), path.clone()))
            .collect();
        Ok(Declared {
            settings: settings.clone(),
            objections,
            program: options.program.clone(),
            deadline: experiment.deadline,
            worker,
            warden,
            holders: Arc::default(),
            turns: Turns::default(),
            tail: Mutex::new(LogTail::new(logs).skip_to_end()),
            observers: Observers::start(&settings.observers, &options.clock, &options.random)?,
            clock: options.clock.clone(),
            random: options.random.clone(),
            cancel: options.cancel.clone(),
            until: Mutex::new(None),
        })
    }

    /// Ends proxies and warden; what they held is over.
    pub fn stop(&self) {
        self.warden.stop();
        self.worker.stop();
    }

    /// The freeze that is now.
    fn freeze(&self) -> Option<&Freeze> {
        self.settings.freeze_at((self.clock)().utc)
    }

    /// From now to the time by which everything must be undone.
    fn time_left(&self) -> Duration {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.map_or(self.deadline, |until| until.saturating_sub((self.clock)().boottime))
    }
}

/// 128 fresh random bits.
pub fn run_id(random: &Random) -> [u8; 16] {
    let random = random();
    std::array::from_fn(|at| random[at])
}

/// The header that carries the name of a run.
pub fn planted(run: &str) -> (String, String) {
    (chaos::RUN_HEADER.to_owned(), chaos::run_agent(run))
}

fn resolve(address: &str) -> Result<SocketAddr, String> {
    let mut found = address.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "the name has no address".to_owned())
}

/// One holder a fault: what it is called, and what it is done to.
fn key(fault: &dyn Fault) -> String {
    format!("{} {:?}", fault.entry().id, fault.parameters())
}

impl chaos::Environment for Declared {
    fn opted_in(&self) -> bool {
        // Each target says so for itself, and is asked when its fault is surveyed.
        true
    }

    fn objections(&self, _: &Experiment) -> Vec<String> {
        self.objections.clone()
    }

    fn arm<'a>(&'a self, deadline: Duration) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            // Nothing is in force when a freeze begins, whoever of us still lives then.
            let now = self.now();
            let freeze = self.settings.next_freeze(now.utc).map(|left| now.boottime + left);
            let deadline = freeze.map_or(deadline, |freeze| freeze.min(deadline));
            *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
            self.warden
                .arm(deadline, self.settings.kill_switch.as_deref())
                .map_err(|error| error.to_string())
        })
    }

    fn disarm<'a>(&'a self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            // A warden that is gone enforces nothing.
            let _ = self.warden.disarm();
        })
    }

    fn site(&self) -> Site {
        Site {
            targets: self.settings.targets.clone(),
            time_left: self.time_left(),
            salt: (self.random)(),
        }
    }

    fn hold<'a>(
        &'a self,
        _: &'a Permit,
        fault: &'a dyn Fault,
        record: &'a Record,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (program, id, record) = (self.program.clone(), fault.entry().id, record.clone());
        let (parameters, time_left, key) = (fault.parameters(), self.time_left(), key(fault));
        let holders = self.holders.clone();
        Box::pin(async move {
            let start = move |given_up: &AtomicBool| {
                if given_up.load(Ordering::Acquire) {
                    return Err("stopped before it was injected".to_owned());
                }
                let holder = Holder::spawn(&program, id, &parameters, &record, time_left)?;
                let pid = holder.pid();
                holders.add(key, holder);
                Ok(pid)
            };
            let pid = self.turns.take(start).await?;
            self.warden.guard(pid).map_err(|error| error.to_string())
        })
    }

    fn release<'a>(&'a self, fault: &'a dyn Fault) -> BoxFuture<'a, Result<(), String>> {
        let (holders, key) = (self.holders.clone(), key(fault));
        Box::pin(self.turns.take(move |_| {
            holders.stop(&key);
            Ok(())
        }))
    }

    fn request<'a>(&'a self, request: &'a ServiceRequest) -> BoxFuture<'a, Result<ServiceAnswer, String>> {
        Box::pin(async move {
            let target = self.settings.targets.named(&request.service)?.clone();
            if request.method == chaos::HEALTH {
                let begun = self.now().boottime;
                tokio::task::spawn_blocking(move || chaos::health::of(&target))
                    .await
                    .map_err(|_| "it broke".to_owned())??;
                return Ok(ServiceAnswer {
                    status: chaos::HEALTHY,
                    body: Vec::new(),
                    elapsed: self.now().boottime.saturating_sub(begun),
                });
            }
            if target.kind != TargetKind::Http {
                return Err(format!("`{}` is not a target of kind `http`", target.name));
            }
            if request.identity.is_some() || request.credential.is_some() {
                return Err("identities are leased by the broker of a release; there is none here".to_owned());
            }
            let json = ("content-type".to_owned(), "application/json".to_owned());
            let planted: Vec<_> = request.run.iter().map(|run| planted(run)).collect();
            let sent = Request {
                method: request.method.clone(),
                path: request.path.clone(),
                headers: if request.body.is_empty() {
                    planted
                } else {
                    [planted, vec![json]].concat()
                },
                body: request.body.clone(),
            };
            let (answer, elapsed) = ask(resolve(target.text("address")?)?, sent).await?;
            Ok(ServiceAnswer {
                status: answer.status,
                body: answer.body,
                elapsed,
            })
        })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Vec<CredentialRef>, String>> {
        Box::pin(async { Err("leases are the broker's, which only a release has".to_owned()) })
    }

    fn active<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Vec<CredentialRef>> {
        Box::pin(async { Vec::new() })
    }

    fn toxics<'a>(&'a self, link: &'a str, toxics: Vec<Applied>) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.worker.set(link, toxics).await.map_err(|error| error.to_string()) })
    }

    fn read_toxics<'a>(&'a self, link: &'a str) -> BoxFuture<'a, Result<Vec<Applied>, String>> {
        Box::pin(async move { self.worker.get(link).await.map_err(|error| error.to_string()) })
    }

    fn poll_logs(&self, now: Duration) -> Vec<telemetry::Event> {
        self.tail.lock().map(|mut tail| tail.poll(now)).unwrap_or_default()
    }

    fn observing(&self) -> Option<&dyn Observing> {
        Some(&self.observers)
    }

    fn run_id(&self) -> [u8; 16] {
        run_id(&self.random)
    }

    fn now(&self) -> Now {
        (self.clock)()
    }

    fn cancelled(&self) -> bool {
        // Without the worker links are not what they were, and without the warden nobody undoes after us.
        self.cancel.is_cancelled() || !self.worker.is_running() || !self.warden.is_running() || self.freeze().is_some()
    }

    fn why_cancelled(&self) -> String {
        if let Some(freeze) = self.freeze() {
            return format!(
                "stopped before everything was known: the freeze `{}` has begun",
                freeze.name
            );
        }
        let why = if !self.warden.is_running() {
            "the warden died, and nobody would have undone after us"
        } else if !self.worker.is_running() {
            "the worker died, and with it what it held"
        } else {
            "by a person, a signal or the kill switch"
        };
        format!("stopped before everything was known: {why}")
    }
}
