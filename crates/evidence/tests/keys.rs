//! Keys and signatures against other people's vectors and another implementation, DSSE's own vector, key ids.

mod common;

use std::process::Command;

use common::unhex;
use evidence::{Algorithm, Envelope, MemorySigner, PublicKey, Signer, pae, signed_bytes};
use ml_dsa::signature::Keypair;
use ml_dsa::{MlDsa65, Signature, SigningKey, VerifyingKey};
use serde_json::Value;

#[test]
fn pae_of_the_dsse_specification() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
    // Lengths are of bytes, not of characters.
    assert_eq!(pae("é", b"\xff\0"), b"DSSEv1 2 \xc3\xa9 2 \xff\0");
}

#[test]
fn ed25519_of_rfc_8032() {
    // Section 7.1, tests 1 and 3: seed, public key, message, signature.
    for (seed, public, message, signature) in [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ] {
        let seed: [u8; 32] = unhex(seed).try_into().unwrap();
        let signer = MemorySigner::from_seed(Algorithm::Ed25519, &seed).unwrap();
        assert_eq!(signer.public_key().bytes, unhex(public));
        assert_eq!(signer.sign(&unhex(message)).unwrap(), unhex(signature));
        assert!(signer.public_key().verifies(&unhex(message), &unhex(signature)));
        assert!(!signer.public_key().verifies(b"another", &unhex(signature)));
    }
}

#[test]
fn key_ids_follow_from_algorithm_and_bytes() {
    let bytes = unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    let key = PublicKey {
        algorithm: Algorithm::Ed25519,
        bytes,
    };
    // printf 'ed25519:'; the 32 bytes; through sha256sum | cut -c-32
    assert_eq!(key.id().0, "694f66b32f6bc681b7de5c8f800b19d0");
    let other = PublicKey {
        algorithm: Algorithm::MlDsa65,
        bytes: key.bytes.clone(),
    };
    assert_ne!(key.id(), other.id());
    assert!(!other.verifies(b"", &[]), "a key of the wrong length verifies nothing");
}

#[test]
fn debug_and_errors_hold_no_secret() {
    let seed = [0x5a; 32];
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa65] {
        let signer = MemorySigner::from_seed(algorithm, &seed).unwrap();
        let text = format!("{signer:?}");
        assert!(!text.contains("5a5a5a") && !text.contains("90, 90"), "{text}");
    }
}

#[test]
fn ml_dsa_65_agrees_with_another_implementation() {
    for seed in [[0u8; 32], [7; 32], core::array::from_fn(|i| i as u8)] {
        let ours = MemorySigner::from_seed(Algorithm::MlDsa65, &seed).unwrap();
        let theirs = SigningKey::<MlDsa65>::from_seed(&seed.into());
        let verifying: VerifyingKey<MlDsa65> = theirs.verifying_key();
        assert_eq!(
            ours.public_key().bytes,
            verifying.encode().to_vec(),
            "the same seed gives the same key"
        );
        for message in [&b""[..], b"message", &[0xff; 4096]] {
            let signature = ours.sign(message).unwrap();
            let decoded = Signature::<MlDsa65>::try_from(signature.as_slice()).unwrap();
            assert!(
                verifying.verify_with_context(message, b"", &decoded),
                "they accept ours"
            );
            assert!(!verifying.verify_with_context(message, b"context", &decoded));
            let signature = theirs.expanded_key().sign_deterministic(message, b"").unwrap();
            assert!(
                ours.public_key().verifies(message, &signature.encode()),
                "we accept theirs"
            );
            let signature = theirs.expanded_key().sign_deterministic(message, b"context").unwrap();
            assert!(
                !ours.public_key().verifies(message, &signature.encode()),
                "the context is empty"
            );
        }
    }
}

/// The whole of what an ML-DSA key signs in an envelope, checked by another implementation.
#[test]
fn envelope_signature_is_tap_21() {
    let pair = common::pair(1);
    let envelope = Envelope::sign("text/plain", b"hello".to_vec(), &pair.signers()).unwrap();
    let message = pae("text/plain", b"hello");
    let signed = signed_bytes(Algorithm::MlDsa65, &message);
    assert_eq!(&signed[..4], b"tuf\x01");
    assert_eq!(signed.len(), 4 + 64);
    let key = SigningKey::<MlDsa65>::from_seed(&[101; 32].into());
    let signature = Signature::<MlDsa65>::try_from(envelope.signatures[1].sig.as_slice()).unwrap();
    assert!(key.verifying_key().verify_with_context(&signed, b"", &signature));
    assert!(
        pair.classical
            .public_key()
            .verifies(&message, &envelope.signatures[0].sig)
    );
}

/// Wycheproof (C2SP), from the shared data where it is present.
#[test]
fn wycheproof() {
    let archive = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/data/crypto-vectors.tar.gz"
    );
    if !std::path::Path::new(archive).exists() {
        println!("not run: wycheproof, ../shared/data/crypto-vectors.tar.gz is absent");
        return;
    }
    for (algorithm, file) in [
        (Algorithm::Ed25519, "ed25519_test"),
        (Algorithm::MlDsa65, "mldsa_65_verify_test"),
    ] {
        let path = format!("crypto-vectors/testvectors_v1/{file}.json");
        let out = Command::new("tar")
            .args(["-xzOf", archive, &path])
            .output()
            .expect("tar runs");
        let suite: Value = serde_json::from_slice(&out.stdout).expect("the archive holds the suite");
        let (mut run, mut other) = (0, 0);
        for group in suite["testGroups"].as_array().unwrap() {
            let public = group["publicKey"]
                .as_str()
                .or(group["publicKey"]["pk"].as_str())
                .unwrap();
            let key = PublicKey {
                algorithm,
                bytes: unhex(public),
            };
            for test in group["tests"].as_array().unwrap() {
                // Ours is pure ML-DSA with an empty context.
                if test["ctx"].as_str().is_some_and(|ctx| !ctx.is_empty()) {
                    other += 1;
                    continue;
                }
                let text = |name: &str| unhex(test[name].as_str().unwrap());
                let valid = test["result"] == "valid";
                assert_eq!(
                    key.verifies(&text("msg"), &text("sig")),
                    valid,
                    "{file} {}: {}",
                    test["tcId"],
                    test["comment"]
                );
                run += 1;
            }
        }
        println!("{file}: {run} run, {other} with a context left out");
        assert!(run >= 100);
    }
}
