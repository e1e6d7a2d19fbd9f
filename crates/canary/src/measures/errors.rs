//! # canary/errors
//! The share of requests that failed, new version against old.
//!
//! ## What it does
//! Counts a request as an error when it got no answer or an answer of the server's own fault (status 500 and
//! above), and compares the share between old and new. The rollout halts when the new version has more errors
//! than a quarter of `production.error_margin` above the old one, and is promoted when it has fewer than the whole
//! margin above it. Both are tests that hold however often one looks.
//!
//! ## Why it matters
//! A version that passed every earlier stage may still fail on real traffic. An error share is the first thing
//! users feel, and two versions beside each other at the same time see the same traffic, the same data and the
//! same neighbours, which a comparison with yesterday doesn't.
//!
//! ## Example
//! The old version answered 0 of 1,200 requests with an error, the new one 14 of 600: the e-value of "worse"
//! passes 20 and the weight goes back to zero.
//!
//! ## What to do instead
//! Read the new version's logs for the failing requests, fix them, and release again. When the failures are
//! wanted (an endpoint that was removed), change `production.request` so that the traffic no longer asks for them.
//!
//! ## References
//! - Wasserman, Ramdas, Balakrishnan, "Universal inference", PNAS 117 (2020), <https://arxiv.org/abs/1912.11436>
//! - Ramdas, Grünwald, Vovk, Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical
//!   Science 38 (2023), <https://arxiv.org/abs/2210.01948>

use crate::Entry;

pub(super) const ENTRY: Entry = Entry {
    name: "errors",
    counts: |request| request.error,
    margin: |limits| limits.error_margin,
};
