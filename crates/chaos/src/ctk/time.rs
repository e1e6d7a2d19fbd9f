//! Times as the journal writes them.

/// Microseconds since 1970, UTC, as ISO 8601 with an offset; the fraction is left out when it is zero.
pub fn iso(us: i64) -> String {
    let seconds = us.div_euclid(1_000_000);
    let fraction = us.rem_euclid(1_000_000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, date) = civil(day);
    let fraction = if fraction == 0 {
        String::new()
    } else {
        format!(".{fraction:06}")
    };
    format!(
        "{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}{fraction}+00:00",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Seconds, to the microsecond.
#[expect(clippy::cast_precision_loss, reason = "durations are far below 2^53 microseconds")]
pub fn seconds_between(start_us: i64, end_us: i64) -> f64 {
    (end_us - start_us) as f64 / 1e6
}

/// The date of a day since 1970, in the proleptic Gregorian calendar.
fn civil(day: i64) -> (i64, i64, i64) {
    // Days are counted from 1 March of year 0, so that leap days come last.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso() {
        for (us, expect) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001+00:00"),
            (1_795_520_399_500_000, "2026-11-24T11:39:59.500000+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(iso(us), expect);
        }
    }
}
