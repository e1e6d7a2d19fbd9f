//! Scans of real folders and repositories, made with the `git` program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use evidence::{Finding, Observation};
use proptest::prelude::*;

use crate::matcher::testing::{ALNUM, HEX, noise};
use crate::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        files
            .iter()
            .for_each(|(path, text)| folder.write(path, text.as_bytes()));
        folder
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        git(self.0.path(), arguments)
    }

    fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A", "-f"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn walk(&self) -> Tree {
        walk(&self.path(), &WalkOptions::default()).unwrap()
    }

    fn scan(&self) -> Observation {
        scan_secrets(&self.walk(), &ScanOptions::default()).unwrap()
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "-c",
            "init.defaultBranch=main",
            "-c",
            "protocol.file.allow=always",
        ])
        .args(["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn token(seed: usize) -> String {
    format!("dop_{}_{}", "v1", &noise(HEX, 64 + seed)[seed..])
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.files.iter().map(|file| file.path.as_str()).collect()
}

fn places(observation: &Observation) -> Vec<String> {
    observation
        .findings
        .iter()
        .map(|one| format!("{} {}", one.rule, one.span.as_ref().unwrap()))
        .collect()
}

fn gaps(observation: &Observation) -> Vec<(&str, bool)> {
    observation
        .gaps
        .iter()
        .map(|gap| (gap.id.as_str(), gap.blocks))
        .collect()
}

#[test]
fn the_walk_respects_ignore_files_but_not_against_a_commit() {
    let folder = Folder::new(&[
        (".gitignore", "*.log\n/out/\n"),
        ("a.txt", "a"),
        ("b.log", "b"),
        ("out/c", "c"),
        (".hidden", "d"),
        (".ignore", "a.txt\n"),
        (".proofmark/state", "x"),
        ("sub/.gitignore", "!keep.log\n"),
        ("sub/keep.log", "k"),
    ]);
    folder.git(&["init", "-q"]);
    let expect = [
        ".gitignore",
        ".hidden",
        ".ignore",
        "a.txt",
        "sub/.gitignore",
        "sub/keep.log",
    ];
    assert_eq!(paths(&folder.walk()), expect);
    folder.write(".git/info/exclude", b"a.txt\n");
    assert!(!paths(&folder.walk()).contains(&"a.txt"));
    // From a folder below, the ignore files above still count.
    folder.write("sub/x.log", b"x");
    let below = walk(&folder.path().join("sub"), &WalkOptions::default()).unwrap();
    assert_eq!(paths(&below), [".gitignore", "keep.log"]);
    // Committed files can't be hidden.
    folder.commit("everything, ignored files included");
    let all = folder.walk();
    assert!(paths(&all).contains(&"b.log") && paths(&all).contains(&"out/c") && paths(&all).contains(&"a.txt"));
}

#[test]
fn without_a_repository_ignore_files_above_do_not_count() {
    let folder = Folder::new(&[
        (".gitignore", "*"),
        ("in/.gitignore", "*.log"),
        ("in/a.txt", ""),
        ("in/b.log", ""),
    ]);
    let tree = walk(&folder.path().join("in"), &WalkOptions::default()).unwrap();
    assert_eq!(paths(&tree), [".gitignore", "a.txt"]);
}

#[cfg(unix)]
#[test]
fn symlinks_and_odd_names_are_entries() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new(&[("a/b.txt", "b"), ("back\\slash", "c"), ("line\nbreak", "d")]);
    std::os::unix::fs::symlink("..", folder.path().join("a/loop")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.path().join("out")).unwrap();
    fs::write(
        folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe.txt")),
        format!("k={}", token(0)),
    )
    .unwrap();
    let tree = folder.walk();
    let expect = [
        "\\xFF\\xFE.txt",
        "a/b.txt",
        "a/loop",
        "back\\x5Cslash",
        "line\\x0Abreak",
        "out",
    ];
    assert_eq!(paths(&tree), expect);
    assert_eq!(read(&tree, "out").unwrap(), None);
    assert_eq!(read(&tree, "line\\x0Abreak").unwrap().unwrap(), b"d");
    assert_eq!(read(&tree, "absent").unwrap(), None);
    assert_eq!(places(&folder.scan()), ["secret/digitalocean-token \\xFF\\xFE.txt:1:3"]);
    tree_digest(&tree).unwrap();
}

#[cfg(unix)]
#[test]
fn the_digest_follows_content_mode_and_name() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new(&[("a", "1"), ("b/c", "2")]);
    let digest = || tree_digest(&folder.walk()).unwrap();
    // Format v1 is a promise: this value never changes.
    assert_eq!(
        digest().hex(),
        "e629b9c0700e2286e59b0d46fc601b985780781ee011d97ea6c082d6d6fd5066"
    );
    let mut seen = std::collections::BTreeSet::from([digest()]);
    folder.write("a", b"3");
    assert!(seen.insert(digest()));
    fs::set_permissions(folder.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(seen.insert(digest()));
    fs::rename(folder.path().join("a"), folder.path().join("d")).unwrap();
    assert!(seen.insert(digest()));
    std::os::unix::fs::symlink("d", folder.path().join("e")).unwrap();
    assert!(seen.insert(digest()));
}

#[test]
fn commits_are_read_without_a_work_tree() {
    let folder = Folder::new(&[("sub/a.txt", "one"), ("b", "x")]);
    assert_eq!(head(&folder.path()), None);
    folder.git(&["init", "-q"]);
    assert_eq!(head(&folder.path()), None, "before the first commit");
    assert_eq!(paths_at(&folder.path(), Revision::Head).unwrap(), Vec::<String>::new());
    folder.commit("one");
    folder.write("sub/a.txt", b"two");
    folder.write("sub/c.txt", b"new");
    let commit = folder.commit("two");
    folder.write("sub/a.txt", b"dirty");
    let sub = folder.path().join("sub");
    assert_eq!(
        head(&sub),
        Some(Head {
            commit,
            prefix: "sub".to_owned()
        })
    );
    assert_eq!(file_at_head(&sub, "a.txt").unwrap().unwrap(), b"two");
    assert_eq!(file_at(&sub, Revision::Parent, "a.txt").unwrap().unwrap(), b"one");
    assert_eq!(
        file_at(&folder.path(), Revision::Head, "sub/a.txt").unwrap().unwrap(),
        b"two"
    );
    assert_eq!(file_at_head(&sub, "b").unwrap(), None);
    assert_eq!(file_at_head(&sub, "../b").unwrap(), None);
    assert_eq!(paths_at(&sub, Revision::Head).unwrap(), ["a.txt", "c.txt"]);
    assert_eq!(paths_at(&sub, Revision::Parent).unwrap(), ["a.txt"]);
}

/// Commits a token to `sub/key.txt`, replaces it, and returns both.
fn leaky() -> (Folder, String, String) {
    let folder = Folder::new(&[("sub/key.txt", &format!("a\nkey = {}\n", token(1))), ("top.txt", "x")]);
    folder.git(&["init", "-q"]);
    folder.commit("leak");
    let leak = folder.git(&["rev-parse", "HEAD"]);
    folder.write("sub/key.txt", b"a\nkey from the store\n");
    folder.commit("fix");
    (folder, leak, token(1))
}

#[test]
fn a_secret_only_in_history_is_found() {
    let (folder, leak, value) = leaky();
    let check = |root: &Path, path: &str| {
        let tree = walk(root, &WalkOptions::default()).unwrap();
        let observation = scan_secrets(&tree, &ScanOptions::default()).unwrap();
        let [finding] = observation.findings.as_slice() else {
            panic!("{:?}", places(&observation))
        };
        let span = finding.span.as_ref().unwrap();
        assert_eq!(
            (span.path.as_str(), span.line, span.column, span.commit.as_deref()),
            (path, 2, 7, Some(leak.as_str()))
        );
        assert!(finding.properties["history"].starts_with(&format!("{leak} 20")));
        assert!(!format!("{observation:?}").contains(&value));
        let without = scan_secrets(
            &tree,
            &ScanOptions {
                history: false,
                ..ScanOptions::default()
            },
        )
        .unwrap();
        assert_eq!(places(&without), Vec::<String>::new());
        observation
    };
    let loose = check(&folder.path(), "sub/key.txt");
    check(&folder.path().join("sub"), "key.txt");
    folder.git(&["gc", "-q", "--aggressive", "--prune=now"]);
    assert_eq!(check(&folder.path(), "sub/key.txt"), loose, "packed");
    // The history of another folder is another history.
    folder.write("other/x", b"x");
    folder.commit("other");
    let other = walk(&folder.path().join("other"), &WalkOptions::default()).unwrap();
    let observation = scan_secrets(&other, &ScanOptions::default()).unwrap();
    assert_eq!(places(&observation), Vec::<String>::new());
    assert_eq!(observation.coverage.looked("commits"), 1);
}

#[test]
fn a_large_pack_is_decoded_whole_with_the_same_result() {
    let (folder, leak, _) = leaky();
    let body: String = (0..200)
        .map(|line| format!("line {line} of a file that changes\n"))
        .collect();
    for round in 0..90 {
        folder.write(
            "big.txt",
            body.replace("line 7 ", &format!("round {round} ")).as_bytes(),
        );
        folder.git(&["add", "-A"]);
        folder.git(&["commit", "-q", "-m", "r"]);
    }
    let loose = folder.scan();
    folder.git(&["gc", "-q", "--prune=now"]);
    let packed = folder.scan();
    assert_eq!(loose, packed);
    assert_eq!(packed.findings.len(), 1);
    assert_eq!(
        packed.findings[0].span.as_ref().unwrap().commit.as_deref(),
        Some(leak.as_str())
    );
    assert_eq!(packed.coverage.0["blobs"], evidence::Counted { looked: 93, total: 93 });
}

#[test]
fn a_secret_in_tree_and_history_is_one_finding() {
    let (folder, leak, value) = leaky();
    folder.write("again.txt", format!("x = {value}\ny = {value}").as_bytes());
    let observation = folder.scan();
    let [finding] = observation.findings.as_slice() else {
        panic!("{:?}", places(&observation))
    };
    assert_eq!(places(&observation), ["secret/digitalocean-token again.txt:1:5"]);
    assert!(finding.properties["since"].starts_with(&leak));
    assert_eq!(
        (
            finding.properties["places"].as_str(),
            finding.properties["also"].as_str()
        ),
        ("2", "again.txt:2")
    );
}

#[test]
fn identity_is_the_context_without_the_value() {
    let id = |text: String| {
        let observation = Folder::new(&[("a.conf", &text)]).scan();
        observation
            .findings
            .into_iter()
            .map(|finding| finding.id.0)
            .collect::<Vec<_>>()
    };
    let (one, two) = (
        id(format!("key = {}", token(1))),
        id(format!("\n\n  key = {}", token(2))),
    );
    assert_eq!(one, two);
    assert_ne!(one, id(format!("other = {}", token(1))));
    let both = id(format!("key = {}\nkey = {}", token(1), token(2)));
    assert!(both.len() == 2 && both[0] == one[0] && both[1] != one[0]);
}

#[test]
fn worktrees_and_shallow_clones() {
    let (folder, leak, _) = leaky();
    let beside = tempfile::tempdir().unwrap();
    let worktree = beside.path().join("it");
    folder.git(&["worktree", "add", "-q", worktree.to_str().unwrap()]);
    let tree = walk(&worktree, &WalkOptions::default()).unwrap();
    let observation = scan_secrets(&tree, &ScanOptions::default()).unwrap();
    assert_eq!(
        observation.findings[0].span.as_ref().unwrap().commit.as_deref(),
        Some(leak.as_str())
    );

    let clone = tempfile::tempdir().unwrap();
    let from = format!("file://{}", folder.path().display());
    git(clone.path(), &["clone", "-q", "--depth", "1", &from, "it"]);
    let tree = walk(&clone.path().join("it"), &WalkOptions::default()).unwrap();
    let observation = scan_secrets(&tree, &ScanOptions::default()).unwrap();
    assert_eq!(gaps(&observation), [("source/shallow-history", true)]);
}

#[test]
fn limits_and_missing_objects_are_gaps() {
    let (folder, leak, _) = leaky();
    let tree = folder.walk();
    let options = ScanOptions {
        commits_max: Some(1),
        ..ScanOptions::default()
    };
    assert_eq!(
        gaps(&scan_secrets(&tree, &options).unwrap()),
        [("source/history-cut", true)]
    );
    let options = ScanOptions {
        file_bytes_max: 3,
        ..ScanOptions::default()
    };
    let observation = scan_secrets(&tree, &options).unwrap();
    assert_eq!(gaps(&observation), [("source/too-large", true); 2]);
    assert_eq!(
        observation.coverage.0["files"],
        evidence::Counted { looked: 1, total: 2 }
    );
    let blob = folder.git(&["rev-parse", &format!("{leak}:sub/key.txt")]);
    fs::remove_file(folder.path().join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();
    assert_eq!(gaps(&folder.scan()), [("source/missing-objects", true)]);
}

#[test]
fn a_broken_repository_is_a_gap_that_blocks() {
    let folder = Folder::new(&[("a", &token(1)), (".git/HEAD", "nonsense")]);
    let observation = folder.scan();
    assert_eq!(
        (observation.findings.len(), gaps(&observation)),
        (1, vec![("source/unreadable-history", true)])
    );
    let (folder, ..) = leaky();
    folder.write(".git/refs/heads/main", b"0123456789012345678901234567890123456789\n");
    assert!(folder.scan().gaps.iter().any(|gap| gap.blocks));
}

#[test]
fn the_repository_is_not_obeyed() {
    let (folder, leak, _) = leaky();
    let mark = folder.path().join("ran");
    let run = format!("touch {}", mark.display());
    for (key, value) in [
        ("core.fsmonitor", &run),
        ("filter.x.smudge", &run),
        ("diff.external", &run),
        ("core.sshCommand", &run),
    ] {
        folder.git(&["config", key, value]);
    }
    folder.git(&["config", "include.path", "/nonexistent"]);
    folder.write(".gitattributes", b"* filter=x diff=x\n");
    // A replace ref would show the fixed blob instead of the leaking one.
    let leaking = folder.git(&["rev-parse", &format!("{leak}:sub/key.txt")]);
    let fixed = folder.git(&["rev-parse", "HEAD:sub/key.txt"]);
    folder.git(&["replace", &leaking, &fixed]);
    let observation = folder.scan();
    assert_eq!(observation.findings.len(), 1);
    assert!(!mark.exists());
}

#[test]
fn suppressions_hide_but_do_not_clear() {
    let line = |seed, comment: &str| format!("k = {} {comment}\n", token(seed));
    let folder = Folder::new(&[
        (
            "a",
            &line(1, "# proofmark:allow secret/digitalocean-token sample of the docs"),
        ),
        ("b", &line(2, "# proofmark:allow secret/digitalocean-token")),
        ("c", &line(3, "# gitleaks:allow")),
        ("d", &line(4, "")),
        ("e", &line(5, "")),
        (".gitleaksignore", "d:digitalocean-pat:1\n"),
    ]);
    let observation = folder.scan();
    let by = |finding: &Finding| {
        (
            finding.suppressed,
            finding.properties.get("suppressed-by").cloned().unwrap_or_default(),
        )
    };
    let expect = [
        (true, "inline"),
        (false, ""),
        (true, "gitleaks"),
        (true, "gitleaks"),
        (false, ""),
    ];
    assert_eq!(
        observation.findings.iter().map(by).collect::<Vec<_>>(),
        expect.map(|(hidden, by)| (hidden, by.to_owned()))
    );
    assert_eq!(
        gaps(&observation),
        [
            ("source/no-history", false),
            ("source/suppression-without-reason", false)
        ]
    );
    let id = &observation.findings[4].id;
    folder.write(
        ".proofmark-baseline",
        format!("# known\n{id} rotated in May\n{}\n", observation.findings[1].id).as_bytes(),
    );
    let observation = folder.scan();
    assert_eq!(
        by(&observation.findings[4]),
        (true, "baseline: rotated in May".to_owned())
    );
    assert!(!observation.findings[1].suppressed);
    assert_eq!(observation.gaps.len(), 3);
}

#[test]
fn kinds_of_files() {
    let utf16: Vec<u8> = [0xFF, 0xFE]
        .into_iter()
        .chain(
            format!("\r\nk={}\r\n", token(1))
                .encode_utf16()
                .flat_map(u16::to_le_bytes),
        )
        .collect();
    let folder = Folder::new(&[("crlf.txt", &format!("a\r\nkey={}\r\n", token(2)))]);
    folder.write("wide.txt", &utf16);
    folder.write(
        "program",
        &[b"\x7fELF\0\0\0".as_slice(), token(3).as_bytes(), b"\0"].concat(),
    );
    folder.write("picture.png", b"\x89PNG\0");
    folder.write("locked.zip", b"PK\x03\x04\x14\x00\x01\x00");
    folder.write("open.tar.gz", b"\x1f\x8b\x08\x00");
    let mut huge = vec![b'a'; 8 << 20];
    huge.extend(format!(" key={} ", token(4)).bytes());
    huge.extend(vec![b'b'; 8 << 20]);
    folder.write("huge.txt", &huge);
    let observation = folder.scan();
    let found: Vec<String> = places(&observation)
        .iter()
        .map(|place| place.split(' ').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(
        found,
        ["crlf.txt:2:5", "huge.txt:1:8388614", "program:1:8", "wide.txt:2:3"]
    );
    let mut expect = vec![
        ("source/archive", false),
        ("source/encrypted-archive", false),
        ("source/no-history", false),
    ];
    expect.sort();
    assert_eq!(gaps(&observation), expect);
    assert_eq!(
        observation.coverage.0["files"],
        evidence::Counted { looked: 4, total: 7 }
    );
}

#[test]
fn lock_files_and_generated_code_hold_no_generic_secrets() {
    let text = format!("\"token\": \"{}\"\n", noise(ALNUM, 40));
    for (path, expect) in [
        ("package-lock.json", 0),
        ("go.sum", 0),
        ("a.min.js", 0),
        ("settings.json", 1),
    ] {
        assert_eq!(Folder::new(&[(path, &text)]).scan().findings.len(), expect, "{path}");
    }
    let minified = format!("{}{text}{}", "a;".repeat(3000), "b;".repeat(3000)).replace('\n', "");
    assert_eq!(Folder::new(&[("bundle.js", &minified)]).scan().findings.len(), 0);
}

#[test]
fn the_result_is_the_same_on_any_number_of_threads() {
    let (folder, ..) = leaky();
    for seed in 0..40 {
        folder.write(
            &format!("many/{}", seed % 20),
            format!("k{} = {}\n", seed % 3, token(seed % 13)).as_bytes(),
        );
        if seed % 10 == 9 {
            folder.commit("some");
        }
    }
    let tree = folder.walk();
    let scan = |threads| {
        scan_secrets(
            &tree,
            &ScanOptions {
                threads,
                ..ScanOptions::default()
            },
        )
        .unwrap()
    };
    let one = evidence::to_canonical(&scan(1));
    for threads in [2, 3, 8] {
        assert!(one == evidence::to_canonical(&scan(threads)), "{threads} threads");
    }
}

#[test]
fn every_rule_has_its_page() {
    assert!(rules().len() >= 40);
    for rule in rules() {
        let page = page(rule.id).unwrap_or_else(|| panic!("{} has no page", rule.id));
        let mut at = 0;
        for heading in [
            &format!("# {}\n", rule.id),
            "## What it does\n",
            "## Why it matters\n",
            "## Example\n",
            "## What to do instead\n",
            "## References\n",
        ] {
            at += page[at..]
                .find(heading)
                .unwrap_or_else(|| panic!("{}: `{}` is missing or out of order", rule.id, heading.trim()));
        }
        assert!(rule.keywords.iter().all(|keyword| keyword.len() > 1), "{}", rule.id);
    }
    assert!(rules().is_sorted_by_key(|rule| rule.id), "in order of id");
    assert_eq!(page("secret/absent"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), word in "[a-zA-Z_=:\"'/ .-]{0,200}") {
        let folder = Folder::new(&[(".env", &word)]);
        folder.write("any", &bytes);
        folder.scan();
        let mixed = [word.as_bytes(), &bytes, word.as_bytes()].concat();
        Redactor::new(vec![bytes]).filter(&mixed);
    }

    #[test]
    fn keywords_in_noise_never_panic(parts in proptest::collection::vec((0..rules().len(), proptest::collection::vec(any::<u8>(), 0..24)), 0..30)) {
        let text: Vec<u8> = parts
            .iter()
            .flat_map(|(rule, bytes)| [rules()[*rule].keywords.first().map_or(&b""[..], |word| word.as_bytes()), bytes].concat())
            .collect();
        Redactor::new(Vec::new()).filter(&text);
    }
}
