//! `cctv-mldsa`: C2SP's accumulated key generation and deterministic signing, and the messages of its signing benchmark.
//!
//! Deterministic signing is `ml-dsa`'s, since the product's library has none; `aws-lc-rs` makes each key again and verifies each
//! signature. Digests of more than [`ROUNDS_MAX`] rounds, and of field operations that no library exports, are said not to be
//! run. The digests stand in the suite's own README.

use aws_lc_rs::signature::{KeyPair, PqdsaKeyPair};
use ml_dsa::{MlDsa44, MlDsa65, MlDsa87, MlDsaParams, SigningKey};
use serde_json::Value;
use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

use super::crypto_vectors::{ML_DSA_44, ML_DSA_65, ML_DSA_87, MlDsaSet};
use super::{Data, guarded, unplaced};
use crate::expected::Tally;

const ACCUMULATED: &str = "ML-DSA/accumulated/README.md";
const BENCHMARK: &str = "ML-DSA/benchmark/";
const ROUNDS_MAX: u64 = 10_000;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let mut not_run = 0;
    let mut set = String::new();
    for line in data.text(ACCUMULATED)?.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            set = name.trim().to_owned();
        }
        let Some((rounds, digest)) = line
            .strip_prefix("- ")
            .and_then(|line| line.split_once(" iterations: "))
        else {
            continue;
        };
        let rounds: u64 = rounds
            .replace(' ', "")
            .parse()
            .map_err(|_| format!("`{line}`: how many rounds?"))?;
        if rounds > ROUNDS_MAX {
            not_run += 1;
            continue;
        }
        let got = guarded(|| match set.as_str() {
            "ML-DSA-44" => accumulated::<MlDsa44>(&ML_DSA_44, rounds),
            "ML-DSA-65" => accumulated::<MlDsa65>(&ML_DSA_65, rounds),
            "ML-DSA-87" => accumulated::<MlDsa87>(&ML_DSA_87, rounds),
            other => format!("`{other}` is not known"),
        });
        tally.case(&format!("{set}/accumulated/{rounds}"), digest.trim_matches('`'), &got);
    }
    for path in data.files()? {
        let Some(name) = path.strip_prefix(BENCHMARK).and_then(|name| name.strip_suffix(".json")) else {
            unplaced(tally, &path);
            continue;
        };
        let messages = data.json(&path)?;
        let got = guarded(|| match name.split('.').next() {
            Some("ML-DSA-44") => messages_signed::<MlDsa44>(&ML_DSA_44, &messages),
            Some("ML-DSA-65") => messages_signed::<MlDsa65>(&ML_DSA_65, &messages),
            Some("ML-DSA-87") => messages_signed::<MlDsa87>(&ML_DSA_87, &messages),
            _ => format!("`{name}` is not known"),
        });
        tally.case(&format!("{name}/benchmark"), "signed and verified", &got);
    }
    println!("not run: {not_run} digests of over {ROUNDS_MAX} rounds, and that of the field operations");
    Ok(())
}

fn accumulated<P: MlDsaParams>(set: &MlDsaSet, rounds: u64) -> String {
    let mut seeds = Shake128::default().finalize_xof();
    let mut accumulator = Shake128::default();
    for round in 0..rounds {
        let mut seed = [0; 32];
        seeds.read(&mut seed);
        let key = SigningKey::<P>::from_seed(&seed.into());
        let public = key.expanded_key().verifying_key().encode();
        let Ok(signature) = key.expanded_key().sign_deterministic(b"", b"") else {
            return format!("round {round} can't be signed");
        };
        let signature = signature.encode();
        let again = PqdsaKeyPair::from_seed(set.signing, &seed);
        if !again.is_ok_and(|pair| pair.public_key().as_ref() == public.as_slice()) {
            return format!("aws-lc-rs makes another key in round {round}");
        }
        if !set.verifies(&public, b"", &signature) {
            return format!("aws-lc-rs does not verify the signature of round {round}");
        }
        accumulator.update(&public);
        accumulator.update(&signature);
    }
    let mut digest = [0; 32];
    accumulator.finalize_xof().read(&mut digest);
    evidence::Digest(digest).hex()
}

/// Each message of the benchmark, signed with the key of an all-zero seed.
fn messages_signed<P: MlDsaParams>(set: &MlDsaSet, messages: &Value) -> String {
    let key = SigningKey::<P>::from_seed(&[0; 32].into());
    let public = key.expanded_key().verifying_key().encode();
    let Some(messages) = messages.as_array().filter(|list| !list.is_empty()) else {
        return "no messages".to_owned();
    };
    for message in messages.iter().filter_map(Value::as_str) {
        let signature = key.expanded_key().sign_deterministic(message.as_bytes(), b"");
        if !signature.is_ok_and(|signature| set.verifies(&public, message.as_bytes(), &signature.encode())) {
            return format!("`{message}` is not verified");
        }
    }
    "signed and verified".to_owned()
}
