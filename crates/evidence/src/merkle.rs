//! Merkle tree hashes and proofs (RFC 6962 section 2.1, RFC 9162 section 2.1.3 and 2.1.4).

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A Merkle tree node.
pub type Hash = Digest;

/// `SHA-256(0x00 || data)`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    let mut hasher = Digest::hasher();
    hasher.update(&[0]);
    hasher.update(data);
    hasher.finish()
}

/// `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Digest::hasher();
    hasher.update(&[1]);
    hasher.update(&left.0);
    hasher.update(&right.0);
    hasher.finish()
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Digest::of(b"")
}

/// The root over leaf hashes, computed from all of them: for tests and small logs.
pub fn root_of(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let split = split_point(many.len() as u64) as usize;
            node_hash(&root_of(&many[..split]), &root_of(&many[split..]))
        }
    }
}

/// The largest power of two smaller than `size` (which is at least 2).
fn split_point(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Proof that the leaf at `index` stands in the tree of `size` leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    pub index: u64,
    pub size: u64,
    pub hashes: Vec<Hash>,
}

/// A proof that doesn't prove.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    #[error("index {index} is not below tree size {size}")]
    OutOfRange { index: u64, size: u64 },
    #[error("proof has {got} hashes, {expected} are needed")]
    Length { got: usize, expected: usize },
    #[error("proof leads to another root")]
    Root,
}

/// Checks that `leaf` is where `proof` says in the tree with `root` (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(leaf: &Hash, proof: &InclusionProof, root: &Hash) -> Result<(), ProofError> {
    let InclusionProof { index, size, hashes } = proof;
    if index >= size {
        return Err(ProofError::OutOfRange {
            index: *index,
            size: *size,
        });
    }
    let (mut node, mut last, mut hash) = (*index, size - 1, *leaf);
    let mut rest = hashes.iter();
    while last > 0 {
        if node & 1 == 1 || node == last {
            let sibling = rest.next().ok_or(ProofError::Length {
                got: hashes.len(),
                expected: hashes.len() + 1,
            })?;
            hash = node_hash(sibling, &hash);
            // Skip the levels where this node, the last of its row, has no sibling.
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            let sibling = rest.next().ok_or(ProofError::Length {
                got: hashes.len(),
                expected: hashes.len() + 1,
            })?;
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if rest.len() > 0 {
        return Err(ProofError::Length {
            got: hashes.len(),
            expected: hashes.len() - rest.len(),
        });
    }
    if hash == *root { Ok(()) } else { Err(ProofError::Root) }
}

/// Checks that the tree of `new_size` and `new_root` only appends to that of `old_size` and `old_root`
/// (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::OutOfRange {
            index: old_size,
            size: new_size,
        });
    }
    if old_size == new_size || old_size == 0 {
        if !proof.is_empty() {
            return Err(ProofError::Length {
                got: proof.len(),
                expected: 0,
            });
        }
        let same = if old_size == 0 {
            *old_root == empty_root()
        } else {
            old_root == new_root
        };
        return if same { Ok(()) } else { Err(ProofError::Root) };
    }
    let mut path = proof.to_vec();
    if old_size.is_power_of_two() {
        path.insert(0, *old_root);
    }
    let short = || ProofError::Length {
        got: proof.len(),
        expected: proof.len() + 1,
    };
    let (mut node, mut last) = (old_size - 1, new_size - 1);
    while node & 1 == 1 {
        node >>= 1;
        last >>= 1;
    }
    let mut hashes = path.iter();
    let first = *hashes.next().ok_or_else(short)?;
    let (mut old, mut new) = (first, first);
    while last > 0 {
        if node & 1 == 1 || node == last {
            let sibling = hashes.next().ok_or_else(short)?;
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, hashes.next().ok_or_else(short)?);
        }
        node >>= 1;
        last >>= 1;
    }
    if hashes.len() > 0 {
        return Err(ProofError::Length {
            got: proof.len(),
            expected: proof.len() - hashes.len(),
        });
    }
    if old == *old_root && new == *new_root {
        Ok(())
    } else {
        Err(ProofError::Root)
    }
}
