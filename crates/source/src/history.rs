//! What a path ever held: the commits that lead to HEAD, and every blob they brought in, each decoded once.
//!
//! Only what HEAD is made of counts, so that everyone who clones sees the same history; replace refs and grafts
//! play no part. Not here: what the blobs say. Start at [`History::of`].

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use evidence::Gap;
use gix::ObjectId;
use gix::objs::tree::EntryKind;
use gix::objs::{CommitRefIter, Find, TreeRefIter};
use gix::odb::pack;
use rayon::prelude::*;

use crate::SourceError;
use crate::repository::{FOLDER_BYTES_MAX, Repository, Revision};
use crate::walk::{escape, gap};

/// Of a pack, decoding everything once in delta order is cheaper than single objects from about this share on.
const SHARE_FOR_WHOLE_PACK: f64 = 0.2;
/// No single object of a pack is decoded beyond this: an object's stated size is not to be trusted.
const OBJECT_BYTES_MAX: usize = 1 << 30;

pub struct Commit {
    pub id: ObjectId,
    /// Seconds since 1970, as its author's clock had it.
    pub authored: i64,
}

/// Where a blob first came in.
pub struct Introduction {
    /// Index into [`History::commits`].
    pub commit: usize,
    /// Relative to the tree's root, as in [`crate::TreeFile`].
    pub path: String,
}

pub struct History {
    /// Parents before children, else by commit time: the first commit that holds a blob is the one that brought it in.
    pub commits: Vec<Commit>,
    /// How many of them changed something below the tree's root.
    pub touching: u64,
    /// Commits that were not looked at because of the limit.
    pub left_out: u64,
    pub blobs: HashMap<ObjectId, Introduction>,
    pub gaps: Vec<Gap>,
}

struct Node {
    id: ObjectId,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    committed: i64,
    authored: i64,
}

impl History {
    /// The history of the tree's root; empty before the first commit.
    pub fn of(repository: &Repository, commits_max: Option<u64>) -> Result<History, SourceError> {
        let mut history = History {
            commits: Vec::new(),
            touching: 0,
            left_out: 0,
            blobs: HashMap::new(),
            gaps: Vec::new(),
        };
        let Some(head) = repository.commit(Revision::Head)? else {
            return Ok(history);
        };
        let nodes = history.reachable(repository, head, commits_max)?;
        let nodes = parents_first(nodes);
        history.introduce(repository, &nodes);
        history.commits = nodes
            .into_iter()
            .map(|node| Commit {
                id: node.id,
                authored: node.authored,
            })
            .collect();
        Ok(history)
    }

    fn reachable(
        &mut self,
        repository: &Repository,
        head: ObjectId,
        commits_max: Option<u64>,
    ) -> Result<Vec<Node>, SourceError> {
        let git = &repository.git;
        let shallow: HashSet<ObjectId> = match git.shallow_commits() {
            Ok(Some(commits)) => commits.iter().copied().collect(),
            Ok(None) => HashSet::new(),
            Err(error) => return Err(repository.error(&error)),
        };
        if !shallow.is_empty() {
            let reason = "the clone is shallow: older commits are not here (git fetch --unshallow)";
            self.gaps.push(gap("source/shallow-history", ".", reason, true));
        }
        let mut seen = HashSet::from([head]);
        let mut pending = BinaryHeap::new();
        let mut nodes = Vec::new();
        let mut missing = 0_u64;
        let mut buffer = Vec::new();
        let mut meet = |id: ObjectId, pending: &mut BinaryHeap<_>, waiting: &mut HashMap<ObjectId, Node>| {
            let node = match git.objects.try_find(&id, &mut buffer) {
                Ok(Some(data)) => read_commit(id, data.data, git.object_hash()),
                _ => None,
            };
            match node {
                Some(mut node) => {
                    if shallow.contains(&id) {
                        node.parents.clear();
                    }
                    pending.push((node.committed, id));
                    waiting.insert(id, node);
                }
                None => missing += 1,
            }
        };
        let mut waiting = HashMap::new();
        meet(head, &mut pending, &mut waiting);
        while let Some((_, id)) = pending.pop() {
            if commits_max.is_some_and(|max| nodes.len() as u64 >= max) {
                self.left_out = pending.len() as u64 + 1;
                let reason = format!("only the newest {} commits were looked at", nodes.len());
                self.gaps.push(gap("source/history-cut", ".", &reason, true));
                break;
            }
            let node = waiting.remove(&id).expect("a pending commit is waiting");
            for parent in &node.parents {
                if seen.insert(*parent) {
                    meet(*parent, &mut pending, &mut waiting);
                }
            }
            nodes.push(node);
        }
        if missing > 0 {
            let reason = format!("{missing} commits are not in the object database");
            self.gaps.push(gap("source/missing-objects", ".", &reason, true));
        }
        Ok(nodes)
    }

    /// Notes for every blob the first commit and path that held it. Each tree is decoded once.
    fn introduce(&mut self, repository: &Repository, nodes: &[Node]) {
        let git = &repository.git;
        let mut walk = TreeWalk {
            git,
            seen: HashSet::new(),
            missing: 0,
            buffer: Vec::new(),
        };
        let mut below: HashMap<ObjectId, Option<ObjectId>> = HashMap::new();
        let mut root_of: HashMap<ObjectId, Option<ObjectId>> = HashMap::new();
        for (order, node) in nodes.iter().enumerate() {
            let root = *below
                .entry(node.tree)
                .or_insert_with(|| walk.below(node.tree, &repository.prefix));
            root_of.insert(node.id, root);
            let same = |parent: &ObjectId| root_of.get(parent).is_some_and(|other| *other == root);
            let touches = if node.parents.is_empty() {
                root.is_some()
            } else {
                !node.parents.iter().any(same)
            };
            self.touching += u64::from(touches);
            if let Some(root) = root {
                walk.introduce(root, order, &mut self.blobs);
            }
        }
        if walk.missing > 0 {
            let reason = format!(
                "{} folders of older commits are not in the object database",
                walk.missing
            );
            self.gaps.push(gap("source/missing-objects", ".", &reason, true));
        }
    }
}

struct TreeWalk<'a> {
    git: &'a gix::Repository,
    seen: HashSet<ObjectId>,
    missing: u64,
    buffer: Vec<u8>,
}

impl TreeWalk<'_> {
    fn below(&mut self, tree: ObjectId, prefix: &[Vec<u8>]) -> Option<ObjectId> {
        prefix.iter().try_fold(tree, |tree, part| {
            let bytes = self.bytes(tree)?;
            TreeRefIter::from_bytes(bytes, tree.kind())
                .filter_map(Result::ok)
                .find(|entry| entry.filename == part.as_slice() && entry.mode.is_tree())
                .map(|entry| entry.oid.to_owned())
        })
    }

    fn introduce(&mut self, root: ObjectId, commit: usize, blobs: &mut HashMap<ObjectId, Introduction>) {
        let mut pending = vec![(root, String::new())];
        while let Some((tree, folder)) = pending.pop() {
            if !self.seen.insert(tree) {
                continue;
            }
            let Some(bytes) = self.bytes(tree) else { continue };
            let mut folders = Vec::new();
            for entry in TreeRefIter::from_bytes(bytes, tree.kind()).filter_map(Result::ok) {
                match entry.mode.kind() {
                    EntryKind::Tree => folders.push((entry.oid.to_owned(), entry.filename.to_vec())),
                    EntryKind::Blob | EntryKind::BlobExecutable if !blobs.contains_key(entry.oid) => {
                        let path = format!("{folder}{}", escape(entry.filename));
                        blobs.insert(entry.oid.to_owned(), Introduction { commit, path });
                    }
                    _ => {}
                }
            }
            for (id, name) in folders {
                if folder.len() < FOLDER_BYTES_MAX && !self.seen.contains(&id) {
                    pending.push((id, format!("{folder}{}/", escape(&name))));
                }
            }
        }
    }

    fn bytes(&mut self, tree: ObjectId) -> Option<&[u8]> {
        if tree.is_empty_tree() {
            return Some(&[]);
        }
        let found = matches!(self.git.objects.try_find(&tree, &mut self.buffer), Ok(Some(data)) if data.kind == gix::objs::Kind::Tree);
        if !found {
            self.missing += 1;
            return None;
        }
        Some(&self.buffer)
    }
}

fn read_commit(id: ObjectId, bytes: &[u8], hash: gix::hash::Kind) -> Option<Node> {
    let tree = CommitRefIter::from_bytes(bytes, hash).tree_id().ok()?;
    let parents = CommitRefIter::from_bytes(bytes, hash).parent_ids().collect();
    let seconds = |signature: gix::actor::SignatureRef<'_>| signature.seconds();
    let committed = CommitRefIter::from_bytes(bytes, hash).committer().map_or(0, seconds);
    let authored = CommitRefIter::from_bytes(bytes, hash).author().map_or(0, seconds);
    Some(Node {
        id,
        tree,
        parents,
        committed,
        authored,
    })
}

/// Topological order; where it leaves a choice, the older commit and then the smaller id goes first.
fn parents_first(nodes: Vec<Node>) -> Vec<Node> {
    let index: HashMap<ObjectId, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id, at)).collect();
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut waiting_for = vec![0_usize; nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for parent in node.parents.iter().filter_map(|parent| index.get(parent)) {
            children[*parent].push(at);
            waiting_for[at] += 1;
        }
    }
    let ready = |at: usize| Reverse((nodes[at].committed, nodes[at].id, at));
    let mut heap: BinaryHeap<_> = (0..nodes.len()).filter(|at| waiting_for[*at] == 0).map(ready).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(Reverse((_, _, at))) = heap.pop() {
        order.push(at);
        for child in &children[at] {
            waiting_for[*child] -= 1;
            if waiting_for[*child] == 0 {
                heap.push(ready(*child));
            }
        }
    }
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| nodes[at].take()).collect()
}

/// What became of a blob.
pub enum Blob<'a> {
    Bytes(&'a [u8]),
    /// Not decoded, because it is larger than the limit.
    TooLarge(u64),
    Missing,
}

/// Shows each wanted blob to `visit` exactly once, from several threads and in no particular order.
pub fn each_blob(
    repository: &Repository,
    wanted: &HashSet<ObjectId>,
    bytes_max: u64,
    pool: &rayon::ThreadPool,
    visit: &(dyn Fn(ObjectId, Blob<'_>) + Sync),
) {
    let left = Mutex::new(wanted.clone());
    let take = |id: &ObjectId| {
        left.lock()
            .expect("no visitor panics while it holds the lock")
            .remove(id)
    };
    for index in pack_indices(&repository.git) {
        whole_pack(
            &repository.git,
            &index,
            wanted,
            pool.current_num_threads(),
            &|id, bytes| {
                if take(&id) {
                    let blob = if bytes.len() as u64 > bytes_max {
                        Blob::TooLarge(bytes.len() as u64)
                    } else {
                        Blob::Bytes(bytes)
                    };
                    visit(id, blob);
                }
            },
        );
    }
    let mut rest: Vec<ObjectId> = left
        .into_inner()
        .expect("no visitor panics while it holds the lock")
        .into_iter()
        .collect();
    rest.sort();
    let shared = repository.git.clone().into_sync();
    let thread_local = || {
        let mut git = shared.to_thread_local();
        git.objects.ignore_replacements = true;
        (git, Vec::new())
    };
    pool.install(|| {
        rest.par_chunks(64).for_each_init(thread_local, |(git, buffer), ids| {
            for id in ids {
                visit(*id, one_blob(git, *id, bytes_max, buffer));
            }
        });
    });
}

fn one_blob<'a>(git: &gix::Repository, id: ObjectId, bytes_max: u64, buffer: &'a mut Vec<u8>) -> Blob<'a> {
    match git.try_find_header(id) {
        Ok(Some(header)) if header.size() > bytes_max => Blob::TooLarge(header.size()),
        Ok(Some(_)) => match git.objects.try_find(&id, buffer) {
            Ok(Some(_)) => Blob::Bytes(buffer),
            _ => Blob::Missing,
        },
        _ => Blob::Missing,
    }
}

/// The pack indices of the repository and of those it borrows objects from, sorted.
fn pack_indices(git: &gix::Repository) -> Vec<PathBuf> {
    let store = git.objects.store_ref();
    let mut folders = vec![store.path().to_owned()];
    folders.extend(store.alternate_db_paths().unwrap_or_default());
    let mut indices: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder.join("pack")).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "idx"))
        .collect();
    indices.sort();
    indices.dedup();
    indices
}

/// Decodes a pack in delta order when enough of it is wanted. Whatever goes wrong is left to single look-ups.
fn whole_pack(
    git: &gix::Repository,
    path: &std::path::Path,
    wanted: &HashSet<ObjectId>,
    threads: usize,
    visit: &(dyn Fn(ObjectId, &[u8]) + Sync),
) {
    let Ok(index) = pack::index::File::at(path, git.object_hash()) else {
        return;
    };
    let here = index.iter().filter(|entry| wanted.contains(&entry.oid)).count();
    if (here as f64) < f64::from(index.num_objects()) * SHARE_FOR_WHOLE_PACK || here < 64 {
        return;
    }
    let Ok(data) = pack::data::File::at(path.with_extension("pack"), git.object_hash()) else {
        return;
    };
    let options = pack::index::traverse::with_index::Options {
        check: pack::index::traverse::SafetyCheck::SkipFileAndObjectChecksumVerificationAndNoAbortOnDecodeError,
        thread_limit: Some(threads),
        alloc_limit_bytes: Some(OBJECT_BYTES_MAX),
    };
    let processor = |kind: gix::objs::Kind, bytes: &[u8], entry: &pack::index::Entry, _: &dyn gix::Progress| {
        if kind == gix::objs::Kind::Blob && wanted.contains(&entry.oid) {
            visit(entry.oid, bytes);
        }
        Ok(())
    };
    let interrupted = AtomicBool::new(false);
    let outcome = index.traverse_with_index(&data, processor, &mut gix::progress::Discard, &interrupted, options);
    interrupted.store(outcome.is_err(), Ordering::Relaxed);
}
