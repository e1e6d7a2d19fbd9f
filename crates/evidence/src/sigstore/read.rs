//! Attestations in the envelopes that others publish them in, each read as what it is: a Sigstore bundle, or a bare envelope
//! that lacks what a bundle has beside it.
//!
//! Read are: bundles; npm's and GitHub's answers (`attestations`, each with its `bundle`); PyPI's provenance objects and single
//! attestations (PEP 740); DSSE envelopes, with slsa-github-generator's `cert` beside a signature; Google Cloud Build's
//! `provenance_summary`; and lines of any of them. An OCI index refers to attestations and holds none, which is said.
//! Start reading at [`read`].

use serde_json::{Value, json};

use super::TrustedRoot;
use super::bundle::{Content, FormError, Material, SigstoreBundle, Version};
use super::json;
use super::keys::pem;
use super::verify::{Artifact, Check, Policy, Refusal, VerifiedBundle, malformed, verify_parsed};
use crate::{Outcome, Timestamp};

/// One attestation of a file. Nothing in it is believed before [`Attestation::verify`].
#[derive(Debug, Clone)]
pub struct Attestation {
    /// What it is in its file: `bundle`, `npm`, `pypi`, `dsse`, `cloud-build`, `oci-index`.
    pub form: &'static str,
    claimed: Option<String>,
    content: Result<Readings, Refusal>,
}

/// A bundle is read in one way; a bare envelope with several signatures in as many.
type Readings = Vec<SigstoreBundle>;

const ATTESTATIONS_MAX: usize = 1_024;
const SIGNATURES_MAX: usize = 32;

impl Attestation {
    /// What its payload says to be, unchecked: good for passing it over, and for nothing else.
    pub fn claimed_predicate_type(&self) -> Option<&str> {
        self.claimed.as_deref()
    }

    pub fn verify(
        &self,
        root: &TrustedRoot,
        policy: &Policy<'_>,
        artifact: Artifact<'_>,
        at: Timestamp,
    ) -> Result<VerifiedBundle, Refusal> {
        let mut refusal: Option<Refusal> = None;
        for reading in self.content.as_ref().map_err(Clone::clone)? {
            match verify_parsed(reading, root, policy, artifact, at) {
                Ok(verified) => return Ok(verified),
                Err(other) if refusal.as_ref().is_none_or(|first| first.outcome == Outcome::Fail) => {
                    refusal = Some(other);
                }
                Err(_) => {}
            }
        }
        Err(refusal.unwrap_or_else(|| malformed(FormError::Form("has no signature".to_owned()))))
    }
}

/// The attestations in a file, in its order; a refusal when it is none that is known.
pub fn read(bytes: &[u8]) -> Result<Vec<Attestation>, Refusal> {
    if bytes.len() > SigstoreBundle::BYTES_MAX {
        return Err(malformed(FormError::TooLarge(bytes.len())));
    }
    let form = |what: String| malformed(FormError::Form(what));
    let documents = match json::strict(bytes) {
        Ok(document) => vec![document],
        // Several documents, one a line; the first error is the one to tell when that fails, too.
        Err(error) => {
            let lines = bytes
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.trim_ascii().is_empty());
            let documents: Option<Vec<Value>> = lines.map(|line| json::strict(line).ok()).collect();
            documents
                .filter(|found| found.len() > 1)
                .ok_or_else(|| form(error.to_string()))?
        }
    };
    let mut found = Vec::new();
    for document in documents {
        attestations(document, &mut found).map_err(form)?;
        if found.len() > ATTESTATIONS_MAX {
            return Err(form(format!("has over {ATTESTATIONS_MAX} attestations")));
        }
    }
    if found.is_empty() {
        return Err(form("has no attestations".to_owned()));
    }
    Ok(found)
}

fn attestations(mut document: Value, found: &mut Vec<Attestation>) -> Result<(), String> {
    let take = |value: &mut Value| match value.take() {
        Value::Array(list) => Ok(list),
        _ => Err("a list of attestations is not a list".to_owned()),
    };
    if document.get("mediaType").is_some() || document.get("media_type").is_some() {
        if document.get("manifests").is_some() {
            found.push(oci_index());
        } else {
            found.push(Attestation::bundle("bundle", document));
        }
    } else if document.get("attestations").is_some() {
        for mut one in take(&mut document["attestations"])? {
            found.push(Attestation::bundle("npm", one["bundle"].take()));
        }
    } else if document.get("attestation_bundles").is_some() {
        for mut publisher in take(&mut document["attestation_bundles"])? {
            for one in take(&mut publisher["attestations"])? {
                found.push(Attestation::pypi(&one));
            }
        }
    } else if document.get("verification_material").is_some() && document.get("envelope").is_some() {
        found.push(Attestation::pypi(&document));
    } else if document.get("provenance_summary").is_some() {
        for one in take(&mut document["provenance_summary"]["provenance"])? {
            found.push(Attestation::bare("cloud-build", &one["envelope"]));
        }
    } else if document.get("payloadType").is_some() {
        found.push(Attestation::bare("dsse", &document));
    } else if document.get("schemaVersion").is_some() && document.get("manifests").is_some() {
        found.push(oci_index());
    } else {
        return Err("is no attestation of a known form".to_owned());
    }
    Ok(())
}

fn oci_index() -> Attestation {
    let mut refusal = malformed(FormError::Form(
        "an OCI index refers to attestations, and holds none".to_owned(),
    ));
    refusal.outcome = Outcome::Indeterminate;
    refusal.check = Check::Complete;
    refusal.fix = "give the attestations it refers to";
    Attestation {
        form: "oci-index",
        claimed: None,
        content: Err(refusal),
    }
}

impl Attestation {
    fn of(form: &'static str, content: Result<Readings, String>) -> Attestation {
        let claimed = content
            .as_ref()
            .ok()
            .and_then(|readings| claimed(&readings.first()?.content));
        Attestation {
            form,
            claimed,
            content: content.map_err(|what| malformed(FormError::Form(what))),
        }
    }

    fn bundle(form: &'static str, document: Value) -> Attestation {
        Self::of(form, SigstoreBundle::from_value(document).map(|one| vec![one]))
    }

    /// PEP 740's attestation object: the same material under other names, version 1.
    fn pypi(document: &Value) -> Attestation {
        let material = &document["verification_material"];
        let content = match document["version"].as_u64() {
            Some(1) => SigstoreBundle::from_value(json!({
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "certificate": {"rawBytes": material["certificate"]},
                    "tlogEntries": material["transparency_entries"],
                },
                "dsseEnvelope": {
                    "payload": document["envelope"]["statement"],
                    "payloadType": crate::PAYLOAD_TYPE_IN_TOTO,
                    "signatures": [{"sig": document["envelope"]["signature"]}],
                },
            })),
            _ => Err("is a PyPI attestation of another version than 1".to_owned()),
        };
        Self::of("pypi", content.map(|one| vec![one]))
    }

    /// An envelope alone: no log entry, no time, and a certificate at most.
    fn bare(form: &'static str, envelope: &Value) -> Attestation {
        Self::of(form, bare(envelope))
    }
}

fn claimed(content: &Content) -> Option<String> {
    let Content::Envelope { payload, .. } = content else {
        return None;
    };
    let payload = json::strict(payload).ok()?;
    payload["predicateType"].as_str().map(str::to_owned)
}

fn bare(envelope: &Value) -> Result<Readings, String> {
    let text = |value: &Value| value.as_str().and_then(json::base64).filter(|bytes| !bytes.is_empty());
    let payload = text(&envelope["payload"]).ok_or("the envelope has no payload, or it is not base64")?;
    let payload_type = envelope["payloadType"]
        .as_str()
        .ok_or("the envelope has no payload type")?;
    let signatures = envelope["signatures"].as_array().map(Vec::as_slice).unwrap_or_default();
    if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
        return Err(format!(
            "the envelope has {} signatures, 1 to {SIGNATURES_MAX} are read",
            signatures.len()
        ));
    }
    let reading = |one: &Value| {
        let signature = text(&one["sig"]).ok_or("a signature is empty, or not base64")?;
        let material = match one["cert"].as_str() {
            Some(certificate) => {
                let der = pem(certificate, "CERTIFICATE").ok_or("a certificate is not PEM")?;
                Material::Certificates(vec![der])
            }
            None => match one["keyid"].as_str() {
                Some(hint) => Material::Key(hint.to_owned()),
                None => Material::None,
            },
        };
        Ok(SigstoreBundle {
            version: Version::V03,
            content: Content::Envelope {
                payload: payload.clone(),
                payload_type: payload_type.to_owned(),
                signature,
            },
            material,
            entries: Vec::new(),
            timestamps: Vec::new(),
        })
    };
    signatures.iter().map(reading).collect()
}
