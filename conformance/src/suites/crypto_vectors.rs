//! `crypto-vectors`: Wycheproof's signatures against [`evidence::PublicKey::verifies`], and its ML-DSA seeds against
//! [`evidence::MemorySigner`].
//!
//! Cases are named `ALGORITHM/KIND/FILE:ID`. What our interface can't be asked is said so, and is an expected difference by
//! reason: other algorithms, contexts, external `mu`, and private keys that are no seed.

use evidence::{Algorithm, MemorySigner, PublicKey, Signer};
use serde_json::Value;

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    for path in data.files()? {
        if path.starts_with("schemas/") {
            continue;
        }
        let document = data.json(&path)?;
        let (Some(name), Some(groups)) = (document["algorithm"].as_str(), document["testGroups"].as_array()) else {
            unplaced(tally, &path);
            continue;
        };
        for group in groups {
            for test in group["tests"].as_array().into_iter().flatten() {
                let expected = test["result"].as_str().unwrap_or("no result");
                let (kind, got) = match algorithm(name) {
                    None => ("any", "an algorithm we don't speak".to_owned()),
                    Some(algorithm) => ask(algorithm, group, test),
                };
                tally.case(&format!("{name}/{kind}/{path}:{}", test["tcId"]), expected, &got);
            }
        }
    }
    Ok(())
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "EDDSA" => Some(Algorithm::Ed25519),
        "ML-DSA-65" => Some(Algorithm::MlDsa65),
        _ => None,
    }
}

/// The kind of case, and our answer.
fn ask(algorithm: Algorithm, group: &Value, test: &Value) -> (&'static str, String) {
    if test["ctx"].as_str().is_some_and(|context| !context.is_empty()) {
        return ("context", "not expressible".to_owned());
    }
    let Some(message) = hex(&test["msg"]) else {
        return ("mu", "not expressible".to_owned());
    };
    if group.get("privateKey").is_some() {
        return ("expanded-key", "not expressible".to_owned());
    }
    let answer = |valid: bool| if valid { "valid" } else { "invalid" }.to_owned();
    let key = group["publicKey"].get("pk").unwrap_or(&group["publicKey"]);
    let key = PublicKey {
        algorithm,
        bytes: hex(key).unwrap_or_default(),
    };
    let signature = hex(&test["sig"]).unwrap_or_default();
    match hex(&group["privateSeed"]) {
        None => ("verify", guarded(|| answer(key.verifies(&message, &signature)))),
        Some(seed) => ("sign", guarded(|| answer(signs(&seed, &key, &message, &signature)))),
    }
}

/// Whether the seed makes this key, its signature verifies, and so does the one we make.
///
/// Ours is randomised, as FIPS 204 advises, so the two differ.
fn signs(seed: &[u8], key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(seed) = <&[u8; 32]>::try_from(seed) else {
        return false;
    };
    let Ok(signer) = MemorySigner::from_seed(key.algorithm, seed) else {
        return false;
    };
    let ours = signer.sign(message).unwrap_or_default();
    signer.public_key() == key && key.verifies(message, signature) && key.verifies(message, &ours)
}

fn hex(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}
