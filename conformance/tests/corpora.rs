//! Replays every corpus of `fuzz/` through the functions that are fuzzed, with the compiler everyone has: inputs named
//! `faulty…` must be refused, all others accepted, and neither they nor what is made of them may panic.

use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

#[test]
fn every_corpus_is_read_as_its_names_say() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    for (name, target) in fuzz::TARGETS {
        let inputs = std::fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("corpus `{name}`: {error}"));
        let mut count = 0;
        for input in inputs {
            let path = input.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            // The name of what fails stands above a panic.
            println!("{}", path.display());
            let faulty = path.file_name().unwrap().to_string_lossy().starts_with("faulty");
            assert_eq!(target(&bytes), !faulty, "{}: whether it is accepted", path.display());
            for mutant in mutants(&bytes) {
                target(&mutant);
            }
            count += 1;
        }
        assert!(count > 0, "corpus `{name}` is empty");
    }
}

/// Up to 64 of each kind, evenly spread: cut short, a bit flipped, a byte removed.
fn mutants(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let step = bytes.len().div_ceil(64).max(1);
    (0..bytes.len()).step_by(step).flat_map(move |at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        let removed = [&bytes[..at], &bytes[at + 1..]].concat();
        [bytes[..at].to_vec(), flipped, removed]
    })
}
