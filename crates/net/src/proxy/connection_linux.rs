//! One connection of the TCP proxy: two sockets, and one [`Half`] for each direction.
//!
//! Start reading at [`Connection::turn`], then `pump`.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt};
use rustix::pipe::SpliceFlags;

use super::control_linux::Counters;
use super::engine_linux::LINGER_MS_MAX;
use super::shape::{Chain, Fate};
use super::store_linux::{BUFFER_BYTES, Front, PIPE_BYTES, Pool, Store};
use super::tls::{self, Hello};
use super::toxic::{Direction, Route, Toxic, Upstream};

/// What one direction moves before others have their turn.
const TURN_BYTES_MAX: usize = 4 << 20;
/// A read of less than this is not worth a pipe.
const BULK_BYTES_MIN: usize = 16 << 10;
const MS: u64 = 1_000_000;

/// What connections of one thread share.
pub(super) struct Io {
    pub(super) poll: OwnedFd,
    scratch: Box<[u8]>,
    pool: Pool,
    /// A socket for the next upstream, so that nothing is accepted that can't be connected.
    spare: Option<(AddressFamily, OwnedFd)>,
}

/// What is to be done with a connection after its turn.
pub(super) enum Step {
    /// Until something happens, or until that moment.
    Wait(Option<u64>),
    Again,
    Gone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Upstream,
}

pub(super) struct Connection {
    /// Its place, shifted by one, and above it a number that tells it from those there before.
    pub(super) key: u64,
    pub(super) number: u64,
    pub(super) client: OwnedFd,
    upstream: Option<OwnedFd>,
    /// Further addresses of the upstream, the next one last.
    addresses: Vec<SocketAddr>,
    state: State,
    /// Where it leads is decided.
    pub(super) routed: bool,
    /// When it is given up.
    pub(super) deadline: Option<u64>,
    /// The earliest moment it asked to be woken at.
    pub(super) timer: Option<u64>,
    client_ready: Ready,
    upstream_ready: Ready,
    up: Half,
    down: Half,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    Open,
    /// It is closed, but what was sent has to arrive.
    Lingering,
}

/// What a socket may be asked for without waiting.
#[derive(Debug, Clone, Copy, Default)]
struct Ready {
    read: bool,
    write: bool,
    /// The end, or an error, is to be read.
    ended: bool,
    failed: bool,
}

/// One direction.
#[derive(Default)]
struct Half {
    /// The sender's end was read.
    ended: bool,
    /// It was passed on.
    finished: bool,
    /// The last read was large.
    bulk: bool,
    store: Store,
    chain: Option<Box<Chain>>,
}

/// Why a connection ends.
enum End {
    Close,
    Reset,
}

impl Io {
    pub(super) fn new(poll: OwnedFd) -> Io {
        Io {
            poll,
            scratch: vec![0; BUFFER_BYTES].into_boxed_slice(),
            pool: Pool::default(),
            spare: None,
        }
    }

    /// Asks for every event of a socket, once and for all.
    pub(super) fn watch(&self, socket: &OwnedFd, key: u64) -> bool {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.poll, socket, EventData::new_u64(key), flags).is_ok()
    }

    /// Whether a socket for one connection more can be had.
    pub(super) fn has_spare(&mut self, upstream: &Upstream) -> bool {
        if self.spare.is_none() {
            let family = match upstream {
                Upstream::Address(address) => family(address),
                Upstream::Name(_) => AddressFamily::INET,
            };
            self.spare = socket(family).ok().map(|socket| (family, socket));
        }
        self.spare.is_some()
    }

    pub(super) fn forget_spare(&mut self) {
        self.spare = None;
    }

    fn socket(&mut self, family: AddressFamily) -> rustix::io::Result<OwnedFd> {
        match self.spare.take() {
            Some((of, socket)) if of == family => Ok(socket),
            _ => socket(family),
        }
    }

    /// Closes a connection.
    pub(super) fn release(&mut self, connection: Connection) {
        for mut half in [connection.up, connection.down] {
            half.store.clear(&mut self.pool);
        }
    }
}

fn family(address: &SocketAddr) -> AddressFamily {
    match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

fn socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    Ok(socket)
}

impl Connection {
    pub(super) fn new(key: u64, number: u64, client: OwnedFd, deadline: u64) -> Connection {
        Connection {
            key,
            number,
            client,
            upstream: None,
            addresses: Vec::new(),
            state: State::Connecting,
            routed: false,
            deadline: Some(deadline),
            timer: None,
            client_ready: Ready {
                write: true,
                ..Ready::default()
            },
            upstream_ready: Ready::default(),
            up: Half::default(),
            down: Half::default(),
        }
    }

    /// The server name it asks for, once that is known and when it matters; an empty one for none.
    pub(super) fn asks_for(&mut self, io: &mut Io, routes: &[Route]) -> Option<String> {
        if self.routed || self.state != State::Connecting || !self.client_ready.read {
            return None;
        }
        let name = if routes.is_empty() {
            String::new()
        } else {
            let peeked = rustix::net::recv(&self.client, &mut *io.scratch, RecvFlags::PEEK);
            let count = peeked.map_or(0, |(count, _)| count);
            match tls::server_name(&io.scratch[..count]) {
                Hello::Name(name) => name,
                Hello::Incomplete if count > 0 && !self.client_ready.ended => {
                    self.client_ready.read = false;
                    return None;
                }
                Hello::Incomplete | Hello::NoName | Hello::NotTls => String::new(),
            }
        };
        self.routed = true;
        Some(name)
    }

    /// Begins to connect to the first of these addresses that lets it; false when none does.
    pub(super) fn connect(&mut self, io: &mut Io, mut addresses: Vec<SocketAddr>) -> bool {
        if self.state != State::Connecting {
            return true;
        }
        addresses.reverse();
        self.addresses = addresses;
        self.connect_next(io)
    }

    fn connect_next(&mut self, io: &mut Io) -> bool {
        while let Some(address) = self.addresses.pop() {
            let Ok(socket) = io.socket(family(&address)) else {
                return false;
            };
            match rustix::net::connect(&socket, &address) {
                Ok(()) | Err(Errno::INPROGRESS) => {}
                Err(_) => continue,
            }
            if io.watch(&socket, self.key | 1) {
                self.upstream_ready = Ready::default();
                self.upstream = Some(socket);
                return true;
            }
        }
        false
    }

    /// Puts these toxics on one direction.
    pub(super) fn shape(&mut self, direction: Direction, toxics: &[(u64, Toxic, u64)], now: u64) {
        if self.state == State::Lingering {
            return;
        }
        let half = match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        };
        if half.chain.is_none() && !toxics.is_empty() {
            let mut chain = Box::new(Chain::default());
            chain.already_ready(half.store.bytes(), now);
            if half.ended && !half.finished {
                chain.end(now);
            }
            half.chain = Some(chain);
        }
        if let Some(chain) = &mut half.chain {
            chain.set(toxics, now);
        }
    }

    pub(super) fn happened(&mut self, side: Side, flags: EventFlags) {
        let ready = match side {
            Side::Client => &mut self.client_ready,
            Side::Upstream => &mut self.upstream_ready,
        };
        ready.failed |= flags.intersects(EventFlags::ERR | EventFlags::HUP);
        ready.ended |= ready.failed || flags.contains(EventFlags::RDHUP);
        ready.read |= ready.ended || flags.contains(EventFlags::IN);
        ready.write |= flags.contains(EventFlags::OUT);
    }

    /// Does what can be done without waiting.
    pub(super) fn turn(&mut self, io: &mut Io, counters: &Counters, now: u64) -> Step {
        if self.state == State::Connecting
            && let Some(step) = self.connecting(io, now)
        {
            return step;
        }
        if self.state == State::Lingering {
            return self.lingering(io);
        }
        let up = self.pump(Direction::Up, io, &counters.up, now);
        let down = up.and_then(|up| Ok(self.pump(Direction::Down, io, &counters.down, now)? || up));
        match down {
            Err(End::Reset) => {
                self.reset();
                Step::Gone
            }
            Err(End::Close) => self.linger(io, now),
            Ok(_) if self.up.finished && self.down.finished => Step::Gone,
            Ok(true) => Step::Again,
            Ok(false) => Step::Wait(self.next()),
        }
    }

    /// Until the upstream is connected; `None` when it is.
    fn connecting(&mut self, io: &mut Io, now: u64) -> Option<Step> {
        for half in [&mut self.up, &mut self.down] {
            if let Some(chain) = &mut half.chain {
                chain.advance(now);
            }
        }
        match self.fate() {
            Some(Fate::Reset) => {
                self.reset();
                return Some(Step::Gone);
            }
            Some(Fate::Close) => return Some(self.linger(io, now)),
            None => {}
        }
        if self.upstream_ready.failed {
            self.upstream = None;
            if !self.connect_next(io) {
                self.reset();
                return Some(Step::Gone);
            }
        }
        if !self.upstream_ready.write {
            return Some(Step::Wait(self.next()));
        }
        self.state = State::Open;
        self.deadline = None;
        self.addresses = Vec::new();
        None
    }

    fn fate(&self) -> Option<Fate> {
        let of = |half: &Half| half.chain.as_ref().and_then(|chain| chain.fate());
        of(&self.up).max(of(&self.down))
    }

    fn next(&self) -> Option<u64> {
        let of = |half: &Half| half.chain.as_ref().and_then(|chain| chain.next());
        [of(&self.up), of(&self.down)].into_iter().flatten().min()
    }

    /// Ends both streams, and waits until both peers have ended theirs: closing before would be a reset wherever
    /// something is still on its way here, and a reset takes with it what was sent.
    fn linger(&mut self, io: &mut Io, now: u64) -> Step {
        for half in [&mut self.up, &mut self.down] {
            half.store.clear(&mut io.pool);
            *half = Half {
                ended: half.ended,
                ..Half::default()
            };
        }
        let _ = rustix::net::shutdown(&self.client, Shutdown::Write);
        match &self.upstream {
            Some(upstream) if self.state == State::Open => {
                let _ = rustix::net::shutdown(upstream, Shutdown::Write);
            }
            _ => {
                self.upstream = None;
                self.down.ended = true;
            }
        }
        self.state = State::Lingering;
        self.deadline = Some(now + LINGER_MS_MAX * MS);
        self.lingering(io)
    }

    fn lingering(&mut self, io: &mut Io) -> Step {
        let client = (&mut self.up, Some(&self.client), &mut self.client_ready);
        let upstream = (&mut self.down, self.upstream.as_ref(), &mut self.upstream_ready);
        for (half, socket, ready) in [client, upstream] {
            let Some(socket) = socket else { continue };
            while ready.read && !half.ended {
                match rustix::net::recv(socket, &mut *io.scratch, RecvFlags::empty()) {
                    Ok((0, _)) => half.ended = true,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => ready.read = false,
                    Err(_) => half.ended = true,
                }
            }
        }
        if self.up.ended && self.down.ended {
            Step::Gone
        } else {
            Step::Wait(None)
        }
    }

    /// Makes the close that follows a reset (RST, not FIN): what the kernel still holds is thrown away and the
    /// peers' reads and writes fail.
    pub(super) fn reset(&self) {
        for socket in [Some(&self.client), self.upstream.as_ref()].into_iter().flatten() {
            let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
        }
    }

    /// Its time is over.
    pub(super) fn give_up(&self) {
        if self.state == State::Connecting {
            self.reset();
        }
    }

    /// Moves what can be moved in one direction; true when there is more to do at once.
    fn pump(&mut self, direction: Direction, io: &mut Io, moved: &AtomicU64, now: u64) -> Result<bool, End> {
        let Some(upstream) = &self.upstream else {
            return Ok(false);
        };
        let (from, to, from_ready, to_ready, half) = match direction {
            Direction::Up => (
                &self.client,
                upstream,
                &mut self.client_ready,
                &mut self.upstream_ready,
                &mut self.up,
            ),
            Direction::Down => (
                upstream,
                &self.client,
                &mut self.upstream_ready,
                &mut self.client_ready,
                &mut self.down,
            ),
        };
        let mut flow = Flow {
            from,
            to,
            from_ready,
            to_ready,
            half,
            io,
            moved: 0,
            thrown: 0,
            now,
        };
        let again = flow.run();
        let count = flow.moved as u64;
        if count > 0 {
            moved.store(moved.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        }
        again
    }
}

/// One direction while it has its turn.
struct Flow<'a> {
    from: &'a OwnedFd,
    to: &'a OwnedFd,
    from_ready: &'a mut Ready,
    to_ready: &'a mut Ready,
    half: &'a mut Half,
    io: &'a mut Io,
    moved: usize,
    thrown: usize,
    now: u64,
}

impl Flow<'_> {
    fn run(&mut self) -> Result<bool, End> {
        if self.half.finished {
            return Ok(false);
        }
        loop {
            self.shape()?;
            self.write()?;
            if self.finish()? {
                return Ok(false);
            }
            if self.moved + self.thrown >= TURN_BYTES_MAX {
                return Ok(true);
            }
            let more = self.to_ready.write
                && self
                    .half
                    .chain
                    .as_ref()
                    .is_some_and(|chain| chain.next().is_some_and(|next| next <= self.now));
            if !self.read()? && !more {
                return Ok(false);
            }
        }
    }

    /// What the toxics say by now.
    fn shape(&mut self) -> Result<(), End> {
        let Some(chain) = &mut self.half.chain else {
            return Ok(());
        };
        chain.advance(self.now);
        let discard = chain.take_discard();
        self.half.store.truncate(discard, &mut self.io.pool);
        match chain.fate() {
            Some(Fate::Reset) => Err(End::Reset),
            Some(Fate::Close) => Err(End::Close),
            None => {
                // Once its toxics are gone and nothing is left of them, it is as if there had been none.
                if chain.is_empty() && !chain.is_deaf() && chain.ready() == self.half.store.bytes() {
                    self.half.chain = None;
                }
                Ok(())
            }
        }
    }

    fn write(&mut self) -> Result<(), End> {
        while self.to_ready.write {
            let half = &mut *self.half;
            let due = half.chain.as_ref().map_or(half.store.bytes(), |chain| chain.ready());
            if due == 0 {
                return Ok(());
            }
            let sent = match half.store.front() {
                Front::Bytes(bytes) => rustix::net::send(self.to, &bytes[..due.min(bytes.len())], SendFlags::NOSIGNAL),
                Front::Pipe(pipe, bytes) => {
                    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                    rustix::pipe::splice(pipe, None, self.to, None, due.min(bytes), flags)
                }
            };
            match sent {
                Ok(count) => {
                    half.store.consume(count, &mut self.io.pool);
                    if let Some(chain) = &mut half.chain {
                        chain.passed(count);
                    }
                    self.moved += count;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.to_ready.write = false,
                Err(_) => return Err(End::Reset),
            }
        }
        Ok(())
    }

    /// Passes the end of the stream on, once all before it is; true when that is done.
    fn finish(&mut self) -> Result<bool, End> {
        let at_end = match &self.half.chain {
            Some(chain) => match chain.is_at_end() {
                Some(true) => return Err(End::Close),
                at_end => at_end.is_some(),
            },
            None => self.half.ended && self.half.store.bytes() == 0,
        };
        if at_end {
            // A peer that is already gone has nothing more to learn.
            let _ = rustix::net::shutdown(self.to, Shutdown::Write);
            self.half.finished = true;
        }
        Ok(at_end)
    }

    /// Reads once; false when there is nothing to read, or no place for it.
    fn read(&mut self) -> Result<bool, End> {
        if self.half.ended || !self.from_ready.read {
            return Ok(false);
        }
        let room = match &self.half.chain {
            Some(chain) if chain.is_deaf() => return self.throw_away(),
            Some(chain) => chain.room(),
            None if self.half.store.bytes() > 0 => 0,
            None => PIPE_BYTES,
        };
        if room == 0 {
            return Ok(false);
        }
        if self.half.bulk
            && let Some(more) = self.splice(room)?
        {
            return Ok(more);
        }
        match self.half.chain {
            Some(_) => self.queue(),
            None => self.forward(),
        }
    }

    /// From socket to pipe: no byte is copied. `None` when there is no pipe.
    fn splice(&mut self, room: usize) -> Result<Option<bool>, End> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let mut fresh = self.half.store.bytes() == 0;
        loop {
            let Some(pipe) = self.half.store.pipe(fresh, &mut self.io.pool) else {
                return Ok(None);
            };
            let read = rustix::pipe::splice(self.from, None, &pipe.write, None, room.min(PIPE_BYTES), flags);
            self.half.store.grown(read.unwrap_or(0), &mut self.io.pool);
            // It may be the pipe that is full.
            if read == Err(Errno::AGAIN) && !fresh {
                fresh = true;
                continue;
            }
            return self.after(read, BULK_BYTES_MIN, 0).map(Some);
        }
    }

    /// Through the shared buffer; only what the receiver does not take is kept.
    fn forward(&mut self) -> Result<bool, End> {
        let read = rustix::net::recv(self.from, &mut *self.io.scratch, RecvFlags::empty()).map(|(count, _)| count);
        let mut left = 0..read.unwrap_or(0);
        while self.to_ready.write && !left.is_empty() {
            match rustix::net::send(self.to, &self.io.scratch[left.clone()], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.moved += count;
                    left.start += count;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.to_ready.write = false,
                Err(_) => return Err(End::Reset),
            }
        }
        self.half.store.append(&self.io.scratch[left], &mut self.io.pool);
        self.after(read, BUFFER_BYTES, BUFFER_BYTES)
    }

    /// To where the toxics hold it.
    fn queue(&mut self) -> Result<bool, End> {
        if !self.half.store.may_grow(&self.io.pool) {
            return Ok(false);
        }
        let space = self.half.store.space(&mut self.io.pool);
        let length = space.capacity() - space.len();
        let read = rustix::net::recv(self.from, rustix::buffer::spare_capacity(space), RecvFlags::empty());
        let read = read.map(|(_, count)| count);
        let count = read.unwrap_or(0);
        self.half.store.grown(count, &mut self.io.pool);
        self.after(read, BULK_BYTES_MIN, length)
    }

    fn throw_away(&mut self) -> Result<bool, End> {
        match rustix::net::recv(self.from, &mut *self.io.scratch, RecvFlags::empty()) {
            Ok((count, _)) if count > 0 => {
                self.thrown += count;
                Ok(true)
            }
            read => self.after(read.map(|(count, _)| count), usize::MAX, 0),
        }
    }

    /// What a read tells: a shorter one than `whole` has read all there was, one of `bulk` or more is worth a pipe.
    fn after(&mut self, read: Result<usize, Errno>, bulk: usize, whole: usize) -> Result<bool, End> {
        match read {
            Ok(0) => {
                self.half.ended = true;
                if let Some(chain) = &mut self.half.chain {
                    chain.end(self.now);
                }
            }
            Ok(count) => {
                self.half.bulk = count >= bulk;
                if let Some(chain) = &mut self.half.chain {
                    chain.push(count, self.now);
                }
                if count < whole && !self.from_ready.ended {
                    self.from_ready.read = false;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                self.from_ready.read = false;
                return Ok(false);
            }
            Err(_) => return Err(End::Reset),
        }
        Ok(true)
    }
}
