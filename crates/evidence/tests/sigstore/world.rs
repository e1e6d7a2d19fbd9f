//! A Sigstore of its own: certificate authority, certificate transparency log, time stamp authority and Rekor, with keys made
//! for one test, and a bundle that they all witnessed. Each wish makes one thing another way.
//!
//! `conformance` mutates bundles of it, too.

#![allow(dead_code, reason = "each user of it uses a part")]

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

pub const NAME: &str = "https://forge.example/shop/release.yml@refs/heads/main";
pub const ISSUER: &str = "https://tokens.example";
pub const ARTIFACT: &[u8] = b"an artifact";
/// 2026-01-01T00:05:00Z, in the ten minutes of the certificate.
pub const SIGNED_SECONDS: i64 = 1_767_225_900;

const CN: &[u8] = &[0x55, 4, 3];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
pub const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
pub const TIME_STAMPING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 8];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 0x10, 1, 4];

/// What is made another way than it should be.
#[derive(Clone)]
pub struct Wishes {
    /// Extended key usage of the signing certificate.
    pub purpose: &'static [u8],
    /// Extended key usage of the time stamp authority.
    pub stamp_purpose: &'static [u8],
    pub leaf_is_ca: bool,
    /// Names in the signing certificate.
    pub names: Vec<Vec<u8>>,
    /// Value of the intermediate's name constraints.
    pub constraints: Option<Vec<u8>>,
    pub intermediate_is_ca: bool,
    /// One critical extension nobody knows.
    pub unknown_critical: bool,
    pub sct: bool,
    pub stamp_time: &'static str,
    pub integrated_seconds: i64,
    /// DSSE in place of a signature over the artifact.
    pub statement: Option<Value>,
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes {
            purpose: CODE_SIGNING,
            stamp_purpose: TIME_STAMPING,
            leaf_is_ca: false,
            names: vec![uri(NAME)],
            constraints: None,
            intermediate_is_ca: true,
            unknown_critical: false,
            sct: true,
            stamp_time: "20260101000500Z",
            integrated_seconds: SIGNED_SECONDS,
            statement: None,
        }
    }
}

pub struct World {
    pub trusted_root: Value,
    pub bundle: Value,
}

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        Key(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    fn spki(&self) -> Vec<u8> {
        self.0.public_key().as_der().unwrap().as_ref().to_vec()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

pub fn world(wishes: &Wishes) -> World {
    let [root, intermediate, leaf, ct, stamper, log] = std::array::from_fn(|_| Key::new());
    let root_certificate = authority("root", "root", &root.spki(), &root, true, &[]);
    let constraints = wishes.constraints.iter();
    let constraints: Vec<Vec<u8>> = constraints
        .map(|value| extension(&[0x55, 0x1d, 0x1e], true, value))
        .collect();
    let intermediate_certificate = authority(
        "root",
        "intermediate",
        &intermediate.spki(),
        &root,
        wishes.intermediate_is_ca,
        &constraints,
    );
    let stamper_root = Key::new();
    let stamper_root_certificate = authority("stamps", "stamps", &stamper_root.spki(), &stamper_root, true, &[]);
    let stamper_certificate = certificate(
        9,
        &name("stamps"),
        &name("stamper"),
        &stamper.spki(),
        ("200101000000Z", "400101000000Z"),
        &[usage(0x80), purpose(wishes.stamp_purpose)],
        &stamper_root,
    );
    let certificate = signing_certificate(wishes, &leaf, &intermediate, &ct);
    let (content, signature, body) = content(wishes, &certificate, &leaf);
    let body = serde_json::to_vec(&body).unwrap();
    let log_id = sha256(&log.spki());
    let seconds = wishes.integrated_seconds;
    let promise = log.sign(
        format!(
            r#"{{"body":"{}","integratedTime":{seconds},"logID":"{}","logIndex":7}}"#,
            b64(&body),
            hex(&log_id)
        )
        .as_bytes(),
    );
    let tree = sha256(&[&[0][..], &body].concat());
    let text = format!("rekor.example - 12\n1\n{}\n", b64(&tree));
    let line = [&log_id[..4], &log.sign(text.as_bytes())].concat();
    let window = json!({"start": "2020-01-01T00:00:00Z"});
    let logged = |url: &str, key: &Key| {
        json!({"baseUrl": url, "hashAlgorithm": "SHA2_256", "logId": {"keyId": b64(&sha256(&key.spki()))},
            "publicKey": {"rawBytes": b64(&key.spki()), "keyDetails": "PKIX_ECDSA_P256_SHA_256", "validFor": window}})
    };
    let chain = |certificates: &[&Vec<u8>]| {
        let list: Vec<Value> = certificates.iter().map(|der| json!({"rawBytes": b64(der)})).collect();
        json!([{"uri": "https://authority.example", "certChain": {"certificates": list}, "validFor": window}])
    };
    let mut bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": {"rawBytes": b64(&certificate)},
            "tlogEntries": [{
                "logIndex": "7",
                "logId": {"keyId": b64(&log_id)},
                "kindVersion": {"kind": if wishes.statement.is_some() { "dsse" } else { "hashedrekord" }, "version": "0.0.1"},
                "integratedTime": seconds.to_string(),
                "inclusionPromise": {"signedEntryTimestamp": b64(&promise)},
                "inclusionProof": {"logIndex": "0", "treeSize": "1", "rootHash": b64(&tree), "hashes": [],
                    "checkpoint": {"envelope": format!("{text}\n\u{2014} rekor.example {}\n", b64(&line))}},
                "canonicalizedBody": b64(&body),
            }],
            "timestampVerificationData": {"rfc3161Timestamps": [
                {"signedTimestamp": b64(&stamp(&signature, wishes.stamp_time, &stamper))}
            ]},
        },
    });
    let (field, content) = content;
    bundle[field] = content;
    World {
        trusted_root: json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [logged("https://rekor.example", &log)],
            "ctlogs": [logged("https://ct.example", &ct)],
            "certificateAuthorities": chain(&[&intermediate_certificate, &root_certificate]),
            "timestampAuthorities": chain(&[&stamper_certificate, &stamper_root_certificate]),
        }),
        bundle,
    }
}

type Field = (&'static str, Value);

/// What is signed, its signature, and what the log writes about it.
fn content(wishes: &Wishes, certificate: &[u8], leaf: &Key) -> (Field, Vec<u8>, Value) {
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        b64(certificate)
    );
    if let Some(statement) = &wishes.statement {
        let payload = serde_json::to_vec(statement).unwrap();
        let signature = leaf.sign(&evidence::pae(evidence::PAYLOAD_TYPE_IN_TOTO, &payload));
        let envelope = json!({"payload": b64(&payload), "payloadType": evidence::PAYLOAD_TYPE_IN_TOTO,
            "signatures": [{"sig": b64(&signature), "keyid": ""}]});
        let body = json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
            "payloadHash": {"algorithm": "sha256", "value": hex(&sha256(&payload))},
            "signatures": [{"signature": b64(&signature), "verifier": b64(pem.as_bytes())}]}});
        return (("dsseEnvelope", envelope), signature, body);
    }
    let signature = leaf.sign(ARTIFACT);
    let message = json!({"messageDigest": {"algorithm": "SHA2_256", "digest": b64(&sha256(ARTIFACT))},
        "signature": b64(&signature)});
    let body = json!({"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": {
        "data": {"hash": {"algorithm": "sha256", "value": hex(&sha256(ARTIFACT))}},
        "signature": {"content": b64(&signature), "publicKey": {"content": b64(pem.as_bytes())}}}});
    (("messageSignature", message), signature, body)
}

fn signing_certificate(wishes: &Wishes, leaf: &Key, intermediate: &Key, ct: &Key) -> Vec<u8> {
    let mut extensions = vec![
        usage(0x80),
        purpose(wishes.purpose),
        extension(&[0x55, 0x1d, 0x11], true, &tlv(0x30, &wishes.names.concat())),
        extension(&fulcio(8), false, &tlv(0x0c, ISSUER.as_bytes())),
        extension(&fulcio(1), false, ISSUER.as_bytes()),
    ];
    if wishes.leaf_is_ca {
        extensions.push(constraints(true));
    }
    if wishes.unknown_critical {
        extensions.push(extension(&[0x2a, 3, 4], true, &[5, 0]));
    }
    let tbs = |extensions: &[Vec<u8>]| {
        let validity = ("260101000000Z", "260101001000Z");
        to_be_signed(
            3,
            &name("intermediate"),
            &tlv(0x30, &[]),
            &leaf.spki(),
            validity,
            extensions,
        )
    };
    if wishes.sct {
        let list = sct(&tbs(&extensions), intermediate, ct);
        let oid = [0x2b, 6, 1, 4, 1, 0xd6, 0x79, 2, 4, 2];
        extensions.push(extension(&oid, false, &tlv(4, &list)));
    }
    signed(&tbs(&extensions), intermediate)
}

fn sct(precertificate: &[u8], issuer: &Key, ct: &Key) -> Vec<u8> {
    let milliseconds = (SIGNED_SECONDS as u64 * 1_000).to_be_bytes();
    let length = &(precertificate.len() as u32).to_be_bytes()[1..];
    let signed = [
        &[0, 0][..],
        &milliseconds,
        &[0, 1],
        &sha256(&issuer.spki()),
        length,
        precertificate,
        &[0, 0],
    ]
    .concat();
    let signature = ct.sign(&signed);
    let one = [
        &[0][..],
        &sha256(&ct.spki()),
        &milliseconds,
        &[0, 0, 4, 3],
        &vector(&signature),
    ]
    .concat();
    vector(&vector(&one))
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A granted TimeStampResp over `message`.
fn stamp(message: &[u8], time: &str, stamper: &Key) -> Vec<u8> {
    let sha = tlv(0x30, &tlv(6, SHA256_OID));
    let imprint = tlv(0x30, &[sha.clone(), tlv(4, &sha256(message))].concat());
    let info = [
        &tlv(2, &[1])[..],
        &tlv(6, &[0x2a, 3]),
        &imprint,
        &tlv(2, &[5]),
        &tlv(0x18, time.as_bytes()),
    ]
    .concat();
    let info = tlv(0x30, &info);
    let attribute = |oid: &[u8], value: &[u8]| tlv(0x30, &[tlv(6, oid), tlv(0x31, value)].concat());
    let pkcs9 = |number: u8| [&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9][..], &[number]].concat();
    let attributes = [
        attribute(&pkcs9(3), &tlv(6, TST_INFO)),
        attribute(&pkcs9(4), &tlv(4, &sha256(&info))),
    ]
    .concat();
    let signature = stamper.sign(&tlv(0x31, &attributes));
    let who = tlv(0x30, &[name("stamps"), tlv(2, &[9])].concat());
    let signer = [
        tlv(2, &[1]),
        who,
        sha.clone(),
        tlv(0xa0, &attributes),
        tlv(0x30, &tlv(6, EC)),
        tlv(4, &signature),
    ];
    let encapsulated = tlv(0x30, &[tlv(6, TST_INFO), tlv(0xa0, &tlv(4, &info))].concat());
    let data = [
        tlv(2, &[3]),
        tlv(0x31, &sha),
        encapsulated,
        tlv(0x31, &tlv(0x30, &signer.concat())),
    ]
    .concat();
    let oid = tlv(6, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2]);
    let token = tlv(0x30, &[oid, tlv(0xa0, &tlv(0x30, &data))].concat());
    tlv(0x30, &[tlv(0x30, &tlv(2, &[0])), token].concat())
}

fn authority(issuer: &str, subject: &str, spki: &[u8], key: &Key, is_ca: bool, more: &[Vec<u8>]) -> Vec<u8> {
    let extensions = [&[usage(0x06), constraints(is_ca)][..], more].concat();
    let validity = ("200101000000Z", "400101000000Z");
    certificate(2, &name(issuer), &name(subject), spki, validity, &extensions, key)
}

fn certificate(
    serial: u8,
    issuer: &[u8],
    subject: &[u8],
    spki: &[u8],
    validity: (&str, &str),
    extensions: &[Vec<u8>],
    key: &Key,
) -> Vec<u8> {
    signed(&to_be_signed(serial, issuer, subject, spki, validity, extensions), key)
}

fn to_be_signed(
    serial: u8,
    issuer: &[u8],
    subject: &[u8],
    spki: &[u8],
    (from, to): (&str, &str),
    extensions: &[Vec<u8>],
) -> Vec<u8> {
    let validity = tlv(0x30, &[tlv(0x17, from.as_bytes()), tlv(0x17, to.as_bytes())].concat());
    let fields = [
        tlv(0xa0, &tlv(2, &[2])),
        tlv(2, &[serial]),
        tlv(0x30, &tlv(6, EC)),
        issuer.to_vec(),
        validity,
        subject.to_vec(),
        spki.to_vec(),
        tlv(0xa3, &tlv(0x30, &extensions.concat())),
    ];
    tlv(0x30, &fields.concat())
}

fn signed(tbs: &[u8], key: &Key) -> Vec<u8> {
    let signature = [&[0][..], &key.sign(tbs)].concat();
    tlv(
        0x30,
        &[tbs.to_vec(), tlv(0x30, &tlv(6, EC)), tlv(3, &signature)].concat(),
    )
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(1, &[0xff]) } else { Vec::new() };
    tlv(0x30, &[tlv(6, oid), critical, tlv(4, value)].concat())
}

fn usage(bits: u8) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x0f], true, &tlv(3, &[bits.trailing_zeros() as u8, bits]))
}

fn purpose(oid: &[u8]) -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x25], false, &tlv(0x30, &tlv(6, oid)))
}

fn constraints(is_ca: bool) -> Vec<u8> {
    let value = if is_ca { tlv(1, &[0xff]) } else { Vec::new() };
    extension(&[0x55, 0x1d, 0x13], true, &tlv(0x30, &value))
}

fn fulcio(number: u8) -> Vec<u8> {
    vec![0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, number]
}

fn name(text: &str) -> Vec<u8> {
    let attribute = tlv(0x30, &[tlv(6, CN), tlv(0x0c, text.as_bytes())].concat());
    tlv(0x30, &tlv(0x31, &attribute))
}

pub fn uri(text: &str) -> Vec<u8> {
    tlv(0x86, text.as_bytes())
}

/// Name constraints that permit, or exclude, one general name.
pub fn constrained(permitted: bool, name: &[u8]) -> Vec<u8> {
    tlv(0x30, &tlv(if permitted { 0xa0 } else { 0xa1 }, &tlv(0x30, name)))
}

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [&head, content].concat()
}

pub fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn unb64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
