//! The TCP proxy: one thread, one epoll, every socket registered once and edge-triggered.
//!
//! What no toxic touches goes from socket to socket through a pipe (splice) when there is much of it, and through
//! one shared buffer when there is little. What a toxic touches is read into a queue, and a [`Chain`] says when how
//! much of it may go. Every queue is bounded: when it is full, its sender is not read from.
//!
//! Start reading at [`Proxy`], then [`Engine::run`]; `connection_linux` is one connection.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use super::connection_linux::{Connection, Io, Side, Step};
use super::control_linux::{Aim, Desk, Handle};
use super::toxic::{Applied, Direction, Route, Stats, Upstream};

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
/// Events taken from the system at once.
const EVENTS_MAX: usize = 256;
const MS: u64 = 1_000_000;

const WAKE: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// A running proxy. Dropping it closes its socket and every connection at once.
pub struct Proxy(Handle);

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
        let work = |desk| Engine::new(listener, desk).map(|engine| || engine.run());
        Handle::start(address, upstream, work).map(Proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Puts these toxics in place of those before, on live and on new connections, before it returns.
    pub fn set(&self, toxics: Vec<Applied>) {
        self.0.set(toxics);
    }

    /// The toxics in force; those whose time is over are not among them.
    pub fn toxics(&self) -> Vec<Applied> {
        self.0.toxics()
    }

    /// Leads new connections to another upstream and closes those that are open; the toxics stay.
    pub fn set_upstream(&self, upstream: Upstream) {
        self.0.set_upstream(upstream);
    }

    /// Leads new connections that ask for a server name in TLS where the first route for that name says, and all
    /// others to the upstream. With routes the upstream is only connected to once the client has said something; one that says
    /// nothing for five seconds is reset.
    pub fn set_routes(&self, routes: Vec<Route>) {
        self.0.set_routes(routes);
    }

    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Stops accepting and closes every connection. It returns within milliseconds; the second call does nothing.
    pub fn stop(&self) {
        self.0.stop();
    }
}

/// The thread's state.
struct Engine {
    io: Io,
    desk: Desk,
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
    aim: Aim,
    /// Connections with work left for the next turn.
    again: VecDeque<u64>,
}

impl Engine {
    fn new(listener: TcpListener, desk: Desk) -> std::io::Result<Engine> {
        listener.set_nonblocking(true)?;
        // What is accepted inherits it.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&listener, true);
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &desk.shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        Ok(Engine {
            io: Io::new(poll),
            desk,
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
            aim: Aim::default(),
            again: VecDeque::new(),
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

    fn timeout(&mut self) -> Option<Timespec> {
        if !self.again.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let now = self.now();
        let timer = self
            .timers
            .peek()
            .map(|Reverse((at, _))| now + self.aim.sleep(*at, now));
        let sweep = (self.limited > 0).then(|| self.swept_at + SWEEP_MS * MS);
        let toxic = self.desk.expiry();
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
        let news = self.desk.news();
        if news.stop {
            return false;
        }
        if news.upstream {
            self.close_all();
        }
        if news.toxics {
            self.apply(now);
            self.desk.done();
        }
        for (key, addresses) in news.resolved {
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
                let stages = self.desk.stages(connection.number, direction);
                connection.shape(direction, &stages, now);
            }
            let key = connection.key;
            self.connections[index] = Some(connection);
            self.turn(key, now);
        }
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
        if let Some(name) = connection.asks_for(&mut self.io, &self.desk.routes) {
            let route = self.desk.routes.iter().find(|route| route.is_for(&name));
            let upstream = route.map_or(&self.desk.upstream, |route| &route.upstream).clone();
            if !connect(&mut self.io, &mut self.desk, connection, upstream) {
                return self.refuse(index);
            }
        }
        let was_limited = connection.deadline.is_some();
        let step = connection.turn(&mut self.io, &self.desk.shared.counters, now);
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
            self.desk
                .shared
                .counters
                .open
                .store(self.open as u64, Ordering::Relaxed);
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
        if self.desk.expire(Instant::now()) {
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
            if self.open >= CONNECTIONS_MAX || !self.io.has_spare(&self.desk.upstream) {
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
        let number = self.desk.shared.counters.total.fetch_add(1, Ordering::Relaxed);
        self.open += 1;
        self.desk
            .shared
            .counters
            .open
            .store(self.open as u64, Ordering::Relaxed);
        let mut connection = Box::new(Connection::new(key, number, client, now + CONNECT_MS_MAX * MS));
        if self.desk.is_toxic() {
            for direction in [Direction::Up, Direction::Down] {
                let stages = self.desk.stages(number, direction);
                connection.shape(direction, &stages, now);
            }
        }
        self.limited += 1;
        let begun = self.io.watch(&connection.client, key)
            && (!self.desk.routes.is_empty() || {
                let upstream = self.desk.upstream.clone();
                connect(&mut self.io, &mut self.desk, &mut connection, upstream)
            });
        self.connections[index as usize] = Some(connection);
        if !begun {
            self.refuse(index as usize);
        } else if self.desk.is_toxic() {
            // A toxic may reset it before anything is connected.
            self.turn(key, now);
        }
    }

    /// The upstream can't be reached.
    fn refuse(&mut self, index: usize) {
        if let Some(connection) = &self.connections[index] {
            connection.reset();
        }
        self.remove(index);
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
            self.refuse(index);
        }
    }

    fn close_all(&mut self) {
        for index in 0..self.connections.len() {
            self.remove(index);
        }
        self.io.forget_spare();
    }

    fn end(mut self) {
        self.close_all();
        self.desk.leave();
    }
}

fn place(key: u64) -> usize {
    ((key & 0xffff_ffff) >> 1) as usize
}

/// Begins to connect; false when that can't even begin.
fn connect(io: &mut Io, desk: &mut Desk, connection: &mut Connection, upstream: Upstream) -> bool {
    connection.routed = true;
    match upstream {
        Upstream::Address(address) => connection.connect(io, vec![address]),
        Upstream::Name(name) => desk.resolve(connection.key, &name),
    }
}
