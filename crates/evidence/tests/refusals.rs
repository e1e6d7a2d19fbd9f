//! What `Verified`, `Logged`, notes and trust roots refuse: one change a row.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::*;
use evidence::predicates::{APPROVAL, SECRET_SCAN, VSA};
use evidence::{
    Algorithm, Checkpoint, Digest, Envelope, KeyId, Logged, MemorySigner, NoteError, PAYLOAD_TYPE_IN_TOTO, ProofError,
    PublicKey, Role, Signature, SignedNote, Signer, TrustRoot, TrustRootError, Verified, VerifyError, note_key_id, pae,
    to_canonical,
};

#[test]
fn statements() {
    let world = World::new();
    let scan = statement(SECRET_SCAN, "secrets");
    let clean = || world.sign(Role::Step, &scan);
    let verified = Verified::statement(&clean(), &world.root, at()).unwrap();
    assert_eq!((verified.role(), verified.signers().len()), (Role::Step, 2));
    assert_eq!(
        (verified.value(), verified.trust_root(), verified.at()),
        (&scan, world.root.digest(), at())
    );
    assert!(Verified::statement(&world.sign(Role::Gate, &statement(VSA, "verdict")), &world.root, at()).is_ok());

    let edit = |change: &dyn Fn(&mut Envelope)| {
        let mut envelope = clean();
        change(&mut envelope);
        envelope
    };
    let payload =
        |bytes: Vec<u8>| Envelope::sign(PAYLOAD_TYPE_IN_TOTO, bytes, &world.pairs[&Role::Step].signers()).unwrap();
    let canonical = String::from_utf8(to_canonical(&scan)).unwrap();
    let stranger = pair(9);
    let step = &world.pairs[&Role::Step];
    let gate = &world.pairs[&Role::Gate];
    let signed = |signers: &[&dyn Signer]| Envelope::sign_statement(&scan, signers).unwrap();
    let raw_ml_dsa = || {
        let mut envelope = clean();
        envelope.signatures[1].sig = step
            .post_quantum
            .sign(&pae(PAYLOAD_TYPE_IN_TOTO, &envelope.payload))
            .unwrap();
        envelope
    };
    type Row = (&'static str, Envelope, fn(&VerifyError) -> bool);
    let rows: Vec<Row> = vec![
        (
            "a role that may not",
            world.sign(Role::Gate, &scan),
            |e| matches!(e, VerifyError::NotAllowed(p) if p == SECRET_SCAN),
        ),
        ("the log's keys", world.sign(Role::Log, &scan), |e| {
            matches!(e, VerifyError::NotAllowed(_))
        }),
        ("an approver's scan", world.sign(Role::Approver, &scan), |e| {
            matches!(e, VerifyError::NotAllowed(_))
        }),
        (
            "a step's approval",
            world.sign(Role::Step, &statement(APPROVAL, "a")),
            |e| matches!(e, VerifyError::NotAllowed(_)),
        ),
        (
            "a predicate nobody lists",
            world.sign(Role::Step, &statement("https://example.test/x", "x")),
            |e| matches!(e, VerifyError::NotAllowed(_)),
        ),
        ("keys nobody lists", signed(&stranger.signers()), |e| {
            matches!(e, VerifyError::Signature(_))
        }),
        (
            "two roles, step first",
            signed(&[&step.classical, &gate.post_quantum]),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        (
            "two roles, gate first",
            signed(&[&gate.classical, &step.post_quantum]),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        (
            "a stranger beside both",
            signed(&[&step.classical, &step.post_quantum, &stranger.classical]),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        ("no signature", edit(&|e| e.signatures.clear()), |e| {
            matches!(e, VerifyError::Threshold { valid: 0, .. })
        }),
        ("only Ed25519", signed(&[&step.classical]), |e| {
            matches!(
                e,
                VerifyError::Threshold {
                    valid: 1,
                    threshold: 2,
                    ..
                }
            )
        }),
        ("only ML-DSA", signed(&[&step.post_quantum]), |e| {
            matches!(
                e,
                VerifyError::Threshold {
                    valid: 1,
                    threshold: 2,
                    ..
                }
            )
        }),
        ("one key twice", signed(&[&step.classical, &step.classical]), |e| {
            matches!(e, VerifyError::RepeatedKey(_))
        }),
        (
            "both, and one twice",
            signed(&[&step.classical, &step.post_quantum, &step.post_quantum]),
            |e| matches!(e, VerifyError::RepeatedKey(_)),
        ),
        (
            "signatures swapped",
            edit(&|e| {
                let (a, b) = e.signatures.split_at_mut(1);
                std::mem::swap(&mut a[0].sig, &mut b[0].sig)
            }),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        (
            "key ids swapped",
            edit(&|e| {
                let (a, b) = e.signatures.split_at_mut(1);
                std::mem::swap(&mut a[0].keyid, &mut b[0].keyid)
            }),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        (
            "a signature cut",
            edit(&|e| {
                e.signatures[1].sig.pop();
            }),
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        ("a signature extended", edit(&|e| e.signatures[0].sig.push(0)), |e| {
            matches!(e, VerifyError::Signature(_))
        }),
        ("ML-DSA over the bare encoding", raw_ml_dsa(), |e| {
            matches!(e, VerifyError::Signature(_))
        }),
        ("payload changed", edit(&|e| e.payload[10] ^= 1), |e| {
            matches!(e, VerifyError::Signature(_))
        }),
        (
            "payload type renamed",
            edit(&|e| e.payload_type = "text/plain".to_owned()),
            |e| matches!(e, VerifyError::PayloadType(t) if t == "text/plain"),
        ),
        (
            "payload type swapped",
            {
                let mut e = Envelope::sign("text/plain", to_canonical(&scan), &step.signers()).unwrap();
                PAYLOAD_TYPE_IN_TOTO.clone_into(&mut e.payload_type);
                e
            },
            |e| matches!(e, VerifyError::Signature(_)),
        ),
        (
            "white space in the payload",
            payload(format!("{canonical}\n").into_bytes()),
            |e| matches!(e, VerifyError::Statement(_)),
        ),
        (
            "white space within",
            payload(canonical.replacen("{\"_type\"", "{ \"_type\"", 1).into_bytes()),
            |e| matches!(e, VerifyError::Statement(_)),
        ),
        (
            "a field nobody knows",
            payload(canonical.replacen("{\"_type\"", "{\"A\":1,\"_type\"", 1).into_bytes()),
            |e| matches!(e, VerifyError::Statement(_)),
        ),
        (
            "another statement type",
            payload(canonical.replace("Statement/v1", "Statement/v0.1").into_bytes()),
            |e| matches!(e, VerifyError::Statement(_)),
        ),
        ("no JSON at all", payload(b"\xff\xfe".to_vec()), |e| {
            matches!(e, VerifyError::Statement(_))
        }),
    ];
    for (name, envelope, refused) in rows {
        let error = Verified::statement(&envelope, &world.root, at()).expect_err(name);
        assert!(refused(&error), "{name}: {error}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn both_algorithms_are_asked_whatever_the_threshold() {
    let mut world = World::new();
    let second = MemorySigner::from_seed(Algorithm::Ed25519, &[77; 32]).unwrap();
    let id = second.public_key().id();
    world.root.keys.insert(id.clone(), second.public_key().clone());
    world.root.roles.get_mut(&Role::Step).unwrap().keys.push(id);
    let scan = statement(SECRET_SCAN, "secrets");
    let step = &world.pairs[&Role::Step];
    let sign = |signers: &[&dyn Signer]| Envelope::sign_statement(&scan, signers).unwrap();
    let missing = step.post_quantum.public_key().id().0;
    let verify = |envelope: &Envelope| Verified::statement(envelope, &world.root, at());
    assert!(matches!(
        verify(&sign(&[&step.classical, &second])).unwrap_err(),
        VerifyError::Threshold { valid: 2, threshold: 2, missing: named, .. } if named == missing
    ));
    assert!(verify(&sign(&[&second, &step.post_quantum])).is_ok());
    assert!(verify(&sign(&[&step.classical, &second, &step.post_quantum])).is_ok());
}

#[test]
fn a_role_without_keys_signs_nothing() {
    let mut world = World::new();
    let envelope = world.sign(Role::Step, &statement(SECRET_SCAN, "secrets"));
    world.root.roles.remove(&Role::Step);
    assert!(matches!(
        Verified::statement(&envelope, &world.root, at()),
        Err(VerifyError::Signature(_))
    ));
    let payload = Verified::payload(&envelope, PAYLOAD_TYPE_IN_TOTO, Role::Step, &world.root, at());
    assert!(matches!(payload, Err(VerifyError::Signature(_))));
}

#[test]
fn log_proofs() {
    let world = World::new();
    let names = ["a", "b", "c", "d", "e"];
    let envelopes: Vec<Envelope> = names
        .iter()
        .map(|name| world.sign(Role::Step, &statement(SECRET_SCAN, name)))
        .collect();
    let (note, logged) = world.log(envelopes.clone());
    let checkpoint = Verified::checkpoint(&note, &world.root, at()).unwrap();
    let verified = |envelope: &Envelope| Verified::statement(envelope, &world.root, at()).unwrap();
    let third = || verified(&envelopes[2]);
    let proof = &logged[2].proof;
    let proved = Logged::prove(third(), proof, &checkpoint).unwrap();
    assert_eq!(
        (proved.index(), proved.size(), proved.context().unwrap().check.as_str()),
        (2, 5, "c")
    );

    let edit = |change: &dyn Fn(&mut evidence::InclusionProof)| {
        let mut proof = proof.clone();
        change(&mut proof);
        proof
    };
    for (name, proof) in [
        ("another index", edit(&|p| p.index = 3)),
        ("an index beyond", edit(&|p| p.index = 5)),
        ("another size", edit(&|p| p.size = 4)),
        ("a hash more", edit(&|p| p.hashes.push(Digest::of(b"x")))),
        (
            "a hash less",
            edit(&|p| {
                p.hashes.pop();
            }),
        ),
        ("another hash", edit(&|p| p.hashes[0] = Digest::of(b"x"))),
        ("the neighbour's proof", logged[3].proof.clone()),
    ] {
        assert!(Logged::prove(third(), &proof, &checkpoint).is_err(), "{name}");
    }
    assert!(matches!(
        Logged::prove(third(), &edit(&|p| p.size = 4), &checkpoint),
        Err(VerifyError::Size {
            proof: 4,
            checkpoint: 5
        })
    ));
    assert!(matches!(
        Logged::prove(third(), &edit(&|p| p.hashes[0] = Digest::of(b"x")), &checkpoint),
        Err(VerifyError::Proof(ProofError::Root))
    ));
    // The leaf commits to the signatures too: the same payload signed again, or in another order, was never logged.
    let mut turned = envelopes[2].clone();
    turned.signatures.reverse();
    assert!(Logged::prove(verified(&turned), proof, &checkpoint).is_err());
    let again = world.sign(Role::Step, &statement(SECRET_SCAN, "c"));
    if again != envelopes[2] {
        assert!(Logged::prove(verified(&again), proof, &checkpoint).is_err());
    }
    // A checkpoint of a log that has another entry there.
    let (other, _) = world.log(envelopes.iter().rev().cloned().collect());
    let other = Verified::checkpoint(&other, &world.root, at()).unwrap();
    assert!(Logged::prove(verified(&envelopes[1]), &logged[1].proof, &other).is_err());
}

#[test]
fn checkpoints() {
    let world = World::new();
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 7,
        root: Digest::of(b"root"),
    };
    let note = world.note(&checkpoint);
    let open = |note: &str| Verified::checkpoint(note, &world.root, at());
    assert_eq!(open(&note).unwrap().value(), &checkpoint);
    let sign = |text: &str, name: &str, signer: &MemorySigner| {
        let mut blob = note_key_id(name, signer.public_key()).to_vec();
        blob.extend(signer.sign(text.as_bytes()).unwrap());
        format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(blob))
    };
    let log = &world.pairs[&Role::Log].classical;
    let (text, _) = note.split_at(note.find("\n\u{2014}").unwrap());
    assert_eq!(sign(text, ORIGIN, log), note);
    let stranger = &pair(9).classical;
    // A cosignature of somebody else beside the log's own is fine.
    let cosigned = format!(
        "{note}{}",
        sign(text, "witness.test", stranger).rsplit_once("\n\n").unwrap().1
    );
    assert_eq!(open(&cosigned).unwrap().value(), &checkpoint);
    let flip = |from: &str, to: &str| note.replacen(from, to, 1);
    let other = world.note(&Checkpoint {
        origin: "example.test/other".to_owned(),
        ..checkpoint.clone()
    });
    for (name, note, expected) in [
        ("another size", flip("\n7\n", "\n8\n"), Some(NoteError::Unsigned)),
        (
            "a size with a plus",
            sign(&text.replace("\n7\n", "\n+7\n"), ORIGIN, log),
            None,
        ),
        (
            "a size with a zero before",
            sign(&text.replace("\n7\n", "\n07\n"), ORIGIN, log),
            None,
        ),
        ("no size", sign(&text.replace("\n7\n", "\n\n"), ORIGIN, log), None),
        (
            "a size beyond",
            sign(&text.replace("\n7\n", "\n18446744073709551616\n"), ORIGIN, log),
            None,
        ),
        ("a short root", sign(&format!("{ORIGIN}\n7\nAAAA\n"), ORIGIN, log), None),
        ("a line more", sign(&format!("{text}extension\n"), ORIGIN, log), None),
        (
            "another origin",
            other,
            Some(NoteError::Origin {
                got: "example.test/other".to_owned(),
                expected: ORIGIN.to_owned(),
            }),
        ),
        ("another key", sign(text, ORIGIN, stranger), Some(NoteError::Unsigned)),
        (
            "another key name",
            sign(text, "witness.test", log),
            Some(NoteError::Unsigned),
        ),
        ("no signature", format!("{text}\n"), None),
        ("no end", note.trim_end().to_owned(), None),
        ("another dash", flip("\u{2014}", "-"), None),
        ("bad base64", flip("=\n", "*\n"), None),
        ("nothing", String::new(), None),
    ] {
        match (open(&note).expect_err(name), expected) {
            (VerifyError::Checkpoint(error), Some(expected)) => assert_eq!(error, expected, "{name}"),
            (VerifyError::Checkpoint(NoteError::Malformed(_)), None) => {}
            (error, expected) => panic!("{name}: {error:?}, {expected:?} expected"),
        }
    }
}

/// The note in the documentation of Go's `golang.org/x/mod/sumdb/note`.
#[test]
fn a_note_of_another_implementation() {
    let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    let line = "\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let key = STANDARD.decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
    assert_eq!(key[0], 1, "the algorithm byte of Ed25519");
    let key = PublicKey {
        algorithm: Algorithm::Ed25519,
        bytes: key[1..].to_vec(),
    };
    assert_eq!(note_key_id("PeterNeumann", &key), [0xc7, 0x4f, 0x20, 0xa3]);
    let note = SignedNote::parse(&format!("{text}\n{line}")).unwrap();
    assert_eq!(note.text, text);
    let (name, id, signature) = &note.signatures[0];
    assert_eq!((name.as_str(), *id), ("PeterNeumann", [0xc7, 0x4f, 0x20, 0xa3]));
    assert!(key.verifies(note.text.as_bytes(), signature));
    // Text may hold empty lines and dashes: the last empty line ends it.
    let nested = SignedNote::parse(&format!("{text}\n{line}\n{line}")).unwrap();
    assert_eq!(nested.text, format!("{text}\n{line}"));
    let large = format!("{}\n\n{line}", "x".repeat(SignedNote::BYTES_MAX));
    assert_eq!(SignedNote::parse(&large), Err(NoteError::Malformed("over 1 MiB")));
}

#[test]
fn trust_roots() {
    let world = World::new();
    let read = |root: &TrustRoot| TrustRoot::from_bytes(&root.to_bytes());
    assert_eq!(read(&world.root).unwrap(), world.root);
    let edit = |change: &dyn Fn(&mut TrustRoot)| {
        let mut root = world.root.clone();
        change(&mut root);
        read(&root).unwrap_err()
    };
    let step = world.pairs[&Role::Step].classical.public_key().id();
    let gate = world.pairs[&Role::Gate].classical.public_key().id();
    let quantum = world.pairs[&Role::Log].post_quantum.public_key().id();
    assert!(matches!(edit(&|r| r.version = 2), TrustRootError::Version(2)));
    assert!(matches!(edit(&|r| { r.keys.remove(&step); }), TrustRootError::Key(id) if id == step));
    assert!(matches!(edit(&|r| r.keys.get_mut(&step).unwrap().bytes[0] ^= 1), TrustRootError::Key(id) if id == step));
    assert!(matches!(
        edit(&|r| r.roles.get_mut(&Role::Step).unwrap().keys.push(gate.clone())),
        TrustRootError::SharedKey(_)
    ));
    assert!(matches!(
        edit(&|r| r.roles.get_mut(&Role::Step).unwrap().keys.push(step.clone())),
        TrustRootError::SharedKey(_)
    ));
    assert!(matches!(
        edit(&|r| r.roles.get_mut(&Role::Gate).unwrap().threshold = 0),
        TrustRootError::Threshold("gate")
    ));
    assert!(matches!(
        edit(&|r| r.roles.get_mut(&Role::Gate).unwrap().threshold = 3),
        TrustRootError::Threshold("gate")
    ));
    assert!(matches!(edit(&|r| r.log.key = step.clone()), TrustRootError::Key(_)));
    assert!(matches!(edit(&|r| r.log.key = quantum.clone()), TrustRootError::Key(_)));
    assert!(matches!(
        edit(&|r| {
            r.roles.remove(&Role::Log);
        }),
        TrustRootError::Key(_)
    ));
    assert!(matches!(
        edit(&|r| r.roles.get_mut(&Role::Log).unwrap().keys.push(KeyId("0".repeat(32)))),
        TrustRootError::Key(_)
    ));
    let text = String::from_utf8(world.root.to_bytes()).unwrap();
    for bad in [
        format!("{text}\n"),
        text.replacen('{', "{\"a\":1,", 1),
        text.replace(":true", ": true"),
        String::new(),
    ] {
        assert!(matches!(
            TrustRoot::from_bytes(bad.as_bytes()),
            Err(TrustRootError::Form(_))
        ));
    }
    assert_eq!(world.root.policy_digest(), Digest::of(b"[]"));
}

#[test]
fn envelopes_are_read_in_one_form_only() {
    let envelope = World::new().sign(Role::Step, &statement(SECRET_SCAN, "secrets"));
    let text = String::from_utf8(envelope.to_bytes()).unwrap();
    assert_eq!(Envelope::from_bytes(text.as_bytes()).unwrap(), envelope);
    let signature = serde_json::to_string(&envelope.signatures[0]).unwrap();
    for (name, bad) in [
        ("white space", format!(" {text}")),
        ("a field nobody knows", text.replacen('{', "{\"a\":1,", 1)),
        ("a field twice", text.replacen('{', "{\"payload\":\"\",", 1)),
        (
            "a field of a signature nobody knows",
            text.replace(&signature, &signature.replacen('{', "{\"a\":1,", 1)),
        ),
        ("an escape", text.replacen("payloadType", "payload\\u0054ype", 1)),
        ("base64 without padding", text.replacen("==\"", "\"", 1)),
        (
            "URL-safe base64",
            text.replace('+', "-")
                .replace("application/vnd.in-toto-json", PAYLOAD_TYPE_IN_TOTO),
        ),
        ("cut", text[..text.len() - 1].to_owned()),
    ] {
        assert_ne!(bad, text, "{name}");
        assert!(Envelope::from_bytes(bad.as_bytes()).is_err(), "{name}");
    }
    let none: Vec<Signature> = vec![];
    assert!(
        Envelope::from_bytes(&to_canonical(&Envelope {
            signatures: none,
            ..envelope
        }))
        .is_ok(),
        "form only, not trust"
    );
}
