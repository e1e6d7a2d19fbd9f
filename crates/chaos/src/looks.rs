//! Looks at something that changes once and for good, and between which bounds the change lies.
//!
//! Each look is a request: what it saw was so at some moment between its start and its end. Looks may overlap and
//! end in any order; what counts is when they began.

use std::time::Duration;

/// Looks in order of start.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    looks: Vec<Look>,
    /// The latest that was not good.
    bad: Option<usize>,
    /// Good ones that began after it, and the earliest end among them.
    good: u32,
    good_end: Option<Duration>,
}

#[derive(Debug)]
struct Look {
    start: Duration,
    answer: Option<(Duration, bool)>,
}

/// A change: it came after `after`, and at `at` at the latest. Boot times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) after: Duration,
    pub(crate) at: Duration,
}

impl Change {
    /// When both have come.
    pub(crate) fn and(self, other: Change) -> Change {
        Change {
            after: self.after.max(other.after),
            at: self.at.max(other.at),
        }
    }
}

impl Looks {
    /// A look begins; the answer is its number.
    pub(crate) fn begin(&mut self, start: Duration) -> usize {
        self.looks.push(Look { start, answer: None });
        self.looks.len() - 1
    }

    pub(crate) fn answer(&mut self, number: usize, end: Duration, good: bool) {
        self.looks[number].answer = Some((end, good));
        match self.bad {
            Some(bad) if number < bad => {}
            _ if good => self.count(end),
            _ => {
                self.bad = Some(number);
                (self.good, self.good_end) = (0, None);
                let later: Vec<Duration> = self.looks[number + 1..]
                    .iter()
                    .filter_map(|look| look.answer)
                    .map(|(end, _)| end)
                    .collect();
                later.into_iter().for_each(|end| self.count(end));
            }
        }
    }

    /// The change after which every look was good: `None` with fewer than `needed` of them. It can't have come before
    /// `from`.
    pub(crate) fn change(&self, from: Duration, needed: u32) -> Option<Change> {
        let at = self.good_end.filter(|_| self.good >= needed)?;
        let after = self.bad.map_or(from, |bad| self.looks[bad].start.max(from));
        Some(Change {
            after,
            at: at.max(from),
        })
    }

    fn count(&mut self, end: Duration) {
        self.good += 1;
        self.good_end = Some(self.good_end.map_or(end, |known| known.min(end)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks as (start, end, good), answered in order of end; the change as (after, at).
    #[track_caller]
    fn check(looks: &[(u64, u64, bool)], needed: u32, expect: Option<(u64, u64)>) {
        let mut seen = Looks::default();
        let numbers: Vec<usize> = looks.iter().map(|(start, ..)| seen.begin(ms(*start))).collect();
        let mut order: Vec<usize> = (0..looks.len()).collect();
        order.sort_by_key(|at| looks[*at].1);
        for at in order {
            seen.answer(numbers[at], ms(looks[at].1), looks[at].2);
        }
        let change = seen.change(ms(5), needed);
        assert_eq!(
            change.map(|change| (change.after, change.at)),
            expect.map(|(a, b)| (ms(a), ms(b)))
        );
    }

    #[test]
    fn the_change_lies_between_the_last_bad_look_and_the_first_good_end() {
        check(&[], 1, None);
        check(&[(10, 11, true), (20, 21, true)], 2, Some((5, 11)));
        check(&[(10, 11, false), (20, 21, true), (30, 31, true)], 2, Some((10, 21)));
        check(&[(10, 11, false), (20, 21, true)], 2, None);
        check(&[(10, 11, true), (20, 21, false), (30, 31, true)], 1, Some((20, 31)));
        // One that hung meanwhile, and failed when others had long been served.
        check(&[(10, 500, false), (20, 21, true), (30, 31, true)], 2, Some((10, 21)));
        // A later one that ended first.
        check(&[(10, 40, true), (20, 25, true)], 2, Some((5, 25)));
        check(&[(10, 60, true), (20, 25, false), (30, 35, true)], 1, Some((20, 35)));
        check(&[(1, 3, true)], 1, Some((5, 5)));
    }
}
