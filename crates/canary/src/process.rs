//! The e-process behind each decision: evidence against a composite null about two Bernoulli shares that may be
//! looked at after every request.
//!
//! Let `a` be the old arm's share and `b` the new one's. For a null set `H0` of pairs `(a, b)`, the process is
//!
//! ```text
//! E_t = M_old(data) · M_new(data) / sup { L(a, b) : (a, b) in H0 }
//! ```
//!
//! where `M` is the likelihood under a fixed prior mixture and `L` the likelihood of all data so far. Under any
//! `(a, b)` in `H0`, `M_old · M_new / L(a, b)` is a non-negative martingale that starts at 1, and `E_t` never
//! exceeds it, so that Ville's inequality gives `P(E_t ≥ 1/α at any t) ≤ α` for every member of the null, under any
//! allocation of requests to arms that doesn't look into the future, and any stopping rule (universal inference:
//! Wasserman, Ramdas, Balakrishnan 2020, section 8, <https://arxiv.org/abs/1912.11436>). Two-sample e-variables by
//! block (Turner, Ly, Grünwald 2024, <https://arxiv.org/abs/2106.02693>) are somewhat more powerful at equal
//! weights, but need the arms in blocks of a fixed composition, which a weighted router doesn't give.
//!
//! What it supposes: within an arm, requests count independently and with one share. A share that drifts in both
//! arms at once is outside of it.
//!
//! The mixture is what makes it quick where releases live, near zero: a point mass at 0, a geometric grid of small
//! shares, and a Beta(1/2, 1/2) for everything else. Against "worse than the margin", half of it bets that both
//! arms have the same share and so learns that share from both.

use crate::ArmName;

/// Counts of one measure in both arms, and in the two together.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub old: Tally,
    pub new: Tally,
    both: Tally,
}

/// Counts of one measure in one arm, with the logarithm of the mixture's likelihood.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub n: u64,
    pub hits: u64,
    /// Krichevsky-Trofimov: the likelihood under Beta(1/2, 1/2), built up one request at a time.
    log_beta: f64,
}

/// A null hypothesis about the old share `a` and the new share `b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Null {
    /// `b ≤ a + delta`: refuted by evidence that the new arm is worse.
    AtMost { delta: f64 },
    /// `b ≥ a + delta`: refuted by evidence that the new arm is not worse.
    AtLeast { delta: f64 },
}

/// A prior over one share: the weights of its three parts add up to 1.
struct Prior {
    zero: f64,
    grid: f64,
    beta: f64,
}

const ANY: Prior = Prior {
    zero: 0.4,
    grid: 0.4,
    beta: 0.2,
};
/// For the new arm where the alternative is "worse": a share of zero can't be.
const SOME: Prior = Prior {
    zero: 0.0,
    grid: 0.8,
    beta: 0.2,
};
const GRID_POINTS: i32 = 20;
const GRID_FIRST: f64 = 1e-4;
const GRID_RATIO: f64 = 1.6;
/// Halvings of the interval that holds the null's best share: beyond f64's resolution of it.
const BISECTIONS: u32 = 60;

impl Pair {
    pub fn new() -> Self {
        Pair {
            old: Tally::new(),
            new: Tally::new(),
            both: Tally::new(),
        }
    }

    pub fn observe(&mut self, arm: ArmName, hit: bool) {
        match arm {
            ArmName::Old => self.old.observe(hit),
            ArmName::New => self.new.observe(hit),
        }
        self.both.observe(hit);
    }

    /// Natural logarithm of the e-value against `null`; 0 (no evidence) until both arms were seen.
    pub fn log_e(&self, null: Null) -> f64 {
        if self.old.n == 0 || self.new.n == 0 {
            return 0.0;
        }
        let log_mixture = match null {
            Null::AtMost { .. } => self.old.log_mixture(&ANY) + self.new.log_mixture(&SOME),
            Null::AtLeast { .. } => {
                let apart = self.old.log_mixture(&ANY) + self.new.log_mixture(&ANY);
                log_sum(&[0.5f64.ln() + self.both.log_mixture(&ANY), 0.5f64.ln() + apart])
            }
        };
        log_mixture - log_sup(&self.old, &self.new, null)
    }
}

impl Tally {
    fn new() -> Self {
        Tally {
            n: 0,
            hits: 0,
            log_beta: 0.0,
        }
    }

    fn observe(&mut self, hit: bool) {
        let same = if hit { self.hits } else { self.n - self.hits };
        self.log_beta += ((same as f64 + 0.5) / (self.n as f64 + 1.0)).ln();
        self.n += 1;
        self.hits += u64::from(hit);
    }

    /// Logarithm of the likelihood of this arm's data under the prior.
    fn log_mixture(&self, prior: &Prior) -> f64 {
        let mut terms = vec![prior.beta.ln() + self.log_beta];
        if self.hits == 0 {
            terms.push(prior.zero.ln());
        }
        let each = (prior.grid / f64::from(GRID_POINTS)).ln();
        terms.extend((0..GRID_POINTS).map(|k| each + self.log_likelihood(GRID_FIRST * GRID_RATIO.powi(k))));
        log_sum(&terms)
    }

    /// Logarithm of the likelihood at share `p`; `0 · ln 0` is 0.
    fn log_likelihood(&self, p: f64) -> f64 {
        let part = |count: u64, share: f64| if count == 0 { 0.0 } else { count as f64 * share.ln() };
        part(self.hits, p) + part(self.n - self.hits, 1.0 - p)
    }

    pub fn share(&self) -> f64 {
        if self.n == 0 {
            0.0
        } else {
            self.hits as f64 / self.n as f64
        }
    }
}

/// `ln(sum(exp(term)))` without overflow.
fn log_sum(terms: &[f64]) -> f64 {
    let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + terms.iter().map(|term| (term - most).exp()).sum::<f64>().ln()
}

/// The largest log-likelihood over the null. The likelihood is log-concave and the nulls are convex, so that it is
/// at the data's own shares when the null holds these, else on its edge `b = a + delta`.
fn log_sup(old: &Tally, new: &Tally, null: Null) -> f64 {
    let (a, b) = (old.share(), new.share());
    let (inside, delta) = match null {
        Null::AtMost { delta } => (b <= a + delta, delta),
        Null::AtLeast { delta } => (b >= a + delta, delta),
    };
    if inside {
        return old.log_likelihood(a) + new.log_likelihood(b);
    }
    let slope = |a: f64| {
        let part = |count: u64, share: f64| if count == 0 { 0.0 } else { count as f64 / share };
        part(old.hits, a) - part(old.n - old.hits, 1.0 - a) + part(new.hits, a + delta)
            - part(new.n - new.hits, 1.0 - a - delta)
    };
    let (mut low, mut high) = (0.0, 1.0 - delta);
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    // Both ends are tried: at the interval's own ends one of them may be a zero that the other avoids.
    let at = |a: f64| old.log_likelihood(a) + new.log_likelihood(a + delta);
    at(low).max(at(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(n: u64, hits: u64) -> Tally {
        let mut tally = Tally::new();
        for i in 0..n {
            tally.observe(i < hits);
        }
        tally
    }

    fn pair(old: (u64, u64), new: (u64, u64)) -> Pair {
        Pair {
            old: tally(old.0, old.1),
            new: tally(new.0, new.1),
            both: tally(old.0 + new.0, old.1 + new.1),
        }
    }

    #[test]
    fn mixture_is_a_probability() {
        // Over all sequences of eight requests the mixture's likelihoods add up to 1.
        let choose = [1.0, 8.0, 28.0, 56.0, 70.0, 56.0, 28.0, 8.0, 1.0];
        for prior in [ANY, SOME] {
            let total: f64 = (0..=8)
                .map(|hits| choose[hits as usize] * tally(8, hits).log_mixture(&prior).exp())
                .sum();
            assert!((total - 1.0).abs() < 1e-12, "{total}");
        }
    }

    #[test]
    fn supremum_is_found() {
        for (old, new, null) in [
            ((900, 0), (100, 3), Null::AtMost { delta: 0.005 }),
            ((500, 5), (500, 25), Null::AtMost { delta: 0.0 }),
            ((500, 0), (500, 0), Null::AtLeast { delta: 0.01 }),
            ((500, 40), (500, 10), Null::AtLeast { delta: 0.05 }),
            ((3, 3), (3, 0), Null::AtLeast { delta: 0.05 }),
        ] {
            let (old, new) = (tally(old.0, old.1), tally(new.0, new.1));
            let found = log_sup(&old, &new, null);
            let delta = match null {
                Null::AtMost { delta } | Null::AtLeast { delta } => delta,
            };
            let best = (0..=200_000)
                .map(|k| f64::from(k) / 200_000.0 * (1.0 - delta))
                .map(|a| old.log_likelihood(a) + new.log_likelihood(a + delta))
                .fold(f64::NEG_INFINITY, f64::max);
            assert!(
                found >= best - 1e-9 && found <= best + 1e-4,
                "{null:?}: {found} is not {best}"
            );
        }
    }

    #[test]
    fn expectation_under_the_null_is_at_most_one() {
        // Exactly, over all outcomes of small fixed samples: the e-value of every null member.
        for null in [
            Null::AtMost { delta: 0.0 },
            Null::AtMost { delta: 0.1 },
            Null::AtLeast { delta: 0.1 },
        ] {
            for (n_old, n_new) in [(1u64, 1u64), (3, 1), (4, 4), (9, 1), (6, 12)] {
                for a in [0.0f64, 0.01, 0.1, 0.3, 0.6, 0.9] {
                    let b = match null {
                        Null::AtMost { delta } | Null::AtLeast { delta } => a + delta,
                    };
                    let mut expected = 0.0;
                    for hits_old in 0..=n_old {
                        for hits_new in 0..=n_new {
                            let pair = pair((n_old, hits_old), (n_new, hits_new));
                            let probability = binomial(n_old, hits_old, a) * binomial(n_new, hits_new, b);
                            expected += probability * pair.log_e(null).exp();
                        }
                    }
                    assert!(expected <= 1.0 + 1e-9, "{null:?} {n_old} {n_new} {a}: {expected}");
                }
            }
        }
    }

    fn binomial(n: u64, k: u64, p: f64) -> f64 {
        let mut out = 1.0;
        for i in 0..k {
            out *= (n - i) as f64 / (i + 1) as f64;
        }
        out * p.powi(k as i32) * (1.0 - p).powi((n - k) as i32)
    }
}
