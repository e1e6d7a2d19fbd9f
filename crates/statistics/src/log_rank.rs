//! Is one arm faster than the other? The log-rank test, by strata, and by re-randomisation within blocks.

use crate::{Time, chi_squared_sf, normal_sf};

/// Sums of re-randomised halves of a design that are counted one by one, each half; beyond, the normal limit is used.
const HALF_MAX: usize = 1_300;
/// Sums that differ by less than this share of the largest are equal: the same runs, added in another order.
const ROUNDING: f64 = 1e-9;

/// The log-rank test (Mantel 1966) with its hypergeometric variance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogRank {
    /// Chi-squared with one degree of freedom where both arms are alike; 0 where nothing can differ.
    pub chi2: f64,
    pub p: f64,
}

/// Runs that were randomised among themselves, by arm.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Block {
    pub treatment: Vec<Time>,
    pub control: Vec<Time>,
}

/// A log-rank statistic held against all the ways in which the arms could have been drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permuted {
    /// Observed less expected events of the treatment, given the blocks: positive where the treatment is faster.
    pub excess: f64,
    /// Two-sided mid-p (Lancaster 1961): half of what is equally extreme counts.
    pub p: f64,
    pub method: Method,
}

/// How a [`Permuted`] was held against the other assignments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Each of so many was counted.
    Exact { assignments: f64 },
    /// Their exact mean and variance, and the normal limit: for designs too large to count.
    Normal,
}

/// Compares two groups.
pub fn log_rank(one: &[Time], other: &[Time]) -> LogRank {
    judged(excess_and_variance(one, other))
}

/// Compares two arms within strata: sums what was observed, expected and varies over them (Mantel and Haenszel).
pub fn log_rank_stratified(blocks: &[Block]) -> LogRank {
    let sums = blocks
        .iter()
        .map(|block| excess_and_variance(&block.treatment, &block.control));
    judged(sums.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
}

/// The test of a blocked design: log-rank scores of all runs together, and the sum of those of the treatment against
/// every assignment of arms that the blocks allowed.
///
/// Its level holds whatever the delays look like, since nothing but the assignment is random. Runs are scored together
/// and not block by block: in blocks of two or four, a stratified log-rank test has little left to compare.
pub fn permuted_log_rank(blocks: &[Block]) -> Permuted {
    let scored = scores(blocks);
    let (mut excess, mut variance, mut largest) = (0.0, 0.0, 0.0_f64);
    for (scores, treated) in &scored {
        let n = scores.len() as f64;
        let m = *treated as f64;
        let mean = scores.iter().sum::<f64>() / n.max(1.0);
        let squares: f64 = scores.iter().map(|score| (score - mean).powi(2)).sum();
        excess += scores[..*treated].iter().map(|score| score - mean).sum::<f64>();
        variance += if scores.len() > 1 {
            squares * m * (n - m) / (n * (n - 1.0))
        } else {
            0.0
        };
        largest += scores.iter().map(|score| (score - mean).abs()).sum::<f64>();
    }
    let rounding = ROUNDING * largest;
    // Every assignment gives the same: mid-p would call that a half.
    if largest == 0.0 || variance <= rounding * rounding {
        return Permuted {
            excess: 0.0,
            p: 1.0,
            method: Method::Exact { assignments: 1.0 },
        };
    }
    match halves(&scored) {
        Some((one, other)) => {
            let all = one.len() as f64 * other.len() as f64;
            let beyond = |edge: f64| above(&one, &other, edge) as f64 + below(&one, &other, -edge) as f64;
            // What is more extreme, and what is at least as extreme: between them lies what is equal.
            let p = if excess.abs() <= rounding {
                0.5 * (beyond(rounding) / all + 1.0)
            } else {
                0.5 * (beyond(excess.abs() + rounding) + beyond(excess.abs() - rounding)) / all
            };
            Permuted {
                excess,
                p,
                method: Method::Exact { assignments: all },
            }
        }
        None => {
            let p = 2.0 * normal_sf(excess.abs() / variance.sqrt());
            Permuted {
                excess,
                p,
                method: Method::Normal,
            }
        }
    }
}

fn judged((excess, variance): (f64, f64)) -> LogRank {
    let chi2 = if variance > 0.0 {
        excess * excess / variance
    } else {
        0.0
    };
    LogRank {
        chi2,
        p: chi_squared_sf(chi2, 1.0),
    }
}

/// Observed less expected events of the first group, and the variance of that.
fn excess_and_variance(one: &[Time], other: &[Time]) -> (f64, f64) {
    let mut all: Vec<(Time, bool)> = one.iter().map(|time| (*time, true)).collect();
    all.extend(other.iter().map(|time| (*time, false)));
    all.sort_by(|a, b| a.0.seconds.total_cmp(&b.0.seconds));
    let (mut at_risk, mut of_one) = (all.len() as f64, one.len() as f64);
    let (mut excess, mut variance) = (0.0, 0.0);
    for together in all.chunk_by(|a, b| a.0.seconds == b.0.seconds) {
        let events = together.iter().filter(|(time, _)| time.observed).count() as f64;
        let events_of_one = together.iter().filter(|(time, one)| time.observed && *one).count() as f64;
        let share = of_one / at_risk;
        excess += events_of_one - events * share;
        if at_risk > 1.0 {
            variance += events * share * (1.0 - share) * (at_risk - events) / (at_risk - 1.0);
        }
        at_risk -= together.len() as f64;
        of_one -= together.iter().filter(|(_, one)| *one).count() as f64;
    }
    (excess, variance)
}

/// The log-rank score of each run: 1 if it happened, less the hazard that all runs together had gone through by then
/// (Nelson and Aalen). By block, the treatment's first, and how many those are.
fn scores(blocks: &[Block]) -> Vec<(Vec<f64>, usize)> {
    let mut all: Vec<(Time, usize, usize)> = Vec::new();
    for (number, block) in blocks.iter().enumerate() {
        let runs = block.treatment.iter().chain(&block.control);
        all.extend(runs.enumerate().map(|(place, time)| (*time, number, place)));
    }
    all.sort_by(|a, b| a.0.seconds.total_cmp(&b.0.seconds));
    let empty = |block: &Block| {
        (
            vec![0.0; block.treatment.len() + block.control.len()],
            block.treatment.len(),
        )
    };
    let mut scored: Vec<(Vec<f64>, usize)> = blocks.iter().map(empty).collect();
    let (mut at_risk, mut hazard) = (all.len() as f64, 0.0);
    for together in all.chunk_by(|a, b| a.0.seconds == b.0.seconds) {
        let events = together.iter().filter(|(time, _, _)| time.observed).count() as f64;
        hazard += events / at_risk;
        for (time, block, place) in together {
            scored[*block].0[*place] = f64::from(u8::from(time.observed)) - hazard;
        }
        at_risk -= together.len() as f64;
    }
    scored
}

/// Every sum that the treatment could have had, less its mean, as two sorted lists of which any two numbers add up to
/// one of them; `None` where either would be too long.
fn halves(scored: &[(Vec<f64>, usize)]) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut halves = (vec![0.0], vec![0.0]);
    for (scores, treated) in scored {
        let half = if halves.0.len() <= halves.1.len() {
            &mut halves.0
        } else {
            &mut halves.1
        };
        if half.len() as f64 * binomial(scores.len(), *treated) > HALF_MAX as f64 {
            return None;
        }
        let sums = subset_sums(scores, *treated);
        *half = half
            .iter()
            .flat_map(|sum| sums.iter().map(move |more| sum + more))
            .collect();
    }
    halves.0.sort_by(f64::total_cmp);
    halves.1.sort_by(f64::total_cmp);
    Some(halves)
}

fn binomial(n: usize, k: usize) -> f64 {
    (0..k.min(n - k)).fold(1.0, |product, at| product * (n - at) as f64 / (at + 1) as f64)
}

/// The sum of each choice of `take` scores, each less the mean of all.
fn subset_sums(scores: &[f64], take: usize) -> Vec<f64> {
    let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
    // By how many are taken so far: the sums of what was chosen among the scores seen so far.
    let mut sums: Vec<Vec<f64>> = vec![Vec::new(); take + 1];
    sums[0].push(0.0);
    for score in scores {
        for taken in (0..take).rev() {
            let more: Vec<f64> = sums[taken].iter().map(|sum| sum + score - mean).collect();
            sums[taken + 1].extend(more);
        }
    }
    sums.swap_remove(take)
}

/// How many pairs of two sorted lists add up to more than `edge`.
fn above(one: &[f64], other: &[f64], edge: f64) -> u64 {
    let mut from = other.len();
    let mut count = 0;
    for a in one {
        while from > 0 && a + other[from - 1] > edge {
            from -= 1;
        }
        count += (other.len() - from) as u64;
    }
    count
}

/// How many pairs of two sorted lists add up to less than `edge`.
fn below(one: &[f64], other: &[f64], edge: f64) -> u64 {
    let mut to = other.len();
    let mut count = 0;
    for a in one {
        while to > 0 && a + other[to - 1] >= edge {
            to -= 1;
        }
        count += to as u64;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;
    use crate::times;

    fn block(treatment: &str, control: &str) -> Block {
        Block {
            treatment: times(treatment),
            control: times(control),
        }
    }

    /// The remission times of Freireich et al. 1963, as every textbook has them: chi-squared 16.79.
    #[test]
    fn log_rank_is_as_published() {
        let six_mp = "6 6 6 6+ 7 9+ 10 10+ 11+ 13 16 17+ 19+ 20+ 22 23 25+ 32+ 32+ 34+ 35+";
        let placebo = "1 1 2 2 3 4 4 5 5 8 8 8 8 11 11 12 12 15 17 22 23";
        let found = log_rank(&times(six_mp), &times(placebo));
        assert!(
            (found.chi2 - 16.79).abs() < 0.005 && (found.p - 4.17e-5).abs() < 1e-6,
            "{found:?}"
        );
        let stratum = log_rank_stratified(&[block(six_mp, placebo)]);
        assert_eq!(stratum, found);
        let reversed = log_rank_stratified(&[block(placebo, six_mp), block("", "")]);
        assert!((reversed.chi2 - found.chi2).abs() < 1e-9);
    }

    #[test]
    fn where_nothing_can_differ_p_is_one() {
        for blocks in [
            vec![],
            vec![block("", "")],
            vec![block("1", "")],
            vec![block("5+", "5+")],
            vec![block("1 1", "1 1"), block("1", "1")],
        ] {
            assert_eq!(log_rank_stratified(&blocks).p, 1.0, "{blocks:?}");
            let permuted = permuted_log_rank(&blocks);
            assert!(
                (permuted.p - 1.0).abs() < 1e-12 && permuted.excess == 0.0,
                "{blocks:?} {permuted:?}"
            );
        }
    }

    /// Two blocks of two: four assignments, of which the one drawn and its mirror are the most extreme.
    #[test]
    fn assignments_are_counted() {
        let found = permuted_log_rank(&[block("1", "10+"), block("2", "10+")]);
        assert_eq!(found.method, Method::Exact { assignments: 4.0 });
        assert!((found.p - 0.25).abs() < 1e-12 && found.excess > 0.0, "{found:?}");
        let one = permuted_log_rank(&[block("1 2", "3 4")]);
        assert_eq!(one.method, Method::Exact { assignments: 6.0 });
        assert!((one.p - 1.0 / 6.0).abs() < 1e-12, "{one:?}");
    }

    /// Every assignment of small designs, counted one by one in another way.
    #[test]
    fn counting_in_halves_is_counting() {
        let mut random = Random::new(11);
        for _ in 0..200 {
            let mut draw = |n: u64| -> Vec<Time> {
                (0..n)
                    .map(|_| Time {
                        seconds: 1.0 + random.below(6) as f64,
                        observed: random.below(10) < 7,
                    })
                    .collect()
            };
            let blocks: Vec<Block> = (0..3)
                .map(|at| Block {
                    treatment: draw(1 + at % 2),
                    control: draw(2),
                })
                .collect();
            let found = permuted_log_rank(&blocks);
            let centred: Vec<(Vec<f64>, usize)> = scores(&blocks)
                .into_iter()
                .map(|(scores, m)| {
                    let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                    (scores.iter().map(|score| score - mean).collect(), m)
                })
                .collect();
            let places: Vec<usize> = centred.iter().map(|(scores, _)| scores.len()).collect();
            let (mut more, mut equal, mut all) = (0.0, 0.0, 0.0);
            for mask in 0_u32..1 << places.iter().sum::<usize>() {
                let (mut at, mut sum, mut fits) = (0, 0.0, true);
                for (scores, m) in &centred {
                    let chosen: Vec<f64> = (0..scores.len())
                        .filter(|place| mask >> (at + place) & 1 == 1)
                        .map(|place| scores[place])
                        .collect();
                    fits &= chosen.len() == *m;
                    sum += chosen.iter().sum::<f64>();
                    at += scores.len();
                }
                if fits {
                    all += 1.0;
                    let off = sum.abs() - found.excess.abs();
                    more += f64::from(u8::from(off > 1e-9));
                    equal += f64::from(u8::from(off.abs() <= 1e-9));
                }
            }
            assert_eq!(found.method, Method::Exact { assignments: all });
            assert!(
                (found.p - (more + 0.5 * equal) / all).abs() < 1e-12,
                "{found:?} {more} {equal} {all}"
            );
        }
    }

    #[test]
    fn large_designs_take_the_limit() {
        let mut random = Random::new(5);
        let mut draw = || -> Vec<Time> {
            (0..2)
                .map(|_| Time {
                    seconds: random.exponential(),
                    observed: true,
                })
                .collect()
        };
        let blocks: Vec<Block> = (0..25)
            .map(|_| Block {
                treatment: draw(),
                control: draw(),
            })
            .collect();
        let found = permuted_log_rank(&blocks);
        assert_eq!(found.method, Method::Normal);
        // Eight blocks of four are counted, nine are too many.
        let methods = [8, 9].map(|number| permuted_log_rank(&blocks[..number]).method);
        assert_eq!(
            methods,
            [
                Method::Exact {
                    assignments: 6_f64.powi(8)
                },
                Method::Normal
            ]
        );
    }
}
