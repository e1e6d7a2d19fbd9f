//! Four roles with both keys each, their trust root, and a small log.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use evidence::predicates::{APPROVAL, SECRET_SCAN, VSA, WAIVER};
use evidence::{
    Allowance, Checkpoint, Context, Digest, Envelope, Hash, InclusionProof, Leaf, LogIdentity, LoggedEnvelope, Role,
    RoleKeys, Signer, SigningPair, Stage, Statement, Subject, Timestamp, TrustRoot, root_of, sign_checkpoint,
};
use serde_json::json;

pub const ORIGIN: &str = "example.test/log";

pub fn at() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn pair(seed: u8) -> SigningPair {
    SigningPair::from_seeds(&[seed; 32], &[seed + 100; 32]).unwrap()
}

pub struct World {
    pub root: TrustRoot,
    pub pairs: BTreeMap<Role, SigningPair>,
}

impl World {
    pub fn new() -> Self {
        let pairs: BTreeMap<Role, SigningPair> = Role::ALL
            .into_iter()
            .enumerate()
            .map(|(i, role)| (role, pair(i as u8 + 1)))
            .collect();
        let ids = |pair: &SigningPair| {
            pair.signers()
                .iter()
                .map(|signer| signer.public_key().id())
                .collect::<Vec<_>>()
        };
        let allow = |role, predicates: &[&str]| Allowance {
            role,
            predicates: predicates.iter().map(|predicate| (*predicate).to_owned()).collect(),
        };
        let root = TrustRoot {
            version: 1,
            self_signed: true,
            keys: pairs
                .values()
                .flat_map(|pair| {
                    pair.signers()
                        .map(|signer| (signer.public_key().id(), signer.public_key().clone()))
                })
                .collect(),
            roles: pairs
                .iter()
                .map(|(role, pair)| {
                    (
                        *role,
                        RoleKeys {
                            keys: ids(pair),
                            threshold: 2,
                        },
                    )
                })
                .collect(),
            allow: vec![
                allow(Role::Step, &[SECRET_SCAN]),
                allow(Role::Gate, &[VSA]),
                allow(Role::Approver, &[APPROVAL, WAIVER]),
            ],
            log: LogIdentity {
                origin: ORIGIN.to_owned(),
                key: pairs[&Role::Log].classical.public_key().id(),
            },
            floor: vec![],
        };
        World { root, pairs }
    }

    pub fn sign(&self, role: Role, statement: &Statement) -> Envelope {
        Envelope::sign_statement(statement, &self.pairs[&role].signers()).unwrap()
    }

    pub fn note(&self, checkpoint: &Checkpoint) -> String {
        sign_checkpoint(checkpoint, &self.pairs[&Role::Log].classical).unwrap()
    }

    /// The log of these envelopes: its signed checkpoint, and each with its proof.
    pub fn log(&self, envelopes: Vec<Envelope>) -> (String, Vec<LoggedEnvelope>) {
        let leaves: Vec<Hash> = envelopes.iter().map(|envelope| Leaf::of(envelope).hash()).collect();
        let size = leaves.len() as u64;
        let note = self.note(&Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root: root_of(&leaves),
        });
        let proof = |index: usize| InclusionProof {
            index: index as u64,
            size,
            hashes: path(index, &leaves),
        };
        let logged = envelopes
            .into_iter()
            .enumerate()
            .map(|(index, envelope)| LoggedEnvelope {
                envelope,
                proof: proof(index),
            })
            .collect();
        (note, logged)
    }
}

/// A statement of `predicate_type` about one file.
pub fn statement(predicate_type: &str, name: &str) -> Statement {
    let context = Context {
        attempt: Digest::of(b"attempt"),
        stage: Stage::Commit,
        check: name.to_owned(),
        config: Digest::of(b"config"),
        at: at(),
    };
    Statement::new(
        predicate_type,
        vec![Subject::new(name, Digest::of(name.as_bytes()))],
        &json!({"n": 1}),
        &context,
    )
}

/// The inclusion path of RFC 6962 section 2.1.1, written from its definition.
pub fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut out, sibling) = if index < left.len() {
        (path(index, left), right)
    } else {
        (path(index - left.len(), right), left)
    };
    out.push(root_of(sibling));
    out
}

/// The consistency path of RFC 6962 section 2.1.2, written from its definition.
pub fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    fn sub(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if old == leaves.len() {
            return if whole { Vec::new() } else { vec![root_of(leaves)] };
        }
        let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
        if old <= left.len() {
            let mut out = sub(old, left, whole);
            out.push(root_of(right));
            out
        } else {
            let mut out = sub(old - left.len(), right, false);
            out.push(root_of(left));
            out
        }
    }
    if old == 0 { Vec::new() } else { sub(old, leaves, true) }
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}
