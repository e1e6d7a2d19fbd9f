//! Bytes that were read and are not yet passed on, in one queue.

use std::collections::VecDeque;

/// Bytes of one buffer: one read, or many small ones.
pub(super) const BUFFER_BYTES: usize = 64 << 10;
/// A buffer with less space than this is not read into.
const SPACE_BYTES_MIN: usize = 4 << 10;
/// Buffers that are kept for the next use.
const POOL_MAX: usize = 8;

/// Empty buffers for the next use.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Vec<u8>>);

#[derive(Debug, Default)]
pub(super) struct Store {
    buffers: VecDeque<Vec<u8>>,
    /// How much of the first buffer is gone.
    start: usize,
    bytes: usize,
}

impl Buffers {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < POOL_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

impl Store {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A buffer to append to, with space; [`Store::grown`] says how much was appended.
    pub(super) fn space(&mut self, pool: &mut Buffers) -> &mut Vec<u8> {
        let full = self
            .buffers
            .back()
            .is_none_or(|last| last.capacity() - last.len() < SPACE_BYTES_MIN);
        if full {
            self.buffers.push_back(pool.take());
        }
        let last = self.buffers.len() - 1;
        &mut self.buffers[last]
    }

    pub(super) fn grown(&mut self, bytes: usize, pool: &mut Buffers) {
        self.bytes += bytes;
        self.tidy(pool);
    }

    pub(super) fn append(&mut self, mut bytes: &[u8], pool: &mut Buffers) {
        while !bytes.is_empty() {
            let space = self.space(pool);
            let count = bytes.len().min(space.capacity() - space.len());
            space.extend_from_slice(&bytes[..count]);
            self.bytes += count;
            bytes = &bytes[count..];
        }
    }

    /// The oldest bytes, as many as lie together.
    pub(super) fn front(&self) -> &[u8] {
        self.buffers.front().map_or(&[], |first| &first[self.start..])
    }

    /// So many of the oldest bytes are gone.
    pub(super) fn consume(&mut self, mut bytes: usize, pool: &mut Buffers) {
        self.bytes -= bytes;
        while bytes > 0 {
            let here = self.front().len().min(bytes);
            self.start += here;
            bytes -= here;
            self.tidy(pool);
        }
    }

    /// Throws the newest bytes away.
    pub(super) fn truncate(&mut self, mut bytes: usize, pool: &mut Buffers) {
        self.bytes -= bytes;
        while bytes > 0 {
            let only = self.buffers.len() == 1;
            let Some(last) = self.buffers.back_mut() else { return };
            let held = last.len() - if only { self.start } else { 0 };
            let here = held.min(bytes);
            last.truncate(last.len() - here);
            bytes -= here;
            if here == held && !only {
                self.buffers.pop_back().into_iter().for_each(|buffer| pool.give(buffer));
            }
        }
        self.tidy(pool);
    }

    /// Lets go of buffers that are read to their end, but for one that can still be appended to.
    fn tidy(&mut self, pool: &mut Buffers) {
        while self.buffers.front().is_some_and(|first| first.len() == self.start) {
            if let Some(buffer) = self.buffers.pop_front() {
                pool.give(buffer);
            }
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec((0u8..3, 0usize..200_000), 0..60)) {
            let (mut pool, mut store, mut model) = (Buffers::default(), Store::default(), VecDeque::new());
            let mut next = 0u8;
            for (step, count) in steps {
                match step {
                    0 => {
                        let bytes: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                        store.append(&bytes, &mut pool);
                        model.extend(bytes);
                    }
                    1 => {
                        let count = count.min(store.front().len());
                        let expected: Vec<u8> = model.drain(..count).collect();
                        prop_assert!(store.front()[..count] == expected);
                        store.consume(count, &mut pool);
                    }
                    _ => {
                        let count = count.min(model.len());
                        model.truncate(model.len() - count);
                        store.truncate(count, &mut pool);
                    }
                }
                prop_assert_eq!(store.bytes(), model.len());
                prop_assert_eq!(store.front().is_empty(), model.is_empty());
            }
        }
    }
}
