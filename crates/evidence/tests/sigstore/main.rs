//! Sigstore bundles of a Sigstore of our own: what holds is verified, each thing made another way is refused at the check it
//! breaks, and each byte that is flipped is refused, or is one that decides nothing.

mod world;

use evidence::sigstore::{
    Artifact, Check, Hash, Identity, Policy, Refusal, TrustedRoot, VerifiedBundle, Who, read, verify,
};
use evidence::{Outcome, Timestamp};
use serde_json::{Value, json};
use world::*;

fn check(world: &World, artifact: Artifact<'_>) -> Result<VerifiedBundle, Refusal> {
    ask(
        &world.trusted_root,
        &serde_json::to_vec(&world.bundle).unwrap(),
        artifact,
        ISSUER,
    )
}

fn ask(root: &Value, bundle: &[u8], artifact: Artifact<'_>, issuer: &str) -> Result<VerifiedBundle, Refusal> {
    let root = TrustedRoot::from_bytes(&serde_json::to_vec(root).unwrap()).unwrap();
    let is_issuer = |got: &str| got == issuer;
    let policy = Policy::new(Who::Identity(Identity {
        name: &|name| name == NAME,
        name_text: NAME,
        issuer: &is_issuer,
        issuer_text: issuer,
    }));
    verify(bundle, &root, &policy, artifact, now())
}

fn now() -> Timestamp {
    Timestamp::from_second(SIGNED_SECONDS + 3_600).unwrap()
}

fn refused(answer: Result<VerifiedBundle, Refusal>) -> (Outcome, Check) {
    let refusal = answer.expect_err("it is refused");
    (refusal.outcome, refusal.check)
}

fn statement() -> Value {
    json!({"_type": evidence::STATEMENT_TYPE, "predicateType": "https://slsa.dev/provenance/v1", "predicate": {"any": 1},
        "subject": [{"name": "other", "digest": {"sha256": "00"}},
            {"name": "shop", "digest": {"sha256": hex(&sha256(ARTIFACT))}}]})
}

#[test]
fn what_holds_is_verified() {
    let message = world(&Wishes::default());
    let verified = check(&message, Artifact::Bytes(ARTIFACT)).unwrap();
    assert_eq!(verified.times().len(), 2);
    assert!(verified.entries()[0].included);
    assert!(check(&message, Artifact::Digest(Hash::Sha256, &sha256(ARTIFACT))).is_ok());
    let enveloped = world(&Wishes {
        statement: Some(statement()),
        ..Wishes::default()
    });
    let verified = check(&enveloped, Artifact::Bytes(ARTIFACT)).unwrap();
    assert_eq!(verified.statement().unwrap().subject[1].name, "shop");
}

#[test]
fn what_is_made_another_way_is_refused_at_its_check() {
    let wish = Wishes::default;
    let rows = [
        (
            "the certificate is for time stamps",
            Wishes {
                purpose: TIME_STAMPING,
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "the certificate is an authority's",
            Wishes {
                leaf_is_ca: true,
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "the intermediate is no authority",
            Wishes {
                intermediate_is_ca: false,
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "an unknown critical extension",
            Wishes {
                unknown_critical: true,
                ..wish()
            },
            Check::Key,
        ),
        (
            "two names",
            Wishes {
                names: vec![uri(NAME), uri("https://else.example")],
                ..wish()
            },
            Check::Identity,
        ),
        (
            "no name",
            Wishes {
                names: vec![],
                ..wish()
            },
            Check::Identity,
        ),
        (
            "another name",
            Wishes {
                names: vec![uri("https://else.example")],
                ..wish()
            },
            Check::Identity,
        ),
        ("no timestamp of a log", Wishes { sct: false, ..wish() }, Check::Sct),
        (
            "a stamp before the certificate",
            Wishes {
                stamp_time: "20251231235959Z",
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "a stamp behind the certificate",
            Wishes {
                stamp_time: "20260101001000.1Z",
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "a stamp of the future",
            Wishes {
                stamp_time: "20270101000000Z",
                ..wish()
            },
            Check::Time,
        ),
        (
            "a stamp by who may not",
            Wishes {
                stamp_purpose: CODE_SIGNING,
                ..wish()
            },
            Check::Time,
        ),
        (
            "integrated behind the certificate",
            Wishes {
                integrated_seconds: SIGNED_SECONDS + 301,
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "integrated in the future",
            Wishes {
                integrated_seconds: SIGNED_SECONDS + 7_200,
                ..wish()
            },
            Check::Promise,
        ),
        (
            "a host that isn't permitted",
            Wishes {
                constraints: Some(constrained(true, &uri("else.example"))),
                ..wish()
            },
            Check::Certificate,
        ),
        (
            "a host that is excluded",
            Wishes {
                constraints: Some(constrained(false, &uri("forge.example"))),
                ..wish()
            },
            Check::Certificate,
        ),
    ];
    for (what, wishes, expected) in rows {
        assert_eq!(
            refused(check(&world(&wishes), Artifact::Bytes(ARTIFACT))),
            (Outcome::Fail, expected),
            "{what}"
        );
    }
    let permitted = Wishes {
        constraints: Some(constrained(true, &uri("forge.example"))),
        ..wish()
    };
    assert!(check(&world(&permitted), Artifact::Bytes(ARTIFACT)).is_ok());
}

#[test]
fn what_is_changed_or_lacking_is_said() {
    let whole = world(&Wishes::default());
    let entry = "/verificationMaterial/tlogEntries/0";
    let rows: [(&str, Value, Outcome, Check); 12] = [
        (
            "/mediaType",
            json!("application/vnd.dev.sigstore.bundle.v9.9+json"),
            Outcome::Fail,
            Check::Form,
        ),
        ("/messageSignature", json!(null), Outcome::Fail, Check::Form),
        (
            "/messageSignature/messageDigest/digest",
            json!("AAAA"),
            Outcome::Fail,
            Check::Subject,
        ),
        (
            "/verificationMaterial/certificate",
            json!(null),
            Outcome::Fail,
            Check::Form,
        ),
        (
            "/verificationMaterial/tlogEntries",
            json!([]),
            Outcome::Indeterminate,
            Check::LogEntry,
        ),
        (
            &format!("{entry}/inclusionProof"),
            json!(null),
            Outcome::Indeterminate,
            Check::Inclusion,
        ),
        (
            &format!("{entry}/inclusionProof/checkpoint"),
            json!(null),
            Outcome::Indeterminate,
            Check::Checkpoint,
        ),
        (
            &format!("{entry}/inclusionProof/treeSize"),
            json!("2"),
            Outcome::Fail,
            Check::Inclusion,
        ),
        (
            &format!("{entry}/inclusionProof/logIndex"),
            json!("-1"),
            Outcome::Fail,
            Check::Form,
        ),
        (&format!("{entry}/logIndex"), json!("8"), Outcome::Fail, Check::Promise),
        (
            &format!("{entry}/integratedTime"),
            json!("1767225901"),
            Outcome::Fail,
            Check::Promise,
        ),
        (
            &format!("{entry}/kindVersion/version"),
            json!("0.0.2"),
            Outcome::Fail,
            Check::LogEntry,
        ),
    ];
    for (place, value, outcome, expected) in rows {
        let mut changed = World {
            trusted_root: whole.trusted_root.clone(),
            bundle: whole.bundle.clone(),
        };
        *changed.bundle.pointer_mut(place).unwrap() = value;
        assert_eq!(
            refused(check(&changed, Artifact::Bytes(ARTIFACT))),
            (outcome, expected),
            "{place}"
        );
    }
    let bytes = serde_json::to_vec(&whole.bundle).unwrap();
    let ask = |root: &Value, issuer| refused(ask(root, &bytes, Artifact::Bytes(ARTIFACT), issuer));
    assert_eq!(
        ask(&whole.trusted_root, "https://else.example"),
        (Outcome::Fail, Check::Identity)
    );
    for (list, outcome, expected) in [
        ("tlogs", Outcome::Indeterminate, Check::LogEntry),
        ("ctlogs", Outcome::Indeterminate, Check::Sct),
        ("certificateAuthorities", Outcome::Fail, Check::Certificate),
    ] {
        let mut less = whole.trusted_root.clone();
        less[list] = json!([]);
        assert_eq!(ask(&less, ISSUER), (outcome, expected), "{list}");
    }
    let other = world(&Wishes::default());
    // Its time stamp authority has the same name and serial number.
    assert_eq!(ask(&other.trusted_root, ISSUER), (Outcome::Fail, Check::Time));
    assert_eq!(
        refused(check(&whole, Artifact::Bytes(b"another"))),
        (Outcome::Fail, Check::Signature)
    );
}

#[test]
fn statements_of_other_artifacts_and_with_repeated_keys_are_refused() {
    let of = |statement: Value| {
        world(&Wishes {
            statement: Some(statement),
            ..Wishes::default()
        })
    };
    let ask = |statement: Value, artifact| refused(check(&of(statement), artifact)).1;
    assert_eq!(ask(statement(), Artifact::Bytes(b"another")), Check::Subject);
    assert_eq!(
        ask(json!({"_type": "other"}), Artifact::Bytes(ARTIFACT)),
        Check::Payload
    );
    let mut two = statement();
    two["subject"][1]["digest"]["sha512"] = json!("00");
    assert_eq!(ask(two, Artifact::Bytes(ARTIFACT)), Check::Subject);
}

/// Every byte of every value that is base64, and every character of the others, one at a time.
#[test]
fn each_flipped_byte_is_refused_or_decides_nothing() {
    let whole = world(&Wishes::default());
    let before = check(&whole, Artifact::Bytes(ARTIFACT)).unwrap();
    let mut places = Vec::new();
    leaves(&whole.bundle, String::new(), &mut places);
    let (mut refusals, mut same) = (0, Vec::new());
    for place in places {
        let text = whole.bundle.pointer(&place).unwrap().as_str().unwrap().to_owned();
        let raw = unb64(&text).filter(|bytes| bytes.len() > 8);
        let length = raw.as_ref().map_or(text.len(), Vec::len);
        for at in 0..length {
            let mut bytes = raw.clone().unwrap_or_else(|| text.clone().into_bytes());
            bytes[at] ^= 1 << (at % 7);
            let changed = match &raw {
                Some(_) => b64(&bytes),
                None => String::from_utf8_lossy(&bytes).into_owned(),
            };
            let mut bundle = whole.bundle.clone();
            *bundle.pointer_mut(&place).unwrap() = changed.into();
            let changed = World {
                trusted_root: whole.trusted_root.clone(),
                bundle,
            };
            match check(&changed, Artifact::Bytes(ARTIFACT)) {
                Err(_) => refusals += 1,
                Ok(after) => {
                    // What is still accepted says the same, less a witness whose name was changed.
                    assert_eq!(after.signer(), before.signer(), "{place} at {at}");
                    assert!(
                        after.times().iter().all(|time| before.times().contains(time)),
                        "{place} at {at}"
                    );
                    assert_eq!(after.entries(), before.entries(), "{place} at {at}");
                    same.push((place.clone(), at));
                }
            }
        }
    }
    assert!(refusals > 2_500, "{refusals}");
    // Of a time stamp nobody signs its status, the version of its containers and which authority it names.
    let stamp = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0/signedTimestamp";
    let elsewhere: Vec<_> = same.iter().filter(|(place, _)| place != stamp).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(same.len() < 60, "{same:?}");
}

fn leaves(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(table) => table
            .iter()
            .for_each(|(key, value)| leaves(value, format!("{place}/{key}"), found)),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(at, value)| leaves(value, format!("{place}/{at}"), found)),
        Value::String(_) => found.push(place),
        _ => {}
    }
}

#[test]
fn other_envelopes_are_read() {
    let whole = world(&Wishes {
        statement: Some(statement()),
        ..Wishes::default()
    });
    let root = TrustedRoot::from_bytes(&serde_json::to_vec(&whole.trusted_root).unwrap()).unwrap();
    let answers = |document: Value| -> Vec<Result<&'static str, (Outcome, Check)>> {
        let list = read(&serde_json::to_vec(&document).unwrap()).unwrap();
        let policy = Policy::new(Who::Anyone);
        let answer = list
            .iter()
            .map(|one| match one.verify(&root, &policy, Artifact::AnySubject, now()) {
                Ok(_) => Ok(one.form),
                Err(refusal) => Err((refusal.outcome, refusal.check)),
            });
        answer.collect()
    };
    let material = &whole.bundle["verificationMaterial"];
    let envelope = &whole.bundle["dsseEnvelope"];
    let pypi = json!({"version": 1,
        "verification_material": {"certificate": material["certificate"]["rawBytes"], "transparency_entries": material["tlogEntries"]},
        "envelope": {"statement": envelope["payload"], "signature": envelope["signatures"][0]["sig"]}});
    assert_eq!(answers(whole.bundle.clone()), [Ok("bundle")]);
    assert_eq!(answers(pypi.clone()), [Ok("pypi")]);
    let provenance =
        json!({"version": 1, "attestation_bundles": [{"publisher": {"kind": "GitHub"}, "attestations": [pypi]}]});
    assert_eq!(answers(provenance), [Ok("pypi")]);
    let npm = json!({"attestations": [{"predicateType": "any", "bundle": whole.bundle}, {"bundle": whole.bundle}]});
    assert_eq!(answers(npm), [Ok("npm"), Ok("npm")]);
    let bare = Err((Outcome::Indeterminate, Check::Key));
    assert_eq!(answers(envelope.clone()), [bare]);
    assert_eq!(
        answers(json!({"provenance_summary": {"provenance": [{"envelope": envelope}]}})),
        [bare]
    );
    let lines = format!("{}\n{}\n", whole.bundle, envelope);
    assert_eq!(read(lines.as_bytes()).unwrap().len(), 2);
    assert!(read(b"{}").is_err());
    assert!(read(b"{\"payloadType\":\"a\",\"payloadType\":\"a\"}").is_err());
}
