//! `run -- CMD`: wraps one build step of an existing pipeline: isolated, observed, its provenance signed and logged
//! under the attempt that a `release` of the same tree would have.

use evidence::{Digest, Stage};

use crate::release::{Options, begin};
use crate::run::Run;
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

/// Only what the configuration declares may be built here, and only before the gate of the build stage has decided.
fn refuse_exchange(run: &Run, wrapped: &Wrapped) -> Result<(), Error> {
    let declared = run.loaded.config.build.iter().flat_map(|build| &build.artifact);
    let declared = declared.into_iter().find(|artifact| artifact.name == wrapped.name);
    let same = declared.is_some_and(|artifact| artifact.path == wrapped.artifact && artifact.run == wrapped.command);
    if !same {
        return Err(Error::usage(
            format!("`{}` is not declared so in proofmark.toml", wrapped.name),
            "write a `[[build.artifact]]` with this name, command and path: what is judged is what was declared",
        ));
    }
    if run.artifacts().iter().any(|built| built.name == wrapped.name) {
        return Err(Error::usage(
            format!("`{}` was built in this attempt already", wrapped.name),
            "go on with `proofmark release`; a changed tree is a new attempt",
        ));
    }
    Ok(())
}

/// Runs the command; the answer is the artifact's digest and the log's size, or `None` when the command failed.
pub fn run(options: Options, wrapped: &Wrapped) -> Result<Option<(Digest, u64)>, Error> {
    let mut run = begin(options)?;
    refuse_exchange(&run, wrapped)?;
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
