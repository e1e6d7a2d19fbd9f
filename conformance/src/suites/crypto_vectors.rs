//! `crypto-vectors`: Wycheproof's signatures against what the product verifies and signs with, and against second libraries.
//!
//! Each case is put to every interface that can express it, and they must agree: ours ([`PublicKey`], [`MemorySigner`] and
//! [`VerifyingKey`]), `aws-lc-rs` below it, and `ml-dsa` or `p256`, which share no code with it. What ours can't be asked
//! (ML-DSA-44 and -87, contexts, external `mu`, deterministic signing, expanded keys, P-256 with SHA-512, SHA-3 or SHAKE) is counted
//! apart. Cases are named `ALGORITHM/KIND/FILE:ID`.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    self as aws, EcdsaVerificationAlgorithm, KeyPair, PqdsaKeyPair, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
    UnparsedPublicKey,
};
use evidence::sigstore::VerifyingKey;
use evidence::{Algorithm, MemorySigner, PublicKey, Signer};
use ml_dsa::{EncodedSignature, EncodedVerifyingKey, ExpandedSigningKey, MlDsa44, MlDsa65, MlDsa87, MlDsaParams};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use serde_json::Value;
use shake::digest::{ExtendableOutput, Update, XofReader};

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

/// Who was asked: ours and the others, or only the others.
#[derive(Default)]
struct Asked {
    ours: u64,
    others: u64,
}

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let mut asked = Asked::default();
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
                let (kind, answers) = ask(name, group, test);
                match answers.iter().any(|(who, _)| *who == OURS) {
                    true => asked.ours += 1,
                    false => asked.others += 1,
                }
                tally.case(
                    &format!("{name}/{kind}/{path}:{}", test["tcId"]),
                    expected,
                    &agreed(&answers),
                );
            }
        }
    }
    println!(
        "{} by our interface and others, {} by others only",
        asked.ours, asked.others
    );
    Ok(())
}

const OURS: &str = "ours";
const AWS: &str = "aws-lc-rs";

/// Who, and what they answered.
type Answers = Vec<(&'static str, String)>;

fn agreed(answers: &Answers) -> String {
    let Some((_, first)) = answers.first() else {
        return "nobody could be asked".to_owned();
    };
    if answers.iter().all(|(_, answer)| answer == first) {
        return first.clone();
    }
    let each = answers.iter().map(|(who, answer)| format!("{answer} by {who}"));
    each.collect::<Vec<_>>().join(", ")
}

fn word(valid: bool) -> String {
    if valid { "valid" } else { "invalid" }.to_owned()
}

fn ask(name: &str, group: &Value, test: &Value) -> (&'static str, Answers) {
    match name {
        "EDDSA" => ("verify", ed25519(group, test)),
        "ECDSA" => ("verify", ecdsa(group, test)),
        "ML-DSA-44" => ml_dsa::<MlDsa44>(&ML_DSA_44, group, test),
        "ML-DSA-65" => ml_dsa::<MlDsa65>(&ML_DSA_65, group, test),
        "ML-DSA-87" => ml_dsa::<MlDsa87>(&ML_DSA_87, group, test),
        _ => ("any", Vec::new()),
    }
}

fn ed25519(group: &Value, test: &Value) -> Answers {
    let key = PublicKey {
        algorithm: Algorithm::Ed25519,
        bytes: hex(&group["publicKey"]["pk"]).unwrap_or_default(),
    };
    let spki = VerifyingKey::from_pem(group["publicKeyPem"].as_str().unwrap_or_default());
    let (message, signature) = (
        hex(&test["msg"]).unwrap_or_default(),
        hex(&test["sig"]).unwrap_or_default(),
    );
    vec![
        (OURS, guarded(|| word(key.verifies(&message, &signature)))),
        (
            "ours, by SPKI",
            guarded(|| word(spki.is_some_and(|key| key.verifies(&message, &signature)))),
        ),
    ]
}

/// P-256 over any hash: ECDSA takes its leftmost 256 bits, which is how `aws-lc-rs` is asked about those it doesn't know.
fn ecdsa(group: &Value, test: &Value) -> Answers {
    let (message, signature) = (
        hex(&test["msg"]).unwrap_or_default(),
        hex(&test["sig"]).unwrap_or_default(),
    );
    let sha = group["sha"].as_str().unwrap_or_default();
    let Some(hash) = hashed(sha, &message) else {
        return Vec::new();
    };
    let fixed = group["type"] == "EcdsaP1363Verify";
    let point = hex(&group["publicKey"]["uncompressed"]).unwrap_or_default();
    let by_aws = || {
        let algorithm: &'static EcdsaVerificationAlgorithm = match fixed {
            true => &aws::ECDSA_P256_SHA256_FIXED,
            false => &aws::ECDSA_P256_SHA256_ASN1,
        };
        let digest = Digest::import_less_safe(&hash[..32], &digest::SHA256);
        let key = UnparsedPublicKey::new(algorithm, &point);
        word(digest.is_ok_and(|digest| key.verify_digest(&digest, &signature).is_ok()))
    };
    let by_p256 = || {
        let parsed = match fixed {
            true => p256::ecdsa::Signature::from_slice(&signature),
            false => p256::ecdsa::Signature::from_der(&signature),
        };
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
        word(key.is_ok_and(|key| parsed.is_ok_and(|parsed| key.verify_prehash(&hash, &parsed).is_ok())))
    };
    let mut answers = vec![(AWS, guarded(by_aws)), ("p256", guarded(by_p256))];
    if sha == "SHA-256" && !fixed {
        let key = VerifyingKey::from_pem(group["publicKeyPem"].as_str().unwrap_or_default());
        let by_ours = || word(key.is_some_and(|key| key.verifies(&message, &signature)));
        answers.push((OURS, guarded(by_ours)));
    }
    answers
}

fn hashed(name: &str, message: &[u8]) -> Option<Vec<u8>> {
    let algorithm = match name {
        "SHA-256" => &digest::SHA256,
        "SHA-512" => &digest::SHA512,
        "SHA3-256" => &digest::SHA3_256,
        "SHA3-512" => &digest::SHA3_512,
        // RFC 8692: 256 bits.
        "SHAKE128" => {
            let mut hasher = shake::Shake128::default();
            hasher.update(message);
            let mut out = vec![0; 32];
            hasher.finalize_xof().read(&mut out);
            return Some(out);
        }
        _ => return None,
    };
    Some(digest::digest(algorithm, message).as_ref().to_vec())
}

/// The same parameter set in `aws-lc-rs`, and in our interface if it is spoken there.
pub struct MlDsaSet {
    pub verification: &'static PqdsaVerificationAlgorithm,
    pub signing: &'static PqdsaSigningAlgorithm,
    ours: Option<Algorithm>,
}

pub static ML_DSA_44: MlDsaSet = MlDsaSet {
    verification: &aws::ML_DSA_44,
    signing: &aws::ML_DSA_44_SIGNING,
    ours: None,
};
pub static ML_DSA_65: MlDsaSet = MlDsaSet {
    verification: &aws::ML_DSA_65,
    signing: &aws::ML_DSA_65_SIGNING,
    ours: Some(Algorithm::MlDsa65),
};
pub static ML_DSA_87: MlDsaSet = MlDsaSet {
    verification: &aws::ML_DSA_87,
    signing: &aws::ML_DSA_87_SIGNING,
    ours: None,
};

impl MlDsaSet {
    pub fn verifies(&self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.verification, key)
            .verify(message, signature)
            .is_ok()
    }
}

fn ml_dsa<P: MlDsaParams>(set: &MlDsaSet, group: &Value, test: &Value) -> (&'static str, Answers) {
    let case = Case {
        context: hex(&test["ctx"]).unwrap_or_default(),
        message: hex(&test["msg"]),
        mu: hex(&test["mu"]),
        random: hex(&test["rnd"]),
        signature: hex(&test["sig"]).unwrap_or_default(),
        public: hex(&group["publicKey"]).unwrap_or_default(),
    };
    if let Some(seed) = hex(&group["privateSeed"]) {
        return ("sign", case.by_seed::<P>(set, &seed));
    }
    if let Some(key) = hex(&group["privateKey"]) {
        let by_expanded = || word(case.by_expanded::<P>(&key));
        return ("expanded-key", vec![("ml-dsa", refused_by_panic(by_expanded))]);
    }
    ("verify", case.verify::<P>(set))
}

/// `ml-dsa` panics at expanded keys that are none, as it says.
fn refused_by_panic(work: impl FnOnce() -> String) -> String {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    answer.unwrap_or_else(|_| word(false))
}

struct Case {
    context: Vec<u8>,
    message: Option<Vec<u8>>,
    mu: Option<Vec<u8>>,
    random: Option<Vec<u8>>,
    signature: Vec<u8>,
    public: Vec<u8>,
}

impl Case {
    fn verify<P: MlDsaParams>(&self, set: &MlDsaSet) -> Answers {
        let message = self.message.clone().unwrap_or_default();
        let by_ml_dsa = || word(verifies::<P>(&self.public, &message, &self.context, &self.signature));
        let mut answers = vec![("ml-dsa", guarded(by_ml_dsa))];
        if self.context.is_empty() {
            let by_aws = || word(set.verifies(&self.public, &message, &self.signature));
            answers.push((AWS, guarded(by_aws)));
            if let Some(algorithm) = set.ours {
                let key = PublicKey {
                    algorithm,
                    bytes: self.public.clone(),
                };
                answers.push((OURS, guarded(|| word(key.verifies(&message, &self.signature)))));
            }
        }
        answers
    }

    /// The seed makes this key and this signature; and what either library signs, the other verifies.
    fn by_seed<P: MlDsaParams>(&self, set: &MlDsaSet, seed: &[u8]) -> Answers {
        let by_ml_dsa = || {
            let Ok(seed) = ml_dsa::B32::try_from(seed) else {
                return word(false);
            };
            word(self.signs(&ml_dsa::SigningKey::<P>::from_seed(&seed).expanded_key().clone()))
        };
        let mut answers = vec![("ml-dsa", guarded(by_ml_dsa))];
        let Some(message) = self.message.as_ref().filter(|_| self.context.is_empty()) else {
            return answers;
        };
        let by_aws = || {
            let Ok(pair) = PqdsaKeyPair::from_seed(set.signing, seed) else {
                return word(false);
            };
            let mut own = vec![0; set.signing.signature_len()];
            let signed = pair.sign(message, &mut own).is_ok();
            let same = pair.public_key().as_ref() == self.public;
            let verified = set.verifies(&self.public, message, &self.signature);
            word(signed && same && verified && verifies::<P>(&self.public, message, b"", &own))
        };
        answers.push((AWS, guarded(by_aws)));
        if let Some(algorithm) = set.ours {
            let key = PublicKey {
                algorithm,
                bytes: self.public.clone(),
            };
            answers.push((
                OURS,
                guarded(|| word(signs_as_ours(seed, &key, message, &self.signature))),
            ));
        }
        answers
    }

    fn by_expanded<P: MlDsaParams>(&self, key: &[u8]) -> bool {
        let Ok(encoded) = ml_dsa::ExpandedSigningKeyBytes::<P>::try_from(key) else {
            return false;
        };
        #[expect(deprecated, reason = "a key ought to be a seed: here are keys that aren't")]
        let key = ExpandedSigningKey::<P>::from_expanded(&encoded);
        self.signs(&key)
    }

    /// The key is that of `public`, and its deterministic signature (or that with `rnd`) is the one of the case.
    fn signs<P: MlDsaParams>(&self, key: &ExpandedSigningKey<P>) -> bool {
        if key.verifying_key().encode().as_slice() != self.public {
            return false;
        }
        let message = self.message.as_deref();
        let signature = match (message, &self.mu, &self.random) {
            (Some(message), _, Some(random)) => {
                let (Ok(random), Ok(length)) = (ml_dsa::B32::try_from(&random[..]), u8::try_from(self.context.len()))
                else {
                    return false;
                };
                Some(key.sign_internal(&[&[0, length], &self.context, message], &random))
            }
            (Some(message), ..) => key.sign_deterministic(message, &self.context).ok(),
            (None, Some(mu), None) => {
                let Ok(mu) = mu[..].try_into() else {
                    return false;
                };
                Some(key.sign_mu_deterministic(&mu))
            }
            _ => None,
        };
        signature.is_some_and(|signature| signature.encode().as_slice() == self.signature)
    }
}

/// Whether `ml-dsa` verifies it.
pub fn verifies<P: MlDsaParams>(key: &[u8], message: &[u8], context: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (
        EncodedVerifyingKey::<P>::try_from(key),
        EncodedSignature::<P>::try_from(signature),
    ) else {
        return false;
    };
    let signature = ml_dsa::Signature::<P>::decode(&signature);
    let key = ml_dsa::VerifyingKey::<P>::decode(&key);
    signature.is_some_and(|signature| key.verify_with_context(message, context, &signature))
}

/// Whether the seed makes this key, its signature verifies, and so does the one we make.
///
/// Ours is randomised, as FIPS 204 advises, so the two differ.
fn signs_as_ours(seed: &[u8], key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
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
