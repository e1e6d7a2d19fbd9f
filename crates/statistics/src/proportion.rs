//! How often something happens, from how often it did.

use crate::{Interval, Z_95, Z_95_ONE_SIDED};

/// The 95 % score interval of a share (Wilson 1927), without continuity correction. `None` where nothing was tried, or
/// more succeeded than was tried.
pub fn wilson(successes: u64, n: u64) -> Option<Interval> {
    wilson_at(successes, n, Z_95)
}

/// The score interval at `z` standard errors: [`Z_95`] of a two-sided 95 % interval.
pub fn wilson_at(successes: u64, n: u64, z: f64) -> Option<Interval> {
    if n == 0 || successes > n || !(z.is_finite() && z >= 0.0) {
        return None;
    }
    Some(score_interval(successes as f64 / n as f64, n as f64, z))
}

/// The score interval of the share `p` of `n`, which need not be whole: where some were lost on the way, as many as say
/// as much.
pub(crate) fn score_interval(p: f64, n: f64, z: f64) -> Interval {
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // At the ends the two terms are equal, and what is left of their difference is rounding.
    let low = if p <= 0.0 { 0.0 } else { (centre - half) / scale };
    let high = if p >= 1.0 { 1.0 } else { (centre + half) / scale };
    Interval { low, high }
}

/// The one-sided 95 % lower bound of a share: with this confidence it is at least so much.
pub fn wilson_low(successes: u64, n: u64) -> Option<f64> {
    wilson_at(successes, n, Z_95_ONE_SIDED).map(|interval| interval.low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(successes: u64, n: u64, expect: Option<(f64, f64)>) {
        let near = |(interval, (low, high)): (Interval, (f64, f64))| {
            (interval.low - low).abs() < 5e-5 && (interval.high - high).abs() < 5e-5
        };
        let got = wilson(successes, n);
        assert_eq!(got.is_some(), expect.is_some());
        assert!(got.zip(expect).is_none_or(near), "{got:?}");
    }

    /// Against values published in Newcombe 1998, table I.
    #[test]
    fn wilson_is_as_published() {
        check(81, 263, Some((0.2553, 0.3662)));
        check(15, 148, Some((0.0624, 0.1605)));
        check(0, 20, Some((0.0, 0.1611)));
        check(1, 29, Some((0.0061, 0.1718)));
    }

    #[test]
    fn what_is_no_share_has_no_interval() {
        check(0, 0, None);
        check(2, 1, None);
        assert_eq!(wilson_at(1, 2, f64::NAN), None);
        assert_eq!(wilson_low(0, 0), None);
        assert_eq!(wilson(7, 7).map(|interval| interval.high), Some(1.0));
    }

    /// The bound is the score test's: `low` is the share at which so many successes lie z standard errors away.
    #[test]
    fn the_lower_bound_is_where_the_score_test_just_rejects() {
        for (k, n) in [(1_u64, 5_u64), (9, 10), (30, 31), (500, 1000)] {
            let low = wilson_low(k, n).expect("a share");
            let (p, n) = (k as f64 / n as f64, n as f64);
            let score = (p - low) / (low * (1.0 - low) / n).sqrt();
            assert!((score - Z_95_ONE_SIDED).abs() < 1e-12, "{k}/{n}: {score}");
        }
    }
}
