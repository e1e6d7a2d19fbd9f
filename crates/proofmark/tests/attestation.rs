//! `verify FILE`: exit codes and words, over bundles of a Sigstore of our own.

#[path = "../../evidence/tests/sigstore/world.rs"]
mod world;

use std::process::Command;

use serde_json::{Value, json};
use world::{ARTIFACT, ISSUER, NAME, Wishes};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(wishes: &Wishes) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        let world = world::world(wishes);
        folder.write("trusted_root.json", world.trusted_root.to_string().as_bytes());
        folder.write("shop.sigstore.json", world.bundle.to_string().as_bytes());
        folder.write("shop", ARTIFACT);
        folder
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.0.path().join(name), bytes).unwrap();
    }

    /// Exit code, stdout and stderr.
    fn verify(&self, file: &str, more: &[&str]) -> (i32, String, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_proofmark"))
            .args(["verify", file, "--as-of", "2026-01-02T00:00:00Z"])
            .args(more)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
    }
}

const ROOT: [&str; 2] = ["--trusted-root", "trusted_root.json"];
const WHO: [&str; 4] = ["--certificate-identity", NAME, "--certificate-oidc-issuer", ISSUER];

#[test]
fn exit_codes_say_what_the_answer_is() {
    let folder = Folder::new(&Wishes::default());
    let digest = format!("sha256:{}", world::hex(&world::sha256(ARTIFACT)));
    let pattern = [
        "--certificate-identity-regexp",
        "https://forge[.]example/.*",
        "--certificate-oidc-issuer",
        ISSUER,
    ];
    let half = [
        "--certificate-identity-regexp",
        "https://forge[.]example",
        "--certificate-oidc-issuer",
        ISSUER,
    ];
    folder.write("other", b"another");
    let artifact = ["--artifact", "shop"];
    let rows: [(&str, i32, Vec<&str>); 10] = [
        ("the artifact", 0, [&ROOT[..], &WHO, &artifact].concat()),
        ("its digest", 0, [&ROOT[..], &WHO, &["--digest", &digest]].concat()),
        ("a pattern", 0, [&ROOT[..], &pattern, &artifact].concat()),
        ("a pattern for a part", 4, [&ROOT[..], &half, &artifact].concat()),
        (
            "another artifact",
            4,
            [&ROOT[..], &WHO, &["--artifact", "other"]].concat(),
        ),
        (
            "a signature over nothing",
            3,
            [&ROOT[..], &WHO, &["--any-subject"]].concat(),
        ),
        (
            "more logs than there are",
            3,
            [&ROOT[..], &WHO, &artifact, &["--log-entries-min", "2"]].concat(),
        ),
        ("no trusted root", 2, [&WHO[..], &artifact].concat()),
        ("nobody", 2, [&ROOT[..], &artifact].concat()),
        ("no artifact", 2, [&ROOT[..], &WHO].concat()),
    ];
    for (what, code, args) in rows {
        let (got, out, err) = folder.verify("shop.sigstore.json", &args);
        assert_eq!(got, code, "{what}: {out}{err}");
    }
}

#[test]
fn a_refusal_names_the_check_and_what_to_do() {
    let folder = Folder::new(&Wishes {
        sct: false,
        ..Wishes::default()
    });
    let args = [&ROOT[..], &WHO, &["--artifact", "shop"]].concat();
    let (code, out, err) = folder.verify("shop.sigstore.json", &args);
    assert_eq!((code, out.trim()), (4, "REFUSED: 0 of 1 attestation verified"));
    assert!(
        err.contains("error[attestation/sct]:") && err.contains("= to do:"),
        "{err}"
    );
    let (_, out, _) = folder.verify("shop.sigstore.json", &[&args[..], &["--json"]].concat());
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["outcome"], "fail");
    assert_eq!(document["attestations"][0]["check"], "sct");
    assert_eq!(document["attestations"][0]["passed"][1]["check"], "signature");
}

#[test]
fn a_predicate_type_picks_among_several() {
    let statement = json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {}, "subject": [{"name": "shop", "digest": {"sha256": world::hex(&world::sha256(ARTIFACT))}}]});
    let folder = Folder::new(&Wishes {
        statement: Some(statement),
        ..Wishes::default()
    });
    let bundle = std::fs::read(folder.0.path().join("shop.sigstore.json")).unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let several = json!({"attestations": [{"bundle": bundle}, bundle["dsseEnvelope"].clone(),
        {"bundle": world::world(&Wishes::default()).bundle}]});
    folder.write("several.json", several.to_string().as_bytes());
    let args = [&ROOT[..], &WHO, &["--artifact", "shop"]].concat();
    assert_eq!(folder.verify("several.json", &args).0, 4);
    let one = [&args[..], &["--predicate-type", "https://slsa.dev/provenance/v1"]].concat();
    let (code, _, err) = folder.verify("several.json", &one);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("2 of another predicate type passed over"), "{err}");
}
