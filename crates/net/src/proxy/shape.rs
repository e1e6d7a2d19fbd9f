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
/// What a bandwidth makes up for at most after nothing could be passed on, in milliseconds.
const LAG_MS_MAX: u64 = 50;
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
    /// Passes whole or not at all.
    Datagram,
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

    /// A datagram has arrived, for which there was room. It counts as one byte at least.
    pub(super) fn push_datagram(&mut self, bytes: usize, now: u64) {
        self.enter(bytes.max(1), Kind::Datagram, now);
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

    /// Bytes that came in and were not yet passed on.
    pub(super) fn held(&self) -> usize {
        self.stages.iter().map(|stage| stage.queue_bytes).sum::<usize>() + self.ready_bytes
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
            Kind::Bytes | Kind::Piece | Kind::Datagram => None,
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

    /// How much of it passes at once under a bandwidth.
    fn part(&self, bytes_per_second: u64) -> u64 {
        match self.kind {
            Kind::Datagram => self.bytes as u64,
            _ => (bytes_per_second / PARTS_PER_SECOND)
                .clamp(1, PART_BYTES_MAX)
                .min(self.bytes as u64),
        }
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
            // Enough to go on with when a thread that was kept from running makes up for it.
            Toxic::Bandwidth { bytes_per_second } => usize::try_from(bytes_per_second / (1_000 / LAG_MS_MAX))
                .unwrap_or(usize::MAX)
                .clamp(QUEUED_BYTES_MAX, DELAYED_BYTES_MAX),
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
                let part = first.part(bytes_per_second);
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
                taken.bytes = first.part(bytes_per_second) as usize;
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

    /// How much may be made up for, so that a late wake-up costs nothing.
    fn lag(&self) -> u64 {
        match self.toxic {
            Toxic::Bandwidth { .. } => LAG_MS_MAX * MS,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000 * MS;

    fn chain(toxics: &[Toxic]) -> Chain {
        let mut chain = Chain::default();
        chain.set(&numbered(toxics), 0);
        chain
    }

    fn numbered(toxics: &[Toxic]) -> Vec<(u64, Toxic, u64)> {
        let numbered = toxics.iter().enumerate();
        numbered.map(|(id, toxic)| (id as u64, *toxic, 7 + id as u64)).collect()
    }

    /// Takes out what is ready: bytes of each segment.
    fn take(chain: &mut Chain) -> Vec<usize> {
        let mut taken = Vec::new();
        while chain.ready() > 0 {
            taken.push(chain.ready());
            chain.passed(chain.ready());
        }
        taken
    }

    /// Lets time pass until nothing more happens: when which segment passed.
    fn run(chain: &mut Chain, mut now: u64, until: u64) -> Vec<(u64, usize)> {
        let mut out = Vec::new();
        loop {
            chain.advance(now);
            out.extend(take(chain).into_iter().map(|bytes| (now, bytes)));
            match chain.next() {
                Some(next) if next <= until && chain.fate().is_none() => now = now.max(next),
                _ => return out,
            }
        }
    }

    #[track_caller]
    fn check(toxics: &[Toxic], pushes: &[(u64, usize)], expected: &[(u64, usize)]) {
        let mut chain = chain(toxics);
        let mut out = Vec::new();
        for (at, bytes) in pushes {
            out.extend(run(&mut chain, 0, *at));
            chain.push(*bytes, *at);
        }
        out.extend(run(&mut chain, pushes.last().map_or(0, |(at, _)| *at), u64::MAX));
        assert_eq!(out, expected);
    }

    const fn latency(delay_ms: u64) -> Toxic {
        Toxic::Latency { delay_ms, jitter_ms: 0 }
    }

    const fn bandwidth(bytes_per_second: u64) -> Toxic {
        Toxic::Bandwidth { bytes_per_second }
    }

    #[test]
    fn delays_are_exact_and_add_up() {
        check(&[latency(10)], &[(0, 5), (MS, 6)], &[(10 * MS, 5), (11 * MS, 6)]);
        check(
            &[latency(10), latency(20)],
            &[(0, 5), (MS, 6)],
            &[(30 * MS, 5), (31 * MS, 6)],
        );
        check(&[], &[(3, 5)], &[(3, 5)]);
        check(&[latency(u64::MAX)], &[(0, 5)], &[(DELAY_MS_MAX * MS, 5)]);
        check(
            &[Toxic::SlowClose { delay_ms: 9 }, Toxic::Loss { per_mille: 0 }],
            &[(3, 5)],
            &[(3, 5)],
        );
    }

    #[test]
    fn a_bandwidth_is_kept_over_time_whatever_the_parts() {
        // 200 parts a second of 5 bytes, each at its end.
        let expected: Vec<(u64, usize)> = (1..=20).map(|n| (n * 5 * MS, 5)).collect();
        check(&[bandwidth(1_000)], &[(0, 100)], &expected);
        check(&[bandwidth(0)], &[(0, 100)], &[]);
        check(&[bandwidth(u64::MAX)], &[(0, 100)], &[(0, 100)]);
        for rate in [1, 199, 200, 777_777, 100_000_000, 10_000_000_000] {
            let mut chain = chain(&[bandwidth(rate)]);
            let (mut now, mut passed) = (0, 0u64);
            while passed < 3_000_000 && now < 40 * SECOND {
                while chain.room() > 0 {
                    chain.push(ROOM_BYTES_MIN, now);
                }
                chain.advance(now);
                passed += take(&mut chain).into_iter().sum::<usize>() as u64;
                let part = (rate / PARTS_PER_SECOND).clamp(1, PART_BYTES_MAX);
                let due = u128::from(rate) * u128::from(now) / u128::from(SECOND);
                let late = due.saturating_sub(u128::from(passed));
                // A moment is a whole nanosecond, and a part may be that much early.
                let early = due / 10_000 + 1;
                assert!(
                    u128::from(passed) <= due + early && late <= u128::from(part) + 1,
                    "{rate}: {passed} at {now}"
                );
                now = now.max(chain.next().unwrap());
            }
        }
    }

    #[test]
    fn a_slow_receiver_is_not_made_up_for() {
        let mut chain = chain(&[bandwidth(1_000_000)]);
        let mut now = 0;
        // Nothing is taken out: it fills up, and stays bounded.
        while now < 60 * SECOND {
            while chain.room() > 0 {
                chain.push(ROOM_BYTES_MIN, now);
            }
            chain.advance(now);
            now += 10 * MS;
        }
        assert!(chain.held() <= READY_BYTES_MAX + QUEUED_BYTES_MAX + 2 * PART_BYTES_MAX as usize);
        take(&mut chain);
        let begun = now;
        let mut passed = 0;
        while now < begun + SECOND {
            while chain.room() > 0 {
                chain.push(ROOM_BYTES_MIN, now);
            }
            chain.advance(now);
            passed += take(&mut chain).into_iter().sum::<usize>();
            now += MS;
        }
        assert!((980_000..=1_070_000).contains(&passed), "{passed}");
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_in_order() {
        let mut chain = chain(&[Toxic::Latency {
            delay_ms: 50,
            jitter_ms: 20,
        }]);
        let (mut sum, mut count) = (0, 0);
        for round in 0..500 {
            let at = round * SECOND;
            chain.push(1, at);
            let out = run(&mut chain, at, at + SECOND / 2);
            assert_eq!(out.len(), 1);
            let delay = out[0].0 - at;
            assert!((30 * MS..=70 * MS).contains(&delay), "{delay}");
            sum += delay;
            count += 1;
        }
        assert!((48 * MS..52 * MS).contains(&(sum / count)));
    }

    #[test]
    fn slices_have_their_size_and_their_distance() {
        let slicer = Toxic::Slicer {
            average_bytes: 100,
            variation_bytes: 30,
            delay_us: 250,
        };
        let mut chain = chain(&[slicer]);
        chain.push(10_000, 0);
        let out = run(&mut chain, 0, u64::MAX);
        assert_eq!(out.iter().map(|(_, bytes)| bytes).sum::<usize>(), 10_000);
        for (index, (at, bytes)) in out.iter().enumerate() {
            assert_eq!(*at, index as u64 * 250_000);
            assert!((70..=130).contains(bytes) || index == out.len() - 1, "{bytes}");
        }
        for odd in [(0, 0, 0), (1, u64::MAX, 0), (u64::MAX, u64::MAX, u64::MAX)] {
            let (average_bytes, variation_bytes, delay_us) = odd;
            check(
                &[Toxic::Slicer {
                    average_bytes,
                    variation_bytes,
                    delay_us,
                }],
                &[(0, 1)],
                &[(0, 1)],
            );
        }
    }

    #[test]
    fn the_end_comes_last_and_a_slow_close_holds_it() {
        let mut chain = chain(&[latency(5), Toxic::SlowClose { delay_ms: 30 }]);
        chain.push(9, 0);
        chain.end(0);
        assert_eq!(run(&mut chain, 0, 34 * MS), [(5 * MS, 9)]);
        assert_eq!(chain.is_at_end(), None);
        chain.advance(35 * MS);
        assert_eq!(chain.is_at_end(), Some(false));
    }

    #[test]
    fn a_limit_passes_exactly_that_many_and_ends_everything() {
        for pushes in [vec![100], vec![60, 60], vec![1; 100], vec![99, 1], vec![100, 0, 7]] {
            let mut chain = chain(&[Toxic::Limit { bytes: 100 }, latency(1)]);
            let pushed: usize = pushes.iter().sum();
            for bytes in pushes {
                if bytes > 0 && !chain.is_deaf() {
                    chain.push(bytes, 0);
                    chain.advance(0);
                }
            }
            let passed: usize = run(&mut chain, 0, u64::MAX).iter().map(|(_, bytes)| bytes).sum();
            assert_eq!(passed, 100);
            assert_eq!(chain.is_at_end(), Some(true));
            assert!(chain.take_discard() <= pushed - 100);
        }
        let mut none = chain(&[Toxic::Limit { bytes: 0 }]);
        none.push(5, 0);
        assert_eq!(run(&mut none, 0, u64::MAX), []);
        assert_eq!((none.is_at_end(), none.take_discard()), (Some(true), 5));
    }

    #[test]
    fn what_swallows_ends_the_connection() {
        let fate = |toxic: Toxic, bytes: usize, end: bool, at: u64| {
            let mut chain = chain(&[latency(1), toxic]);
            if bytes > 0 {
                chain.push(bytes, 0);
            }
            if end {
                chain.end(0);
            }
            assert_eq!(run(&mut chain, 0, at), []);
            chain.advance(at);
            chain.fate()
        };
        let timeout = |timeout_ms| Toxic::Timeout { timeout_ms };
        let reset = |after_ms| Toxic::Reset { after_ms };
        assert_eq!(fate(timeout(0), 5, false, u64::MAX / 2), None);
        assert_eq!(fate(timeout(0), 5, true, SECOND), Some(Fate::Close));
        assert_eq!(fate(timeout(20), 5, false, 20 * MS - 1), None);
        assert_eq!(fate(timeout(20), 5, false, 20 * MS), Some(Fate::Close));
        assert_eq!(fate(reset(0), 0, false, 0), Some(Fate::Reset));
        assert_eq!(fate(reset(20), 5, true, 20 * MS - 1), None);
        assert_eq!(fate(reset(20), 0, false, 20 * MS), Some(Fate::Reset));

        for (pushed, expected) in [(5, Fate::Reset), (0, Fate::Close)] {
            let mut chain = chain(&[timeout(0)]);
            if pushed > 0 {
                chain.push(pushed, 0);
            }
            chain.advance(0);
            assert_eq!((chain.fate(), chain.take_discard()), (None, pushed));
            chain.set(&[], MS);
            assert_eq!(chain.fate(), Some(expected));
        }
    }

    #[test]
    fn a_loss_waits_for_retransmissions() {
        let mut chain = chain(&[Toxic::Loss { per_mille: 300 }]);
        let mut delayed = 0;
        for round in 0..1_000 {
            let at = round * 1_000 * SECOND;
            chain.push(100, at);
            let out = run(&mut chain, at, at + 999 * SECOND);
            let delay = (out[0].0 - at) / MS;
            assert!(
                [0, 200, 600, 1_400, 3_000, 6_200, 12_600, 25_400, 51_000].contains(&delay),
                "{delay}"
            );
            delayed += usize::from(delay > 0);
        }
        assert!((240..360).contains(&delayed), "{delayed}");
        check(&[Toxic::Loss { per_mille: 1_000 }], &[(0, 5)], &[]);
    }

    #[test]
    fn a_change_takes_effect_on_what_is_held() {
        let mut chain = chain(&[latency(1_000), bandwidth(1_000)]);
        chain.push(10, 0);
        chain.advance(0);
        // Without the first, the second has it.
        chain.set(&numbered(&[latency(1_000), bandwidth(1_000)])[1..], MS);
        assert_eq!(run(&mut chain, MS, u64::MAX), [(6 * MS, 5), (11 * MS, 5)]);
        chain.push(10, 20 * MS);
        chain.set(&[], 20 * MS);
        assert_eq!(take(&mut chain), [10]);

        // A new delay holds for what is held, from when it came.
        let mut chain = self::chain(&[latency(1_000)]);
        chain.push(10, 0);
        chain.set(&numbered(&[latency(50)]), 10 * MS);
        assert_eq!(run(&mut chain, 10 * MS, u64::MAX), [(50 * MS, 10)]);
    }

    fn harmless() -> impl Strategy<Value = Toxic> {
        prop_oneof![
            (0u64..50, 0u64..60).prop_map(|(delay_ms, jitter_ms)| Toxic::Latency { delay_ms, jitter_ms }),
            (0u64..5_000_000).prop_map(bandwidth),
            (0u64..50).prop_map(|delay_ms| Toxic::SlowClose { delay_ms }),
            (0u64..90_000, 0u64..90_000, 0u64..2_000).prop_map(|(average_bytes, variation_bytes, delay_us)| {
                Toxic::Slicer {
                    average_bytes,
                    variation_bytes,
                    delay_us,
                }
            }),
            (0u16..1_001).prop_map(|per_mille| Toxic::Loss { per_mille }),
            (1u64 << 40..1 << 50).prop_map(|bytes| Toxic::Limit { bytes }),
        ]
    }

    #[derive(Debug, Clone)]
    enum Event {
        Push(usize),
        Wait(u64),
        Set(Vec<(u64, Toxic)>),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1usize..200_000).prop_map(Event::Push),
            (0u64..30 * MS).prop_map(Event::Wait),
            prop::collection::vec((0u64..4, harmless()), 0..4).prop_map(Event::Set),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_lost_or_invented(events in prop::collection::vec(event(), 0..60)) {
            let mut chain = Chain::default();
            let (mut now, mut pushed, mut passed) = (0, 0usize, 0usize);
            for event in events {
                match event {
                    Event::Push(bytes) if chain.room() > 0 => {
                        chain.push(bytes, now);
                        pushed += bytes;
                    }
                    Event::Push(_) => {}
                    Event::Wait(time) => now += time,
                    Event::Set(mut toxics) => {
                        toxics.sort_by_key(|(id, _)| (id * 7) % 4);
                        toxics.dedup_by_key(|(id, _)| *id);
                        let toxics: Vec<_> = toxics.into_iter().map(|(id, toxic)| (id, toxic, id)).collect();
                        chain.set(&toxics, now);
                    }
                }
                chain.advance(now);
                prop_assert!(chain.next().is_none_or(|next| next > now));
                passed += take(&mut chain).into_iter().sum::<usize>();
                prop_assert_eq!(pushed, passed + chain.held());
                prop_assert_eq!((chain.fate(), chain.take_discard(), chain.is_deaf()), (None, 0, false));
            }
            chain.end(now);
            chain.set(&[], now);
            passed += take(&mut chain).into_iter().sum::<usize>();
            prop_assert_eq!(pushed, passed);
            prop_assert_eq!(chain.is_at_end(), Some(false));
        }
    }
}
