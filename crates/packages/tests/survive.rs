//! Readers survive anything: random bytes, mutated lock files, and twenty thousand packages in time.

use std::fmt::Write as _;

use packages::{is_manifest, read};
use proptest::prelude::*;

const NAMES: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "package.json",
    "go.mod",
    "go.sum",
    "go.work",
    "pyproject.toml",
    "x/a.csproj",
];

fn seeds() -> Vec<(&'static str, String)> {
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    let sum = "f71489ff30030d2ae598524f61326b902466f72a0fb1a8564c001cc63425bcc7";
    let hash = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    vec![
        ("Cargo.lock", format!("version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"a 1.0.0 ({registry})\", \"b\"]\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"{registry}\"\nchecksum = \"{sum}\"\n[[package]]\nname = \"b\"\nversion = \"2.0.0\"\nsource = \"git+https://host/b?rev=1#0123\"\n")),
        ("Cargo.toml", "[package]\nname = \"app\"\n[dependencies]\na = \"1\"\nb = { package = \"c\", workspace = true }\n[target.'cfg(unix)'.dependencies]\nd = \"1\"\n[patch.crates-io]\na = { path = \"a\" }\n".to_owned()),
        ("package-lock.json", r#"{"name":"w","lockfileVersion":3,"packages":{"":{"dependencies":{"a":"1"},"workspaces":["o"]},"node_modules/a":{"version":"1.0.0","integrity":"sha512-AAAA","resolved":"https://r.example/a/-/a-1.tgz","dependencies":{"b":"*"}},"node_modules/a/node_modules/b":{"version":"2.0.0","dev":true},"o":{"version":"1.0.0"},"node_modules/o":{"link":true}}}"#.to_owned()),
        ("npm-shrinkwrap.json", r#"{"lockfileVersion":1,"dependencies":{"a":{"version":"npm:b@1.0.0","requires":{"c":"1"},"dependencies":{"c":{"version":"github:x/c#01"}}}}}"#.to_owned()),
        ("go.mod", "module m // x\ngo 1.16\nrequire (\n\ta.b/c v1.0.0 // indirect\n\t\"d.e/f\" v0.0.0-20210630005230-0f9fa26af87c\n)\nreplace a.b/c v1.0.0 => ../c\nretract [v1.0.0, v1.1.0]\n".to_owned()),
        ("go.sum", format!("a.b/c v1.0.0 {hash}\na.b/c v1.0.0/go.mod {hash}\n")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(name in prop::sample::select(&NAMES[..]), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(is_manifest(name));
        let _ = read(&[(name.to_owned(), bytes)]);
    }

    #[test]
    fn mutated_files(
        edits in prop::collection::vec((0..6usize, any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..12),
        order in any::<bool>(),
    ) {
        let mut files: Vec<(String, Vec<u8>)> = seeds().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
        for (file, at, byte, kind) in edits {
            let bytes = &mut files[file].1;
            let at = at.index(bytes.len().max(1));
            match kind {
                0 if !bytes.is_empty() => bytes[at] = byte,
                1 => bytes.truncate(at),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
        let inventory = read(&files);
        let mut sorted = inventory.components.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(&sorted, &inventory.components);
        prop_assert!(inventory.components.iter().all(|component| component.purl.starts_with("pkg:")));
        if order {
            files.reverse();
            prop_assert_eq!(read(&files), inventory);
        }
    }
}

#[test]
fn duplicates_count_once() {
    let twice: Vec<(String, Vec<u8>)> = seeds()
        .into_iter()
        .chain(seeds())
        .map(|(name, text)| (name.to_owned(), text.into_bytes()))
        .collect();
    assert_eq!(read(&twice), read(&twice[..6]));
}

/// The limit of a second is for release builds; debug ones get ten.
#[test]
fn twenty_thousand_packages_in_time() {
    let count = 20_000;
    let mut cargo = "version = 4\n".to_owned();
    let mut npm = r#"{"lockfileVersion":3,"packages":{"":{"name":"w"}"#.to_owned();
    for at in 0..count {
        let next = (at + 1) % count;
        let _ = write!(
            cargo,
            "\n[[package]]\nname = \"p{at}\"\nversion = \"1.0.{at}\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"{at:064x}\"\ndependencies = [\n \"p{next}\",\n]\n"
        );
        let _ = write!(
            npm,
            ",\n\"node_modules/p{at}\":{{\"version\":\"1.0.{at}\",\"resolved\":\"https://registry.npmjs.org/p{at}/-/p{at}-1.0.0.tgz\",\"dependencies\":{{\"p{next}\":\"*\"}}}}"
        );
    }
    npm.push_str("}}");
    for (name, text) in [("Cargo.lock", cargo), ("package-lock.json", npm)] {
        let files = [(name.to_owned(), text.into_bytes())];
        let start = std::time::Instant::now();
        let inventory = read(&files);
        let took = start.elapsed();
        println!("{name}: {} components in {took:?}", inventory.components.len());
        assert!(inventory.components.len() >= count);
        assert_eq!(inventory.edges.len(), count);
        assert!(
            took.as_secs_f64() < if cfg!(debug_assertions) { 10.0 } else { 1.0 },
            "{name} took {took:?}"
        );
    }
}
