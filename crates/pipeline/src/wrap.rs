//! `run -- CMD`: wraps one build step of an existing pipeline: isolated, observed, its provenance signed and logged
//! under the attempt that a `release` of the same tree would have.

use evidence::{Digest, Stage};

use crate::release::{Options, begin};
use crate::stages::build::build_artifact;
use crate::{Error, inventory};

/// What to wrap.
pub struct Wrapped {
    /// Name of the artifact: the provenance stands under `provenance:NAME`.
    pub name: String,
    /// The file the command makes, relative to the tree.
    pub artifact: String,
    pub command: Vec<String>,
    pub timeout_seconds: u64,
}

/// Runs the command; the answer is the artifact's digest and the log's size, or `None` when the command failed.
pub fn run(options: Options, wrapped: &Wrapped) -> Result<Option<(Digest, u64)>, Error> {
    let mut run = begin(options)?;
    let inventory = inventory::of_tree(&run.tree)?;
    let check = format!("provenance:{}", wrapped.name);
    let built = build_artifact(
        &mut run,
        Stage::Build,
        &check,
        &wrapped.name,
        &wrapped.command,
        &wrapped.artifact,
        wrapped.timeout_seconds,
        &inventory,
    );
    run.clear_scratch()?;
    Ok(built?.map(|digest| (digest, run.log.size())))
}
