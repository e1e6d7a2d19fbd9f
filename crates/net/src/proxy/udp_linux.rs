//! The UDP proxy: one thread, and for each client a socket of its own towards the upstream.
//!
//! Latency, jitter and bandwidth delay whole datagrams, in their order; loss drops them, a timeout and a limit
//! swallow them. A reset, a slow close and a slicer have no meaning here and do nothing. What finds no room is
//! dropped, as a router does it.
//!
//! Start reading at [`UdpProxy`], then [`Engine::run`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;

use super::control_linux::{Aim, Desk, Handle};
use super::shape::Chain;
use super::toxic::{Applied, Direction, Stats, Toxic, Upstream};
use crate::Sequence;

/// Clients at once; beyond, the one that was silent for longest is forgotten.
pub const FLOWS_MAX: usize = 1_024;
/// A client that is silent for longer is forgotten, in milliseconds.
pub const FLOW_IDLE_MS_MAX: u64 = 60_000;
/// How often silent clients are looked for, in milliseconds.
const SWEEP_MS: u64 = 1_000;
/// Bytes that one direction of one client holds back at most.
const HELD_BYTES_MAX: usize = 4 << 20;
/// The longest datagram.
const DATAGRAM_BYTES_MAX: usize = 64 << 10;
/// Datagrams read from one socket before others have their turn.
const DATAGRAMS_MAX: usize = 64;
/// Events taken from the system at once.
const EVENTS_MAX: usize = 64;
const MS: u64 = 1_000_000;

const WAKE: u64 = u64::MAX;
const CLIENTS: u64 = u64::MAX - 1;

/// A running UDP proxy. Dropping it closes its sockets at once. In its [`Stats`] a connection is a client's flow.
pub struct UdpProxy(Handle);

impl UdpProxy {
    /// Passes datagrams at `socket` on to `upstream` and answers back, in a thread of its own.
    ///
    /// # Panics
    /// When the process may open no more files, or start no more threads.
    pub fn start(socket: UdpSocket, upstream: Upstream) -> UdpProxy {
        let address = socket.local_addr().expect("a bound socket has an address");
        let work = |desk| Engine::new(socket, desk).map(|engine| || engine.run());
        let handle = Handle::start(address, upstream, work);
        UdpProxy(handle.expect("the process may open a few files and start a thread more"))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Puts these toxics in place of those before, before it returns.
    pub fn set(&self, toxics: Vec<Applied>) {
        self.0.set(toxics);
    }

    /// The toxics in force; those whose time is over are not among them.
    pub fn toxics(&self) -> Vec<Applied> {
        self.0.toxics()
    }

    /// Leads all clients to another upstream; what is held is dropped, the toxics stay.
    pub fn set_upstream(&self, upstream: Upstream) {
        self.0.set_upstream(upstream);
    }

    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Ends the thread. It returns within milliseconds; the second call does nothing.
    pub fn stop(&self) {
        self.0.stop();
    }
}

struct Engine {
    poll: OwnedFd,
    desk: Desk,
    origin: Instant,
    socket: UdpSocket,
    scratch: Box<[u8]>,
    flows: HashMap<u64, Flow>,
    clients: HashMap<SocketAddr, u64>,
    next_key: u64,
    timers: BinaryHeap<Reverse<(u64, u64)>>,
    aim: Aim,
    /// When silent clients are looked for.
    sweep_at: u64,
}

/// One client.
struct Flow {
    client: SocketAddr,
    /// None until the upstream's name is resolved.
    socket: Option<UdpSocket>,
    last: u64,
    /// The earliest moment it asked to be woken at.
    timer: Option<u64>,
    number: u64,
    up: Lane,
    down: Lane,
}

/// One direction of one client.
struct Lane {
    held: VecDeque<Box<[u8]>>,
    chain: Chain,
    /// Those toxics that drop.
    drops: Vec<Toxic>,
    passed: u64,
    draws: Sequence,
}

impl Engine {
    fn new(socket: UdpSocket, desk: Desk) -> io::Result<Engine> {
        socket.set_nonblocking(true)?;
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&poll, &desk.shared.wake, EventData::new_u64(WAKE), EventFlags::IN)?;
        epoll::add(&poll, &socket, EventData::new_u64(CLIENTS), EventFlags::IN)?;
        Ok(Engine {
            poll,
            desk,
            origin: Instant::now(),
            socket,
            scratch: vec![0; DATAGRAM_BYTES_MAX].into_boxed_slice(),
            flows: HashMap::new(),
            clients: HashMap::new(),
            next_key: 0,
            timers: BinaryHeap::new(),
            aim: Aim::default(),
            sweep_at: 0,
        })
    }

    fn run(mut self) {
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1_000));
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            events.clear();
            let timeout = self.timeout();
            match epoll::wait(
                &self.poll,
                rustix::buffer::spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return self.desk.leave(),
            }
            let now = self.now();
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        if !self.obey(now) {
                            return self.desk.leave();
                        }
                    }
                    CLIENTS => self.clients_sent(now),
                    key => self.upstream_sent(key, now),
                }
            }
            self.fire(now);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn timeout(&mut self) -> Option<Timespec> {
        let now = self.now();
        let timer = self
            .timers
            .peek()
            .map(|Reverse((at, _))| now + self.aim.sleep(*at, now));
        let expiry = self.desk.expiry();
        let expiry = expiry.map(|until| until.saturating_duration_since(self.origin).as_nanos() as u64);
        let sweep = (!self.flows.is_empty()).then_some(self.sweep_at);
        let nanos = [timer, expiry, sweep].into_iter().flatten().min()?.saturating_sub(now);
        Some(Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        })
    }

    fn obey(&mut self, now: u64) -> bool {
        let news = self.desk.news();
        if news.stop {
            return false;
        }
        if news.upstream {
            self.flows.clear();
            self.clients.clear();
            self.count_flows();
        }
        if news.toxics {
            self.apply(now);
            self.desk.done();
        }
        for (key, addresses) in news.resolved {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.socket = addresses
                    .first()
                    .and_then(|address| connect(&self.poll, key, *address).ok());
                let is_known = flow.socket.is_some();
                self.pass(key, now);
                if !is_known {
                    // Its next datagram asks anew.
                    self.forget(key);
                }
            }
        }
        true
    }

    fn apply(&mut self, now: u64) {
        let keys: Vec<u64> = self.flows.keys().copied().collect();
        for key in keys {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.shape(&self.desk, now);
            }
            self.pass(key, now);
        }
    }

    fn clients_sent(&mut self, now: u64) {
        for _ in 0..DATAGRAMS_MAX {
            match self.socket.recv_from(&mut self.scratch) {
                Ok((count, client)) => {
                    let Some(key) = self.flow(client, now) else { continue };
                    if let Some(flow) = self.flows.get_mut(&key) {
                        flow.last = now;
                        flow.up.take(&self.scratch[..count], now);
                    }
                    self.pass(key, now);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A client that is gone has told so by ICMP.
                Err(_) => {}
            }
        }
    }

    fn upstream_sent(&mut self, key: u64, now: u64) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        for _ in 0..DATAGRAMS_MAX {
            match flow.socket.as_ref().map(|socket| socket.recv(&mut self.scratch)) {
                Some(Ok(count)) => {
                    flow.last = now;
                    flow.down.take(&self.scratch[..count], now);
                }
                Some(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        self.pass(key, now);
    }

    /// The flow of a client, a new one if need be; `None` when none can be made.
    fn flow(&mut self, client: SocketAddr, now: u64) -> Option<u64> {
        if let Some(key) = self.clients.get(&client) {
            return Some(*key);
        }
        if self.flows.len() >= FLOWS_MAX {
            let silent = self.flows.iter().min_by_key(|(_, flow)| flow.last).map(|(key, _)| *key);
            silent.into_iter().for_each(|key| self.forget(key));
        }
        let key = self.next_key;
        self.next_key += 1;
        let socket = match self.desk.upstream.clone() {
            Upstream::Address(address) => Some(connect(&self.poll, key, address).ok()?),
            Upstream::Name(name) => self.desk.resolve(key, &name).then_some(None)?,
        };
        let number = self.desk.shared.counters.total.fetch_add(1, Ordering::Relaxed);
        let mut flow = Flow {
            client,
            socket,
            last: now,
            timer: None,
            number,
            up: Lane::new(number << 1),
            down: Lane::new(number << 1 | 1),
        };
        flow.shape(&self.desk, now);
        self.flows.insert(key, flow);
        self.clients.insert(client, key);
        self.count_flows();
        Some(key)
    }

    fn forget(&mut self, key: u64) {
        if let Some(flow) = self.flows.remove(&key) {
            self.clients.remove(&flow.client);
        }
        self.count_flows();
    }

    fn count_flows(&self) {
        self.desk
            .shared
            .counters
            .open
            .store(self.flows.len() as u64, Ordering::Relaxed);
    }

    /// Sends what is due of one flow, and sees to it that the rest has its turn.
    fn pass(&mut self, key: u64, now: u64) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let counters = &self.desk.shared.counters;
        if let Some(socket) = &flow.socket {
            flow.up.pass(&counters.up, now, |bytes| socket.send(bytes));
        }
        flow.down
            .pass(&counters.down, now, |bytes| self.socket.send_to(bytes, flow.client));
        let next = [flow.up.chain.next(), flow.down.chain.next()]
            .into_iter()
            .flatten()
            .min();
        if let Some(at) = next
            && flow.timer.is_none_or(|timer| timer <= now || at < timer)
        {
            flow.timer = Some(at);
            self.timers.push(Reverse((at, key)));
        }
    }

    fn fire(&mut self, now: u64) {
        while let Some(Reverse((at, key))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            self.pass(key, now);
        }
        if self.sweep_at <= now {
            self.sweep_at = now + SWEEP_MS * MS;
            let is_silent = |flow: &Flow| flow.last + FLOW_IDLE_MS_MAX * MS <= now;
            let silent = self.flows.iter().filter(|(_, flow)| is_silent(flow));
            let silent: Vec<u64> = silent.map(|(key, _)| *key).collect();
            silent.into_iter().for_each(|key| self.forget(key));
        }
        if self.desk.expire(Instant::now()) {
            self.apply(now);
        }
    }
}

fn connect(poll: &OwnedFd, key: u64, address: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(address)?;
    epoll::add(poll, &socket, EventData::new_u64(key), EventFlags::IN)?;
    Ok(socket)
}

impl Flow {
    fn shape(&mut self, desk: &Desk, now: u64) {
        let number = self.number;
        self.up.shape(&desk.stages(number, Direction::Up), now);
        self.down.shape(&desk.stages(number, Direction::Down), now);
    }
}

impl Lane {
    fn new(seed: u64) -> Lane {
        Lane {
            held: VecDeque::new(),
            chain: Chain::default(),
            drops: Vec::new(),
            passed: 0,
            draws: Sequence(seed),
        }
    }

    fn shape(&mut self, toxics: &[(u64, Toxic, u64)], now: u64) {
        let delays = |toxic: &Toxic| matches!(toxic, Toxic::Latency { .. } | Toxic::Bandwidth { .. });
        let (delay, drop): (Vec<_>, Vec<_>) = toxics.iter().partition(|(_, toxic, _)| delays(toxic));
        self.drops = drop.into_iter().map(|(_, toxic, _)| toxic).collect();
        self.chain.set(&delay, now);
    }

    /// A datagram has arrived.
    fn take(&mut self, bytes: &[u8], now: u64) {
        if !self.drops_one(bytes.len()) && self.chain.room() > 0 && self.chain.held() < HELD_BYTES_MAX {
            self.held.push_back(bytes.into());
            self.chain.push_datagram(bytes.len(), now);
        }
    }

    fn drops_one(&mut self, bytes: usize) -> bool {
        let mut dropped = false;
        for toxic in &self.drops {
            dropped |= match *toxic {
                Toxic::Loss { per_mille } => self.draws.below(1_000) < u64::from(per_mille),
                Toxic::Timeout { .. } => true,
                Toxic::Limit { bytes: limit } => self.passed + bytes as u64 > limit,
                _ => false,
            };
        }
        if !dropped {
            self.passed += bytes as u64;
        }
        dropped
    }

    /// Sends what is due. What the system has no room for is lost, like anything else.
    fn pass(&mut self, counter: &AtomicU64, now: u64, send: impl Fn(&[u8]) -> io::Result<usize>) {
        self.chain.advance(now);
        loop {
            let ready = self.chain.ready();
            if ready == 0 {
                return;
            }
            let Some(bytes) = self.held.pop_front() else { return };
            self.chain.passed(ready);
            self.chain.advance(now);
            if send(&bytes).is_ok() {
                counter.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }
    }
}
