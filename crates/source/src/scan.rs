//! Looks for secrets in a tree and in its history, and makes findings of them.
//!
//! One finding is one secret value under one rule, wherever it stands. The result is the same on any number of
//! threads. Not here: how a secret looks (`rules/`) or is found (`matcher.rs`). Start at [`scan_secrets`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use evidence::{Coverage, Digest, Finding, FindingId, Gap, Observation, Span, Timestamp};
use gix::ObjectId;
use rayon::prelude::*;

use crate::SourceError;
use crate::decode::{Content, binary, content, media};
use crate::history::{Blob, History, each_blob};
use crate::matcher::{Lines, MATCHES_MAX, Match, Matcher, line_around};
use crate::repository::Repository;
use crate::rule::{Text, Validation, rules};
use crate::suppress::{self, Allow, Lists};
use crate::walk::{Tree, TreeFile, gap, read_file};

/// How to scan.
#[derive(Clone, Copy)]
pub struct ScanOptions<'a> {
    /// Look at every commit that leads to HEAD, too. Without it a secret that was removed is not found. Default: true.
    pub history: bool,
    /// Threads; 0 for one a processor. Default: 0.
    pub threads: usize,
    /// Larger files are gaps. Default: 64 MiB.
    pub file_bytes_max: u64,
    /// Look at no more than the newest so many commits; the rest is a gap. Default: none.
    pub commits_max: Option<u64>,
    /// Called from any thread as work goes on.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Default for ScanOptions<'_> {
    fn default() -> Self {
        ScanOptions {
            history: true,
            threads: 0,
            file_bytes_max: 64 << 20,
            commits_max: None,
            progress: None,
        }
    }
}

/// How far a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is counted: `files`, `commits` or `blobs`.
    pub unit: &'static str,
    pub done: u64,
    pub total: u64,
}

/// Looks for secrets in the tree and, if asked, in the history of its path.
///
/// Findings have rule `secret/…`; one that stands only in history has its first commit in the span and `history`
/// in its properties (commit and author date); one in the tree has `since` where history knows it. Further
/// properties: `validation` (`checksum`, `format`, `entropy`), `places` and `also` where it stands more than once,
/// `fixture` for paths of tests and examples, `suppressed-by`. No property tells anything about the value.
///
/// Coverage units: `files`, `bytes`, `commits`, `blobs`.
pub fn scan_secrets(tree: &Tree, options: &ScanOptions<'_>) -> Result<Observation, SourceError> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| SourceError::Threads {
            threads,
            reason: error.to_string(),
        })?;
    let mut scan = Scan {
        options,
        coverage: Coverage::default(),
        gaps: tree.gaps.clone(),
        secrets: BTreeMap::new(),
    };
    let repository = if options.history { scan.repository(tree) } else { None };
    let hash = repository.as_ref().map(|repository| repository.git.object_hash());
    let blobs_of_tree = pool.install(|| scan.tree(tree, hash));
    let history = repository.and_then(|repository| scan.history(&repository, &blobs_of_tree, &pool));
    Ok(scan.finish(tree, history.as_ref(), &blobs_of_tree))
}

struct Scan<'a> {
    options: &'a ScanOptions<'a>,
    coverage: Coverage,
    gaps: Vec<Gap>,
    /// By rule and digest of the value: kept in memory only, never told.
    secrets: BTreeMap<(usize, Digest), Secret>,
}

#[derive(Default)]
struct Secret {
    in_tree: Vec<Place>,
    /// The earliest.
    in_history: Option<(usize, Place)>,
}

/// Where a secret stands, and everything about it that is not the value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    path: String,
    line: u32,
    column: u32,
    context: String,
    validation: Validation,
    allow: Option<Allow>,
}

/// What one text holds.
#[derive(Default)]
struct Looked {
    found: Vec<(usize, Digest, Place)>,
    gaps: Vec<Gap>,
    /// Whether anything was searched.
    searched: bool,
}

impl Scan<'_> {
    /// The repository around the tree; that there is none, or a broken one, is a gap.
    fn repository(&mut self, tree: &Tree) -> Option<Repository> {
        match Repository::around(&tree.root) {
            Ok(Some(repository)) => return Some(repository),
            Ok(None) => self.gaps.push(gap(
                "source/no-history",
                ".",
                "there is no git repository around the tree",
                false,
            )),
            Err(_) => self.gaps.push(unreadable_history()),
        }
        None
    }

    /// Returns the git object id of each file of the tree, where there is a repository.
    fn tree(&mut self, tree: &Tree, hash: Option<gix::hash::Kind>) -> HashMap<ObjectId, Vec<usize>> {
        let done = AtomicU64::new(0);
        let files: Vec<(usize, &TreeFile)> = tree
            .files
            .iter()
            .enumerate()
            .filter(|(_, file)| file.symlink.is_none())
            .collect();
        let total = files.len() as u64;
        let looked: Vec<(Looked, Option<ObjectId>)> = files
            .par_iter()
            .map(|(_, file)| {
                let looked = self.file(file, hash);
                self.report("files", done.fetch_add(1, Ordering::Relaxed) + 1, total);
                looked
            })
            .collect();
        let mut ids: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for ((index, file), (looked, id)) in files.iter().zip(looked) {
            self.coverage.add("files", u64::from(looked.searched), 1);
            self.coverage
                .add("bytes", if looked.searched { file.bytes } else { 0 }, file.bytes);
            self.gaps.extend(looked.gaps);
            for (rule, value, place) in looked.found {
                self.secrets.entry((rule, value)).or_default().in_tree.push(place);
            }
            if let Some(id) = id {
                ids.entry(id).or_default().push(*index);
            }
        }
        ids
    }

    fn file(&self, file: &TreeFile, hash: Option<gix::hash::Kind>) -> (Looked, Option<ObjectId>) {
        let only = |gap| {
            (
                Looked {
                    gaps: vec![gap],
                    ..Looked::default()
                },
                None,
            )
        };
        if file.bytes > self.options.file_bytes_max {
            return only(too_large(&file.path, file.bytes, self.options.file_bytes_max));
        }
        match read_file(file, self.options.file_bytes_max) {
            Ok(bytes) => {
                let id = hash.and_then(|hash| gix::objs::compute_hash(hash, gix::objs::Kind::Blob, &bytes).ok());
                (look(&file.path, &bytes), id)
            }
            Err(SourceError::TooLarge { bytes, bytes_max, .. }) => only(too_large(&file.path, bytes, bytes_max)),
            Err(error) => only(gap("source/unreadable", &file.path, &error.to_string(), true)),
        }
    }

    fn history(
        &mut self,
        repository: &Repository,
        in_tree: &HashMap<ObjectId, Vec<usize>>,
        pool: &rayon::ThreadPool,
    ) -> Option<History> {
        let Ok(mut history) = History::of(repository, self.options.commits_max) else {
            self.gaps.push(unreadable_history());
            return None;
        };
        self.report("commits", history.commits.len() as u64, history.commits.len() as u64);
        self.gaps.append(&mut history.gaps);
        self.coverage
            .add("commits", history.touching, history.touching + history.left_out);
        // Pictures and the like are known by their names; what is in the tree was looked at there.
        let wanted: HashSet<ObjectId> = history
            .blobs
            .iter()
            .filter(|(id, introduction)| !in_tree.contains_key(*id) && !media(&introduction.path))
            .map(|(id, _)| *id)
            .collect();
        let skipped = history
            .blobs
            .iter()
            .filter(|(id, one)| !in_tree.contains_key(*id) && media(&one.path))
            .count();
        let collected = Mutex::new(Collected::default());
        let done = AtomicU64::new(0);
        let visit = |id: ObjectId, blob: Blob<'_>| {
            let introduction = &history.blobs[&id];
            let looked = match blob {
                Blob::Bytes(bytes) => Some(look(&introduction.path, bytes)),
                Blob::TooLarge(_) | Blob::Missing => None,
            };
            let mut collected = collected.lock().expect("nothing panics while it holds the lock");
            match (looked, blob) {
                (Some(looked), _) => collected.take(looked, introduction.commit),
                (None, Blob::TooLarge(bytes)) => collected.too_large.push((introduction.path.clone(), bytes)),
                (None, _) => collected.missing += 1,
            }
            drop(collected);
            self.report("blobs", done.fetch_add(1, Ordering::Relaxed) + 1, wanted.len() as u64);
        };
        each_blob(repository, &wanted, self.options.file_bytes_max, pool, &visit);
        let collected = collected.into_inner().expect("nothing panics while it holds the lock");
        let looked = history.blobs.len() as u64
            - skipped as u64
            - collected.too_large.len() as u64
            - collected.missing
            - collected.archives;
        self.coverage.add("blobs", looked, history.blobs.len() as u64);
        self.join(collected);
        Some(history)
    }

    fn join(&mut self, collected: Collected) {
        let limit = self.options.file_bytes_max;
        let mut paths: BTreeMap<String, u64> = BTreeMap::new();
        for (path, bytes) in collected.too_large {
            let largest = paths.entry(path).or_default();
            *largest = bytes.max(*largest);
        }
        self.gaps.extend(
            paths
                .into_iter()
                .map(|(path, bytes)| too_large(&format!("{path} (in history)"), bytes, limit)),
        );
        if collected.missing > 0 {
            let reason = format!(
                "{} files of older commits are not in the object database",
                collected.missing
            );
            self.gaps.push(gap("source/missing-objects", ".", &reason, true));
        }
        if collected.archives > 0 {
            let what = format!("{} archives in history", collected.archives);
            self.gaps
                .push(gap("source/archive", &what, "archives are not opened", false));
        }
        for (commit, rule, value, place) in collected.found {
            let earliest = &mut self.secrets.entry((rule, value)).or_default().in_history;
            if earliest
                .as_ref()
                .is_none_or(|known| (commit, &place) < (known.0, &known.1))
            {
                *earliest = Some((commit, place));
            }
        }
    }

    fn finish(
        mut self,
        tree: &Tree,
        history: Option<&History>,
        in_tree: &HashMap<ObjectId, Vec<usize>>,
    ) -> Observation {
        let lists = Lists::of(tree);
        self.gaps.extend(lists.gaps.iter().cloned());
        let since = first_commits(tree, history, in_tree);
        let mut secrets: Vec<(usize, Secret)> = self
            .secrets
            .into_iter()
            .map(|((rule, _), secret)| (rule, secret))
            .collect();
        for (_, secret) in &mut secrets {
            secret.in_tree.sort();
        }
        // The order decides about ordinals: what stands in the tree goes first.
        secrets.sort_by(|(rule, a), (other, b)| {
            let key = |secret: &Secret| (secret.in_tree.first().cloned(), secret.in_history.clone());
            (a.in_tree.is_empty(), key(a), rule).cmp(&(b.in_tree.is_empty(), key(b), other))
        });
        let mut ordinals: HashMap<(usize, String, String), usize> = HashMap::new();
        let mut findings = Vec::new();
        for (rule, secret) in secrets {
            let place = secret
                .in_tree
                .first()
                .or(secret.in_history.as_ref().map(|(_, place)| place))
                .expect("a secret stands somewhere");
            let ordinal = ordinals
                .entry((rule, place.path.clone(), place.context.clone()))
                .or_default();
            let id = FindingId::new(rules()[rule].id, &place.path, &place.context, *ordinal);
            *ordinal += 1;
            for place in secret
                .in_tree
                .iter()
                .filter(|place| place.allow == Some(Allow::WithoutReason))
            {
                self.gaps
                    .push(suppress::without_reason(&format!("{}:{}", place.path, place.line)));
            }
            findings.push(finding(rule, &secret, id, &lists, history, &since));
        }
        let mut observation = Observation {
            findings,
            gaps: self.gaps,
            coverage: self.coverage,
        };
        observation.sort();
        observation
    }

    fn report(&self, unit: &'static str, done: u64, total: u64) {
        if let Some(progress) = self.options.progress {
            progress(Progress { unit, done, total });
        }
    }
}

#[derive(Default)]
struct Collected {
    found: Vec<(usize, usize, Digest, Place)>,
    too_large: Vec<(String, u64)>,
    missing: u64,
    archives: u64,
}

impl Collected {
    fn take(&mut self, looked: Looked, commit: usize) {
        self.archives += u64::from(!looked.searched);
        self.found.extend(
            looked
                .found
                .into_iter()
                .map(|(rule, value, place)| (commit, rule, value, place)),
        );
    }
}

/// Searches one file.
fn look(path: &str, bytes: &[u8]) -> Looked {
    let (text, is_binary) = match content(path, bytes) {
        Content::Media => return Looked::default(),
        Content::Archive { encrypted } => {
            let (id, reason) = match encrypted {
                true => ("source/encrypted-archive", "its members are encrypted"),
                false => ("source/archive", "archives are not opened"),
            };
            return Looked {
                gaps: vec![gap(id, path, reason, false)],
                ..Looked::default()
            };
        }
        Content::Text(text) => {
            let is_binary = binary(&text);
            (text, is_binary)
        }
    };
    let mut looked = Looked {
        searched: true,
        ..Looked::default()
    };
    let mut matches = Matcher::get().find(&Text { bytes: &text, path });
    // In machine code anything looks random.
    matches.retain(|one| !is_binary || one.validation > Validation::Entropy);
    if matches.len() > MATCHES_MAX {
        let reason = format!("{} matches, of which the first {MATCHES_MAX} count", matches.len());
        looked.gaps.push(gap("source/too-many-matches", path, &reason, false));
        matches.truncate(MATCHES_MAX);
    }
    let mut lines = Lines::new(&text);
    for (index, one) in matches.iter().enumerate() {
        let (line, column) = lines.place(one.value.start);
        let place = Place {
            path: path.to_owned(),
            line,
            column,
            context: context(&text, &matches, index),
            validation: one.validation,
            allow: suppress::inline(&text, &one.value, rules()[one.rule].id),
        };
        looked
            .found
            .push((one.rule, Digest::of(&text[one.value.clone()]), place));
    }
    looked
}

/// The line around a match with every value on it taken out.
fn context(text: &[u8], matches: &[Match], index: usize) -> String {
    const CONTEXT_BYTES_MAX: usize = 160;
    let around = line_around(text, &matches[index].value, CONTEXT_BYTES_MAX);
    let mut out = Vec::new();
    let mut at = around.start;
    let first = matches[..index]
        .iter()
        .rposition(|one| one.value.end <= around.start)
        .map_or(0, |before| before + 1);
    for one in matches[first..].iter().take_while(|one| one.value.start < around.end) {
        out.extend_from_slice(&text[at..one.value.start.max(at)]);
        out.push(b'*');
        at = one.value.end.max(at);
    }
    out.extend_from_slice(&text[at.min(around.end)..around.end]);
    String::from_utf8_lossy(out.trim_ascii()).into_owned()
}

/// For each path of the tree whose very content is in history, the first commit that held it.
fn first_commits(
    tree: &Tree,
    history: Option<&History>,
    in_tree: &HashMap<ObjectId, Vec<usize>>,
) -> HashMap<String, usize> {
    let Some(history) = history else { return HashMap::new() };
    let mut commits = HashMap::new();
    for (id, files) in in_tree {
        if let Some(introduction) = history.blobs.get(id) {
            commits.extend(
                files
                    .iter()
                    .map(|index| (tree.files[*index].path.clone(), introduction.commit)),
            );
        }
    }
    commits
}

fn finding(
    rule: usize,
    secret: &Secret,
    id: FindingId,
    lists: &Lists,
    history: Option<&History>,
    since: &HashMap<String, usize>,
) -> Finding {
    let rule = &rules()[rule];
    let place = secret
        .in_tree
        .first()
        .or(secret.in_history.as_ref().map(|(_, place)| place))
        .expect("a secret stands somewhere");
    let mut properties = BTreeMap::from([("validation".to_owned(), place.validation.name().to_owned())]);
    let first = secret
        .in_tree
        .iter()
        .filter_map(|place| since.get(&place.path))
        .copied();
    let first = first.chain(secret.in_history.as_ref().map(|(commit, _)| *commit)).min();
    let commit = first.and_then(|first| history.map(|history| &history.commits[first]));
    let only_in_history = secret.in_tree.is_empty();
    if let Some(commit) = commit {
        let date =
            Timestamp::from_second(commit.authored).map_or_else(|_| "unknown date".to_owned(), |date| date.to_string());
        let name = if only_in_history { "history" } else { "since" };
        properties.insert(name.to_owned(), format!("{} {date}", commit.id));
    }
    if secret.in_tree.len() > 1 {
        const ALSO_MAX: usize = 10;
        let also: Vec<String> = secret.in_tree[1..]
            .iter()
            .take(ALSO_MAX)
            .map(|place| format!("{}:{}", place.path, place.line))
            .collect();
        properties.insert("places".to_owned(), secret.in_tree.len().to_string());
        properties.insert("also".to_owned(), also.join(", "));
    }
    if fixture(&place.path) {
        properties.insert("fixture".to_owned(), "true".to_owned());
    }
    let suppressed_by = suppressed_by(secret, place, &id, lists);
    if let Some(by) = &suppressed_by {
        properties.insert("suppressed-by".to_owned(), by.clone());
    }
    Finding {
        id,
        rule: rule.id.to_owned(),
        severity: rule.severity,
        message: message(rule.what, place.validation, only_in_history),
        span: Some(Span {
            path: place.path.clone(),
            line: place.line,
            column: place.column,
            commit: commit.filter(|_| only_in_history).map(|commit| commit.id.to_string()),
        }),
        route: None,
        component: None,
        fix: rule.fix.to_owned(),
        suppressed: suppressed_by.is_some(),
        properties,
    }
}

/// An inline marker counts only if each place in the tree has one.
fn suppressed_by(secret: &Secret, place: &Place, id: &FindingId, lists: &Lists) -> Option<String> {
    if let Some(reason) = lists.reason(&id.0) {
        return Some(format!("baseline: {reason}"));
    }
    let places = if secret.in_tree.is_empty() {
        std::slice::from_ref(place)
    } else {
        &secret.in_tree
    };
    let allowed = |place: &Place| match place.allow {
        Some(Allow::Inline) => Some("inline"),
        Some(Allow::Gitleaks) => Some("gitleaks"),
        _ if lists.gitleaks(&place.path, place.line) => Some("gitleaks"),
        _ => None,
    };
    let by: Option<Vec<&str>> = places.iter().map(allowed).collect();
    by.and_then(|by| by.first().map(|by| (*by).to_owned()))
}

fn message(what: &str, validation: Validation, only_in_history: bool) -> String {
    // Letters that are spoken with a vowel first: `an npm token`, `an xAI key`.
    let vowel = what.starts_with(['A', 'E', 'I', 'O', 'a', 'e', 'i', 'o'])
        || ["npm", "xAI", "NVIDIA"].iter().any(|name| what.starts_with(name));
    let proof = if validation == Validation::Checksum {
        ", proven by its own form,"
    } else {
        ""
    };
    let place = if only_in_history {
        "stands in the history"
    } else {
        "stands here"
    };
    format!("{} {what}{proof} {place}", if vowel { "an" } else { "a" })
}

/// Paths where made-up secrets are usual. A hint for people: nothing is left out for it.
fn fixture(path: &str) -> bool {
    const FOLDERS: &[&str] = &[
        "test",
        "tests",
        "testdata",
        "fixtures",
        "fixture",
        "spec",
        "specs",
        "__tests__",
        "examples",
        "example",
        "mocks",
        "mock",
        "samples",
        "docs",
    ];
    let lower = path.to_ascii_lowercase();
    let file = lower.rsplit('/').next().unwrap_or("");
    lower.split('/').any(|part| FOLDERS.contains(&part))
        || file.contains("_test.")
        || file.contains(".test.")
        || file.contains(".spec.")
}

fn unreadable_history() -> Gap {
    gap(
        "source/unreadable-history",
        ".",
        "the git repository can't be read",
        true,
    )
}

fn too_large(path: &str, bytes: u64, bytes_max: u64) -> Gap {
    // Nobody keeps a password in a picture: its size blocks nothing.
    let blocks = !media(path.trim_end_matches(" (in history)"));
    gap(
        "source/too-large",
        path,
        &format!("{bytes} bytes, at most {bytes_max} are looked at"),
        blocks,
    )
}
