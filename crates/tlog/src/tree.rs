//! The Merkle tree (RFC 6962 section 2.1) in memory: every complete subtree's hash, level by level.
//!
//! About 64 bytes a leaf. Nothing is hashed twice: a root or a proof for any earlier size takes a few dozen hashes.

use evidence::{Hash, InclusionProof, empty_root, node_hash};

#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// `levels[l][i]` is the hash over leaves `i << l .. (i + 1) << l`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(hash);
            match row.as_slice() {
                [.., left, right] if row.len().is_multiple_of(2) => hash = node_hash(left, right),
                _ => break,
            }
        }
    }

    /// The hashes `start..end` of `level`, all of them complete subtrees.
    pub fn row(&self, level: u32, start: u64, end: u64) -> Option<&[Hash]> {
        self.levels
            .get(level as usize)?
            .get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    /// The root over the first `size` leaves, `None` when there are fewer.
    pub fn root(&self, size: u64) -> Option<Hash> {
        match size {
            0 => Some(empty_root()),
            size if size <= self.size() => Some(self.subtree(0, size)),
            _ => None,
        }
    }

    /// PATH (RFC 6962 section 2.1.1) of leaf `index` in the tree of the first `size` leaves.
    pub fn inclusion(&self, index: u64, size: u64) -> Option<InclusionProof> {
        if index >= size || size > self.size() {
            return None;
        }
        let mut hashes = Vec::new();
        let (mut start, mut end) = (0, size);
        while end - start > 1 {
            let middle = start + split_point(end - start);
            if index < middle {
                hashes.push(self.subtree(middle, end));
                end = middle;
            } else {
                hashes.push(self.subtree(start, middle));
                start = middle;
            }
        }
        hashes.reverse();
        Some(InclusionProof { index, size, hashes })
    }

    /// PROOF (RFC 6962 section 2.1.2) that the tree of `new` leaves appends to that of `old`; empty when `old` is 0
    /// or `new`.
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        if old > new || new > self.size() {
            return None;
        }
        let mut hashes = Vec::new();
        if old == 0 || old == new {
            return Some(hashes);
        }
        let (mut start, mut end) = (0, new);
        // SUBPROOF(m, D[start:end], b): b holds as long as the subtree begins where the old tree does.
        while old != end {
            let middle = start + split_point(end - start);
            if old <= middle {
                hashes.push(self.subtree(middle, end));
                end = middle;
            } else {
                hashes.push(self.subtree(start, middle));
                start = middle;
            }
        }
        if start != 0 {
            hashes.push(self.subtree(start, end));
        }
        hashes.reverse();
        Some(hashes)
    }

    /// The hash over leaves `start..end`, where `start` is a multiple of the next power of two of the length.
    fn subtree(&self, start: u64, end: u64) -> Hash {
        let length = end - start;
        if length.is_power_of_two() {
            let level = length.trailing_zeros() as usize;
            return self.levels[level][(start >> level) as usize];
        }
        let middle = start + split_point(length);
        node_hash(&self.subtree(start, middle), &self.subtree(middle, end))
    }
}

/// The largest power of two smaller than `length` (which is at least 2).
fn split_point(length: u64) -> u64 {
    1 << (63 - (length - 1).leading_zeros())
}

#[cfg(test)]
mod tests {
    use evidence::{leaf_hash, root_of, verify_consistency, verify_inclusion};

    use super::*;

    fn tree(leaves: &[Hash]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    fn numbered(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    fn hashes(hex: &[&str]) -> Vec<Hash> {
        hex.iter().map(|text| text.parse().expect("a hash")).collect()
    }

    /// The reference vectors of Certificate Transparency (google/certificate-transparency, `merkle_tree_test.cc`).
    fn reference() -> Tree {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        tree(&leaves.map(leaf_hash))
    }

    #[test]
    fn roots_of_rfc_6962() {
        let expected = hashes(&[
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ]);
        let tree = reference();
        for (size, root) in expected.iter().enumerate() {
            assert_eq!(tree.root(size as u64), Some(*root), "size {size}");
        }
        assert_eq!(tree.root(9), None);
    }

    #[test]
    fn proofs_of_rfc_6962() {
        let tree = reference();
        let path = |index, size| tree.inclusion(index, size).expect("is in range").hashes;
        assert_eq!(path(0, 1), []);
        assert_eq!(
            path(0, 8),
            hashes(&[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ])
        );
        assert_eq!(
            path(5, 8),
            hashes(&[
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ])
        );
        assert_eq!(
            path(2, 3),
            hashes(&["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"])
        );
        assert_eq!(tree.consistency(1, 1), Some(Vec::new()));
        assert_eq!(
            tree.consistency(6, 8),
            Some(hashes(&[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]))
        );
        assert_eq!(
            tree.consistency(2, 5),
            Some(hashes(&[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ]))
        );
    }

    #[test]
    fn every_proof_up_to_size_300_holds() {
        const SIZE: u64 = 300;
        let leaves = numbered(SIZE);
        let tree = tree(&leaves);
        let roots: Vec<Hash> = (0..=SIZE).map(|size| root_of(&leaves[..size as usize])).collect();
        for size in 0..=SIZE {
            let root = roots[size as usize];
            assert_eq!(tree.root(size), Some(root));
            for index in 0..size {
                let proof = tree.inclusion(index, size).expect("is in range");
                verify_inclusion(&leaves[index as usize], &proof, &root).expect("holds");
            }
            assert_eq!(tree.inclusion(size, size), None);
            for old in 0..=size {
                let proof = tree.consistency(old, size).expect("is in range");
                verify_consistency(old, &roots[old as usize], size, &root, &proof).expect("holds");
            }
        }
        assert_eq!(
            (tree.inclusion(0, SIZE + 1), tree.consistency(1, SIZE + 1)),
            (None, None)
        );
        assert_eq!(tree.consistency(3, 2), None);
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 64, ..Default::default() })]

        #[test]
        fn a_changed_proof_does_not_hold(size in 2_u64..300, pick in 0_u64..300, other in 1_u64..300, hash in 0_usize..9) {
            let leaves = numbered(size);
            let tree = tree(&leaves);
            let root = tree.root(size).expect("is in range");
            let index = pick % size;
            let proof = tree.inclusion(index, size).expect("is in range");
            let wrong = (index + 1 + other % (size - 1)) % size;
            assert!(wrong == index || verify_inclusion(&leaves[wrong as usize], &proof, &root).is_err());
            let mut changed = proof.clone();
            let position = hash % changed.hashes.len();
            changed.hashes[position].0[0] ^= 1;
            assert!(verify_inclusion(&leaves[index as usize], &changed, &root).is_err());
            let mut short = proof;
            short.hashes.pop();
            assert!(verify_inclusion(&leaves[index as usize], &short, &root).is_err());

            let old = 1 + pick % (size - 1);
            let mut changed = tree.consistency(old, size).expect("is in range");
            let position = hash % changed.len();
            changed[position].0[31] ^= 1;
            let old_root = tree.root(old).expect("is in range");
            assert!(verify_consistency(old, &old_root, size, &root, &changed).is_err());
        }
    }
}
