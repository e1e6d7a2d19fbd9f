//! Logs: one JSON object a line on stdout. Never pass a token as a field.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// Writes log lines of one service.
#[derive(Debug, Clone, Copy)]
pub struct Log {
    service: &'static str,
    sink: fn(&str),
}

impl Log {
    pub const fn to_stdout(service: &'static str) -> Self {
        // One write a line, so that lines of two threads don't mix. A closed stdout is nobody's emergency.
        let sink = |line: &str| drop(std::io::stdout().lock().write_all(line.as_bytes()));
        Log { service, sink }
    }

    /// Writes nothing: for tests, whose stdout belongs to the test harness.
    pub const fn silent(service: &'static str) -> Self {
        Log { service, sink: |_| {} }
    }

    pub fn info(&self, event: &str, fields: &[(&str, Value)]) {
        self.line("info", event, fields);
    }

    pub fn warn(&self, event: &str, fields: &[(&str, Value)]) {
        self.line("warn", event, fields);
    }

    fn line(&self, level: &str, event: &str, fields: &[(&str, Value)]) {
        (self.sink)(&render(
            &timestamp(SystemTime::now()),
            level,
            self.service,
            event,
            fields,
        ));
    }
}

fn render(ts: &str, level: &str, service: &str, event: &str, fields: &[(&str, Value)]) -> String {
    let mut line = Map::new();
    for (name, value) in [("ts", ts), ("level", level), ("service", service), ("event", event)] {
        line.insert(name.to_owned(), Value::from(value));
    }
    for (name, value) in fields {
        line.insert((*name).to_owned(), value.clone());
    }
    format!("{}\n", Value::Object(line))
}

/// RFC 3339 in UTC, to the millisecond.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days to civil date, after Howard Hinnant's `civil_from_days`; the era begins on 0000-03-01.
    let day = days + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        since.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps_are_rfc_3339() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_772_323_199, "2026-02-28T23:59:59.007Z"),
        ] {
            assert_eq!(
                timestamp(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(7)),
                expect
            );
        }
    }

    #[test]
    fn a_field_cannot_break_out_of_its_line() {
        let line = render("t", "info", "s", "e", &[("reason", Value::from("a\n\"b\""))]);
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["reason"], "a\n\"b\"");
    }
}
