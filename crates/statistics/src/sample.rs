//! Figures of raw values, nothing censored.

/// The middle value, or the mean of the two in the middle; `None` of nothing. What is no number is left out.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The value below which the share `p` lies, interpolated as NumPy and R do by default (Hyndman and Fan 1996, type 7).
/// `None` of nothing, or for a `p` outside 0 to 1. What is no number is left out.
pub fn quantile(values: &[f64], p: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    if sorted.is_empty() || !(0.0..=1.0).contains(&p) {
        return None;
    }
    sorted.sort_by(f64::total_cmp);
    let place = p * (sorted.len() - 1) as f64;
    let below = place.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(sorted.len() - 1)]);
    let share = place - below as f64;
    Some(if share == 0.0 { low } else { low + (high - low) * share })
}

/// `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_numpys() {
        for (values, p, expect) in [
            (&[][..], 0.5, None),
            (&[f64::NAN], 0.5, None),
            (&[3.0], 0.9, Some(3.0)),
            (&[3.0, 1.0, 2.0], 0.5, Some(2.0)),
            (&[4.0, 1.0, 2.0, 3.0], 0.5, Some(2.5)),
            (&[4.0, 1.0, 2.0, 3.0], 0.25, Some(1.75)),
            (&[4.0, f64::NAN, 1.0], 1.0, Some(4.0)),
            (&[1.0, f64::INFINITY], 0.0, Some(1.0)),
            (&[1.0], 1.5, None),
            (&[1.0], f64::NAN, None),
        ] {
            assert_eq!(quantile(values, p), expect, "{values:?} {p}");
        }
        assert_eq!(median(&[1.0, 2.0]), Some(1.5));
        assert_eq!((mean(&[]), mean(&[1.0, 2.0])), (None, Some(1.5)));
    }
}
