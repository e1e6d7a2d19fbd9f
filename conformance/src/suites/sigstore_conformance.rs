//! `sigstore-conformance`: upstream's bundles, put to [`evidence::sigstore::verify`] as its client protocol does: with the artifact
//! and with its digest. A folder that ends in `_fail` must not verify.
//!
//! The suite states no time: it is held against a moment that no bundle in it is after.

use evidence::sigstore::{Artifact, Hash, Identity, Policy, TrustedRoot, VerifyingKey, Who, verify};
use evidence::{Digest, Timestamp};

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

const CASES: &str = "bundle-verify";
const TRUSTED_ROOT: &str = "trusted_root.prod.json";
/// The identity of every case that brings none of its own.
pub const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
pub const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// 2100-01-01.
const AT_SECONDS: i64 = 4_102_444_800;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let root = data.bytes(TRUSTED_ROOT)?;
    for path in data.files()? {
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [CASES, case, "bundle.sigstore.json"] => {
                let expected = if case.ends_with("_fail") { "refused" } else { "verified" };
                for by in ["artifact", "digest"] {
                    let got = guarded(|| answer(data, case, &root, by).unwrap_or_else(|problem| problem));
                    let (word, _) = got.split_once(':').unwrap_or((&got, ""));
                    if word == expected {
                        tally.case(&format!("{case}/{by}"), expected, word);
                    } else {
                        tally.case(&format!("{case}/{by}"), expected, &got);
                    }
                }
            }
            [
                CASES,
                _,
                "artifact" | "identity" | "issuer" | "key.pub" | "trusted_root.json",
            ]
            | [CASES, "a.txt"]
            | ["a.txt" | "statement.json" | TRUSTED_ROOT] => {}
            _ => unplaced(tally, &path),
        }
    }
    Ok(())
}

/// `verified`, or `refused: ` with the reason.
fn answer(data: &Data, case: &str, prod: &[u8], by: &str) -> Result<String, String> {
    let own = |name: &str| data.bytes(&format!("{CASES}/{case}/{name}")).ok();
    let text = |name: &str, otherwise: &str| {
        own(name).map_or(otherwise.to_owned(), |bytes| {
            String::from_utf8_lossy(&bytes).trim().to_owned()
        })
    };
    let bundle = data.bytes(&format!("{CASES}/{case}/bundle.sigstore.json"))?;
    let artifact = own("artifact").map_or_else(|| data.bytes(&format!("{CASES}/a.txt")), Ok)?;
    let root = match TrustedRoot::from_bytes(own("trusted_root.json").as_deref().unwrap_or(prod)) {
        Ok(root) => root,
        Err(error) => return Ok(format!("refused: {error}")),
    };
    let key = own("key.pub").map(|pem| VerifyingKey::from_pem(&String::from_utf8_lossy(&pem)));
    let (name, issuer) = (text("identity", IDENTITY), text("issuer", ISSUER));
    let who = match &key {
        Some(Some(key)) => Who::Key(key),
        Some(None) => return Ok("refused: the key is not a public key in PEM".to_owned()),
        None => Who::Identity(Identity {
            name: &|got| got == name,
            name_text: &name,
            issuer: &|got| got == issuer,
            issuer_text: &issuer,
        }),
    };
    let digest = Digest::of(&artifact);
    let artifact = match by {
        "digest" => Artifact::Digest(Hash::Sha256, &digest.0),
        _ => Artifact::Bytes(&artifact),
    };
    let at = Timestamp::from_second(AT_SECONDS).map_err(|error| error.to_string())?;
    Ok(match verify(&bundle, &root, &Policy::new(who), artifact, at) {
        Ok(_) => "verified".to_owned(),
        Err(refusal) => format!("refused: {} ({})", refusal, refusal.outcome.name()),
    })
}
