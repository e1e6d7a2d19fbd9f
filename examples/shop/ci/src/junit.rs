//! The test harness' output as JUnit XML.

use std::time::Duration;

/// The tests of one program.
#[derive(Debug)]
pub struct Suite {
    pub name: String,
    pub cases: Vec<Case>,
    pub elapsed: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Ignored,
    Failed { output: String },
}

impl Suite {
    /// Reads what a test program wrote. One that failed without naming a test counts as a failed test of its own.
    pub fn read(name: &str, text: &str, success: bool, elapsed: Duration) -> Suite {
        let mut cases: Vec<Case> = text.lines().filter_map(|line| case(line, text)).collect();
        // The harness prints them as they end, which differs from run to run.
        cases.sort_by(|a, b| a.name.cmp(&b.name));
        let explained = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed { .. }));
        if !success && !explained {
            let output = text.to_owned();
            cases.push(Case {
                name: "(the test program)".to_owned(),
                outcome: Outcome::Failed { output },
            });
        }
        Suite {
            name: name.to_owned(),
            cases,
            elapsed,
        }
    }

    pub fn failures(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| matches!(case.outcome, Outcome::Failed { .. }))
            .count()
    }

    fn skipped(&self) -> usize {
        self.cases
            .iter()
            .filter(|case| case.outcome == Outcome::Ignored)
            .count()
    }
}

/// `test api::tests::shows_products ... ok`.
fn case(line: &str, text: &str) -> Option<Case> {
    let (name, outcome) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match outcome.split([',', ' ']).next()? {
        "ok" => Outcome::Passed,
        "ignored" => Outcome::Ignored,
        "FAILED" => Outcome::Failed {
            output: output_of(name, text),
        },
        _ => return None,
    };
    Some(Case {
        name: name.to_owned(),
        outcome,
    })
}

fn output_of(name: &str, text: &str) -> String {
    let begin = format!("---- {name} stdout ----\n");
    let output = text.split_once(&begin).map_or("", |(_, rest)| rest);
    output
        .split("\n---- ")
        .next()
        .unwrap_or_default()
        .split("\nfailures:\n")
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The whole document.
pub fn document(suites: &[Suite]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        xml.push_str(&format!(
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">\n",
            escape(&suite.name),
            suite.cases.len(),
            suite.failures(),
            suite.skipped(),
            suite.elapsed.as_secs_f64(),
        ));
        for case in &suite.cases {
            let head = format!(
                "    <testcase classname=\"{}\" name=\"{}\"",
                escape(&suite.name),
                escape(&case.name)
            );
            match &case.outcome {
                Outcome::Passed => xml.push_str(&format!("{head}/>\n")),
                Outcome::Ignored => xml.push_str(&format!("{head}><skipped/></testcase>\n")),
                Outcome::Failed { output } => {
                    let message = output.lines().next().unwrap_or_default();
                    let (message, output) = (escape(message), escape(output));
                    xml.push_str(&format!(
                        "{head}><failure message=\"{message}\">{output}</failure></testcase>\n"
                    ));
                }
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Text as XML 1.0 takes it; characters it can't hold at all become `?`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(character),
            '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => escaped.push('?'),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\nrunning 3 tests\ntest a::good ... ok\ntest a::bad ... FAILED\ntest a::later ... ignored, slow\n\n\
        failures:\n\n---- a::bad stdout ----\nassertion `1 < 2` failed\nsecond line\n\nfailures:\n    a::bad\n\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn reads_each_test_with_its_outcome() {
        let suite = Suite::read("shop", TEXT, false, Duration::ZERO);
        assert_eq!((suite.cases.len(), suite.failures(), suite.skipped()), (3, 1, 1));
        let output = "assertion `1 < 2` failed\nsecond line".to_owned();
        assert_eq!(suite.cases[0].outcome, Outcome::Failed { output });
        let xml = document(&[suite]);
        assert!(xml.contains("<failure message=\"assertion `1 &lt; 2` failed\">"));
        assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""));
    }

    #[test]
    fn a_program_that_crashes_is_a_failure() {
        let suite = Suite::read("shop", "running 1 test\n", false, Duration::ZERO);
        assert_eq!(suite.failures(), 1);
    }
}
