//! Toxiproxy's HTTP API (version 2.12) over our own proxies, so that its clients work unmodified.
//!
//! Kept as it is there: routes, statuses, names, defaults, the order of checks and of listings, and the words of
//! every error but those about JSON. Left out: the field `Logger` that its listings show by accident. Better: what
//! ends its process (a slicer without a size, a negative rate, a huge jitter) is refused with 400; a refused update
//! leaves nothing of itself behind; everything is bounded. Added: the toxic `loss`, and for each toxic the attribute
//! `ttl_ms`, after which it removes itself.
//!
//! It deliberately knows no experiment: there is no permit and no journal here, as there is none in Toxiproxy. Whoever
//! reaches the API decides where this process listens and what it connects to, so it belongs on loopback; browsers are
//! refused, as they are there, because a web page could reach it otherwise.
//!
//! Start reading at [`Api`], then `wire.rs` for the routes and `toxics.rs` for what a toxic may be.

mod address;
mod body;
mod toxics;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use net::http::{Request, Response, Server, ServerLimits};
use net::proxy::{Proxy, Stats, Upstream};

use self::body::{NewToxic, ProxyFields, ToxicChange};
use self::toxics::Toxic;

/// Proxies in one set.
pub const PROXIES_MAX: usize = 1_024;
/// Toxics on one proxy.
pub const TOXICS_MAX: usize = 256;
/// Bytes of a name or an address.
pub const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// The addresses of a name to listen on.
pub type Names = fn(&str) -> io::Result<Vec<IpAddr>>;

/// A set of proxies and the API over it. Dropping it stops them all.
pub struct Api {
    proxies: Mutex<BTreeMap<String, Entry>>,
    names: Names,
}

impl Api {
    /// Without proxies. `names` is asked for names to listen on; names of upstreams are the proxies' business.
    pub fn new(names: Names) -> Api {
        Api {
            proxies: Mutex::default(),
            names,
        }
    }

    /// Answers one request. It may block for as long as the system takes to resolve a name to listen on.
    pub fn answer(&self, request: &Request) -> Response {
        wire::answer(self, request, Instant::now())
    }

    /// Creates the proxies of a configuration file, a JSON array as `POST /populate` takes it, and counts them.
    ///
    /// # Errors
    /// In the words of the API. Proxies before the one that failed are there.
    pub fn populate(&self, config: &[u8]) -> Result<usize, Refusal> {
        match self.replace(body::proxies(config)?) {
            (shown, None) => Ok(shown.len()),
            (_, Some(refusal)) => Err(refusal),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.proxies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self, now: Instant) -> Vec<Shown> {
        let mut proxies = self.lock();
        let entries = proxies.iter_mut();
        entries.map(|(name, entry)| entry.pruned(now).show(name)).collect()
    }

    fn show(&self, name: &str, now: Instant) -> Result<Shown, Refusal> {
        self.with(name, now, |entry| Ok(entry.show(name)))
    }

    /// Does something with one proxy, whose expired toxics are gone.
    fn with<T>(
        &self,
        name: &str,
        now: Instant,
        work: impl FnOnce(&mut Entry) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let mut proxies = self.lock();
        let entry = proxies.get_mut(name).ok_or(Refusal::ProxyNotFound)?;
        work(entry.pruned(now))
    }

    fn create(&self, fields: ProxyFields) -> Result<Shown, Refusal> {
        let (name, enabled) = (required(&fields.name, "name")?, fields.enabled.unwrap_or(true));
        let entry = Entry::new(&fields)?;
        let mut proxies = self.lock();
        if proxies.contains_key(&name) {
            return Err(Refusal::ProxyExists);
        }
        add(&mut proxies, name, entry, enabled, self.names)
    }

    /// Changes what `fields` name; an address that differs restarts the proxy and drops its connections. A name is
    /// ignored: a proxy can't be renamed.
    fn update(&self, name: &str, fields: &ProxyFields, now: Instant) -> Result<Shown, Refusal> {
        self.with(name, now, |entry| {
            let listen = fields.listen.as_ref().unwrap_or(&entry.listen).clone();
            let upstream = fields.upstream.as_ref().unwrap_or(&entry.upstream).clone();
            let enabled = fields.enabled.unwrap_or(entry.running.is_some());
            if entry.differs(&listen, &upstream, self.names)? {
                entry.stop();
                (entry.listen, entry.upstream) = (listen, upstream);
            }
            match (enabled, entry.running.is_some()) {
                (true, false) => entry.start(now, self.names)?,
                (false, true) => entry.stop(),
                _ => {}
            }
            Ok(entry.show(name))
        })
    }

    fn remove(&self, name: &str) -> Result<(), Refusal> {
        // The entry is dropped under the lock, so that its port is free before anyone can ask for it.
        let mut proxies = self.lock();
        proxies.remove(name).map(drop).ok_or(Refusal::ProxyNotFound)
    }

    /// Creates each proxy that isn't there and replaces each whose address differs, in turn. With an error in the
    /// fields none is touched; when one can't be started, those before it are there.
    fn replace(&self, all: Vec<ProxyFields>) -> (Vec<Shown>, Option<Refusal>) {
        let mut wanted = Vec::with_capacity(all.len());
        for (index, fields) in all.into_iter().enumerate() {
            let place = format!(" at proxy {}", index + 1);
            let checked = required(&fields.name, &format!("name{place}")).and_then(|name| {
                required(&fields.upstream, &format!("upstream{place}"))?;
                Ok((name, fields.enabled.unwrap_or(true), Entry::new(&fields)?))
            });
            match checked {
                Ok(checked) => wanted.push(checked),
                Err(refusal) => return (Vec::new(), Some(refusal)),
            }
        }
        let mut proxies = self.lock();
        let mut shown = Vec::with_capacity(wanted.len());
        for (name, enabled, entry) in wanted {
            match replace_one(&mut proxies, name, entry, enabled, self.names) {
                Ok(proxy) => {
                    let before = shown
                        .iter_mut()
                        .filter(|before: &&mut Shown| before.is_replaced_by(&proxy));
                    before.for_each(|before| before.enabled = false);
                    shown.push(proxy);
                }
                Err(refusal) => return (shown, Some(refusal)),
            }
        }
        (shown, None)
    }

    /// Starts every proxy and removes every toxic. One that can't be started doesn't keep the others from it.
    fn reset(&self, now: Instant) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        for entry in self.lock().values_mut() {
            entry.toxics.clear();
            entry.apply(now);
            if entry.running.is_none() {
                outcome = outcome.and(entry.start(now, self.names));
            }
        }
        outcome
    }

    fn add_toxic(&self, name: &str, wanted: NewToxic, now: Instant) -> Result<Toxic, Refusal> {
        self.with(name, now, |entry| {
            let toxic = Toxic::new(wanted, now, |name| entry.toxic(name).is_some())?;
            if entry.toxics.len() >= TOXICS_MAX {
                return Err(Refusal::Bound(format!("a proxy holds {TOXICS_MAX} toxics at most")));
            }
            entry.toxics.push(toxic.clone());
            entry.apply(now);
            Ok(toxic)
        })
    }

    fn update_toxic(&self, name: &str, toxic: &str, change: &[u8], now: Instant) -> Result<Toxic, Refusal> {
        self.with(name, now, |entry| {
            let place = entry.toxic(toxic).ok_or(Refusal::ToxicNotFound)?;
            let changed = entry.toxics[place].changed(ToxicChange::read(change)?, now)?;
            entry.toxics[place] = changed.clone();
            entry.apply(now);
            Ok(changed)
        })
    }

    fn remove_toxic(&self, name: &str, toxic: &str, now: Instant) -> Result<(), Refusal> {
        self.with(name, now, |entry| {
            let place = entry.toxic(toxic).ok_or(Refusal::ToxicNotFound)?;
            entry.toxics.remove(place);
            entry.apply(now);
            Ok(())
        })
    }
}

/// The system's own [`Names`].
///
/// # Errors
/// The name is unknown, or nobody answers.
pub fn system_names(host: &str) -> io::Result<Vec<IpAddr>> {
    Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
}

/// Serves the API at `listener`, on the runtime this is called in.
///
/// # Panics
/// Outside of a tokio runtime, or when the runtime can't watch one socket more.
pub fn serve(listener: TcpListener, api: Arc<Api>) -> Server {
    let handler: net::http::Handler = Arc::new(move |request, _| {
        let api = api.clone();
        Box::pin(async move {
            // An answer may wait for a proxy to stop and for a name to resolve.
            let answer = tokio::task::spawn_blocking(move || api.answer(&request)).await;
            answer.unwrap_or_else(|_| wire::refused(&Refusal::Failed("the answer failed; this is a bug".to_owned())))
        })
    });
    let limits = ServerLimits {
        body_bytes_max: BODY_BYTES_MAX,
        ..ServerLimits::default()
    };
    Server::start(listener, handler, limits)
}

/// Why a request is refused, in Toxiproxy's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("bad request body: {0}")]
    Body(String),
    #[error("missing required field: {0}")]
    Missing(String),
    #[error("proxy not found")]
    ProxyNotFound,
    #[error("proxy already exists")]
    ProxyExists,
    #[error("stream was invalid, can be either upstream or downstream")]
    Stream,
    #[error("invalid toxic type")]
    Type,
    #[error("toxic already exists")]
    ToxicExists,
    #[error("toxic not found")]
    ToxicNotFound,
    /// Beyond what we take. Toxiproxy takes it, and dies of it or has no use for it.
    #[error("{0}")]
    Bound(String),
    /// The system refused: the address is taken, say.
    #[error("{0}")]
    Failed(String),
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Body(_) | Refusal::Missing(_) | Refusal::Stream | Refusal::Type | Refusal::Bound(_) => 400,
            Refusal::ProxyNotFound | Refusal::ToxicNotFound => 404,
            Refusal::ProxyExists | Refusal::ToxicExists => 409,
            Refusal::Failed(_) => 500,
        }
    }
}

/// A proxy as it is shown.
#[derive(Debug, Clone)]
struct Shown {
    name: String,
    listen: String,
    upstream: String,
    enabled: bool,
    toxics: Vec<Toxic>,
    passed: Stats,
}

impl Shown {
    /// One name may stand twice in what is populated.
    fn is_replaced_by(&self, other: &Shown) -> bool {
        self.name == other.name && (self.listen != other.listen || self.upstream != other.upstream)
    }
}

/// A proxy of the set, whether it runs or not.
struct Entry {
    /// As it was asked for, until the proxy runs; then where it listens.
    listen: String,
    upstream: String,
    running: Option<Proxy>,
    /// In the order they were added.
    toxics: Vec<Toxic>,
    /// What passed before the proxy that runs now was started.
    passed: Stats,
}

impl Entry {
    fn new(fields: &ProxyFields) -> Result<Entry, Refusal> {
        Ok(Entry {
            listen: fields.listen.clone().unwrap_or_default(),
            upstream: required(&fields.upstream, "upstream")?,
            running: None,
            toxics: Vec::new(),
            passed: Stats::default(),
        })
    }

    fn show(&self, name: &str) -> Shown {
        let (up, down): (Vec<Toxic>, Vec<Toxic>) = self.toxics.iter().cloned().partition(Toxic::is_up);
        Shown {
            name: name.to_owned(),
            listen: self.listen.clone(),
            upstream: self.upstream.clone(),
            enabled: self.running.is_some(),
            toxics: up.into_iter().chain(down).collect(),
            passed: self.passed(),
        }
    }

    /// Where the toxic stands.
    fn toxic(&self, name: &str) -> Option<usize> {
        self.toxics.iter().position(|toxic| toxic.name == name)
    }

    /// Without the toxics whose time is over. The proxy has dropped them by itself.
    fn pruned(&mut self, now: Instant) -> &mut Self {
        let before = self.toxics.len();
        self.toxics.retain(|toxic| toxic.ends.is_none_or(|end| now < end));
        if self.toxics.len() < before {
            self.apply(now);
        }
        self
    }

    fn apply(&self, now: Instant) {
        if let Some(proxy) = &self.running {
            proxy.set(self.toxics.iter().filter_map(|toxic| toxic.applied(now)).collect());
        }
    }

    fn differs(&self, listen: &str, upstream: &str, names: Names) -> Result<bool, Refusal> {
        let listen = address::resolved(listen, names).map_err(Refusal::Failed)?;
        Ok(self.listen != listen || self.upstream != upstream)
    }

    fn start(&mut self, now: Instant, names: Names) -> Result<(), Refusal> {
        let listener = address::listen(&self.listen, names).map_err(Refusal::Failed)?;
        // One connection would be carried round and round until no descriptor is left.
        let local = listener
            .local_addr()
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        if address::leads_to(&self.upstream, local, names) {
            return Err(Refusal::Failed(format!(
                "upstream {} is the proxy's own listen address",
                self.upstream
            )));
        }
        let upstream = match self.upstream.strip_prefix(':') {
            Some(port) => Upstream::Name(format!("localhost:{port}")),
            None => Upstream::parse(&self.upstream),
        };
        // A set that has used up the process's files refuses one proxy more and goes on.
        let proxy = Proxy::try_start(listener, upstream).map_err(|error| Refusal::Failed(error.to_string()))?;
        self.listen = proxy.address().to_string();
        self.running = Some(proxy);
        self.apply(now);
        Ok(())
    }

    /// Frees the port and drops every connection.
    fn stop(&mut self) {
        if let Some(proxy) = &self.running {
            proxy.stop();
            // Only now nothing more is counted.
            self.passed = self.passed();
            self.running = None;
        }
    }

    fn passed(&self) -> Stats {
        let now = self.running.as_ref().map(Proxy::stats).unwrap_or_default();
        Stats {
            connections_open: now.connections_open,
            connections_total: self.passed.connections_total + now.connections_total,
            bytes_up: self.passed.bytes_up + now.bytes_up,
            bytes_down: self.passed.bytes_down + now.bytes_down,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn required(field: &Option<String>, what: &str) -> Result<String, Refusal> {
    let given = field.as_ref().filter(|text| !text.is_empty());
    given.cloned().ok_or_else(|| Refusal::Missing(what.to_owned()))
}

fn add(
    proxies: &mut BTreeMap<String, Entry>,
    name: String,
    mut entry: Entry,
    enabled: bool,
    names: Names,
) -> Result<Shown, Refusal> {
    if proxies.len() >= PROXIES_MAX && !proxies.contains_key(&name) {
        return Err(Refusal::Bound(format!("there are {PROXIES_MAX} proxies at most")));
    }
    if enabled {
        // A new proxy has no toxics, so no time matters to it.
        entry.start(Instant::now(), names)?;
    }
    let shown = entry.show(&name);
    proxies.insert(name, entry);
    Ok(shown)
}

fn replace_one(
    proxies: &mut BTreeMap<String, Entry>,
    name: String,
    entry: Entry,
    enabled: bool,
    names: Names,
) -> Result<Shown, Refusal> {
    if let Some(existing) = proxies.get_mut(&name) {
        if !existing.differs(&entry.listen, &entry.upstream, names)? {
            return Ok(existing.show(&name));
        }
        existing.stop();
    }
    add(proxies, name, entry, enabled, names)
}

#[cfg(test)]
mod tests;
