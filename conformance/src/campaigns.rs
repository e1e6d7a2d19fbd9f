//! `soak campaigns`: simulated campaigns of runs against detectors whose delays are known, 30 % of which never notice.
//! The 95 % intervals of detection probability, median and restricted mean must cover the truth in 93 to 97 % of them;
//! what the statistics say of every tenth must be what lifelines says; each simulated reading must be near the truth.
//!
//! Real clocks and real detectors are another campaign's (`soak truth`): here a reading is the moment at which a loop
//! that looks every few milliseconds sees what happened, in whole microseconds.

#[path = "../../crates/statistics/tests/oracle/mod.rs"]
mod oracle;

use serde_json::{Value, json};
use statistics::{Estimate, KaplanMeier, Random, Time, normal_sf};

use crate::Flags;

/// Delays are of this size, in seconds.
const DELAY_SECONDS: (f64, f64) = (0.01, 60.0);
/// Of a hundred runs, so many are noticed at all.
const NOTICED_PER_CENT: u64 = 70;
/// Detectors are looked at this often.
const LOOK_SECONDS: f64 = 0.005;
/// A reading is allowed to be off by so much, and by this share of itself.
const ERROR_SECONDS_MAX: f64 = 0.005;
const ERROR_SHARE_MAX: f64 = 0.005;
/// Numbers of runs of a campaign, by class.
const CLASSES: [(u64, u64); 5] = [(5, 9), (10, 19), (20, 34), (35, 59), (60, 100)];
/// Bounds of what an interval that is called one of 95 % may cover, in per cent.
const COVERED: (f64, f64) = (93.0, 97.0);
/// In one of so many campaigns, some runs end before their window does.
const INTERRUPTED_ONE_IN: u64 = 4;
/// Of a hundred runs of those, so many are ended early.
const INTERRUPTED_PER_CENT: u64 = 10;
/// Every so many campaigns lifelines is asked.
const ORACLE_ONE_IN: u64 = 10;
/// Delays drawn for what a distribution's truth is.
const TRUTH_DRAWS: usize = 400_000;

pub fn run(flags: &Flags) -> Result<(), String> {
    let (runs, seed) = (flags.number("--runs", 1_000)?, flags.number("--seed", 1)?);
    let python = oracle::python();
    let optional = flags.get("--oracle") == Some("optional");
    if python.is_none() && !optional {
        return Err("lifelines is not installed: ../shared/peers has it".to_owned());
    }
    let worlds: Vec<World> = Delays::ALL.iter().map(|delays| World::new(*delays)).collect();
    let mut cover = vec![[Covered::default(); 3]; CLASSES.len()];
    let (mut readings, mut error_max, mut cases, mut failures) = (0_u64, 0.0_f64, Vec::new(), Vec::new());
    for number in 0..runs {
        let mut random = Random::new(seed.wrapping_add(number)).fork();
        let class = (number % CLASSES.len() as u64) as usize;
        let world = &worlds[random.index(worlds.len())];
        let campaign = Campaign::new(world, CLASSES[class], &mut random);
        for (reading, truth) in &campaign.seen {
            readings += 1;
            error_max = error_max.max((reading - truth).abs());
            if (reading - truth).abs() > ERROR_SECONDS_MAX + ERROR_SHARE_MAX * truth {
                failures.push(format!("campaign {number}: {truth} s was read as {reading} s"));
            }
        }
        for (covered, (estimate, truth)) in cover[class].iter_mut().zip(campaign.estimates(world)) {
            covered.count(&estimate, truth);
        }
        if number % ORACLE_ONE_IN == 0 {
            cases.push(campaign.case());
        }
    }
    let answers = match &python {
        Some(python) => oracle::asked(python, &cases)?,
        None => Vec::new(),
    };
    for (number, answer) in answers.iter().enumerate() {
        let differing = oracle::differences(answer);
        failures.extend(
            differing
                .into_iter()
                .map(|text| format!("campaign {}: {text}", number as u64 * ORACLE_ONE_IN)),
        );
    }
    if python.is_some() && (answers.len() != cases.len() || answers.is_empty()) {
        failures.push(format!(
            "lifelines answered {} of {} campaigns",
            answers.len(),
            cases.len()
        ));
    }
    print(&cover, &mut failures);
    println!("{readings} readings, off by {:.2} ms at most", error_max * 1e3);
    match python {
        Some(_) => println!("{} campaigns as lifelines has them", answers.len()),
        None => println!("not run: what lifelines says of them, which is not installed"),
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!("{runs} campaigns, {} failures", failures.len());
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failures", failures.len()))
    }
}

const MEASURES: [&str; 3] = ["detection probability", "median", "restricted mean"];

fn print(cover: &[[Covered; 3]], failures: &mut Vec<String>) {
    println!("covered by the 95 % interval, in per cent of the campaigns:");
    println!("{:<14}{:>11}  {}", "runs", "campaigns", MEASURES.join("  "));
    let line = |name: &str, row: &[Covered; 3]| {
        let cells = row.iter().zip(MEASURES);
        let cells: String = cells
            .map(|(covered, name)| format!("  {:>width$.1}", covered.per_cent(), width = name.len()))
            .collect();
        println!("{name:<14}{:>11}{cells}", row[0].all);
    };
    let mut pooled = [Covered::default(); 3];
    for ((low, high), row) in CLASSES.iter().zip(cover) {
        line(&format!("{low} to {high}"), row);
        for (sum, one) in pooled.iter_mut().zip(row) {
            sum.all += one.all;
            sum.covered += one.covered;
        }
    }
    line("all", &pooled);
    for (covered, name) in pooled.iter().zip(MEASURES) {
        failures.extend(covered.objection().map(|text| format!("{name}: {text}")));
    }
}

/// How often an interval held the truth.
#[derive(Debug, Clone, Copy, Default)]
struct Covered {
    covered: u64,
    all: u64,
}

impl Covered {
    fn count(&mut self, estimate: &Estimate, truth: f64) {
        let holds = estimate.interval.is_some_and(|(low, high)| {
            // An end that was not reached lies beyond every time that was watched.
            low.is_some_and(|low| low <= truth) && high.is_none_or(|high| truth <= high)
        });
        self.all += 1;
        self.covered += u64::from(holds);
    }

    fn per_cent(self) -> f64 {
        100.0 * self.covered as f64 / self.all.max(1) as f64
    }

    /// From a thousand campaigns on the bounds hold as they are; a share of fewer says less, and fails only where it
    /// would be a rare accident (one in a thousand) of one that keeps them.
    fn objection(self) -> Option<String> {
        let n = self.all as f64;
        let strict = self.all >= 1_000;
        let beyond = |bound: f64, off: f64| {
            let error = (bound * (100.0 - bound) / n.max(1.0)).sqrt();
            off > 0.0 && (strict || normal_sf((off - 50.0 / n.max(1.0)) / error) < 0.001)
        };
        let share = self.per_cent();
        let (low, high) = COVERED;
        (beyond(low, low - share) || beyond(high, share - high))
            .then(|| format!("covered in {share:.1} % of {} campaigns, not {low} to {high}", self.all))
    }
}

/// How long a detector takes, if it notices at all.
#[derive(Debug, Clone, Copy)]
pub enum Delays {
    /// Always nearly the same: a rule that reads a log.
    Steady,
    /// Every order of magnitude alike.
    LogUniform,
    Uniform,
    /// Somebody who looks now and then.
    Exponential,
    /// Fast, with a long tail.
    LogNormal,
    /// One detector that is fast, and one that is slow.
    TwoOfThem,
}

impl Delays {
    pub const ALL: [Delays; 6] = [
        Delays::Steady,
        Delays::LogUniform,
        Delays::Uniform,
        Delays::Exponential,
        Delays::LogNormal,
        Delays::TwoOfThem,
    ];

    /// Seconds.
    pub fn draw(self, random: &mut Random) -> f64 {
        let (low, high) = DELAY_SECONDS;
        let seconds = match self {
            Delays::Steady => 5.0 + 0.2 * random.normal(),
            Delays::LogUniform => low * (random.uniform() * (high / low).ln()).exp(),
            Delays::Uniform => low + (high - low) * random.uniform(),
            Delays::Exponential => low + 10.0 * random.exponential(),
            Delays::LogNormal => 0.2 * (0.8 * random.normal()).exp(),
            Delays::TwoOfThem if random.below(10) < 6 => 0.01 + 0.09 * random.uniform(),
            Delays::TwoOfThem => 20.0 + 20.0 * random.uniform(),
        };
        seconds.clamp(low, high)
    }
}

/// Delays, and what is true of them.
struct World {
    delays: Delays,
    /// Many of them, sorted.
    drawn: Vec<f64>,
    /// When half of all runs have been noticed.
    median: f64,
}

impl World {
    fn new(delays: Delays) -> World {
        let mut random = Random::new(0x7275_6e73);
        let mut drawn: Vec<f64> = (0..TRUTH_DRAWS).map(|_| delays.draw(&mut random)).collect();
        drawn.sort_by(f64::total_cmp);
        let median = statistics::quantile(&drawn, 0.5 / noticed()).unwrap_or(f64::NAN);
        World { delays, drawn, median }
    }

    /// The share of all runs that is noticed within a window, and the mean time within it.
    fn within(&self, window: f64) -> (f64, f64) {
        let early = self.drawn.partition_point(|delay| *delay <= window);
        let all = self.drawn.len() as f64;
        let share = noticed() * early as f64 / all;
        let sum: f64 = self.drawn[..early].iter().sum();
        (share, noticed() * sum / all + (1.0 - share) * window)
    }
}

fn noticed() -> f64 {
    NOTICED_PER_CENT as f64 / 100.0
}

/// Runs of one experiment, as measured.
struct Campaign {
    window: f64,
    times: Vec<Time>,
    /// What was read, and what was so, of each run that was noticed.
    seen: Vec<(f64, f64)>,
}

impl Campaign {
    fn new(world: &World, (low, high): (u64, u64), random: &mut Random) -> Campaign {
        let n = low + random.below(high - low + 1);
        // A window that cuts off up to a tenth of the delays, so that half of all runs are noticed within it.
        let window = statistics::quantile(&world.drawn, 0.9 + 0.1 * random.uniform()).unwrap_or(DELAY_SECONDS.1);
        let interrupted = random.below(INTERRUPTED_ONE_IN) == 0;
        let mut campaign = Campaign {
            window,
            times: Vec::new(),
            seen: Vec::new(),
        };
        for _ in 0..n {
            let notices = random.below(100) < NOTICED_PER_CENT;
            let delay = world.delays.draw(random);
            let early = interrupted && random.below(100) < INTERRUPTED_PER_CENT;
            let watched = if early { window * random.uniform() } else { window };
            // The loop's first look is at any moment of its period; what a look sees is read in whole microseconds.
            let first = LOOK_SECONDS * random.uniform();
            let look = first + ((delay - first) / LOOK_SECONDS).ceil() * LOOK_SECONDS;
            let reading = (look * 1e6).floor() / 1e6;
            let observed = notices && delay <= watched;
            if observed {
                campaign.seen.push((reading, delay));
            }
            let seconds = if observed { reading.min(watched) } else { watched };
            campaign.times.push(Time { seconds, observed });
        }
        campaign
    }

    /// Detection probability, median and restricted mean, each with the truth.
    fn estimates(&self, world: &World) -> [(Estimate, f64); 3] {
        let fitted = KaplanMeier::fit(&self.times);
        let (share, mean) = world.within(self.window);
        [
            (fitted.share_by(self.window), share),
            (fitted.median(), world.median),
            (fitted.restricted_mean(self.window), mean),
        ]
    }

    /// For the oracle.
    fn case(&self) -> Value {
        let times: Vec<Value> = self
            .times
            .iter()
            .map(|time| json!([time.seconds, time.observed]))
            .collect();
        json!({"kind": "survival", "times": times, "tau": self.window})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_within_what_is_claimed() {
        for delays in Delays::ALL {
            let mut random = Random::new(1);
            let drawn: Vec<f64> = (0..10_000).map(|_| delays.draw(&mut random)).collect();
            assert!(drawn.iter().all(|delay| (0.01..=60.0).contains(delay)), "{delays:?}");
            let world = World::new(delays);
            // Half of all runs are the 0.714 quantile of those that are noticed.
            assert!(
                statistics::median(&drawn).is_some_and(|half| half < world.median),
                "{delays:?}"
            );
            assert!((world.within(60.0).0 - 0.7).abs() < 1e-9, "{delays:?}");
        }
    }

    #[test]
    fn few_campaigns_fail_only_where_that_is_no_accident() {
        for (covered, all, objects) in [
            (9, 10, false),
            (10, 10, false),
            (5, 10, true),
            (929, 1_000, true),
            (945, 1_000, false),
            (971, 1_000, true),
        ] {
            assert_eq!(
                Covered { covered, all }.objection().is_some(),
                objects,
                "{covered} of {all}"
            );
        }
    }
}
