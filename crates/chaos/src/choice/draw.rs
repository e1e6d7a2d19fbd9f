//! Random numbers of a choice, made of its seed alone: SHA-256 over what is drawn for, counted on. A draw depends on
//! nothing but its seed, its pick and its candidate, so another candidate more changes no other's draw.

use evidence::Digest;

use super::posterior::Beta;

/// Tries until a draw is accepted: fewer than one in 20 is refused, so this many are never needed.
const TRIES_MAX: u32 = 1000;

/// A stream of random numbers.
pub(super) struct Draws {
    key: Digest,
    count: u64,
}

impl Draws {
    pub(super) fn new(seed: u64, pick: u64, candidate: &str) -> Draws {
        Draws {
            key: Digest::of(format!("proofmark/chaos-choice/v1\n{seed}\n{pick}\n{candidate}").as_bytes()),
            count: 0,
        }
    }

    /// A Beta draw: the share of one Gamma draw in two.
    pub(super) fn beta(&mut self, beta: Beta) -> f64 {
        let (x, y) = (self.gamma(beta.a), self.gamma(beta.b));
        if x + y > 0.0 { x / (x + y) } else { beta.mean() }
    }

    /// A Gamma draw of unit scale (Marsaglia and Tsang, A simple method for generating gamma variables, 2000).
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = libm::pow(self.unit(), 1.0 / shape.max(f64::MIN_POSITIVE));
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / libm::sqrt(9.0 * d);
        for _ in 0..TRIES_MAX {
            let x = self.normal();
            let v = (1.0 + c * x) * (1.0 + c * x) * (1.0 + c * x);
            if v > 0.0 && libm::log(self.unit()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                return d * v;
            }
        }
        shape
    }

    /// A standard normal draw (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        let (u, v) = (self.unit(), self.unit());
        libm::sqrt(-2.0 * libm::log(u)) * libm::cos(std::f64::consts::TAU * v)
    }

    /// Between 0 and 1, neither of them.
    fn unit(&mut self) -> f64 {
        let mut hasher = Digest::hasher();
        hasher.update(&self.key.0);
        hasher.update(&self.count.to_be_bytes());
        self.count += 1;
        let Digest(bytes) = hasher.finish();
        let bits = bytes
            .iter()
            .take(8)
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mean and variance of many draws against those of the distribution, within five standard errors.
    #[track_caller]
    fn check(a: f64, b: f64) {
        const DRAWS: u32 = 20_000;
        let mut draws = Draws::new(7, 0, "x");
        let values: Vec<f64> = (0..DRAWS).map(|_| draws.beta(Beta { a, b })).collect();
        let n = f64::from(DRAWS);
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let expected = a * b / ((a + b).powi(2) * (a + b + 1.0));
        assert!((mean - a / (a + b)).abs() < 5.0 * (expected / n).sqrt(), "{mean}");
        assert!((variance / expected - 1.0).abs() < 0.06, "{variance} {expected}");
        assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn draws_are_beta() {
        check(1.0, 1.0);
        check(0.3, 2.7);
        check(6.5, 5.5);
        check(20.0, 3.0);
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_candidate_changes_nothing() {
        let draw = |seed, pick, candidate| Draws::new(seed, pick, candidate).unit();
        assert_eq!(draw(1, 0, "a"), draw(1, 0, "a"));
        assert_ne!(draw(1, 0, "a"), draw(2, 0, "a"));
        assert_ne!(draw(1, 0, "a"), draw(1, 1, "a"));
        assert_ne!(draw(1, 0, "a"), draw(1, 0, "b"));
    }
}
