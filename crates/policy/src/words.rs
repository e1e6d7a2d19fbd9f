//! How numbers, times and names read on a line for people.

use evidence::{Digest, Timestamp};

/// `1 secret`, `0 secrets`, `2,310 requests`.
pub(crate) fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// `2,310`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `140 ms`, `1.3 s`, `0.2 ms`.
pub(crate) fn duration(us: u64) -> String {
    match us {
        0..=999 => format!("{:.1} ms", us as f64 / 1e3),
        // What rounds to 1000 ms is a second.
        1_000..=999_499 => format!("{:.0} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

/// Names in backticks, at most five, the rest counted; of each, its first line and not more than fits one.
pub(crate) fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names_up_to(5, names)
}

/// The same, at most `names_max`.
pub(crate) fn names_up_to<'a>(names_max: usize, names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = names.into_iter().collect();
    let mut out = all
        .iter()
        .take(names_max)
        .map(|name| format!("`{}`", line(name)))
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > names_max {
        out.push_str(&format!(" and {} more", all.len() - names_max));
    }
    out
}

/// The first line of `text`, cut where it is too long; `…` says that there was more.
pub(crate) fn line(text: &str) -> String {
    const CHARS_MAX: usize = 160;
    let first = text.lines().next().unwrap_or("").trim_end();
    let mut out: String = first.chars().take(CHARS_MAX).collect();
    if out.len() < text.trim_end().len() {
        out.push('…');
    }
    out
}

/// `sha256:1a2b3c4d…`, long enough to find it.
pub(crate) fn digest(digest: Digest) -> String {
    format!("sha256:{}…", digest.short())
}

/// `2026-08-21`.
pub(crate) fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

/// The candidate that `typed` may have meant, if one is near enough (Levenshtein distance of at most a third).
pub(crate) fn did_you_mean<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(typed, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    // A name longer than any of ours is not a typing error.
    const LENGTH_MAX: usize = 64;
    let (a, b): (Vec<char>, Vec<char>) = (
        a.chars().take(LENGTH_MAX).collect(),
        b.chars().take(LENGTH_MAX).collect(),
    );
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(count(1, "secret", "secrets"), "1 secret");
        assert_eq!(count(0, "secret", "secrets"), "0 secrets");
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(thousands),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 240, 140_000, 999_499, 999_500, 1_300_000].map(duration),
            ["0.0 ms", "0.2 ms", "140 ms", "999 ms", "1.0 s", "1.3 s"]
        );
        assert_eq!(names(["a", "b"]), "`a`, `b`");
        assert_eq!(
            names(["wrote no report:\nsegfault\n", "x\n"]),
            "`wrote no report:…`, `x`"
        );
        assert_eq!(line(&"é".repeat(161)).chars().count(), 161);
        assert_eq!(
            names(["a", "b", "c", "d", "e", "f", "g"]),
            "`a`, `b`, `c`, `d`, `e` and 2 more"
        );
    }

    #[test]
    fn near_names() {
        let known = ["no-secrets", "no-rerun", "steps-passed"];
        for (typed, meant) in [
            ("no-secret", Some("no-secrets")),
            ("no_rerun", Some("no-rerun")),
            ("step-passed", Some("steps-passed")),
            ("frobnicate", None),
            ("", None),
        ] {
            assert_eq!(did_you_mean(typed, known), meant, "{typed}");
        }
    }
}
