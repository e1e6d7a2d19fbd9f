//! `slsa-provenance`: slsa-verifier's fixtures, put to [`evidence::sigstore::read`] and to each attestation's `verify`.
//!
//! The archive holds neither artifacts nor verdicts, so each file's answer is written down once, in
//! `conformance/slsa-provenance.toml`: one for each attestation in it, `verified`, `refused CHECK` or `lacking CHECK`. Its table
//! `identities` names who should have signed, where the file's own name is about that. The trusted root is that of
//! `sigstore-conformance`. A file the table doesn't name is a case that differs.

use std::collections::BTreeMap;
use std::path::Path;

use evidence::sigstore::{Artifact, Identity, Policy, Refusal, TrustedRoot, Who, read};
use evidence::{Outcome, Timestamp};

use super::{Data, guarded};
use crate::expected::Tally;

const SUITE: &str = "slsa-provenance";
const TRUSTED_ROOT: &str = "trusted_root.prod.json";
/// 2100-01-01.
const AT_SECONDS: i64 = 4_102_444_800;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let expected = table("answers")?;
    let identities = table("identities")?;
    let root = data.companion_of("sigstore-conformance", TRUSTED_ROOT)?;
    let root = TrustedRoot::from_bytes(&root).map_err(|error| error.to_string())?;
    for path in data.files()? {
        let bytes = data.bytes(&path)?;
        let identity = identities.get(&path).map(String::as_str);
        let got = guarded(|| answer(&bytes, &root, identity));
        let expected = expected.get(&path).map_or("an answer in the table", String::as_str);
        tally.case(&path, expected, &got);
    }
    Ok(())
}

/// A table of `conformance/slsa-provenance.toml`, by file.
fn table(name: &str) -> Result<BTreeMap<String, String>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{SUITE}.toml"));
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{SUITE}.toml: {error}"))?;
    let mut tables: BTreeMap<String, BTreeMap<String, String>> =
        toml::from_str(&text).map_err(|error| format!("{SUITE}.toml: {error}"))?;
    tables
        .remove(name)
        .ok_or_else(|| format!("{SUITE}.toml: has no table `{name}`"))
}

fn answer(bytes: &[u8], root: &TrustedRoot, identity: Option<&str>) -> String {
    let at = Timestamp::from_second(AT_SECONDS).unwrap_or(Timestamp::MAX);
    let attestations = match read(bytes) {
        Ok(attestations) => attestations,
        Err(refusal) => return word(&refusal),
    };
    let is_expected = |got: &str| identity == Some(got);
    let policy = Policy::new(match identity {
        None => Who::Anyone,
        Some(identity) => Who::Identity(Identity {
            name: &is_expected,
            name_text: identity,
            issuer: &|_| true,
            issuer_text: "anyone",
        }),
    });
    let answers = attestations
        .iter()
        .map(|one| match one.verify(root, &policy, Artifact::AnySubject, at) {
            Ok(_) => "verified".to_owned(),
            Err(refusal) => word(&refusal),
        });
    answers.collect::<Vec<_>>().join(", ")
}

fn word(refusal: &Refusal) -> String {
    let verb = match refusal.outcome {
        Outcome::Fail => "refused",
        Outcome::Indeterminate | Outcome::Pass => "lacking",
    };
    format!("{verb} {}", refusal.check.name())
}
