//! # plant/secret-private-key
//! A private key is committed.
//!
//! ## What it does
//! Commits an Ed25519 private key (PKCS#8, PEM) made from the seed; its public half is trusted nowhere.
//! `control/no-secrets` should block the commit stage.
//!
//! ## Why it matters
//! Whoever has the private half is its owner, wherever the public half is trusted.
//!
//! ## Example
//! `proofmark chaos gates --only secret-private-key`
//!
//! ## What to do instead
//! Keep private keys outside the tree, and hand them over as files at run time.
//!
//! ## References
//! - RFC 8410, <https://www.rfc-editor.org/rfc/rfc8410>
//! - <https://cwe.mitre.org/data/definitions/798.html>

use evidence::Stage;

use crate::gate_experiment::ground::{Blocks, Edit, Entry, FOLDER, Ground, Plan, base64};

pub const ENTRY: Entry = Entry {
    id: "secret-private-key",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "see `proofmark explain control/no-secrets`; if the rule misses this kind of value, report it",
    plan,
};

/// PKCS#8 of an Ed25519 key up to its 32 bytes (RFC 8410, section 7).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let der = [&PKCS8[..], &ground.bytes("private key", 32)].concat();
    let label = ["PRIVATE", "KEY"].join(" ");
    let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(&der));
    let file = format!("{FOLDER}/server.pem");
    Plan::one(
        "an Ed25519 private key in a PEM file",
        vec![Edit::Write(file, text.into_bytes())],
    )
}

#[cfg(test)]
mod tests {
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn it_is_a_whole_key() {
        let text = written(&plan(&super::ENTRY, "", &[]), "proofmark-plant/server.pem");
        let body = text.lines().nth(1).unwrap();
        assert_eq!(body.len(), 64, "48 bytes");
        assert!(body.starts_with("MC4CAQAwBQYDK2Vw"), "{body}");
    }
}
