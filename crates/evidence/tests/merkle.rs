//! Merkle trees: the vectors of the certificate-transparency reference (RFC 6962, RFC 9162), then every proof of every
//! small tree, and every change to it.

mod common;

use common::{consistency, path, unhex};
use evidence::{Digest, Hash, InclusionProof, empty_root, leaf_hash, root_of, verify_consistency, verify_inclusion};

const LEAVES: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn leaves() -> Vec<Hash> {
    LEAVES.iter().map(|leaf| leaf_hash(&unhex(leaf))).collect()
}

fn hash(text: &str) -> Hash {
    text.parse().unwrap()
}

#[test]
fn reference_roots() {
    assert_eq!(
        empty_root(),
        hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    );
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(root_of(&leaves()[..=size]), hash(root), "size {}", size + 1);
    }
}

#[test]
fn reference_inclusion_proofs() {
    // Index, size and path.
    for (index, size, hashes) in [
        (0, 1, &[][..]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            &[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            3,
            &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
        ),
    ] {
        let hashes: Vec<Hash> = hashes.iter().map(|text| hash(text)).collect();
        let proof = InclusionProof { index, size, hashes };
        assert_eq!(
            verify_inclusion(&leaves()[index as usize], &proof, &hash(ROOTS[size as usize - 1])),
            Ok(())
        );
    }
}

#[test]
fn reference_consistency_proofs() {
    for (old, new, hashes) in [
        (1usize, 1usize, &[][..]),
        (
            1,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ] {
        let hashes: Vec<Hash> = hashes.iter().map(|text| hash(text)).collect();
        let (before, after) = (hash(ROOTS[old - 1]), hash(ROOTS[new - 1]));
        assert_eq!(
            verify_consistency(old as u64, &before, new as u64, &after, &hashes),
            Ok(())
        );
    }
}

const SIZE_MAX: usize = 34;

fn many() -> Vec<Hash> {
    (0..SIZE_MAX as u32).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn every_inclusion_proof_of_small_trees() {
    let leaves = many();
    for size in 1..=SIZE_MAX {
        let root = root_of(&leaves[..size]);
        for index in 0..size {
            let proof = InclusionProof {
                index: index as u64,
                size: size as u64,
                hashes: path(index, &leaves[..size]),
            };
            assert_eq!(
                verify_inclusion(&leaves[index], &proof, &root),
                Ok(()),
                "{index} of {size}"
            );
            for bad in changed(&proof) {
                assert!(
                    verify_inclusion(&leaves[index], &bad, &root).is_err(),
                    "{bad:?} for {proof:?}"
                );
            }
            let other = leaf_hash(b"another");
            assert!(verify_inclusion(&other, &proof, &root).is_err());
            assert!(verify_inclusion(&leaves[index], &proof, &other).is_err());
        }
    }
}

/// One thing changed in a proof. Sizes that keep the shape of the path are left out: the size is held against the
/// checkpoint by `Logged::prove`.
fn changed(proof: &InclusionProof) -> Vec<InclusionProof> {
    let with = |hashes: Vec<Hash>| InclusionProof {
        hashes,
        ..proof.clone()
    };
    let mut out = vec![
        with([proof.hashes.clone(), vec![leaf_hash(b"x")]].concat()),
        InclusionProof {
            index: proof.size,
            ..proof.clone()
        },
        InclusionProof {
            index: u64::MAX,
            ..proof.clone()
        },
        InclusionProof {
            size: 0,
            ..proof.clone()
        },
    ];
    for i in 0..proof.hashes.len() {
        let mut flipped = proof.hashes.clone();
        flipped[i] = Digest({
            let mut bytes = flipped[i].0;
            bytes[i % 32] ^= 1;
            bytes
        });
        let mut shorter = proof.hashes.clone();
        shorter.remove(i);
        out.extend([with(flipped), with(shorter)]);
    }
    out.extend(
        (0..proof.size)
            .filter(|index| *index != proof.index)
            .map(|index| InclusionProof { index, ..proof.clone() }),
    );
    out
}

#[test]
fn every_consistency_proof_of_small_trees() {
    let leaves = many();
    for new in 0..=SIZE_MAX {
        let after = root_of(&leaves[..new]);
        for old in 0..=new {
            let before = root_of(&leaves[..old]);
            let proof = consistency(old, &leaves[..new]);
            let verify = |before: &Hash, after: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, before, new as u64, after, proof)
            };
            assert_eq!(verify(&before, &after, &proof), Ok(()), "{old} {new}");
            let other = leaf_hash(b"another");
            assert!(verify(&other, &after, &proof).is_err());
            assert!(old == 0 || verify(&before, &other, &proof).is_err());
            assert!(verify(&before, &after, &[proof.clone(), vec![other]].concat()).is_err());
            for i in 0..proof.len() {
                let mut bad = proof.clone();
                bad[i] = other;
                assert!(verify(&before, &after, &bad).is_err(), "{old} {new} {i}");
                bad.remove(i);
                assert!(verify(&before, &after, &bad).is_err(), "{old} {new} {i}");
            }
            assert!(verify_consistency(new as u64 + 1, &before, new as u64, &after, &proof).is_err());
        }
    }
}
