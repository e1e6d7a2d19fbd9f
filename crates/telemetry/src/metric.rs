//! Prometheus text exposition (<https://prometheus.io/docs/instrumenting/exposition_formats/>), as far as
//! reading one metric's value needs it.

/// The value of metric `name` in `text`, summed over its label sets; `None` where the page has no sample of it.
///
/// Samples that are not a finite number (`NaN`, `+Inf`) don't add to the sum, and lines that are not samples are
/// passed over: a page of another format reads as a page without the metric.
pub fn metric(text: &str, name: &str) -> Option<f64> {
    text.lines()
        .filter_map(sample)
        .filter(|(sampled, _, _)| *sampled == name)
        .map(|(_, _, value)| value)
        .fold(None, |sum, value| {
            let finite = if value.is_finite() { value } else { 0.0 };
            Some(sum.unwrap_or(0.0) + finite)
        })
}

/// Labels and value of every sample of `name` in `text`. Labels that can't be read end there.
pub(crate) fn series<'t>(text: &'t str, name: &'t str) -> impl Iterator<Item = (Vec<(&'t str, String)>, f64)> {
    text.lines()
        .filter_map(sample)
        .filter(move |(sampled, _, _)| *sampled == name)
        .map(|(_, braces, value)| (labels(braces), value))
}

/// Name, labels with their braces and value of one line, or `None` when it is a comment, blank or no sample.
fn sample(line: &str) -> Option<(&str, &str, f64)> {
    let line = line.trim_start();
    if line.starts_with('#') {
        return None;
    }
    let (name, rest) = if let Some(inside) = line.strip_prefix('{') {
        // Names outside of [a-zA-Z_:][a-zA-Z0-9_:]* stand quoted as the first thing in the braces.
        let quoted = inside.trim_start().strip_prefix('"')?;
        (&quoted[..quoted.find('"')?], line)
    } else {
        let end = line.find(|c: char| c == '{' || c.is_ascii_whitespace())?;
        line.split_at(end)
    };
    let rest = rest.trim_start();
    let (braces, value) = if rest.starts_with('{') {
        rest.split_at(labels_end(rest)?)
    } else {
        ("", rest)
    };
    Some((name, braces, value.split_ascii_whitespace().next()?.parse().ok()?))
}

/// Names and values of `{a="b",c="d"}`, as far as they can be read; a quoted metric name among them is none.
fn labels(braces: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = braces.strip_prefix('{').unwrap_or_default();
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        if let Some((_, after)) = quoted(rest)
            && !after.trim_start().starts_with('=')
        {
            rest = after;
            continue;
        }
        let Some((name, after)) = rest.split_once('=') else {
            return found;
        };
        let Some((value, after)) = quoted(after.trim_start()) else {
            return found;
        };
        found.push((name.trim().trim_matches('"'), value));
        rest = after;
    }
}

/// The text between the quotes that `text` begins with, and what stands behind them.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inside = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &inside[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

/// Where the braces at the start of `text` end. A `}` within quotes doesn't end them.
fn labels_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'}' if !quoted => return Some(index + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, name: &str, expect: Option<f64>) {
        assert_eq!(metric(text, name), expect, "{name} in {text:?}");
    }

    #[test]
    fn reads_the_text_format() {
        check("", "a", None);
        check("a 1", "a", Some(1.0));
        check("a 1\n", "b", None);
        check("ab 1\n", "a", None);
        check("# HELP a words\n# TYPE a counter\na 3\n", "a", Some(3.0));
        check("a{x=\"1\"} 2\na{x=\"2\"} 3 1395066363000\n", "a", Some(5.0));
        check("a{x=\"}\\\"} 9\"} 2\n", "a", Some(2.0));
        check("a 1e3\n", "a", Some(1000.0));
        check("a NaN\n", "a", Some(0.0));
        check("a +Inf\na 2\n", "a", Some(2.0));
        check("a\n", "a", None);
        check("a words\n", "a", None);
        check("a{x=\"1\" 2\n", "a", None);
        check("{\"http.denied\",code=\"401\"} 4\n", "http.denied", Some(4.0));
        check("  a\t7\r\n", "a", Some(7.0));
    }

    #[test]
    fn reads_labels() {
        let check = |text: &str, expect: &[(&str, &str)]| {
            let got: Vec<_> = series(text, "a").map(|(labels, _)| labels).collect();
            let expect: Vec<_> = expect
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect();
            assert_eq!(got, [expect], "{text}");
        };
        check("a 1", &[]);
        check("a{} 1", &[]);
        check("a{x=\"1\", y = \"}\\\\\\\"\\n,\",} 1", &[("x", "1"), ("y", "}\\\"\n,")]);
        check(
            "{\"a\",x=\"1\",\"http.code\"=\"2\"} 1",
            &[("x", "1"), ("http.code", "2")],
        );
        check("a{x=\"1\",words} 1", &[("x", "1")]);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC*", name in "\\PC{0,8}") {
            metric(&text, &name);
            series(&text, &name).count();
        }

        #[test]
        fn never_panics_on_labels(inside in "[a=\"\\\\,{} ]{0,24}") {
            series(&format!("a{{{inside}}} 1"), "a").count();
        }

        #[test]
        fn sums_what_was_written(values in proptest::collection::vec(0u32..1_000_000, 1..20)) {
            let text: String = values
                .iter()
                .enumerate()
                .map(|(index, value)| format!("hits_total{{lane=\"{index}\"}} {value}\nhits {value}\n"))
                .collect();
            let sum = values.iter().map(|value| f64::from(*value)).sum::<f64>();
            proptest::prop_assert_eq!(metric(&text, "hits_total"), Some(sum));
        }
    }
}
