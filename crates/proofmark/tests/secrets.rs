//! No secret value reaches a file that `release` writes: the planted ones and the broker's, raw, in base64 and in hex.

mod common;

use std::path::Path;

use common::{Shop, must, turn};

/// Spellings of a value that a reader could turn back.
fn spellings(value: &str) -> Vec<Vec<u8>> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut all = vec![
        value.as_bytes().to_vec(),
        hex.clone().into_bytes(),
        hex.to_uppercase().into_bytes(),
    ];
    // Base64 at each of its three alignments, without the characters that neighbours decide.
    for skip in 0..3 {
        let mut bytes = vec![b'x'; skip];
        bytes.extend(value.bytes());
        let text = base64(&bytes);
        let from = [0, 2, 3][skip];
        all.push(text.as_bytes()[from..text.len() - 4].to_vec());
    }
    all
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let index = (word >> (18 - 6 * at)) & 63;
            out.push(if at <= chunk.len() {
                ALPHABET[index as usize] as char
            } else {
                '='
            });
        }
    }
    out
}

fn files(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, into)
        } else {
            into.push(path)
        }
    }
}

#[test]
fn planted_values_are_in_no_file_that_a_release_writes() {
    let _turn = turn();
    let shop = Shop::new();
    shop.switch("planted-secret");
    // The value, from the patch itself: the longest word of the lines it adds that a scanner would call a token.
    let out = must("git", &["show", "--format=", "HEAD"], &shop.tree);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let added = text
        .lines()
        .filter(|line| line.starts_with('+') && !line.starts_with("+++"));
    let words = added.flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-'));
    let planted = words
        .filter(|word| word.starts_with("gh") && word.len() >= 36)
        .max_by_key(|word| word.len())
        .expect("a token");
    // A step that prints it too: the log of the step is filtered.
    let step = "\n[[commit.step]]\nname = \"noisy\"\nrun = [\"sh\", \"noisy.sh\"]\nreport = \"target/noisy.xml\"\n";
    shop.replace("proofmark.toml", "\n[dependencies]", &format!("{step}\n[dependencies]"));
    let script = format!("git show HEAD~1 2>/dev/null; echo {planted}; echo {planted} >&2; exit 3\n");
    std::fs::write(shop.tree.join("noisy.sh"), script).expect("a file");
    shop.commit("noisy");
    let answer = shop.release();
    answer.expect(1, &["BLOCKED at commit"]);
    let mut written = Vec::new();
    files(&shop.tree.join(".proofmark"), &mut written);
    files(&shop.home, &mut written);
    assert!(written.len() > 10, "{written:?}");
    for spelling in spellings(planted) {
        for path in &written {
            let bytes = std::fs::read(path).expect("a file");
            assert!(
                !bytes.windows(spelling.len()).any(|window| window == spelling),
                "{} holds it",
                path.display()
            );
        }
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert!(
            !said.as_bytes().windows(spelling.len()).any(|window| window == spelling),
            "the screen shows it"
        );
    }
}
