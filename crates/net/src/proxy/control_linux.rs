//! What the handle of a proxy and its thread say to each other, and which toxics hold for whom.
//!
//! Start reading at [`Handle`].

use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;

use super::toxic::{Applied, Direction, Route, Stats, Toxic, Upstream};
use crate::Sequence;

/// How long a change waits for the thread, in milliseconds.
const APPLY_MS_MAX: u64 = 1_000;
/// The stack of a thread, in bytes.
const STACK_BYTES: usize = 128 << 10;
/// How long before a moment a thread stays awake, at most and as a part of the wait.
const AWAKE_NANOS_MAX: u64 = 200_000;
const AWAKE_PART: u64 = 25;
/// Names waiting to be resolved; what is beyond is as good as refused.
const RESOLUTIONS_MAX: usize = 1_024;

/// A running proxy: its thread, and what it was told.
pub(super) struct Handle {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the thread both see.
pub(super) struct Shared {
    wanted: Mutex<Wanted>,
    applied: Condvar,
    pub(super) wake: OwnedFd,
    pub(super) counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) total: AtomicU64,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
}

/// What the handle wants, and what the thread has done of it.
pub(super) struct Wanted {
    pub(super) upstream: Upstream,
    pub(super) routes: Vec<Route>,
    /// How often the upstream was changed.
    upstreams: u64,
    toxics: Vec<Set>,
    changes: u64,
    seen: u64,
    stop: bool,
    resolved: Vec<(u64, Vec<SocketAddr>)>,
}

/// A toxic that was set.
#[derive(Clone)]
struct Set {
    applied: Applied,
    /// The same for as long as the name stays.
    id: u64,
    /// When it removes itself.
    until: Option<Instant>,
}

/// What became of what the handle wanted.
#[derive(Default)]
pub(super) struct News {
    pub(super) stop: bool,
    /// The toxics are others.
    pub(super) toxics: bool,
    /// It leads elsewhere: what is open is to be closed.
    pub(super) upstream: bool,
    /// Names that were asked for, by the number they were asked with.
    pub(super) resolved: Vec<(u64, Vec<SocketAddr>)>,
}

/// The thread's end: the state it works with, and its way back.
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    pub(super) upstream: Upstream,
    pub(super) routes: Vec<Route>,
    upstreams: u64,
    changes: u64,
    toxics: Vec<Set>,
    resolver: Option<SyncSender<(u64, String)>>,
}

impl Handle {
    /// Starts the thread, which works at the desk that `work` is given.
    ///
    /// # Errors
    /// When the process may open no more files, or start no more threads.
    pub(super) fn start<W: FnOnce() + Send + 'static>(
        address: SocketAddr,
        upstream: Upstream,
        work: impl FnOnce(Desk) -> std::io::Result<W>,
    ) -> std::io::Result<Handle> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            wanted: Mutex::new(Wanted {
                upstream: upstream.clone(),
                routes: Vec::new(),
                upstreams: 0,
                toxics: Vec::new(),
                changes: 0,
                seen: 0,
                stop: false,
                resolved: Vec::new(),
            }),
            applied: Condvar::new(),
            wake,
            counters: Counters::default(),
        });
        let work = work(Desk {
            shared: shared.clone(),
            upstream,
            routes: Vec::new(),
            upstreams: 0,
            changes: 0,
            toxics: Vec::new(),
            resolver: None,
        })?;
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(work)?;
        Ok(Handle {
            address,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn set(&self, toxics: Vec<Applied>) {
        self.change(|wanted| {
            let mut old = std::mem::take(&mut wanted.toxics);
            let now = Instant::now();
            for applied in toxics {
                let before = old.iter().position(|set| set.applied.name == applied.name);
                let before = before.map(|place| old.swap_remove(place));
                let (id, until) = match before {
                    Some(before) if before.applied == applied => (before.id, before.until),
                    before => {
                        let new = wanted.changes << 16 | wanted.toxics.len() as u64;
                        let until = applied.time_to_live.and_then(|time| now.checked_add(time));
                        (before.map_or(new, |set| set.id), until)
                    }
                };
                wanted.toxics.push(Set { applied, id, until });
            }
        });
    }

    pub(super) fn toxics(&self) -> Vec<Applied> {
        let now = Instant::now();
        let wanted = self.shared.lock();
        let live = wanted.toxics.iter().filter(|set| set.is_live(now));
        live.map(|set| set.applied.clone()).collect()
    }

    pub(super) fn set_upstream(&self, upstream: Upstream) {
        self.change(|wanted| {
            wanted.upstream = upstream;
            wanted.upstreams += 1;
        });
    }

    pub(super) fn set_routes(&self, routes: Vec<Route>) {
        self.change(|wanted| wanted.routes = routes);
    }

    pub(super) fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            connections_open: counters.open.load(Ordering::Relaxed),
            connections_total: counters.total.load(Ordering::Relaxed),
            bytes_up: counters.up.load(Ordering::Relaxed),
            bytes_down: counters.down.load(Ordering::Relaxed),
        }
    }

    pub(super) fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.shared.lock().stop = true;
            self.shared.wake();
            // It panicked, or it ended: either way its sockets are closed.
            let _ = thread.join();
        }
    }

    /// Says what is wanted and waits until the thread has done it.
    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        let mut wanted = self.shared.lock();
        change(&mut wanted);
        wanted.changes += 1;
        let number = wanted.changes;
        self.shared.wake();
        let time = Duration::from_millis(APPLY_MS_MAX);
        let waiting = |wanted: &mut Wanted| wanted.seen < number && !wanted.stop;
        let _ = self.shared.applied.wait_timeout_while(wanted, time, waiting);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can only be refused when it is full, and then the thread will wake anyway.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Set {
    fn is_live(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Desk {
    /// Takes over what the handle wants. [`Desk::done`] is to follow once that is in force.
    pub(super) fn news(&mut self) -> News {
        let _ = rustix::io::read(&self.shared.wake, &mut [0u8; 8]);
        let mut wanted = self.shared.lock();
        let mut news = News {
            stop: wanted.stop,
            toxics: wanted.changes > wanted.seen,
            upstream: self.upstreams != wanted.upstreams,
            resolved: std::mem::take(&mut wanted.resolved),
        };
        news.upstream &= !news.stop;
        if news.toxics {
            self.toxics = wanted.toxics.clone();
            self.upstream = wanted.upstream.clone();
            self.routes = wanted.routes.clone();
            self.upstreams = wanted.upstreams;
            self.changes = wanted.changes;
        }
        drop(wanted);
        news
    }

    /// What [`Desk::news`] told is in force.
    pub(super) fn done(&self) {
        self.shared.lock().seen = self.changes;
        self.shared.applied.notify_all();
    }

    /// The thread ends: nobody is to wait for it.
    pub(super) fn leave(&self) {
        self.shared.lock().stop = true;
        self.shared.applied.notify_all();
    }

    /// Whether there is a toxic at all.
    pub(super) fn is_toxic(&self) -> bool {
        !self.toxics.is_empty()
    }

    /// When the next toxic removes itself.
    pub(super) fn expiry(&self) -> Option<Instant> {
        self.toxics.iter().filter_map(|set| set.until).min()
    }

    /// Forgets the toxics whose time is over; whether there were any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let before = self.toxics.len();
        self.toxics.retain(|set| set.is_live(now));
        self.toxics.len() < before
    }

    /// The toxics that hold for one direction of one connection: identity, toxic and a seed.
    pub(super) fn stages(&self, number: u64, direction: Direction) -> Vec<(u64, Toxic, u64)> {
        let here = self.toxics.iter().filter(|set| set.applied.direction == direction);
        here.filter_map(|set| {
            let mut draws = Sequence(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash(&set.applied.name));
            let drawn = (draws.draw() >> 11) as f64 / (1u64 << 53) as f64;
            (drawn < set.applied.toxicity).then(|| (set.id, set.applied.toxic, draws.draw()))
        })
        .collect()
    }

    /// Asks for the addresses of a name, in a thread, because the system makes its caller wait; they come with the
    /// news. False when too many are waiting already.
    pub(super) fn resolve(&mut self, key: u64, name: &str) -> bool {
        if self.resolver.is_none() {
            let (ask, asked) = sync_channel::<(u64, String)>(RESOLUTIONS_MAX);
            let shared = Arc::downgrade(&self.shared);
            let work = move || {
                for (key, name) in asked {
                    let addresses = name.to_socket_addrs().map(Iterator::collect).unwrap_or_default();
                    let Some(shared) = shared.upgrade() else { return };
                    shared.lock().resolved.push((key, addresses));
                    shared.wake();
                }
            };
            let thread = std::thread::Builder::new()
                .name("proxy-names".to_owned())
                .stack_size(STACK_BYTES);
            if thread.spawn(work).is_err() {
                return false;
            }
            self.resolver = Some(ask);
        }
        let ask = (key, name.to_owned());
        self.resolver
            .as_ref()
            .is_some_and(|resolver| resolver.try_send(ask).is_ok())
    }
}

/// A thread that sleeps until a moment wakes some 50 to 200 us after it. This makes it wake before, and stay awake
/// until then: for as long as a wake-up may be late, but never for more than a twenty-fifth of the time it waited.
#[derive(Default)]
pub(super) struct Aim {
    target: u64,
    lead: u64,
}

impl Aim {
    /// How long to sleep before this moment, in nanoseconds; 0 to look again at once.
    pub(super) fn sleep(&mut self, target: u64, now: u64) -> u64 {
        let left = target.saturating_sub(now);
        if self.target != target {
            self.target = target;
            self.lead = (left / AWAKE_PART).min(AWAKE_NANOS_MAX);
        }
        left.saturating_sub(self.lead)
    }
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
