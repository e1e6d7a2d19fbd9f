//! The append-only log: a journal, Merkle tiles, signed checkpoints, proofs.
//!
//! Leaves are opaque: it deliberately doesn't know what an entry means, who may append it, or what time it is, and
//! it takes no lock (whoever opens a [`Log`] holds the store's writer lock). Checking proofs is `evidence`'s work.
//!
//! Start reading at [`Log::append`], where the crash order is; then [`Log::open`], which is recovery; then [`fsck`].
//!
//! # Crash order
//!
//! The journal is the log; all else follows from it and from the key. An append does, in this order:
//!
//! 1. The new entries are appended to `journal` in one write.
//! 2. The journal is synced. From here on the entries are in the log, acknowledged or not.
//! 3. The tiles and entry bundles that changed are put in place, each durably and at once.
//! 4. The checkpoint over the new size is signed and put in place of the old one, durably and at once. So nothing
//!    is ever signed that is not durable, and every tile that a checkpoint needs is there before the checkpoint.
//! 5. Partial tiles whose full tile is now there are removed.
//! 6. The caller gets its indices. So what was acknowledged is below the size of a durable checkpoint.
//!
//! Whatever fails, the [`Log`] is poisoned: a sync that failed says nothing about what is on the disk, so every
//! later call errors, and the way on is to open the log again.
//!
//! Opening reads the journal to its last whole entry. If that is below the checkpoint's size, or leads to another
//! root, the journal was rolled back or damaged and the log is refused: signing on would give one size two roots.
//! Entries beyond the checkpoint are kept, since a checkpoint over them may have been seen by somebody before the
//! crash took it away; the journal is then written anew as a whole, because a sync that failed earlier may have
//! left them readable but not durable. A torn tail was never acknowledged, and is dropped. Then tiles that differ
//! from the journal are rebuilt, and the checkpoint is signed over what is there.
//!
//! # What an attacker can do
//!
//! - Who can **read** the store reads every entry: leaves are stored as they are.
//! - Who can **write** the store can destroy it, and can have entries added, by writing them to the journal: the
//!   log vouches for order and permanence, never for what an entry says. They can't change or drop an entry below a
//!   checkpoint that somebody else holds: neither a consistency proof nor an inclusion proof would hold any more.
//! - They can **roll back** journal, tiles and checkpoint together to an earlier moment. Nothing in the store can
//!   tell; whoever kept a later checkpoint sees it, because no consistency proof leads from theirs to the new one.
//!   Rolling back the journal alone, or removing the checkpoint alone, is refused at open.
//! - Who has the **log's key** can sign two histories. Holding checkpoints in a second place is what shows it.
//!
//! # Files
//!
//! `journal` is our own format (see `format.rs`); `checkpoint`, `tile/<L>/<N>[.p/<W>]` and
//! `tile/entries/<N>[.p/<W>]` are as C2SP tlog-tiles has them (<https://c2sp.org/tlog-tiles>), so that a file server
//! over the store is a log that independent readers understand.

mod checkpoint;
mod error;
mod format;
mod fsck;
mod log;
mod tiles;
mod tree;

pub use error::LogError;
pub use format::ENTRY_BYTES_MAX;
pub use fsck::{FsckReport, fsck};
pub use log::{Log, Recovery};
