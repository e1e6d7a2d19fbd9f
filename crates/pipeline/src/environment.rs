//! The local environment: services as processes on loopback, a broker for their credentials, a fault proxy on every
//! link between them.
//!
//! Everything in it dies with the release: services and worker are tied to this process by the kernel, and the warden
//! clears what a kill leaves in files. Nothing here listens beyond loopback.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use credentials::{Accessor, Broker, RoleSpec, Secret};
use evidence::{Digest, Storage};
use host::process::{Child, Command, Sink, Wanted};
use net::http::{self, Limits, Request, Response, Server, ServerLimits};
use telemetry::LogTail;

use crate::Error;
use crate::config::Service;
use crate::run::{Clock, Run};

/// How long a service may take until it is ready.
const READY_MS_MAX: u64 = 30_000;
/// How often a service that isn't ready is asked again.
const READY_POLL_MS: u64 = 10;
const ANSWER: Limits = Limits {
    timeout_ms: 10_000,
    body_bytes_max: 4 << 20,
};

/// A running environment.
pub struct Environment {
    pub services: BTreeMap<String, Running>,
    pub broker: Arc<Broker>,
    broker_server: Server,
    pub worker: chaos::process::Worker,
    pub warden: chaos::process::Warden,
    links: BTreeMap<String, SocketAddr>,
    identities: BTreeMap<String, PathBuf>,
    pub tail: Mutex<LogTail>,
    tokens: Mutex<BTreeMap<String, (Secret, Accessor)>>,
    clock: Clock,
    hide: Vec<PathBuf>,
    scratch: PathBuf,
}

/// A service that runs.
pub struct Running {
    child: Mutex<Child>,
    pub address: SocketAddr,
    pub log: PathBuf,
    /// Name of the artifact it runs, when its command starts with one.
    pub artifact: Option<String>,
}

impl Running {
    /// Its process: another one after a restart.
    pub fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Environment {
    /// Starts broker, worker, warden and every service, in the order their `after` asks for.
    pub fn start(run: &Run) -> Result<Environment, Error> {
        let config = &run.loaded.config;
        let local = config
            .environment
            .as_ref()
            .map(|environment| &environment.local)
            .ok_or_else(|| {
                Error::usage(
                    "`[environment.local.services]` is missing",
                    "say in proofmark.toml how to start the services",
                )
            })?;
        let order = start_order(&local.services)?;
        let mut ports = BTreeMap::new();
        for name in &order {
            ports.insert(name.clone(), listener()?);
        }
        let addresses: BTreeMap<String, SocketAddr> = ports
            .iter()
            .map(|(name, listener)| Ok((name.clone(), address(listener)?)))
            .collect::<Result<_, Error>>()?;

        let _runtime = run.runtime.enter();
        let broker = Arc::new(open_broker(run)?);
        let broker_server = serve_broker(Arc::clone(&broker), Arc::clone(&run.clock))?;
        let identities = deliver(&broker, config.broker.roles.keys(), &run.scratch)?;
        let (links, proxied) = links(&local.services, &addresses)?;
        let worker = run
            .runtime
            .block_on(async { chaos::process::Worker::spawn(&run.program, proxied) })
            .map_err(|error| Error::failed("start the worker", error))?;
        let api = crate::chaos::stop_api(&run.store.path, &run.loaded.chaos)?;
        let warden = chaos::process::Warden::serving(&run.program, &run.store.path.join("undo"), &worker, api)
            .map_err(|error| Error::failed("start the warden", error))?;
        let logs = run.scratch.join("logs");
        fs::create_dir_all(&logs).map_err(|error| Error::io("create", &logs, &error))?;
        let sources = order
            .iter()
            .map(|name| (name.clone(), logs.join(format!("{name}.log"))))
            .collect();
        let mut environment = Environment {
            services: BTreeMap::new(),
            broker,
            broker_server,
            worker,
            warden,
            links,
            identities,
            tail: Mutex::new(LogTail::new(sources)),
            tokens: Mutex::new(BTreeMap::new()),
            clock: Arc::clone(&run.clock),
            hide: hidden_from_services(run),
            scratch: run.scratch.clone(),
        };
        // The ports are free again only now, so that nobody else on this machine was given them meanwhile.
        drop(ports);
        for name in &order {
            let running =
                environment.start_service(run, name, &local.services[name], addresses[name], &addresses, None)?;
            environment.services.insert(name.clone(), running);
        }
        Ok(environment)
    }

    /// Starts another version of a service beside the one that runs, on a port of its own.
    pub fn start_beside(&self, run: &Run, name: &str, digest: &Digest) -> Result<Running, Error> {
        let local = run
            .loaded
            .config
            .environment
            .as_ref()
            .map(|environment| &environment.local);
        let spec = local.and_then(|local| local.services.get(name)).ok_or_else(|| {
            Error::usage(
                format!("service `{name}` is not configured"),
                "name a service of `[environment.local.services]`",
            )
        })?;
        let own = address(&listener()?)?;
        let mut addresses: BTreeMap<String, SocketAddr> = self
            .services
            .iter()
            .map(|(name, running)| (name.clone(), running.address))
            .collect();
        addresses.insert(name.to_owned(), own);
        self.start_service(run, name, spec, own, &addresses, Some(digest))
    }

    /// Ends a service and starts the same bytes again on the same port; the answer says what runs now.
    pub fn restart(&self, run: &Run, name: &str) -> Result<String, Error> {
        let unknown = || Error::usage(format!("there is no service `{name}`"), "name one that runs");
        let running = self.services.get(name).ok_or_else(unknown)?;
        let local = run
            .loaded
            .config
            .environment
            .as_ref()
            .map(|environment| &environment.local);
        let spec = local.and_then(|local| local.services.get(name)).ok_or_else(unknown)?;
        let addresses = self
            .services
            .iter()
            .map(|(name, running)| (name.clone(), running.address));
        let addresses = addresses.collect();
        let mut child = running.child();
        child.kill();
        let again = self.start_service(run, name, spec, running.address, &addresses, None)?;
        *child = again.child.into_inner().unwrap_or_else(PoisonError::into_inner);
        let digest = child
            .executable_digest()
            .map_err(|error| Error::failed("read what runs", error))?;
        Ok(format!(
            "service `{name}` restarted and ready; it runs sha256:{digest}, read back"
        ))
    }

    fn start_service(
        &self,
        run: &Run,
        name: &str,
        spec: &Service,
        own: SocketAddr,
        addresses: &BTreeMap<String, SocketAddr>,
        other_version: Option<&Digest>,
    ) -> Result<Running, Error> {
        let artifact = main_artifact(spec);
        let mut refused = None;
        let scratch = self.scratch.join("services").join(name);
        fs::create_dir_all(&scratch).map_err(|error| Error::io("create", &scratch, &error))?;
        let built = run.artifacts();
        let mut fill = |key: &str| -> Option<String> {
            let (kind, of) = key.split_once('.').unwrap_or((key, ""));
            match kind {
                "tree" => Some(run.root.display().to_string()),
                "scratch" => Some(scratch.display().to_string()),
                "broker" => Some(self.broker_server.address().to_string()),
                "port" => Some(addresses.get(of)?.port().to_string()),
                "link" => Some(self.links.get(&format!("{name}-{of}"))?.to_string()),
                "identity" => Some(self.identities.get(of)?.display().to_string()),
                "artifact" => {
                    let digest = match other_version {
                        Some(digest) if artifact.as_deref() == Some(of) => *digest,
                        _ => built.iter().find(|built| built.name == of)?.digest,
                    };
                    match run.materialise(of, &digest) {
                        Ok(path) => Some(path.display().to_string()),
                        Err(error) => {
                            refused = Some(error);
                            None
                        }
                    }
                }
                _ => None,
            }
        };
        let words: Result<Vec<String>, String> = spec.command.iter().map(|word| expand(word, &mut fill)).collect();
        let words = words.map_err(|key| {
            let what = format!("service `{name}`: `{{{key}}}` can't be filled in");
            refused.unwrap_or_else(|| Error::usage(what, "see `proofmark explain stage/integration`"))
        })?;
        let (program, args) = words
            .split_first()
            .ok_or_else(|| Error::usage(format!("service `{name}` has an empty command"), "give a program"))?;
        let suffix = if other_version.is_some() { "-old" } else { "" };
        let log = self.scratch.join("logs").join(format!("{name}{suffix}.log"));
        let child = host::process::spawn(Command {
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            cwd: run.root.clone(),
            env: BTreeMap::from([("TMPDIR".into(), scratch.clone().into())]),
            stdout: Sink::File(log.clone()),
            stderr: Sink::File(log.with_extension("err")),
            hide: self.hidden_from(spec),
            writable: Some(vec![scratch]),
            isolation: Wanted::BestEffort,
            observe: false,
            timeout: None,
        })
        .map_err(|error| {
            Error::usage(
                format!("service `{name}` can't be started: {error}"),
                "is its program built?",
            )
        })?;
        let running = Running {
            child: Mutex::new(child),
            address: own,
            log,
            artifact,
        };
        self.wait_ready(run, name, spec, &running)?;
        Ok(running)
    }

    /// The store, the keys, what other services said, and every identity but those its command names.
    fn hidden_from(&self, spec: &Service) -> Vec<PathBuf> {
        let foreign = self.identities.iter().filter(|(role, _)| {
            let named = format!("{{identity.{role}}}");
            !spec.command.iter().any(|word| word.contains(&named))
        });
        let foreign = foreign.filter_map(|(_, path)| path.parent().map(Path::to_owned));
        self.hide.iter().cloned().chain(foreign).collect()
    }

    /// Asks until the service answers 200: evidence, not sleep.
    fn wait_ready(&self, run: &Run, name: &str, spec: &Service, running: &Running) -> Result<(), Error> {
        let begun = Instant::now();
        let limits = Limits {
            timeout_ms: 1_000,
            ..ANSWER
        };
        loop {
            if run.cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            let answer = run
                .runtime
                .block_on(http::send(running.address, Request::get(&spec.ready), &limits));
            let answered = match answer {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => format!("GET {} answers {}", spec.ready, answer.status),
                Err(error) => format!("GET {}: {error}", spec.ready),
            };
            if !running.child().is_running() || begun.elapsed() > Duration::from_millis(READY_MS_MAX) {
                let said = fs::read_to_string(running.log.with_extension("err")).unwrap_or_default();
                let mut last: Vec<&str> = said.lines().rev().take(5).collect();
                last.insert(0, &answered);
                return Err(Error::usage(
                    format!(
                        "service `{name}` is not ready: {}",
                        last.into_iter().rev().collect::<Vec<_>>().join(" · ")
                    ),
                    format!(
                        "it must answer 200 to GET {} within {} s",
                        spec.ready,
                        READY_MS_MAX / 1000
                    ),
                ));
            }
            std::thread::sleep(Duration::from_millis(READY_POLL_MS));
        }
    }

    /// A token for a role that tests act as; leased once, and again when it was revoked or ran out.
    pub fn token(&self, role: &str, policies: &[String]) -> Result<Secret, Error> {
        let now = (self.clock)();
        let policy = policies.first().ok_or_else(|| {
            Error::usage(
                format!("broker role `{role}` may lease nothing"),
                "give it `policies` in proofmark.toml",
            )
        })?;
        let mut tokens = self
            .tokens
            .lock()
            .map_err(|_| Error::failed("lease a token", "an earlier one panicked"))?;
        if let Some((secret, accessor)) = tokens.get(role)
            && self.broker.active(role, policy, now).contains(accessor)
        {
            return Ok(secret.clone());
        }
        let leased = self
            .broker
            .lease(role, policy, now)
            .map_err(|error| Error::failed("lease a token", error))?;
        tokens.insert(role.to_owned(), leased.clone());
        Ok(leased.0)
    }

    /// Whether it may be attacked now: the worker carries the links, and the warden stands. A worker that died is
    /// started again on the same sockets, without any fault; without a warden nothing is injected.
    pub fn ready_to_attack(&self) -> Result<(), Error> {
        if !self.worker.is_running() {
            self.worker
                .respawn()
                .map_err(|error| Error::failed("start the worker again", error))?;
        }
        if !self.warden.is_running() {
            return Err(Error::usage(
                "the warden is gone: nothing would undo a fault if this process died",
                "start the release again; it resumes at this stage",
            ));
        }
        Ok(())
    }

    /// Stops every service, takes every lease back and lets the warden go.
    pub fn stop(mut self, runtime: &tokio::runtime::Runtime) {
        for (_, running) in std::mem::take(&mut self.services) {
            drop(running);
        }
        self.broker.revoke_all((self.clock)());
        runtime.block_on(self.broker_server.stop());
    }
}

/// Services in an order in which each comes after what it asks for.
fn start_order(services: &BTreeMap<String, Service>) -> Result<Vec<String>, Error> {
    let mut order: Vec<String> = Vec::new();
    while order.len() < services.len() {
        let next = services
            .iter()
            .find(|(name, spec)| !order.contains(name) && spec.after.iter().all(|before| order.contains(before)));
        match next {
            Some((name, _)) => order.push(name.clone()),
            None => {
                return Err(Error::usage(
                    "services wait for each other in a circle",
                    "look at their `after` in proofmark.toml",
                ));
            }
        }
    }
    Ok(order)
}

fn listener() -> Result<TcpListener, Error> {
    net::loopback_listener().map_err(|error| Error::failed("open a port on loopback", error))
}

fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener
        .local_addr()
        .map_err(|error| Error::failed("open a port on loopback", error))
}

fn open_broker(run: &Run) -> Result<Broker, Error> {
    let roles = run
        .loaded
        .config
        .broker
        .roles
        .iter()
        .map(|(name, role)| RoleSpec {
            name: name.clone(),
            policies: role.policies.clone(),
            ttl_seconds_max: role.ttl_seconds,
            lookup: role.lookup,
        })
        .collect();
    let storage: Arc<dyn Storage> = run.store.part("leases")?;
    let random = Arc::clone(&run.random);
    let (broker, _) = Broker::open(storage, roles, run.now(), Box::new(move || random()))
        .map_err(|error| Error::failed("start the credential broker", error))?;
    Ok(broker)
}

fn serve_broker(broker: Arc<Broker>, clock: Clock) -> Result<Server, Error> {
    let handler: http::Handler = Arc::new(move |request: Request, _| {
        let answer = broker.handle(
            &credentials::wire::Request {
                method: &request.method,
                path: &request.path,
                token: request.header("x-vault-token"),
                body: &request.body,
            },
            clock(),
        );
        Box::pin(async move {
            let mut response = Response::new(answer.status, "application/json", answer.body);
            response
                .headers
                .push(("cache-control".to_owned(), "no-store".to_owned()));
            response
        })
    });
    Ok(Server::start(listener()?, handler, ServerLimits::default()))
}

/// Writes each role's identity token where only its owner can read it.
fn deliver<'a>(
    broker: &Broker,
    roles: impl Iterator<Item = &'a String>,
    scratch: &Path,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    use std::io::Write;
    let folder = scratch.join("identities");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|e| Error::io("create", &folder, &e))?;
    roles
        .map(|role| {
            let delivery = broker
                .delivery(role)
                .map_err(|error| Error::failed("deliver an identity", error))?;
            // A folder each, so that all but one's own can be hidden.
            let own = folder.join(role);
            fs::create_dir(&own).map_err(|error| Error::io("create", &own, &error))?;
            let path = own.join(&delivery.file_name);
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(delivery.mode)
                .open(&path)
                .map_err(|error| Error::io("write", &path, &error))?;
            file.write_all(delivery.content.expose().as_bytes())
                .map_err(|error| Error::io("write", &path, &error))?;
            Ok((role.clone(), path))
        })
        .collect()
}

type Proxied = Vec<(String, TcpListener, SocketAddr)>;

/// A listener of ours in front of every link.
fn links(
    services: &BTreeMap<String, Service>,
    addresses: &BTreeMap<String, SocketAddr>,
) -> Result<(BTreeMap<String, SocketAddr>, Proxied), Error> {
    let mut known = BTreeMap::new();
    let mut proxied = Vec::new();
    for (name, spec) in services {
        for other in &spec.links {
            let listener = listener()?;
            let link = format!("{name}-{other}");
            known.insert(link.clone(), address(&listener)?);
            proxied.push((link, listener, addresses[other]));
        }
    }
    Ok((known, proxied))
}

/// The artifact a service runs: the one its command begins with.
fn main_artifact(spec: &Service) -> Option<String> {
    let first = spec.command.first()?;
    Some(first.strip_prefix("{artifact.")?.strip_suffix('}')?.to_owned())
}

/// Services see their own files below `run`, and nothing else of the store; never the keys.
fn hidden_from_services(run: &Run) -> Vec<PathBuf> {
    let parts = [
        "log",
        "envelopes",
        "blobs",
        "undo",
        "leases",
        "playbooks",
        "bundles",
        "run/steps",
        "run/logs",
    ];
    let store = parts.iter().map(|part| run.store.path.join(part));
    // What doesn't exist can't be hidden, and must not appear later either.
    let store: Vec<PathBuf> = store.filter(|path| fs::create_dir_all(path).is_ok()).collect();
    std::iter::once(run.home.clone()).chain(store).collect()
}

/// Fills in each `{key}`; a key that can't be filled in is the error.
fn expand(word: &str, fill: &mut dyn FnMut(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = word;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        let key = &rest[open + 1..open + close];
        out.push_str(&rest[..open]);
        out.push_str(&fill(key).ok_or_else(|| key.to_owned())?);
        rest = &rest[open + close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Sends one request to a service.
pub async fn ask(address: SocketAddr, request: Request) -> Result<(Response, Duration), String> {
    let timed = http::timed(address, request, &ANSWER).await;
    timed
        .response
        .map(|response| (response, timed.elapsed))
        .map_err(|error| error.to_string())
}
