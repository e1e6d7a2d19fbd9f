//! What is fuzzed: one function for each reader of bytes that others own. A function ends without a panic whatever it is given,
//! and says whether it was accepted.
//!
//! Not here: how inputs are made. `fuzz_targets/NAME.rs` gives a function to libFuzzer, and
//! `conformance/tests/corpora.rs` replays `corpus/NAME/` through it without a nightly compiler. Start reading at [`TARGETS`].

use std::collections::BTreeMap;

/// Whether the bytes were accepted.
pub type Target = fn(&[u8]) -> bool;

/// Name (also of the target and of the corpus folder) and function.
pub const TARGETS: [(&str, Target); 10] = [
    ("advisories", advisories),
    ("bundle", bundle),
    ("configuration", configuration),
    ("envelope", envelope),
    ("experiment", experiment),
    ("manifests", manifests),
    ("note", note),
    ("openapi", openapi),
    ("readings", readings),
    ("sigstore", sigstore),
];

/// Two advisory records, divided by [`SEPARATOR`].
pub fn advisories(bytes: &[u8]) -> bool {
    let files = parts(bytes)
        .enumerate()
        .map(|(at, part)| (format!("{at}.json"), part.to_vec()))
        .collect::<Vec<_>>();
    let Ok((database, faulty)) = intel::load(&files) else {
        return false;
    };
    let component = evidence::Component {
        purl: "pkg:cargo/a@1.0.0".to_owned(),
        ecosystem: "crates.io".to_owned(),
        name: "a".to_owned(),
        version: "1.0.0".to_owned(),
        licence: None,
        checksum: None,
        scope: evidence::Scope::Runtime,
        path: "Cargo.lock".to_owned(),
        line: 1,
    };
    let _ = intel::matches(&database, &[component]);
    faulty.is_empty()
}

/// The trust root, then each file of the bundle as a line with its path and its bytes, divided by [`SEPARATOR`].
pub fn bundle(bytes: &[u8]) -> bool {
    let mut parts = parts(bytes);
    let Ok(root) = evidence::TrustRoot::from_bytes(parts.next().unwrap_or_default()) else {
        return false;
    };
    let files: BTreeMap<String, Vec<u8>> = parts.filter_map(file).collect();
    let opened = evidence::CheckedBundle::open(&files, &root, evidence::Timestamp::UNIX_EPOCH);
    if let Ok(bundle) = &opened {
        // INVARIANT: what is accepted accounts for every file.
        assert_eq!(bundle.manifest.files.len() + 1, files.len());
    }
    opened.is_ok()
}

/// A `proofmark.toml`.
pub fn configuration(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    accepted(pipeline::config::parse("proofmark.toml", text))
}

pub fn envelope(bytes: &[u8]) -> bool {
    let Ok(envelope) = evidence::Envelope::from_bytes(bytes) else {
        return false;
    };
    // INVARIANT: an envelope has one encoding.
    assert_eq!(envelope.to_bytes(), bytes);
    true
}

/// A chaos experiment.
pub fn experiment(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    accepted(chaos::Experiment::parse("experiment.toml", text).map(|experiment| experiment.plan()))
}

/// Files as lines with their path and their bytes, divided by [`SEPARATOR`].
pub fn manifests(bytes: &[u8]) -> bool {
    let files: Vec<(String, Vec<u8>)> = parts(bytes).filter_map(file).collect();
    let inventory = packages::read(&files);
    let is_lock = |path: &str| path.split('/').next_back() == Some("Cargo.lock") && packages::is_manifest(path);
    for (path, _) in files.iter().filter(|(path, bytes)| is_lock(path) && !bytes.is_empty()) {
        // INVARIANT: a lock file we read is never passed over in silence.
        assert!(
            inventory.manifests.contains(path) || inventory.gaps.iter().any(|gap| gap.what.contains(path.as_str()))
        );
    }
    !inventory.gaps.iter().any(|gap| gap.id == "packages/unreadable")
}

/// A signed note.
pub fn note(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    evidence::SignedNote::parse(text).is_ok()
}

/// An OpenAPI document.
pub fn openapi(bytes: &[u8]) -> bool {
    accepted(dast::load(bytes, "openapi.json").map(|api| api.routes()))
}

/// The kind of a reader as a line, then what it reads: as one document, and as a stream where it comes as one.
pub fn readings(bytes: &[u8]) -> bool {
    let Some((kind, bytes)) = file(bytes) else { return false };
    let Some(entry) = telemetry::reader(&kind) else {
        return false;
    };
    let mapping = telemetry::Mapping {
        name: Some("/rule/title".to_owned()),
        firing: Some("/state".to_owned()),
        severity: Some("/rule/level".to_owned()),
        technique: Some("/rule/tags".to_owned()),
        began: Some("/when".to_owned()),
    };
    let options = telemetry::Options {
        mapping,
        ..telemetry::Options::default()
    };
    let make = || (entry.make)("source", &options);
    let now = std::time::Duration::ZERO;
    if entry.delivery.contains(&telemetry::Delivery::Stream) {
        let stream = |size: usize| {
            let (mut reader, mut out) = (make(), Vec::new());
            bytes.chunks(size).for_each(|part| reader.push(part, now, &mut out));
            reader.end(now, &mut out);
            out
        };
        // INVARIANT: where a stream is cut changes nothing.
        assert_eq!(stream(7), stream(bytes.len().max(1)));
    }
    let mut out = Vec::new();
    let document = telemetry::Document {
        bytes: &bytes,
        media_type: "",
    };
    let read = make().document(&document, now, &mut out);
    let _ = (entry.answer)("application/x-protobuf", &read);
    // INVARIANT: of what is refused nothing is handed on.
    assert!(read.is_ok() || out.is_empty());
    read.is_ok_and(|taken| taken.rejected == 0)
        && !out.is_empty()
        && !out
            .iter()
            .any(|reading| matches!(reading, telemetry::Reading::Gap { .. }))
}

/// A trusted root, then a file of attestations, divided by [`SEPARATOR`].
pub fn sigstore(bytes: &[u8]) -> bool {
    use evidence::sigstore::{Artifact, Policy, TrustedRoot, Who, read};
    let mut parts = parts(bytes);
    let Ok(root) = TrustedRoot::from_bytes(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Ok(list) = read(parts.next().unwrap_or_default()) else {
        return false;
    };
    let policy = Policy::new(Who::Anyone);
    let answers = list
        .iter()
        .map(|one| one.verify(&root, &policy, Artifact::AnySubject, evidence::Timestamp::MAX));
    let answers: Vec<_> = answers.collect();
    for verified in answers.iter().flatten() {
        // INVARIANT: what is accepted has a witness, stands in a log, and went through every check.
        assert!(!verified.times().is_empty() && !verified.entries().is_empty());
        assert_eq!(
            verified.passed().last().map(|passed| passed.check.name()),
            Some("complete")
        );
    }
    answers.iter().all(Result::is_ok)
}

fn accepted<T>(read: Result<T, Vec<evidence::Diagnostic>>) -> bool {
    if let Err(found) = &read {
        assert!(!found.is_empty(), "a refusal says why");
    }
    read.is_ok()
}

/// A line of its own that divides an input into parts.
pub const SEPARATOR: &[u8] = b"\n--- part\n";

fn parts(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = text.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
        rest = at.map(|at| &text[at + SEPARATOR.len()..]);
        Some(&text[..at.unwrap_or(text.len())])
    })
}

/// The first line is the path.
fn file(part: &[u8]) -> Option<(String, Vec<u8>)> {
    let end = part.iter().position(|byte| *byte == b'\n')?;
    let path = std::str::from_utf8(&part[..end]).ok()?;
    Some((path.to_owned(), part[end + 1..].to_vec()))
}
