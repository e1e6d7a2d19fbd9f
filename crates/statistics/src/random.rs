//! A sequence of numbers that looks random and is the same for the same seed, on every machine. Not for secrets.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when `end` is 0. The bias is below 2⁻³² for every `end` below 2³².
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    /// An index below `length`; 0 when `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Uniform between 0 and 1, neither of them: a multiple of 2⁻⁵³, and a half of it.
    pub fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) * (1.0 / (1_u64 << 53) as f64)
    }

    /// Standard normal, by its quantile function: one number drawn, one number used.
    pub fn normal(&mut self) -> f64 {
        crate::normal_quantile(self.uniform())
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -self.uniform().ln()
    }

    /// Every order is equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.index(at + 1));
        }
    }

    /// Another sequence, independent of what this one yields from now on.
    pub fn fork(&mut self) -> Random {
        Random(self.bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First outputs for seed 1234567, as published with the reference implementation (prng.di.unimi.it).
    #[test]
    fn is_splitmix64() {
        let mut random = Random::new(1_234_567);
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!([random.bits(), random.bits(), random.bits()], expected);
    }

    #[test]
    fn every_order_is_equally_likely() {
        let mut random = Random::new(7);
        let mut seen = std::collections::BTreeMap::<[u8; 3], u32>::new();
        for _ in 0..60_000 {
            let mut items = [1, 2, 3];
            random.shuffle(&mut items);
            *seen.entry(items).or_default() += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (9_600..10_400).contains(count)), "{seen:?}");
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let mut random = Random::new(3);
        const N: usize = 100_000;
        let moments = |mut draw: Box<dyn FnMut() -> f64>| {
            let (sum, squares) = (0..N).fold((0.0, 0.0), |(sum, squares), _| {
                let x = draw();
                (sum + x, squares + x * x)
            });
            let mean = sum / N as f64;
            (mean, squares / N as f64 - mean * mean)
        };
        let near = |(mean, variance): (f64, f64), expect: (f64, f64)| {
            assert!(
                (mean - expect.0).abs() < 0.02 && (variance - expect.1).abs() < 0.04,
                "{mean} {variance}"
            );
        };
        let mut one = random.fork();
        near(moments(Box::new(move || one.uniform())), (0.5, 1.0 / 12.0));
        let mut one = random.fork();
        near(moments(Box::new(move || one.normal())), (0.0, 1.0));
        let mut one = random.fork();
        near(moments(Box::new(move || one.exponential())), (1.0, 1.0));
    }

    #[test]
    fn nothing_to_choose_from_is_no_panic() {
        let mut random = Random::new(1);
        assert_eq!((random.below(0), random.index(0)), (0, 0));
        random.shuffle::<u8>(&mut []);
    }
}
