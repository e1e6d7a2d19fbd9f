//! Writes the bill of materials of the manifests below a folder to stdout: what `conformance/cyclonedx-validate.mjs` is fed with.
//!
//! `cargo run -p packages --example sbom -- FOLDER`. Not a product: `proofmark sbom` is. It reads licences nowhere.

use std::path::Path;

use evidence::Digest;
use packages::{SbomSubject, cyclonedx, is_manifest, read};

fn main() {
    let Some(root) = std::env::args().nth(1) else {
        eprintln!("usage: sbom FOLDER");
        std::process::exit(2);
    };
    let mut files = Vec::new();
    collect(Path::new(&root), "", &mut files);
    let inventory = read(&files);
    let subject = SbomSubject {
        name: "example".to_owned(),
        version: "0.0.0".to_owned(),
        seed: Digest::of(root.as_bytes()),
        timestamp: evidence::Timestamp::UNIX_EPOCH,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    println!("{:#}", cyclonedx(&inventory, &subject));
    eprintln!(
        "{} components, {} edges, {} gaps",
        inventory.components.len(),
        inventory.edges.len(),
        inventory.gaps.len()
    );
    for gap in &inventory.gaps {
        eprintln!("  {}: {}: {}", gap.id, gap.what, gap.reason);
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else {
            continue;
        };
        let path = format!("{prefix}{name}");
        if kind.is_dir() && !["node_modules", "target", ".git"].contains(&name.as_str()) {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() && is_manifest(&path) {
            files.extend(std::fs::read(entry.path()).ok().map(|bytes| (path, bytes)));
        }
    }
}
