//! What toxics do to one direction of one connection: counts and moments in, counts and moments out.
//!
//! It holds no bytes, no socket and no clock. Order never changes in a chain, so whoever holds the bytes in one
//! queue needs to know only how many of them may go now, which is [`Chain::ready`]. A moment is a number of
//! nanoseconds since whatever the caller counts from.
//!
//! Start reading at [`Chain`]; [`Stage`] is one toxic in it.

use std::collections::VecDeque;
use std::mem;

use super::toxic::Toxic;
use crate::Sequence;

/// What toxics that delay hold back at most; then the sender has to wait. It bounds the throughput under a latency:
/// 160 MB/s at 100 ms.
const DELAYED_BYTES_MAX: usize = 16 << 20;
/// What any other toxic holds back at most.
const QUEUED_BYTES_MAX: usize = 512 << 10;
/// With less room nothing is read.
const ROOM_BYTES_MIN: usize = 64 << 10;
/// Bytes that are due, but that the receiver does not take.
const READY_BYTES_MAX: usize = 1 << 20;
/// Chunks in one queue: each is a read or a piece of one.
const CHUNKS_MAX: usize = 32 << 10;
/// Under a bandwidth bytes pass in parts of at most so many, and of at most a two-hundredth of a second.
const PART_BYTES_MAX: u64 = 256 << 10;
const PARTS_PER_SECOND: u64 = 200;
/// A day is as good as for ever, and can be added to a moment.
const DELAY_MS_MAX: u64 = 86_400_000;
/// The payload of a TCP segment on Ethernet.
const SEGMENT_BYTES: u64 = 1_448;
/// Linux' TCP_RTO_MIN.
const RETRANSMISSION_MS: u64 = 200;
/// Retransmissions of one chunk; further ones change nothing that anyone would wait for.
const RETRANSMISSIONS_MAX: u32 = 8;
const MS: u64 = 1_000_000;

/// What is to become of the whole connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// Closed: what was passed on arrives, nothing else does.
    Close,
    Reset,
}

/// The toxics of one direction of one connection, in their order.
#[derive(Debug, Default)]
pub(super) struct Chain {
    stages: Vec<Stage>,
    ready: VecDeque<Chunk>,
    ready_bytes: usize,
    fate: Option<Fate>,
    /// Bytes were swallowed: nothing that comes after them may pass any more.
    lost: bool,
    /// Bytes at the tail that the caller still holds and has to throw away.
    discard: usize,
}

/// A toxic that holds for this connection, and what it was told about it.
#[derive(Debug)]
struct Stage {
    /// Which toxic of the proxy it is: the same number is the same toxic, whatever its attributes are by now.
    id: u64,
    toxic: Toxic,
    /// When it met the connection, or was changed on it.
    since: u64,
    queue: VecDeque<Chunk>,
    queue_bytes: usize,
    /// When the next chunk may pass, as far as those before it go.
    free_at: u64,
    /// Bytes that passed.
    passed: u64,
    /// How long the first chunk waits for retransmissions, once that is drawn.
    penalty: Option<u64>,
    /// It could have passed something on, but what follows was full.
    stalled: bool,
    draws: Sequence,
}

/// Bytes that stay together, or the end of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Chunk {
    bytes: usize,
    /// When it came here.
    at: u64,
    draw: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bytes,
    /// Must be a segment of its own.
    Piece,
    End,
    /// The end, and the other direction ends with it.
    Close,
}

impl Chain {
    /// Puts these toxics in place of those before: identity, toxic and a seed for each. What a removed toxic
    /// held moves on.
    pub(super) fn set(&mut self, toxics: &[(u64, Toxic, u64)], now: u64) {
        let old = mem::take(&mut self.stages);
        let kept: Vec<u64> = toxics.iter().map(|(id, ..)| *id).collect();
        let in_order = {
            let mut places = old
                .iter()
                .filter_map(|stage| kept.iter().position(|id| *id == stage.id));
            let mut last = None;
            places.all(|place| last.replace(place).is_none_or(|last| last < place))
        };
        // From the last one on, so that what is let go reaches the next in its order.
        let mut survivors: Vec<Stage> = Vec::new();
        for mut stage in old.into_iter().rev() {
            let new = toxics
                .iter()
                .find(|(id, ..)| *id == stage.id)
                .map(|(_, toxic, _)| *toxic);
            match new.filter(|new| in_order && mem::discriminant(new) == mem::discriminant(&stage.toxic)) {
                Some(new) => {
                    if new != stage.toxic {
                        stage.toxic = new;
                        stage.since = now;
                        stage.draw_penalty();
                    }
                    survivors.push(stage);
                }
                None => self.remove(stage, survivors.last_mut(), now),
            }
        }
        for &(id, toxic, seed) in toxics {
            let stage = match survivors.last() {
                Some(last) if last.id == id => survivors.pop(),
                _ => None,
            };
            self.stages
                .push(stage.unwrap_or_else(|| Stage::new(id, toxic, seed, now)));
        }
        self.advance(now);
    }

    fn remove(&mut self, stage: Stage, next: Option<&mut Stage>, now: u64) {
        let swallows = matches!(stage.toxic, Toxic::Timeout { .. } | Toxic::Reset { .. });
        if swallows && self.lost {
            self.doom(Fate::Reset);
        } else if matches!(stage.toxic, Toxic::Timeout { .. }) {
            self.doom(Fate::Close);
        }
        match next {
            Some(next) => stage
                .queue
                .into_iter()
                .for_each(|chunk| next.push(Chunk { at: now, ..chunk })),
            None => stage.queue.into_iter().for_each(|chunk| self.make_ready(chunk)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.stages.is_empty()
    }

    /// Bytes that were due before there was a chain.
    pub(super) fn already_ready(&mut self, bytes: usize, now: u64) {
        if bytes > 0 {
            self.make_ready(Chunk::new(bytes, now, 0, Kind::Bytes));
        }
    }

    /// `bytes` have arrived, for which there was room.
    pub(super) fn push(&mut self, bytes: usize, now: u64) {
        self.enter(bytes, Kind::Bytes, now);
    }

    /// The sender has ended its stream.
    pub(super) fn end(&mut self, now: u64) {
        self.enter(0, Kind::End, now);
    }

    fn enter(&mut self, bytes: usize, kind: Kind, now: u64) {
        match self.stages.first_mut() {
            Some(first) => {
                let draw = (first.draws.draw() >> 32) as u32;
                first.push(Chunk::new(bytes, now, draw, kind));
            }
            None => self.make_ready(Chunk::new(bytes, now, 0, kind)),
        }
    }

    /// How much more may be read from the sender: nothing until there is room for a good deal, because every read
    /// costs the same.
    pub(super) fn room(&self) -> usize {
        let room = match self.stages.first() {
            Some(first) if !first.has_room() => 0,
            Some(first) => first.bytes_max() - first.queue_bytes,
            None => READY_BYTES_MAX.saturating_sub(self.ready_bytes),
        };
        if room < ROOM_BYTES_MIN { 0 } else { room }
    }

    /// Whether what is read is to be thrown away at once.
    pub(super) fn is_deaf(&self) -> bool {
        self.lost
    }

    /// Moves on what is due.
    pub(super) fn advance(&mut self, now: u64) {
        // Once more when a full stage has made room for the one before it.
        loop {
            for index in 0..self.stages.len() {
                self.advance_one(index, now);
            }
            if self.next().is_none_or(|next| next > now) {
                return;
            }
        }
    }

    fn advance_one(&mut self, index: usize, now: u64) {
        match self.stages[index].toxic {
            Toxic::Timeout { timeout_ms } => self.swallow(index, timeout_ms, Fate::Close, now),
            Toxic::Reset { after_ms } => self.swallow(index, after_ms, Fate::Reset, now),
            _ => {}
        }
        loop {
            let room = match self.stages.get(index + 1) {
                Some(next) => next.has_room(),
                None => self.ready_bytes < READY_BYTES_MAX && self.ready.len() < CHUNKS_MAX,
            };
            let stage = &mut self.stages[index];
            if stage.due().is_none_or(|due| due > now) {
                return;
            }
            if !room {
                stage.stalled = true;
                return;
            }
            let Some(chunk) = stage.take(now) else { return };
            let ends = chunk.kind == Kind::Close;
            match self.stages.get_mut(index + 1) {
                Some(next) => next.push(chunk),
                None => self.make_ready(chunk),
            }
            if ends {
                self.forget(index);
                return;
            }
        }
    }

    /// What reaches a toxic that swallows is gone, and with it all that is behind.
    fn swallow(&mut self, index: usize, after_ms: u64, fate: Fate, now: u64) {
        let stage = &self.stages[index];
        let over = (fate == Fate::Reset || after_ms > 0) && stage.since.saturating_add(nanos(after_ms)) <= now;
        let ended = stage
            .queue
            .iter()
            .any(|chunk| matches!(chunk.kind, Kind::End | Kind::Close));
        if over {
            self.doom(fate);
        } else if ended && fate == Fate::Close {
            self.doom(Fate::Close);
        }
        if self.stages[index].queue_bytes > 0 {
            self.forget(index);
        }
    }

    /// Throws away all bytes up to this stage: they are the tail of what the caller holds.
    fn forget(&mut self, index: usize) {
        self.lost = true;
        for stage in &mut self.stages[..=index] {
            self.discard += mem::take(&mut stage.queue_bytes);
            stage.queue.retain(|chunk| chunk.kind == Kind::End);
            stage.penalty = None;
        }
    }

    /// When [`Chain::advance`] is to be called again, if nothing else happens.
    pub(super) fn next(&self) -> Option<u64> {
        let mut next: Option<u64> = None;
        for (index, stage) in self.stages.iter().enumerate() {
            let blocked = match self.stages.get(index + 1) {
                Some(following) => !following.has_room(),
                None => self.ready_bytes >= READY_BYTES_MAX || self.ready.len() >= CHUNKS_MAX,
            };
            let due = match stage.toxic {
                Toxic::Timeout { timeout_ms: 0 } => None,
                Toxic::Timeout { timeout_ms: ms } | Toxic::Reset { after_ms: ms } => {
                    self.fate.is_none().then(|| stage.since.saturating_add(nanos(ms)))
                }
                _ => stage.due().filter(|_| !blocked),
            };
            next = [next, due].into_iter().flatten().min();
        }
        next
    }

    /// How many bytes may be passed on now, in one segment.
    pub(super) fn ready(&self) -> usize {
        self.ready.front().map_or(0, |chunk| chunk.bytes)
    }

    /// So many of them were passed on.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.ready_bytes -= bytes;
        if let Some(first) = self.ready.front_mut() {
            first.bytes -= bytes;
            if first.bytes == 0 {
                self.ready.pop_front();
            }
        }
    }

    /// Whether all bytes were passed on and the end of the stream is to follow; then whether the other direction
    /// ends too.
    pub(super) fn is_at_end(&self) -> Option<bool> {
        match self.ready.front()?.kind {
            Kind::End => Some(false),
            Kind::Close => Some(true),
            Kind::Bytes | Kind::Piece => None,
        }
    }

    pub(super) fn fate(&self) -> Option<Fate> {
        self.fate
    }

    /// How many bytes at the tail of what the caller holds are to be thrown away.
    pub(super) fn take_discard(&mut self) -> usize {
        mem::take(&mut self.discard)
    }

    fn doom(&mut self, fate: Fate) {
        self.fate = self.fate.max(Some(fate));
    }

    fn make_ready(&mut self, chunk: Chunk) {
        self.ready_bytes += chunk.bytes;
        match self.ready.back_mut() {
            Some(last) if last.kind == Kind::Bytes && chunk.kind == Kind::Bytes => last.bytes += chunk.bytes,
            _ => self.ready.push_back(chunk),
        }
    }
}

impl Chunk {
    fn new(bytes: usize, at: u64, draw: u32, kind: Kind) -> Chunk {
        Chunk { bytes, at, draw, kind }
    }
}

impl Stage {
    fn new(id: u64, toxic: Toxic, seed: u64, now: u64) -> Stage {
        Stage {
            id,
            toxic,
            since: now,
            queue: VecDeque::new(),
            queue_bytes: 0,
            free_at: 0,
            passed: 0,
            penalty: None,
            stalled: false,
            draws: Sequence(seed),
        }
    }

    fn bytes_max(&self) -> usize {
        match self.toxic {
            Toxic::Latency { .. } | Toxic::Loss { .. } => DELAYED_BYTES_MAX,
            _ => QUEUED_BYTES_MAX,
        }
    }

    fn has_room(&self) -> bool {
        self.queue_bytes < self.bytes_max() && self.queue.len() < CHUNKS_MAX
    }

    fn push(&mut self, chunk: Chunk) {
        self.queue_bytes += chunk.bytes;
        if self.queue.is_empty() {
            self.stalled = false;
        }
        self.queue.push_back(chunk);
        if self.queue.len() == 1 {
            self.draw_penalty();
        }
    }

    /// Whether the first chunk is lost on its way, and how often, is drawn once.
    fn draw_penalty(&mut self) {
        let (Toxic::Loss { per_mille }, Some(first)) = (self.toxic, self.queue.front()) else {
            return;
        };
        let per_mille = u64::from(per_mille.min(1_000));
        let segments = (first.bytes as u64).div_ceil(SEGMENT_BYTES);
        let mut is_lost = || self.draws.below(1_000) < per_mille;
        let mut lost = u32::from((0..segments).any(|_| is_lost()));
        while (1..RETRANSMISSIONS_MAX).contains(&lost) && is_lost() {
            lost += 1;
        }
        self.penalty = Some(((1 << lost) - 1) * RETRANSMISSION_MS * MS);
    }

    /// When the first chunk, or its first part, passes; never, for `None`.
    fn due(&self) -> Option<u64> {
        let first = self.queue.front()?;
        let data = first.bytes > 0;
        let here = first.at.max(self.free_at);
        match self.toxic {
            Toxic::Latency { delay_ms, jitter_ms } => Some(
                first
                    .at
                    .saturating_add(delay(delay_ms, jitter_ms, first.draw))
                    .max(self.free_at),
            ),
            Toxic::Bandwidth { bytes_per_second: 0 } => (!data).then_some(here),
            Toxic::Bandwidth { bytes_per_second } => {
                let part = part(bytes_per_second, first.bytes);
                Some(here.saturating_add(time_of(part, bytes_per_second)))
            }
            Toxic::SlowClose { delay_ms } if !data => Some(here.saturating_add(nanos(delay_ms))),
            Toxic::SlowClose { .. } | Toxic::Limit { .. } | Toxic::Slicer { .. } => Some(here),
            Toxic::Timeout { .. } | Toxic::Reset { .. } => None,
            Toxic::Loss { per_mille } if per_mille >= 1_000 => (!data).then_some(here),
            Toxic::Loss { .. } => Some(here.saturating_add(self.penalty.unwrap_or(0))),
        }
    }

    /// The first chunk, or its first part, which is due.
    fn take(&mut self, now: u64) -> Option<Chunk> {
        if mem::take(&mut self.stalled) {
            // What a slow receiver didn't take in time is not made up for.
            self.free_at = self.free_at.max(now.saturating_sub(self.lag()));
        }
        let due = self.due()?.min(now);
        let first = *self.queue.front()?;
        let mut taken = Chunk { at: due, ..first };
        self.free_at = due;
        match self.toxic {
            Toxic::Bandwidth { bytes_per_second } if first.bytes > 0 => {
                taken.bytes = part(bytes_per_second, first.bytes) as usize;
            }
            Toxic::Slicer {
                average_bytes,
                variation_bytes,
                delay_us,
            } if first.bytes > 0 => {
                taken.bytes = slice(average_bytes, variation_bytes, first.bytes, &mut self.draws);
                taken.kind = Kind::Piece;
                self.free_at = due.saturating_add(delay_us.min(DELAY_MS_MAX * 1_000).saturating_mul(1_000));
            }
            Toxic::Limit { bytes } if first.bytes > 0 => {
                let left = bytes.saturating_sub(self.passed);
                if left <= first.bytes as u64 {
                    return Some(self.last(left as usize, taken));
                }
            }
            _ => {}
        }
        self.passed += taken.bytes as u64;
        self.queue_bytes -= taken.bytes;
        match self.queue.front_mut() {
            Some(first) if first.bytes > taken.bytes => first.bytes -= taken.bytes,
            _ => {
                self.queue.pop_front();
                self.draw_penalty();
            }
        }
        Some(taken)
    }

    /// The last bytes that a limit lets pass, then its end.
    fn last(&mut self, left: usize, taken: Chunk) -> Chunk {
        if left == 0 {
            return Chunk {
                bytes: 0,
                kind: Kind::Close,
                ..taken
            };
        }
        self.passed += left as u64;
        self.queue_bytes -= left;
        // A chunk of nothing stands for what is beyond the limit, so that the end follows at the next take.
        if let Some(first) = self.queue.front_mut() {
            first.bytes -= left;
            if first.bytes == 0 {
                *first = Chunk {
                    kind: Kind::Close,
                    ..taken
                };
                first.bytes = 0;
            }
        }
        Chunk { bytes: left, ..taken }
    }

    /// How much may be made up for: one part, so that a late wake-up costs nothing.
    fn lag(&self) -> u64 {
        match self.toxic {
            Toxic::Bandwidth { .. } => 1_000 * MS / PARTS_PER_SECOND,
            _ => 0,
        }
    }
}

fn nanos(ms: u64) -> u64 {
    ms.min(DELAY_MS_MAX) * MS
}

/// `draw` is spread evenly over 2³² values, and the delay over delay ± jitter.
fn delay(delay_ms: u64, jitter_ms: u64, draw: u32) -> u64 {
    let jitter = nanos(jitter_ms);
    let spread = (u128::from(jitter) * 2 * u128::from(draw)) >> 32;
    (nanos(delay_ms) + spread as u64).saturating_sub(jitter)
}

fn part(bytes_per_second: u64, bytes: usize) -> u64 {
    (bytes_per_second / PARTS_PER_SECOND)
        .clamp(1, PART_BYTES_MAX)
        .min(bytes as u64)
}

fn time_of(bytes: u64, bytes_per_second: u64) -> u64 {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(bytes_per_second);
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

fn slice(average_bytes: u64, variation_bytes: u64, bytes: usize, draws: &mut Sequence) -> usize {
    let average = average_bytes.max(1);
    let variation = variation_bytes.min(average - 1);
    let length = average - variation + draws.below(variation.saturating_mul(2).saturating_add(1));
    usize::try_from(length).unwrap_or(bytes).min(bytes)
}
