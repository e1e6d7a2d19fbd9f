//! One figure of the report: what it says, what it rests on, and the command that gives it again.
//!
//! Every estimate is made here, from values that were counted elsewhere, so that a figure without n, interval and
//! censored runs can't be made. It deliberately knows no statement.

use serde_json::{Value, json};
use statistics::{KaplanMeier, Point, Time, wilson};

/// Fewer runs than this get their raw values, and no estimate.
pub const RUNS_MIN: usize = 5;
/// z of a two-sided 95 % interval.
const Z: f64 = statistics::Z_95;
/// Microseconds of an hour.
const HOUR_US: f64 = 3_600e6;

/// How a figure is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// So many; nothing is estimated.
    Count,
    /// A share, with its Wilson score interval.
    Share,
    /// The Kaplan-Meier median, with the interval that the curve's band gives it.
    Median,
    /// The mean restricted to `until`.
    RestrictedMean,
    /// The Kaplan-Meier curve with its band.
    Curve,
    /// Events an hour, with the exact Poisson interval (Garwood 1936).
    Rate,
    /// The share that has happened by `until`, from the Kaplan-Meier curve, with the score interval of as many runs as say
    /// as much (Rothman 1978).
    ShareBy,
    /// The two-sided mid-p of log-rank scores, against every order that was allowed.
    MidPExact,
    /// The same by the normal limit, for designs too large to count.
    MidPNormal,
    /// A ratio of sums over runs, with a linearised interval that takes each run as one cluster.
    Ratio,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Count,
    Share,
    Seconds,
    PerHour,
}

/// A number of the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// `experiment:FILE/detected/median`: what `--figure` takes.
    pub id: String,
    pub method: Method,
    pub unit: Unit,
    /// `None` where nothing can be estimated: too few runs, or never reached.
    pub value: Option<f64>,
    /// 95 %; an end is `None` where it was not reached.
    pub interval: Option<(Option<f64>, Option<f64>)>,
    /// What it was computed over: runs, unless the method says otherwise (`Rate`: windows).
    pub n: u64,
    /// Of those, how many happened, held or succeeded.
    pub events: u64,
    /// Of those, how many never happened while they were watched.
    pub censored: u64,
    /// The end of a restricted mean, in seconds.
    pub until: Option<f64>,
    /// What it is divided by, where that is no number of runs: hours of a rate, requests of a ratio.
    pub exposure: Option<f64>,
    /// Each value, where there are fewer than [`RUNS_MIN`].
    pub raw: Vec<Time>,
    /// The steps of a curve.
    pub points: Vec<Point>,
    /// Log indexes of the statements it was computed from, ascending.
    pub of: Vec<u64>,
}

/// Values with the log index each comes from.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    pub times: Vec<Time>,
    pub of: Vec<u64>,
}

impl Sample {
    pub fn push(&mut self, us: u64, observed: bool, index: u64) {
        let seconds = us as f64 / 1e6;
        self.times.push(Time { seconds, observed });
        self.of.push(index);
    }

    fn events(&self) -> u64 {
        self.times.iter().filter(|time| time.observed).count() as u64
    }

    fn few(&self) -> bool {
        self.times.len() < RUNS_MIN
    }
}

impl Method {
    pub fn name(self) -> &'static str {
        match self {
            Method::Count => "count",
            Method::Share => "share",
            Method::Median => "median",
            Method::RestrictedMean => "restricted-mean",
            Method::Curve => "curve",
            Method::Rate => "rate",
            Method::ShareBy => "share-by",
            Method::MidPExact => "mid-p-exact",
            Method::MidPNormal => "mid-p-normal",
            Method::Ratio => "ratio",
        }
    }
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Count => "1",
            Unit::Share => "share",
            Unit::Seconds => "s",
            Unit::PerHour => "1/h",
        }
    }
}

impl Figure {
    fn new(id: String, method: Method, unit: Unit, n: u64, of: Vec<u64>) -> Figure {
        let mut of = of;
        of.sort_unstable();
        of.dedup();
        Figure {
            id,
            method,
            unit,
            value: None,
            interval: None,
            n,
            events: 0,
            censored: 0,
            until: None,
            exposure: None,
            raw: Vec::new(),
            points: Vec::new(),
            of,
        }
    }

    /// So many of `n`.
    pub fn count(id: String, count: u64, n: u64, of: Vec<u64>) -> Figure {
        Figure {
            value: Some(count as f64),
            events: count,
            ..Figure::new(id, Method::Count, Unit::Count, n, of)
        }
    }

    /// `events` of `n`. `few` says that under [`RUNS_MIN`] no estimate is made of it: of what an attack met, none is;
    /// of our own mechanisms one is, with the wide interval that few trials have.
    pub fn share(id: String, events: u64, n: u64, few: Few, of: Vec<u64>) -> Figure {
        let estimated = n > 0 && (few == Few::Estimated || n >= RUNS_MIN as u64);
        let interval = wilson(events, n).filter(|_| estimated);
        Figure {
            value: estimated.then(|| events as f64 / n as f64),
            interval: interval.map(|interval| (Some(interval.low), Some(interval.high))),
            events,
            ..Figure::new(id, Method::Share, Unit::Share, n, of)
        }
    }

    /// The share of a sample that was observed: what is not, is censored.
    pub fn probability(id: String, sample: &Sample) -> Figure {
        let (events, n) = (sample.events(), sample.times.len() as u64);
        Figure {
            censored: n - events,
            raw: raw(sample),
            ..Figure::share(id, events, n, Few::Raw, sample.of.clone())
        }
    }

    pub fn median(id: String, sample: &Sample) -> Figure {
        let estimate = KaplanMeier::fit(&sample.times).median();
        let estimated = !sample.few();
        Figure {
            value: estimate.value.filter(|_| estimated),
            interval: estimate.interval.filter(|_| estimated),
            ..Figure::of_times(id, Method::Median, sample)
        }
    }

    /// Up to the longest time that anything was watched for.
    pub fn restricted_mean(id: String, sample: &Sample) -> Figure {
        let until = sample.times.iter().map(|time| time.seconds).fold(0.0, f64::max);
        Figure::mean_until(id, sample, until)
    }

    pub fn share_by(id: String, sample: &Sample, until: f64) -> Figure {
        let estimate = KaplanMeier::fit(&sample.times).share_by(until);
        let estimated = !sample.few();
        Figure {
            value: estimate.value.filter(|_| estimated),
            interval: estimate.interval.filter(|_| estimated),
            until: estimated.then_some(until),
            unit: Unit::Share,
            ..Figure::of_times(id, Method::ShareBy, sample)
        }
    }

    /// The p of a test over the runs `of`, and whether every order was counted; `None` where there are too few runs for one.
    pub fn p(id: String, test: Option<(f64, bool)>, of: Vec<u64>) -> Figure {
        let method = match test {
            Some((_, false)) => Method::MidPNormal,
            _ => Method::MidPExact,
        };
        Figure {
            value: test.map(|(p, _)| p),
            ..Figure::new(id, method, Unit::Count, of.len() as u64, of)
        }
    }

    pub fn mean_until(id: String, sample: &Sample, until: f64) -> Figure {
        let estimate = KaplanMeier::fit(&sample.times).restricted_mean(until);
        let estimated = !sample.few();
        Figure {
            value: estimate.value.filter(|_| estimated),
            interval: estimate.interval.filter(|_| estimated),
            until: estimated.then_some(until),
            ..Figure::of_times(id, Method::RestrictedMean, sample)
        }
    }

    pub fn curve(id: String, sample: &Sample) -> Figure {
        let points = match sample.few() {
            true => Vec::new(),
            false => KaplanMeier::fit(&sample.times).points().to_vec(),
        };
        Figure {
            points,
            ..Figure::of_times(id, Method::Curve, sample)
        }
    }

    fn of_times(id: String, method: Method, sample: &Sample) -> Figure {
        let (n, events) = (sample.times.len() as u64, sample.events());
        Figure {
            events,
            censored: n - events,
            raw: raw(sample),
            ..Figure::new(id, method, Unit::Seconds, n, sample.of.clone())
        }
    }

    /// `count` events in windows of `exposure_us` together.
    pub fn rate(id: String, count: u64, windows: u64, exposure_us: u64, of: Vec<u64>) -> Figure {
        let hours = exposure_us as f64 / HOUR_US;
        let (low, high) = poisson(count);
        let measured = hours > 0.0;
        Figure {
            value: measured.then(|| count as f64 / hours),
            interval: measured.then(|| (Some(low / hours), Some(high / hours))),
            events: count,
            exposure: Some(hours),
            ..Figure::new(id, Method::Rate, Unit::PerHour, windows, of)
        }
    }

    /// Sum of `parts` over sum of `wholes`, one pair a run. Requests of one run share its fate: the interval takes runs
    /// as what varies (Cochran 1977, section 6.3), and under [`RUNS_MIN`] there is none. Where no request differs from the
    /// others nothing varies, which proves little: the interval is then that of a share of runs.
    pub fn ratio(id: String, pairs: &[(u64, u64)], of: Vec<u64>) -> Figure {
        let sum = |(a, b): (u64, u64), (part, whole): &(u64, u64)| (a.saturating_add(*part), b.saturating_add(*whole));
        let (part, whole) = pairs.iter().fold((0, 0), sum);
        let value = (whole > 0).then(|| part as f64 / whole as f64);
        let interval = value.filter(|_| pairs.len() >= RUNS_MIN).map(|ratio| {
            if part == 0 || part == whole {
                let runs = pairs.len() as u64;
                let share = wilson(if part == 0 { 0 } else { runs }, runs);
                return (share.map(|share| share.low), share.map(|share| share.high));
            }
            let m = pairs.len() as f64;
            let squares: f64 = pairs
                .iter()
                .map(|(part, whole)| (*part as f64 - ratio * *whole as f64).powi(2))
                .sum();
            let half = Z * (m / (m - 1.0) * squares).sqrt() / whole as f64;
            (Some((ratio - half).max(0.0)), Some((ratio + half).min(1.0)))
        });
        Figure {
            value,
            interval,
            events: part,
            exposure: Some(whole as f64),
            ..Figure::new(id, Method::Ratio, Unit::Share, pairs.len() as u64, of)
        }
    }

    /// In one line for a terminal: `92.3 % (95 % 81.8–97.0 %; n 52; 4 censored)`.
    pub fn text(&self) -> String {
        match super::html::rests_on(self) {
            none if none.is_empty() => super::html::said(self),
            rests_on => format!("{} ({rests_on})", super::html::said(self)),
        }
    }

    /// Too few runs to estimate anything from, though there are some.
    pub fn is_raw(&self) -> bool {
        self.n > 0 && self.n < RUNS_MIN as u64 && self.value.is_none()
    }

    pub fn json(&self, query: &str) -> Value {
        let times: Vec<Value> = self
            .raw
            .iter()
            .map(|time| json!({"seconds": time.seconds, "observed": time.observed}))
            .collect();
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                json!({
                    "seconds": point.time, "atRisk": point.at_risk, "events": point.events, "censored": point.censored,
                    "share": point.survival, "low": point.low, "high": point.high,
                })
            })
            .collect();
        json!({
            "id": self.id, "method": self.method.name(), "unit": self.unit.name(),
            "value": self.value, "interval": self.interval.map(|(low, high)| json!([low, high])),
            "n": self.n, "events": self.events, "censored": self.censored,
            "until": self.until, "exposure": self.exposure, "raw": times, "points": points,
            "logIndexes": self.of, "query": query,
        })
    }
}

/// What becomes of a share of few trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Few {
    Raw,
    Estimated,
}

fn raw(sample: &Sample) -> Vec<Time> {
    match sample.few() {
        true => sample.times.clone(),
        false => Vec::new(),
    }
}

/// Both ends of the exact 95 % interval of a Poisson count (Garwood 1936).
fn poisson(count: u64) -> (f64, f64) {
    let k = count as f64;
    let low = match count {
        0 => 0.0,
        _ => statistics::chi_squared_quantile(0.025, 2.0 * k) / 2.0,
    };
    (low, statistics::chi_squared_quantile(0.975, 2.0 * k + 2.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(values: &[(u64, bool)]) -> Sample {
        let mut sample = Sample::default();
        for (index, (us, observed)) in values.iter().enumerate() {
            sample.push(*us, *observed, index as u64);
        }
        sample
    }

    #[test]
    fn under_five_runs_there_are_raw_values_alone() {
        let few = sample(&[(1_000_000, true), (2_000_000, false)]);
        for figure in [
            Figure::probability("x".to_owned(), &few),
            Figure::median("x".to_owned(), &few),
            Figure::restricted_mean("x".to_owned(), &few),
            Figure::curve("x".to_owned(), &few),
        ] {
            assert_eq!((figure.value, figure.interval), (None, None), "{figure:?}");
            assert_eq!((figure.n, figure.events, figure.censored), (2, 1, 1));
            assert_eq!((figure.raw.len(), figure.points.len()), (2, 0));
            assert!(figure.is_raw());
        }
    }

    #[test]
    fn what_never_happened_is_censored_and_not_dropped() {
        let five = sample(&[
            (1_000_000, true),
            (2_000_000, true),
            (3_000_000, false),
            (3_000_000, false),
            (3_000_000, false),
        ]);
        let median = Figure::median("x".to_owned(), &five);
        assert_eq!((median.value, median.n, median.censored), (None, 5, 3));
        let mean = Figure::restricted_mean("x".to_owned(), &five);
        assert!((mean.value.unwrap() - 2.4).abs() < 1e-12, "{mean:?}");
        assert_eq!(mean.until, Some(3.0));
    }

    #[test]
    fn the_poisson_interval_is_garwoods() {
        for (count, low, high) in [
            (0, 0.0, 3.6889),
            (1, 0.0253, 5.5716),
            (10, 4.7954, 18.3904),
            (2000, 1913.3, 2089.6),
        ] {
            let (got_low, got_high) = poisson(count);
            assert!(
                (got_low - low).abs() < 1e-4 * (1.0 + low) && (got_high - high).abs() < 1e-4 * (1.0 + high),
                "{count}: {got_low} {got_high}"
            );
        }
    }

    #[test]
    fn a_ratio_takes_each_run_as_one() {
        let figure = Figure::ratio("x".to_owned(), &[(90, 100); 8], Vec::new());
        assert_eq!(
            (figure.value, figure.interval),
            (Some(0.9), Some((Some(0.9), Some(0.9))))
        );
        let all = Figure::ratio("x".to_owned(), &[(100, 100); 8], Vec::new());
        let (low, high) = all.interval.expect("an interval");
        assert!(low.is_some_and(|low| low < 0.7) && high == Some(1.0), "{all:?}");
        let few = Figure::ratio("x".to_owned(), &[(90, 100); 4], Vec::new());
        assert_eq!((few.value, few.interval), (Some(0.9), None));
        assert_eq!(Figure::ratio("x".to_owned(), &[], Vec::new()).value, None);
    }
}
