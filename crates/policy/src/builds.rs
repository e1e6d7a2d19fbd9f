//! What the controls over artifacts share: one attempt has one build of each, and the build gate decided about it.

use evidence::Outcome;

use crate::catalogue::{Asked, Judged};

/// Fails for each artifact that was exchanged by building it again.
pub(crate) fn exchanged(asked: &Asked) -> Judged {
    let mut judged = Judged::pass();
    for again in asked.history.rebuilt() {
        let what = if again.after_gate {
            format!(
                "artifact `{}` was built again after the build gate had decided",
                again.name
            )
        } else {
            format!("two builds of `{}` in one attempt", again.name)
        };
        judged.add(asked.reason_at(
            again.seen,
            Outcome::Fail,
            what,
            "one build of each artifact, the one that the build gate decides about",
            "start a new attempt with `proofmark release`: it builds each artifact once",
        ));
    }
    judged
}
