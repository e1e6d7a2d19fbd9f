//! The suites: each takes other people's cases and puts them to what users call, or to an engine's public function.
//!
//! One file is one suite. A suite is named after its archive in the shared data and reads any unpacked folder of the same
//! shape, so it knows no case by name: a case is named by its class first (`debian/…`, `yarn.lock/…`), and an expected
//! difference speaks of a class. A file that a suite can't place is a case that differs.
//!
//! Start reading at [`run`], then `suites/version_vectors.rs`, the smallest.

mod atomic_red_team;
mod cacao_schemas;
mod cctv_mldsa;
mod chaos_experiments;
mod crypto_vectors;
pub mod data;
mod lockfiles;
mod machine;
mod openapi;
mod purl_spec;
mod secret_contracts;
mod sigma_regression;
pub mod sigma_rules;
pub mod sigstore_conformance;
mod slsa_provenance;
mod version_vectors;
mod witness;

use crate::expected::Tally;
pub use data::Data;

type Suite = fn(&Data, &mut Tally) -> Result<(), String>;

const SUITES: &[(&str, Suite)] = &[
    ("atomic-red-team-linux", atomic_red_team::run_suite),
    ("chaos-experiments", chaos_experiments::run),
    ("cacao-schemas", cacao_schemas::run),
    ("cctv-mldsa", cctv_mldsa::run),
    ("crypto-vectors", crypto_vectors::run),
    ("lockfiles-and-os-packages", lockfiles::run),
    ("openapi", openapi::run),
    ("purl-spec", purl_spec::run),
    ("secret-contracts", secret_contracts::run),
    ("sigstore-conformance", sigstore_conformance::run),
    ("slsa-provenance", slsa_provenance::run),
    ("sigma-regression", sigma_regression::run),
    ("sigma-rules", sigma_rules::run),
    ("version-vectors", version_vectors::run),
];

/// Suites that run in namespaces of their own where the host lets them.
const ALONE: [&str; 1] = ["atomic-red-team-linux"];

/// Runs one suite over its archive, or over `folder` in its place.
pub fn run(suite: &str, folder: Option<&str>) -> Result<(), String> {
    let (_, cases) = SUITES.iter().find(|(name, _)| *name == suite).ok_or_else(|| {
        format!(
            "no suite `{suite}`: {}",
            SUITES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
        )
    })?;
    if ALONE.contains(&suite)
        && !witness::alone()
        && let Some(status) = witness::enter()
    {
        // It has said all there is to say.
        return if status.success() {
            Ok(())
        } else {
            Err(format!("`{suite}`: {status}"))
        };
    }
    let data = Data::of(suite, folder)?;
    let mut tally = Tally::of(suite)?;
    cases(&data, &mut tally)?;
    tally.close()
}

/// The files of a suite, for a benchmark over one of them.
pub fn data_of(suite: &str, folder: Option<&str>) -> Result<Data, String> {
    Data::of(suite, folder)
}

/// A file that no suite expects in its folder.
fn unplaced(tally: &mut Tally, path: &str) {
    tally.case(path, "a file this suite can place", "none");
}

/// What `work` answers; a panic is an answer, too, and never the expected one.
fn guarded(work: impl FnOnce() -> String) -> String {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| "a panic".to_owned())
}
