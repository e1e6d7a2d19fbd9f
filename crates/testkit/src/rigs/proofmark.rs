//! Rigs for faults on Proofmark's own evidence: a small store as `.proofmark/` documents it, and a reader of its own
//! that says what is wrong with it.
//!
//! It shares formats with Proofmark (crate `evidence`), and no code that reads a store: what the real `verify` and
//! `log fsck` say to the same faults is asked in `crates/proofmark/tests/chaos_self.rs`.

use std::fs;
use std::path::Path;

use evidence::{
    Algorithm, Checkpoint, Digest, Envelope, Hash, Leaf, MemorySigner, Signer, Statement, Subject, leaf_hash, root_of,
    sign_checkpoint,
};
use serde_json::json;

use super::files::Folder;
use super::{Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("artifact-tampered", |folder| {
        let store = Store::new()?;
        let path = format!(".proofmark/{}", store.blobs[0].0);
        store.rig(folder, "artifact-tampered", &path, |folder| wrong(folder, "artifact"))
    }),
    ("attestation-expired", |folder| {
        // Well signed, and not what was logged under that name: it has run out.
        let store = Store::with_approvals()?;
        let valid = store
            .envelopes
            .iter()
            .find(|(_, envelope)| String::from_utf8_lossy(&envelope.payload).contains("2099-01-01"));
        let path = valid.map(|(path, _)| format!(".proofmark/{path}"));
        store.rig(folder, "attestation-expired", &path.ok_or("no approval")?, |folder| {
            Ok(wrong(folder, "envelope")? && wrong(folder, "valid")? && !wrong(folder, "signature")?)
        })
    }),
    ("attestation-forged", |folder| {
        on_envelope(folder, "attestation-forged", |folder| {
            Ok(wrong(folder, "envelope")? && wrong(folder, "signature")?)
        })
    }),
    ("attestation-missing", |folder| {
        on_envelope(folder, "attestation-missing", |folder| wrong(folder, "missing"))
    }),
    ("attestation-other-subject", |folder| {
        on_envelope(folder, "attestation-other-subject", |folder| {
            Ok(wrong(folder, "envelope")? && wrong(folder, "signature")?)
        })
    }),
    ("attestation-replayed", |folder| {
        // Well signed, and not what was logged under that name.
        on_envelope(folder, "attestation-replayed", |folder| {
            Ok(wrong(folder, "envelope")? && !wrong(folder, "signature")?)
        })
    }),
    ("log-entry-tampered", |folder| {
        Store::new()?.rig(folder, "log-entry-tampered", ".proofmark/log/journal", |folder| {
            wrong(folder, "chain")
        })
    }),
    ("log-split-view", |folder| {
        Store::new()?.rig(folder, "log-split-view", ".proofmark/log/checkpoint", |folder| {
            wrong(folder, "checkpoint")
        })
    }),
    ("log-truncated", |folder| {
        Store::new()?.rig(folder, "log-truncated", ".proofmark/log/journal", |folder| {
            Ok(wrong(folder, "short")? && !wrong(folder, "chain")?)
        })
    }),
    ("sbom-tampered", |folder| {
        let store = Store::new()?;
        let sbom = store
            .envelopes
            .iter()
            .find(|(_, envelope)| String::from_utf8_lossy(&envelope.payload).contains("cyclonedx"));
        let path = sbom.map(|(path, _)| format!(".proofmark/{path}"));
        store.rig(folder, "sbom-tampered", &path.ok_or("no SBOM")?, |folder| {
            Ok(wrong(folder, "envelope")? && wrong(folder, "signature")?)
        })
    }),
    ("store-unavailable", |folder| {
        Store::new()?.rig(folder, "store-unavailable", ".proofmark/log", |folder| {
            wrong(folder, "no log")
        })
    }),
];

/// On the first envelope by name, which is the one that these faults choose.
fn on_envelope(folder: &Path, id: &str, shows: super::files::Shows) -> Result<Box<dyn Rig>, String> {
    let store = Store::new()?;
    let first = store.envelopes.iter().map(|(path, _)| path).min();
    let path = format!(".proofmark/{}", first.ok_or("no envelope")?);
    store.rig(folder, id, &path, shows)
}

const ORIGIN: &str = "rig.example/log";

/// What lies in the store, by its path in it.
struct Store {
    envelopes: Vec<(String, Envelope)>,
    blobs: Vec<(String, Vec<u8>)>,
    journal: Vec<u8>,
    checkpoint: String,
}

impl Store {
    /// Two releases of one artifact: provenance, SBOM and verdict each.
    fn new() -> Result<Store, String> {
        Store::holding(&[])
    }

    /// The same with three approvals: one that holds, an earlier one of the same, and one of something else that has
    /// run out too.
    fn with_approvals() -> Result<Store, String> {
        Store::holding(&[
            json!({"what": "rerun", "subject": "aa", "expires": "2099-01-01T00:00:00Z"}),
            json!({"what": "rerun", "subject": "aa", "expires": "2020-01-01T00:00:00Z"}),
            json!({"what": "rerun", "subject": "bb", "expires": "2019-01-01T00:00:00Z"}),
        ])
    }

    fn holding(approvals: &[serde_json::Value]) -> Result<Store, String> {
        let signer = key(1)?;
        let mut store = Store {
            envelopes: Vec::new(),
            blobs: Vec::new(),
            journal: header(),
            checkpoint: String::new(),
        };
        let mut link = Digest::of(&store.journal);
        let mut leaves = Vec::new();
        for release in ["one", "two"] {
            let artifact = format!("artifact of release {release}").into_bytes();
            let digest = Digest::of(&artifact);
            let mut statements = vec![
                ("https://slsa.dev/provenance/v1", json!({"release": release})),
                (
                    "https://cyclonedx.org/bom",
                    json!({"components": [{"name": "a"}, {"name": release}]}),
                ),
                ("https://slsa.dev/verification_summary/v1", json!({"release": release})),
            ];
            if release == "one" {
                statements.extend(
                    approvals
                        .iter()
                        .map(|approval| (evidence::predicates::APPROVAL, approval.clone())),
                );
            }
            for (predicate, said) in statements {
                let statement = Statement {
                    kind: evidence::STATEMENT_TYPE.to_owned(),
                    subject: vec![Subject::new("shop", digest)],
                    predicate_type: predicate.to_owned(),
                    predicate: said,
                };
                let envelope = Envelope::sign_statement(&statement, &[&signer as &dyn Signer])
                    .map_err(|error| error.to_string())?;
                let leaf = Leaf::of(&envelope);
                link = append(&mut store.journal, &link, &leaf.0);
                leaves.push(leaf.hash());
                store.envelopes.push((envelope_path(&leaf.hash()), envelope));
            }
            store.blobs.push((blob_path(&digest), artifact));
        }
        store.blobs.sort();
        store.checkpoint = checkpoint(&leaves)?;
        Ok(store)
    }

    fn rig(self, folder: &Path, id: &str, victim: &str, shows: super::files::Shows) -> Result<Box<dyn Rig>, String> {
        let mut made = Folder::make(folder, "proofmark", id, victim, shows)
            .finds_it()
            .with(".proofmark/FORMAT", b"proofmark-store 1\nid 0123456789abcdef\n", 0o600)
            .with(".proofmark/log/journal", &self.journal, 0o600)
            .with(".proofmark/log/checkpoint", self.checkpoint.as_bytes(), 0o600);
        for (path, envelope) in &self.envelopes {
            made = made.with(&format!(".proofmark/{path}"), &envelope.to_bytes(), 0o600);
        }
        for (path, bytes) in &self.blobs {
            made = made.with(&format!(".proofmark/{path}"), bytes, 0o600);
        }
        made.boxed()
    }
}

fn key(number: u8) -> Result<MemorySigner, String> {
    MemorySigner::from_seed(Algorithm::Ed25519, &[number; 32]).map_err(|error| error.to_string())
}

fn envelope_path(leaf: &Hash) -> String {
    let hex = leaf.hex();
    format!("envelopes/{}/{}.json", &hex[..2], &hex[2..])
}

fn blob_path(digest: &Digest) -> String {
    let hex = digest.hex();
    format!("blobs/{}/{}", &hex[..2], &hex[2..])
}

fn header() -> Vec<u8> {
    let length = u16::try_from(ORIGIN.len()).unwrap_or(u16::MAX).to_be_bytes();
    [b"proofmark-journal\n\0\0\0\x01".as_slice(), &length, ORIGIN.as_bytes()].concat()
}

/// Writes an entry behind the one with `link`, and gives its own.
fn append(journal: &mut Vec<u8>, link: &Digest, leaf: &[u8]) -> Digest {
    let length = u32::try_from(leaf.len()).unwrap_or(u32::MAX).to_be_bytes();
    let next = Digest::of(&[&link.0, length.as_slice(), leaf].concat());
    journal.extend([length.as_slice(), leaf, &next.0].concat());
    next
}

/// Whether something that `word` names is wrong with the store.
fn wrong(folder: &Folder, word: &str) -> Result<bool, String> {
    let problems = problems(&folder.root.join(".proofmark")).map_err(|error| error.to_string())?;
    Ok(problems.iter().any(|problem| problem.contains(word)))
}

/// Everything that is wrong with a store, a few words each.
fn problems(store: &Path) -> std::io::Result<Vec<String>> {
    let mut problems = Vec::new();
    for blob in files(&store.join("blobs"))? {
        let bytes = fs::read(store.join("blobs").join(&blob))?;
        if blob_path(&Digest::of(&bytes)) != format!("blobs/{blob}") {
            problems.push(format!("artifact {blob} is another one"));
        }
    }
    let envelopes = files(&store.join("envelopes"))?;
    let texts: Vec<String> = envelopes
        .iter()
        .filter_map(|name| Envelope::from_bytes(&fs::read(store.join("envelopes").join(name)).ok()?).ok())
        .map(|envelope| String::from_utf8_lossy(&envelope.payload).into_owned())
        .collect();
    if texts.iter().any(|text| text.contains("expires")) && !texts.iter().any(|text| text.contains("2099-01-01")) {
        problems.push("no approval is valid any more".to_owned());
    }
    let public = key(1).map_err(std::io::Error::other)?;
    for name in files(&store.join("envelopes"))? {
        let bytes = fs::read(store.join("envelopes").join(&name))?;
        let Ok(envelope) = Envelope::from_bytes(&bytes) else {
            problems.push(format!("envelope {name} is none"));
            continue;
        };
        if envelope_path(&Leaf::of(&envelope).hash()) != format!("envelopes/{name}") {
            problems.push(format!("envelope {name} is another one"));
        }
        let message = evidence::pae(&envelope.payload_type, &envelope.payload);
        let holds = |signature: &evidence::Signature| {
            signature.keyid == public.public_key().id() && public.public_key().verifies(&message, &signature.sig)
        };
        if envelope.signatures.is_empty() || !envelope.signatures.iter().all(holds) {
            problems.push(format!("signature of {name} is not the step's"));
        }
    }
    let (Ok(journal), Ok(note)) = (
        fs::read(store.join("log/journal")),
        fs::read_to_string(store.join("log/checkpoint")),
    ) else {
        problems.push("no log".to_owned());
        return Ok(problems);
    };
    let (leaves, is_whole) = leaves(&journal);
    if !is_whole {
        problems.push("chain is broken".to_owned());
    }
    for leaf in &leaves {
        if !store.join(envelope_path(leaf)).exists() {
            problems.push("an envelope is missing".to_owned());
        }
    }
    // Second line of a checkpoint: how many entries it is about.
    let size = note.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or(0);
    match leaves.get(..size) {
        None => problems.push("journal is short".to_owned()),
        Some(about) if checkpoint(about).map_err(std::io::Error::other)? != note => {
            problems.push("checkpoint is not the log's".to_owned());
        }
        Some(about) if about.len() < leaves.len() => problems.push("checkpoint is older".to_owned()),
        Some(_) => {}
    }
    Ok(problems)
}

/// The note over these entries: Ed25519 signs the same the same way.
fn checkpoint(leaves: &[Hash]) -> Result<String, String> {
    let checkpoint = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: leaves.len() as u64,
        root: root_of(leaves),
    };
    sign_checkpoint(&checkpoint, &key(2)?).map_err(|error| error.to_string())
}

/// The leaf hashes of a journal, and whether its chain is whole to its last byte.
fn leaves(journal: &[u8]) -> (Vec<Hash>, bool) {
    let mut leaves = Vec::new();
    let mut written = header();
    let mut link = Digest::of(&written);
    while let Some(length) = journal.get(written.len()..written.len() + 4) {
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let at = written.len() + 4;
        let Some(leaf) = journal.get(at..at + length) else {
            break;
        };
        let leaf = leaf.to_vec();
        link = append(&mut written, &link, &leaf);
        if journal.get(..written.len()) != Some(written.as_slice()) {
            return (leaves, false);
        }
        leaves.push(leaf_hash(&leaf));
    }
    (leaves, written.len() == journal.len())
}

/// The files one level below the folders of `folder`.
fn files(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = Vec::new();
    for outer in fs::read_dir(folder)? {
        let outer = outer?;
        for inner in fs::read_dir(outer.path())? {
            let (outer, inner) = (outer.file_name(), inner?.file_name());
            let name = format!("{}/{}", outer.to_string_lossy(), inner.to_string_lossy());
            if !name.contains("/.") {
                files.push(name);
            }
        }
    }
    Ok(files)
}
