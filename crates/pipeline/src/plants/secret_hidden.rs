//! # plant/secret-hidden
//! A secret is committed where a plain search doesn't see it.
//!
//! ## What it does
//! Commits a token in base 64, in UTF-16, in a file that `.gitignore` names, in the middle of one very long line, in an
//! archive, and in a file without any extension below a hidden folder.
//! `control/no-secrets` should block the commit stage, or leave it open where it can't look.
//!
//! ## Why it matters
//! A scanner that reads only plain text at usual places finds what was committed by mistake, and nothing that was hidden.
//!
//! ## Example
//! `proofmark chaos gates --only secret-hidden`
//!
//! ## What to do instead
//! Revoke the secret; keep what can't be searched out of what is released.
//!
//! ## References
//! - <https://cwe.mitre.org/data/definitions/798.html>

use evidence::Stage;

use super::secret_token::token;
use crate::gate_experiment::ground::{ALNUM, Blocks, Edit, Entry, FOLDER, Ground, Plan, base64};

pub const ENTRY: Entry = Entry {
    id: "secret-hidden",
    stage: Stage::Commit,
    blocks: Blocks::Control("no-secrets"),
    fix: "keep out of the tree what the scan doesn't open (`proofmark explain source`); until it does, only a gap that blocks is an answer",
    plan,
};

/// Letters before and after the token, in a file of one line.
const LINE_BYTES: usize = 300_000;

fn plan(ground: &Ground<'_>) -> Vec<Plan> {
    let write = |file: &str, bytes: Vec<u8>| Edit::Write(format!("{FOLDER}/{file}"), bytes);
    let line = |name: &str| format!("token = {}\n", token(ground, name));
    let encoded = format!("data:\n  token: {}\n", base64(token(ground, "base 64").as_bytes()));
    let mut wide = vec![0xff, 0xfe];
    wide.extend(line("utf-16").encode_utf16().flat_map(u16::to_le_bytes));
    let long = format!(
        "var a=\"{}\",token=\"{}\",b=\"{}\";\n",
        ground.letters("before", b"ab ", LINE_BYTES),
        token(ground, "long line"),
        ground.letters("after", b"ab ", LINE_BYTES)
    );
    let archive = stored_zip("ci.ini", line("archive").as_bytes());
    let noise = ground.letters("log", ALNUM, 12);
    vec![
        Plan::of(
            "base64",
            "a token in base 64",
            vec![write("secret.yaml", encoded.into_bytes())],
        ),
        Plan::of("utf-16", "a token in a file in UTF-16", vec![write("token.ini", wide)]),
        Plan::of(
            "ignored",
            "a token in a committed file that .gitignore names",
            vec![
                write(".gitignore", b"local.ini\n".to_vec()),
                write("local.ini", line("ignored").into_bytes()),
            ],
        ),
        Plan::of(
            "long-line",
            "a token in a line of 600,000 letters",
            vec![write("app.min.js", long.into_bytes())],
        ),
        Plan::of(
            "archive",
            "a token in a zip archive",
            vec![write("backup.zip", archive)],
        ),
        Plan::of(
            "no-extension",
            "a token in a file without extension in a hidden folder",
            vec![write(&format!(".cache/{noise}"), line("no extension").into_bytes())],
        ),
    ]
}

/// A zip archive of one file that is not compressed (APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16).
fn stored_zip(name: &str, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let name_size = u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes();
    let sum = source::crc32(bytes).to_le_bytes();
    // Version 2.0; no flags, no compression, no time.
    let common = [
        &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &sum,
        &size,
        &size,
        &name_size,
        &[0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04".as_slice(), &common, name.as_bytes(), bytes].concat();
    let central = [b"PK\x01\x02\x14\x00".as_slice(), &common, &[0; 14], name.as_bytes()].concat();
    let sizes = [central.len(), local.len()].map(|size| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    let end = [b"PK\x05\x06\0\0\0\0\x01\0\x01\0".as_slice(), &sizes.concat(), &[0, 0]].concat();
    [local, central, end].concat()
}

#[cfg(test)]
mod tests {
    use super::stored_zip;
    use crate::gate_experiment::ground::Plan;
    use crate::gate_experiment::ground::testing::{plan, written};

    #[test]
    fn every_place_holds_a_token_of_its_own() {
        let plans = plan(&super::ENTRY, "", &[]);
        assert!(plans.iter().all(|plan| matches!(plan, Plan::Plant(_))));
        assert!(!written(&plans, "proofmark-plant/secret.yaml").contains("gh"));
        assert!(written(&plans, "proofmark-plant/app.min.js").lines().count() == 1);
    }

    /// Offsets and sizes as a reader of archives adds them up.
    #[test]
    fn the_archive_is_one() {
        let zip = stored_zip("a", b"xyz");
        assert_eq!(zip.len(), (30 + 1 + 3) + (46 + 1) + 22);
        assert_eq!(&zip[30..34], b"axyz");
        let central = u32::from_le_bytes(zip[zip.len() - 6..zip.len() - 2].try_into().unwrap()) as usize;
        assert_eq!(&zip[central..central + 4], b"PK\x01\x02");
    }
}
