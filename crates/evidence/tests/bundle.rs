//! A bundle is closed: every byte flipped, every file added, removed or renamed is refused, and the file is named.

mod common;

use common::*;
use evidence::predicates::{SECRET_SCAN, VSA};
use evidence::{
    BundleError, BundleFiles, CheckedBundle, Digest, Envelope, MANIFEST_PATH, Manifest, Role, TrustRoot, to_canonical,
};

fn bundle(world: &World) -> BundleFiles {
    let envelopes = vec![
        world.sign(Role::Step, &statement(SECRET_SCAN, "secrets")),
        world.sign(Role::Gate, &statement(VSA, "verdict")),
    ];
    let (note, logged) = world.log(envelopes);
    let others = BundleFiles::from([("summary.md".to_owned(), b"# pass\n".to_vec())]);
    CheckedBundle::write(
        Digest::of(b"attempt"),
        &note,
        &logged,
        others,
        &world.pairs[&Role::Gate].signers(),
    )
    .unwrap()
}

fn open(files: &BundleFiles, root: &TrustRoot) -> Result<CheckedBundle, BundleError> {
    CheckedBundle::open(files, root, at())
}

/// The file an error is about.
fn path(error: &BundleError) -> &str {
    match error {
        BundleError::Missing { path }
        | BundleError::Unlisted { path }
        | BundleError::Changed { path }
        | BundleError::Form { path, .. }
        | BundleError::Envelope { path, .. }
        | BundleError::Refused { path, .. }
        | BundleError::Version { path, .. }
        | BundleError::Name { path, .. }
        | BundleError::Text { path } => path,
    }
}

#[test]
fn a_whole_bundle_opens() {
    let world = World::new();
    let checked = open(&bundle(&world), &world.root).unwrap();
    assert_eq!(checked.manifest.attempt, Digest::of(b"attempt"));
    assert_eq!(checked.statements.iter().map(|s| s.index()).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(checked.checkpoint.value().size, 2);
    assert!(
        open(
            &bundle(&world),
            &TrustRoot {
                keys: Default::default(),
                ..world.root.clone()
            }
        )
        .is_err()
    );
}

#[test]
fn every_flipped_byte_is_refused_and_its_file_named() {
    let world = World::new();
    let mut files = bundle(&world);
    let paths: Vec<String> = files.keys().cloned().collect();
    let mut flips = 0;
    for path_of in paths {
        for i in 0..files[&path_of].len() {
            // One low bit, which keeps most text text, and one that breaks UTF-8.
            for bit in [0x01, 0x80] {
                files.get_mut(&path_of).unwrap()[i] ^= bit;
                let error = open(&files, &world.root).expect_err(&format!("{path_of} byte {i}"));
                assert_eq!(path(&error), path_of, "byte {i}: {error}");
                files.get_mut(&path_of).unwrap()[i] ^= bit;
                flips += 1;
            }
        }
    }
    assert!(open(&files, &world.root).is_ok());
    println!("{flips} flips refused");
}

#[test]
fn files_added_removed_renamed_cut_and_swapped() {
    let world = World::new();
    let clean = bundle(&world);
    let paths: Vec<String> = clean.keys().cloned().collect();
    let edit = |change: &dyn Fn(&mut BundleFiles)| {
        let mut files = clean.clone();
        change(&mut files);
        open(&files, &world.root).map(|_| ()).expect_err("refused")
    };
    for of in &paths {
        let error = edit(&|files| {
            files.remove(of);
        });
        assert!(matches!(&error, BundleError::Missing { path } if path == of), "{error}");
        let error = edit(&|files| {
            let bytes = files.remove(of).unwrap();
            files.insert(format!("{of}.bak"), bytes);
        });
        assert!(path(&error) == of || path(&error) == format!("{of}.bak"), "{error}");
        let error = edit(&|files| {
            files.get_mut(of).unwrap().push(b'\n');
        });
        assert_eq!(path(&error), of);
        let error = edit(&|files| {
            files.get_mut(of).unwrap().pop();
        });
        assert_eq!(path(&error), of);
        let error = edit(&|files| files.get_mut(of).unwrap().clear());
        assert_eq!(path(&error), of);
    }
    for name in [
        "evil.sh",
        "statements/000002.json",
        "statements/0.json",
        "",
        "CHECKPOINT",
        "summary.md ",
        "trust-root.json",
    ] {
        let error = edit(&|files| {
            files.insert(name.to_owned(), b"x".to_vec());
        });
        assert!(
            matches!(&error, BundleError::Unlisted { path } if path == name),
            "{error}"
        );
    }
    let (a, b) = ("statements/000000.json", "statements/000001.json");
    let error = edit(&|files| {
        let (x, y) = (files[a].clone(), files[b].clone());
        files.insert(a.to_owned(), y);
        files.insert(b.to_owned(), x);
    });
    assert!(matches!(&error, BundleError::Changed { path } if path == a), "{error}");
}

/// Whoever holds the gate's key can close a bundle over anything; what is inside is checked all the same.
#[test]
fn what_the_manifest_lists_is_checked_too() {
    let world = World::new();
    let gate = world.pairs[&Role::Gate].signers();
    let manifest_type = "application/vnd.proofmark.bundle-manifest.v1+json";
    let reseal = |mut files: BundleFiles, version: u32, signers: &[&dyn evidence::Signer], payload_type: &str| {
        files.remove(MANIFEST_PATH);
        let manifest = Manifest {
            version,
            attempt: Digest::of(b"attempt"),
            files: files
                .iter()
                .map(|(path, bytes)| (path.clone(), Digest::of(bytes)))
                .collect(),
        };
        let envelope = Envelope::sign(payload_type, to_canonical(&manifest), signers).unwrap();
        files.insert(MANIFEST_PATH.to_owned(), envelope.to_bytes());
        open(&files, &world.root)
    };
    let clean = || bundle(&world);
    assert!(reseal(clean(), 1, &gate, manifest_type).is_ok());
    assert!(matches!(
        reseal(clean(), 2, &gate, manifest_type),
        Err(BundleError::Version { version: 2, .. })
    ));
    assert!(matches!(
        reseal(clean(), 1, &gate, "text/plain"),
        Err(BundleError::Refused { .. })
    ));
    let step = world.pairs[&Role::Step].signers();
    assert!(matches!(
        reseal(clean(), 1, &step, manifest_type),
        Err(BundleError::Refused { .. })
    ));
    assert!(matches!(
        reseal(clean(), 1, &gate[..1], manifest_type),
        Err(BundleError::Refused { .. })
    ));

    let rename = |from: &str, to: &str| {
        let mut files = clean();
        let bytes = files.remove(from).unwrap();
        files.insert(to.to_owned(), bytes);
        reseal(files, 1, &gate, manifest_type)
    };
    let moved = rename("statements/000000.json", "statements/000007.json");
    assert!(matches!(moved, Err(BundleError::Name { index: 0, .. })));
    assert!(matches!(
        rename("statements/000000.json", "statements/0.json"),
        Err(BundleError::Name { .. })
    ));
    assert!(matches!(
        rename("checkpoint", "checkpoint2"),
        Err(BundleError::Missing { .. })
    ));

    let replace = |path: &str, bytes: Vec<u8>| {
        let mut files = clean();
        files.insert(path.to_owned(), bytes);
        reseal(files, 1, &gate, manifest_type)
    };
    let spaced = [clean()["statements/000000.json"].clone(), b" ".to_vec()].concat();
    assert!(matches!(
        replace("statements/000000.json", spaced),
        Err(BundleError::Form { .. })
    ));
    assert!(matches!(
        replace("statements/000000.json", b"{}".to_vec()),
        Err(BundleError::Form { .. })
    ));
    assert!(matches!(
        replace("checkpoint", b"\xff".to_vec()),
        Err(BundleError::Text { .. })
    ));
    // A statement that was signed and never logged there.
    let (_, others) = world.log(vec![
        world.sign(Role::Step, &statement(SECRET_SCAN, "other")),
        world.sign(Role::Step, &statement(SECRET_SCAN, "another")),
    ]);
    assert!(matches!(
        replace("statements/000000.json", to_canonical(&others[0])),
        Err(BundleError::Refused { .. })
    ));
}
