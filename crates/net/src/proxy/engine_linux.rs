//! The TCP proxy: one thread, one epoll, every socket registered once and edge-triggered.
//!
//! What no toxic touches goes from socket to socket through a pipe (splice) when there is much of it, and through
//! one shared buffer when there is little. What a toxic touches is read into a queue, and a [`Chain`] says when how
//! much of it may go. Every queue is bounded: when it is full, its sender is not read from.
//!
//! Start reading at [`Proxy`], then [`Engine::run`]; `connection_linux` is one connection.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection_linux::{Connection, Io, Side, Step};
use super::toxic::{Applied, Direction, Stats, Toxic, Upstream};
use crate::Sequence;

/// Connections open at once; further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 16_384;
/// How long the upstream may take to accept, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;
/// How long a connection that was closed by a toxic is still read from, so that what was sent arrives before the
/// end, in milliseconds.
pub(super) const LINGER_MS_MAX: u64 = 500;
/// While the process can open no more files nothing is accepted for so long, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 20;
/// How often it is looked whether a connection took too long to be made, in milliseconds.
const SWEEP_MS: u64 = 100;
/// Connections accepted before those that are open have their turn.
const ACCEPTS_MAX: usize = 64;
/// Names waiting to be resolved; a connection beyond is reset.
const RESOLUTIONS_MAX: usize = 1_024;
/// Events taken from the system at once.
const EVENTS_MAX: usize = 256;
/// How long [`Proxy::set`] waits for the thread, in milliseconds.
const APPLY_MS_MAX: u64 = 1_000;
/// The thread's stack, in bytes.
const STACK_BYTES: usize = 128 << 10;
const MS: u64 = 1_000_000;

const WAKE: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// A running proxy. Dropping it closes its socket and every connection at once.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handle and the thread both see.
struct Shared {
    wanted: Mutex<Wanted>,
    applied: Condvar,
    wake: OwnedFd,
    counters: Counters,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) open: AtomicU64,
    pub(super) total: AtomicU64,
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
}

/// What the handle wants, and what the thread has done of it.
struct Wanted {
    upstream: Upstream,
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

impl Proxy {
    /// Passes connections at `listener` on to `upstream`, in a thread of its own. A client whose upstream can't be
    /// reached is reset.
    ///
    /// # Panics
    /// When the process may open no more files, or start no more threads.
    pub fn start(listener: TcpListener, upstream: Upstream) -> Proxy {
        Proxy::try_start(listener, upstream).expect("the process may open a few files and start a thread more")
    }

    /// [`Proxy::start`], where running out of files or threads is no bug.
    ///
    /// # Errors
    /// When the process may open no more files, or start no more threads.
    pub fn try_start(listener: TcpListener, upstream: Upstream) -> std::io::Result<Proxy> {
        let address = listener.local_addr()?;
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            wanted: Mutex::new(Wanted {
                upstream,
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
        let engine = Engine::new(listener, shared.clone())?;
        let thread = std::thread::Builder::new()
            .name("proxy".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || engine.run())?;
        Ok(Proxy {
            address,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts these toxics in place of those before, on live and on new connections, before it returns.
    pub fn set(&self, toxics: Vec<Applied>) {
        self.change(|wanted| {
            let mut old = std::mem::take(&mut wanted.toxics);
            let now = Instant::now();
            for applied in toxics {
                let before = old.iter().position(|set| set.applied.name == applied.name);
                let before = before.map(|place| old.swap_remove(place));
                let (id, until) = match before {
                    Some(before) if before.applied == applied => (before.id, before.until),
                    before => {
                        let id = before.map_or(wanted.changes << 16 | wanted.toxics.len() as u64, |set| set.id);
                        let until = applied.time_to_live.and_then(|time| now.checked_add(time));
                        (id, until)
                    }
                };
                wanted.toxics.push(Set { applied, id, until });
            }
        });
    }

    /// The toxics in force; those whose time is over are not among them.
    pub fn toxics(&self) -> Vec<Applied> {
        let now = Instant::now();
        let wanted = self.shared.lock();
        let live = wanted.toxics.iter().filter(|set| set.is_live(now));
        live.map(|set| set.applied.clone()).collect()
    }

    /// Leads new connections to another upstream and closes those that are open; the toxics stay.
    pub fn set_upstream(&self, upstream: Upstream) {
        self.change(|wanted| {
            wanted.upstream = upstream;
            wanted.upstreams += 1;
        });
    }

    pub fn stats(&self) -> Stats {
        let counters = &self.shared.counters;
        Stats {
            connections_open: counters.open.load(Ordering::Relaxed),
            connections_total: counters.total.load(Ordering::Relaxed),
            bytes_up: counters.up.load(Ordering::Relaxed),
            bytes_down: counters.down.load(Ordering::Relaxed),
        }
    }

    /// Stops accepting and closes every connection. It returns within milliseconds; the second call does nothing.
    pub fn stop(&self) {
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

impl Drop for Proxy {
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

/// The thread's state.
struct Engine {
    io: Io,
    shared: Arc<Shared>,
    origin: Instant,
    listener: TcpListener,
    /// Nothing is accepted before that.
    paused_until: Option<u64>,
    connections: Vec<Option<Box<Connection>>>,
    /// Places in `connections` that are free.
    free: Vec<u32>,
    open: usize,
    /// Counts places, so that an event of a connection that is gone is known.
    generation: u32,
    /// Connections to be made or lingering, which have a time limit.
    limited: usize,
    swept_at: u64,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    /// Connections with work left for the next turn.
    again: VecDeque<u64>,
    upstream: Upstream,
    upstreams: u64,
    toxics: Vec<Set>,
    resolver: Option<std::sync::mpsc::SyncSender<(u64, String)>>,
}

impl Engine {
    fn new(listener: TcpListener, shared: Arc<Shared>) -> std::io::Result<Engine> {
        listener.set_nonblocking(true)?;
        // What is accepted inherits it.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&listener, true);
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let upstream = shared.lock().upstream.clone();
        Ok(Engine {
            io: Io::new(poll),
            shared,
            origin: Instant::now(),
            listener,
            paused_until: None,
            connections: Vec::new(),
            free: Vec::new(),
            open: 0,
            generation: 0,
            limited: 0,
            swept_at: 0,
            timers: BinaryHeap::new(),
            again: VecDeque::new(),
            upstream,
            upstreams: 0,
            toxics: Vec::new(),
            resolver: None,
        })
    }

    fn run(mut self) {
        // Timers of this thread fire when they are due, not up to 50 us later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(
                &self.io.poll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return self.end(),
            }
            let now = self.now();
            if events.iter().any(|event| event.data.u64() == WAKE) && !self.obey(now) {
                return self.end();
            }
            let mut accepts = false;
            for event in &events {
                match event.data.u64() {
                    WAKE => {}
                    LISTENER => accepts = true,
                    key => self.happened(key, event.flags, now),
                }
            }
            for _ in 0..self.again.len() {
                if let Some(key) = self.again.pop_front() {
                    self.turn(key, now);
                }
            }
            self.fire(now);
            if accepts {
                self.accept(now);
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn timeout(&self) -> Option<Timespec> {
        if !self.again.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let now = self.now();
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let sweep = (self.limited > 0).then(|| self.swept_at + SWEEP_MS * MS);
        let toxic = self.toxics.iter().filter_map(|set| set.until).min();
        let toxic = toxic.map(|until| until.saturating_duration_since(self.origin).as_nanos() as u64);
        let next = [timer, sweep, toxic, self.paused_until].into_iter().flatten().min()?;
        let nanos = next.saturating_sub(now);
        Some(Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        })
    }

    /// Does what the handle wants; false to end.
    fn obey(&mut self, now: u64) -> bool {
        let _ = rustix::io::read(&self.shared.wake, &mut [0u8; 8]);
        let shared = self.shared.clone();
        let mut wanted = shared.lock();
        if wanted.stop {
            return false;
        }
        let resolved = std::mem::take(&mut wanted.resolved);
        let changed = wanted.changes > wanted.seen;
        if changed {
            self.toxics = wanted.toxics.clone();
            self.upstream = wanted.upstream.clone();
            if self.upstreams != wanted.upstreams {
                self.upstreams = wanted.upstreams;
                self.close_all();
            }
            self.apply(now);
            wanted.seen = wanted.changes;
            shared.applied.notify_all();
        }
        drop(wanted);
        for (key, addresses) in resolved {
            self.resolved(key, addresses, now);
        }
        true
    }

    /// Gives every connection the toxics that hold now.
    fn apply(&mut self, now: u64) {
        for index in 0..self.connections.len() {
            let Some(mut connection) = self.connections[index].take() else {
                continue;
            };
            for direction in [Direction::Up, Direction::Down] {
                let stages = self.stages(connection.number, direction);
                connection.shape(direction, &stages, now);
            }
            let key = connection.key;
            self.connections[index] = Some(connection);
            self.turn(key, now);
        }
    }

    /// The toxics that hold for one direction of one connection.
    fn stages(&self, number: u64, direction: Direction) -> Vec<(u64, Toxic, u64)> {
        let here = self.toxics.iter().filter(|set| set.applied.direction == direction);
        here.filter_map(|set| {
            let mut draws = Sequence(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash(&set.applied.name));
            let drawn = (draws.draw() >> 11) as f64 / (1u64 << 53) as f64;
            (drawn < set.applied.toxicity).then(|| (set.id, set.applied.toxic, draws.draw()))
        })
        .collect()
    }

    fn happened(&mut self, key: u64, flags: EventFlags, now: u64) {
        let index = place(key);
        if let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut)
            && connection.key == key & !1
        {
            let side = if key & 1 == 0 { Side::Client } else { Side::Upstream };
            connection.happened(side, flags);
            self.turn(key & !1, now);
        }
    }

    /// Lets a connection do what it can.
    fn turn(&mut self, key: u64, now: u64) {
        let index = place(key);
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if connection.key != key {
            return;
        }
        let was_limited = connection.deadline.is_some();
        let step = connection.turn(&mut self.io, &self.shared.counters, now);
        let is_limited = connection.deadline.is_some();
        self.limited = self.limited + usize::from(is_limited) - usize::from(was_limited);
        match step {
            Step::Wait(None) => {}
            Step::Wait(Some(at)) => {
                if connection.timer.is_none_or(|timer| timer <= now || at < timer) {
                    connection.timer = Some(at);
                    self.timers.push(Reverse((at, key)));
                }
            }
            Step::Again => self.again.push_back(key),
            Step::Gone => self.remove(index),
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(connection) = self.connections[index].take() {
            self.limited -= usize::from(connection.deadline.is_some());
            self.io.release(*connection);
            self.free.push(index as u32);
            self.open -= 1;
            self.shared.counters.open.store(self.open as u64, Ordering::Relaxed);
            if self.open == 0 {
                self.timers = BinaryHeap::new();
            }
        }
    }

    /// Timers, time limits, and toxics that remove themselves.
    fn fire(&mut self, now: u64) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.turn(key, now);
        }
        if self.limited > 0 && now >= self.swept_at + SWEEP_MS * MS {
            self.swept_at = now;
            for index in 0..self.connections.len() {
                let late = self.connections[index]
                    .as_mut()
                    .is_some_and(|connection| connection.deadline.is_some_and(|deadline| deadline <= now));
                if late {
                    if let Some(connection) = &self.connections[index] {
                        connection.give_up();
                    }
                    self.remove(index);
                }
            }
        }
        let moment = Instant::now();
        if self.toxics.iter().any(|set| !set.is_live(moment)) {
            self.toxics.retain(|set| set.is_live(moment));
            self.apply(now);
        }
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.watch_listener(EventFlags::IN);
        }
    }

    fn watch_listener(&self, flags: EventFlags) {
        let _ = epoll::modify(&self.io.poll, &self.listener, EventData::new_u64(LISTENER), flags);
    }

    fn pause(&mut self, now: u64) {
        self.paused_until = Some(now + ACCEPT_PAUSE_MS * MS);
        self.watch_listener(EventFlags::empty());
    }

    fn accept(&mut self, now: u64) {
        for _ in 0..ACCEPTS_MAX {
            if self.open >= CONNECTIONS_MAX || !self.io.has_spare(&self.upstream) {
                return self.pause(now);
            }
            match rustix::net::accept_with(&self.listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(client) => self.adopt(client, now),
                Err(Errno::AGAIN) => return,
                // The peer is already gone.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                // The process is out of file descriptors, or of memory: not worth spinning for.
                Err(_) => return self.pause(now),
            }
        }
    }

    fn adopt(&mut self, client: OwnedFd, now: u64) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            (self.connections.len() - 1) as u32
        });
        self.generation = (self.generation + 1) & 0x7fff_ffff;
        let key = u64::from(self.generation) << 32 | u64::from(index) << 1;
        let number = self.shared.counters.total.fetch_add(1, Ordering::Relaxed);
        self.open += 1;
        self.shared.counters.open.store(self.open as u64, Ordering::Relaxed);
        let mut connection = Box::new(Connection::new(key, number, client, now + CONNECT_MS_MAX * MS));
        if !self.toxics.is_empty() {
            for direction in [Direction::Up, Direction::Down] {
                let stages = self.stages(number, direction);
                connection.shape(direction, &stages, now);
            }
        }
        self.limited += 1;
        let watched = self.io.watch(&connection.client, key);
        let begun = watched
            && match &self.upstream {
                Upstream::Address(address) => connection.connect(&mut self.io, vec![*address]),
                Upstream::Name(name) => {
                    let name = name.clone();
                    self.resolve(key, name)
                }
            };
        if !begun {
            connection.reset();
        }
        self.connections[index as usize] = Some(connection);
        if begun {
            // A toxic may reset it before anything is connected.
            if !self.toxics.is_empty() {
                self.turn(key, now);
            }
        } else {
            self.remove(index as usize);
        }
    }

    fn resolved(&mut self, key: u64, addresses: Vec<SocketAddr>, now: u64) {
        let index = place(key);
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else {
            return;
        };
        if connection.key != key {
            return;
        }
        if connection.connect(&mut self.io, addresses) {
            self.turn(key, now);
        } else {
            connection.reset();
            self.remove(index);
        }
    }

    /// Asks for the addresses of a name, in a thread, because the system makes its caller wait.
    fn resolve(&mut self, key: u64, name: String) -> bool {
        if self.resolver.is_none() {
            let (ask, asked) = std::sync::mpsc::sync_channel::<(u64, String)>(RESOLUTIONS_MAX);
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
        self.resolver
            .as_ref()
            .is_some_and(|resolver| resolver.try_send((key, name)).is_ok())
    }

    fn close_all(&mut self) {
        for index in 0..self.connections.len() {
            self.remove(index);
        }
        self.io.forget_spare();
    }

    fn end(mut self) {
        self.close_all();
        let mut wanted = self.shared.lock();
        wanted.stop = true;
        self.shared.applied.notify_all();
    }
}

fn place(key: u64) -> usize {
    ((key & 0xffff_ffff) >> 1) as usize
}

/// FNV-1a.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
