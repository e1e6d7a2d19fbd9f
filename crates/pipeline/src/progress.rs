//! What a command tells the person who waits. Whoever owns a terminal implements it.

use evidence::Stage;

/// One line a stage, and what happens meanwhile. Nothing here decides anything.
pub trait Progress: Send + Sync {
    /// What is judged: the first line.
    fn header(&self, line: &str);

    /// What is being done now; `total` 0 means nobody knows how much there is.
    fn doing(&self, stage: Stage, what: &str, done: u64, total: u64);

    /// A stage is decided.
    fn decided(&self, line: &crate::report::StageLine);

    /// Something worth knowing that is no result: a repaired log, a resumed attempt.
    fn note(&self, line: &str);
}

/// Says nothing: for tests and `--quiet`.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {
    fn header(&self, _: &str) {}
    fn doing(&self, _: Stage, _: &str, _: u64, _: u64) {}
    fn decided(&self, _: &crate::report::StageLine) {}
    fn note(&self, _: &str) {}
}
