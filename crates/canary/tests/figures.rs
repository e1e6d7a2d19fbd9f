//! How often the comparison errs and how soon it answers, by simulation with a fixed seed.
//!
//! Each run is a whole rollout (10 per cent for 300 requests, then 50 per cent) with a look every 20 requests and
//! stopping at the first answer, so that optional stopping is in it. `-- --nocapture` prints the table.

use canary::{ArmName, Comparator, Decision, Limits};

const LIMITS: Limits = Limits {
    alpha: 0.05,
    error_margin: 0.01,
    slow_margin: 0.05,
    requests_max: 6000,
};
const RUNS: u64 = 200;
const LOOK_EVERY: u64 = 20;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn hit(&mut self, p: f64) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64) / ((1u64 << 53) as f64) < p
    }
}

struct Answers {
    promoted: u64,
    halted: u64,
    undecided: u64,
    /// Requests of the new arm when the answer came, sorted.
    new_requests: Vec<u64>,
}

/// Shares of errors and of slow requests, old and new.
#[derive(Clone, Copy, Debug)]
struct World {
    errors: (f64, f64),
    slow: (f64, f64),
}

fn simulate(world: World, seed: u64) -> Answers {
    let mut answers = Answers {
        promoted: 0,
        halted: 0,
        undecided: 0,
        new_requests: Vec::new(),
    };
    for run in 0..RUNS {
        let mut dice = Dice(seed.wrapping_mul(1_000_003).wrapping_add(run));
        let mut comparator = Comparator::new(LIMITS);
        let (mut new, mut sent) = (0, 0u64);
        let decision = loop {
            let arm = if dice.hit(if sent < 300 { 0.1 } else { 0.5 }) {
                ArmName::New
            } else {
                ArmName::Old
            };
            let (errors, slow) = match arm {
                ArmName::Old => (world.errors.0, world.slow.0),
                ArmName::New => (world.errors.1, world.slow.1),
            };
            comparator.observe(arm, dice.hit(errors), dice.hit(slow), 1000);
            new += u64::from(arm == ArmName::New);
            sent += 1;
            if sent.is_multiple_of(LOOK_EVERY) {
                match comparator.decision() {
                    Decision::Continue => {}
                    // As the rollout has it: nobody is promoted from the first weight.
                    Decision::Promote { .. } if sent < 300 => {}
                    decided => break decided,
                }
            }
        };
        match decision {
            Decision::Promote { .. } => answers.promoted += 1,
            Decision::Halt { .. } => answers.halted += 1,
            _ => answers.undecided += 1,
        }
        answers.new_requests.push(new);
    }
    answers.new_requests.sort_unstable();
    println!(
        "{world:?}: promoted {}, halted {}, undecided {} of {RUNS}; new arm's requests median {}, 95 % {}",
        answers.promoted,
        answers.halted,
        answers.undecided,
        answers.new_requests[RUNS as usize / 2],
        answers.new_requests[RUNS as usize * 95 / 100],
    );
    answers
}

fn errors(old: f64, new: f64) -> World {
    World {
        errors: (old, new),
        slow: (0.0, 0.0),
    }
}

/// At most `alpha` of the runs, the bound of the theorem itself: the process is conservative enough to keep it.
fn assert_rare(count: u64, world: World, what: &str) {
    assert!(
        count as f64 <= LIMITS.alpha * RUNS as f64,
        "{what} {count} of {RUNS} times in {world:?}"
    );
}

#[test]
fn identical_versions_are_rarely_halted() {
    for (seed, p) in [0.0, 0.001, 0.01, 0.05, 0.2, 0.5].into_iter().enumerate() {
        let world = World {
            errors: (p, p),
            slow: (p, p),
        };
        assert_rare(simulate(world, seed as u64).halted, world, "halted");
    }
}

#[test]
fn a_quarter_of_a_margin_worse_is_rarely_halted() {
    for (seed, p) in [0.0, 0.001, 0.01, 0.05, 0.2, 0.5].into_iter().enumerate() {
        let world = World {
            errors: (p, p + 0.0025),
            slow: (p, p + 0.0125),
        };
        assert_rare(simulate(world, 100 + seed as u64).halted, world, "halted");
    }
}

#[test]
fn a_margin_worse_is_rarely_promoted() {
    for (seed, p) in [0.0, 0.001, 0.01, 0.05, 0.2, 0.5].into_iter().enumerate() {
        for world in [
            errors(p, p + 0.01),
            World {
                errors: (0.0, 0.0),
                slow: (p, p + 0.05),
            },
        ] {
            assert_rare(simulate(world, 200 + seed as u64).promoted, world, "promoted");
        }
    }
}

#[test]
fn two_per_cent_more_errors_halt_soon() {
    for (seed, (p, new_requests_max)) in [(0.0, 1000), (0.0005, 1500), (0.002, 2500)].into_iter().enumerate() {
        let answers = simulate(errors(p, p + 0.02), 300 + seed as u64);
        assert!(answers.halted * 100 >= RUNS * 98, "halted {} of {RUNS}", answers.halted);
        assert!(answers.new_requests[RUNS as usize * 95 / 100] <= new_requests_max);
    }
}

#[test]
fn a_clean_version_is_promoted_soon() {
    for (seed, p) in [0.0, 0.0002, 0.001].into_iter().enumerate() {
        let answers = simulate(errors(p, p), 400 + seed as u64);
        assert!(
            answers.promoted * 100 >= RUNS * 98,
            "promoted {} of {RUNS}",
            answers.promoted
        );
        assert!(answers.new_requests[RUNS as usize * 95 / 100] <= 1500);
    }
}

#[test]
fn a_slow_version_is_halted() {
    let answers = simulate(
        World {
            errors: (0.0, 0.0),
            slow: (0.01, 0.12),
        },
        500,
    );
    assert_eq!(answers.halted, RUNS);
}
