//! CVSS: from a vector to a score, and from a score to words.
//!
//! Version 3.0 and 3.1 base scores are computed here (<https://www.first.org/cvss/v3.1/specification-document>, section 7.1);
//! version 4.0 by the `cvss` crate; version 2 is not read. Start reading at [`severity_of_vector`].

use std::str::FromStr as _;

use evidence::Severity;

/// The severity a vector (`CVSS:3.1/AV:N/…`, `CVSS:4.0/AV:N/…`) stands for; `None` when it is none.
pub fn severity_of_vector(vector: &str) -> Option<Severity> {
    score(vector).map(severity_of_score)
}

/// From 0 to 10.
pub(crate) fn score(vector: &str) -> Option<f64> {
    if vector.starts_with("CVSS:4.0/") {
        return cvss::v4::Vector::from_str(vector)
            .ok()
            .map(|vector| vector.score().value());
    }
    base_score_v3(vector)
}

/// Qualitative rating, section 5 of the specification; 0 is a note.
pub fn severity_of_score(score: f64) -> Severity {
    match score {
        score if score >= 9.0 => Severity::Critical,
        score if score >= 7.0 => Severity::High,
        score if score >= 4.0 => Severity::Medium,
        score if score > 0.0 => Severity::Low,
        _ => Severity::Note,
    }
}

/// The base score of a version 3.0 or 3.1 vector. Temporal and environmental metrics are allowed and do not count.
/// `None` when a base metric is missing, stands twice or has an unknown value.
pub fn base_score_v3(vector: &str) -> Option<f64> {
    let metrics = vector
        .strip_prefix("CVSS:3.1/")
        .or_else(|| vector.strip_prefix("CVSS:3.0/"))?;
    let metric = |wanted: &str| -> Option<&str> {
        let mut values = metrics
            .split('/')
            .filter_map(|pair| pair.split_once(':'))
            .filter(|(name, _)| *name == wanted);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    };
    let changed = match metric("S")? {
        "U" => false,
        "C" => true,
        _ => return None,
    };
    let pick = |name: &str, table: &[(&str, f64)]| {
        let value = metric(name)?;
        table.iter().find(|(key, _)| *key == value).map(|(_, weight)| *weight)
    };
    let attack_vector = pick("AV", &[("N", 0.85), ("A", 0.62), ("L", 0.55), ("P", 0.2)])?;
    let complexity = pick("AC", &[("L", 0.77), ("H", 0.44)])?;
    let privileges = match changed {
        false => pick("PR", &[("N", 0.85), ("L", 0.62), ("H", 0.27)])?,
        true => pick("PR", &[("N", 0.85), ("L", 0.68), ("H", 0.5)])?,
    };
    let interaction = pick("UI", &[("N", 0.85), ("R", 0.62)])?;
    let loss = [("H", 0.56), ("L", 0.22), ("N", 0.0)];
    let (c, i, a) = (pick("C", &loss)?, pick("I", &loss)?, pick("A", &loss)?);

    let base = 1.0 - (1.0 - c) * (1.0 - i) * (1.0 - a);
    let impact = if changed {
        7.52 * (base - 0.029) - 3.25 * (base - 0.02).powi(15)
    } else {
        6.42 * base
    };
    let exploitability = 8.22 * attack_vector * complexity * privileges * interaction;
    if impact <= 0.0 {
        return Some(0.0);
    }
    let sum = if changed {
        1.08 * (impact + exploitability)
    } else {
        impact + exploitability
    };
    Some(round_up(sum.min(10.0)))
}

/// Rounds up to one decimal, by the specification's integer method (appendix A), so that every machine agrees.
fn round_up(value: f64) -> f64 {
    let scaled = (value * 100_000.0).round();
    let scaled = scaled as i64; // At most 1,000,000: the score is at most 10.
    if scaled % 10_000 == 0 {
        scaled as f64 / 100_000.0
    } else {
        ((scaled / 10_000) + 1) as f64 / 10.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scores of the examples document and of published advisories.
    #[test]
    fn published_scores() {
        for (vector, expect) in [
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1),
            ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1),
            ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H", 7.5),
            ("CVSS:3.0/AV:L/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:H", 7.8),
            ("CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 4.7),
            ("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:L/I:N/A:N", 1.6),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5),
            ("CVSS:3.1/AV:A/AC:L/PR:N/UI:N/S:C/C:H/I:N/A:H", 9.3),
            ("CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:H/I:H/A:H/E:P/RL:O", 7.8),
        ] {
            assert_eq!(base_score_v3(vector), Some(expect), "{vector}");
        }
    }

    #[test]
    fn version_4_and_words() {
        for (vector, expect) in [
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H",
                Some(Severity::Critical),
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N",
                Some(Severity::High),
            ),
            (
                "CVSS:4.0/AV:P/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N",
                Some(Severity::Low),
            ),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", Some(Severity::Medium)),
            ("CVSS:4.0/AV:X", None),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", None),
        ] {
            assert_eq!(severity_of_vector(vector), expect, "{vector}");
        }
    }

    #[test]
    fn what_is_no_vector_has_no_score() {
        for vector in [
            "",
            "CVSS:3.1/",
            "CVSS:3.1/AV:N",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/A:N",
            "CVSS:9.9/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
        ] {
            assert_eq!(base_score_v3(vector), None, "{vector}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_score_between_0_and_10_or_none(text in "(CVSS:[34].[01]/)?[A-Z:/]{0,60}") {
            prop_assert!(score(&text).is_none_or(|score| (0.0..=10.0).contains(&score)));
        }
    }
}
