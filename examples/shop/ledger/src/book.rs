//! The entries themselves, in memory.

use std::collections::{HashSet, VecDeque};

/// Entries whose id is remembered, so that a repeated one is booked once.
const REMEMBERED_MAX: usize = 100_000;
pub const AMOUNT_CENTS_MAX: i64 = 100_000_000;

/// A sum, and what it came from.
#[derive(Debug, Default)]
pub struct Book {
    balance_cents: i64,
    entries: u64,
    seen: HashSet<String>,
    order: VecDeque<String>,
}

impl Book {
    /// Books an entry; false when its id was booked before.
    pub fn add(&mut self, id: &str, amount_cents: i64) -> bool {
        if !self.seen.insert(id.to_owned()) {
            return false;
        }
        self.order.push_back(id.to_owned());
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.balance_cents = self.balance_cents.saturating_add(amount_cents);
        self.entries += 1;
        true
    }

    pub fn balance_cents(&self) -> i64 {
        self.balance_cents
    }

    pub fn entries(&self) -> u64 {
        self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up() {
        let mut book = Book::default();
        assert!(book.add("a", 1200));
        assert!(book.add("b", -200));
        assert_eq!((book.balance_cents(), book.entries()), (1000, 2));
    }

    #[test]
    fn an_entry_that_comes_twice_is_booked_once() {
        let mut book = Book::default();
        assert!(book.add("a", 1200));
        assert!(!book.add("a", 1200));
        assert_eq!((book.balance_cents(), book.entries()), (1200, 1));
    }
}
