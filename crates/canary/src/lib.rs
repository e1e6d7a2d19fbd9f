//! Old and new side by side: is the new version worse, and may more traffic go to it?
//!
//! [`Comparator`] counts two arms and says at any moment, without a schedule of looks, whether the evidence
//! suffices; [`Rollout`] turns that into weights of a router. Both are pure: no I/O, no clock, no randomness.
//! It deliberately sends no request and sets no weight; whoever drives a router does.
//!
//! Start reading at [`Comparator`] for the statistics, at [`Rollout`] for the order of events.

mod comparator;
mod measure;
mod measures;
mod process;
mod rollout;

pub use comparator::{ArmName, Comparator, Decision, Limits};
pub use measure::{Entry, Request};
pub use rollout::{Action, Outcome, PlanError, Rollout};

/// The page of `canary/errors`, `canary/slow`…, as `explain` prints it.
pub fn page(id: &str) -> Option<&'static str> {
    measures::PAGES
        .iter()
        .find(|(known, _)| *known == id)
        .map(|(_, page)| *page)
}

/// Every measure that is compared, in order of name.
pub fn measures() -> &'static [Entry] {
    measures::ALL
}
