//! A TCP proxy that can be told to misbehave.
//!
//! It knows bytes, not protocols. Without toxics bytes pass untouched, each way on its own, half-closed
//! connections included. A change of toxics takes effect on live connections at once.
//!
//! Start reading at [`Toxic`], then [`Proxy`]; `relay` is what one connection does.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use crate::Sequence;

/// Connections open at once; further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Bytes one direction of one connection holds back at most; then its sender has to wait.
const HELD_BYTES_MAX: usize = 256 << 10;
/// Bytes moved at once.
const CHUNK_BYTES_MAX: usize = 16 << 10;
/// How long the upstream may take to accept, in milliseconds.
const CONNECT_MS_MAX: u64 = 5_000;

/// One way of misbehaving. Several add up; of the same kind the last one holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toxic {
    /// What the upstream sends arrives later by `delay_ms`, give or take up to `jitter_ms`; never out of order. A
    /// request with one answer takes longer by that much once.
    Latency { delay_ms: u64, jitter_ms: u64 },
    /// Each direction of each connection moves no more than so many bytes in a second; 0 moves none.
    Bandwidth { bytes_per_second: u64 },
    /// Connections are reset (RST, not FIN): those that are open, and new ones as soon as they are accepted.
    Reset,
    /// Bytes are swallowed: connections stay open and nothing passes. Once this is lifted, connections that lost
    /// bytes are reset, because what would follow is no longer what was sent.
    Timeout,
    /// A connection is closed after so many bytes of the upstream have passed, counted from its start.
    Limit { bytes: u64 },
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    pub connections_open: u64,
    pub connections_total: u64,
    /// Passed on to the upstream.
    pub bytes_up: u64,
    /// Passed on to clients.
    pub bytes_down: u64,
}

/// A running proxy. Dropping it closes its socket and every connection at once.
pub struct Proxy {
    address: SocketAddr,
    toxics: watch::Sender<Vec<Toxic>>,
    counters: Arc<Counters>,
    stopping: watch::Sender<bool>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Counters {
    open: AtomicU64,
    total: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

impl Proxy {
    /// Passes connections at `listener` on to `upstream`, on the runtime this is called in. A client whose upstream
    /// can't be reached is reset.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or when the runtime can't watch one socket more.
    pub fn start(listener: TcpListener, upstream: SocketAddr) -> Proxy {
        let (listener, address) = crate::adopt(listener);
        let (toxics, watching) = watch::channel(Vec::new());
        let (stopping, stopped) = watch::channel(false);
        let counters = Arc::new(Counters::default());
        let accepting = tokio::spawn(accept(listener, upstream, watching, counters.clone(), stopped));
        Proxy {
            address,
            toxics,
            counters,
            stopping,
            accepting: Mutex::new(Some(accepting)),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts these toxics in place of those before, on live and on new connections.
    pub fn set(&self, toxics: Vec<Toxic>) {
        self.toxics.send_replace(toxics);
    }

    /// The toxics in force, read back from what connections watch.
    pub fn toxics(&self) -> Vec<Toxic> {
        self.toxics.borrow().clone()
    }

    pub fn stats(&self) -> Stats {
        Stats {
            connections_open: self.counters.open.load(Ordering::Relaxed),
            connections_total: self.counters.total.load(Ordering::Relaxed),
            bytes_up: self.counters.up.load(Ordering::Relaxed),
            bytes_down: self.counters.down.load(Ordering::Relaxed),
        }
    }

    /// Stops accepting and closes every connection. The second call does nothing.
    pub async fn stop(&self) {
        let _ = self.stopping.send(true);
        let task = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let _ = task.await;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(task) = self.accepting.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn accept(
    listener: tokio::net::TcpListener,
    upstream: SocketAddr,
    toxics: watch::Receiver<Vec<Toxic>>,
    counters: Arc<Counters>,
    mut stopping: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let place = tokio::select! {
            _ = stopping.changed() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                let number = counters.total.fetch_add(1, Ordering::Relaxed);
                let open = Open::new(counters.clone());
                let toxics = toxics.clone();
                connections.spawn(async move {
                    connect_and_relay(client, upstream, toxics, number, &open.0).await;
                    drop((open, place));
                });
            }
            // The process is out of file descriptors, or the peer is already gone: neither is worth spinning for.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.shutdown().await;
}

/// Counts a connection as open for as long as it lives, however it ends.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Open(counters)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn connect_and_relay(
    client: TcpStream,
    upstream: SocketAddr,
    toxics: watch::Receiver<Vec<Toxic>>,
    number: u64,
    counters: &Counters,
) {
    if Mode::of(&toxics.borrow()).reset {
        return reset(client);
    }
    let connecting = tokio::time::timeout(Duration::from_millis(CONNECT_MS_MAX), TcpStream::connect(upstream));
    let upstream = tokio::select! {
        connected = connecting => match connected {
            Ok(Ok(upstream)) => upstream,
            _ => return reset(client),
        },
        () = reset_is_set(toxics.clone()) => return reset(client),
    };
    let _ = client.set_nodelay(true);
    let _ = upstream.set_nodelay(true);
    if relay(&client, &upstream, &toxics, number, counters).await == End::Reset {
        reset(client);
        reset(upstream);
    }
}

/// Closes with RST: what the kernel still holds is thrown away and the peer's reads and writes fail.
fn reset(stream: TcpStream) {
    let _ = stream.set_zero_linger();
    drop(stream);
}

async fn reset_is_set(mut toxics: watch::Receiver<Vec<Toxic>>) {
    // An error means that the proxy is gone, and this task with it.
    if toxics.wait_for(|toxics| Mode::of(toxics).reset).await.is_err() {
        std::future::pending().await
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// Moves bytes both ways until both have ended, or one has failed.
async fn relay(
    client: &TcpStream,
    upstream: &TcpStream,
    toxics: &watch::Receiver<Vec<Toxic>>,
    number: u64,
    counters: &Counters,
) -> End {
    let up = Pump {
        from: client,
        to: upstream,
        down: false,
        moved: &counters.up,
        toxics: toxics.clone(),
        jitter: Sequence(number << 1),
    };
    let down = Pump {
        from: upstream,
        to: client,
        down: true,
        moved: &counters.down,
        toxics: toxics.clone(),
        jitter: Sequence(number << 1 | 1),
    };
    let both = async { tokio::try_join!(up.run(), down.run()) };
    tokio::select! {
        ended = both => match ended {
            Ok(_) => End::Closed,
            Err(end) => end,
        },
        () = reset_is_set(toxics.clone()) => End::Reset,
    }
}

/// One direction of one connection.
struct Pump<'a> {
    from: &'a TcpStream,
    to: &'a TcpStream,
    /// From the upstream to the client.
    down: bool,
    moved: &'a AtomicU64,
    toxics: watch::Receiver<Vec<Toxic>>,
    jitter: Sequence,
}

/// Bytes that were read and are not yet passed on.
struct Held {
    bytes: Vec<u8>,
    /// How many of them are passed on.
    done: usize,
    arrived: Instant,
    /// Draws this chunk's jitter, whatever the toxics are by then.
    draw: u64,
}

/// What the toxics together ask of one chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mode {
    reset: bool,
    swallow: bool,
    delay_ms: u64,
    jitter_ms: u64,
    bytes_per_second: Option<u64>,
    limit_bytes: Option<u64>,
}

impl Mode {
    fn of(toxics: &[Toxic]) -> Self {
        let mut mode = Mode::default();
        for toxic in toxics {
            match *toxic {
                Toxic::Latency { delay_ms, jitter_ms } => (mode.delay_ms, mode.jitter_ms) = (delay_ms, jitter_ms),
                Toxic::Bandwidth { bytes_per_second } => mode.bytes_per_second = Some(bytes_per_second),
                Toxic::Reset => mode.reset = true,
                Toxic::Timeout => mode.swallow = true,
                Toxic::Limit { bytes } => mode.limit_bytes = Some(bytes),
            }
        }
        mode
    }

    fn delay(&self, draw: u64) -> Duration {
        let width = self.jitter_ms.saturating_mul(2);
        let jitter = Sequence(draw).below(width.saturating_add(1));
        let delay_ms = self.delay_ms.saturating_add(jitter).saturating_sub(self.jitter_ms);
        // A day is as good as for ever, and can be added to a moment.
        Duration::from_millis(delay_ms.min(86_400_000))
    }
}

impl Pump<'_> {
    /// Ends with `Ok` after the sender's end of stream was passed on, and with `Err` when the whole connection is
    /// to end.
    async fn run(mut self) -> Result<(), End> {
        let mut held: VecDeque<Held> = VecDeque::new();
        let mut held_bytes = 0;
        let mut passed: u64 = 0;
        let mut swallowed = false;
        let mut ended = false;
        // When the next byte may be passed on, as far as bandwidth goes.
        let mut free_at = Instant::now();
        loop {
            let mode = Mode::of(&self.toxics.borrow_and_update());
            if mode.swallow {
                swallowed |= !held.is_empty() || ended;
                held.clear();
                held_bytes = 0;
            } else if swallowed {
                return Err(End::Reset);
            }
            if self.down && mode.limit_bytes.is_some_and(|limit| passed >= limit) {
                return Err(End::Closed);
            }
            if ended && held.is_empty() && !mode.swallow {
                return shut_down_write(self.to);
            }
            let due = held.front().and_then(|first| self.due(first, &mode, free_at));
            tokio::select! {
                changed = self.toxics.changed() => if changed.is_err() {
                    return Err(End::Closed);
                },
                readable = self.from.readable(), if !ended && held_bytes < HELD_BYTES_MAX => {
                    readable.map_err(|_| End::Reset)?;
                    match read(self.from)? {
                        Read::Bytes(bytes) if mode.swallow => swallowed |= !bytes.is_empty(),
                        Read::Bytes(bytes) => {
                            held_bytes += bytes.len();
                            held.push_back(Held { bytes, done: 0, arrived: Instant::now(), draw: self.jitter.draw() });
                        }
                        Read::Nothing => {}
                        // Nothing will pass any more, so a client that hangs up is let go.
                        Read::End if mode.swallow && !self.down => return Err(End::Closed),
                        Read::End => ended = true,
                    }
                },
                writable = writable_at(self.to, due.unwrap_or(free_at)), if due.is_some() => {
                    writable.map_err(|_| End::Reset)?;
                    let Some(first) = held.front_mut() else { continue };
                    let rest = &first.bytes[first.done..];
                    let allowed = self.allowed(rest.len(), passed, &mode);
                    let count = write(self.to, &rest[..allowed])?;
                    first.done += count;
                    held_bytes -= count;
                    passed += count as u64;
                    self.moved.fetch_add(count as u64, Ordering::Relaxed);
                    if first.done == first.bytes.len() {
                        held.pop_front();
                    }
                    if let Some(rate) = mode.bytes_per_second.filter(|rate| *rate > 0) {
                        let spent = Duration::from_secs_f64(count as f64 / rate as f64);
                        free_at = free_at.max(Instant::now()) + spent;
                    }
                },
            }
        }
    }

    /// When this chunk may be passed on; never, for `None`.
    fn due(&self, held: &Held, mode: &Mode, free_at: Instant) -> Option<Instant> {
        if mode.bytes_per_second == Some(0) {
            return None;
        }
        let delay = if self.down {
            mode.delay(held.draw)
        } else {
            Duration::ZERO
        };
        let due = held.arrived + delay;
        Some(if mode.bytes_per_second.is_some() {
            due.max(free_at)
        } else {
            due
        })
    }

    /// How many of `length` bytes may be passed on at once: under a bandwidth a twentieth of a second's worth.
    fn allowed(&self, length: usize, passed: u64, mode: &Mode) -> usize {
        let mut allowed = length as u64;
        if let Some(rate) = mode.bytes_per_second {
            allowed = allowed.min((rate / 20).max(1));
        }
        if let Some(limit) = mode.limit_bytes.filter(|_| self.down) {
            allowed = allowed.min(limit.saturating_sub(passed));
        }
        usize::try_from(allowed).unwrap_or(length)
    }
}

enum Read {
    Bytes(Vec<u8>),
    /// The socket only seemed to be readable.
    Nothing,
    End,
}

fn read(from: &TcpStream) -> Result<Read, End> {
    let mut bytes = vec![0; CHUNK_BYTES_MAX];
    match from.try_read(&mut bytes) {
        Ok(0) => Ok(Read::End),
        Ok(count) => {
            bytes.truncate(count);
            Ok(Read::Bytes(bytes))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Read::Nothing),
        Err(_) => Err(End::Reset),
    }
}

fn write(to: &TcpStream, bytes: &[u8]) -> Result<usize, End> {
    match to.try_write(bytes) {
        Ok(count) => Ok(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(End::Reset),
    }
}

async fn writable_at(to: &TcpStream, due: Instant) -> io::Result<()> {
    if due > Instant::now() {
        tokio::time::sleep_until(due).await;
    }
    to.writable().await
}

/// Passes an end of stream on.
fn shut_down_write(to: &TcpStream) -> Result<(), End> {
    // A peer that is already gone has nothing more to learn.
    let _ = rustix::net::shutdown(to, rustix::net::Shutdown::Write);
    Ok(())
}
