//! What a study of a given order can find: the smallest p that it can come to, and how often it finds a difference that
//! is there.

use evidence::predicates::{StudyArm, StudyPower};
use statistics::{Block, Random, Time, permuted_log_rank};

/// Rates of the treatment by that of the control, of which a table speaks.
const HAZARD_RATIOS: [f64; 5] = [1.5, 2.0, 3.0, 5.0, 10.0];
/// Studies that are simulated for one figure: its standard error is half a point at most.
const SIMULATED: u64 = 10_000;
/// The same table every time: whoever recomputes it gets the logged one.
const SEED: u64 = 0x7374_7564;

/// The p of the two most extreme orders, of which half counts.
pub(super) fn smallest_p(order: &[Vec<StudyArm>]) -> f64 {
    let orders = |block: &Vec<StudyArm>| {
        let (n, k) = (block.len(), treated(block));
        (0..k).fold(1.0, |product, at| product * (n - at) as f64 / (at + 1) as f64)
    };
    1.0 / order.iter().map(orders).product::<f64>()
}

/// By ratio of rates, to a whole per mille.
pub(super) fn table(order: &[Vec<StudyArm>], alpha: f64, expected_share: f64) -> Vec<StudyPower> {
    let mut random = Random::new(SEED);
    let of = |hazard_ratio: f64| StudyPower {
        hazard_ratio,
        power: power(order, alpha, expected_share, hazard_ratio, SIMULATED, &mut random),
    };
    HAZARD_RATIOS.map(of).to_vec()
}

/// The share of simulated studies that find a treatment `hazard_ratio` times as fast, when it happens within the window
/// in `expected_share` of the control's runs.
///
/// The test sees nothing of times but their order, so that of delays only the ratio of rates matters, as long as it is
/// the same at all times; what happens at once, and never, happens in either arm by the same law.
pub fn power(
    order: &[Vec<StudyArm>],
    alpha: f64,
    expected_share: f64,
    hazard_ratio: f64,
    studies: u64,
    random: &mut Random,
) -> f64 {
    // In units of the control's mean, the window is where the expected share has happened.
    let window = -(-expected_share).ln_1p();
    let mut found = 0;
    for _ in 0..studies {
        let mut draw = |n: usize, rate: f64| -> Vec<Time> {
            let time = |_| {
                let seconds = random.exponential() / rate;
                Time {
                    seconds: seconds.min(window),
                    observed: seconds <= window,
                }
            };
            (0..n).map(time).collect()
        };
        let blocks: Vec<Block> = order
            .iter()
            .map(|block| Block {
                treatment: draw(treated(block), hazard_ratio),
                control: draw(block.len() - treated(block), 1.0),
            })
            .collect();
        found += u64::from(permuted_log_rank(&blocks).p <= alpha);
    }
    (found as f64 * 1000.0 / studies.max(1) as f64).round() / 1000.0
}

fn treated(block: &[StudyArm]) -> usize {
    block.iter().filter(|arm| **arm == StudyArm::Treatment).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_grows_with_the_difference_and_is_alpha_without_one() {
        let order = vec![
            vec![
                StudyArm::Treatment,
                StudyArm::Treatment,
                StudyArm::Control,
                StudyArm::Control
            ];
            4
        ];
        assert!((smallest_p(&order) - 1.0 / 1296.0).abs() < 1e-12);
        let mut random = Random::new(2);
        let powers = [1.0, 3.0, 10.0].map(|ratio| power(&order, 0.05, 0.7, ratio, 400, &mut random));
        assert!(
            powers[0] < 0.1 && powers[0] < powers[1] && powers[1] < powers[2],
            "{powers:?}"
        );
    }
}
