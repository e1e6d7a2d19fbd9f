//! Estimators with intervals, for measurements of which some never came: how long until an attack is noticed, how
//! often it is, and whether one arm of a study is faster than the other.
//!
//! Pure functions of numbers. It knows no clock, no file and no randomness but a [`Random`] that it is handed, and it
//! judges nothing: what an interval has to be stands in policies and experiments. It depends on nothing, so that every
//! engine can use it.
//!
//! A run in which nothing was seen is a [`Time`] that is not `observed`; it is never dropped. No input panics: what
//! can't be estimated is `None`.
//!
//! Start reading at [`KaplanMeier`], then [`log_rank`], then [`wilson`].

mod distributions;
mod log_rank;
mod proportion;
mod random;
mod sample;
mod survival;

pub use distributions::{
    beta_cdf, beta_quantile, chi_squared_cdf, chi_squared_quantile, chi_squared_sf, normal_cdf, normal_quantile,
    normal_sf,
};
pub use log_rank::{Block, LogRank, Method, Permuted, log_rank, log_rank_stratified, permuted_log_rank};
pub use proportion::{wilson, wilson_at, wilson_low};
pub use random::Random;
pub use sample::{mean, median, quantile};
pub use survival::{KaplanMeier, Point};

/// z of a two-sided 95 % interval: the 0.975 quantile of the standard normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;
/// z of a one-sided 95 % bound: the 0.95 quantile of the standard normal distribution.
pub const Z_95_ONE_SIDED: f64 = 1.644_853_626_951_472_7;

/// When something happened, or until when it had not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    pub seconds: f64,
    /// False where it had not happened when watching ended, after `seconds`: right-censored.
    pub observed: bool,
}

/// From `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// An estimate and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Estimate {
    /// `None` where what was observed does not reach it: a median when more than half never happened.
    pub value: Option<f64>,
    /// Low and high end; an end is `None` where it was not reached. No interval where nothing was observed at all.
    pub interval: Option<(Option<f64>, Option<f64>)>,
}

/// Times as tests write them: `5 7+ 9`, with a plus behind those that were cut short.
#[cfg(test)]
fn times(text: &str) -> Vec<Time> {
    let one = |word: &str| Time {
        seconds: word.trim_end_matches('+').parse().expect("a number"),
        observed: !word.ends_with('+'),
    };
    text.split_whitespace().map(one).collect()
}
