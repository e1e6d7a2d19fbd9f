//! Bytes that were read and are not yet passed on, in one queue: in pipes, where no byte is copied, or in buffers.
//!
//! Start reading at [`Store`]; [`Pool`] is what all queues of a proxy draw from, and their common bound.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

/// Bytes of one buffer: one read, or many small ones.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// What one pipe holds at most; the kernel counts it in pages, of which large reads need fewer.
pub(super) const PIPE_BYTES: usize = 1 << 20;
/// A buffer with less space than this is not read into.
const SPACE_BYTES_MIN: usize = 4 << 10;
/// Buffers of one proxy that are in use, but for those of queues that have hardly any.
const BUFFERS_MAX: usize = 512;
/// What every queue may hold in buffers, however many others do.
const OWN_BYTES_MIN: usize = 128 << 10;
/// Pipes of one proxy that are in use. A queue that finds none left takes buffers.
const PIPES_MAX: usize = 64;
/// Empty buffers and pipes that are kept for the next use.
const BUFFERS_KEPT_MAX: usize = 8;
const PIPES_KEPT_MAX: usize = 16;

/// Buffers and pipes for the queues of one proxy.
#[derive(Debug, Default)]
pub(super) struct Pool {
    buffers: Vec<Vec<u8>>,
    buffers_used: usize,
    pipes: Vec<Pipe>,
    pipes_used: usize,
}

/// The bytes of one direction of one connection, oldest first.
#[derive(Debug, Default)]
pub(super) struct Store {
    segments: VecDeque<Segment>,
    /// How much of the first segment is gone, when it is a buffer.
    start: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Segment {
    Buffer(Vec<u8>),
    Pipe(Pipe),
}

#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    pub(super) write: OwnedFd,
    /// Those at its end that are not wanted any more are not counted.
    bytes: usize,
    /// Something is in it that is not wanted.
    spoilt: bool,
}

/// Where the oldest bytes lie, as many as lie together.
pub(super) enum Front<'a> {
    Bytes(&'a [u8]),
    Pipe(&'a OwnedFd, usize),
}

impl Pool {
    fn buffer(&mut self) -> Vec<u8> {
        self.buffers_used += 1;
        self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    fn pipe(&mut self) -> Option<Pipe> {
        let pipe = match self.pipes.pop() {
            Some(pipe) => pipe,
            None if self.pipes_used >= PIPES_MAX => return None,
            None => {
                let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
                // A smaller one does too, when the user has too many already.
                let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_BYTES);
                Pipe {
                    read,
                    write,
                    bytes: 0,
                    spoilt: false,
                }
            }
        };
        self.pipes_used += 1;
        Some(pipe)
    }

    fn give(&mut self, segment: Segment) {
        match segment {
            Segment::Buffer(mut buffer) => {
                self.buffers_used -= 1;
                if self.buffers.len() < BUFFERS_KEPT_MAX {
                    buffer.clear();
                    self.buffers.push(buffer);
                }
            }
            Segment::Pipe(pipe) => {
                self.pipes_used -= 1;
                if pipe.bytes == 0 && !pipe.spoilt && self.pipes.len() < PIPES_KEPT_MAX {
                    self.pipes.push(pipe);
                }
            }
        }
    }
}

impl Store {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it may take buffers, with what all others hold.
    pub(super) fn may_grow(&self, pool: &Pool) -> bool {
        pool.buffers_used < BUFFERS_MAX || self.bytes < OWN_BYTES_MIN
    }

    /// A buffer to append to, with space; [`Store::grown`] is to follow.
    pub(super) fn space(&mut self, pool: &mut Pool) -> &mut Vec<u8> {
        let full = match self.segments.back() {
            Some(Segment::Buffer(last)) => last.capacity() - last.len() < SPACE_BYTES_MIN,
            Some(Segment::Pipe(_)) | None => true,
        };
        if full {
            self.segments.push_back(Segment::Buffer(pool.buffer()));
        }
        match self.segments.back_mut() {
            Some(Segment::Buffer(last)) => last,
            Some(Segment::Pipe(_)) | None => unreachable!("a buffer was put there"),
        }
    }

    /// A pipe to append to: the last one, or a `fresh` one; `None` when none is to be had. [`Store::grown`] is to
    /// follow.
    pub(super) fn pipe(&mut self, fresh: bool, pool: &mut Pool) -> Option<&mut Pipe> {
        if fresh || !matches!(self.segments.back(), Some(Segment::Pipe(_))) {
            self.segments.push_back(Segment::Pipe(pool.pipe()?));
        }
        match self.segments.back_mut() {
            Some(Segment::Pipe(last)) => Some(last),
            Some(Segment::Buffer(_)) | None => None,
        }
    }

    /// So many bytes were appended to what was asked for last.
    pub(super) fn grown(&mut self, bytes: usize, pool: &mut Pool) {
        self.bytes += bytes;
        match self.segments.back_mut() {
            Some(Segment::Pipe(last)) => last.bytes += bytes,
            Some(Segment::Buffer(_)) | None => {}
        }
        if bytes == 0 && self.segments.back().is_some_and(Segment::is_empty) {
            self.segments
                .pop_back()
                .into_iter()
                .for_each(|segment| pool.give(segment));
        }
    }

    pub(super) fn append(&mut self, mut bytes: &[u8], pool: &mut Pool) {
        while !bytes.is_empty() {
            let space = self.space(pool);
            let count = bytes.len().min(space.capacity() - space.len());
            space.extend_from_slice(&bytes[..count]);
            self.bytes += count;
            bytes = &bytes[count..];
        }
    }

    pub(super) fn front(&self) -> Front<'_> {
        match self.segments.front() {
            Some(Segment::Buffer(first)) => Front::Bytes(&first[self.start..]),
            Some(Segment::Pipe(first)) => Front::Pipe(&first.read, first.bytes),
            None => Front::Bytes(&[]),
        }
    }

    /// So many of the front's bytes are gone.
    pub(super) fn consume(&mut self, bytes: usize, pool: &mut Pool) {
        self.bytes -= bytes;
        match self.segments.front_mut() {
            Some(Segment::Buffer(_)) => self.start += bytes,
            Some(Segment::Pipe(first)) => first.bytes -= bytes,
            None => {}
        }
        self.tidy(pool);
    }

    /// Throws the newest bytes away.
    pub(super) fn truncate(&mut self, mut bytes: usize, pool: &mut Pool) {
        self.bytes -= bytes;
        while bytes > 0 {
            let start = if self.segments.len() == 1 { self.start } else { 0 };
            let here = match self.segments.back_mut() {
                Some(Segment::Buffer(last)) => {
                    let here = bytes.min(last.len() - start);
                    last.truncate(last.len() - here);
                    here
                }
                Some(Segment::Pipe(last)) => {
                    let here = bytes.min(last.bytes);
                    last.bytes -= here;
                    last.spoilt = true;
                    here
                }
                None => return,
            };
            bytes -= here;
            if self.segments.len() > 1 && self.segments.back().is_some_and(Segment::is_empty) {
                self.segments
                    .pop_back()
                    .into_iter()
                    .for_each(|segment| pool.give(segment));
            }
        }
        self.tidy(pool);
    }

    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.segments.drain(..).for_each(|segment| pool.give(segment));
        (self.start, self.bytes) = (0, 0);
    }

    /// Lets go of what is read to its end.
    fn tidy(&mut self, pool: &mut Pool) {
        loop {
            let empty = match self.segments.front() {
                Some(Segment::Buffer(first)) => first.len() == self.start,
                Some(Segment::Pipe(first)) => first.bytes == 0,
                None => false,
            };
            if !empty {
                return;
            }
            self.start = 0;
            self.segments
                .pop_front()
                .into_iter()
                .for_each(|segment| pool.give(segment));
        }
    }
}

impl Segment {
    fn is_empty(&self) -> bool {
        match self {
            Segment::Buffer(buffer) => buffer.is_empty(),
            Segment::Pipe(pipe) => pipe.bytes == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn front(store: &Store, count: usize) -> Vec<u8> {
        match store.front() {
            Front::Bytes(bytes) => bytes[..count].to_vec(),
            Front::Pipe(pipe, _) => {
                let mut bytes = vec![0; count];
                let mut read = 0;
                while read < count {
                    read += rustix::io::read(pipe, &mut bytes[read..]).unwrap();
                }
                bytes
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0u8..5, 0usize..200_000), 0..60)) {
            let (mut pool, mut store, mut model) = (Pool::default(), Store::default(), VecDeque::new());
            let (mut next, mut truncated) = (0u8, false);
            for (step, count) in steps {
                let mut bytes = |count: usize| -> Vec<u8> {
                    (0..count).map(|_| { next = next.wrapping_add(1); next }).collect()
                };
                match step {
                    // Nothing is appended after the tail was thrown away: that is what a toxic that swallows means.
                    0 if !truncated => {
                        let bytes = bytes(count);
                        store.append(&bytes, &mut pool);
                        model.extend(bytes);
                    }
                    1 | 2 if !truncated => {
                        let bytes = bytes(count / 10);
                        let pipe = store.pipe(step == 2, &mut pool).unwrap();
                        // It may be full.
                        let written = if bytes.is_empty() { 0 } else { rustix::io::write(&pipe.write, &bytes).unwrap_or(0) };
                        store.grown(written, &mut pool);
                        model.extend(&bytes[..written]);
                        next = next.wrapping_sub((bytes.len() - written) as u8);
                    }
                    3 => {
                        let length = match store.front() { Front::Bytes(bytes) => bytes.len(), Front::Pipe(_, bytes) => bytes };
                        let count = count.min(length);
                        let expected: Vec<u8> = model.drain(..count).collect();
                        prop_assert!(front(&store, count) == expected);
                        store.consume(count, &mut pool);
                    }
                    4 if count < 20_000 => {
                        truncated = true;
                        let count = count.min(model.len());
                        model.truncate(model.len() - count);
                        store.truncate(count, &mut pool);
                    }
                    _ => {}
                }
                prop_assert_eq!(store.bytes(), model.len());
            }
            store.clear(&mut pool);
            prop_assert_eq!((pool.buffers_used, pool.pipes_used), (0, 0));
        }
    }
}
