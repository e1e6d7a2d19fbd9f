//! A checkable history: words that are written one after the other, and what reading gives back.
//!
//! A write that was acknowledged before a read began has to be in it; one whose answer never came may be or not. No
//! word may be there twice, and none that was never written (Jepsen's `set` and, with one writer, `register` workloads:
//! <https://github.com/jepsen-io/jepsen>).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::experiment::Model;

/// So much of a run's name makes its words its own.
const OWN_BYTES: usize = 12;

/// Writes so far.
#[derive(Debug)]
pub(crate) struct History {
    model: Model,
    own: String,
    /// When each was acknowledged; boot time.
    writes: Vec<Option<Duration>>,
}

/// What is wrong with a read, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Broken {
    Lost,
    Duplicated,
    Stale,
    NeverWritten,
}

impl Broken {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Broken::Lost => "lost-write",
            Broken::Duplicated => "duplicate-write",
            Broken::Stale => "stale-read",
            Broken::NeverWritten => "phantom-read",
        }
    }
}

impl History {
    pub(crate) fn new(model: Model, run: &str) -> History {
        History {
            model,
            own: format!("pm{}n", &run[..OWN_BYTES.min(run.len())]),
            writes: Vec::new(),
        }
    }

    /// The next word to write, and its number.
    pub(crate) fn next(&mut self) -> (usize, String) {
        self.writes.push(None);
        let number = self.writes.len() - 1;
        (number, format!("{}{number}x", self.own))
    }

    pub(crate) fn acknowledged(&mut self, number: usize, at: Duration) {
        self.writes[number] = Some(at);
    }

    /// Checks a read that began at `start`.
    pub(crate) fn read(&self, start: Duration, body: &[u8]) -> Result<(), Broken> {
        let body = String::from_utf8_lossy(body);
        let found = self.words(&body);
        if found.keys().any(|number| *number >= self.writes.len()) {
            return Err(Broken::NeverWritten);
        }
        let mut there = (0..self.writes.len()).filter(|number| self.writes[*number].is_some_and(|at| at <= start));
        match self.model {
            Model::Set if found.values().any(|times| *times > 1) => Err(Broken::Duplicated),
            Model::Set if there.any(|number| !found.contains_key(&number)) => Err(Broken::Lost),
            Model::Set => Ok(()),
            Model::Register => match (found.keys().max(), there.next_back()) {
                (None, Some(_)) => Err(Broken::Lost),
                // One whose answer never came may take effect at any later time.
                (Some(read), Some(last)) if *read < last && self.writes[*read].is_some() => Err(Broken::Stale),
                _ => Ok(()),
            },
        }
    }

    /// Numbers of our words, and how often each is there.
    fn words(&self, body: &str) -> BTreeMap<usize, u32> {
        let mut found = BTreeMap::new();
        for (at, _) in body.match_indices(&self.own) {
            let rest = &body[at + self.own.len()..];
            let word = rest.find('x').and_then(|end| rest[..end].parse().ok());
            if let Some(number) = word {
                *found.entry(number).or_default() += 1;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three writes, acknowledged at 1, never, and at 3; a read at `start` gives `numbers`.
    #[track_caller]
    fn check(model: Model, start: u64, numbers: &[usize], expect: Result<(), Broken>) {
        let mut history = History::new(model, "0123456789abcdef");
        let words: Vec<String> = (0..3).map(|_| history.next().1).collect();
        history.acknowledged(0, Duration::from_secs(1));
        history.acknowledged(2, Duration::from_secs(3));
        let word = |number: &usize| {
            words
                .get(*number)
                .cloned()
                .unwrap_or_else(|| "pm0123456789abn7x".to_owned())
        };
        let body = format!("[\"{}\"]", numbers.iter().map(word).collect::<Vec<_>>().join("\",\""));
        assert_eq!(
            history.read(Duration::from_secs(start), body.as_bytes()),
            expect,
            "{model:?} {body}"
        );
    }

    #[test]
    fn what_was_acknowledged_is_there_once() {
        use Broken::{Duplicated, Lost, NeverWritten, Stale};
        use Model::{Register, Set};
        check(Set, 0, &[], Ok(()));
        check(Set, 1, &[], Err(Lost));
        check(Set, 2, &[0], Ok(()));
        check(Set, 2, &[0, 1], Ok(()));
        check(Set, 3, &[0, 1], Err(Lost));
        check(Set, 3, &[2, 0], Ok(()));
        check(Set, 3, &[2, 0, 2], Err(Duplicated));
        check(Set, 3, &[2, 0, 7], Err(NeverWritten));
        check(Register, 0, &[], Ok(()));
        check(Register, 2, &[], Err(Lost));
        check(Register, 3, &[0], Err(Stale));
        check(Register, 3, &[1], Ok(()));
        check(Register, 3, &[2], Ok(()));
        check(Register, 1, &[2], Ok(()));
    }
}
