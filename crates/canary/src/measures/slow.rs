//! # canary/slow
//! The share of requests that took longer than the limit, new version against old.
//!
//! ## What it does
//! Counts a request as slow when it took longer than `production.slow_ms`, and compares the share between old
//! and new in the same way as `canary/errors`, with `production.slow_margin`.
//!
//! ## Why it matters
//! A slow answer is an error that takes its time. A share over a limit says what users notice; a mean would hide
//! ten slow requests behind a thousand quick ones.
//!
//! ## Example
//! With `slow_ms = 250` and `slow_margin = 0.05`, 2 of 900 requests of the old version were slow and 80 of 450 of
//! the new one: the rollout halts.
//!
//! ## What to do instead
//! Compare the two versions' profiles on the slow route and fix what became slower. When the new cost is wanted,
//! raise `slow_ms` in `proofmark.toml`, where a reviewer sees it.
//!
//! ## References
//! - Wasserman, Ramdas, Balakrishnan, "Universal inference", PNAS 117 (2020), <https://arxiv.org/abs/1912.11436>
//! - Beyer et al., "Site Reliability Engineering", chapter 4 (service level objectives), O'Reilly 2016

use crate::Entry;

pub(super) const ENTRY: Entry = Entry {
    name: "slow",
    counts: |request| request.slow,
    margin: |limits| limits.slow_margin,
};
