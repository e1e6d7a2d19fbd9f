//! Distribution functions and quantiles: normal, chi-squared, beta. To 1e-12 of their value, in both tails.
//!
//! Each is computed from its series where all terms have one sign, and from its continued fraction elsewhere (NIST
//! Digital Library of Mathematical Functions, chapters 7 and 8), so that no table of coefficients is taken on trust.

use std::f64::consts::{PI, SQRT_2};

/// Series and fractions end after so many terms at the latest; all that are used here need fewer.
const TERMS_MAX: usize = 10_000;
/// Steps of a root that is looked for; each halves an interval or is Newton's.
const STEPS_MAX: usize = 200;
/// Stands for a denominator of zero in a continued fraction (Lentz 1976).
const TINY: f64 = 1e-300;

/// The share of the standard normal distribution below `x`.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / SQRT_2)
}

/// The share of the standard normal distribution above `x`.
pub fn normal_sf(x: f64) -> f64 {
    0.5 * erfc(x / SQRT_2)
}

/// Below which value the share `p` of the standard normal distribution lies: infinite at 0 and 1, NaN outside.
pub fn normal_quantile(p: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    if (p - 0.5).abs() < 0.25 {
        return SQRT_2 * erf_inverse(2.0 * p - 1.0);
    }
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    // Newton's steps on ln Φ, which is concave and nearly a parabola in this tail, from Abramowitz and Stegun 26.2.23.
    let t = (-2.0 * p.ln()).sqrt();
    let mut x =
        (2.515_517 + t * (0.802_853 + t * 0.010_328)) / (1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308))) - t;
    for _ in 0..STEPS_MAX {
        let below = normal_cdf(x);
        let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
        let step = (below.ln() - p.ln()) * below / density;
        x -= step;
        if step.abs() <= 1e-15 * x.abs() {
            break;
        }
    }
    x
}

/// The share of the chi-squared distribution with `df` degrees of freedom below `x`.
pub fn chi_squared_cdf(x: f64, df: f64) -> f64 {
    gamma_shares(df / 2.0, x / 2.0).0
}

/// The share of the chi-squared distribution with `df` degrees of freedom above `x`: the p of a test.
pub fn chi_squared_sf(x: f64, df: f64) -> f64 {
    gamma_shares(df / 2.0, x / 2.0).1
}

/// Below which value the share `p` of the chi-squared distribution with `df` degrees of freedom lies.
pub fn chi_squared_quantile(p: f64, df: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) || df.is_nan() || df <= 0.0 {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { 0.0 } else { f64::INFINITY };
    }
    let mut high = df.max(1.0);
    while chi_squared_cdf(high, df) < p && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    let distance = |x: f64| {
        // The smaller tail is the one that is known to all its digits.
        if p < 0.5 {
            chi_squared_cdf(x, df) - p
        } else {
            (1.0 - p) - chi_squared_sf(x, df)
        }
    };
    let density = |x: f64| ((df / 2.0 - 1.0) * x.ln() - x / 2.0 - df / 2.0 * 2_f64.ln() - ln_gamma(df / 2.0)).exp();
    let shape = df / 2.0;
    let start = 2.0 * ((p.ln() + ln_gamma(shape + 1.0)) / shape).exp();
    root(start, (0.0, high), distance, density)
}

/// The share of the beta distribution with shapes `a` and `b` below `x`.
pub fn beta_cdf(x: f64, a: f64, b: f64) -> f64 {
    if x.is_nan() || !(a > 0.0 && b > 0.0) {
        return f64::NAN;
    }
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(x, a, b) / a
    } else {
        1.0 - front * beta_fraction(1.0 - x, b, a) / b
    }
}

/// Below which value the share `p` of the beta distribution with shapes `a` and `b` lies.
pub fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    if p.is_nan() || !(0.0..=1.0).contains(&p) || !(a > 0.0 && b > 0.0) {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return p;
    }
    let ln_whole = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
    let density = |x: f64| ((a - 1.0) * x.ln() + (b - 1.0) * (-x).ln_1p() + ln_whole).exp();
    let start = ((p.ln() + a.ln() - ln_whole) / a).exp();
    root(start, (0.0, 1.0), |x| beta_cdf(x, a, b) - p, density)
}

/// Where a growing function is zero: Newton's steps, and halving where they leave the bracket. A quantile can be a tiny
/// number: `start` is the first term of its series, right where it is tiny and too low elsewhere.
fn root(start: f64, (mut low, mut high): (f64, f64), distance: impl Fn(f64) -> f64, slope: impl Fn(f64) -> f64) -> f64 {
    // Below the smallest number that there is.
    if start == 0.0 {
        return 0.0;
    }
    let mut x = if start < high { start } else { 0.5 * (low + high) };
    for _ in 0..STEPS_MAX {
        let off = distance(x);
        if off == 0.0 {
            break;
        }
        if off > 0.0 {
            high = x;
        } else {
            low = x;
        }
        let newton = x - off / slope(x);
        let next = if newton > low && newton < high {
            newton
        } else {
            0.5 * (low + high)
        };
        if (next - x).abs() <= 1e-15 * x.abs() {
            return next;
        }
        x = next;
    }
    x
}

/// 2/√π ∫₀ˣ e^(-t²) dt by its series (DLMF 7.6.2): all terms have one sign.
fn erf_series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..TERMS_MAX {
        term *= 2.0 * x * x / (2 * n + 1) as f64;
        sum += term;
        if term.abs() <= 1e-17 * sum.abs() {
            break;
        }
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// 1 - erf x, to its own digits.
fn erfc(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x < 1.5 {
        return if x < -1.5 { 2.0 - erfc(-x) } else { 1.0 - erf_series(x) };
    }
    // From 40 on it is less than the smallest number.
    if x > 40.0 {
        return 0.0;
    }
    // DLMF 7.9.1, evaluated by Lentz's method.
    let mut fraction = x;
    let (mut c, mut d) = (x, 0.0);
    for n in 1..TERMS_MAX {
        let numerator = n as f64 / 2.0;
        d = 1.0 / (x + numerator * d);
        c = x + numerator / c;
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    square_exp(x) / (PI.sqrt() * fraction)
}

/// e^(-x²), where the rounding of x² alone would cost digits.
fn square_exp(x: f64) -> f64 {
    let near = (x * 16.0).trunc() / 16.0;
    (-near * near).exp() * (-(x - near) * (x + near)).exp()
}

/// Where erf is `y`, for |y| ≤ 1/2.
fn erf_inverse(y: f64) -> f64 {
    let mut x = y * PI.sqrt() / 2.0;
    for _ in 0..STEPS_MAX {
        let step = (erf_series(x) - y) * PI.sqrt() / 2.0 * (x * x).exp();
        x -= step;
        if step.abs() <= 1e-16 * x.abs() {
            break;
        }
    }
    x
}

/// ln Γ(x) for x > 0: Stirling's series (DLMF 5.11.1) after x was raised to where eight terms are enough.
fn ln_gamma(x: f64) -> f64 {
    /// B₂ₖ / (2k (2k - 1)).
    const TERMS: [f64; 8] = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
        -691.0 / 360_360.0,
        1.0 / 156.0,
        -3617.0 / 122_400.0,
    ];
    const RAISED: f64 = 12.0;
    let (mut raised, mut product) = (x, 1.0);
    while raised < RAISED {
        product *= raised;
        raised += 1.0;
    }
    let inverse = 1.0 / raised;
    let series = TERMS.iter().rev().fold(0.0, |sum, term| sum * inverse * inverse + term) * inverse;
    (raised - 0.5) * raised.ln() - raised + 0.5 * (2.0 * PI).ln() + series - product.ln()
}

/// The regularized incomplete gamma functions P and Q of shape `a` (DLMF 8.2.4); NaN where there is none.
fn gamma_shares(a: f64, x: f64) -> (f64, f64) {
    if a.is_nan() || x.is_nan() || a <= 0.0 {
        return (f64::NAN, f64::NAN);
    }
    if x <= 0.0 || x.is_infinite() {
        return if x <= 0.0 { (0.0, 1.0) } else { (1.0, 0.0) };
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        // DLMF 8.7.1: all terms are positive.
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..TERMS_MAX {
            term *= x / (a + n as f64);
            sum += term;
            if term <= 1e-17 * sum {
                break;
            }
        }
        let below = front * sum;
        return (below, 1.0 - below);
    }
    // DLMF 8.9.2.
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for n in 1..TERMS_MAX {
        let numerator = -(n as f64) * (n as f64 - a);
        b += 2.0;
        d = 1.0 / nonzero(numerator * d + b);
        c = nonzero(b + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    let above = front * fraction;
    (1.0 - above, above)
}

/// The continued fraction of the incomplete beta function (DLMF 8.17.22).
fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..TERMS_MAX {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        fraction *= c * d;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    fraction
}

fn nonzero(x: f64) -> f64 {
    if x.abs() < TINY { TINY } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(got: f64, expect: f64) {
        let near = got == expect || (got - expect).abs() <= 1e-12 * expect.abs();
        assert!(near || (got.is_nan() && expect.is_nan()), "{got:e} is not {expect:e}");
    }

    /// Closed forms: chi-squared of 2 degrees is exponential, of 1 a squared normal; beta(1, b) and beta(a, 1) are powers.
    #[test]
    fn known_forms_agree() {
        for x in [1e-9, 0.001, 0.3, 1.0, 2.7, 9.0, 40.0, 300.0] {
            check(chi_squared_sf(x, 2.0), (-x / 2.0).exp());
            check(chi_squared_cdf(x, 2.0), -(-x / 2.0).exp_m1());
            check(chi_squared_sf(x, 1.0), 2.0 * normal_sf(x.sqrt()));
        }
        for x in [1e-9_f64, 0.01, 0.4, 0.8, 0.999] {
            check(beta_cdf(x, 3.0, 1.0), x.powi(3));
            check(beta_quantile(x, 3.0, 1.0), x.cbrt());
            check(beta_quantile(x, 1.0, 0.5), x * (2.0 - x));
        }
    }

    #[test]
    fn quantiles_invert() {
        for p in [1e-300, 1e-20, 1e-5, 0.024, 0.25, 0.4999, 0.5, 0.50001, 0.74, 0.8, 0.975] {
            check(normal_cdf(normal_quantile(p)), p);
            for df in [0.5, 1.0, 2.0, 7.0, 100.0] {
                let x = chi_squared_quantile(p, df);
                // Below the smallest number that there is.
                if x > 1e-290 {
                    check(chi_squared_cdf(x, df), p);
                }
            }
        }
        check(normal_quantile(0.975), crate::Z_95);
        check(normal_quantile(0.95), crate::Z_95_ONE_SIDED);
    }

    #[test]
    fn ends_and_nonsense_are_no_panic() {
        check(normal_quantile(0.0), f64::NEG_INFINITY);
        check(normal_quantile(1.0), f64::INFINITY);
        check(normal_cdf(f64::INFINITY), 1.0);
        check(normal_sf(f64::NEG_INFINITY), 1.0);
        check(normal_sf(60.0), 0.0);
        check(chi_squared_sf(f64::INFINITY, 1.0), 0.0);
        check(chi_squared_cdf(-1.0, 1.0), 0.0);
        check(chi_squared_quantile(1.0, 1.0), f64::INFINITY);
        for nonsense in [
            normal_quantile(f64::NAN),
            normal_quantile(1.1),
            normal_cdf(f64::NAN),
            chi_squared_sf(1.0, 0.0),
            chi_squared_quantile(0.5, -1.0),
            beta_cdf(0.5, 0.0, 1.0),
            beta_quantile(2.0, 1.0, 1.0),
        ] {
            check(nonsense, f64::NAN);
        }
    }
}
